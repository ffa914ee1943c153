"""A grey picture as PNG, without a graphics library: vae_lib itself depends on none."""

import struct
import zlib

import numpy as np

__all__ = ["grey_png"]


def grey_png(picture: np.ndarray) -> bytes:
    """The bytes of a PNG file with 256 grey levels.

    Args:
        picture: uint8, (height, width); 0 is black.

    Raises:
        ValueError: If the picture is no such table.

    Source: W3C (2003), Portable Network Graphics Specification, second edition.

    Example:
        >>> grey_png(np.zeros((2, 3), dtype=np.uint8))[:4]
        b'\\x89PNG'
    """
    if picture.dtype != np.uint8 or picture.ndim != 2 or 0 in picture.shape:
        raise ValueError(
            f"picture has shape {picture.shape} and dtype {picture.dtype}; wanted uint8 (height, width)"
        )
    height, width = picture.shape
    unfiltered = np.zeros((height, 1), dtype=np.uint8)  # each row says first that it is not filtered
    rows = np.hstack([unfiltered, picture]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
