"""One way in for files: what is neither a file nor a folder is refused before it is opened."""

import errno
import stat
from pathlib import Path

__all__ = ["file_bytes", "refuse_streams"]


def refuse_streams(path: Path) -> None:
    """Refuse what has no content of its own: a pipe is waited for, /dev/zero never ends.

    Raises:
        OSError: If the path leads to a pipe, a socket or a device, or to nothing.

    >>> refuse_streams(Path("/dev/zero"))
    Traceback (most recent call last):
    ...
    OSError: [Errno 22] a pipe, a socket or a device, not a file: '/dev/zero'
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "a pipe, a socket or a device, not a file", str(path))


def file_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: As `refuse_streams`, or if the file cannot be read.
    """
    refuse_streams(path)
    return path.read_bytes()
