"""One way in: a part of a set, by the name of the set."""

import os
from typing import Literal, overload

from vae_lib.data.binarized import binarized_mnist
from vae_lib.data.digits import digits
from vae_lib.data.frey import frey_faces
from vae_lib.data.glyphs import glyphs
from vae_lib.data.images import ImageData
from vae_lib.data.mnist import mnist_family
from vae_lib.data.omniglot import omniglot
from vae_lib.data.ring import PointData, ring
from vae_lib.data.sources import PARTS, SETS, DataFile
from vae_lib.data.store import fetch

__all__ = ["load"]

_Images = Literal["digits", "mnist", "fashion_mnist", "binarized_mnist", "omniglot", "frey_faces", "glyphs"]


@overload
def load(
    name: Literal["ring"],
    split: str = ...,
    *,
    size: int | None = ...,
    cache: str | os.PathLike[str] | None = ...,
    download: bool = ...,
) -> PointData: ...
@overload
def load(
    name: _Images,
    split: str = ...,
    *,
    size: int | None = ...,
    cache: str | os.PathLike[str] | None = ...,
    download: bool = ...,
) -> ImageData: ...
@overload
def load(
    name: str,
    split: str = ...,
    *,
    size: int | None = ...,
    cache: str | os.PathLike[str] | None = ...,
    download: bool = ...,
) -> ImageData | PointData: ...
def load(
    name: str,
    split: str = "train",
    *,
    size: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> ImageData | PointData:
    """Load one part of a data set. The parts are the same every time, and share nothing.

    ===================  =========================  ==========================================
    name                 train / validation / test  what
    ===================  =========================  ==========================================
    "digits"             1,197 / 300 / 300          8 × 8, 17 grey levels; inside scikit-learn
    "mnist"              50,000 / 10,000 / 10,000   28 × 28, grey; handwritten digits
    "fashion_mnist"      50,000 / 10,000 / 10,000   28 × 28, grey; clothes
    "binarized_mnist"    50,000 / 10,000 / 10,000   28 × 28, zeros and ones; no labels
    "omniglot"           16,720 / 2,560 / 13,180    28 × 28, grey (or 105 × 105, zeros and ones)
    "frey_faces"         1,465 / 200 / 200          28 × 20, grey; one face; no labels
    "glyphs"             6,000 / 888 / 888          28 × 28, 17 grey levels; factors known
    "ring"               10,000 / 2,000 / 2,000     points of the plane, density known
    ===================  =========================  ==========================================

    - The digits are the offline default. Each part holds its share of every digit. No image occurs
      twice, so none is in two parts. (After binarisation a few are the same, as they would be in
      fresh data.) The file does not say who wrote which digit: the same hand may have written some
      in each part.
    - MNIST and Fashion-MNIST validate on the last 10,000 images of the training file, as Larochelle
      and Murray (2011) do.
    - The test part of "binarized_mnist" is sorted by digit, and Omniglot comes character by character:
      draw by lot if you use only some.
    - The validation part of Omniglot is four alphabets of the official background part; the test
      part is the official evaluation part.
    - The Frey faces are split into blocks of time with 50 frames between them that are in no part:
      neighbouring frames are nearly the same picture.
    - The glyphs are all 7,776 of their kind, divided by lot; `factors` says what each was drawn from.
    - The ring has no images: it comes as `PointData`.

    A file is looked for in the folder `VAE_LIB_DATA`, then in the cache, and is then downloaded into
    the cache. Its sha256 is checked each time it is read. "binarized_mnist", "omniglot" and
    "frey_faces" have no public address: they come from `VAE_LIB_DATA` only.

    Args:
        name: The data set, see above.
        split: "train", "validation", "test", or "all" for the whole set in the order of its files.
        size: For "omniglot" 28 (if None) or 105. Other sets have one size.
        cache: The folder for downloads; None takes `VAE_LIB_CACHE`, or the user's cache folder.
        download: Whether the network may be used when the file is not on this machine.

    Returns:
        `ImageData`, on the CPU, as bytes; for "ring" `PointData`.

    Raises:
        ValueError: If the name, the split or the size is unknown, or `cache` or `download` is none.
        DataUnavailable: If a file is neither on this machine nor to be had; one line says why.
        ImportError: If scikit-learn is not installed, for the digits.

    Book: chapter 8 (binary pixels). Source: `python -m vae_lib data` names that of each, and its licence.

    Example:
        >>> [len(load("digits", split=part)) for part in ("train", "validation", "test")]
        [1197, 300, 300]
    """
    if not isinstance(name, str) or name not in SETS:
        raise ValueError(f"name is {name!r}; wanted one of: {', '.join(SETS)}")
    if split not in (*PARTS, "all"):
        raise ValueError(f"split is {split!r}; wanted one of: {', '.join(PARTS)}, all")
    if size is not None and (name != "omniglot" or size not in (28, 105)):
        raise ValueError(f'size is {size!r} for {name!r}; wanted None, or 28 or 105 for "omniglot"')
    if not isinstance(download, bool):
        raise ValueError(f"download is {download!r}; wanted True or False")

    def read(file: DataFile) -> bytes:
        return fetch(file, cache=cache, download=download)[0]

    if name in ("mnist", "fashion_mnist"):
        return mnist_family(name, split, read)
    if name == "binarized_mnist":
        return binarized_mnist(split, read)
    if name == "omniglot":
        return omniglot(split, size or 28, read)
    if name == "frey_faces":
        return frey_faces(split, read)
    if name == "glyphs":
        return glyphs(split)
    if name == "ring":
        return ring(split)
    return digits(split)
