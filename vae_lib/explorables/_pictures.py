"""Small images as PNG: 0 is black and 1 is white, as in `vae_lib.figures.show_images`."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

__all__ = ["png", "strip"]

GROUND = 128  # between the images


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file, with as few colours as do the picture justice."""
    buffer = io.BytesIO()
    if picture.mode == "RGB":
        picture = picture.quantize(96, dither=Image.Dither.NONE)
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def strip(
    images: Float[Tensor, "n pixels"], side: int, *, columns: int | None = None, scale: int = 6
) -> bytes:
    """Images in rows, one next to the other with a gap of one pixel, as a PNG.

    Args:
        images: values in [0, 1], (n, side²).
        side: height and width of one image.
        columns: images in one row; all of them if left out.
        scale: screen pixels per image pixel.

    >>> import torch
    >>> strip(torch.zeros(3, 64), 8)[:4]
    b'\\x89PNG'
    """
    columns = columns or len(images)
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (side + 1) - 1, columns * (side + 1) - 1), np.nan)
    for i, image in enumerate(images.detach().cpu().double().numpy()):
        top, left = (i // columns) * (side + 1), (i % columns) * (side + 1)
        sheet[top : top + side, left : left + side] = image.reshape(side, side)
    grey = np.where(np.isnan(sheet), GROUND, np.rint(255 * np.nan_to_num(sheet)))
    picture = Image.fromarray(grey.astype(np.uint8))
    return png(picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST))
