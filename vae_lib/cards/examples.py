"""The examples that a card is about, the same on every machine."""

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.data import ImageData, load
from vae_lib.data.sources import SETS

__all__ = ["DRAWN_WITH", "card_examples"]

DRAWN_WITH = 123  # the seed of the one draw of zeros and ones that models are evaluated on


def card_examples(
    name: str, split: str, likelihood: str, binarisation: int | None = None, *, download: bool = True
) -> Float[Tensor, "n size"]:
    """One part of a data set as the likelihood wants it.

    Args:
        name: A data set of `vae_lib.data`. A file of your own is none: nobody else could audit it.
        split: "train", "validation" or "test".
        likelihood: Under "bernoulli" pixels are 0 or 1; under any other they are grey / (levels - 1).
        binarisation: None sets a pixel where it is brighter than one half; a seed draws it, once, on
            the CPU, with its grey level as the probability.
        download: Whether the network may be used.

    Raises:
        ValueError: If the name or the split is unknown, if the seed is none, or if one is given where nothing
            is drawn.
        DataUnavailable: If the files are not to be had.

    Example:
        >>> card_examples("digits", "test", "bernoulli").shape
        torch.Size([300, 64])
    """
    if name not in SETS:
        raise ValueError(f"data is {name!r}; a run card needs one of: {', '.join(SETS)}")
    if binarisation is not None:
        _require.seed("binarisation", binarisation)
    data = load(name, split=split, download=download)
    images = isinstance(data, ImageData)
    if binarisation is not None and (likelihood != "bernoulli" or not images):
        raise ValueError(f"binarisation is {binarisation}, but nothing is drawn of {name} under {likelihood}")
    if not isinstance(data, ImageData):
        return data.points.float()
    if likelihood != "bernoulli":
        return data.scaled()
    if binarisation is None:
        return data.binarized()
    return data.binarize(torch.Generator().manual_seed(binarisation))
