r"""The data sets: images as whole numbers until they are used, and one split for everybody."""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from vae_lib import _require

__all__ = ["ImageData", "load", "synthetic_linear_gaussian"]

_SPLITS = ("train", "validation", "test")
_HELD_OUT = 300
_SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class ImageData:
    """Grey images with their labels, as `load` returns them.

    Args:
        images: Grey levels as whole numbers from 0 to levels - 1, (n, height, width).
        labels: One whole number per image, (n,).
        levels: The number of grey levels.
        name: The name of the data set.
        split: The part of it: "train", "validation", "test" or "all".

    Raises:
        ValueError: If there is no image, if the labels do not match, or if a level is too high.

    Example:
        >>> data = load("digits", split="test")
        >>> data
        ImageData(name='digits', split='test', images=300, shape=(8, 8), levels=17)
        >>> data.binarized().shape, data.labels.shape
        (torch.Size([300, 64]), torch.Size([300]))
    """

    images: UInt8[Tensor, "n height width"]
    labels: Int64[Tensor, " n"]
    levels: int
    name: str
    split: str

    def __post_init__(self):
        if len(self.images) == 0:
            raise ValueError(f"images are empty ({self.name}, {self.split}); wanted at least one")
        if len(self.labels) != len(self.images):
            raise ValueError(f"labels are {len(self.labels)}; wanted one per image, {len(self.images)}")
        highest = int(self.images.max())
        if highest >= self.levels:
            raise ValueError(f"images hold the level {highest}; wanted less than levels = {self.levels}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return (
            f"ImageData(name={self.name!r}, split={self.split!r}, images={len(self)}, "
            f"shape={self.shape}, levels={self.levels})"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of one image.

        Example:
            >>> load("digits").shape
            (8, 8)
        """
        return tuple(self.images.shape[1:])

    @property
    def pixels(self) -> int:
        """The number of pixels of one image.

        Example:
            >>> load("digits").pixels
            64
        """
        return self.images[0].numel()

    def scaled(self) -> Float[Tensor, "n pixels"]:
        """The grey levels divided by `levels - 1`: float32 in [0, 1], one row per image.

        These are for a likelihood over real numbers. They are not the outcomes of a Bernoulli.

        Example:
            >>> x = load("digits").scaled()
            >>> x.shape, float(x.max())
            (torch.Size([1197, 64]), 1.0)
        """
        return self.images.flatten(1).float() / (self.levels - 1)

    def binarized(self, threshold: float = 0.5) -> Float[Tensor, "n pixels"]:
        """One where the scaled pixel is above `threshold`, else zero: float32, one row per image.

        Args:
            threshold: From 0 to below 1.

        Raises:
            ValueError: If threshold is outside [0, 1), where every pixel would be the same.

        Example:
            >>> load("digits").binarized().unique()
            tensor([0., 1.])
        """
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold is {threshold!r}; wanted 0 <= threshold < 1")
        return (self.scaled() > threshold).float()


@cache
def _digits() -> tuple[Tensor, Tensor]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn: pip install scikit-learn") from error
    bunch = load_digits()
    return torch.as_tensor(bunch.images).to(torch.uint8), torch.as_tensor(bunch.target).long()


_SETS = {"digits": (_digits, 17)}


def _share(counts: Tensor, total: int) -> Tensor:
    """Split `total` over the classes in proportion to `counts` (largest remainders first)."""
    exact = counts.double() * total / counts.sum()
    share = exact.long()
    most = torch.argsort(exact - share, descending=True, stable=True)
    share[most[: total - int(share.sum())]] += 1
    return share


def _split(labels: Tensor, split: str) -> Tensor:
    """The row numbers of a part, in the order of the file; each class has its share of each."""
    if split == "all":
        return torch.arange(len(labels))
    generator = torch.Generator().manual_seed(_SPLIT_SEED)
    share = _share(torch.bincount(labels), _HELD_OUT)
    part = torch.zeros(len(labels), dtype=torch.long)
    for digit, held_out in enumerate(share.tolist()):
        rows = torch.nonzero(labels == digit).flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        part[rows[:held_out]] = _SPLITS.index("validation")
        part[rows[held_out : 2 * held_out]] = _SPLITS.index("test")
    return torch.nonzero(part == _SPLITS.index(split)).flatten()


def load(name: str, split: str = "train") -> ImageData:
    """Load one part of a data set. It touches no network, and the parts are the same every time.

    "digits" are the 1,797 handwritten digits of 8 × 8 pixels with 17 grey levels that come with
    scikit-learn: 1,197 to train on, 300 to validate, 300 to test. Each part holds its share of
    every digit. No image occurs twice, so none is in two parts. (After binarisation a few are the
    same, as they would be in fresh data.) The file does not say who wrote which digit: the same
    hand may have written some in each part.

    Args:
        name: The data set: "digits".
        split: "train", "validation", "test", or "all" for the whole set.

    Raises:
        ValueError: If the name or the split is unknown.
        ImportError: If scikit-learn is not installed.

    Book: chapter 8. Source: Alpaydin and Kaynak (1998), *Optical Recognition of Handwritten
    Digits*, UCI Machine Learning Repository.

    Example:
        >>> [len(load("digits", split=part)) for part in ("train", "validation", "test")]
        [1197, 300, 300]
    """
    if name not in _SETS:
        raise ValueError(f"name is {name!r}; wanted one of: {', '.join(_SETS)}")
    if split not in (*_SPLITS, "all"):
        raise ValueError(f"split is {split!r}; wanted one of: {', '.join(_SPLITS)}, all")
    read, levels = _SETS[name]
    images, labels = read()
    rows = _split(labels, split)
    return ImageData(images[rows], labels[rows], levels, name, split)


def synthetic_linear_gaussian(
    n: int = 1000,
    *,
    pixels: int = 8,
    eigenvalues: tuple[float, ...] = (16.0, 6.0, 2.0),
    variance: float = 0.25,
    seed: int = 0,
) -> Float[Tensor, "n pixels"]:
    r"""Draw data from a linear-Gaussian model, for which the best VAE is known on paper.

    .. math:: z \sim \mathcal{N}(0, I), \qquad x|z \sim \mathcal{N}(W z + \mu, \sigma^2 I), \qquad
              W = U (\Lambda - \sigma^2 I)^{1/2}

    The columns of :math:`U` are random orthonormal directions and :math:`\mu` is a random centre.
    The covariance of x then has the given `eigenvalues` in these directions and `variance` in all
    others. Eigenvalues well apart make the principal directions easy to tell.

    Args:
        n: The number of rows.
        pixels: The number of columns.
        eigenvalues: The leading eigenvalues of the covariance, largest first, fewer than `pixels`,
            each above `variance`.
        variance: The noise variance :math:`\sigma^2`.
        seed: Seed of everything that is drawn.

    Returns:
        Float32 data, (n, pixels).

    Raises:
        ValueError: If n, the eigenvalues or the variance do not fit the description.

    Book: chapters 7 and 8. Source: Tipping and Bishop (1999).

    Example:
        >>> synthetic_linear_gaussian(500).shape
        torch.Size([500, 8])
    """
    _require.positive_integer("n", n)
    _require.positive_number("variance", variance)
    if not 1 <= len(eigenvalues) < pixels:
        raise ValueError(
            f"eigenvalues are {len(eigenvalues)}; wanted at least 1, less than pixels = {pixels}"
        )
    if min(eigenvalues) <= variance:
        raise ValueError(f"eigenvalues are {eigenvalues}; wanted each above variance = {variance}")
    generator = torch.Generator().manual_seed(seed)
    latent = len(eigenvalues)
    square = torch.randn(pixels, pixels, generator=generator, dtype=torch.float64)
    directions = torch.linalg.qr(square).Q[:, :latent]  # (pixels, latent)
    excess = torch.tensor(eigenvalues, dtype=torch.float64) - variance
    weight = directions * excess.sqrt()
    centre = torch.randn(pixels, generator=generator, dtype=torch.float64)
    z = torch.randn(n, latent, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, pixels, generator=generator, dtype=torch.float64)
    return (z @ weight.T + centre + variance**0.5 * noise).float()
