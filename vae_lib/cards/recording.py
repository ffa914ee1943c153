"""The first half of a run card: what a training run knows about itself when it ends."""

import json
import math
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vae_lib.cards.card import CARD, write_card
from vae_lib.cards.origin import commit, device_of, versions
from vae_lib.cards.schema import FORMAT
from vae_lib.training.checkpoints import Checkpoint, read_checkpoint
from vae_lib.training.container import CheckpointError
from vae_lib.training.history import CURVES
from vae_lib.training.processes import is_first

__all__ = ["curve_of", "recording"]


@contextmanager
def recording(folder: str | Path, words: Sequence[str] = ()) -> Iterator[None]:
    """Around `fit(..., checkpoint=folder)`: when the run ends well, leave the training half of its card.

    All but the times, the commit and the machine is read from the checkpoint that the run left. A
    run that had nothing more to do leaves the card as it was. Of several processes the first writes.

    Args:
        folder: The folder of the run.
        words: The words of the command that started it.

    Raises:
        CheckpointError: If the run left no checkpoint, or the card cannot be written.
        ValueError: If the checkpoint does not say how its model is built, or on what it was trained.

    Book: chapter 12 (run cards).

    Example:
        >>> import tempfile, torch
        >>> from vae_lib.networks import mlp_vae
        >>> from vae_lib.training import TrainConfig, fit
        >>> config, notes = TrainConfig(epochs=1, progress=False), {"data": "none", "likelihood": "bernoulli"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with recording(folder, ["notebook"]):
        ...         run = fit(mlp_vae(8, 2, seed=0), torch.eye(8), config, checkpoint=folder, notes=notes)
        ...     card = json.loads(Path(folder, "card.json").read_text())
        >>> card["training"]["config"]["epochs"], len(card["training"]["curve"]["elbo"])
        (1, 1)
    """
    folder = Path(folder)
    before = _epochs(folder)
    revision, dirty = commit()  # now: the files may change while the run runs
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    seconds = {
        "wall": round(time.perf_counter() - wall, 3),
        "cpu": round(time.process_time() - cpu, 3),
    }
    if not is_first():
        return
    last = read_checkpoint(folder / "last.safetensors")
    if (folder / CARD).exists() and before == last.position.epoch:
        return
    half = {
        "command": shlex.join(words) or "unknown",
        "commit": revision,
        "dirty": dirty,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **_of_checkpoint(last),
        "device": device_of(last.device),
        "versions": versions(),
        "seconds": seconds,
        "resumed": before is not None,
    }
    write_card(folder / CARD, {"format": FORMAT, "training": half})


def curve_of(checkpoint: Checkpoint) -> dict[str, list[float | None]]:
    """The curves of a checkpoint that are not empty; None where there is no number."""
    assert checkpoint.history is not None  # fit writes none without
    curves = {name: getattr(checkpoint.history, name) for name in CURVES}
    return {
        name: [value if math.isfinite(value) else None for value in values]
        for name, values in curves.items()
        if values
    }


def _of_checkpoint(last: Checkpoint) -> dict[str, Any]:
    """What the card and the checkpoint both say."""
    if last.recipe is None:
        raise ValueError(
            f"{last.path} does not say how its model is built; wanted a builder of vae_lib.networks"
        )
    for note in ("data", "likelihood"):
        if not isinstance(last.notes.get(note), str):
            raise ValueError(f"{last.path} has no note {note!r}; wanted fit(..., notes={{{note!r}: ...}})")
    assert last.config is not None  # fit writes none without
    return {
        "model": last.recipe,
        "config": json.loads(json.dumps(asdict(last.config))),
        "data": {
            "name": last.notes["data"],
            "likelihood": last.notes["likelihood"],
            "training": last.data["training"],
            "validation": last.data.get("validation"),
        },
        "curve": curve_of(last),
    }


def _epochs(folder: Path) -> int | None:
    """How far the run in the folder had come before; None if there is none."""
    try:
        return read_checkpoint(folder / "last.safetensors").position.epoch
    except CheckpointError:  # none there, or one that fit will refuse by itself
        return None
