"""One way in for numbers: whatever a chapter holds becomes a float64 array."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def float64(values: Any) -> np.ndarray:
    """The numbers of a float, list, NumPy array or tensor (detached), as a float64 array.

    >>> float64([torch.tensor(1.0, requires_grad=True), 2])
    array([1., 2.])
    >>> float64(3).dtype
    dtype('float64')
    """
    if isinstance(values, torch.Tensor):
        return values.detach().to("cpu", torch.float64).numpy()
    if isinstance(values, list | tuple):
        return np.array([float64(v) for v in values], dtype=np.float64)
    return np.asarray(values, dtype=np.float64)
