"""Grade what was handed in: one result per student, written when it is complete, never twice."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import nbformat

from vae_lib.grading.collect import NOTE
from vae_lib.grading.course import Course, Manifest, write_atomically
from vae_lib.grading.execute import Broken, Execution, Limits, Worker, Wrapper
from vae_lib.grading.normalize import LARGEST, Found, Rebuilt, Template, Unreadable, read_cells, rebuild

__all__ = ["Result", "grade", "outdated", "read_result"]

VERSION = 3  # of the grading: a change makes every result old


@dataclass
class Result:
    """What a student gets for an assignment.

    Attributes:
        student: who.
        assignment: which.
        status: "graded", "flagged" (a score stands, somebody should look) or "not graded".
        flags: why somebody should look, in words.
        scores: graded cell -> points; empty if not graded.
        errors: graded cell -> why its points are lost.
        verdicts: exercise -> what the check said.
        unanswered: the answer cells that hold the stub, or nothing.
        fingerprint: of all that the result depends on.
        seconds: that it took.
    """

    student: str
    assignment: str
    status: str
    flags: list[str] = field(default_factory=list)
    scores: dict[str, float | int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    fingerprint: str = ""
    seconds: float | int = 0.0

    @property
    def score(self) -> float | int | None:
        """The sum of the points, or None where there is none."""
        return None if self.status == "not graded" else sum(self.scores.values())


def read_result(course: Course, student: str, name: str) -> Result | None:
    """The result of a student, or None if there is none yet."""
    path = course.result(student, name)
    try:
        return Result(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def fingerprint(folder: Path, source: Path, limits: Limits) -> str:
    """A digest of everything that a result depends on: files, tests, limits."""
    rules = hashlib.sha256(f"{VERSION} {asdict(limits)}".encode()).hexdigest()
    return f"{_material(folder, source)} {rules}"


def _material(folder: Path, source: Path) -> str:
    digest = hashlib.sha256(source.read_bytes())
    for path in _files(folder):
        if path.name == "timestamp.txt":
            continue
        digest.update(str(path.relative_to(folder)).encode("utf-8", errors="surrogateescape") + b"\0")
        digest.update(str(path.stat().st_size).encode())
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError:
            digest.update(b"cannot be read")
    return digest.hexdigest()


def outdated(course: Course, name: str) -> list[str]:
    """Those whose submission or whose tests have changed since they were graded, or who never were."""
    found = []
    for student in course.students(name):
        result = read_result(course, student, name)
        told = "" if result is None else result.fingerprint.split(" ")[0]
        if told != _material(course.submission(student, name), course.source(name)):
            found.append(student)
    return found


def _files(folder: Path) -> list[Path]:
    """The files of a submission, links left out."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def grade(
    course: Course,
    name: str,
    *,
    jobs: int = 1,
    limits: Limits | None = None,
    wrap: Wrapper | None = None,
    students: Iterable[str] | None = None,
    progress: Callable[[Result, bool], None] = lambda result, new: None,
) -> list[Result]:
    """Grade an assignment; what has a current result is not graded again.

    Args:
        course: the folder of the course.
        name: of the assignment.
        jobs: how many submissions at a time.
        limits: what each may use.
        wrap: the sandbox.
        students: whom; by default all that have handed in.
        progress: is called with every result, and whether it is new.
    """
    manifest, source = course.manifest(name), course.source(name)
    limits = limits or Limits()
    everybody = course.students(name) if students is None else sorted(students)
    results: dict[str, Result] = {}
    waiting = []
    for student in everybody:
        key = fingerprint(course.submission(student, name), source, limits)
        old = read_result(course, student, name)
        if old is not None and old.fingerprint == key:
            results[student] = old
            progress(old, False)
        else:
            waiting.append((student, key))
    if waiting:
        template = Template(source, manifest.earlier)
        threads = min(jobs, len(waiting))
        with _Workers(limits, wrap) as workers, ThreadPoolExecutor(max_workers=threads) as pool:

            def one(student: str, key: str) -> Result:
                try:
                    result = _grade_one(course, manifest, template, student, workers)
                    result.fingerprint = key
                    _keep(course, result)
                except Exception as error:
                    if workers.stopped:
                        raise
                    # without a fingerprint: the next call tries it again
                    flag = f"the grading failed: {type(error).__name__}: {ascii(str(error))[1:-1]}"
                    result = Result(student, name, "not graded", [flag])
                    _keep(course, result)
                return result

            futures = [pool.submit(one, student, key) for student, key in waiting]
            try:
                for future in as_completed(futures):
                    result = future.result()
                    results[result.student] = result
                    progress(result, True)
            except BaseException:
                for future in futures:
                    future.cancel()
                workers.stop()
                raise
    return [results[student] for student in everybody]


def _keep(course: Course, result: Result) -> None:
    # names of files stand in them, and a line break or a change of direction would mislead a reader
    result.flags = ["".join(c if c.isprintable() else ascii(c)[1:-1] for c in text) for text in result.flags]
    text = json.dumps(asdict(result), indent=1, ensure_ascii=False)
    write_atomically(course.result(result.student, result.assignment), text + "\n")


class _Workers:
    """One worker per thread, made when it is needed."""

    def __init__(self, limits: Limits, wrap: Wrapper | None):
        self._limits, self._wrap = limits, wrap
        self._mine = threading.local()
        self._all: list[Worker] = []
        self.stopped = False

    def mine(self) -> Worker:
        if self.stopped:
            raise Broken("the grading was stopped")
        worker = getattr(self._mine, "worker", None)
        if worker is None:
            worker = self._mine.worker = Worker(self._limits, self._wrap)
            self._all.append(worker)
        return worker

    def stop(self) -> None:
        self.stopped = True
        for worker in self._all:
            worker.abort()

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.close()


