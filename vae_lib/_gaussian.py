"""The two formulas of Gaussians that every floor needs, in one place."""

import math

from torch import Tensor

__all__ = ["kl_of_parts", "log_density"]

_LOG_2PI = math.log(2 * math.pi)


def log_density(distance: Tensor, log_det: Tensor | float, dims: int) -> Tensor:
    """ln of a Gaussian density: the squared distance in standard deviations, ln det of the covariance.

    >>> import torch
    >>> log_density(torch.zeros(2), 0.0, dims=2)
    tensor([-1.8379, -1.8379])
    """
    return -0.5 * (distance + (log_det + dims * _LOG_2PI))  # where log_det is a number, one addition


def kl_of_parts(excess: Tensor, log_ratio: Tensor, distance: Tensor) -> Tensor:
    """KL between diagonal Gaussians: v / v' - 1, ln(v / v') and (m - m')² / v' of every latent.

    >>> import torch
    >>> kl_of_parts(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([[1.0, 4.0]]))
    tensor([2.5000])
    """
    return 0.5 * (excess - log_ratio + distance).sum(-1)
