"""A class that does not exist: who hands in what, and what each must get. It knows nothing of the grader.

The expected points come from the exercises' sources alone: a reference answer has all points of its
exercise, a catalogued wrong answer loses the cells that its catalogue names, an empty one has none.
`hostile.py` holds those who hand in something else.
"""

from __future__ import annotations

import json
import os
import random
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import exercises as builder

EPOCH = (2026, 11, 27, 12, 0, 0)


@dataclass(frozen=True)
class Wanted:
    """What is right for one submission.

    Attributes:
        scores: the points that may stand for each exercise. More than one where the grader may choose,
            for instance whether it goes on after a kernel was killed.
        flagged: True if somebody must be told, False if nobody may be, None if either will do as long as
            no points are lost silently: fewer than `deserved` always need a flag.
        deserved: the points of the work itself.
        unscored: whether "not graded", without a score, is right as well.
        mistakes: (exercise, what the check calls the mistake).
    """

    scores: Mapping[str, frozenset[float]]
    flagged: bool | None
    deserved: float
    unscored: bool = False
    mistakes: frozenset[tuple[str, str]] = frozenset()

    def faults(self, row: Mapping[str, str] | None) -> list[str]:
        """What is wrong with a row of grades.csv; nothing for a right one."""
        if row is None:
            return ["lost: no row"]
        status, flags = row["status"], row["flags"].strip()
        if status not in ("graded", "flagged", "not graded"):
            return [f"a status {status!r}"]
        found = []
        if (status == "graded") == bool(flags):
            found.append(f"the status is {status!r} and the flags are {flags!r}")
        if status == "not graded":
            if row["score"]:
                found.append(f"not graded, but a score of {row['score']}")
            return found if self.unscored else [*found, f"not graded: {flags}"]
        for number, allowed in self.scores.items():
            if float(row[number] or "nan") not in allowed:
                points = " or ".join(f"{points:g}" for points in sorted(allowed))
                found.append(f"{number}: {row[number] or 'nothing'}, wanted {points} ({status}: {flags})")
        total = sum(float(row[number] or 0) for number in self.scores)
        if float(row["score"] or "nan") != total:
            found.append(f"score {row['score']}, the exercises sum to {total:g}")
        if self.flagged is True and status != "flagged":
            found.append("nobody is told")
        if self.flagged is False and status == "flagged":
            found.append(f"a false alarm: {flags}")
        if self.flagged is None and total < self.deserved and status != "flagged":
            found.append(f"{self.deserved - total:g} points lost and nobody is told")
        return found


@dataclass(frozen=True)
class Link:
    """A symbolic link in a submission."""

    target: str


@dataclass(frozen=True)
class Pipe:
    """A named pipe: whoever opens it waits for ever."""


@dataclass(frozen=True)
class Folder:
    """A folder where a file should be."""


Content = bytes | Link | Pipe | Folder


@dataclass(frozen=True)
class Student:
    """One of the class: a name, what kind of student it is, the files, and what is right for them."""

    name: str
    kind: str
    files: Mapping[str, Content]
    wanted: Wanted
    honest: bool = True


