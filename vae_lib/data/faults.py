"""What is wrong with a file that is not the one it should be."""

import hashlib

from vae_lib.data.idx import unpack_idx
from vae_lib.data.sources import DataFile

__all__ = ["DataUnavailable", "fault"]


class DataUnavailable(RuntimeError):
    """A data file is neither on this machine nor to be had. The message says what was tried.

    Book: chapter 8 (binary pixels).

    Example:
        >>> issubclass(DataUnavailable, RuntimeError)
        True
    """


def fault(file: DataFile, content: bytes) -> str | None:
    """What is wrong with `content` as the content of `file`: a phrase, or None if nothing is.

    The sha256 decides. The phrase then says what it is that came instead, as closely as it can be
    told: nothing, a web page, a file cut short, another magic number or count, or other bytes.

    Example:
        >>> from vae_lib.data.sources import SETS
        >>> fault(SETS["mnist"].files[3], b"<!DOCTYPE html>").split(" (")[0]
        'is a web page instead of data'
    """
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 == file.sha256:
        return None
    return f"{_what_came_instead(file, content)} (sha256 {sha256}, wanted {file.sha256})"


def _what_came_instead(file: DataFile, content: bytes) -> str:
    if not content:
        return "is empty"
    if content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page instead of data"
    if file.shape is not None:
        try:
            unpack_idx(content, file.shape, "")
        except ValueError as error:
            length = f" ({len(content)} of {file.size} bytes)" if "cut short" in str(error) else ""
            return str(error).strip() + length
    elif len(content) < file.size:
        return f"is cut short: {len(content)} of {file.size} bytes"
    return "holds other bytes than it should"
