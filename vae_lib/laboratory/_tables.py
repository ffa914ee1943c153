"""One way in for tables of probabilities: lists of numbers become float64."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["table"]


def table(name: str, values: Tensor | Sequence) -> Tensor:
    """A tensor as it is, lists and arrays in float64.

    >>> table("prior", [0.25, 0.75])
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    if isinstance(values, Tensor):
        return values
    try:
        return torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {values!r}; wanted a table of numbers ({error})") from error
