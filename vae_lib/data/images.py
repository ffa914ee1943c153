"""Grey images as whole numbers, and the two ways to make them binary."""

from dataclasses import dataclass, replace
from numbers import Real

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from vae_lib import _require

__all__ = ["ImageData", "binarize"]


def binarize(
    images: UInt8[Tensor, "*shape"],
    *,
    levels: int = 256,
    generator: torch.Generator | None = None,
    look: bool = True,
) -> Float32[Tensor, "*shape"]:
    r"""Zeros and ones drawn afresh: a pixel is 1 with probability grey / (levels - 1).

    .. math:: x_d \sim \mathrm{Bernoulli}\Big(\frac{g_d}{\mathrm{levels} - 1}\Big)

    This is the *dynamic* binarisation of Burda et al.: a new draw each time an image is used, so
    that no two epochs see the same data. It compares whole numbers, g with a draw from
    0, ..., levels - 2, so the probability is exact and nothing is copied but bytes. The images may
    lie on any device; the result lies there too.

    Args:
        images: Grey levels from 0 to levels - 1, any shape.
        levels: The number of grey levels, 2 to 256.
        generator: Where the randomness comes from, on the device of the images. None takes torch's
            global one.
        look: Whether to look at the grey levels. Set it to False only where the same images have been
            looked at before.

    Returns:
        0.0 or 1.0, float32, in the shape and on the device of `images`.

    Raises:
        ValueError: If levels is out of range, a grey level is too high, or the generator is on
            another device. (On a GPU the grey levels are not looked at: that would wait for it.)

    Book: chapter 8 (binary pixels). Source: Burda et al. (2016), section 5.

    Example:
        >>> grey = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(100_000, 3)
        >>> draws = binarize(grey, generator=torch.Generator().manual_seed(0))
        >>> [round(p, 2) for p in draws.mean(0).tolist()]  # 51 / 255 = 0.2
        [0.0, 0.2, 1.0]
    """
    _grey_levels(images, levels)
    if look and images.device.type == "cpu" and images.numel() and int(images.max()) >= levels:
        raise ValueError(f"images hold the level {int(images.max())}; wanted less than levels = {levels}")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ValueError(f"generator is {generator!r}; wanted a torch.Generator, or None")
    if generator is not None and generator.device.type != images.device.type:
        raise ValueError(
            f"generator is on {generator.device}; wanted the device of the images, {images.device}"
        )
    draws = torch.randint(
        levels - 1, images.shape, generator=generator, device=images.device, dtype=torch.uint8
    )
    return (draws < images).float()


def _grey_levels(images: Tensor, levels: int) -> None:
    _require.integer_within("levels", levels, lowest=2, highest=256)
    _require.tensor("images", images)
    if images.dtype != torch.uint8:
        raise ValueError(f"images have dtype {images.dtype}; wanted whole grey levels, torch.uint8")