@dataclass
class Sheet:
    """An assignment as students get it, and ways to fill it in.

    Args:
        name: such as "02_kl_rearrangement".
        release: the released notebook's text; by default what `tools/exercises.py` makes.
    """

    name: str
    release: str | None = None
    chosen: Sequence[str] | None = None
    assignment: builder.Assignment = field(init=False)

    def __post_init__(self):
        self.assignment = builder.Assignment(self.name)
        self.mutants = builder.load_mutants(self.name)
        if self.release is None:
            import nbformat

            self.release = nbformat.writes(builder.student_notebook(self.assignment))

    @cached_property
    def numbers(self) -> list[str]:
        return [e.id for e in self.assignment.exercises if self.chosen is None or e.id in self.chosen]

    @cached_property
    def points(self) -> dict[str, int]:
        return {number: self.assignment.exercise(number).points for number in self.numbers}

    @property
    def total(self) -> int:
        return sum(self.points.values())

    @property
    def first(self) -> str:
        return self.numbers[0]

    @property
    def middle(self) -> str:
        return self.numbers[len(self.numbers) // 2]

    @property
    def last(self) -> str:
        return self.numbers[-1]

    @property
    def file(self) -> str:
        return f"{self.name}.ipynb"

    def blank(self, number: str) -> str:
        return builder.blank(self.assignment.exercise(number))

    def reference(self, number: str) -> str:
        """A right answer, without the marks of the source, as a student would have written it."""
        code = self.assignment.exercise(number).answer
        marks = ("### BEGIN", "### END", f"# {builder.MARKER}")
        return "\n".join(line for line in code.split("\n") if not line.strip().startswith(marks))

    def wrong(self, number: str) -> list[builder.Mutant]:
        return [mutant for mutant in self.mutants[number] if not mutant.right]

    def favourite(self, number: str) -> builder.Mutant:
        """The mistake that the class makes most often: of the catalogued ones, one that costs the most."""
        return max(self.wrong(number), key=lambda mutant: len(mutant.loses))

    def right(self, number: str) -> list[builder.Mutant]:
        return [mutant for mutant in self.mutants[number] if mutant.right]

    def without_marks(self, code: str) -> str:
        marks = ("### BEGIN", "### END", f"# {builder.MARKER}")
        return "\n".join(line for line in code.split("\n") if not line.strip().startswith(marks))

    def kept(self, number: str, mutant: builder.Mutant) -> int:
        """The points that a catalogued answer keeps."""
        slug = self.assignment.exercise(number).slug
        return sum(
            test.points
            for test in self.assignment.exercise(number).tests
            if test.grade_id.removeprefix(f"test-{slug}-") not in mutant.loses
        )

    def book(self, answers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The notebook with right answers; `answers` replaces some of them."""
        book = json.loads(self.release)
        for each in book["cells"]:
            each["source"] = "".join(each["source"])  # nbformat writes lists of lines
        given = {number: self.reference(number) for number in self.numbers} | dict(answers or {})
        for number, code in given.items():
            answer_cell(book, number)["source"] = code
        return book

    def functions(self, number: str) -> list[str]:
        """The names that an answer defines."""
        import ast

        return [node.name for node in ast.parse(self.blank(number)).body if hasattr(node, "name")]

    def wants(
        self, changed: Mapping[str, Any] | None = None, *, flagged: bool | None = False, **other: Any
    ) -> Wanted:
        """Full points, but for the exercises in `changed`: a number, or a set of numbers."""
        scores = {}
        for number, points in self.points.items():
            value = (changed or {}).get(number, points)
            scores[number] = frozenset(value if isinstance(value, set) else {value})
        deserved = other.pop("deserved", sum(max(allowed) for allowed in scores.values()))
        return Wanted(scores, flagged, deserved, **other)


def answer_cell(book: Mapping[str, Any], number: str) -> dict[str, Any]:
    return cell(book, f"answer-{number.replace('.', '-')}")


def cell(book: Mapping[str, Any], grade_id: str) -> dict[str, Any]:
    return next(c for c in book["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)


def packed(book: Any) -> bytes:
    return json.dumps(book, ensure_ascii=False, indent=1).encode()


# ---------------------------------------------------------------------------------------------------
# Those who mean well


def perfect(sheet: Sheet, chance: random.Random) -> tuple[dict[str, Content], Wanted]:
    """All right, now and then in another way that the catalogue knows to be right."""
    answers = {}
    for number in sheet.numbers:
        ways = [sheet.reference(number), *(sheet.without_marks(m.code) for m in sheet.right(number))]
        answers[number] = chance.choice(ways)
    return {sheet.file: packed(sheet.book(answers))}, sheet.wants()


def partial(sheet: Sheet, chance: random.Random) -> tuple[dict[str, Content], Wanted]:
    """Some right, some wrong, some left empty."""
    answers, points, mistakes = {}, {}, set()
    for number in sheet.numbers:
        turn = chance.choice(["right", "wrong", "blank"])
        if turn == "wrong":
            mutant = chance.choice(sheet.wrong(number)) if chance.random() < 0.2 else sheet.favourite(number)
            answers[number] = sheet.without_marks(mutant.code)
            points[number] = sheet.kept(number, mutant)
            mistakes.add((number, mutant.says))
        elif turn == "blank":
            answers[number], points[number] = sheet.blank(number), 0
    wanted = sheet.wants(points, mistakes=frozenset(mistakes))
    return {sheet.file: packed(sheet.book(answers))}, wanted


def mistaken(sheet: Sheet, number: str, mutant: builder.Mutant) -> tuple[dict[str, Content], Wanted]:
    """All right but for one catalogued mistake."""
    wanted = sheet.wants({number: sheet.kept(number, mutant)}, mistakes=frozenset({(number, mutant.says)}))
    return {sheet.file: packed(sheet.book({number: sheet.without_marks(mutant.code)}))}, wanted


def blank(sheet: Sheet) -> tuple[dict[str, Content], Wanted]:
    """Handed in as it was handed out."""
    return {sheet.file: sheet.release.encode()}, sheet.wants(dict.fromkeys(sheet.numbers, 0))


# ---------------------------------------------------------------------------------------------------
# The class


def enrol(
    sheet: Sheet, count: int, seed: int = 0, *, kinds: Sequence[str] = (), confined: bool = False
) -> list[Student]:
    """A class of `count`: every hostile kind, every catalogued mistake, and the rest perfect and partial.

    Where `count` is too small for all, it takes a part of each, chosen by `seed`.

    Args:
        sheet: the assignment.
        count: how many students.
        seed: chooses who is in a small class, and what the partial ones get wrong.
        kinds: these hostile kinds and no others.
        confined: whether the grader has a sandbox, so that the kinds that only it can stop may come.
    """
    import hostile

    chance = random.Random(seed)
    unknown = sorted(set(kinds) - set(hostile.KINDS))
    if unknown:
        raise ValueError(f"kinds: there is no {', '.join(unknown)}")
    hostiles = [
        name
        for name, kind in hostile.KINDS.items()
        if (not kinds or name in kinds) and confined >= kind.confined
    ]
    mistakes = [(number, mutant) for number in sheet.numbers for mutant in sheet.wrong(number)]
    chance.shuffle(mistakes)
    beside = len(mistakes) + 40  # what a full class has besides
    wanted_hostile = len(hostiles) if kinds else min(len(hostiles), max((2 * count) // 5, count - beside))
    if wanted_hostile < len(hostiles):
        hostiles = chance.sample(hostiles, wanted_hostile)
    room = max(count - len(hostiles), 0)
    wanted_mistakes = min(len(mistakes), room // 2 if count < 250 else len(mistakes))
    made: list[tuple[str, dict[str, Content], Wanted, bool, str | None]] = []
    for name in hostiles:
        files, wanted = hostile.KINDS[name].make(sheet)
        made.append((name, files, wanted, False, hostile.KINDS[name].student))
    for number, mutant in mistakes[:wanted_mistakes]:
        made.append((f"{number} {mutant.says}", *mistaken(sheet, number, mutant), True, None))
    # the class has favourite mistakes, so that there is something to report
    favourites = [sheet.favourite(number) for number in sheet.numbers]
    while len(made) < count:
        place = len(made) % 8
        if place < 3:
            made.append(("perfect", *perfect(sheet, chance), True, None))
        elif place < 5:
            made.append(("partial", *partial(sheet, chance), True, None))
        elif place == 5 and chance.random() < 0.2:
            made.append(("blank", *blank(sheet), True, None))
        else:
            at = len(made) // 8 % len(favourites)
            number = sheet.numbers[at]
            made.append((f"favourite {number}", *mistaken(sheet, number, favourites[at]), True, None))
    chance.shuffle(made)
    return [
        Student(name or f"s{place:03d}-{slug(kind)}", kind, files, wanted, honest)
        for place, (kind, files, wanted, honest, name) in enumerate(made[:count])
    ]


def slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower())[:60].strip("-")


def planted(students: Sequence[Student]) -> Counter[tuple[str, str]]:
    """How often each mistake was planted."""
    return Counter(mistake for student in students for mistake in student.wanted.mistakes)


def write_folder(students: Sequence[Student], folder: Path) -> Path:
    """Hand in as a folder with one sub-folder per student."""
    for student in students:
        home = folder / student.name
        home.mkdir(parents=True)
        for name, content in student.files.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Link):
                path.symlink_to(content.target)
            elif isinstance(content, Pipe):
                os.mkfifo(path)
            elif isinstance(content, Folder):
                path.mkdir()
            else:
                path.write_bytes(content)
    return folder


def zip_name(student: Student, place: int, file: str, style: str) -> str:
    """The name that an LMS gives to a file in the zip of all submissions."""
    if style == "canvas":
        late = "LATE_" if place % 7 == 0 else ""
        return f"{student.name.replace('-', '').lower()}_{late}{1000 + place}_{90000 + place}_{file}"
    if style == "moodle":
        return f"{student.name}_{1000 + place}_assignsubmission_file_/{file}"
    raise ValueError(f"style: got {style!r}; wanted 'canvas' or 'moodle'")


def write_zip(students: Sequence[Student], path: Path, style: str) -> Path:
    """Hand in as an LMS would pack it. Links, pipes and folders cannot be uploaded and are left out."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, student in enumerate(students):
            for file, content in student.files.items():
                if isinstance(content, bytes):
                    name = zip_name(student, place, file.replace("/", "-"), style)
                    archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
    return path


def compare(
    students: Sequence[Student], rows: Sequence[Mapping[str, str]], told: str = ""
) -> Iterator[tuple[Student, str]]:
    """Every difference between what is right for a class and its grades.csv.

    A grader may keep a student under a tamer name, if it says so: `told` is what it printed while collecting.
    """
    by_name: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        by_name.setdefault(row["student"], []).append(row)
    tame = {letters(name): name for name in by_name.keys() - {student.name for student in students}}
    for student in students:
        short = next(
            (short for short in tame if len(short) > 40 and letters(student.name).startswith(short)), ""
        )
        name = (
            student.name if student.name in by_name else tame.get(letters(student.name), tame.get(short, ""))
        )
        kept = kept_as(student.name, told)
        own = by_name.pop(kept or name, [])
        if len(own) > 1:
            yield student, f"{len(own)} rows"
        if own and not kept and name != student.name and student.name not in told + own[0]["flags"]:
            yield student, f"is called {name!r} now, and nobody is told"
        for fault in student.wanted.faults(own[0] if own else None):
            yield student, fault
    nobody = Student("nobody", "invented", {}, Wanted({}, None, 0), honest=False)
    for name in by_name:
        yield nobody, f"a row for {name!r}, who is not in the class"


def kept_as(name: str, told: str) -> str:
    """The name under which a grader keeps a student, if it says so; "" if not."""
    found = re.search(rf"^{re.escape(repr(name))} is kept as (.+)$", told, re.MULTILINE)
    return "" if found is None else found[1]


def letters(name: str) -> str:
    """The letters and digits of a name, without accents and case."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(c for c in plain.casefold() if c.isascii() and c.isalnum())
