"""The recorded runs of this project, and a table of them."""

from collections.abc import Sequence
from pathlib import Path

from vae_lib.cards.card import CARD, Card, read_card

__all__ = ["CardTable", "recorded"]

_BESIDE_THE_LIBRARY = Path(__file__).parents[2] / "runs"


def recorded(folder: str | Path | None = None) -> list[Card]:
    """The complete cards in the sub-folders of `folder`, by name.

    Args:
        folder: By default the folder `runs` beside the library.

    Raises:
        CardError: If one of them is no card.

    Book: chapter 12 (run cards).

    Example:
        >>> recorded("nowhere")
        []
    """
    folder = _BESIDE_THE_LIBRARY if folder is None else Path(folder)
    cards = [read_card(path) for path in sorted(folder.glob(f"*/{CARD}"))]
    return [card for card in cards if card.evaluation is not None]


class CardTable:
    """Cards as a table: in a notebook as one, elsewhere as text.

    Args:
        cards: Complete cards.

    Raises:
        ValueError: If a card is not complete.

    Book: chapter 12 (run cards).

    Example:
        >>> print(CardTable([]))
        | run | test data | ELBO | ln p(x) | trained |
        | --- | --- | --- | --- | --- |
    """

    def __init__(self, cards: Sequence[Card]):
        self.rows = [_row(card) for card in cards]

    def __str__(self) -> str:
        heads = ["run", "test data", "ELBO", "ln p(x)", "trained"]
        lines = [heads, ["---"] * len(heads), *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return str(self)


def _row(card: Card) -> list[str]:
    evaluation, training = card.evaluation, card.training
    if evaluation is None:
        raise ValueError(f"{card.path} holds the training only; wanted a complete card")
    data = evaluation["data"]
    how = "" if data["binarisation"] is None else f", drawn with seed {data['binarisation']}"
    processes = training["device"]["processes"]
    device = "GPU" if training["device"]["kind"] == "cuda" else "CPU"
    where = f"one {device}" if processes == 1 else f"{processes} processes, {device}"
    return [
        card.name,
        f"{data['name']}: {evaluation['examples']:,}{how}",
        _mean(evaluation["elbo"]),
        f"{_mean(evaluation['log_likelihood'])} (k = {evaluation['samples']:,})",
        f"{len(training['curve']['elbo'])} epochs, {_time(training['seconds']['wall'])} on {where}",
    ]


def _mean(mean: dict[str, float | None]) -> str:
    spread = "" if mean["standard_error"] is None else f" ± {mean['standard_error']:.2f}"
    return f"{mean['value']:.2f}{spread}".replace("-", "−")


def _time(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
