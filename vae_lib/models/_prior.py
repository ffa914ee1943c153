"""What a missing prior becomes."""

from collections.abc import Callable
from typing import Any

from torch.distributions import Distribution

from vae_lib.priors import StandardNormal

__all__ = ["prior_or_standard_normal"]


def prior_or_standard_normal(
    prior: Distribution | Callable[..., Distribution] | None, encoder: Any
) -> Distribution | Callable[..., Distribution]:
    """The given prior; without one the standard normal, with as many latents as the encoder says."""
    if prior is not None:
        return prior
    latent = getattr(encoder, "latent", None)
    if latent is None:
        raise ValueError(
            "prior is None and the encoder has no attribute `latent`; wanted one of them: "
            "set encoder.latent, or pass prior=StandardNormal(latent)"
        )
    return StandardNormal(latent)
