"""Take away from this process what a submission has no business with, by Landlock (Linux 6.2 and later).

It needs no rights and no installation: a process gives up its own access to files, and it and its
children cannot get it back. From Linux 6.7 on also TCP, from 6.12 on signals to other processes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["available", "confine", "readable"]

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on all architectures
_NO_NEW_PRIVILEGES = 38
_READ = 1 | 4 | 8  # execute, read a file, read a folder
_FILE_ONLY = 1 | 2 | 4  # of the above, what a rule for a file may name; with write
_TRUNCATE = 1 << 14
_ENOUGH = 3  # the first version that also forbids to empty a file


# not the whole of it: the grader may be root, and passwords lie there
_ETC = (
    "alternatives",
    "fonts",
    "hosts",
    "ld.so.cache",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "ssl/certs",
)


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("access", ctypes.c_uint64), ("fd", ctypes.c_int32)]


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))


def available() -> bool:
    """Whether this system can confine a process so that it cannot change files elsewhere."""
    return sys.platform == "linux" and _version() >= _ENOUGH


def _version() -> int:
    return _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))


def readable() -> list[Path]:
    """What every submission may read: the system, Python with its packages, and vae_lib."""
    package = Path(__file__).resolve().parents[1]
    paths = ["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/proc", "/sys/devices/system/cpu"]
    paths += [f"/etc/{name}" for name in _ETC]
    paths += [sys.prefix, sys.base_prefix, sys.exec_prefix, str(package)]
    if "VAE_LIB_DATA" in os.environ:
        paths.append(os.environ["VAE_LIB_DATA"])
    return [path for path in dict.fromkeys(map(Path, paths)) if path.exists()]


def confine(read: Iterable[Path], write: Path) -> None:
    """Give up everything but reading some paths and writing into one folder; for good.

    Raises:
        OSError: the system refuses.
    """
    version = _version()
    rights = (1 << 13) - 1
    rights |= (1 << 13) if version >= 2 else 0  # links to elsewhere
    rights |= _TRUNCATE if version >= 3 else 0
    rules = _Ruleset(rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _checked(_call(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0)))
    try:
        for path in read:
            _allow(ruleset, path, _READ)
        for device in ("null", "zero", "full", "random", "urandom"):
            _allow(ruleset, Path("/dev") / device, _FILE_ONLY)
        _allow(ruleset, write, rights)
        libc = ctypes.CDLL(None, use_errno=True)
        _checked(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _checked(_call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(access if path.is_dir() else access & _FILE_ONLY, fd)
        _checked(_call(_ADD, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0)))
    finally:
        os.close(fd)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
