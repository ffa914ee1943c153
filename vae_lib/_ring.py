"""The map behind Doersch's ring, for the data (`vae_lib.data`) and for their density (the laboratory)."""

import torch
from torch import Tensor

__all__ = ["STRETCH", "bend"]

STRETCH = 10.0
"""The noise is divided by it."""


def bend(z: Tensor) -> Tensor:
    """A cloud of noise (n, 2) made into a ring (n, 2): z / 10 + z / ‖z‖. No row may be zero.

    >>> bend(torch.tensor([[3.0, 4.0]]))
    tensor([[0.9000, 1.2000]])
    """
    return z / STRETCH + z / torch.hypot(z[:, :1], z[:, 1:])
