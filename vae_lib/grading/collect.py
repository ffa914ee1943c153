"""Put what was handed in where the grading looks for it."""

from __future__ import annotations

import datetime
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from vae_lib.grading.course import Course

__all__ = ["Collected", "collect"]


@dataclass
class Collected:
    """What became of a collection.

    Attributes:
        students: who has handed in.
        unplaced: what could not be placed, and why.
    """

    students: list[str] = field(default_factory=list)
    unplaced: list[str] = field(default_factory=list)


def collect(course: Course, name: str, source: Path) -> Collected:
    """Collect an assignment from a folder with one sub-folder or one file per student."""
    course.manifest(name)
    source = Path(source)
    if not source.is_dir():
        raise ValueError(f"there is no folder {source}")
    found = Collected()
    for entry in sorted(source.iterdir()):
        if entry.name.startswith("."):
            continue
        student = safe_name(entry.name if entry.is_dir() else entry.stem)
        if not student:
            found.unplaced.append(f"{entry.name}: this is no name of a student")
            continue
        target = course.submission(student, name)
        if target.exists():
            shutil.rmtree(target)
        if entry.is_dir():
            shutil.copytree(entry, target, symlinks=True)
        else:
            target.mkdir(parents=True)
            shutil.copyfile(entry, target / f"{name}{entry.suffix}")
        stamp = datetime.datetime.fromtimestamp(entry.stat().st_mtime, datetime.UTC)
        (target / "timestamp.txt").write_text(stamp.strftime("%Y-%m-%d %H:%M:%S UTC\n"), encoding="utf-8")
        found.students.append(student)
    return found


def safe_name(name: str) -> str:
    """A name that can be a folder and that nbgrader takes; "" if nothing is left of it.

    Example:
        >>> safe_name("../Ada Lovelace")
        'Ada_Lovelace'
    """
    return re.sub(r"[^\w.@-]+", "_", name).strip("._- ")
