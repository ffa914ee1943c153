"""One way in for tables of probabilities, and their logarithms."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["log_table", "table"]


def table(name: str, values: Any) -> Tensor:
    """A tensor as it is, numbers, lists and arrays in float64.

    >>> table("prior", [0.25, 0.75])
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    if isinstance(values, Tensor):
        return values
    try:
        return torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is {values!r}; wanted numbers ({error})") from error


def log_table(probabilities: Tensor) -> Tensor:
    """ln p, where a p of exactly 0 has the gradient 0.

    Its true gradient is infinite; behind a softmax that rounds to zero it would become NaN.

    >>> p = torch.tensor([0.0, 0.5], requires_grad=True)
    >>> log_table(p)
    tensor([   -inf, -0.6931], grad_fn=<WhereBackward0>)
    >>> torch.autograd.grad(log_table(p).sum(), p)
    (tensor([0., 2.]),)
    """
    possible = probabilities > 0
    return torch.where(possible, torch.where(possible, probabilities, 1).log(), -torch.inf)
