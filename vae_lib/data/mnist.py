"""MNIST and Fashion-MNIST: four gzip-compressed IDX files each, the same split for both."""

from collections.abc import Callable

import numpy as np
import torch

from vae_lib.data.idx import unpack_idx
from vae_lib.data.images import ImageData
from vae_lib.data.sources import SETS, DataFile

__all__ = ["mnist_family"]

_TRAIN = 50_000  # of the 60,000 training images; the rest validates


def mnist_family(name: str, split: str, read: Callable[[DataFile], bytes]) -> ImageData:
    """One part of "mnist" or "fashion_mnist": 50,000 / 10,000 / 10,000 images.

    The validation part is the last 10,000 images of the training file, as in Larochelle and Murray
    (2011) and after them. `read` gives the checked content of a file.

    Nothing is kept in memory between calls: 47 MB of pixels are read in a third of a second.
    """
    train_images, train_labels, test_images, test_labels = SETS[name].files
    files = []
    if split != "test":
        files.append((train_images, train_labels))
    if split in ("test", "all"):
        files.append((test_images, test_labels))
    rows = {"train": slice(_TRAIN), "validation": slice(_TRAIN, None)}.get(split, slice(None))
    # a copy of each: what was read from bytes is read-only
    images = np.concatenate([_array(file, read)[rows] for file, _ in files])
    labels = np.concatenate([_array(file, read)[rows] for _, file in files])
    return ImageData(torch.from_numpy(images), torch.from_numpy(labels).long(), 256, name, split)


def _array(file: DataFile, read: Callable[[DataFile], bytes]) -> np.ndarray:
    assert file.shape is not None
    return unpack_idx(read(file), file.shape, file.path)