def _grade_one(
    course: Course, manifest: Manifest, template: Template, student: str, workers: _Workers
) -> Result:
    """The result of one student, whatever was handed in."""
    folder = course.submission(student, manifest.name)
    try:
        cells, flags = choose_notebook(folder, manifest.name, template)
        rebuilt = rebuild(template, cells)
    except Unreadable as reason:
        return _not_graded(course, manifest, template, student, str(reason))
    except Exception as error:  # our own mistake must not cost the others their grades
        return _not_graded(course, manifest, template, student, f"the notebook cannot be rebuilt: {error!r}")
    rebuilt.flags = [*flags, *rebuilt.flags]
    cells_to_run = _cells(rebuilt)
    execution = _execute(workers, cells_to_run, folder)
    return _score(course, manifest, student, rebuilt, execution)


def _not_graded(course: Course, manifest: Manifest, template: Template, student: str, reason: str) -> Result:
    """No score; formgrader gets the empty assignment, with the reason on top."""
    book = nbformat.from_dict(json.loads(nbformat.writes(template.book)))
    text = f"**Not graded:** {reason}".replace("<", "&lt;")
    book.cells.insert(0, nbformat.v4.new_markdown_cell(text, id="not-graded"))
    write_atomically(course.autograded(student, manifest.name), nbformat.writes(book) + "\n")
    return Result(student, manifest.name, "not graded", [reason])


def choose_notebook(folder: Path, name: str, template: Template) -> tuple[list[Found], list[str]]:
    """The cells of the notebook to grade, and what was odd about it.

    Of several, the one with the most answers; then the one with the right name.

    Raises:
        Unreadable: there is none that can be read.
    """
    files = [path for path in _files(folder) if path.name not in ("timestamp.txt", NOTE)]
    note = folder / NOTE
    lost = (
        ["not collected: " + line for line in note.read_text(encoding="utf-8").splitlines()]
        if note.is_file()
        else []
    )
    books = [path for path in files if path.suffix.lower() in (".ipynb", ".json", ".txt")]
    if not any(path.suffix.lower() == ".ipynb" for path in books):
        books = [path for path in books if path.stat().st_size <= LARGEST and b"cells" in path.read_bytes()]
    else:
        books = [path for path in books if path.suffix.lower() == ".ipynb"]
    if not books:
        names = ", ".join(str(path.relative_to(folder)) for path in files[:5]) or "nothing"
        raise Unreadable("; ".join([f"no notebook was handed in, but {names}", *lost]))
    read: list[tuple[int, bool, Path, list[Found], list[str]]] = []
    refused: list[str] = []
    for path in books:
        try:
            cells, odd = read_cells(path)
        except Unreadable as reason:
            refused.append(f"{path.name}: {reason}")
            continue
        read.append((template.answered(cells), path.name == f"{name}.ipynb", path, cells, odd))
    if not read:
        raise Unreadable("; ".join([*refused, *lost]))
    best = max(read, key=lambda entry: (entry[0], entry[1], str(entry[2])))
    answered, _, path, cells, flags = best
    if answered < 0:
        raise Unreadable(f"no cell of {path.name} belongs to the assignment")
    flags = [*flags, *refused, *lost]
    # a second download or a second handing in gets a number: -1, or (1)
    if not re.fullmatch(re.escape(name) + r"(-\d+| ?\(\d+\))?\.ipynb", path.name):
        flags.append(f"the notebook is called {path.name}")
    if len(books) > 1:
        flags.append(f"{len(books)} notebooks were handed in; {path.relative_to(folder)} was graded")
    return cells, flags


def _cells(rebuilt: Rebuilt) -> list[dict[str, Any]]:
    """The code cells, as the runner takes them."""
    cells = []
    for cell in rebuilt.book.cells:
        if cell.cell_type != "code":
            continue
        nbgrader = cell.metadata.get("nbgrader")
        role = "own"
        if nbgrader is not None:
            role = "test" if nbgrader["grade"] else "answer" if nbgrader["solution"] else "setup"
        grade_id = "" if nbgrader is None else nbgrader["grade_id"]
        cells.append({"source": cell.source, "role": role, "grade_id": grade_id})
    return cells


def _execute(workers: _Workers, cells: list[dict[str, Any]], folder: Path) -> Execution:
    """Run the cells; a server that has gone for no fault of this student is replaced, once."""
    try:
        return workers.mine().run(cells, folder)
    except Broken:
        return workers.mine().run(cells, folder)


def _score(
    course: Course, manifest: Manifest, student: str, rebuilt: Rebuilt, execution: Execution
) -> Result:
    codes = [cell for cell in rebuilt.book.cells if cell.cell_type == "code"]
    points = {cell.grade_id: cell.points for cell in manifest.cells}
    result = Result(student, manifest.name, "graded", [*rebuilt.flags, *execution.flags])
    for place, cell in enumerate(codes):
        cell.outputs = [nbformat.from_dict(output) for output in execution.outputs.get(place, [])]
        cell.execution_count = place + 1 if place in execution.errors else None
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if grade_id not in points:
            continue
        error = execution.errors.get(place, "was not run")
        result.scores[grade_id] = points[grade_id] if error is None else 0.0
        if error is not None:
            result.errors[grade_id] = error
    result.verdicts = {verdict["exercise"]: verdict for verdict in execution.verdicts}
    result.unanswered = sorted(rebuilt.unanswered)
    result.seconds = round(execution.seconds, 2)
    result.flags = list(dict.fromkeys(result.flags))
    if result.flags:
        result.status = "flagged"
    write_atomically(course.autograded(student, manifest.name), nbformat.writes(rebuilt.book) + "\n")
    return replace(result)
