"""Reading and writing run cards, and the file of values beside them."""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from jaxtyping import Shaped
from torch import Tensor

from vae_lib._files import file_bytes
from vae_lib.cards.schema import FORMAT, SCHEMA
from vae_lib.training.container import read, write, write_atomically

__all__ = [
    "CARD",
    "CHECKPOINT",
    "VALUES",
    "Card",
    "CardError",
    "digest",
    "file_digest",
    "read_card",
    "read_values",
    "write_card",
    "write_values",
]

_LIST = re.compile(r"\[[^\[\]{}\"]*\]")  # a list of numbers
CARD, CHECKPOINT, VALUES = "card.json", "model.safetensors", "values.safetensors"


class CardError(ValueError):
    """A card cannot be read. It has one line in `faults` for each thing that is wrong.

    Book: chapter 12 (run cards).

    Example:
        >>> CardError("card.json", ["seed is -1"]).faults
        ['card.json: seed is -1']
    """

    def __init__(self, path: str | Path, faults: list[str]):
        self.faults = [f"{path}: {fault}" for fault in faults]
        super().__init__("\n".join(self.faults))


class Card(NamedTuple):
    """A run card that has been read; `vae_lib.cards` lists the fields.

    Attributes:
        path: Where it lies.
        training: The half that the training wrote.
        checkpoint: The file with the weights, or None if the card is not complete.
        evaluation: What they are worth, or None.
        sha256: The digest that the card carries. Whether it is the right one, the audit asks.

    Book: chapter 12 (run cards).

    Example:
        >>> Card(Path("runs/a/card.json"), {}, None, None, "").name
        'a'
    """

    path: Path
    training: dict[str, Any]
    checkpoint: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    sha256: str

    @property
    def name(self) -> str:
        """The name of its folder.

        Example:
            >>> Card(Path("runs/mnist/card.json"), {}, None, None, "").name
            'mnist'
        """
        return self.path.resolve().parent.name

    def document(self) -> dict[str, Any]:
        """The card as it stands in the file, without the digest.

        Example:
            >>> sorted(Card(Path("card.json"), {}, None, None, "").document())
            ['format', 'training']
        """
        halves = {"checkpoint": self.checkpoint, "evaluation": self.evaluation}
        present = {name: half for name, half in halves.items() if half is not None}
        return {"format": FORMAT, "training": self.training, **present}


def read_card(path: str | Path) -> Card:
    """Read a run card and see that it has the right form.

    Args:
        path: The file, or the folder that holds it as `card.json`.

    Raises:
        CardError: If it is not there, is not JSON, or has a field that is missing, unknown, or not of
            the form in `vae_lib.cards.schema`: one line for each.

    Book: chapter 12 (run cards).

    Example:
        >>> read_card("nowhere/card.json")
        Traceback (most recent call last):
        ...
        vae_lib.cards.card.CardError: nowhere/card.json: cannot be read (No such file or directory)
    """
    path = Path(path)
    if path.is_dir():
        path = path / CARD
    try:
        document = json.loads(file_bytes(path).decode(), parse_constant=_refuse)
    except OSError as error:
        raise CardError(path, [f"cannot be read ({error.strerror or error})"]) from error
    except (ValueError, RecursionError) as error:
        raise CardError(path, [f"is not JSON ({error})"]) from error
    if isinstance(document, dict) and document.get("format", FORMAT) != FORMAT:
        raise CardError(path, [f"format is {document['format']!r}; wanted {FORMAT}"])
    _check_form(path, document)
    return Card(
        path,
        document["training"],
        document.get("checkpoint"),
        document.get("evaluation"),
        document["sha256"],
    )


def write_card(path: Path, document: dict[str, Any]) -> None:
    """Write a card with its digest, whole or not at all.

    Args:
        path: The file; its folder must exist.
        document: The card without `sha256`. NaN becomes null.

    Raises:
        CheckpointError: If the file cannot be written.
        CardError: If the document is no card.
    """
    document = _without_nan(document)
    document["sha256"] = digest(document)
    _check_form(path, document)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    text = _LIST.sub(lambda found: " ".join(found.group().split()), text)  # a curve is one line
    write_atomically(path, (text + "\n").encode())


def digest(document: dict[str, Any]) -> str:
    """The sha256 of a card without the field of that name.

    The order of the keys and the white space do not count.

    Book: chapter 12 (run cards).

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "sha256": "", "a": 1})
        True
    """
    rest = {name: value for name, value in document.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The sha256 of a file.

    Raises:
        OSError: If it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_values(path: Path, values: dict[str, Tensor]) -> None:
    """Write the values of the single examples."""
    write(path, values, {"values": FORMAT})


def read_values(card: Card) -> dict[str, Shaped[Tensor, "..."]]:
    """The values of the single examples that a complete card is made of.

    Returns:
        `elbo` and `effective_sample_size`, each (examples,), `log_likelihood` (rungs, examples), and
        `samples` (rungs,): the numbers of importance samples, the last of which is the card's own.

    Raises:
        CardError: If the card is not complete.
        CheckpointError: If the file is missing, damaged or of another kind.

    Book: chapter 12 (run cards).

    Example:
        >>> read_values(Card(Path("card.json"), {}, None, None, ""))
        Traceback (most recent call last):
        ...
        vae_lib.cards.card.CardError: card.json: holds the training only; ...
    """
    if card.evaluation is None:
        raise incomplete(card)
    path = card.path.with_name(card.evaluation["values"]["file"])
    values, document = read(path)
    wanted = ["effective_sample_size", "elbo", "log_likelihood", "samples"]
    if document.get("values") != FORMAT or sorted(values) != wanted:
        raise CardError(path, ["holds no values of examples"])
    return values


def incomplete(card: Card) -> CardError:
    """What there is to say about a card without an evaluation."""
    return CardError(card.path, ["holds the training only; `python -m vae_lib card` completes it"])


def _check_form(path: Path, document: Any) -> None:
    """Refuse what does not have the form of `vae_lib.cards.schema`, with a line for each fault."""
    from jsonschema import Draft202012Validator

    faults = Draft202012Validator(SCHEMA).iter_errors(document)
    lines = sorted(f"{_place(fault.json_path)}{_short(fault.message)}" for fault in faults)
    if lines:
        raise CardError(path, lines)


def _refuse(name: str) -> float:
    raise ValueError(f"it holds {name}")


def _place(json_path: str) -> str:
    """`$.evaluation.samples` as `evaluation.samples: `; nothing for the card itself."""
    return f"{json_path[2:]}: " if len(json_path) > 1 else ""


def _short(message: str) -> str:
    return message if len(message) <= 160 else f"{message[:100]} … {message[-50:]}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
