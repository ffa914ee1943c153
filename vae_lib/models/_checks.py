"""Refusals that the models share."""

from typing import Any

from torch import Tensor
from torch.distributions import Distribution, Independent

from vae_lib import _require

__all__ = ["check_event", "check_images", "one_by_one"]


def check_images(x: Tensor) -> None:
    """Refuse x without a batch axis, without an example, or of whole numbers."""
    _require.floating("x", x)
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; wanted (batch, pixels), with at least one example and one pixel"
        )


def check_event(maker: str, made: Any, event: str) -> Distribution:
    """Refuse what is no distribution, and one whose log_prob would not be one number per example."""
    if not isinstance(made, Distribution):
        raise ValueError(
            f"{maker} returned a {type(made).__name__}; wanted a torch.distributions.Distribution with "
            f"event shape ({event},)"
        )
    if len(made.event_shape) != 1:
        raise ValueError(
            f"{maker} returned a distribution with event shape {tuple(made.event_shape)}; wanted "
            f"({event},), as torch.distributions.Independent(..., 1) makes it"
        )
    return made


def one_by_one(distribution: Distribution) -> Distribution:
    """The same distribution, with each latent an event of its own; only where they are independent."""
    if not isinstance(distribution, Independent) or distribution.reinterpreted_batch_ndims != 1:
        raise ValueError(
            f"by_latent is True, but a {type(distribution).__name__} has no rate for each latent: they "
            "are not independent; wanted a diagonal posterior and a diagonal prior"
        )
    return distribution.base_dist
