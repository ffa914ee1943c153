"""The second half of a run card: the weights, and what they are worth."""

import dataclasses
import time
from pathlib import Path

import torch
from torch import Tensor

from vae_lib import _require
from vae_lib.cards.card import (
    CARD,
    CHECKPOINT,
    VALUES,
    Card,
    CardError,
    file_digest,
    incomplete,
    read_card,
    write_card,
    write_values,
)
from vae_lib.cards.examples import DRAWN_WITH, card_examples
from vae_lib.cards.origin import device_of, versions
from vae_lib.cards.recording import curve_of
from vae_lib.cards.schema import FORMAT
from vae_lib.evaluation import log_likelihood, mean_over_examples
from vae_lib.training import load_checkpoint, save_checkpoint
from vae_lib.training.checkpoints import Checkpoint, find_checkpoint, fingerprint, read_checkpoint
from vae_lib.training.container import CheckpointError
from vae_lib.training.surroundings import find_device

__all__ = ["complete_card", "evaluate_again", "rungs", "summary"]

_PRECISIONS = {"float32": torch.float32, "float16": torch.float16}


def complete_card(
    run: str | Path,
    out: str | Path | None = None,
    *,
    precision: str = "float32",
    split: str = "test",
    examples: int | None = None,
    binarisation: int | None = None,
    k: int = 5000,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
) -> Card:
    r"""Write a complete card, with its checkpoint and its values, from the folder of a run.

    The checkpoint is the one with the best validation ELBO, or the last if there is none. Of it the
    weights are kept, and the curve of the whole run; the moments of the optimiser are not. In
    "float16" the file has half the size, every weight is rounded to 11 bits, and the card's numbers
    belong to the rounded weights: they are computed from the file that was written.

    The values hold :math:`\ln p(x)` of every example at several k up to the last, from the same
    noise, so that a part of them can be audited exactly.

    Args:
        run: The folder of the run, with the training half of the card; or a checkpoint in it.
        out: Where the three files go; by default into the same folder.
        precision: "float32" or "float16".
        split: "test", "validation" or "train".
        examples: Only the first so many.
        binarisation: The seed with which the pixels are drawn: see `card_examples`. By default they are
            drawn if the training drew them, with the seed of `python -m vae_lib evaluate`.
        k: Importance samples for each example.
        seed: Seed of their noise.
        device: As for `fit`.
        progress: Whether to show progress bars.

    Raises:
        CardError: If there is no training half, or the card in `out` is complete already.
        CheckpointError: If a checkpoint cannot be read or written, or belongs to another run.
        ValueError: If an argument is out of range, or a weight does not fit into float16.
        DataUnavailable: If the data are not to be had.

    Book: chapter 12 (run cards).

    Example:
        >>> complete_card("nowhere")
        Traceback (most recent call last):
        ...
        vae_lib.cards.card.CardError: nowhere/card.json: cannot be read (No such file or directory)
    """
    if precision not in _PRECISIONS:
        raise ValueError(f"precision is {precision!r}; wanted one of: {', '.join(_PRECISIONS)}")
    _require.positive_integer("k", k)
    if examples is not None:
        _require.positive_integer("examples", examples)
    _require.seed("seed", seed)
    where = find_device(device)
    run = Path(run)
    folder, file = run.parent if run.is_file() else run, find_checkpoint(run)
    training = read_card(folder / CARD).training
    out = folder if out is None else Path(out)
    if (out / CARD).exists() and read_card(out / CARD).evaluation is not None:
        raise CardError(out / CARD, ["is complete already; wanted another folder, or none there"])
    chosen, last = load_checkpoint(file), read_checkpoint(folder / "last.safetensors")
    _same_run(chosen, last, training)
    data = training["data"]
    if binarisation is None and training["config"].get("binarise"):
        binarisation = DRAWN_WITH
    x = card_examples(data["name"], split, data["likelihood"], binarisation)[:examples]

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{out} could not be made: {error.strerror or error}") from error
    _write_weights(out / CHECKPOINT, chosen, last, precision)
    checkpoint = {
        "file": CHECKPOINT,
        "sha256": file_digest(out / CHECKPOINT),
        "epoch": chosen.position.epoch,
        "precision": precision,
    }
    settings = {"split": split, "binarisation": binarisation, "k": k, "seed": seed}
    return _finish(out / CARD, training, checkpoint, x, settings, where, progress)


