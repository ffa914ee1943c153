"""One file for tensors and a JSON document: a safetensors file that can tell when it was altered.

The document and a digest of the whole file are part of it, so nothing can be exchanged or damaged
unnoticed. Nothing in it is ever executed: safetensors holds numbers, and the document is JSON.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from vae_lib._files import file_bytes

__all__ = ["CheckpointError", "read", "write", "write_atomically"]

FORMAT = 2
_DOCUMENT = "vae_lib"  # the one entry of the metadata: with two, their order would differ between runs
_DIGEST = "sha256"  # 32 bytes among the tensors, over the file in which they are zero


class CheckpointError(ValueError):
    """A checkpoint could not be written, read or used. The message names the file, in one line.

    Book: chapter 12 (checkpoints).

    Example:
        >>> raise CheckpointError("runs/last.safetensors is truncated")
        Traceback (most recent call last):
        ...
        vae_lib.training.container.CheckpointError: runs/last.safetensors is truncated
    """


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at every moment the old one or the new one is there, whole.

    The bytes go to a second file in the same folder, reach the disk, and only then take the name.

    Args:
        path: The file; its folder must exist.
        content: What it shall hold.

    Raises:
        CheckpointError: If the disk is full, the folder read-only, or the like. The file that was
            there before is untouched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder, "note.txt"), b"done")
        ...     os.listdir(folder)
        ['note.txt']
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        kept = "; the file from before is untouched" if path.exists() else ""
        raise CheckpointError(f"{path} could not be written: {error.strerror or error}{kept}") from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders, and needs none of this
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, tensors: dict[str, Tensor], document: dict) -> None:
    """Write tensors and a JSON document into one file, atomically.

    The same tensors and the same document make the same bytes.

    Args:
        path: The file; its folder must exist.
        tensors: Tensors on any device, by name.
        document: What JSON can hold; no NaN.

    Raises:
        CheckpointError: If the file cannot be written.
        ValueError: If the document is not JSON.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(Path(folder, "x.safetensors"), {"a": torch.ones(2)}, {"step": 3})
        ...     read(Path(folder, "x.safetensors"))
        ({'a': tensor([1., 1.])}, {'step': 3})
    """
    from safetensors.torch import save

    try:
        text = json.dumps(document, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"document is not JSON ({error}); wanted numbers, text, lists and dicts") from error
    packed = {name: _plain(tensor) for name, tensor in tensors.items()}
    packed[_DIGEST] = torch.zeros(32, dtype=torch.uint8)
    content = bytearray(save(packed, metadata={_DOCUMENT: text}))
    place = _place_of_digest(*_header(path, content))
    content[place] = hashlib.sha256(content).digest()
    write_atomically(path, bytes(content))


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read what `write` wrote: the tensors, on the CPU, and the document.

    Args:
        path: The file.

    Raises:
        CheckpointError: If the file is not there, is truncated, was altered by as little as one
            bit, or is none of ours.

    Example:
        >>> read(Path("nowhere.safetensors"))
        Traceback (most recent call last):
        ...
        vae_lib.training.container.CheckpointError: nowhere.safetensors could not be read: No such file...
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = bytearray(file_bytes(path))
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error.strerror or error}") from error
    header, start = _header(path, content)
    try:
        place = _place_of_digest(header, start)
        text = header["__metadata__"][_DOCUMENT]
        wanted = start + max(entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of vae_lib") from error
    if wanted > len(content):
        raise CheckpointError(f"{path} is truncated: {wanted - len(content)} bytes are missing")
    found = bytes(content[place])
    content[place] = bytes(32)
    if hashlib.sha256(content).digest() != found:
        raise CheckpointError(f"{path} was altered: its content does not have the digest it carries")
    try:
        tensors, document = load(bytes(content)), json.loads(text)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of vae_lib") from error
    del tensors[_DIGEST]
    return tensors, document


def _plain(tensor: Tensor) -> Tensor:
    """A copy that shares memory with no other tensor, in the order that the file wants."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _header(path: Path, content: bytearray) -> tuple[dict, int]:
    """The JSON at the head of a safetensors file (eight bytes of length, the text), and where it ends."""
    end = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 9 or content[8:9] != b"{" or end > 100_000_000:
        raise CheckpointError(f"{path} is not a checkpoint of vae_lib: it is no safetensors file")
    if len(content) < end:
        raise CheckpointError(f"{path} is truncated: {end - len(content)} bytes are missing")
    try:
        return json.loads(content[8:end]), end
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of vae_lib: its header is no JSON") from error


def _place_of_digest(header: dict, start: int) -> slice:
    """Where in the file the 32 bytes of the digest stand."""
    begin, end = header[_DIGEST]["data_offsets"]
    if end - begin != 32 or begin < 0:
        raise ValueError("the digest has another size")
    return slice(start + begin, start + end)
