"""What a step lowers, and what a run refuses to go on with."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vae_lib.bounds import beta_elbo
from vae_lib.training.config import TrainConfig

__all__ = ["TrainingDiverged", "make_objective", "terms"]


class TrainingDiverged(FloatingPointError):
    """Training met a number that is not finite. The message names the step and the term.

    Example:
        >>> from vae_lib.training import TrainConfig, fit
        >>> class Broken(torch.nn.Linear):
        ...     def loss_terms(self, x, k=1):
        ...         value = self(x).sum(-1)
        ...         return value, value * math.nan
        >>> fit(Broken(2, 1), torch.ones(4, 2), TrainConfig(epochs=1, progress=False))
        Traceback (most recent call last):
        ...
        vae_lib.training.objectives.TrainingDiverged: step 0: the rate is not finite; ...
    """


def terms(config: TrainConfig) -> tuple[str, ...]:
    """The names of the sums that an objective returns, in their order.

    Example:
        >>> terms(TrainConfig())
        ('reconstruction', 'rate')
    """
    return ("reconstruction", "rate")


def make_objective(
    model: Any, config: TrainConfig
) -> Callable[[Tensor, float | Tensor], tuple[Tensor, Tensor]]:
    """What a step lowers: a function of the batch x (batch, pixels) and of beta.

    It returns the loss, one number, the mean over the batch in nats; and the sums over the batch of
    `terms(config)`, detached.

    Args:
        model: A module with `loss_terms(x, k=...)` that returns two tensors (batch,).
        config: The settings.

    Book: chapter 8 (the loss contract).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> objective = make_objective(mlp_vae(8, 2, seed=0), TrainConfig())
        >>> loss, sums = objective(torch.eye(8), 1.0)
        >>> loss.shape, sums.shape, sums.requires_grad
        (torch.Size([]), torch.Size([2]), False)
    """

    def objective(x: Tensor, beta: float | Tensor) -> tuple[Tensor, Tensor]:
        reconstruction, rate = model.loss_terms(x, k=config.samples)
        for name, term in (("reconstruction", reconstruction), ("rate", rate)):
            if term.shape != (len(x),):
                raise ValueError(
                    f"the {name} of model.loss_terms has shape {tuple(term.shape)}; wanted one value "
                    f"per example, ({len(x)},)"
                )
        loss = -beta_elbo(reconstruction, rate, beta).mean()
        return loss, torch.stack([reconstruction.detach().sum(), rate.detach().sum()])

    return objective


def refuse_broken_sums(config: TrainConfig, sums: list[float], step: int) -> None:
    """Name the first of the sums that is not finite, if there is one."""
    for name, total in zip(terms(config), sums, strict=True):
        if not math.isfinite(total):
            raise TrainingDiverged(f"step {step}: the {name} is not finite; try a lower learning_rate")


def refuse_broken_parameters(model: nn.Module, step: int, cause: Exception | None = None) -> None:
    """Name the first parameter that is not finite, if there is one."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise TrainingDiverged(
                f"step {step}: the parameter {name} is not finite; try a lower learning_rate"
            ) from cause
