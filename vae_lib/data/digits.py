"""The 1,797 handwritten digits of scikit-learn: the set that needs neither file nor network."""

from functools import cache

import torch
from torch import Tensor

from vae_lib.data.images import ImageData
from vae_lib.data.sources import PARTS

__all__ = ["digits"]

_HELD_OUT = 300
_SPLIT_SEED = 0


@cache  # 115 kB
def _read() -> tuple[Tensor, Tensor]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn: pip install scikit-learn") from error
    bunch = load_digits()
    return torch.as_tensor(bunch.images).to(torch.uint8), torch.as_tensor(bunch.target).long()


def _share(counts: Tensor, total: int) -> Tensor:
    """Split `total` over the classes in proportion to `counts` (largest remainders first)."""
    exact = counts.double() * total / counts.sum()
    share = exact.long()
    most = torch.argsort(exact - share, descending=True, stable=True)
    share[most[: total - int(share.sum())]] += 1
    return share


def _rows(labels: Tensor, split: str) -> Tensor:
    """The row numbers of a part, in the order of the file; each class has its share of each."""
    if split == "all":
        return torch.arange(len(labels))
    generator = torch.Generator().manual_seed(_SPLIT_SEED)
    share = _share(torch.bincount(labels), _HELD_OUT)
    part = torch.zeros(len(labels), dtype=torch.long)
    for digit, held_out in enumerate(share.tolist()):
        rows = torch.nonzero(labels == digit).flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        part[rows[:held_out]] = PARTS.index("validation")
        part[rows[held_out : 2 * held_out]] = PARTS.index("test")
    return torch.nonzero(part == PARTS.index(split)).flatten()


def digits(split: str) -> ImageData:
    """One part of the digits: 1,197 / 300 / 300 images, each with its share of every digit."""
    images, labels = _read()
    rows = _rows(labels, split)
    return ImageData(images[rows], labels[rows], 17, "digits", split)
