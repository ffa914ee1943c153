"""Make an assignment: the notebook for students, the instructor's copy, the rubric, nbgrader's source."""

from __future__ import annotations

import datetime
import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from nbformat import NotebookNode

from vae_lib.grading.course import CONFIG, Cell, Course, Manifest, Shown, write_atomically
from vae_lib.grading.normalize import shown_cells

__all__ = ["make"]


def _builder() -> ModuleType:
    """tools/exercises.py of this checkout, which reads the exercises' sources."""
    tools = Path(__file__).resolve().parents[2] / "tools"
    if not (tools / "exercises.py").is_file():
        raise ValueError(
            f"there is no {tools / 'exercises.py'}: assignments are made in an instructor's copy"
        )
    if str(tools) not in sys.path:
        sys.path.append(str(tools))
    return importlib.import_module("exercises")


def make(
    course: Course,
    chosen: Sequence[str],
    *,
    name: str | None = None,
    variant: int | None = None,
    points: Mapping[str, float | int] | None = None,
    due: str | None = None,
) -> Manifest:
    """Make one assignment of a chapter or of single exercises, and enter it in nbgrader's gradebook.

    Args:
        course: where; the folder is made if it is missing.
        chosen: one chapter, such as "02_kl_rearrangement", or numbers of exercises, such as "2.1".
        name: of the assignment; by default that of the chapter, or of the exercises.
        variant: which set of numbers; by default what the assignment has already, else 0, the book's.
        points: exercise -> its points; by default what it has already, else the book's.
        due: the last day, such as "2027-01-15", or "" for none; by default what it has already.

    Raises:
        ValueError: there is no such chapter, exercise or variant, or nbgrader refuses the assignment.
    """
    if due:
        try:
            datetime.date.fromisoformat(due)
        except ValueError:
            raise ValueError(f"--due is {due!r}; wanted a day such as 2027-01-15") from None
    builder = _builder()
    parts = _choose(builder, chosen, variant or 0)
    if name is None:
        whole = [part.name for part, wanted in parts if len(wanted) == len(part.exercises)]
        numbers = [number.replace(".", "-") for _, wanted in parts for number in wanted]
        name = whole[0] if len(parts) == len(whole) == 1 else "exercises-" + "-and-".join(numbers)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"--name is {name!r}; wanted letters, digits, '-', '_' or '.'")
    before = course.manifest(name) if name in course.names() else None
    if variant is None and before is not None and before.variant:
        variant = before.variant
        parts = _choose(builder, chosen, variant)
    exercises = {e.id: e for part, wanted in parts for e in part.exercises if e.id in wanted}
    kept = {} if before is None else {number: before.points_of(number) for number in before.titles}
    scale = _scale(exercises, {n: p for n, p in kept.items() if n in exercises} | dict(points or {}))
    reading = _join([_pick(builder.instructor_notebook(part), wanted) for part, wanted in parts])
    source = _join([_pick(builder.source_notebook(part), wanted) for part, wanted in parts])
    for book in (reading, source):
        _rescale(book, scale)
    cells = tuple(
        Cell(test.grade_id, e.id, test.about, float(test.points * scale[e.id]))
        for e in exercises.values()
        for test in e.tests
    )
    if due is None:
        due = "" if before is None else before.due
    titles = {e.id: e.title for e in exercises.values()}
    manifest = Manifest(name, titles, cells, variant or 0, due, _earlier(course, before, source))
    _write(course, manifest, source)
    nbformat.validate(reading)
    write_atomically(course.instructor(name), nbformat.writes(reading) + "\n")
    rubric = course.root / "instructor" / f"{name}-rubric.md"
    write_atomically(rubric, _rubric(builder, manifest, parts))
    return manifest


def _earlier(course: Course, before: Manifest | None, source: NotebookNode) -> tuple[Shown, ...]:
    """The cells of ours that were given out under this name and that the new source no longer has."""
    if before is None or not course.source(before.name).is_file():
        return ()
    old = [*before.earlier, *shown_cells(nbformat.read(course.source(before.name), as_version=4))]
    return tuple(cell for cell in dict.fromkeys(old) if cell not in shown_cells(source))


def _choose(builder: ModuleType, chosen: Sequence[str], variant: int) -> list[tuple[Any, tuple[str, ...]]]:
    """The chapters that are needed, each with the numbers of the exercises that are wanted of it."""
    try:
        return _chapters(builder, chosen, variant)
    except (builder.Fault, FileNotFoundError) as error:
        raise ValueError(str(error)) from None


def _chapters(builder: ModuleType, chosen: Sequence[str], variant: int) -> list[tuple[Any, tuple[str, ...]]]:
    known = builder.names()
    if not known:
        raise ValueError("this copy of the project has no exercises/: assignments need the instructors' copy")
    chapters = [word for word in chosen if not re.fullmatch(r"\d+\.\d+", word)]
    if chapters and len(chosen) > 1:
        raise ValueError("one chapter, or numbers of exercises: " + " ".join(chosen))
    if chapters:
        part = builder.Assignment(chapters[0], variant=variant)
        return [(part, tuple(e.id for e in part.exercises))]
    wanted: dict[str, list[str]] = {}
    for number in dict.fromkeys(chosen):
        home = next((n for n in known if int(n[:2]) == int(number.split(".")[0])), None)
        if home is None:
            raise ValueError(f"there is no exercise {number}; the chapters are {', '.join(known)}")
        wanted.setdefault(home, []).append(number)
    parts = []
    for home, numbers in wanted.items():
        part = builder.Assignment(home, variant=variant)
        there = [e.id for e in part.exercises]
        for number in numbers:
            if number not in there:
                raise ValueError(f"there is no exercise {number}; {home} has {', '.join(there)}")
        parts.append((part, tuple(number for number in there if number in numbers)))
    return parts


