r"""Arithmetic with log-weights: their mean, and how many samples they are worth."""

import math
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.bounds import _check

__all__ = ["effective_sample_size", "log_mean_exp"]


def log_mean_exp(x: Float[Tensor, "*shape"], dim: int = 0) -> Float[Tensor, "*rest"]:
    r"""The logarithm of a mean of exponentials, safe for any size of x.

    .. math:: \ln \frac{1}{k} \sum_{i=1}^{k} e^{x_i}

    The largest x is taken out of the sum first, so nothing overflows and not every term underflows:
    in float32 the naive formula returns -inf as soon as all x lie below -104.

    Args:
        x: any shape with at least one dimension.
        dim: the dimension to average over; it is removed.

    Returns:
        x without the dimension `dim`, in the units of x.

    Raises:
        ValueError: x is not floating point, has no dimension `dim`, or has no entry along it.

    Book: chapter 3 (importance weights). Source: Burda et al. (2016), section 3.

    Example:
        >>> x = torch.tensor([-1000.0, -1000.0])
        >>> log_mean_exp(x)
        tensor(-1000.)
        >>> x.exp().mean().log()
        tensor(-inf)
    """
    _require.floating("x", x)
    if not isinstance(dim, Integral) or not -x.dim() <= dim < x.dim():
        raise ValueError(f"dim is {dim!r}; wanted a dimension of x, whose shape is {tuple(x.shape)}")
    if x.shape[dim] == 0:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; wanted at least one entry along dim {dim} to average"
        )
    return torch.logsumexp(x, dim) - math.log(x.shape[dim])


def effective_sample_size(log_w: Float[Tensor, "k batch"]) -> Float[Tensor, " batch"]:
    r"""How many equally weighted samples the k weighted ones are worth.

    .. math:: \frac{\left(\sum_i w_i\right)^2}{\sum_i w_i^2} \in [1, k]

    It is k when all weights are equal (the encoder is the exact posterior) and near 1 when one
    sample carries the sum; then the importance-weighted bound is far below ln p(x). It is NaN where
    every weight is zero.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).

    Returns:
        (batch,), a number of samples.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1.

    Book: chapter 12 (the number), chapter 9 (evaluation). Source: Kong (1992); Owen, *Monte Carlo
    theory*, chapter 9.

    Example:
        >>> effective_sample_size(torch.tensor([[-700.0, 0.0], [-700.0, -100.0]]))
        tensor([2., 1.])
    """
    _check.log_weights(log_w)
    weights = torch.exp(log_w - log_w.amax(0))  # the largest is 1: nothing overflows
    return weights.sum(0).square() / weights.square().sum(0)
