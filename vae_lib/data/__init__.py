"""The data sets: images as whole numbers until they are used, and one split for everybody.

- `load`: one part of a set by its name, as `ImageData` or, for the ring, `PointData`.
- `binarize`: zeros and ones drawn afresh from grey levels, on whatever device they lie.
- `draw_glyphs`, `sample_ring`, `synthetic_linear_gaussian`: data whose causes are known. The columns of
  the glyphs' factors are `GLYPH_FACTORS`, the names of their shapes `GLYPH_SHAPES`.
- `DataUnavailable`: a file is neither on this machine nor to be had; the message says what to do.

Nothing here touches a file or a network before `load` is called.
"""

from vae_lib.data.faults import DataUnavailable
from vae_lib.data.glyphs import GLYPH_FACTORS, GLYPH_SHAPES, draw_glyphs
from vae_lib.data.images import ImageData, binarize
from vae_lib.data.linear_gaussian import synthetic_linear_gaussian
from vae_lib.data.loading import load
from vae_lib.data.ring import PointData, sample_ring

__all__ = [
    "GLYPH_FACTORS",
    "GLYPH_SHAPES",
    "DataUnavailable",
    "ImageData",
    "PointData",
    "binarize",
    "draw_glyphs",
    "load",
    "sample_ring",
    "synthetic_linear_gaussian",
]
