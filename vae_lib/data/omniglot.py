"""Omniglot: 1,623 characters of 50 alphabets, each drawn once by 20 people."""

from collections.abc import Callable

import numpy as np
import torch

from vae_lib.data.images import ImageData
from vae_lib.data.npz import npz_array
from vae_lib.data.sources import SETS, DataFile

__all__ = ["omniglot"]

_DRAWERS = 20
_BACKGROUND = 964  # characters of the official background part; the other 659 are the evaluation part
_TRAIN = 836  # characters before the last four background alphabets (14 + 42 + 17 + 55 characters)

# of each split: the official parts that it is taken from, and which of their drawings
_TAKEN = {
    "train": (("background",), slice(_TRAIN * _DRAWERS)),
    "validation": (("background",), slice(_TRAIN * _DRAWERS, None)),
    "test": (("evaluation",), slice(None)),
    "all": (("background", "evaluation"), slice(None)),
}
_FIRST_CHARACTER = {"background": 0, "evaluation": _BACKGROUND}


def omniglot(split: str, size: int, read: Callable[[DataFile], bytes]) -> ImageData:
    """One part of "omniglot": 16,720 / 2,560 / 13,180 images of 836 / 128 / 659 characters.

    The test part is the official evaluation part. The validation part is the last four alphabets
    of the official background part, so no character and no alphabet is in two parts. (The files do
    not name the alphabets. Where one ends, the habits of the twenty drawers change; at character
    836 they do, and the pieces after it have 14, 42, 17 and 55 characters.) The people are not held
    out: the files do not say who drew what.

    The label is the number of the character, from 0 to 1,622. The images come character by
    character, twenty of each: whoever uses only some must draw them by lot.

    At 28 × 28 they are grey, an exact average over areas of the original; at 105 × 105 they are zeros
    and ones, 1 for ink. The 28 × 28 images are not those of Burda et al. (2016): likelihoods cannot be
    compared with published ones.
    """
    small, background, evaluation = SETS["omniglot"].files
    parts, rows = _TAKEN[split]
    if size == 28:
        content = read(small)
        images = [npz_array(content, f"{part}_images") for part in parts]
        labels = [npz_array(content, f"{part}_labels") for part in parts]
    else:
        files = {"background": background, "evaluation": evaluation}
        contents = [read(files[part]) for part in parts]
        papers = [npz_array(content, "images") for content in contents]  # True where there is no ink
        images = [(~paper).view(np.uint8).reshape(-1, 105, 105) for paper in papers]
        labels = [npz_array(content, "labels").reshape(-1) for content in contents]
    numbers = [
        label.astype(np.int64) + _FIRST_CHARACTER[part] for label, part in zip(labels, parts, strict=True)
    ]
    return ImageData(
        torch.from_numpy(_joined(images)[rows]),
        torch.from_numpy(_joined(numbers)[rows]),
        256 if size == 28 else 2,
        "omniglot",
        split,
    )


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)  # 210 MB are not copied for nothing
