"""The files of a zip or a folder, one by one, without trusting their names, their sizes or their kinds."""

from __future__ import annotations

import datetime
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

__all__ = ["LARGEST_FILE", "Incoming", "TooLarge", "copy_to", "of_folder", "of_zip"]

LARGEST_FILE = 50_000_000  # bytes, as unpacked
MOST_FILES = 100_000
DEEPEST = 20  # folders within each other
_BROKEN = (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError, ValueError)


class TooLarge(Exception):
    """A file, or all files of a student, take more than is allowed; the text says what."""


@dataclass(frozen=True)
class Incoming:
    """A file that was handed in, or an empty folder.

    Attributes:
        parts: its path, in safe parts; that of an empty folder ends with "".
        open: opens it for reading; it may refuse by a `ValueError`. An empty folder has none.
        time: when it was written, as far as the source tells.
    """

    parts: tuple[str, ...]
    open: Callable[[], IO[bytes]] | None
    time: datetime.datetime

    @property
    def name(self) -> str:
        """The whole path."""
        return "/".join(self.parts)


def _utf8(name: str) -> str:
    """The name, with "?" for what stands in no encoding; disks have such names."""
    return name.encode(errors="replace").decode()


def _safe_parts(name: str) -> tuple[str, ...] | None:
    """The parts of a path that stays where it is unpacked, or None."""
    name = _utf8(name).replace("\\", "/")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    bad = name.startswith("/") or ".." in parts or not parts or (len(parts[0]) > 1 and parts[0][1] == ":")
    too_long = (
        any(len(part.encode("utf-8", errors="replace")) > 240 for part in parts) or len(parts) > DEEPEST
    )
    return None if bad or too_long or any("\0" in part for part in parts) else parts


def _refuse(reason: str) -> IO[bytes]:
    raise ValueError(reason)


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _junk(parts: tuple[str, ...]) -> bool:
    """What systems leave behind, and nobody handed in."""
    folders = {"__MACOSX", ".ipynb_checkpoints", ".git", "__pycache__", ".vscode", ".idea"}
    files = (".DS_Store", "Thumbs.db", "desktop.ini")
    return bool(folders & set(parts)) or parts[-1] in files or parts[-1].startswith("._")


@contextmanager
def of_zip(path: Path, refused: list[str]) -> Iterator[list[Incoming]]:
    """The files in a zip, which is open meanwhile; what is refused is noted, by name.

    Raises:
        ValueError: this is no zip that can be read.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, *_BROKEN) as error:
        raise ValueError(f"{path} cannot be read as a zip: {error}") from None
    with archive:
        members = archive.infolist()
        if len(members) > MOST_FILES:
            raise ValueError(f"{path} has {len(members)} files; at most {MOST_FILES} are read")
        files = []
        for member in members:
            parts = _safe_parts(member.filename)
            if parts is None:
                refused.append(f"{_utf8(member.filename[:200])!r}: its name leads out of the folder")
            elif _junk(parts):
                continue
            elif member.is_dir():
                files.append(Incoming((*parts, ""), None, _member_time(member)))
            else:
                reason = ""
                if stat.S_ISLNK(member.external_attr >> 16):
                    reason = "it is a link"
                elif member.flag_bits & 1:
                    reason = "it is locked by a password"
                opens: Callable[[], IO[bytes]] = partial(archive.open, member)
                if reason:
                    opens = partial(_refuse, reason)
                files.append(Incoming(parts, opens, _member_time(member)))
        yield files


def _member_time(member: zipfile.ZipInfo) -> datetime.datetime:
    try:
        return datetime.datetime(*member.date_time, tzinfo=datetime.UTC)
    except ValueError:
        return datetime.datetime(1980, 1, 1, tzinfo=datetime.UTC)


def of_folder(folder: Path, refused: list[str]) -> list[Incoming]:
    """The files below a folder; links, pipes and devices are refused."""
    found = []
    for at, folders, files in os.walk(folder, onerror=lambda error: refused.append(_utf8(str(error)))):
        folders.sort()
        here = Path(at)
        if folders and len(here.relative_to(folder).parts) >= DEEPEST:
            refused.append(f"{_utf8(str(here.relative_to(folder)))!r}: what lies deeper than that")
            folders.clear()
        for name in sorted([*files, *(f for f in folders if (here / f).is_symlink())]):
            path = here / name
            relative = path.relative_to(folder)
            kind = path.lstat()
            parts = _safe_parts(relative.as_posix())
            if parts is None:
                refused.append(f"{_utf8(str(relative))!r}: it has no usable name")
            elif not _junk(parts):
                plain = stat.S_ISREG(kind.st_mode)
                reason = "it is a link" if stat.S_ISLNK(kind.st_mode) else "it is no file"
                opens = partial(_open, path) if plain else partial(_refuse, reason)
                time = datetime.datetime.fromtimestamp(kind.st_mtime, datetime.UTC)
                found.append(Incoming(parts, opens, time))
        if not files and not folders and here != folder:
            parts = _safe_parts(here.relative_to(folder).as_posix())
            time = datetime.datetime.fromtimestamp(here.stat().st_mtime, datetime.UTC)
            if parts is not None and not _junk(parts):
                found.append(Incoming((*parts, ""), None, time))
    return found


def copy_to(source: Incoming, target: Path, room: int) -> int:
    """Copy a file, at most `room` bytes and at most LARGEST_FILE; returns how many they were.

    The bytes are counted as they come: what an archive says of its sizes is not believed.

    Raises:
        TooLarge: it has more; nothing of it stays.
        ValueError: it cannot be read; nothing of it stays.
    """
    assert source.open is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    limit = min(room, LARGEST_FILE)
    count = 0
    try:
        with source.open() as read, target.open("xb") as write:
            while block := read.read(1 << 16):
                count += len(block)
                if count > limit:
                    raise TooLarge(f"{source.name} has more than {limit / 1e6:g} MB")
                write.write(block)
    except TooLarge:
        target.unlink()
        raise
    except _BROKEN as error:
        told: Any = error
        if target.is_file():
            target.unlink()
        raise ValueError(f"{source.name} cannot be read: {told}") from None
    return count