@dataclass(frozen=True, eq=False)
class ImageData:
    """Grey images, as `load` returns them.

    Args:
        images: Grey levels as whole numbers from 0 to levels - 1, (n, height, width).
        labels: One whole number per image, (n,); None if the set has no labels.
        levels: The number of grey levels.
        name: The name of the data set.
        split: The part of it: "train", "validation", "test" or "all".
        factors: What each image was drawn from, (n, factors), where that is known; else None.
        factor_names: The names of the columns of `factors`.

    Raises:
        ValueError: If there is no image, if images, labels or factors are not of the type and shape
            above, or if a level is too high.

    Book: chapter 8 (binary pixels).

    Example:
        >>> from vae_lib.data import load
        >>> data = load("digits", split="test")
        >>> data
        ImageData(name='digits', split='test', images=300, shape=(8, 8), levels=17)
        >>> data.binarized().shape, data.labels.shape
        (torch.Size([300, 64]), torch.Size([300]))
    """

    images: UInt8[Tensor, "n height width"]
    labels: Int64[Tensor, " n"] | None
    levels: int
    name: str
    split: str
    factors: Float[Tensor, "n factors"] | None = None
    factor_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _grey_levels(self.images, self.levels)
        _require.shape("images", self.images, (None, None, None), "(n, height, width)")
        if len(self.images) == 0:
            raise ValueError(f"images are empty ({self.name}, {self.split}); wanted at least one")
        if self.labels is not None:
            _require.shape("labels", self.labels, (len(self.images),), f"one per image: {len(self.images)}")
            if self.labels.dtype != torch.int64:
                raise ValueError(f"labels have dtype {self.labels.dtype}; wanted torch.int64")
        highest = int(self.images.max())
        if highest >= self.levels:
            raise ValueError(f"images hold the level {highest}; wanted less than levels = {self.levels}")
        if self.factors is not None:
            wanted = (len(self.images), len(self.factor_names))
            _require.shape("factors", self.factors, wanted, str(wanted))
            _require.finite("factors", self.factors)

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
            >>> from vae_lib.data import load
            >>> load("digits").shape
            (8, 8)
        """
        height, width = self.images.shape[1:]
        return height, width

    @property
    def pixels(self) -> int:
        """The number of pixels of one image.

        Example:
            >>> from vae_lib.data import load
            >>> load("digits").pixels
            64
        """
        return self.images[0].numel()

    def to(self, device: torch.device | str) -> "ImageData":
        """The same data on another device: one byte per pixel travels.

        Example:
            >>> from vae_lib.data import load
            >>> load("digits").to("cpu").images.device
            device(type='cpu')
        """
        labels = None if self.labels is None else self.labels.to(device)
        factors = None if self.factors is None else self.factors.to(device)
        return replace(self, images=self.images.to(device), labels=labels, factors=factors)

    def scaled(self) -> Float32[Tensor, "n pixels"]:
        """The grey levels divided by `levels - 1`: float32 in [0, 1], one row per image.

        These are for a likelihood over real numbers. They are not the outcomes of a Bernoulli.

        Example:
            >>> from vae_lib.data import load
            >>> x = load("digits").scaled()
            >>> x.shape, float(x.max())
            (torch.Size([1197, 64]), 1.0)
        """
        return self.images.flatten(1).float() / (self.levels - 1)

    def binarized(self, threshold: float = 0.5) -> Float32[Tensor, "n pixels"]:
        """One where the scaled pixel is above `threshold`, else zero: float32, one row per image.

        The same every time. `binarize` draws afresh instead.

        Args:
            threshold: From 0 to below 1.

        Raises:
            ValueError: If threshold is outside [0, 1), where every pixel would be the same.

        Example:
            >>> from vae_lib.data import load
            >>> load("digits").binarized().unique()
            tensor([0., 1.])
        """
        if not isinstance(threshold, Real) or not 0 <= threshold < 1:
            raise ValueError(f"threshold is {threshold!r}; wanted 0 <= threshold < 1")
        return (self.scaled() > threshold).float()

    def binarize(
        self, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Float32[Tensor, "n pixels"]:
        """Zeros and ones drawn afresh with probability grey / (levels - 1), one row per image.

        Call it again for another draw. While you train, draw per minibatch with the function
        `binarize`. A test set must be drawn once, with a seed, and then stay as it is.

        Args:
            generator: Where the randomness comes from; None takes torch's global one.
            device: Where to draw; the images go there as bytes first. None stays where they are.

        Raises:
            ValueError: If the generator is on another device.

        Example:
            >>> from vae_lib.data import load
            >>> data = load("digits")
            >>> data.binarize().shape, bool((data.binarize() != data.binarize()).any())
            (torch.Size([1197, 64]), True)
        """
        images = self.images.flatten(1)
        if device is not None:
            images = images.to(device)
        return binarize(images, levels=self.levels, generator=generator)
