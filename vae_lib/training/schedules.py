"""How the step size and the price of the rate change: functions of the step, with no memory."""

import math

from vae_lib.training.config import TrainConfig

__all__ = ["beta", "cosine", "learning_rate"]

_STAGES = 8
_PARTS = (3**_STAGES - 1) // 2  # 1 + 3 + ... + 3^7 = 3280 epochs in the paper


def learning_rate(config: TrainConfig, step: int, steps_in_epoch: int) -> float:
    r"""The step size of one step.

    .. math:: \eta_t = \eta_0, \qquad
              \eta_t = \frac{\eta_0}{2} \left( 1 + \cos \frac{\pi t}{T} \right), \qquad
              \eta_t = \eta_0 \cdot 10^{-i/7} \text{ in stage } i

    for "constant", "cosine" and "burda", with :math:`T` the number of steps of the whole run. The last
    one has eight stages, :math:`i = 0, \dots, 7`, of :math:`3^i` epochs each in the paper, 3280 in
    all. Here stage i takes :math:`3^i / 3280` of whatever length the run has, to the nearest step from
    above, so that 3280 epochs give the paper's schedule and fewer give the same curve in less time.
    As in the published code the factors are rounded to two digits: 1, 0.72, 0.52, 0.37, 0.27, 0.19,
    0.14, 0.1.

    Because it depends on nothing but the step, a run that goes on from a checkpoint needs no state of
    the schedule.

    Args:
        config: The settings; `schedule` is "constant", "cosine" or "burda".
        step: The number of steps taken before this one.
        steps_in_epoch: The number of steps in an epoch.

    Book: chapter 8 (training). Source: Loshchilov and Hutter (2017), section 3; Burda et al. (2016),
    section 5, and the code published with it.

    Example:
        >>> config = TrainConfig(epochs=2, learning_rate=0.1, schedule="cosine")
        >>> [round(learning_rate(config, step, steps_in_epoch=2), 4) for step in range(4)]
        [0.1, 0.0854, 0.05, 0.0146]
        >>> config = TrainConfig(epochs=3280, schedule="burda")
        >>> [round(learning_rate(config, epoch, steps_in_epoch=1), 6) for epoch in (0, 1, 4, 3279)]
        [0.001, 0.00072, 0.00052, 0.0001]
    """
    total = config.epochs * steps_in_epoch
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "cosine":
        return cosine(config.learning_rate, step, total)
    ends = ((3**i - 1) // 2 for i in range(1, _STAGES))  # of the stages but the last: 1, 4, 13, ...
    stage = sum(step * _PARTS >= end * total for end in ends)
    return config.learning_rate * round(10 ** (1 - stage / 7), 1) / 10


def cosine(learning_rate: float, step: int, total: int) -> float:
    """From the learning rate down to zero, along half a cosine.

    Example:
        >>> [round(cosine(1.0, step, total=4), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))


def beta(config: TrainConfig, step: int, steps_in_epoch: int) -> float:
    r"""The weight of the rate in one step.

    .. math:: \beta_t = \beta \, \min\left(1, \frac{t}{W}\right)

    with :math:`W` the number of steps of `config.beta_warmup` epochs; without a warm-up it is
    :math:`\beta` throughout.

    Args:
        config: The settings.
        step: The number of steps taken before this one.
        steps_in_epoch: The number of steps in an epoch.

    Book: chapter 10 (annealing). Source: Bowman et al. (2016); Sønderby et al. (2016), section 2.3.

    Example:
        >>> config = TrainConfig(epochs=5, beta=2.0, beta_warmup=1)
        >>> [beta(config, step, steps_in_epoch=4) for step in range(6)]
        [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    """
    warmup = config.beta_warmup * steps_in_epoch
    return config.beta if step >= warmup else config.beta * step / warmup
