"""What the best linear VAE keeps of each principal direction: reverse water-filling."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vae_lib import _require
from vae_lib.laboratory._tables import table

__all__ = ["WaterFilling", "waterfill"]


class WaterFilling(NamedTuple):
    """The optimum of a linear VAE; each field is (directions,), one entry per principal axis.

    Attributes:
        active: whether the direction is used at all.
        weight_squared: the squared length of the decoder's column.
        rate: the KL term this direction costs, nats.
        distortion: the squared error left in this direction.

    Book: chapter 7 (water-filling).

    Example:
        >>> optimum = waterfill(torch.tensor([4.0, 0.1]), 0.25)
        >>> optimum.active
        tensor([ True, False])
    """

    active: Bool[Tensor, " directions"]
    weight_squared: Float[Tensor, " directions"]
    rate: Float[Tensor, " directions"]
    distortion: Float[Tensor, " directions"]

    @property
    def encoder_variance(self) -> Float[Tensor, " directions"]:
        """The variance of q(z|x) in each direction, exp(-2 rate); it is 1 where nothing is sent.

        Example:
            >>> waterfill(torch.tensor([4.0, 0.1]), 0.25).encoder_variance
            tensor([0.0625, 1.0000])
        """
        return torch.exp(-2.0 * self.rate)


def waterfill(
    eigenvalues: Float[Tensor, " directions"] | Sequence[float],
    variance: float | int | Float[Tensor, ""],
    beta: float | int = 1.0,
) -> WaterFilling:
    r"""The linear VAE that maximises the (beta-weighted) ELBO at a fixed decoder variance.

    A direction of the data with variance :math:`\lambda` is active where
    :math:`\lambda > \beta \sigma^2`, the water level. Then

    .. math:: w^2 = \lambda - \beta \sigma^2, \qquad
              \text{rate} = \tfrac12 \ln \frac{\lambda}{\beta \sigma^2}, \qquad
              \text{distortion} = \beta \sigma^2

    and otherwise :math:`w^2 = 0`, the rate is 0 and the distortion is :math:`\lambda`. It is
    Shannon's code for a Gaussian source. There must be a latent for every active direction.

    Args:
        eigenvalues: (directions,), variances of the data along its principal axes, any order. Lists
            become float64.
        variance: sigma squared of the decoder, positive.
        beta: the weight of the KL term, positive. Only the product beta * variance matters.

    Returns:
        `WaterFilling(active, weight_squared, rate, distortion)`, each (directions,), and its
        property `encoder_variance`.

    Raises:
        ValueError: an eigenvalue is negative beyond rounding or not finite, or variance or beta is
            not positive.

    Book: chapter 7 (the exactly solvable VAE). Source: Cover and Thomas, section 10.3.3;
    Lucas et al. (2019).

    Example:
        >>> optimum = waterfill(torch.tensor([4.0, 1.0, 0.25]), 0.5)
        >>> optimum.weight_squared
        tensor([3.5000, 0.5000, 0.0000])
        >>> optimum.distortion
        tensor([0.5000, 0.5000, 0.2500])
    """
    eigenvalues = table("eigenvalues", eigenvalues)
    _require.floating("eigenvalues", eigenvalues)
    _require.shape("eigenvalues", eigenvalues, (None,), "(directions,)")
    if eigenvalues.numel() == 0:
        raise ValueError("eigenvalues has shape (0,); wanted at least one direction")
    _require.finite("eigenvalues", eigenvalues)
    rounding = eigenvalues.shape[0] * torch.finfo(eigenvalues.dtype).eps * eigenvalues.abs().max()
    if eigenvalues.min() < -rounding:
        raise ValueError(f"eigenvalues holds {eigenvalues.min().item():.6g}; wanted variances, none below 0")
    _require.positive_number("variance", variance)
    _require.positive_number("beta", beta)
    level = torch.as_tensor(beta * variance, dtype=eigenvalues.dtype, device=eigenvalues.device).expand_as(
        eigenvalues
    )
    active = eigenvalues > level
    covered = torch.where(active, eigenvalues, level)  # never below the water
    return WaterFilling(
        active=active,
        weight_squared=covered - level,
        rate=0.5 * (covered / level).log(),
        distortion=torch.where(active, level, eigenvalues.clamp(min=0.0)),  # a rounding below 0 is 0
    )
