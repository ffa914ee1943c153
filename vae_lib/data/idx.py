"""The file format of the MNIST family: a magic number, the sizes, then the bytes."""

import gzip
import io
import math
import zlib

import numpy as np

__all__ = ["parse_idx", "unpack_idx"]

_UNSIGNED_BYTES = 8


def parse_idx(raw: bytes, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The array in the bytes of an IDX file, which must have the given shape.

    The header is big-endian: two zero bytes, the kind of number (8: unsigned bytes), the number of
    dimensions, then each size in four bytes. The first four bytes together are the magic number:
    2051 for images, 2049 for labels.

    Args:
        raw: The unpacked file.
        shape: The shape that is wanted.
        name: How to call the file in a complaint.

    Returns:
        The array, uint8, read-only: a view of `raw`.

    Raises:
        ValueError: If the magic number, a size, or the length of the file is another.

    Source: LeCun, Cortes and Burges, *The MNIST database of handwritten digits*.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), (2,), "two labels")
        array([7, 9], dtype=uint8)
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), (3,), "two labels")
        Traceback (most recent call last):
        ...
        ValueError: two labels has the wrong count: 2 entries, wanted 3
    """
    header = 4 + 4 * len(shape)
    magic, wanted = int.from_bytes(raw[:4], "big"), 256 * _UNSIGNED_BYTES + len(shape)
    if len(raw) < 4 or magic != wanted:
        raise ValueError(f"{name} has the wrong magic number: {magic}, wanted {wanted}")
    if len(raw) < header:
        raise ValueError(f"{name} is cut short: it ends within its header")
    sizes = tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(4, header, 4))
    if sizes[0] != shape[0]:
        raise ValueError(f"{name} has the wrong count: {sizes[0]} entries, wanted {shape[0]}")
    if sizes != shape:
        raise ValueError(f"{name} has entries of the wrong size: {sizes[1:]}, wanted {shape[1:]}")
    if len(raw) - header != math.prod(shape):
        raise ValueError(
            f"{name} has the wrong length: {len(raw) - header} bytes of data, wanted {math.prod(shape)}"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def unpack_idx(packed: bytes, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The array in a gzip-compressed IDX file. Never unpacks more than the shape needs.

    Args:
        packed: The file as it is stored.
        shape: The shape that is wanted.
        name: How to call the file in a complaint.

    Returns:
        The array, uint8, read-only.

    Raises:
        ValueError: If the file is not gzip, is cut short or damaged, or as for `parse_idx`.

    Example:
        >>> unpack_idx(b"not gzip", (3,), "labels.gz")
        Traceback (most recent call last):
        ...
        ValueError: labels.gz is no gzip file
    """
    if packed[:2] != b"\x1f\x8b":
        raise ValueError(f"{name} is no gzip file")
    enough = 4 + 4 * len(shape) + math.prod(shape) + 1  # one more, so that a longer file shows
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            raw = stream.read(enough)
    except EOFError as error:
        raise ValueError(f"{name} is cut short: the gzip stream does not end") from error
    except (OSError, zlib.error) as error:
        raise ValueError(f"{name} is damaged: {error}") from error
    return parse_idx(raw, shape, name)
