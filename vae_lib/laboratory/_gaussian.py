"""The log-density of a Gaussian with one variance, shared by the rooms of the laboratory."""

import math

from torch import Tensor

__all__ = ["log_normal"]


def log_normal(squared_error: Tensor, variance: Tensor | float | int, dims: int = 1) -> Tensor:
    r"""ln N(x; m, variance I) for x in `dims` dimensions, from the squared length of x - m.

    >>> import torch
    >>> log_normal(torch.tensor(4.0), variance=1 / (2 * math.pi)) / math.pi
    tensor(-4.)
    """
    scale = 2 * math.pi * variance
    log_scale = scale.log() if isinstance(scale, Tensor) else math.log(scale)
    return -0.5 * (dims * log_scale + squared_error / variance)
