"""The fixed binarisation of MNIST that published likelihoods are about."""

from collections.abc import Callable

import numpy as np
import torch

from vae_lib.data.images import ImageData
from vae_lib.data.npz import npz_array
from vae_lib.data.sources import PARTS, SETS, DataFile

__all__ = ["binarized_mnist"]

_ARRAYS = dict(zip(PARTS, ("train", "valid", "test"), strict=True))


def binarized_mnist(split: str, read: Callable[[DataFile], bytes]) -> ImageData:
    """One part of "binarized_mnist": 50,000 / 10,000 / 10,000 images of zeros and ones, no labels.

    The parts are those of the original files, in their order. The test part is sorted by digit:
    whoever uses only some of it must draw them by lot. In the file each byte holds eight pixels, the
    first in the highest bit.
    """
    content = read(SETS["binarized_mnist"].files[0])
    parts = PARTS if split == "all" else (split,)
    packed = np.concatenate([npz_array(content, _ARRAYS[part]) for part in parts])  # (n, 98)
    images = torch.from_numpy(np.unpackbits(packed, axis=1)).view(-1, 28, 28)
    return ImageData(images, None, 2, "binarized_mnist", split)
