"""A map of what depends on what: one row for each item, an arc for each use.

Rows in reading order and arcs beside them need no layout, never overlap the words, and fit a phone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from matplotlib.figure import Figure

from vae_lib.figures.diagrams import Sheet
from vae_lib.figures.emit import describe
from vae_lib.figures.style import WIDTH

__all__ = ["dependency_map"]

NUMBERS, WORDS = 82, 100  # points from the left edge: the middle of the boxes, the start of the text
LINE, GAP = 13, 12  # points: a line of words, the space between two rows
LONGEST, FITS = 34, 37  # characters of a name, and of the small text in one line

Uses = Mapping[int, Mapping[int, str]]


def dependency_map(
    names: Mapping[int, str],
    needs: Uses,
    *,
    helps: Uses | None = None,
    planned: Collection[int] = (),
) -> Figure:
    """Draw which item builds on which, and what it takes from there.

    Arcs run down from what is used to what uses it, solid if it is needed, dashed if it only
    helps. A planned item is grey. The description of the figure says all of it in words.

    Args:
        names: number → name, in reading order.
        needs: number → {number of an earlier item: a word on what is used}.
        helps: the same for what is useful but not needed.
        planned: numbers of the items that do not exist yet.

    Raises:
        ValueError: a number has no name, a name is too long for the sheet, or an item uses one that
            does not come before it.

    Book: the map of the course.

    Example:
        >>> fig = dependency_map({1: "Sums", 2: "Integrals"}, {2: {1: "limits"}})
        >>> fig.get_size_inches()[0].item()
        4.2
        >>> dependency_map({1: "Sums", 2: "Integrals"}, {1: {2: "limits"}})
        Traceback (most recent call last):
        ValueError: 1 uses 2, which does not come before it
    """
    helps = helps or {}
    order = {number: place for place, number in enumerate(names)}
    for uses in (needs, helps):
        for number, sources in uses.items():
            for source in sources:
                if not {number, source} <= names.keys():
                    raise ValueError(f"{number} uses {source}; both need a name, and names has {list(names)}")
                if order[source] >= order[number]:
                    raise ValueError(f"{number} uses {source}, which does not come before it")

    titles = {n: name + (" (planned)" if n in planned else "") for n, name in names.items()}
    for number, title in titles.items():
        if len(title) > LONGEST:
            raise ValueError(f"names[{number}] has room for {LONGEST} characters, got {title!r}")

    remarks = {
        number: _lines(needs.get(number, {}), "needs") + _lines(helps.get(number, {}), "helped by")
        for number in names
    }
    heights = {number: max(LINE * (1 + len(lines)), 20) for number, lines in remarks.items()}
    total = sum(heights.values()) + GAP * len(names)
    s = Sheet(WIDTH, total)
    top, boxes = total - GAP / 2, {}
    for number, title in titles.items():
        role = "data" if number in planned else "evidence"
        y = top - LINE / 2
        boxes[number] = s.box(NUMBERS, y, str(number), role=role, width=24, height=20)
        s.text(WORDS, y, title, role=role, align="left", bold=True)
        for i, line in enumerate(remarks[number], 1):
            s.text(WORDS, y - i * LINE, line, role=role, align="left", small=True)
        top -= heights[number] + GAP
    for uses, dashed in ((needs, False), (helps, True)):
        for number, sources in uses.items():
            for source in sources:
                (x, y), (_, end) = boxes[source].left, boxes[number].left
                role = "data" if number in planned else "evidence"
                # a longer arc swings out further, and none leaves the sheet
                bend = min(0.5, 2 * (x - 8) / (y - end))
                s.arrow((x, y - 4), (x, end + 4), role=role, dashed=dashed, bend=-bend)
    return describe(s.fig, _in_words(names, needs, helps, planned))


def _lines(sources: Mapping[int, str], verb: str) -> list[str]:
    """'needs 3 (bounds), 6 (gradients)' in lines that fit."""
    parts = [f"{source} ({word})" for source, word in sources.items()]
    lines: list[str] = []
    for i, part in enumerate(parts):
        part = (f"{verb} " if i == 0 else "") + part + ("," if i < len(parts) - 1 else "")
        if lines and len(lines[-1]) + 1 + len(part) <= FITS:
            lines[-1] += " " + part
        else:
            lines.append(part)
    return lines


def _in_words(names: Mapping[int, str], needs: Uses, helps: Uses, planned: Collection[int]) -> str:
    sentences = ["A map of what builds on what, from top to bottom, with an arc for each use."]
    for number, name in names.items():
        says = [f"needs {source} for {word}" for source, word in needs.get(number, {}).items()]
        says += [f"is helped by {source} for {word}" for source, word in helps.get(number, {}).items()]
        state = " (planned)" if number in planned else ""
        sentences.append(f"{number}, {name}{state}: {', '.join(says) or 'needs nothing before it'}.")
    return " ".join(sentences)
