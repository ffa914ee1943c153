"""The sums of an epoch, added up without holding up the device, and watched for a run gone astray."""

import torch
from torch import Tensor

from vae_lib.training.checkpoints import Position
from vae_lib.training.config import TrainConfig
from vae_lib.training.diverged import TrainingDiverged, refuse_broken_sums
from vae_lib.training.objectives import terms

__all__ = ["Tally"]

_WINDOW = 100  # steps between two looks at a GPU; each look waits until it has caught up
_PATIENCE = 100  # absurd steps in a row that end the run


class Tally:
    r"""Adds what the steps return to `position.totals`, and refuses what a run cannot go on from.

    On the CPU a look costs nothing and every step is looked at at once. A GPU works ahead of the
    program: there the sums of up to 100 steps lie on the device until `settle` fetches them. The
    totals are the same either way, because they are added up one by one in the order of the steps.

    A sum that is not finite ends the run. So does a loss that is finite and absurd: more than 100 steps
    in a row above

    .. math:: \ell_0 + |\ell_0| + D,

    with :math:`\ell_0` the loss per example of the first step, before anything was learned, and D the
    number of pixels, in nats. That is worse than the untrained model by as much as that model is bad
    and a nat for every pixel on top; a spike, after which training recovers, does not end the run.

    Args:
        config: The settings of the run.
        position: Where the run stands; `totals`, `start` and `astray` are kept up to date.
        pixels: The number of values in one example.
        device: The device of the sums.

    Example:
        >>> position = Position()
        >>> tally = Tally(TrainConfig(), position, pixels=8, device=torch.device("cpu"))
        >>> tally.add(torch.tensor([-10.0, 1.0]), rows=2, beta=1.0)
        >>> tally.add(torch.tensor([-8.0, 2.0]), rows=2, beta=1.0)
        >>> position.totals, position.start
        ([-18.0, 3.0], [-5.0, 0.5])
    """

    def __init__(self, config: TrainConfig, position: Position, pixels: int, device: torch.device):
        self.config = config
        self.position = position
        self.pixels = pixels
        self.names = terms(config)
        self.window = 1 if device.type == "cpu" else _WINDOW
        self.waiting = torch.zeros(self.window, len(self.names), dtype=torch.float64, device=device)
        self.companions: list[tuple[int, int, float]] = []  # step, rows and beta of what is waiting
        position.totals = position.totals or [0.0] * len(self.names)

    def add(self, sums: Tensor, rows: int, beta: float) -> None:
        """Take what the step at `position.step` returned for a batch of so many rows.

        Example:
            >>> tally = Tally(TrainConfig(), Position(), pixels=8, device=torch.device("cpu"))
            >>> tally.add(torch.tensor([-5.0, float("inf")]), rows=2, beta=1.0)
            Traceback (most recent call last):
            ...
            vae_lib.training.diverged.TrainingDiverged: step 0: the rate is not finite; ...
        """
        if self.window == 1:
            self._take(sums.tolist(), self.position.step, rows, beta)
            return
        self.waiting[len(self.companions)].copy_(sums)
        self.companions.append((self.position.step, rows, beta))
        if len(self.companions) == self.window:
            self.settle()

    def settle(self) -> None:
        """Fetch what still lies on the device."""
        fetched = self.waiting[: len(self.companions)].tolist() if self.companions else []
        for sums, (step, rows, beta) in zip(fetched, self.companions, strict=True):
            self._take(sums, step, rows, beta)
        self.companions.clear()

    def _take(self, sums: list[float], step: int, rows: int, beta: float) -> None:
        refuse_broken_sums(self.config, sums, step)
        position = self.position
        position.totals = [total + new for total, new in zip(position.totals, sums, strict=True)]
        if not position.start:
            position.start = [total / rows for total in sums]
        start = _loss(position.start, beta)
        limit = start + abs(start) + self.pixels
        if _loss(sums, beta) <= limit * rows:
            position.astray = 0
            return
        position.astray += 1
        if position.astray > _PATIENCE:
            now = [total / rows for total in sums]
            worse = {
                "reconstruction": position.start[0] - now[0],
                "rate": beta * (now[1] - position.start[1]),
            }
            name = max(worse, key=worse.__getitem__)
            value = now[self.names.index(name)]
            raise TrainingDiverged(
                f"step {step}: the loss has been above {limit:.4g} nats per example for {_PATIENCE} steps, "
                f"and began at {start:.4g}; the {name} is {value:.4g} nats; try a lower learning_rate"
            )


def _loss(sums: list[float], beta: float) -> float:
    """The loss of these terms: of the bound where there is one, else of reconstruction and rate."""
    return -sums[2] if len(sums) > 2 else beta * sums[1] - sums[0]
