"""Numbers that must not run away: a bound that is reached smoothly, with a gradient that never vanishes."""

import math

from torch import Tensor, nn

__all__ = ["hardened", "softened"]


def softened(raw: Tensor, bound: float = 6.0) -> Tensor:
    """The number itself within ±bound; beyond, its distance from the bound grows like a logarithm.

    >>> import torch
    >>> softened(torch.tensor([-1e4, 5.0, 7.0]))
    tensor([-15.2098,   5.0000,   6.6931])
    """
    inside = nn.functional.hardtanh(raw, -bound, bound)
    sign = raw.detach().sign()
    return inside + sign * (sign * (raw - inside)).log1p()


def hardened(value: float, bound: float) -> float:
    """The number whose `softened` one is the value.

    >>> round(hardened(math.log(2.0) + 6.0, bound=6.0), 12)
    7.0
    """
    beyond = abs(value) - bound
    return value if beyond <= 0 else math.copysign(bound + math.expm1(beyond), value)
