"""Nats to bits per dimension."""

import math

from jaxtyping import Float
from torch import Tensor

from vae_lib import _require

__all__ = ["bits_per_dim"]


def bits_per_dim(
    log_prob: Float[Tensor, "*batch"], dims: int, *, scale: float | int = 1.0
) -> Float[Tensor, "*batch"]:
    r"""A log-probability in bits per dimension, on the scale of the raw data.

    .. math:: \frac{1}{\ln 2} \left( -\frac{\ln p(x)}{D} + \ln s \right), \qquad
              x = \text{raw} / s

    A density depends on the units of x: dividing the data by s raises ln p(x) by D ln s. `scale`
    undoes that, so numbers computed on differently scaled data can be compared. Lower is better.

    Args:
        log_prob: (...), ln p(x) in nats, summed over the dimensions.
        dims: D, the number of pixels.
        scale: s, the number by which the raw data were divided (16 for the digits, 255 for bytes).

    Returns:
        (...), bits.

    Raises:
        ValueError: log_prob holds no floating-point numbers, dims is not a positive integer, or scale is
            not positive.

    Book: chapter 5 (units). Source: Theis et al. (2016), section 3.1.

    Example:
        >>> import torch
        >>> log_prob = torch.tensor([-64 * math.log(2.0)])
        >>> bits_per_dim(log_prob, 64), bits_per_dim(log_prob, 64, scale=16)
        (tensor([1.]), tensor([5.]))
    """
    _require.floating("log_prob", log_prob)
    _require.positive_integer("dims", dims)
    _require.positive_number("scale", scale)
    return (-log_prob / dims + math.log(scale)) / math.log(2.0)
