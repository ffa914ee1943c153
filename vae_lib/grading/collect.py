"""Put what was handed in where the grading looks for it: COURSE/submitted/STUDENT/NAME."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vae_lib.grading.course import Course, write_atomically
from vae_lib.grading.incoming import Incoming, TooLarge, copy_to, of_folder, of_zip

__all__ = ["NOTE", "Collected", "collect", "safe_name", "who"]

NOTE = "not-collected.txt"  # lies in a student's folder where something of theirs could not be kept
MOST_BYTES = 100_000_000  # of one student

# lovelaceada_LATE_1234_56789_notebook.ipynb; the first number is the student's, the second the file's
_CANVAS = re.compile(r"(?P<student>[^_/]+)_(?:LATE_)?(?P<id>\d+)_(?:question_\d+_)?\d+_(?P<file>.+)")
_LATE = re.compile(r"^[^_/]+_LATE_\d+_")
# Ada Lovelace_1234567_assignsubmission_file_/notebook.ipynb, or without the slash
_MOODLE = re.compile(r"(?P<student>.+?)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)_/?(?P<file>.*)")
# ada+02_kl_rearrangement+2027-01-15 10:00:00 UTC+Zm9v, the folders of nbgrader's exchange
_EXCHANGE = re.compile(r"(?P<student>[^+]+)\+(?P<name>[^+]+)\+(?P<time>[^+]+)(?:\+.*)?")


@dataclass
class Collected:
    """What became of a collection.

    Attributes:
        students: whose work came, by the names that they have from now on.
        replaced: those of them who had handed in before.
        late: those of them whose work Canvas calls late.
        renamed: (name as it came, name as it is kept), where they differ.
        unplaced: what could not be placed, and why.
    """

    students: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    unplaced: list[str] = field(default_factory=list)


def safe_name(name: str) -> str:
    """A name that can be a folder and that nbgrader takes; "" if nothing is left of it.

    Example:
        >>> safe_name("../Ada Lovelace")
        'Ada_Lovelace'
    """
    name = unicodedata.normalize("NFC", name)
    name = re.sub(r"[^\w.@-]+", "_", name).strip("._- ")
    while len(name.encode("utf-8", errors="replace")) > 120:
        name = name[:-1]
    return name


def who(parts: Sequence[str], name: str) -> tuple[str, str, str] | None:
    """Who handed in a file, by its path: the name, a number that tells equal names apart, the file's name.

    Example:
        >>> who(("lovelaceada_LATE_12_345_kl.ipynb",), "kl")
        ('lovelaceada', '12', 'kl.ipynb')
        >>> who(("Ada Lovelace_12_assignsubmission_file_", "kl.ipynb"), "kl")
        ('Ada Lovelace', '12', 'kl.ipynb')
        >>> who(("ada", "kl.ipynb"), "kl")
        ('ada', '', 'kl.ipynb')
        >>> who(("ada.ipynb",), "kl")
        ('ada', '', 'kl.ipynb')
    """
    path = "/".join(parts)
    for pattern in (_MOODLE, _CANVAS):
        found = pattern.fullmatch(path)
        if found is not None:
            return found["student"], found["id"], found["file"] or parts[-1]
    if len(parts) > 1:
        inside = parts[2:] if parts[1] == name and len(parts) > 2 else parts[1:]
        return parts[0], "", "/".join(inside)
    stem, dot, ending = parts[0].rpartition(".")
    stem = stem.removesuffix(name).strip("_- +.") if dot else parts[0]
    if not stem:
        return None
    return stem, "", f"{name}.{ending}" if dot else parts[0]


def collect(course: Course, name: str, source: Path) -> Collected:
    """Collect an assignment; what a student handed in before is replaced when there is something new.

    Args:
        course: the folder of the course.
        name: of the assignment.
        source: a zip as Canvas or Moodle makes it, a zip or folder with one folder or file per student,
            or the exchange of nbgrader.

    Raises:
        ValueError: there is no such assignment, or the source cannot be read.
    """
    course.manifest(name)
    source = Path(source)
    found = Collected()
    if source.is_dir():
        inbound = _inbound(source)
        files = of_folder(inbound or source, found.unplaced)
        _place(course, name, _of_exchange(files, name) if inbound else _by_student(files, name, found), found)
    elif source.is_file():
        with of_zip(source, found.unplaced) as files:
            _place(course, name, _by_student(files, name, found), found)
    else:
        raise ValueError(f"there is no {source}: wanted a zip, a folder or an exchange")
    return found


_Handed = dict[tuple[str, str], list[tuple[str, Incoming]]]  # (student, number) -> (path, file) …


def _inbound(source: Path) -> Path | None:
    """Where an exchange of nbgrader keeps what was handed in; None if this is none."""
    candidates = [source, source / "inbound", *sorted(source.glob("*/inbound"))]
    for folder in candidates:
        if folder.is_dir():
            names = [path.name for path in folder.iterdir() if path.is_dir()]
            if names and all(_EXCHANGE.fullmatch(name) for name in names):
                return folder
    return None


def _of_exchange(files: Sequence[Incoming], name: str) -> _Handed:
    """The last version of each student."""
    last: dict[str, tuple[str, str]] = {}
    for file in files:
        found = _EXCHANGE.fullmatch(file.parts[0])
        if found is not None and found["name"] == name:
            version = found["time"], file.parts[0]
            last[found["student"]] = max(last.get(found["student"], version), version)
    chosen = {folder: student for student, (_, folder) in last.items()}
    handed: _Handed = {}
    for file in files:
        if file.parts[0] in chosen and len(file.parts) > 1:
            entry = "/".join(file.parts[1:]), file
            handed.setdefault((chosen[file.parts[0]], ""), []).append(entry)
    return handed


def _by_student(files: Sequence[Incoming], name: str, found: Collected) -> _Handed:
    files = _unwrapped(files, name)
    handed: _Handed = {}
    for file in files:
        told = who(file.parts, name)
        if told is None:
            found.unplaced.append(f"{file.name!r}: its name does not say whose it is")
            continue
        student, number, path = told
        handed.setdefault((student, number), []).append((path, file))
    return handed


def _unwrapped(files: Sequence[Incoming], name: str) -> list[Incoming]:
    """The files without a folder that only holds the students' folders or files."""
    files = list(files)
    while files and len({file.parts[0] for file in files}) == 1 and all(len(f.parts) > 2 for f in files):
        inside = {file.parts[1] for file in files}  # folders of students, or that of the assignment
        if inside == {name} or _MOODLE.match(files[0].parts[0] + "/"):
            break
        files = [replace(file, parts=file.parts[1:]) for file in files]
    if files and all(len(f.parts) == 2 and _lms_name(f.parts[1]) for f in files):
        files = [replace(file, parts=file.parts[1:]) for file in files]
    return files


