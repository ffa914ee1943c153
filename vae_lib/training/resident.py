"""The examples of a run, on its device from the first step to the last."""

from dataclasses import replace

import torch
from torch import Tensor

from vae_lib import _require
from vae_lib.data import binarize
from vae_lib.training.config import TrainConfig
from vae_lib.training.surroundings import noise

__all__ = ["Resident"]

_SEED = 0  # of the zeros and ones that stay
_ROWS = 1024  # looked at together, so that looking at bytes does not need four times their memory


class Resident:
    """All examples as one tensor on the device of the run; a batch is one `index_select` of it.

    Whole numbers stay bytes: a quarter of the memory of floats. A batch of them is divided by
    `config.levels` − 1, or with `config.binarise` drawn: each pixel is 1 with its grey level as
    probability, afresh every time, from torch's global generator.

    Args:
        data: The examples, (n, pixels), floats or bytes (uint8).
        config: The settings; `binarise` and `levels` say what the numbers mean.
        device: Where they go, once.
        dtype: The precision of the batches.
        name: What the data are called in messages.

    Raises:
        ValueError: If the data are no matrix, empty, of another dtype, not finite, or grey levels out
            of range.

    Example:
        >>> cpu = torch.device("cpu")
        >>> Resident(torch.eye(3), TrainConfig(), cpu).batch(torch.tensor([2, 0]))
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
        >>> grey = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
        >>> Resident(grey, TrainConfig(), cpu).batch(torch.tensor([0]))
        tensor([[0.0000, 0.2000, 1.0000]])
    """

    def __init__(
        self,
        data: Tensor,
        config: TrainConfig,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        name: str = "data",
    ):
        _check(data, config, name)
        self.config = config
        self.dtype = dtype
        self.data = data.detach().to(device)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def pixels(self) -> int:
        """The number of values in one example.

        Example:
            >>> Resident(torch.eye(3), TrainConfig(), torch.device("cpu")).pixels
            3
        """
        return self.data.shape[1]

    def batch(self, rows: Tensor) -> Tensor:
        """The examples of these rows as the model wants them, (rows, pixels), floating point.

        Example:
            >>> half = torch.full((9, 4), 128, dtype=torch.uint8)
            >>> data = Resident(half, TrainConfig(binarise=True), torch.device("cpu"))
            >>> data.batch(torch.arange(9)).unique()
            tensor([0., 1.])
        """
        x = self.data.index_select(0, rows)
        if self.config.binarise:
            if x.dtype == torch.uint8:
                return binarize(x, levels=self.config.levels, look=False).to(self.dtype)
            # not torch.bernoulli: torch's compiler would draw that in another way than torch does
            return (torch.rand_like(x) < x).to(self.dtype)
        if x.dtype == torch.uint8:
            x = x.to(self.dtype)
            return x if self.config.levels == 2 else x / (self.config.levels - 1)
        return x

    def drawn_once(self) -> "Resident":
        """The same examples with zeros and ones that stay; bytes.

        They are the same in every run, whatever its seed, so that runs can be compared. Without
        `binarise` there is nothing to draw, and the examples are returned as they are.

        Example:
            >>> half = torch.full((9, 4), 128, dtype=torch.uint8)
            >>> data = Resident(half, TrainConfig(binarise=True), torch.device("cpu")).drawn_once()
            >>> rows = torch.arange(9)
            >>> bool((data.batch(rows) == data.batch(rows)).all()), data.data.dtype
            (True, torch.uint8)
        """
        if not self.config.binarise:
            return self
        device = self.data.device
        with noise(device, _SEED):
            parts = torch.arange(len(self), device=device).split(_ROWS)
            drawn = torch.cat([self.batch(rows).to(torch.uint8) for rows in parts])
        return Resident(drawn, replace(self.config, binarise=False, levels=2), device, self.dtype)


def _check(data: Tensor, config: TrainConfig, name: str) -> None:
    if not isinstance(data, Tensor):
        raise ValueError(
            f"{name} is of type {type(data).__name__}; wanted a tensor (n, pixels), such as "
            "load('digits').binarized()"
        )
    grey = data.dtype == torch.uint8
    if data.ndim != 2 or data.numel() == 0 or not (data.is_floating_point() or grey):
        raise ValueError(
            f"{name} has shape {tuple(data.shape)} and dtype {data.dtype}; wanted (n, pixels), "
            "not empty, of floating-point numbers or of bytes (uint8)"
        )
    if grey:
        if int(data.max()) >= config.levels:
            raise ValueError(
                f"{name} holds the level {int(data.max())}; wanted less than levels = {config.levels}"
            )
        return
    _require.finite(name, data)
    if config.binarise:
        meaning = "grey pixels within [0, 1], the probabilities of binarise=True"
        _require.within_unit_interval(name, data, meaning)
