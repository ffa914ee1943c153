"""The two terms of the loss, looked at before they are trusted."""

import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["TrainingDiverged", "loss_terms"]


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


def loss_terms(model: Any, x: Tensor, samples: int, step: int) -> tuple[Tensor, Tensor, list[float]]:
    """The two terms of the loss and their sums over the batch, all of them finite.

    Args:
        model: A module with `loss_terms(x, k=...)` that returns two tensors (batch,).
        x: The batch, (batch, pixels).
        samples: The number of draws per example.
        step: The number of the step, for the message.

    Returns:
        The reconstruction (batch,), the rate (batch,), and their two sums, in nats.

    Raises:
        ValueError: If a term is not one value per example.
        TrainingDiverged: If a term, or a parameter that the model stumbles over, is not finite.

    Book: chapter 8 (the loss contract).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> reconstruction, rate, sums = loss_terms(mlp_vae(8, 2, seed=0), torch.eye(8), 1, step=0)
        >>> reconstruction.shape, rate.shape, len(sums)
        (torch.Size([8]), torch.Size([8]), 2)
    """
    try:
        reconstruction, rate = model.loss_terms(x, k=samples)
    except ValueError as error:
        refuse_broken_parameters(model, step, error)
        raise
    for name, term in (("reconstruction", reconstruction), ("rate", rate)):
        if term.shape != (len(x),):
            raise ValueError(
                f"the {name} of model.loss_terms has shape {tuple(term.shape)}; wanted one value "
                f"per example, ({len(x)},)"
            )
    sums = torch.stack([reconstruction.detach().sum(), rate.detach().sum()]).tolist()
    for name, total in zip(("reconstruction", "rate"), sums, strict=True):
        if not math.isfinite(total):
            raise TrainingDiverged(f"step {step}: the {name} is not finite; try a lower learning_rate")
    return reconstruction, rate, sums


def refuse_broken_parameters(model: nn.Module, step: int, cause: Exception | None = None) -> None:
    """Name the first parameter that is not finite, if there is one."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise TrainingDiverged(
                f"step {step}: the parameter {name} is not finite; try a lower learning_rate"
            ) from cause
