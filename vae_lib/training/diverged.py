"""What a run refuses to go on with."""

import math

import torch
from torch import nn

from vae_lib.training.config import TrainConfig
from vae_lib.training.objectives import terms

__all__ = ["TrainingDiverged", "refuse_broken_parameters", "refuse_broken_sums"]


class TrainingDiverged(FloatingPointError):
    """Training met a number that is not finite, or a loss that is absurd and stays so.

    The message names the step and the term.

    Book: chapter 8 (initialisation, log-variance, NaN).

    Example:
        >>> from vae_lib.training import TrainConfig, fit
        >>> class Broken(torch.nn.Linear):
        ...     def loss_terms(self, x, k=1):
        ...         value = self(x).sum(-1)
        ...         return value, value * math.nan
        >>> fit(Broken(2, 1), torch.ones(4, 2), TrainConfig(epochs=1, progress=False))
        Traceback (most recent call last):
        ...
        vae_lib.training.diverged.TrainingDiverged: step 0: the rate is not finite; ...
    """


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
