"""The folder of a run: the last checkpoint, the best one, and the curves line by line."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vae_lib import _require
from vae_lib.training import container
from vae_lib.training.checkpoints import Checkpoint, Position, pack, read_checkpoint
from vae_lib.training.config import TrainConfig
from vae_lib.training.container import CheckpointError
from vae_lib.training.diverged import TrainingDiverged, refuse_broken_parameters
from vae_lib.training.history import CURVES, History
from vae_lib.training.optimisers import Adam

__all__ = ["Keeper"]

# what may differ between a run and the one that goes on from its checkpoint
_FREE = ("device", "threads", "compile", "progress")


class Keeper:
    """Keeps `last.safetensors`, `best.safetensors` and `history.jsonl` of one run in a folder.

    The best epoch is the one with the highest validation bound (`History.scores`); without
    validation data there is no best. It is copied in memory when it happens and written before the
    next `last`, so that `last` never knows of a best epoch that is not on the disk.

    Args:
        folder: Where; it is made if it is not there.
        save_every: Seconds between two saves of `last`; 0 saves after every step.

    Raises:
        CheckpointError: If the folder cannot be made.
        ValueError: If save_every is negative or no number.

    Book: chapter 12 (checkpoints).
    """

    def __init__(self, folder: str | Path, save_every: float | int):
        _require.number_within("save_every", save_every, lowest=0.0)
        self.folder = Path(folder)
        self.last = self.folder / "last.safetensors"
        self.best = self.folder / "best.safetensors"
        self.lines = self.folder / "history.jsonl"
        self.save_every = save_every
        self._waiting: tuple[dict[str, Tensor], dict] | None = None
        self._saved_at = -math.inf

    def begin(
        self,
        *,
        model: nn.Module,
        config: TrainConfig,
        optimiser: Adam,
        data: dict[str, str],
        notes: dict | None,
    ) -> None:
        """Say what belongs into every checkpoint of this run."""
        self._saved_at = time.monotonic()
        self.model = model
        self.parts: dict[str, Any] = {"config": config, "optimiser": optimiser, "data": data, "notes": notes}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{self.folder} could not be made: {error.strerror or error}") from error

    def earlier(self, device: str) -> Checkpoint:
        """The checkpoint to go on from; refused if it belongs to another run."""
        checkpoint = read_checkpoint(self.last)
        ours, theirs = self.parts["config"], checkpoint.config
        if theirs is None or checkpoint.history is None or checkpoint.position.order is None:
            raise CheckpointError(f"{self.last} holds a model but no run; wanted one that fit wrote")
        for name in vars(ours):
            if name not in _FREE and getattr(theirs, name) != getattr(ours, name):
                raise CheckpointError(
                    f"{self.last} was trained with {name} = {getattr(theirs, name)!r}; wanted the same "
                    f"to go on, not {getattr(ours, name)!r}"
                )
        for name in ("training", "validation"):
            if checkpoint.data.get(name) != self.parts["data"].get(name):
                raise CheckpointError(f"{self.last} was made with other {name} data; wanted the same")
        if checkpoint.device != device:
            raise CheckpointError(
                f"{self.last} was trained on {checkpoint.device}; wanted the same to go on, not {device}"
            )
        return checkpoint

    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._saved_at >= self.save_every

    def save(self, history: History, position: Position) -> None:
        """Write the best epoch that waits, then the last state; nothing while the loss is absurd."""
        if position.astray:
            return  # the checkpoint from before is the last good one
        refuse_broken_parameters(self.model, position.step)
        self.flush()
        container.write(self.last, *pack(self.model, history=history, position=position, **self.parts))
        self._saved_at = time.monotonic()

    def flush(self) -> None:
        """Write the best epoch, if one waits in memory."""
        if self._waiting is not None:
            container.write(self.best, *self._waiting)
            self._waiting = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Whatever ends the run, the best epoch reaches the disk; a divergence names what is left."""
        try:
            yield
        except CheckpointError:
            raise
        except TrainingDiverged as error:
            self.flush()
            raise TrainingDiverged(f"{error}; the last good checkpoint is {self.last}") from error
        except BaseException:
            self.flush()
            raise

    def epoch_ended(self, history: History, position: Position) -> None:
        """Note the epoch in `history.jsonl`, and set it aside if it is the best one."""
        try:
            with open(self.lines, "a", encoding="utf-8") as file:
                file.write(_line(history, len(history), history.seconds))
        except OSError as error:
            raise CheckpointError(f"{self.lines} could not be written: {error.strerror or error}") from error
        if history.best_epoch() == len(history):
            tensors, document = pack(self.model, history=history, position=position, **self.parts)
            self._waiting = ({name: t.detach().clone() for name, t in tensors.items()}, document)

    def rewrite_lines(self, history: History) -> None:
        """Bring `history.jsonl` back to the epochs of the checkpoint, and read the time from it."""
        seconds = [0.0] * len(history)
        with suppress(OSError, ValueError, KeyError, TypeError):
            for i, line in enumerate(self.lines.read_text(encoding="utf-8").splitlines()[: len(history)]):
                seconds[i] = float(json.loads(line)["seconds"])
        history.seconds = max(seconds, default=0.0)
        text = "".join(_line(history, i + 1, spent) for i, spent in enumerate(seconds))
        container.write_atomically(self.lines, text.encode())


def _line(history: History, epoch: int, seconds: float) -> str:
    """One epoch as a line of JSON; a curve without a number holds null."""
    values = {name: getattr(history, name)[epoch - 1 : epoch] for name in CURVES}
    numbers = {name: v[0] if v and math.isfinite(v[0]) else None for name, v in values.items()}
    return json.dumps({"epoch": epoch, **numbers, "seconds": round(seconds, 3)}) + "\n"
