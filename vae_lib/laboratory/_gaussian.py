"""The log-density of a Gaussian with one variance, shared by the rooms of the laboratory."""

import math

from torch import Tensor

from vae_lib._gaussian import log_density

__all__ = ["log_normal"]


def log_normal(squared_error: Tensor, variance: Tensor | float | int, dims: int = 1) -> Tensor:
    r"""ln N(x; m, variance I) for x in `dims` dimensions, from the squared length of x - m.

    >>> import torch
    >>> log_normal(torch.tensor([0.0, 4.0]), variance=4.0)
    tensor([-1.6121, -2.1121])
    """
    log_variance = variance.log() if isinstance(variance, Tensor) else math.log(variance)
    return log_density(squared_error / variance, dims * log_variance, dims)