def _pick(book: NotebookNode, wanted: Sequence[str]) -> NotebookNode:
    """The notebook with only these exercises."""
    slugs = {number.replace(".", "-") for number in wanted}

    def belongs(cell: NotebookNode) -> bool:
        found = re.fullmatch(r"(?:statement|hint|answer|test|note)-(\d+-\d+)(?:-.*)?", cell.id)
        return found is None or found[1] in slugs

    book.cells = [cell for cell in book.cells if belongs(cell)]
    return book


def _join(books: Sequence[NotebookNode]) -> NotebookNode:
    """One notebook of several; the introductions get ids of their own."""
    joined = books[0]
    for place, book in enumerate(books[1:], start=2):
        book.cells[0]["id"] = f"introduction-{place}"
        joined.cells += book.cells
    return joined


def _scale(exercises: Mapping[str, Any], points: Mapping[str, float | int]) -> dict[str, float | int]:
    for number in points:
        if number not in exercises:
            raise ValueError(f"--points names {number}, which is not in this assignment")
    return {e.id: points.get(e.id, e.points) / e.points for e in exercises.values()}


def _count(points: float | int) -> str:
    return f"{points:g} point" if points == 1 else f"{points:g} points"


def _rescale(book: NotebookNode, scale: Mapping[str, float | int]) -> None:
    """Change the points of the graded cells, and where they are told."""
    totals: dict[str, float | int] = {}
    for cell in book.cells:
        nbgrader = cell.metadata.get("nbgrader")
        if nbgrader is None or not nbgrader["grade"]:
            continue
        number = ".".join(nbgrader["grade_id"].split("-")[1:3])
        if scale[number] != 1:
            old, new = nbgrader["points"], nbgrader["points"] * scale[number]
            nbgrader["points"] = new
            cell.source = cell.source.replace(f"({_count(old)})", f"({_count(new)})", 1)
        totals[number] = totals.get(number, 0) + nbgrader["points"]
    for cell in book.cells:
        number = cell.id.removeprefix("statement-").replace("-", ".")
        if cell.id.startswith("statement-") and scale[number] != 1:
            cell.source = re.sub(r"· [\d.]+ points?\*", f"· {_count(totals[number])}*", cell.source, count=1)


def _rubric(builder: ModuleType, manifest: Manifest, parts: Sequence[tuple[Any, Sequence[str]]]) -> str:
    """What is graded and which mistakes the checks know, as text."""
    lines = [f"# {manifest.name}", ""]
    due = f" · due {manifest.due}" if manifest.due else ""
    lines.append(f"Variant {manifest.variant} · {_count(manifest.max_score)}{due}")
    mutants = {number: m for part, _ in parts for number, m in builder.load_mutants(part.name).items()}
    for part, wanted in parts:
        for number in wanted:
            exercise = part.exercise(number)
            lines += ["", f"## {exercise.title}", ""]
            lines += [f"{exercise.minutes} minutes · {_count(manifest.points_of(number))}", ""]
            lines += ["| graded | points |", "| --- | ---: |"]
            lines += [f"| {c.about} | {c.points:g} |" for c in manifest.cells if c.exercise == number]
            lines += ["", "| known answer | loses | the check names |", "| --- | --- | --- |"]
            lines += [
                f"| {m.name} | {', '.join(m.loses) or 'nothing: it is right'} | {m.says or ''} |"
                for m in mutants[number]
            ]
    return "\n".join(lines) + "\n"


def _write(course: Course, manifest: Manifest, source: NotebookNode) -> None:
    name = manifest.name
    course.root.mkdir(parents=True, exist_ok=True)
    if not course.config.is_file():
        write_atomically(course.config, CONFIG.format(course_id="vae"))
    nbformat.validate(source)
    write_atomically(course.source(name), nbformat.writes(source) + "\n")
    with nbgrader_api(course) as api:
        due = f"{manifest.due} 23:59:59 UTC" if manifest.due else None
        with api.gradebook as gradebook:
            gradebook.update_or_create_assignment(name, duedate=due)
        done = api.generate_assignment(name, force=True)
    if not done["success"]:
        told = (done["error"] or done["log"] or "no reason was given").strip().splitlines()
        raise ValueError(f"nbgrader refuses the assignment: {told[-1]}")
    course.write_manifest(manifest)


class nbgrader_api:
    """nbgrader's own interface to a course, quietly.

    nbgrader starts `alembic` by its bare name at every look into its database; it lies beside the
    interpreter, and once is enough.
    """

    def __init__(self, course: Course):
        import nbgrader.api
        from nbgrader.apps import NbGraderAPI
        from traitlets.config import Config

        config = Config()
        config.CourseDirectory.root = str(course.root.resolve())
        config.CourseDirectory.course_id = "vae"
        config.CourseDirectory.db_url = f"sqlite:///{course.database.resolve()}"
        beside = str(Path(sys.executable).parent)
        if beside not in os.environ["PATH"].split(os.pathsep):
            os.environ["PATH"] = f"{beside}{os.pathsep}{os.environ['PATH']}"
        if not hasattr(nbgrader.api.get_alembic_version, "cache_info"):
            nbgrader.api.get_alembic_version = cache(nbgrader.api.get_alembic_version)
        self.api = NbGraderAPI(config=config)
        self.api.log.setLevel(logging.CRITICAL)

    def __enter__(self) -> Any:
        self._quiet = warnings.catch_warnings()
        self._quiet.__enter__()
        warnings.simplefilter("ignore")  # SQLAlchemy's, about nbgrader
        return self.api

    def __exit__(self, *told: Any) -> None:
        self._quiet.__exit__(*told)
