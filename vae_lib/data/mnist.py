"""MNIST and Fashion-MNIST: four gzip-compressed IDX files each, the same split for both."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

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
    train = split in ("train", "validation", "all")
    test = split in ("test", "all")
    chosen = {"train": slice(_TRAIN), "validation": slice(_TRAIN, None)}.get(split, slice(None))
    files = [(train_images, train_labels)] * train + [(test_images, test_labels)] * test
    arrays = [[_array(file, read)[chosen] for file in pair] for pair in files]
    images, labels = (_tensor([pair[which] for pair in arrays]) for which in (0, 1))
    return ImageData(images, labels.long(), 256, name, split)


def _array(file: DataFile, read: Callable[[DataFile], bytes]) -> np.ndarray:
    assert file.shape is not None
    return unpack_idx(read(file), file.shape, file.path)


def _tensor(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays))  # a copy: what was read from bytes is read-only
