"""Where a file is found, and the check that it is the right one.

The order is: the folder `VAE_LIB_DATA`, which is only ever read; the cache; a download into the
cache. What is used are the very bytes that were checked. A file that fails the check is named, with
what is wrong with it, and the next place is tried.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from vae_lib._files import file_bytes
from vae_lib.data.downloads import download_to
from vae_lib.data.faults import DataUnavailable, fault
from vae_lib.data.sources import DataFile

__all__ = ["cache_folder", "fetch", "places"]

_log = logging.getLogger("vae_lib.data")


def cache_folder(cache: str | os.PathLike | None = None) -> Path:
    """The folder for downloads: `cache`, else `VAE_LIB_CACHE`, else the user's own cache folder.

    Raises:
        ValueError: If `cache` is no path.
        DataUnavailable: If neither is given, and the user has no home folder or pooch, which knows it, is
            not installed.

    Example:
        >>> cache_folder("somewhere").name
        'somewhere'
    """
    if cache is not None and (not isinstance(cache, str | os.PathLike) or "\0" in os.fspath(cache)):
        raise ValueError(f"cache is {cache!r}; wanted the path of a folder, or None")
    chosen = cache or os.environ.get("VAE_LIB_CACHE")
    if not chosen:
        try:
            import pooch  # only now: whoever has VAE_LIB_DATA does not need it
        except ImportError as error:
            raise DataUnavailable("the cache and downloads need pooch: pip install pooch") from error
        try:
            chosen = pooch.os_cache("vae_lib")
        except RuntimeError as error:
            raise DataUnavailable("no home folder, so no cache: set VAE_LIB_CACHE to a folder") from error
    return Path(os.path.expanduser(chosen))


def places(file: DataFile, cache: str | os.PathLike | None = None) -> Iterator[tuple[str, Path | None]]:
    """Where the file may lie on this machine, best first: the name of the place, and the path there.

    The path is None where the place does not exist; its name then says so. A file without a public
    address is not looked for in the cache, where nothing could have put it.

    Example:
        >>> from vae_lib.data.sources import SETS
        >>> [name for name, _ in places(SETS["mnist"].files[0], cache="somewhere")][-1]
        'cache'
    """
    folder = os.environ.get("VAE_LIB_DATA")
    if not folder:
        yield "VAE_LIB_DATA is not set", None
    elif not os.path.isdir(os.path.expanduser(folder)):
        yield f"VAE_LIB_DATA is {folder}, which is no folder", None
    else:
        yield "VAE_LIB_DATA", Path(os.path.expanduser(folder)) / file.folder / file.name
    if file.mirrors:
        try:
            chosen = cache_folder(cache)
        except DataUnavailable as error:
            yield str(error), None
        else:
            yield "cache", chosen / file.folder / file.name


def fetch(
    file: DataFile, *, cache: str | os.PathLike | None = None, download: bool = True
) -> tuple[bytes, str]:
    """The content of a file, checked, and where it came from.

    Args:
        file: The file that is wanted.
        cache: The folder for downloads; None takes `VAE_LIB_CACHE` or the user's cache folder.
        download: Whether the network may be used.

    Returns:
        The bytes, and the path or the address they came from.

    Raises:
        DataUnavailable: If no place has the right file; one line that says what each place had.

    Example:
        >>> from vae_lib.data.sources import DataFile
        >>> fetch(DataFile("lost", "lost.npz", "0" * 64, 1))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        vae_lib.data.faults.DataUnavailable: lost/lost.npz is not available: ...
    """
    missed: list[str] = []
    refused: list[str] = []
    for name, path in places(file, cache):
        if path is None:
            missed.append(name)
            continue
        try:
            content = file_bytes(path)
        except FileNotFoundError:
            missed.append(f"{path} does not exist")
            continue
        except OSError as error:
            missed.append(f"{path} cannot be read ({error.strerror})")
            continue
        wrong = fault(file, content)
        if wrong is None:
            _tell(refused, str(path))
            return content, str(path)
        refused.append(f"{path} {wrong}")
    tried = [*refused, *missed]
    if not file.mirrors:
        tried.append(f"it has no public address: set VAE_LIB_DATA to a folder that holds {file.path}")
    elif not download:
        tried.append("download is switched off")
    else:
        try:
            content, address = download_to(cache_folder(cache) / file.folder, file)
        except DataUnavailable as error:
            tried.append(str(error))
        else:
            _tell(refused, address)
            return content, address
    raise DataUnavailable(
        f"{file.path} is not available: {'; '.join(dict.fromkeys(tried))}. "
        'Without a file or a network, load("digits") works'
    )


def _tell(refused: list[str], origin: str) -> None:
    """Name the files that were refused on the way to a good one."""
    for line in refused:
        _log.warning("refused: %s; using %s instead", line, origin)
