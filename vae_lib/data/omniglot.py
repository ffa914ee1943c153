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
    first, last = {
        "train": (0, _TRAIN),
        "validation": (_TRAIN, _BACKGROUND),
        "test": (_BACKGROUND, None),
        "all": (0, None),
    }[split]
    wanted = [part for part, used in ((0, first < _BACKGROUND), (1, last is None)) if used]
    if size == 28:
        content = read(small)
        names = ("background", "evaluation")
        images = [npz_array(content, f"{names[part]}_images") for part in wanted]
        labels = [npz_array(content, f"{names[part]}_labels") for part in wanted]
        levels = 256
    else:
        files = (background, evaluation)
        contents = [read(files[part]) for part in wanted]
        # the file has True for paper
        images = [
            (~npz_array(content, "images")).view(np.uint8).reshape(-1, 105, 105) for content in contents
        ]
        labels = [npz_array(content, "labels").reshape(-1) for content in contents]
        levels = 2
    parts = zip(labels, wanted, strict=True)
    numbers = [array.astype(np.int64) + _BACKGROUND * part for array, part in parts]
    start = (first - _BACKGROUND * wanted[0]) * _DRAWERS
    stop = None if last is None else last * _DRAWERS
    return ImageData(
        torch.from_numpy(_joined(images)[start:stop]),
        torch.from_numpy(_joined(numbers)[start:stop]),
        levels,
        "omniglot",
        split,
    )


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)  # 210 MB are not copied for nothing