def evaluate_again(card: str | Path, *, device: str = "auto", progress: bool = False) -> Card:
    """Replace the second half of a complete card: the same checkpoint, the same settings, the code of today.

    For when the evaluation itself has changed, such as the way in which its noise is drawn. The
    weights are not touched.

    Args:
        card: A complete card, or its folder.
        device: As for `fit`.
        progress: Whether to show progress bars.

    Raises:
        CardError: If the card is not complete, or the checkpoint is not the one it names.
        CheckpointError: If a file cannot be read or written.
        DataUnavailable: If the data are not to be had.

    Book: chapter 12 (run cards).

    Example:
        >>> evaluate_again("nowhere")
        Traceback (most recent call last):
        ...
        vae_lib.cards.card.CardError: nowhere: cannot be read (No such file or directory)
    """
    where = find_device(device)
    old = read_card(card)
    if old.evaluation is None or old.checkpoint is None:
        raise incomplete(old)
    file = old.path.with_name(old.checkpoint["file"])
    if not file.exists() or file_digest(file) != old.checkpoint["sha256"]:
        raise CardError(old.path, [f"names a checkpoint that is not there, or another than {file.name}"])
    data = old.evaluation["data"]
    settings = {
        "split": data["split"],
        "binarisation": data["binarisation"],
        "k": old.evaluation["samples"],
        "seed": old.evaluation["seed"],
    }
    trained = old.training["data"]
    x = card_examples(data["name"], data["split"], trained["likelihood"], data["binarisation"])
    x = x[: old.evaluation["examples"]]
    return _finish(old.path, old.training, old.checkpoint, x, settings, where, progress)


def _finish(
    path: Path,
    training: dict,
    checkpoint: dict,
    x: Tensor,
    settings: dict,
    device: torch.device,
    progress: bool,
) -> Card:
    """Evaluate the checkpoint beside the card, and write values and card."""
    k, seed = settings["k"], settings["seed"]
    model = load_checkpoint(path.with_name(checkpoint["file"])).model.to(device)
    wall, cpu = time.perf_counter(), time.process_time()
    counts = rungs(k)  # each by itself, and not in one `convergence`: an audit may ask for one alone
    results = [
        log_likelihood(model, x, count, seed=seed, progress=progress and count == k) for count in counts
    ]
    seconds = {
        "wall": round(time.perf_counter() - wall, 3),
        "cpu": round(time.process_time() - cpu, 3),
    }
    values = {
        "samples": torch.tensor(counts),
        "log_likelihood": torch.stack([result.value for result in results]).float(),  # (rungs, n)
        "elbo": results[-1].elbo.float(),  # (n,)
        "effective_sample_size": results[-1].effective_sample_size.float(),
    }
    write_values(path.with_name(VALUES), values)
    evaluation = {
        "data": {
            "name": training["data"]["name"],
            "split": settings["split"],
            "binarisation": settings["binarisation"],
            "fingerprint": fingerprint(x),
        },
        "examples": len(x),
        "samples": k,
        "seed": seed,
        "device": device_of(device.type),
        "versions": versions(),
        "seconds": seconds,
        **summary(values),
        "values": {"file": VALUES, "sha256": file_digest(path.with_name(VALUES))},
    }
    halves = {"training": training, "checkpoint": checkpoint, "evaluation": evaluation}
    write_card(path, {"format": FORMAT, **halves})
    return read_card(path)


def rungs(k: int) -> list[int]:
    """The numbers of samples that values are kept for: 1, 10, 100, ... and k itself.

    Example:
        >>> rungs(5000), rungs(100)
        ([1, 10, 100, 1000, 5000], [1, 10, 100])
    """
    return [10**power for power in range(len(str(k))) if 10**power < k] + [k]


def summary(values: dict[str, Tensor]) -> dict[str, dict[str, float | None] | float]:
    """The three numbers of a card that follow from the values of the single examples."""

    def mean(value: Tensor) -> dict[str, float | None]:
        estimate = mean_over_examples(value)
        error = estimate.standard_error.item() if len(value) > 1 else None
        return {"value": estimate.value.item(), "standard_error": error}

    return {
        "elbo": mean(values["elbo"]),
        "log_likelihood": mean(values["log_likelihood"][-1]),
        "effective_sample_size": values["effective_sample_size"].double().nanmedian().item(),
    }


def _same_run(chosen: Checkpoint, last: Checkpoint, training: dict) -> None:
    """Refuse a checkpoint that the training half is not about."""
    for checkpoint in (chosen, last):
        if checkpoint.history is None or checkpoint.recipe != training["model"]:
            raise CheckpointError(f"{checkpoint.path} belongs to another run than the card beside it")
    curve, shorter = curve_of(last), curve_of(chosen)
    begins = all(curve[name][: len(values)] == values for name, values in shorter.items())
    if curve != training["curve"] or not begins:
        raise CheckpointError(f"{chosen.path} belongs to another run than the card beside it")


def _write_weights(path: Path, chosen: Checkpoint, last: Checkpoint, precision: str) -> None:
    """A checkpoint of the weights, with the curve of the whole run and without the optimiser."""
    model = chosen.model.to(_PRECISIONS[precision])
    for name, weight in model.state_dict().items():
        if not torch.isfinite(weight).all():
            raise ValueError(f"{name} does not fit into {precision}; wanted precision 'float32'")
    position = dataclasses.replace(chosen.position, order=None, noise={})
    save_checkpoint(
        path,
        model,
        config=chosen.config,
        history=last.history,
        position=position,
        data=chosen.data,
        notes=chosen.notes,
    )
