"""The sums of an epoch, added up without holding up the device."""

import torch
from torch import Tensor

from vae_lib.training.checkpoints import Position
from vae_lib.training.config import TrainConfig
from vae_lib.training.objectives import refuse_broken_sums, terms

__all__ = ["Tally"]

_WINDOW = 100  # steps between two looks at a GPU; each look waits until it has caught up


class Tally:
    """Adds what the steps return to `position.totals`, and refuses what is not finite.

    On the CPU a look costs nothing and every step is looked at at once. A GPU works ahead of the
    program: there the sums of up to 100 steps lie on the device until `settle` fetches them. The
    totals are the same either way, because they are added up one by one in the order of the steps.

    Args:
        config: The settings of the run.
        position: Where the run stands; its `totals` are changed in place.
        device: The device of the sums.

    Example:
        >>> position = Position()
        >>> tally = Tally(TrainConfig(), position, torch.device("cpu"))
        >>> tally.add(torch.tensor([-5.0, 1.0]))
        >>> tally.add(torch.tensor([-4.0, 2.0]))
        >>> position.totals
        [-9.0, 3.0]
    """

    def __init__(self, config: TrainConfig, position: Position, device: torch.device):
        self.config = config
        self.position = position
        self.window = 1 if device.type == "cpu" else _WINDOW
        self.waiting = torch.zeros(self.window, len(terms(config)), device=device)
        self.count = 0

    def add(self, sums: Tensor) -> None:
        """Take what the step at `position.step` returned.

        Example:
            >>> tally = Tally(TrainConfig(), Position(), torch.device("cpu"))
            >>> tally.add(torch.tensor([-5.0, float("inf")]))
            Traceback (most recent call last):
            ...
            vae_lib.training.objectives.TrainingDiverged: step 0: the rate is not finite; ...
        """
        if self.window == 1:
            self._take(sums.tolist(), self.position.step)
            return
        self.waiting[self.count].copy_(sums)
        self.count += 1
        if self.count == self.window:
            self._fetch(self.position.step)

    def settle(self) -> None:
        """Fetch what still lies on the device; `position.step` counts the steps done."""
        if self.count:
            self._fetch(self.position.step - 1)

    def _fetch(self, last_step: int) -> None:
        rows = self.waiting[: self.count].tolist()
        for i, sums in enumerate(rows, start=last_step + 1 - self.count):
            self._take(sums, i)
        self.count = 0

    def _take(self, sums: list[float], step: int) -> None:
        refuse_broken_sums(self.config, sums, step)
        self.position.totals = [a + b for a, b in zip(self.position.totals, sums, strict=True)]
