"""The examples of a run, on its device from the first step to the last."""

import torch
from torch import Tensor

__all__ = ["Resident"]


class Resident:
    """All examples as one tensor on the device of the run; a batch is one `index_select` of it.

    Args:
        data: The examples, (n, pixels).
        device: Where they go, once.

    Example:
        >>> Resident(torch.eye(3), torch.device("cpu")).batch(torch.tensor([2, 0]))
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """

    def __init__(self, data: Tensor, device: torch.device):
        self.data = data.to(device)

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, rows: Tensor) -> Tensor:
        """The examples of these rows as the model wants them, (rows, pixels), floating point.

        Example:
            >>> Resident(torch.zeros(9, 4), torch.device("cpu")).batch(torch.arange(5)).shape
            torch.Size([5, 4])
        """
        return self.data.index_select(0, rows)
