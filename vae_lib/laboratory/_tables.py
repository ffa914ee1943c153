"""One way in for tables of probabilities: lists of numbers become float64."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["table"]


def table(values: Tensor | Sequence) -> Tensor:
    """A tensor as it is, anything else in float64.

    >>> table([0.25, 0.75])
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    return values if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.float64)