def _lms_name(name: str) -> bool:
    return _CANVAS.fullmatch(name) is not None or _MOODLE.fullmatch(name) is not None


_Known = dict[tuple[str, str], str]  # (student, number) -> the name as it is kept


def _known(path: Path) -> _Known:
    """Who has handed in before, so that a second collection takes nobody for another."""
    if not path.is_file():
        return {}
    return {(student, number): kept for student, number, kept in json.loads(path.read_text("utf-8"))}


def _recognised(student: str, number: str, known: _Known) -> str:
    """The name that a student has already; "" for a new one."""
    if (student, number) in known:
        return known[student, number]
    # it may come by a way that tells no numbers, or came by one
    same = {(n, kept) for (name, n), kept in known.items() if name == student and not (n and number)}
    return same.pop()[1] if len(same) == 1 else ""


def _kept_names(
    handed: _Handed, known: _Known, found: Collected
) -> Iterator[tuple[str, list[tuple[str, Incoming]]]]:
    """Each student's name as it is kept; equal names are told apart by their numbers."""
    names = [student for student, _ in {*handed, *known}]
    taken = {kept.casefold() for kept in known.values()}
    before, now = dict(known), set[str]()
    for (student, number), files in sorted(
        handed.items(), key=lambda entry: (entry[0] not in before, entry[0])
    ):
        kept = _recognised(student, number, before)
        if kept and kept not in now:
            now.add(kept)
            known[student, number] = kept
            if kept != student:
                found.renamed.append((student, kept))
            yield kept, files
            continue
        kept = safe_name(f"{student}_{number}" if number and names.count(student) > 1 else student)
        if not kept:
            mark = number or hashlib.sha256(student.encode(errors="replace")).hexdigest()[:8]
            kept = f"unnamed-{mark}"
        base, count = kept, 1
        while kept.casefold() in taken:
            count += 1
            kept = f"{base}-{count}"
        taken.add(kept.casefold())
        now.add(kept)
        known[student, number] = kept
        if kept != student:
            found.renamed.append((student, kept))
        yield kept, files


