"""Refusals that the posteriors share."""

import torch
from torch import Tensor

from vae_lib import _require

__all__ = ["check_codes", "check_features"]


def check_features(features: Tensor, wanted: int, meaning: str) -> None:
    """Refuse a network's output of another size than the posterior needs."""
    _require.floating("features", features)
    if features.shape[-1:] != (wanted,):
        raise ValueError(
            f"features has shape {tuple(features.shape)}; wanted (..., {wanted}), that is {meaning}"
        )


def check_codes(z: Tensor, latent: int, batch: torch.Size = torch.Size()) -> None:  # noqa: B008
    """Refuse codes of another size, which broadcasting would let through, or for another batch."""
    _require.floating("z", z)
    if z.shape[-1:] != (latent,):
        raise ValueError(f"z has shape {tuple(z.shape)}; wanted (..., {latent}), one number per latent")
    pairs = zip(z.shape[-2::-1], batch[::-1], strict=False)
    if any(size != wanted and 1 not in (size, wanted) for size, wanted in pairs):
        raise ValueError(
            f"z has shape {tuple(z.shape)}, which does not fit a batch of shape {tuple(batch)}; wanted one "
            "code for each entry of the batch"
        )
