"""Initial weights from a seed of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vae_lib import _require

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw initial weights from `seed` and leave torch's global random state as it was."""
    if seed is None:
        yield
        return
    _require.seed("seed", seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))
        yield