def _place(course: Course, name: str, handed: _Handed, found: Collected) -> None:
    register = course.root / "collected" / f"{name}.json"
    known = _known(register)
    chosen = list(_kept_names(handed, known, found))
    # first, so that a collection that is stopped half-way is known by the next
    entries = sorted((student, number, kept) for (student, number), kept in known.items())
    write_atomically(register, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    for student, files in chosen:
        target = course.submission(student, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        # beside its place, so that what was there stays until all of the new is there
        with tempfile.TemporaryDirectory(dir=course.root, prefix=".collecting-") as beside:
            new = Path(beside) / name
            new.mkdir()
            problems = _fill(new, files)
            if problems:
                found.unplaced += [f"{student}: {problem}" for problem in problems]
                (new / NOTE).write_text("\n".join(problems) + "\n", encoding="utf-8")
            latest = max(file.time for _, file in files)
            stamp = latest.strftime("%Y-%m-%d %H:%M:%S UTC\n")
            (new / "timestamp.txt").write_text(stamp, encoding="utf-8")
            if target.exists():
                found.replaced.append(student)
                shutil.rmtree(target)
            new.rename(target)
        found.students.append(student)
        if any(_LATE.search(file.parts[-1]) for _, file in files):
            found.late.append(student)


def _fill(folder: Path, files: Sequence[tuple[str, Incoming]]) -> list[str]:
    """Copy the files of one student; returns what could not be kept, in words."""
    problems: list[str] = []
    room = MOST_BYTES
    for path, file in files:
        if file.open is None:
            continue  # an empty folder
        target = _free(folder / path)
        try:
            room -= copy_to(file, target, room)
        except (TooLarge, ValueError) as problem:
            problems.append(str(problem))
            continue
        except OSError as problem:  # a file where another file needs a folder, or a name no disk takes
            problems.append(f"{file.name}: {problem.strerror}")
            continue
        if target.suffix.lower() == ".zip":
            room -= _unpack(target, room, problems)
    return problems


def _free(path: Path) -> Path:
    """The path, or one beside it where there is something already."""
    count, free = 1, path
    while free.exists() or free.name in (NOTE, "timestamp.txt"):
        count += 1
        free = path.with_name(f"{path.stem}-{count}{path.suffix}")
    return free


def _unpack(archive: Path, room: int, problems: list[str]) -> int:
    """Unpack a zip that a student handed in, beside it; returns the bytes. Zips inside stay as they are."""
    total = 0
    try:
        with of_zip(archive, problems) as inside:
            for file in inside:
                if file.open is None:
                    continue
                try:
                    total += copy_to(file, _free(archive.with_suffix("").joinpath(*file.parts)), room - total)
                except (TooLarge, ValueError) as problem:
                    problems.append(str(problem))
    except (ValueError, OSError) as problem:
        problems.append(f"{archive.name}: {problem}".replace(str(archive), "it"))
    return total
