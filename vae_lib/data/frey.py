"""The Frey faces: 1,965 consecutive frames of one face."""

from collections.abc import Callable

import torch

from vae_lib.data.images import ImageData
from vae_lib.data.npz import npz_array
from vae_lib.data.sources import SETS, DataFile

__all__ = ["FREY_BLOCKS", "FREY_GAP", "frey_faces"]

FREY_GAP = 50
"""Frames left out between two parts. Frames so far apart differ as much as any two: 36 grey levels
(root mean square), against 38 for random pairs and 20 for neighbours."""

FREY_BLOCKS = {"train": (0, 1465), "validation": (1515, 1715), "test": (1765, 1965), "all": (0, 1965)}
"""First frame of each part, and the one after its last."""


def frey_faces(split: str, read: Callable[[DataFile], bytes]) -> ImageData:
    """One part of "frey_faces": 1,465 / 200 / 200 frames in their order, no labels.

    There is no official split. Neighbouring frames are nearly the same picture, so the parts are
    blocks in time, with gaps between them that are in no part.
    """
    images = npz_array(read(SETS["frey_faces"].files[0]), "images")
    first, end = FREY_BLOCKS[split]
    return ImageData(torch.from_numpy(images[first:end].copy()), None, 256, "frey_faces", split)
