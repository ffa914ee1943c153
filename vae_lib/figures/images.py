"""Pictures of digits: crisp pixels on a neutral ground, the same on light and dark pages."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from vae_lib._arrays import float64
from vae_lib.figures.emit import checked_alt, claim, escaped, publish

__all__ = ["show_images"]

GROUND = 128  # grey level between the tiles: no page is that grey, so every edge is seen
DENSITY = 2  # pixels of the file in a CSS pixel: a whole number, so that pixels stay even
GAP = 4  # pixels of the file between two tiles
WIDEST = 640  # CSS pixels
TILE = 72  # CSS pixels, the widest tile


def show_images(
    images: Any,
    *,
    alt: str,
    columns: int | None = None,
    labels: Sequence[str] | None = None,
    value_range: tuple[float | int, float | int] | None = None,
) -> None:
    """Show grey images as tiles: 0 is black and 1 is white, as in the files of MNIST.

    Args:
        images: a sheet of tiles, (n, height, width), or square images laid flat, (n, pixels). A
            list of such stacks, or (rows, n, height, width), is a row for each, to be compared:
            `[originals, reconstructions]`. Arrays or tensors.
        alt: what is seen, as for `show`.
        columns: tiles in a row of a sheet. The default is a sheet about twice as wide as high.
        labels: one for each row where rows are compared, else one for each image.
        value_range: the values shown black and white, (0, 1) for floating-point images; values
            outside are shown black or white. Whole numbers need it: (0, 16) for the digits.

    Raises:
        ValueError: as for `show`; for shapes that do not fit, values that are not finite, a range
            that is no range, or whole numbers without one.

    Book: chapter 8 (a VAE on real digits).

    Example:
        >>> show_images(np.eye(8)[None].repeat(3, 0), alt="Three white diagonals on black squares.")
        Three white diagonals on black squares.
    """
    words = checked_alt(alt)
    compared = isinstance(images, list | tuple) or len(np.shape(images)) == 4
    stacks = [_grey(stack, value_range) for stack in (images if compared else [images])]
    if len({stack.shape[1:] for stack in stacks}) != 1:
        raise ValueError(f"rows hold images of different size: {[s.shape[1:] for s in stacks]}")
    if compared and columns is not None:
        raise ValueError("columns belongs to one sheet of images; rows are as long as they are")
    rows = stacks if compared else _broken(stacks[0], columns)
    captions = _captions(labels, rows, compared)
    claim(words)

    across = max(len(row) for row in rows)
    tile = min(TILE, WIDEST / across)
    zoom = max(1, round(DENSITY * tile / max(rows[0].shape[1:])))
    if captions is None:
        body = _image(_sheet(rows, across, zoom), words)
    else:
        strips = [_image(_sheet([row], across, zoom), words * (i == 0)) for i, row in enumerate(rows)]
        pieces = []
        for strip, texts in zip(strips, captions, strict=True):
            caption = _row_label(texts[0]) if compared else _tile_labels(texts, across)
            pieces += [caption, strip] if compared else [strip, caption]
        body = "".join(pieces)
    widest = _sheet(rows[:1], across, zoom).shape[1] / DENSITY
    publish(f'<div class="vae-images" style="max-width:{widest:g}px;margin:auto">{body}</div>', words)


def _grey(stack: Any, value_range: tuple[float | int, float | int] | None) -> np.ndarray:
    """Any stack of images as bytes, (n, height, width)."""
    kind = stack.dtype if isinstance(stack, torch.Tensor) else np.asarray(stack).dtype
    whole = not (kind.is_floating_point if isinstance(kind, torch.dtype) else kind.kind == "f")
    values = float64(stack)
    if values.ndim == 2:
        side = math.isqrt(values.shape[1])
        if side * side != values.shape[1]:
            raise ValueError(f"flat images must be square, got {values.shape[1]} pixels")
        values = values.reshape(len(values), side, side)
    if values.ndim != 3 or values.size == 0:
        raise ValueError(f"images must be (n, height, width) or (n, pixels), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("images hold NaN or infinite values")
    if value_range is None:
        if whole:
            raise ValueError("whole numbers need value_range=(black, white), (0, 16) for digits")
        value_range = (0.0, 1.0)
    black, white = value_range
    if not (math.isfinite(black) and math.isfinite(white) and black < white):
        raise ValueError(f"value_range must be (black, white) with black < white: {value_range}")
    shown = np.clip((values - black) / (white - black), 0.0, 1.0)
    return np.rint(255 * shown).astype(np.uint8)


def _broken(stack: np.ndarray, columns: int | None) -> list[np.ndarray]:
    if columns is None:
        columns = min(len(stack), max(1, math.ceil(math.sqrt(2 * len(stack)))))
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    return [stack[i : i + columns] for i in range(0, len(stack), columns)]


def _captions(labels: Sequence[str] | None, rows: list[np.ndarray], compared: bool) -> list[list[str]] | None:
    """The labels of each row."""
    if labels is None:
        return None
    texts = [str(text) for text in labels]
    counts = [1 if compared else len(row) for row in rows]
    if len(texts) != sum(counts):
        what = "row" if compared else "image"
        raise ValueError(f"labels must be one for each {what}, {sum(counts)}; got {len(texts)}")
    ends = np.cumsum(counts)
    return [texts[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _sheet(rows: list[np.ndarray], across: int, zoom: int) -> np.ndarray:
    """Tiles beside and below each other, (pixels down, pixels across)."""
    height, width = (zoom * side for side in rows[0].shape[1:])
    size = (len(rows) * (height + GAP) + GAP, across * (width + GAP) + GAP)
    sheet = np.full(size, GROUND, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            top, left = GAP + i * (height + GAP), GAP + j * (width + GAP)
            sheet[top : top + height, left : left + width] = tile.repeat(zoom, 0).repeat(zoom, 1)
    return sheet


def _image(sheet: np.ndarray, alt: str) -> str:
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, format="PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    height, width = sheet.shape
    return (
        f'<img class="vae-pixels" alt="{escaped(alt)}" width="{width}" height="{height}" '
        'style="display:block;width:100%;height:auto;image-rendering:pixelated" '
        f'src="data:image/png;base64,{data}">'
    )


def _row_label(text: str) -> str:
    return f'<div class="vae-row-label" style="margin:0.4rem 0 0.1rem">{escaped(text)}</div>'


def _tile_labels(texts: list[str], across: int) -> str:
    cells = "".join(f"<span>{escaped(text)}</span>" for text in texts)
    return (
        '<div class="vae-tile-labels" style="display:grid;text-align:center;'
        f'grid-template-columns:repeat({across},1fr)">{cells}</div>'
    )
