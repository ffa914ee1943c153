r"""Doersch's ring: points of the plane made from noise, with a density that is known."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from vae_lib import _require
from vae_lib._ring import bend
from vae_lib.data.sources import PARTS

__all__ = ["PointData", "ring", "sample_ring"]

_SIZES = (10_000, 2_000, 2_000)
_FIRST_SEED = 20_160_000  # of the parts; far from the seeds that anyone gives to `sample_ring`


@dataclass(frozen=True, eq=False)
class PointData:
    """Points, as `load("ring")` returns them: no images, so they are ready to train on.

    Args:
        points: Float32, (n, dimensions).
        latents: The noise that each point was made from, float32, (n, latent).
        name: The name of the data set.
        split: The part of it: "train", "validation", "test" or "all".

    Raises:
        ValueError: If there is no point, a number is NaN or infinite, or not one row of noise per point.

    Book: chapter 1 (the ring).

    Example:
        >>> from vae_lib.data import load
        >>> load("ring", split="test")
        PointData(name='ring', split='test', points=2000, dimensions=2)
    """

    points: Float32[Tensor, "n dimensions"]
    latents: Float32[Tensor, "n latent"]
    name: str
    split: str

    def __post_init__(self) -> None:
        for name in ("points", "latents"):
            _require.shape(name, getattr(self, name), (None, None), "one row per point")
            _require.floating(name, getattr(self, name))
            _require.finite(name, getattr(self, name))
        if len(self.points) == 0:
            raise ValueError(f"points are empty ({self.name}, {self.split}); wanted at least one")
        if len(self.latents) != len(self.points):
            raise ValueError(f"latents are {len(self.latents)}; wanted one per point, {len(self.points)}")

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return (
            f"PointData(name={self.name!r}, split={self.split!r}, points={len(self)}, "
            f"dimensions={self.points.shape[1]})"
        )


def sample_ring(n: int, *, seed: int = 0) -> Float32[Tensor, "n 2"]:
    r"""Draw points of a ring: noise, bent.

    .. math:: x = \frac{z}{10} + \frac{z}{\lVert z \rVert}, \qquad z \sim \mathcal{N}(0, I)

    Their density and its entropy are known exactly: `vae_lib.laboratory.Ring`.

    Args:
        n: How many.
        seed: Seed of the noise.

    Returns:
        Float32, (n, 2).

    Raises:
        ValueError: If n is no positive integer.

    Book: chapter 1 (the ring). Source: Doersch (2016), figure 2.

    Example:
        >>> points = sample_ring(1000)
        >>> points.shape, bool((points.norm(dim=1) > 1).all())
        (torch.Size([1000, 2]), True)
    """
    _require.positive_integer("n", n)
    return bend(_noise(n, seed)).float()


def _noise(n: int, seed: int) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ring(split: str) -> PointData:
    """One part of the ring: 10,000 / 2,000 / 2,000 points, each part from its own seed."""
    parts = PARTS if split == "all" else (split,)
    numbers = [PARTS.index(part) for part in parts]
    z = torch.cat([_noise(_SIZES[number], _FIRST_SEED + number) for number in numbers])
    return PointData(bend(z).float(), z.float(), "ring", split)
