"""Rebuild a submission from the assignment: the student's code, our tests.

Whatever was done to the notebook, what is executed is the source of the assignment with the student's
answers in their places and the student's own cells where they stood. Tests are ours, always.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from vae_lib.grading.course import Shown

__all__ = ["Rebuilt", "Template", "Unreadable", "read_cells", "rebuild", "shown_cells", "without"]

STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
LARGEST = 30_000_000  # bytes of a notebook
MOST_CELLS = 2_000
LONGEST_CELL = 1_000_000  # characters of code


class Unreadable(Exception):
    """No cells can be got out of a file; the text says why."""


@dataclass(frozen=True)
class Found:
    """A cell as it was handed in, as far as it can be understood."""

    kind: str
    source: str
    grade_id: str | None
    cell_id: str | None
    points: Any = None


def read_cells(path: Path) -> tuple[list[Found], list[str]]:
    """The cells of a notebook of any format, and what was odd about the file.

    Raises:
        Unreadable: no cells can be got out of it.
    """
    odd: list[str] = []
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST else b""
    except OSError as error:
        raise Unreadable(f"the file cannot be read: {error.strerror}") from None
    if size == 0:
        raise Unreadable("the file is empty")
    if size > LARGEST:
        raise Unreadable(f"the file has {size / 1e6:.0f} MB; at most {LARGEST / 1e6:.0f} are read")
    try:
        raw = json.loads(_decode(content, odd))
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise Unreadable(f"the file is not a notebook: {reason}") from None
    cells = list(islice(_cells(raw), MOST_CELLS + 1))
    if not isinstance(raw, dict) or not cells:
        raise Unreadable("the file has no cells")
    if len(cells) > MOST_CELLS:
        raise Unreadable(f"the notebook has more than {MOST_CELLS} cells")
    if any(len(cell.source) == LONGEST_CELL for cell in cells):
        odd.append(f"a cell has more than {LONGEST_CELL} characters; the rest was not read")
    if not isinstance(raw.get("nbformat"), int) or raw["nbformat"] < 4:
        odd.append(f"the notebook is of the older format {str(raw.get('nbformat'))[:20]}")
    return cells, odd


def _decode(content: bytes, odd: list[str]) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        odd.append("the file is in UTF-16, not UTF-8")
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        odd.append("the file is not in UTF-8; it was read as Latin-1")
        return content.decode("latin-1")


def _cells(raw: Any) -> Iterator[Found]:
    if not isinstance(raw, dict):
        return
    found = raw.get("cells")
    if not isinstance(found, list):
        sheets = raw.get("worksheets")
        sheets = sheets if isinstance(sheets, list) else []
        found = [
            cell
            for sheet in sheets
            if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list)
            for cell in sheet["cells"]
        ]
    for cell in found:
        if not isinstance(cell, dict):
            continue
        source = _text(cell.get("source", cell.get("input", "")))
        metadata = cell.get("metadata")
        nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        nbgrader = nbgrader if isinstance(nbgrader, dict) else {}
        yield Found(
            "code" if cell.get("cell_type") == "code" else "markdown",
            source[:LONGEST_CELL],
            _name(nbgrader.get("grade_id")),
            _name(cell.get("id")),
            nbgrader.get("points"),
        )


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str):
        return ""
    # half a surrogate pair can stand in JSON, but in no file
    return value.encode("utf-8", errors="replace").decode("utf-8").replace("\r\n", "\n")


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


@dataclass(frozen=True)
class Part:
    """A cell of the assignment that has a place of its own."""

    place: int
    grade_id: str
    role: str
    shown: str
    points: float | int | None
    defines: tuple[str, ...]


class Template:
    """An assignment as it is executed: the source of nbgrader, with stubs in place of the answers.

    Args:
        source: the notebook with answers and hidden tests.
        earlier: cells that were given out before and have changed since.
    """

    def __init__(self, source: Path, earlier: Sequence[Shown] = ()):
        self.earlier = earlier
        self.book = nbformat.read(source, as_version=4)
        self.parts: list[Part] = []
        for place, cell in enumerate(self.book.cells):
            nbgrader = cell.metadata.get("nbgrader")
            if nbgrader is None:
                continue
            if nbgrader["solution"]:
                cell.source = without(cell.source, "SOLUTION", STUB)
            role = "test" if nbgrader["grade"] else "answer" if nbgrader["solution"] else "setup"
            self.parts.append(
                Part(
                    place,
                    nbgrader["grade_id"],
                    role,
                    without(cell.source, "HIDDEN TESTS"),
                    nbgrader.get("points"),
                    _defined(cell.source) if role == "answer" else (),
                )
            )
        self.by_id = {part.grade_id: part for part in self.parts}
        self.by_name = {name: part for part in self.parts for name in part.defines}
        self.setups = {_bare(part.shown): part for part in self.parts if part.role == "setup"}
        self.by_first_line = {
            part.shown.split("\n", 1)[0].strip(): part for part in self.parts if part.role == "test"
        }

    def part_of(self, cell: Found) -> tuple[Part, str] | None:
        """The part of the assignment that a cell is, and how it was told: by "id", "cell id" or "text"."""
        if cell.kind != "code":
            return None
        for how, name in (("id", cell.grade_id), ("cell id", cell.cell_id)):
            if name in self.by_id:
                return self.by_id[name], how
        first = cell.source.strip().split("\n", 1)[0].strip()
        if first in self.by_first_line:
            return self.by_first_line[first], "text"
        if _bare(cell.source) in self.setups:
            return self.setups[_bare(cell.source)], "text"
        for name in _defined(cell.source):
            if name in self.by_name:
                return self.by_name[name], "text"
        return None

    def answered(self, cells: Sequence[Found]) -> int:
        """How many answers differ from their stubs; -1 if no cell belongs to the assignment."""
        told = [(part, cell) for cell in cells if (part := self.part_of(cell)) is not None]
        if not told:
            return -1
        return len(
            {
                part.grade_id
                for (part, _), cell in told
                if part.role == "answer" and _bare(cell.source) != _bare(part.shown)
            }
        )


def _defined(source: str) -> tuple[str, ...]:
    """The functions that stand at the left margin; by pattern, as the code may not be code."""
    return tuple(re.findall(r"^(?:def|class)\s+(\w+)", source, flags=re.MULTILINE))


def shown_cells(source: NotebookNode) -> list[Shown]:
    """What students see of the tests and the set-up of a notebook with hidden tests."""
    ours = [cell for cell in source.cells if not cell.metadata.get("nbgrader", {}).get("solution", True)]
    return [
        Shown(
            cell.metadata["nbgrader"]["grade_id"],
            _bare(without(cell.source, "HIDDEN TESTS")),
            cell.metadata["nbgrader"].get("points"),
        )
        for cell in ours
    ]


def _bare(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def without(code: str, region: str, stub: str | None = None) -> str:
    """The code without its regions; a stub may take their place."""
    kept, inside = [], False
    for line in code.split("\n"):
        if f"### BEGIN {region}" in line:
            inside = True
            indent = line[: len(line) - len(line.lstrip())]
            kept += [indent + text for text in (stub.split("\n") if stub else [])]
        elif f"### END {region}" in line:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


@dataclass
class Rebuilt:
    """A submission in the form in which it is executed.

    Attributes:
        book: the notebook.
        flags: what was odd, in words.
        unanswered: the ids of the answer cells that hold the stub, or nothing.
    """

    book: NotebookNode
    flags: list[str] = field(default_factory=list)
    unanswered: set[str] = field(default_factory=set)


def rebuild(template: Template, cells: Sequence[Found]) -> Rebuilt:
    """The assignment with the answers and the own cells of a submission."""
    flags: list[str] = []
    answers: dict[str, str] = {}
    extras: dict[int, list[Found]] = {}
    seen: set[str] = set()
    twice: list[str] = []
    edited: list[str] = []
    repriced: list[str] = []
    by_text = by_cell_id = False
    anchor = -1  # the place in the assignment after which a cell of the student's own stands
    for cell in cells:
        told = template.part_of(cell)
        if told is None:
            if cell.kind == "code" and cell.source.strip():
                extras.setdefault(anchor, []).append(cell)
            continue
        part, how = told
        if part.grade_id in seen:
            twice.append(part.grade_id)
            if part.role == "answer":
                # as in the student's own run: the later cell is executed after the earlier one
                extras.setdefault(part.place, []).append(cell)
            continue
        seen.add(part.grade_id)
        anchor = part.place
        by_text |= how == "text"
        by_cell_id |= how == "cell id"
        if part.role == "answer":
            answers[part.grade_id] = cell.source
            continue
        old = [shown for shown in template.earlier if shown.grade_id == part.grade_id]
        if _bare(cell.source) not in (_bare(part.shown), *(shown.text for shown in old)):
            edited.append(part.grade_id)
            if part.role == "setup":
                extras.setdefault(part.place, []).append(cell)  # it may hold imports that the answers need
        prices = [shown.points for shown in old]
        if how == "id" and part.role == "test" and cell.points not in (None, part.points, *prices):
            repriced.append(part.grade_id)
    if not seen:
        raise Unreadable("no cell of this notebook belongs to the assignment")
    if by_cell_id:
        flags.append("the notebook has lost nbgrader's marks; cells were told by their ids")
    if by_text:
        flags.append("cells were told by what they define, as they had no marks")
    gone = [part for part in template.parts if part.grade_id not in seen]
    for ids, text in (
        (twice, "more than once in the notebook: {}"),
        (edited, "edited: {}; ours was run"),
        (repriced, "points edited: {}; ours count"),
        ([part.grade_id for part in gone if part.role != "answer"], "deleted: {}; ours was run"),
        ([part.grade_id for part in gone if part.role == "answer"], "deleted: {}"),
    ):
        if ids:
            flags.append(text.format(_some(ids)))
    return _assemble(template, answers, extras, flags)


def _some(names: Sequence[str], most: int = 3) -> str:
    """The names, or the first of many and how many there are."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _assemble(
    template: Template, answers: dict[str, str], extras: dict[int, list[Found]], flags: list[str]
) -> Rebuilt:
    book = nbformat.v4.new_notebook(metadata=template.book.metadata)
    rebuilt = Rebuilt(book, flags)
    places = {part.place: part for part in template.parts}
    count = 0

    def own(place: int) -> Iterator[NotebookNode]:
        nonlocal count
        for cell in extras.get(place, ()):
            count += 1
            yield nbformat.v4.new_code_cell(cell.source, id=f"own-{count}")

    book.cells += own(-1)
    for place, cell in enumerate(template.book.cells):
        cell = nbformat.from_dict(json.loads(json.dumps(cell)))
        part = places.get(place)
        if part is not None and part.role == "answer":
            cell.source = answers.get(part.grade_id, "")
            if _bare(cell.source) in ("", _bare(part.shown)):
                rebuilt.unanswered.add(part.grade_id)
        book.cells += [cell, *own(place)]
    return rebuilt
