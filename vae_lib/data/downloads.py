"""Downloads with pooch: several mirrors, several rounds, and nothing half-done under a final name."""

import io
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from tqdm import tqdm

from vae_lib.data.faults import DataUnavailable, fault
from vae_lib.data.sources import DataFile

__all__ = ["download_to"]

ROUNDS = 3  # through all the mirrors
PAUSE = 1.0  # seconds before the second round; twice as long before each further one
TIMEOUT = (10.0, 30.0)  # seconds to connect; seconds without a byte
DAY = 86_400.0  # seconds


def download_to(folder: Path, file: DataFile) -> tuple[bytes, str]:
    """Download a file into `folder` and return its content, checked, with its address.

    The mirrors are tried in turn. One that has no such file, or sends another, is not asked again;
    one that is out of order is, after a pause. The file gets its name in one step, once it is
    complete and checked. Whoever else downloads it at the same time puts the same bytes there.

    Args:
        folder: The folder of the file in the cache; made if it is not there.
        file: What is wanted.

    Returns:
        The bytes, and the address they came from.

    Raises:
        DataUnavailable: If the folder cannot be written to, if pooch is not installed, or if no
            mirror has the right file; the message says what each did.

    Example:
        >>> download_to(Path("/dev/null/cache"), DataFile("mnist", "some.gz", "0" * 64, 1))
        Traceback (most recent call last):
        ...
        vae_lib.data.faults.DataUnavailable: the cache folder /dev/null/cache cannot be written to \
(Not a directory); set VAE_LIB_CACHE to a folder that can
    """
    with _refusing_unwritable(folder), _part(folder, file.name) as (handle, part):
        content, address = _from_a_mirror(file)
        handle.write(content)
        handle.close()
        os.replace(part, folder / file.name)
    return content, address


@contextmanager
def _refusing_unwritable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataUnavailable(
            f"the cache folder {folder} cannot be written to ({error.strerror}); "
            "set VAE_LIB_CACHE to a folder that can"
        ) from error


@contextmanager
def _part(folder: Path, name: str) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file that only this download writes to, gone at the end whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.glob(f".{name}.*.part"):  # of downloads that were killed
        with suppress(OSError):  # another process may be first
            if time.time() - abandoned.stat().st_mtime > DAY:
                abandoned.unlink()
    part = folder / f".{name}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        with part.open("xb") as handle:
            yield handle, part
    finally:
        part.unlink(missing_ok=True)


def _from_a_mirror(file: DataFile) -> tuple[bytes, str]:
    try:
        import pooch  # noqa: F401
        import requests  # noqa: F401
    except ImportError as error:
        raise DataUnavailable("the cache and downloads need pooch: pip install pooch") from error
    answers: dict[str, str] = {}  # mirror -> what it said last
    asked = list(file.mirrors)
    for attempt in range(ROUNDS):
        if attempt and asked:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        for mirror in tuple(asked):
            try:
                content = _get(mirror + file.name, file)
            except _TooLong:
                answers[mirror] = f"sent more than the {file.size} bytes of the file"
                asked.remove(mirror)
                continue
            except (OSError, ValueError) as error:  # those of requests, and what it lets through
                answers[mirror], again = _reason(error)
                if not again:
                    asked.remove(mirror)
                continue
            wrong = fault(file, content)
            if wrong is None:
                return content, mirror + file.name
            answers[mirror] = f"what it sent {wrong}"
            asked.remove(mirror)
    raise DataUnavailable(
        "; ".join(f"{urlsplit(mirror).netloc}: {answer}" for mirror, answer in answers.items())
    )


class _TooLong(Exception):
    """More came than the file has."""


class _Buffer(io.BytesIO):
    """Memory for one file, which does not grow without end when another one comes."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def write(self, chunk) -> int:
        if self.tell() + len(chunk) > self.most:
            raise _TooLong
        return super().write(chunk)


def _get(address: str, file: DataFile) -> bytes:
    """What the address sends. A bar shows the progress on a terminal, and only there."""
    import pooch

    buffer = _Buffer(most=max(file.size, 100_000))  # room for a web page, which `fault` then names
    with tqdm(total=file.size, desc=file.path, unit="B", unit_scale=True, disable=None, ncols=79) as bar:
        pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=1 << 16,
            timeout=TIMEOUT,
            headers={"Accept-Encoding": "identity"},  # the file as it is stored, not unpacked on the way
        )(address, buffer, None)
    return buffer.getvalue()


def _reason(error: Exception) -> tuple[str, bool]:
    """What went wrong with a request, in a few words, and whether it is worth asking again."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return f"HTTP status {status}", status >= 500 or status in (408, 429)
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "no answer in time", True
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off", True
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted", False
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not answer", True
    if isinstance(error, requests.ConnectionError):
        return "no connection", True
    if isinstance(error, requests.TooManyRedirects):
        return "it redirects without end", False
    return f"{type(error).__name__}: {' '.join(str(error).split())}", False
