r"""Small drawn letters whose causes are known: shape, size, angle and place."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vae_lib import _require
from vae_lib.data.images import ImageData
from vae_lib.data.sources import PARTS

__all__ = ["GLYPH_FACTORS", "GLYPH_SHAPES", "draw_glyphs", "glyphs"]

GLYPH_FACTORS = ("shape", "size", "angle", "x", "y")
GLYPH_SHAPES = ("L", "T", "wedge")

_SIDE = 28
_FINE = 4  # each pixel is 4 × 4 points, so its grey level is 0 to 16
_LEVELS = _FINE**2 + 1

# Convex pieces, corners anticlockwise, for size 1. No shape looks the same after a turn.
_PIECES: tuple[tuple[tuple[tuple[float, float], ...], ...], ...] = (
    (
        ((-0.35, -0.5), (-0.1, -0.5), (-0.1, 0.5), (-0.35, 0.5)),
        ((-0.35, -0.5), (0.35, -0.5), (0.35, -0.25), (-0.35, -0.25)),
    ),
    (
        ((-0.4, 0.25), (0.4, 0.25), (0.4, 0.5), (-0.4, 0.5)),
        ((-0.125, -0.5), (0.125, -0.5), (0.125, 0.5), (-0.125, 0.5)),
    ),
    (((-0.35, -0.5), (0.35, -0.5), (0.0, 0.5)),),
)
_REACH = tuple(max(math.hypot(*corner) for piece in shape for corner in piece) for shape in _PIECES)

_SIZES = (8.0, 10.0, 12.0, 14.0)
_TURNS = 8
_SHIFTS = range(-4, 5)
_HELD_OUT = 888
_SPLIT_SEED = 0


def draw_glyphs(factors: Float[Tensor, "n 5"]) -> UInt8[Tensor, "n 28 28"]:
    r"""Draw letters from their factors, any number of them: data without end, causes known.

    A point p belongs to the letter if its own coordinates, turned and moved back,

    .. math:: R(-\alpha)\,\frac{p - (x, y)}{\mathrm{size}},

    lie in the letter of size 1. A pixel holds 4 × 4 points; its grey level is how many belong.

    Args:
        factors: (n, 5), the columns named in `GLYPH_FACTORS`: the shape (0: L, 1: T, 2: wedge), the
            size (the height of the letter, in pixels), the angle (radians, anticlockwise), and the
            centre x (to the right) and y (upwards), in pixels from the centre of the image.

    Returns:
        Grey levels from 0 to 16, (n, 28, 28).

    Raises:
        ValueError: If a factor is not finite, the shape is none of the three, the size is not
            positive, or a letter could reach beyond the edge.

    Book: chapter 9 (data with known causes).

    Example:
        >>> image = draw_glyphs(torch.tensor([[0.0, 14.0, 0.0, 0.0, 0.0]]))[0]
        >>> for row in image[7:21:2, 9:19]:
        ...     print("".join(" .+#"[int(level) // 5] for level in row).rstrip())
        ###.
        ###.
        ###.
        ###.
        ###.
        ###+......
        ##########
    """
    _require.floating("factors", factors)
    if factors.ndim != 2 or factors.shape[1] != len(GLYPH_FACTORS) or len(factors) == 0:
        raise ValueError(
            f"factors have shape {tuple(factors.shape)}; wanted (n, 5) with n of at least 1: "
            f"{', '.join(GLYPH_FACTORS)}"
        )
    _require.finite("factors", factors)
    shape, size, angle, x, y = factors.to("cpu", torch.float64).unbind(1)
    if not set(shape.tolist()) <= set(range(len(GLYPH_SHAPES))):
        raise ValueError(f"factors name a shape that is none of 0 to {len(GLYPH_SHAPES) - 1}")
    if float(size.min()) <= 0:
        raise ValueError(f"factors hold the size {float(size.min())}; wanted sizes above 0")
    room = _SIDE / 2 - torch.maximum(x.abs(), y.abs())
    beyond = torch.tensor(_REACH, dtype=torch.float64)[shape.long()] * size > room
    if bool(beyond.any()):
        raise ValueError(f"factors of row {int(beyond.nonzero()[0])} put the letter beyond the edge")
    images = torch.empty(len(factors), _SIDE, _SIDE, dtype=torch.uint8)
    for which in shape.unique().long().tolist():
        rows = (shape == which).nonzero().flatten()
        for chunk in rows.split(256):  # 256 images are 25 MB of points
            images[chunk] = _grey(which, size[chunk], angle[chunk], x[chunk], y[chunk])
    return images


def _grey(shape: int, size: Tensor, angle: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The grey levels of letters of one shape, (n, side, side); all factors (n,)."""
    axis = (torch.arange(_SIDE * _FINE, dtype=torch.float64) + 0.5) / _FINE - _SIDE / 2
    right = axis[None, None, :] - x[:, None, None]  # (n, 1, points)
    up = -axis[None, :, None] - y[:, None, None]  # (n, points, 1): the first row is the top
    cos, sin = (angle.cos() / size)[:, None, None], (angle.sin() / size)[:, None, None]
    u, v = cos * right + sin * up, cos * up - sin * right  # (n, points, points)
    inside = torch.zeros(u.shape, dtype=torch.bool)
    for piece in _PIECES[shape]:
        within = torch.ones(u.shape, dtype=torch.bool)
        for (u0, v0), (u1, v1) in zip(piece, piece[1:] + piece[:1], strict=True):
            within &= (u1 - u0) * (v - v0) >= (v1 - v0) * (u - u0)  # to the left of this edge
        inside |= within
    return inside.reshape(-1, _SIDE, _FINE, _SIDE, _FINE).sum((2, 4)).to(torch.uint8)


def _all_glyphs() -> tuple[Tensor, Tensor]:
    """Every letter of the set and its factors: 3 shapes, 4 sizes, 8 angles, 9 × 9 places."""
    turns = [turn * 2 * math.pi / _TURNS for turn in range(_TURNS)]
    grid = [range(len(GLYPH_SHAPES)), _SIZES, turns, _SHIFTS, _SHIFTS]
    factors = torch.cartesian_prod(*(torch.tensor(list(values), dtype=torch.float64) for values in grid))
    # A letter moved by whole pixels is the same picture, moved: 96 drawings instead of 7,776.
    middle = draw_glyphs(factors.view(-1, len(_SHIFTS) ** 2, 5)[:, len(_SHIFTS) ** 2 // 2])
    moved = [torch.roll(middle, (-dy, dx), dims=(1, 2)) for dx in _SHIFTS for dy in _SHIFTS]
    return torch.stack(moved, 1).flatten(0, 1), factors.float()


def glyphs(split: str) -> ImageData:
    """One part of the 7,776 letters: 6,000 / 888 / 888, drawn by lot; no image occurs twice."""
    images, factors = _all_glyphs()
    if split == "all":
        rows = torch.arange(len(images))
    else:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(_SPLIT_SEED))
        sizes = (len(images) - 2 * _HELD_OUT, _HELD_OUT, _HELD_OUT)
        rows = order.split(sizes)[PARTS.index(split)].sort().values
    labels = factors[rows, 0].long()
    return ImageData(images[rows], labels, _LEVELS, "glyphs", split, factors[rows], GLYPH_FACTORS)
