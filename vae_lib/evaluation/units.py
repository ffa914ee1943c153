"""Which latent variables the encoder uses."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vae_lib import _require
from vae_lib.evaluation.arguments import check_examples, evaluating
from vae_lib.models import ConditionalVAE

__all__ = ["ActiveUnits", "active_units"]

EXAMPLES_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class ActiveUnits:
    """Which latent variables are active, and by how much.

    Attributes:
        count: How many are active.
        active: Which ones, (latent,).
        variance: The variance over the examples of the posterior mean of each, (latent,), float64.

    Book: chapter 7 (water-filling), chapter 10 (posterior collapse).

    Example:
        >>> variance = torch.tensor([0.9, 1e-6], dtype=torch.float64)
        >>> ActiveUnits(1, variance > 0.01, variance).active
        tensor([ True, False])
    """

    count: int
    active: Bool[Tensor, " latent"]
    variance: Float[Tensor, " latent"]


@torch.no_grad()
def active_units(model: Any, x: Float[Tensor, "batch pixels"], threshold: float | int = 0.01) -> ActiveUnits:
    r"""Count the latent variables whose posterior mean differs from example to example.

    .. math:: A_j = \operatorname{Var}_x \left( \mathbb{E}_{q_\phi(z|x)} z_j \right) > 0.01

    It is the variance of the **means** over the examples, not of samples and not the posterior's own
    variance: a collapsed unit has samples of variance one and means that do not move.

    Args:
        model: A model with `encode(x)`.
        x: The examples, (batch, pixels), at least two.
        threshold: What counts as moving.

    Returns:
        `ActiveUnits(count, active, variance)`.

    Raises:
        ValueError: If there are fewer than two examples, x is not finite, the threshold is negative,
            or the model has no posterior.

    Book: chapter 7 (water-filling), chapter 10 (posterior collapse). Source: Burda et al. (2016),
    section 5.2.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> active_units(mlp_vae(8, latent=2, seed=0), torch.eye(8), threshold=0.001).count
        2
    """
    if isinstance(model, ConditionalVAE):
        raise ValueError("model is a ConditionalVAE, which encodes x beside a y; wanted model.given(y)")
    check_examples(model, x)
    if len(x) < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; wanted at least two examples to compare")
    _require.number_within("threshold", threshold, lowest=0.0)
    with evaluating(model) as device:
        parts = [model.encode(part.to(device)).mean for part in x.split(EXAMPLES_AT_ONCE)]
    means = torch.cat(parts).to(x.device, torch.float64)  # (batch, latent)
    _require.finite("the posterior mean", means)
    variance = means.var(0, correction=0)
    active = variance > threshold
    return ActiveUnits(int(active.sum()), active, variance)
