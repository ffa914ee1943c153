"""The folder of a course, and what it knows of its assignments."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Cell", "Course", "Manifest", "Shown", "write_atomically"]

CONFIG = '''\
"""nbgrader's settings for this course: `nbgrader formgrader` and the others find them here."""

from pathlib import Path

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import GetGrades

from vae_lib.grading.hide import HideTests

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = {course_id!r}
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.db_url = "sqlite:///" + str(Path(__file__).resolve().parent / "gradebook.db")
# nbgrader's own feedback would show the hidden tests
c.GenerateFeedback.preprocessors = [HideTests, GetGrades, CSSHTMLHeaderPreprocessor]
'''


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is there in full or not at all, whatever stops the program.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder) / "a" / "b.txt", "told")
        ...     (Path(folder) / "a" / "b.txt").read_text()
        'told'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Cell:
    """A graded cell: its id, the exercise that it belongs to, what it tests, its points."""

    grade_id: str
    exercise: str
    about: str
    points: float | int


@dataclass(frozen=True)
class Shown:
    """A cell of ours as an earlier making of the assignment gave it out."""

    grade_id: str
    text: str
    points: float | int | None


@dataclass(frozen=True)
class Manifest:
    """What an assignment consists of.

    Attributes:
        name: of the assignment, and of its notebook.
        titles: the exercises, in order: number -> title.
        cells: the graded cells, in order.
        variant: which set of numbers it has.
        due: the day, as it was given, or "".
        earlier: cells that were given out before and have changed since; who hands them in edited nothing.
    """

    name: str
    titles: Mapping[str, str]
    cells: tuple[Cell, ...]
    variant: int = 0
    due: str = ""
    earlier: tuple[Shown, ...] = ()

    @property
    def max_score(self) -> float | int:
        """The points of all cells."""
        return sum(cell.points for cell in self.cells)

    def points_of(self, exercise: str) -> float | int:
        """The points of one exercise."""
        return sum(cell.points for cell in self.cells if cell.exercise == exercise)


@dataclass(frozen=True)
class Course:
    """The folder of a course; nbgrader's layout, with `instructor` and `results` beside it.

    Example:
        >>> Course(Path("course")).release("02_kl").as_posix()
        'course/release/02_kl/02_kl.ipynb'
    """

    root: Path

    @classmethod
    def open(cls, root: Path) -> Course:
        """The course in this folder.

        Raises:
            ValueError: there is none.
        """
        course = cls(Path(root))
        if not course.config.is_file():
            raise ValueError(
                f"{root} is no course folder (it has no nbgrader_config.py); "
                "`python -m vae_lib.grading assignment` makes one"
            )
        return course

    @property
    def config(self) -> Path:
        """nbgrader's settings."""
        return self.root / "nbgrader_config.py"

    @property
    def database(self) -> Path:
        """nbgrader's gradebook."""
        return self.root / "gradebook.db"

    @property
    def submitted(self) -> Path:
        """What was handed in: STUDENT/NAME/…"""
        return self.root / "submitted"

    def source(self, name: str) -> Path:
        """The notebook with answers and hidden tests."""
        return self.root / "source" / name / f"{name}.ipynb"

    def release(self, name: str) -> Path:
        """The notebook for students."""
        return self.root / "release" / name / f"{name}.ipynb"

    def instructor(self, name: str) -> Path:
        """The instructor's reading copy."""
        return self.root / "instructor" / f"{name}.ipynb"

    def submission(self, student: str, name: str) -> Path:
        """What a student handed in."""
        return self.submitted / student / name

    def autograded(self, student: str, name: str) -> Path:
        """The notebook as it was executed for grading."""
        return self.root / "autograded" / student / name / f"{name}.ipynb"

    def results(self, name: str) -> Path:
        """The folder of the results of an assignment, one file per student."""
        return self.root / "results" / name

    def result(self, student: str, name: str) -> Path:
        """The result of a student."""
        return self.results(name) / f"{student}.json"

    def feedback(self, student: str, name: str) -> Path:
        """The page that a student gets back."""
        return self.root / "feedback" / student / f"{name}.html"

    def names(self) -> list[str]:
        """The assignments of this course."""
        return sorted(path.stem for path in (self.root / "instructor").glob("*.json"))

    def students(self, name: str) -> list[str]:
        """Those who have a folder for this assignment among what was handed in."""
        if not self.submitted.is_dir():
            return []
        return sorted(path.name for path in self.submitted.iterdir() if (path / name).is_dir())

    def roster(self) -> list[str]:
        """Those who should hand in: the lines of COURSE/students.txt, if there is one."""
        path = self.root / "students.txt"
        if not path.is_file():
            return []
        lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
        return [line for line in lines if line]

    def write_manifest(self, manifest: Manifest) -> None:
        """Keep what an assignment consists of."""
        text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False)
        write_atomically(self.root / "instructor" / f"{manifest.name}.json", text + "\n")

    def manifest(self, name: str) -> Manifest:
        """What an assignment consists of.

        Raises:
            ValueError: the course has no such assignment.
        """
        path = self.root / "instructor" / f"{name}.json"
        if not path.is_file():
            known = ", ".join(self.names()) or "none yet"
            raise ValueError(f"{self.root} has no assignment {name!r}; it has {known}")
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        read["cells"] = tuple(Cell(**cell) for cell in read["cells"])
        read["earlier"] = tuple(Shown(**cell) for cell in read.get("earlier", ()))
        return Manifest(**read)
