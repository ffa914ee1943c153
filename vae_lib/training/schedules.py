"""How the step size changes during a run: a function of the step, with no memory of its own."""

import math

from vae_lib.training.config import TrainConfig

__all__ = ["learning_rate"]


def learning_rate(config: TrainConfig, step: int, steps_in_epoch: int) -> float:
    r"""The step size of one step.

    .. math:: \eta_t = \eta_0, \qquad\text{or}\qquad
              \eta_t = \frac{\eta_0}{2} \left( 1 + \cos \frac{\pi t}{T} \right)

    with :math:`T` the number of steps of the whole run. Because it depends on nothing but the step,
    a run that goes on from a checkpoint needs no state of the schedule.

    Args:
        config: The settings; `schedule` is "constant" or "cosine".
        step: The number of steps taken before this one.
        steps_in_epoch: The number of steps in an epoch.

    Book: chapter 8 (training). Source: Loshchilov and Hutter (2017), section 3.

    Example:
        >>> config = TrainConfig(epochs=2, learning_rate=0.1, schedule="cosine")
        >>> [round(learning_rate(config, step, steps_in_epoch=2), 4) for step in range(4)]
        [0.1, 0.0854, 0.05, 0.0146]
    """
    if config.schedule == "constant":
        return config.learning_rate
    done = step / (config.epochs * steps_in_epoch)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
