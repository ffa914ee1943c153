"""Make the exercises' pages and notebooks from their one source, and prove that the grading is right.

    python tools/exercises.py build                     pages of the book, and the student texts (committed)
    python tools/exercises.py check                     is everything current, right, and free of leaks?
    python tools/exercises.py student [NAME …]          notebooks without answers
    python tools/exercises.py instructor [NAME …]       notebooks with answers, notes and catalogued mistakes,
                                                        and the sources that nbgrader takes
    python tools/exercises.py leaks FOLDER              does a folder show a secret line?
    options of the last two: --to FOLDER (default _build/exercises), --variant N (other numbers)

The source of a chapter is `exercises/NN_name.md`, its wrong answers are in `exercises/NN_name.mutants.yml`;
`exercises/README.md` says what they hold. Neither leaves for students (.gitattributes). Where they are
absent, as in a student's copy, `build_student` still works, from the text that `build` has written.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "exercises"
PAGES = ROOT / "book" / "exercises"
STUDENT_TEXTS = PAGES / "files"
BUILD = ROOT / "_build" / "exercises"

MARKER = "instructors" + "_only"  # written apart, so that this file is not taken for a leak
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # nbgrader's own, so that the two agree
SHORTEST_SECRET = 20
COMMON = ("import ", "from ", "with ")  # lines that begin so stand everywhere
REGIONS = ("SOLUTION", "HIDDEN TESTS", "MARK SCHEME")


class Fault(Exception):
    """A source that cannot be read; the text names the file and what is wrong with it."""


# ---------------------------------------------------------------------------------------------------
# Reading


@dataclass(frozen=True)
class Test:
    """A graded cell: its id, its points, what it is about, and its code with the hidden part."""

    grade_id: str
    points: int
    about: str
    code: str


@dataclass(frozen=True)
class Exercise:
    """One exercise of a source."""

    id: str
    title: str
    minutes: int
    statement: str
    hint: str
    note: str
    answer: str
    tests: tuple[Test, ...]

    @property
    def points(self) -> int:
        return sum(test.points for test in self.tests)

    @property
    def slug(self) -> str:
        return self.id.replace(".", "-")

    @property
    def call(self) -> str:
        """The visible line that calls the checker."""
        shown = without_region(self.tests[0].code, "HIDDEN TESTS")
        return next(line for line in shown.splitlines() if line.startswith("check("))


@cache
def _parsed(text: str) -> NotebookNode:
    """A source as cells, its numbers still to be filled in; parsed once for all variants and seeds."""
    return jupytext.reads(text, fmt="md:myst")


class Assignment:
    """The exercises of one chapter, read from a MyST notebook.

    Args:
        name: such as "02_kl_rearrangement".
        text: the source; by default the file in `exercises/`.
        variant: which of the sets of numbers in the front matter stands for `{{name}}`.
        numbers: replace some of them, for instance the seed.
    """

    def __init__(
        self,
        name: str,
        text: str | None = None,
        *,
        variant: int = 0,
        numbers: Mapping[str, Any] | None = None,
    ):
        self.name = name
        text = source_path(name).read_text(encoding="utf-8") if text is None else text
        self.settings = self._settings(text)
        variants = self.settings["variants"]
        if not 0 <= variant < len(variants):
            raise Fault(f"{name} has the variants 0 to {len(variants) - 1}; there is no {variant}")
        self.numbers = {**variants[variant], **(numbers or {})}
        self.notebook = deepcopy(_parsed(text))
        for cell in self.notebook.cells:
            cell.source = self._fill(cell.source)

    def _settings(self, text: str) -> dict[str, Any]:
        try:
            front = yaml.safe_load(text.split("\n---", 1)[0])
            settings = front["exercises"]
            return {key: settings[key] for key in ("label", "chapter", "variants")}
        except (yaml.YAMLError, KeyError, TypeError) as error:
            raise Fault(f"{self.name}: the front matter lacks exercises: {error}") from None

    def _fill(self, text: str) -> str:
        def number(match: re.Match) -> str:
            if match[1] not in self.numbers:
                raise Fault(f"{self.name}: no variant has the number {match[0]}")
            return str(self.numbers[match[1]])

        return re.sub(r"\{\{(\w+)\}\}", number, text)

    @cached_property
    def introduction(self) -> NotebookNode:
        return self.notebook.cells[0]

    @cached_property
    def setup(self) -> NotebookNode:
        return next(c for c in self.notebook.cells if _grade_id(c).startswith("setup-"))

    @cached_property
    def title(self) -> str:
        return self.introduction.source.splitlines()[0].removeprefix("# ")

    @cached_property
    def exercises(self) -> tuple[Exercise, ...]:
        made: list[dict[str, Any]] = []
        for cell in self.notebook.cells[1:]:
            told, grade_id = cell.metadata.get("exercise"), _grade_id(cell)
            if told is not None and told["part"] == "statement":
                title = cell.source.splitlines()[0]
                if not title.startswith(f"## {told['id']} · "):
                    raise Fault(f"{self.name}: the title of {told['id']} is {title!r}")
                made.append(
                    {
                        "id": told["id"],
                        "title": title.removeprefix("## "),
                        "minutes": told["minutes"],
                        "statement": cell.source.split("\n", 1)[1].strip(),
                        "hint": "",
                        "note": "",
                        "answer": "",
                        "tests": (),
                    }
                )
            elif told is not None:
                made[-1][told["part"]] = cell.source.strip()
            elif grade_id.startswith("answer-"):
                made[-1]["answer"] = cell.source
            elif grade_id.startswith("test-"):
                made[-1]["tests"] += (_test(cell),)
            elif cell is not self.setup:
                raise Fault(f"{self.name}: a cell belongs to nothing: {cell.source[:60]!r}")
        return tuple(Exercise(**parts) for parts in made)

    def exercise(self, number: str) -> Exercise:
        return next(exercise for exercise in self.exercises if exercise.id == number)


def source_path(name: str) -> Path:
    """The source of an assignment.

    Raises:
        FileNotFoundError: this copy has none: it is a student's copy, or the name is wrong.
    """
    path = SOURCES / f"{name}.md"
    if not path.is_file():
        known = ", ".join(names()) or "none: this is a student's copy, without sources"
        raise FileNotFoundError(f"there is no source {path.name}; there are {known}")
    return path


def names() -> list[str]:
    """The assignments of this copy, in order of their chapters."""
    return sorted(path.stem for path in SOURCES.glob("[0-9][0-9]_*.md"))


def _grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _test(cell: NotebookNode) -> Test:
    nbgrader = cell.metadata["nbgrader"]
    first = cell.source.splitlines()[0]
    match = re.fullmatch(r"# \d+\.\d+ · (.+) \((\d+) points?\).*", first)
    if match is None or int(match[2]) != nbgrader["points"]:
        raise Fault(f"{nbgrader['grade_id']}: the first line must be '# id · what (points)': {first!r}")
    return Test(nbgrader["grade_id"], nbgrader["points"], match[1], cell.source)


def without_region(code: str, region: str, stub: str | None = None) -> str:
    """The code without its `### BEGIN region … ### END region` parts; a stub may take their place.

    Example:
        >>> print(without_region("def f():\\n    ### BEGIN SOLUTION\\n    return 1\\n    ### END SOLUTION",
        ...                      "SOLUTION", "pass"))
        def f():
            pass
    """
    kept, inside = [], False
    for line in code.split("\n"):
        if f"BEGIN {region}" in line:
            if inside:
                raise Fault(f"a BEGIN {region} stands inside another")
            inside = True
            indent = line[: len(line) - len(line.lstrip())]
            kept += [indent + text for text in (stub.split("\n") if stub else [])]
        elif f"END {region}" in line:
            inside = False
        elif not inside:
            kept.append(line)
    if inside:
        raise Fault(f"a BEGIN {region} has no END {region}")
    return "\n".join(kept)


def region_lines(code: str) -> Iterator[str]:
    """The lines that stand in an answer, in hidden tests or in a mark scheme."""
    inside = False
    for line in code.split("\n"):
        if any(f"BEGIN {region}" in line for region in REGIONS):
            inside = True
        elif any(f"END {region}" in line for region in REGIONS):
            inside = False
        elif inside:
            yield line


# ---------------------------------------------------------------------------------------------------
# Notebooks


def _markdown(text: str, cell_id: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(text, id=cell_id)


def _code(cell: NotebookNode, **metadata: Any) -> NotebookNode:
    made = nbformat.v4.new_code_cell(cell.source, id=_grade_id(cell))
    made.metadata = nbformat.from_dict({**metadata, "nbgrader": dict(cell.metadata["nbgrader"])})
    return made


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _measures(exercise: Exercise) -> str:
    return f"*{_plural(exercise.minutes, 'minute')} · {_plural(exercise.points, 'point')}*"


def source_notebook(assignment: Assignment, *, notes: Sequence[str] | None = None) -> NotebookNode:
    """The notebook with answers and hidden tests, as nbgrader takes it.

    With `notes`, one text per exercise, it is the instructor's reading copy.
    """
    book = nbformat.v4.new_notebook(metadata={"kernelspec": dict(assignment.notebook.metadata.kernelspec)})
    book.cells = [_markdown(assignment.introduction.source, "introduction"), _code(assignment.setup)]
    cells = {_grade_id(cell): cell for cell in assignment.notebook.cells}
    for place, exercise in enumerate(assignment.exercises):
        head = f"## {exercise.title}\n\n{_measures(exercise)}\n\n{exercise.statement}"
        hint = f"<details>\n<summary>Hint</summary>\n\n{exercise.hint}\n\n</details>"
        book.cells += [
            _markdown(head, f"statement-{exercise.slug}"),
            _markdown(hint, f"hint-{exercise.slug}"),
            _code(cells[f"answer-{exercise.slug}"]),
            *(_code(cells[test.grade_id]) for test in exercise.tests),
        ]
        if notes is not None:
            book.cells.append(_markdown(notes[place], f"note-{exercise.slug}"))
    return book


def student_notebook(assignment: Assignment) -> NotebookNode:
    """The notebook without answers and hidden tests: what `nbgrader generate_assignment` releases."""
    book = source_notebook(assignment)
    for cell in book.cells:
        nbgrader = cell.metadata.get("nbgrader")
        if nbgrader is None:
            continue
        cell.metadata["deletable"] = False
        if nbgrader["solution"]:
            cell.source = without_region(cell.source, "SOLUTION", STUB)
        else:
            cell.metadata["editable"] = False
            cell.source = without_region(cell.source, "HIDDEN TESTS")
        nbgrader["checksum"] = checksum(cell)
        nbgrader["cell_type"] = cell.cell_type
    return book


def checksum(cell: NotebookNode) -> str:
    """nbgrader's checksum of a cell, by which it sees whether a cell was edited."""
    nbgrader = cell.metadata["nbgrader"]
    locked = not nbgrader["solution"] and (nbgrader["grade"] or nbgrader["locked"])
    parts = [cell.source, cell.cell_type, nbgrader["grade"], nbgrader["solution"], locked]
    parts.append(nbgrader["grade_id"])
    if nbgrader["grade"]:
        parts.append(float(nbgrader["points"]))
    return hashlib.md5("".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def instructor_notebook(assignment: Assignment) -> NotebookNode:
    """The notebook with answers, notes, and a table of the catalogued answers of each exercise."""
    from vae_lib.exercises.catalogue import find

    mutants = load_mutants(assignment.name)
    notes = []
    for exercise in assignment.exercises:
        says = find(exercise.id).mistakes
        rows = [
            f"| {m.name} | {', '.join(m.loses) or 'none: it is right'} | {says.get(m.says, '')} |"
            for m in mutants[exercise.id]
        ]
        table = "\n".join(["| catalogued answer | loses | the check says |", "| --- | --- | --- |", *rows])
        notes.append(f"**For instructors.** {exercise.note}\n\n{table}")
    return source_notebook(assignment, notes=notes)


def _write(book: NotebookNode, path: Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.validate(book)
    path.write_text(nbformat.writes(book) + "\n", encoding="utf-8")
    return path


def build_student(name: str, path: Path, variant: int = 0) -> Path:
    """Write the student's notebook of an assignment to `path`; the bytes are reproducible.

    In a copy without sources the notebook is made from the student text that `build` has written.
    """
    text = STUDENT_TEXTS / f"{name}.myst"
    if SOURCES.is_dir() or not text.is_file():
        return _write(student_notebook(Assignment(name, variant=variant)), path)
    if variant:
        raise FileNotFoundError("a student's copy has only the variant 0")
    return _write(_from_text(text.read_text(encoding="utf-8")), path)


def build_instructor(name: str, path: Path, variant: int = 0) -> Path:
    """Write the instructor's reading copy of an assignment to `path`."""
    return _write(instructor_notebook(Assignment(name, variant=variant)), path)


def build_source(name: str, path: Path, variant: int = 0) -> Path:
    """Write the notebook that nbgrader takes as the source of an assignment to `path`."""
    return _write(source_notebook(Assignment(name, variant=variant)), path)


def student_text(assignment: Assignment) -> str:
    """The student's notebook as MyST text, for copies of the project without sources."""
    book = student_notebook(assignment)
    for cell in book.cells:
        cell.metadata["id"] = cell.id
    text = jupytext.writes(book, fmt="md:myst")
    return re.sub(r"\Ajupytext:\n(?: .*\n)*", "---\n", text.removeprefix("---\n"))  # it names a version


def _from_text(text: str) -> NotebookNode:
    read = jupytext.reads(text, fmt="md:myst")
    book = nbformat.v4.new_notebook(metadata={"kernelspec": dict(read.metadata.kernelspec)})
    for cell in read.cells:
        cell["id"] = cell.metadata.pop("id")
        book.cells.append(cell)
    return book


# ---------------------------------------------------------------------------------------------------
# Pages


def page(assignment: Assignment) -> str:
    """The page of the book: statements, hints and stubs, and the way to the notebook; no answer."""
    exercises = assignment.exercises
    minutes, points = sum(e.minutes for e in exercises), sum(e.points for e in exercises)
    introduction = assignment.introduction.source.split("\n", 1)[1].strip()
    rows = "\n".join(f"| {{ref}}`exercise-{e.slug}` | {e.minutes} | {e.points} |" for e in exercises)
    parts = [
        f"% Made by tools/exercises.py. Change the source of {assignment.name}, then run: "
        "python tools/exercises.py build",
        f"({assignment.settings['label']})=\n# {assignment.title}",
        introduction,
        f"The {_plural(len(exercises), 'exercise')} belong to {{ref}}`{assignment.settings['chapter']}`. "
        f"They take about {minutes} minutes and carry {points} points.",
        f'<a class="vae-download" href="files/{assignment.name}.ipynb" download>Download the notebook</a> '
        "and work in it: it has the statements of this page, a place for each answer, and the checks. "
        "{ref}`exercises` says how it goes.",
        f"| exercise | minutes | points |\n| --- | ---: | ---: |\n{rows}",
        *(_page_part(e) for e in exercises),
    ]
    return "\n\n".join(parts) + "\n"


def _page_part(exercise: Exercise) -> str:
    stub = without_region(exercise.answer, "SOLUTION", STUB).strip()
    graded = " · ".join(f"{test.about} ({_plural(test.points, 'point')})" for test in exercise.tests)
    return "\n\n".join(
        [
            f"(exercise-{exercise.slug})=\n## {exercise.title}",
            _measures(exercise),
            exercise.statement,
            f"```python\n{stub}\n```",
            f":::{{dropdown}} Hint\n{exercise.hint}\n:::",
            f"Check it with `{exercise.call}`. Graded: {graded}.",
        ]
    )


def written(name: str) -> dict[Path, str]:
    """What `build` commits for an assignment: path -> content."""
    assignment = Assignment(name)
    return {
        PAGES / f"{name}.md": page(assignment),
        STUDENT_TEXTS / f"{name}.myst": student_text(assignment),
    }


# ---------------------------------------------------------------------------------------------------
# Catalogued answers, and grading in this process


@dataclass(frozen=True)
class Mutant:
    """A catalogued answer.

    Attributes:
        name: what is done, in words.
        code: the code of the answer cell.
        loses: the ends of the ids of the test cells that it fails; none for a right answer.
        says: the mistake that the check must name, or None for a right answer.
    """

    name: str
    code: str
    loses: tuple[str, ...]
    says: str | None

    @property
    def right(self) -> bool:
        return not self.loses


def load_mutants(name: str, text: str | None = None) -> dict[str, tuple[Mutant, ...]]:
    """The catalogued answers of an assignment, by exercise."""
    path = SOURCES / f"{name}.mutants.yml"
    raw = yaml.safe_load(path.read_text(encoding="utf-8") if text is None else text)
    assignment = Assignment(name)
    return {
        number: tuple(_mutant(assignment.exercise(number), entry) for entry in entries)
        for number, entries in raw.items()
    }


def _mutant(exercise: Exercise, entry: Mapping[str, Any]) -> Mutant:
    label = f"{exercise.id} {entry['name']}"
    code = entry.get("code")
    if code is None:
        code = exercise.answer
        for old, new in entry["replace"].items():
            if code.count(old) != 1:
                raise Fault(f"{label}: {old!r} is {code.count(old)} times in the reference; wanted once")
            code = code.replace(old, new)
    loses = tuple(entry.get("loses", ()))
    known = {test.grade_id.removeprefix(f"test-{exercise.slug}-") for test in exercise.tests}
    if not set(loses) <= known:
        raise Fault(f"{label}: there are no cells {sorted(set(loses) - known)}; there are {sorted(known)}")
    if bool(loses) != bool(entry.get("says")):
        raise Fault(f"{label}: a wrong answer has both 'loses' and 'says', a right one has neither")
    return Mutant(entry["name"], code, loses, entry.get("says"))


class Graded(NamedTuple):
    """The outcome of one answer: the error of each test cell, None where it has its points."""

    errors: dict[str, str | None]
    points: int
    names: dict[str, Any]

    @property
    def lost(self) -> tuple[str, ...]:
        return tuple(end for end, error in self.errors.items() if error is not None)


@contextmanager
def _precision_kept() -> Iterator[None]:
    """A set-up cell may choose torch's default precision; afterwards it is what it was before."""
    import torch

    before = torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@_precision_kept()
def answered(assignment: Assignment, number: str, answer: str | None = None) -> dict[str, Any]:
    """The names of a notebook after its set-up cell and one answer cell, the reference by default."""
    return _answered(assignment, number, answer)


def _answered(assignment: Assignment, number: str, answer: str | None) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "__main__"}
    code = assignment.exercise(number).answer if answer is None else answer
    exec(compile(assignment.setup.source, "setup", "exec"), space)
    space["check"] = lambda *answers, **options: None  # the visible line; graded is what is hidden
    exec(compile(code, f"answer {number}", "exec"), space)
    return space


@_precision_kept()
def grade(assignment: Assignment, number: str, answer: str | None = None) -> Graded:
    """Run the set-up, an answer and the test cells of one exercise, as the autograder would.

    Args:
        assignment: where the exercise stands.
        number: such as "2.1".
        answer: the code of the answer cell; the reference by default.
    """
    return _grade(assignment, number, answer)


def _grade(assignment: Assignment, number: str, answer: str | None = None) -> Graded:
    exercise = assignment.exercise(number)
    space = _answered(assignment, number, answer)
    errors: dict[str, str | None] = {}
    points = 0
    for test in exercise.tests:
        end = test.grade_id.removeprefix(f"test-{exercise.slug}-")
        try:
            exec(compile(test.code, test.grade_id, "exec"), space)
        except Exception as error:
            errors[end] = f"{type(error).__name__}: {error}"
        else:
            errors[end], points = None, points + test.points
    return Graded(errors, points, space)


def blank(exercise: Exercise) -> str:
    """The answer cell as a student finds it."""
    return without_region(exercise.answer, "SOLUTION", STUB)


@_precision_kept()
def faults_of(
    assignment: Assignment, number: str, mutants: Sequence[Mutant], seed: int | None = None
) -> list[str]:
    """Everything that is wrong with one exercise: reference, blank, catalogued answers, tests.

    `seed` is that of the checks; that of the hidden tests is a number of the assignment.
    """
    from vae_lib.exercises import check
    from vae_lib.exercises.catalogue import find

    exercise, lesson = assignment.exercise(number), find(number)

    def checked(graded: Graded) -> Any:
        return check(number, *(graded.names[name] for name in lesson.functions), seed=seed)

    faults = []
    reference = _grade(assignment, number)
    for end, error in reference.errors.items():
        if error is not None:
            faults.append(f"{number}: the reference fails {end}: {error}")
    verdict = checked(reference)
    if not verdict:
        faults.append(f"{number}: the check refuses the reference: {verdict!r}")
    empty = _grade(assignment, number, blank(exercise))
    if empty.points:
        faults.append(f"{number}: the blank stub has {empty.points} points")
    if (verdict := checked(empty)).status != "unanswered":
        faults.append(f"{number}: the check of the blank stub says {verdict!r}")
    lost: set[str] = set()
    for mutant in mutants:
        graded = _grade(assignment, number, mutant.code)
        verdict = checked(graded)
        if graded.lost != tuple(end for end in graded.errors if end in mutant.loses):
            faults.append(f"{number} {mutant.name}: loses {graded.errors}; wanted {mutant.loses}")
        if mutant.right:
            if not verdict:
                faults.append(f"{number} {mutant.name}: is right, but the check says {verdict!r}")
            continue
        lost |= set(graded.lost)
        hint = lesson.mistakes.get(mutant.says, "")
        if verdict or verdict.mistake != mutant.says or hint not in verdict.message:
            faults.append(f"{number} {mutant.name}: wanted the hint {mutant.says}, got {verdict!r}")
    for test in exercise.tests:
        if test.grade_id.removeprefix(f"test-{exercise.slug}-") not in lost:
            faults.append(f"{number}: no catalogued answer fails {test.grade_id}")
    unused = set(lesson.mistakes) - {mutant.says for mutant in mutants}
    faults += [f"{number}: no catalogued answer gets the hint {name}" for name in sorted(unused)]
    return faults


def faults_of_form(assignment: Assignment) -> list[str]:
    """What is missing or malformed in a source."""
    faults = []
    for cell in assignment.notebook.cells:
        for region in REGIONS:
            begins = cell.source.count(f"BEGIN {region}")
            marked = len(re.findall(rf"BEGIN {region}\n\s*# {MARKER}\n", cell.source))
            if begins != marked:
                faults.append(f"{_grade_id(cell)}: a {region} region does not begin with # {MARKER}")
    ids = [_grade_id(cell) for cell in assignment.notebook.cells if _grade_id(cell)]
    faults += [f"the id {name} is used twice" for name in sorted({i for i in ids if ids.count(i) > 1})]
    for exercise in assignment.exercises:
        for part in ("statement", "hint", "note", "answer"):
            if not getattr(exercise, part):
                faults.append(f"{exercise.id}: there is no {part}")
        if not exercise.tests:
            faults.append(f"{exercise.id}: there are no tests")
        for test in exercise.tests:
            if not test.grade_id.startswith(f"test-{exercise.slug}-"):
                faults.append(f"{exercise.id}: the test {test.grade_id} belongs to another exercise")
            if "BEGIN HIDDEN TESTS" not in test.code:
                faults.append(f"{test.grade_id}: nothing is hidden, so nothing is graded")
        if "BEGIN SOLUTION" not in exercise.answer:
            faults.append(f"{exercise.id}: the answer has no SOLUTION region")
    return faults


# ---------------------------------------------------------------------------------------------------
# Leaks


class Leak(NamedTuple):
    """A secret line, and the file that shows it."""

    file: str
    secret: str


def _squeeze(text: str) -> str:
    """The text without what copying changes: white space, quotes, backslashes."""
    return re.sub(r"[\s\\\"'“”‘’]+", "", text)


def secrets(name: str, text: str | None = None) -> Mapping[str, str]:
    """The lines that only instructors may see, squeezed -> as written, of all variants.

    Lines that a student sees anyway, imports, and lines too short to be told apart are left out.
    """
    return _secrets(name, source_path(name).read_text(encoding="utf-8") if text is None else text)


@cache
def _secrets(name: str, text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    count = len(Assignment(name, text).settings["variants"])
    for variant in range(count):
        assignment = Assignment(name, text, variant=variant)
        shown = _squeeze("\n".join(cell.source for cell in student_notebook(assignment).cells))
        for cell in assignment.notebook.cells:
            for line in region_lines(cell.source):
                squeezed = _squeeze(line)
                told_apart = len(squeezed) >= SHORTEST_SECRET and not line.lstrip().startswith(COMMON)
                if told_apart and squeezed not in shown:
                    found[squeezed] = line.strip()
        for exercise in assignment.exercises:
            found[_squeeze(exercise.note)] = exercise.note
    return MappingProxyType(found)


def _readable(path: Path) -> Iterator[tuple[str, str]]:
    """The texts in a file: (where, text). An archive is opened, a notebook is read cell by cell."""
    if path.suffix in (".zip", ".whl"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                yield f"{path}!{member}", archive.read(member).decode("utf-8", errors="replace")
        return
    content = path.read_bytes()
    if b"\0" in content[:1024]:
        return  # a picture, a font
    text = content.decode("utf-8", errors="replace")
    yield str(path), text
    if path.suffix in (".html", ".htm", ".svg", ".xml", ".js"):
        yield str(path), html.unescape(re.sub(r"<[^>]*>", "", text))
    if path.suffix in (".ipynb", ".json"):
        try:
            yield str(path), "\n".join(_strings(json.loads(text)))
        except ValueError:
            return  # it was read as plain text above


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (
            ("".join(value),)
            if all(isinstance(v, str) for v in value)
            else (text for item in value for text in _strings(item))
        )
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)


def find_leaks(path: Path, known: Mapping[str, str] | None = None) -> list[Leak]:
    """The secret lines that a file, or any file below a folder, shows.

    It reads HTML with and without tags, notebooks, scripts (the search index among them), archives, and
    everything else that is text. Beside the lines it looks for the word that marks every secret
    region, which also survives in a search index.

    Args:
        path: a file or a folder; what is below `.git` and `.venv` is passed over.
        known: squeezed line -> line; by default the secrets of all assignments of this copy.
    """
    if known is None:
        known = {key: line for name in names() for key, line in secrets(name).items()}
    known = {**known, MARKER: MARKER, MARKER[:-1] + "i": MARKER}  # the second as a stemmer writes it
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"nothing to look through: {path}")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    leaks = []
    for file in files:
        if {".git", ".venv", "__pycache__"} & set(file.relative_to(path).parts):
            continue
        for where, text in _readable(file):
            squeezed = _squeeze(text)
            leaks += [Leak(where, line) for secret, line in known.items() if secret in squeezed]
    return list(dict.fromkeys(leaks))


# ---------------------------------------------------------------------------------------------------
# The command line


def stale() -> list[str]:
    """The committed files that differ from what the sources say now."""
    return [
        f"{path.relative_to(ROOT)} is out of date: run python tools/exercises.py build"
        for name in names()
        for path, content in written(name).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]


def faults() -> Iterator[str]:
    """Everything that `check` finds, one assignment after the other."""
    yield from stale()
    for name in names():
        assignment, mutants = Assignment(name), load_mutants(name)
        yield from faults_of_form(assignment)
        for exercise in assignment.exercises:
            yield from faults_of(assignment, exercise.id, mutants.get(exercise.id, ()))
    for folder in (PAGES, ROOT / "vae_lib"):
        yield from (f"{leak.file} shows a secret line: {leak.secret}" for leak in find_leaks(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python tools/exercises.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["build", "check", "student", "instructor", "leaks"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="assignments; all by default")
    parser.add_argument("--to", type=Path, default=BUILD, metavar="FOLDER")
    parser.add_argument("--variant", type=int, default=0, metavar="N")
    options = parser.parse_intermixed_args(arguments)
    try:
        return _do(options)
    except (Fault, FileNotFoundError) as error:
        print(f"exercises: {error}", file=sys.stderr)
        return 1


def _do(options: argparse.Namespace) -> int:
    if options.what == "check":
        found = list(faults())
        print("\n".join(found) or f"{len(names())} assignments: all is right")
        return 1 if found else 0
    if options.what == "leaks":
        if not options.names:
            raise Fault("leaks wants a folder to look through")
        leaks = [leak for folder in options.names for leak in find_leaks(Path(folder))]
        clean = f"no secret line in {', '.join(options.names)}"
        print("\n".join(f"{leak.file}: {leak.secret}" for leak in leaks) or clean)
        return 1 if leaks else 0
    chosen = options.names or names() or sorted(path.stem for path in STUDENT_TEXTS.glob("*.myst"))
    for name in chosen:
        if options.what == "build":
            for path, content in written(name).items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
                print(path.relative_to(ROOT))
        elif options.what == "student":
            print(build_student(name, options.to / "student" / f"{name}.ipynb", options.variant))
        else:
            print(build_instructor(name, options.to / "instructor" / f"{name}.ipynb", options.variant))
            print(build_source(name, options.to / "source" / name / f"{name}.ipynb", options.variant))
    return 0


if __name__ == "__main__":
    sys.exit(main())
