"""The audit of a run card: recompute what it reports, and say whether it is so."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vae_lib import _require
from vae_lib.cards.card import (
    Card,
    CardError,
    digest,
    file_digest,
    incomplete,
    read_card,
    read_values,
)
from vae_lib.cards.completing import summary
from vae_lib.cards.examples import card_examples
from vae_lib.cards.recording import curve_of
from vae_lib.data import DataUnavailable
from vae_lib.evaluation import log_likelihood, mean_over_examples
from vae_lib.evaluation.arguments import EXAMPLES_AT_ONCE
from vae_lib.training import load_checkpoint
from vae_lib.training.checkpoints import Checkpoint, fingerprint
from vae_lib.training.surroundings import find_device

__all__ = ["Audit", "Comparison", "audit", "data_at_hand"]

# One value, same kind of device: the same noise and another order of additions. A value of float32
# with 784 pixels was never seen to move by more than 1e-4 nats; a mean over many moves less.
PER_EXAMPLE = 1e-3
# Another kind of device draws other noise. The mean of the differences may then be off by as many of
# its own standard errors, and by what TF32 does to a mean.
SIGMAS, OTHER_ARITHMETIC = 5.0, 2e-3
# What follows from the stored values by an average in float64.
ROUNDING = 1e-9


class Comparison(NamedTuple):
    """One thing that the card reports, and what the audit found.

    Attributes:
        name: What was compared.
        reported: What the card says.
        recomputed: What was found.
        tolerance: How far they may be apart; 0 for what is no number.
        agrees: Whether they are not.

    Book: chapter 12 (run cards).

    Example:
        >>> print(Comparison("ELBO", -90.0, -91.0, 0.001, False))
        DISAGREES: ELBO: reported -90.0, recomputed -91.0, tolerance 0.001
    """

    name: str
    reported: Any
    recomputed: Any
    tolerance: float
    agrees: bool

    def __str__(self) -> str:
        word = "agrees" if self.agrees else "DISAGREES"
        values = f"reported {_short(self.reported)}, recomputed {_short(self.recomputed)}"
        return f"{word}: {self.name}: {values}, tolerance {self.tolerance:g}"


@dataclasses.dataclass
class Audit:
    """What an audit found.

    Attributes:
        card: The card.
        comparisons: One for each thing that was compared.
        recomputed: How many examples were computed again; 0 if the data were not wanted.
        samples: With how many importance samples each.
        difference: The largest difference of a value of ln p(x), in nats; NaN if none was computed.

    Book: chapter 12 (run cards).

    Example:
        >>> found = Audit(Card(Path("card.json"), {}, None, None, ""), [])
        >>> found.add("ELBO", -90.0, -90.5, tolerance=0.1)
        >>> found.agrees, len(found.disagreements)
        (False, 1)
    """

    card: Card
    comparisons: list[Comparison]
    recomputed: int = 0
    samples: int = 0
    difference: float = math.nan

    @property
    def disagreements(self) -> list[Comparison]:
        """The comparisons that failed.

        Example:
            >>> Audit(Card(Path("card.json"), {}, None, None, ""), []).disagreements
            []
        """
        return [one for one in self.comparisons if not one.agrees]

    @property
    def agrees(self) -> bool:
        """Whether something was compared, and all of it agrees.

        Example:
            >>> Audit(Card(Path("card.json"), {}, None, None, ""), []).agrees
            False
        """
        return bool(self.comparisons) and not self.disagreements

    def lines(self) -> list[str]:
        """The outcome in words: what disagrees, or that all agrees and how far the audit went.

        Example:
            >>> found = Audit(Card(Path("card.json"), {}, None, None, ""), [])
            >>> found.add("examples", 300, 299)
            >>> found.lines()
            ['card.json DISAGREES: examples: reported 300, recomputed 299, tolerance 0']
        """
        if not self.agrees:
            return [f"{self.card.path} {one}" for one in self.disagreements]
        stated = self.card.evaluation or {}
        text = f"{self.card.path} agrees: {len(self.comparisons)} comparisons"
        if self.recomputed:
            text += (
                f"; ln p(x) of {self.recomputed} of {stated['examples']} examples recomputed with "
                f"{self.samples} of {stated['samples']} samples, "
                f"largest difference {self.difference:.1e} nats"
            )
        return [text]

    def add(self, name: str, reported: Any, recomputed: Any, tolerance: float = 0.0) -> None:
        """Compare, and keep what came out.

        Example:
            >>> found = Audit(Card(Path("card.json"), {}, None, None, ""), [])
            >>> found.add("examples", 300, 300)
            >>> found.agrees
            True
        """
        numbers = all(type(value) in (int, float) for value in (reported, recomputed))
        close = numbers and abs(reported - recomputed) <= tolerance
        same = type(reported) is type(recomputed) and reported == recomputed
        self.comparisons.append(Comparison(name, reported, recomputed, tolerance, close or same))


def audit(
    card: Card | str | Path,
    *,
    examples: int | None = None,
    samples: int | None = None,
    numbers: bool = True,
    device: str = "auto",
    download: bool = True,
    progress: bool = False,
) -> Audit:
    r"""Recompute what a run card reports.

    1. The digest of the card, of the checkpoint and of the values.
    2. From the checkpoint: model, settings, data, curve and epoch.
    3. From the stored values, one per example: the means and the standard errors.
    4. From the checkpoint and the data: the values themselves, with the stated number of samples
       and seed, and once more the means.

    On the same kind of device the noise is the same, and every single value must agree to 1e-3 nats,
    ten times what rounding in float32 was seen to do. Another kind draws other noise; then the mean
    of the differences :math:`d_n` of the values must vanish, within

    .. math:: 5 \, \operatorname{sd}(d_n) / \sqrt N + 0.002

    nats. The first part allows for the noise of both, the second for other arithmetic (TF32).

    Args:
        card: A card, its path or its folder.
        examples: Recompute the values of only the first so many (rounded up to a multiple of 64,
            because so many share one stream of noise). All by default.
        samples: Recompute with fewer importance samples; one of the numbers that the values were kept
            for, such as 100 or 1000. The card's own by default.
        numbers: Whether to do part 4, which needs the data.
        device: "auto", "cpu", "cuda" or "cuda:n".
        download: Whether the network may be used for the data.
        progress: Whether to show a progress bar.

    Raises:
        CardError: If the card cannot be read, or is not complete.
        CheckpointError: If the checkpoint or the values are not there.
        ValueError: If an argument is out of range.
        DataUnavailable: If the data are needed and not to be had.

    Book: chapter 12 (run cards).

    Example:
        >>> audit("nowhere")
        Traceback (most recent call last):
        ...
        vae_lib.cards.card.CardError: nowhere: cannot be read (No such file or directory)
    """
    if not isinstance(card, Card):
        card = read_card(card)
    if card.evaluation is None or card.checkpoint is None:
        raise incomplete(card)
    if examples is not None:
        _require.positive_integer("examples", examples)
    where = find_device(device)
    found = Audit(card, [])
    found.add("sha256 of the card", card.sha256, digest(card.document()))
    found.add("the checkpoint's sha256", card.checkpoint["sha256"], _digest_of(card, card.checkpoint))
    claimed = card.evaluation["values"]
    found.add("the values' sha256", claimed["sha256"], _digest_of(card, claimed))
    if not all(one.agrees for one in found.comparisons[1:]):
        return found  # of other files there is nothing more to say
    checkpoint = load_checkpoint(card.path.with_name(card.checkpoint["file"]))
    values = read_values(card)
    for comparison in _training(card, checkpoint):
        found.add(*comparison)
    for comparison in _stored(card, values):
        found.add(*comparison)
    counts = values["samples"].tolist()
    if samples is not None and samples not in counts:
        raise ValueError(f"samples is {samples}; the values were kept for {', '.join(map(str, counts))}")
    if numbers and counts and found.comparisons[-1].agrees:
        rung = counts.index(samples) if samples is not None else len(counts) - 1
        _recompute(found, checkpoint, values, examples, rung, where, download, progress)
    return found


def data_at_hand(card: Card) -> bool:
    """Whether the examples of a complete card are on this machine.

    Book: chapter 12 (run cards).

    Example:
        >>> evaluation = {"data": {"name": "digits", "split": "test", "binarisation": None}}
        >>> data_at_hand(Card(Path("card.json"), {"data": {"likelihood": "bernoulli"}}, {}, evaluation, ""))
        True
    """
    try:
        _examples(card, download=False)
    except DataUnavailable:
        return False
    return True


def _training(card: Card, checkpoint: Checkpoint) -> Iterator[tuple]:
    """What the training half and the checkpoint both say."""
    training, stated = card.training, card.checkpoint or {}
    yield "checkpoint.epoch", stated["epoch"], checkpoint.position.epoch
    kinds = {p.dtype for name, p in checkpoint.tensors.items() if name.startswith("model.")}
    found = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
    yield "checkpoint.precision", stated["precision"], found
    yield "training.model", training["model"], checkpoint.recipe
    settings = vars(checkpoint.config) if checkpoint.config else {}
    for name, value in training["config"].items():
        other = settings.get(name)
        yield f"training.config.{name}", value, list(other) if isinstance(other, tuple) else other
    for name in ("training", "validation"):
        yield f"training.data.{name}", training["data"][name], checkpoint.data.get(name)
    for name, note in (("name", "data"), ("likelihood", "likelihood")):
        yield f"training.data.{name}", training["data"][name], checkpoint.notes.get(note)
    curve = curve_of(checkpoint) if checkpoint.history else {}
    yield "the names of the curves", sorted(training["curve"]), sorted(curve)
    for name, theirs in curve.items():
        ours = training["curve"].get(name, [])
        yield f"the number of epochs in training.curve.{name}", len(ours), len(theirs)
        for epoch, (reported, true) in enumerate(zip(ours, theirs, strict=False), start=1):
            if reported != true:
                yield f"training.curve.{name}, epoch {epoch}", reported, true


def _stored(card: Card, values: dict[str, Tensor]) -> Iterator[tuple]:
    """What follows from the values of the single examples."""
    stated = card.evaluation or {}
    yield "evaluation.samples", stated["samples"], values["samples"][-1].item()
    for name, number in summary(values).items():
        parts = number.items() if isinstance(number, dict) else [("", number)]
        for part, recomputed in parts:
            reported = stated[name][part] if part else stated[name]
            yield f"evaluation.{name}{part and '.'}{part}", reported, recomputed, ROUNDING
    yield "evaluation.examples", stated["examples"], len(values["elbo"])


def _recompute(
    found: Audit,
    checkpoint: Checkpoint,
    values: dict[str, Tensor],
    examples: int | None,
    rung: int,
    device: torch.device,
    download: bool,
    progress: bool,
) -> None:
    """Part 4: the values of the single examples, once more."""
    stated = found.card.evaluation or {}
    x = _examples(found.card, download)[: stated["examples"]]
    found.add("evaluation.data.fingerprint", stated["data"]["fingerprint"], fingerprint(x))
    if not found.comparisons[-1].agrees:
        return
    if examples is not None:
        x = x[: math.ceil(examples / EXAMPLES_AT_ONCE) * EXAMPLES_AT_ONCE]
    count = int(values["samples"][rung])
    model = checkpoint.model.to(device)
    result = log_likelihood(model, x, count, seed=stated["seed"], progress=progress)
    found.recomputed, found.samples = len(x), count
    pairs = {"ln p(x)": (values["log_likelihood"][rung, : len(x)], result.value.cpu())}
    if rung == len(values["samples"]) - 1:  # of the ELBO only the last one was kept
        pairs["ELBO"] = (values["elbo"][: len(x)], result.elbo.cpu())
    what = f"with {count} samples, mean over {len(x)} examples"
    for name, (ours, theirs) in pairs.items():
        difference = theirs.double() - ours.double()
        tolerance = PER_EXAMPLE
        if device.type != stated["device"]["kind"]:
            spread = mean_over_examples(difference).standard_error.item() if len(x) > 1 else math.inf
            tolerance = SIGMAS * spread + OTHER_ARITHMETIC
        else:
            n = int(difference.abs().argmax())
            furthest = f"{name} of example {n}, the one furthest off"
            found.add(furthest, ours[n].item(), theirs[n].item(), tolerance)
        found.add(f"{name} {what}", ours.double().mean().item(), theirs.double().mean().item(), tolerance)
        if name == "ln p(x)":
            found.difference = difference.abs().max().item()


def _examples(card: Card, download: bool) -> Tensor:
    where = (card.evaluation or {})["data"]
    likelihood = card.training["data"]["likelihood"]
    return card_examples(where["name"], where["split"], likelihood, where["binarisation"], download=download)


def _digest_of(card: Card, stated: dict[str, Any]) -> str:
    path = card.path.with_name(stated["file"])
    try:
        return file_digest(path)
    except OSError as error:
        raise CardError(path, [f"cannot be read ({error.strerror or error})"]) from error


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:80]} … {text[-30:]}"
