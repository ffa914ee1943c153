"""What a missing prior becomes, and what a prior has to be."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.distributions import Distribution

from vae_lib.priors import StandardNormal

__all__ = ["check_made", "check_prior", "needs_an_argument", "prior_of", "prior_or_standard_normal"]


def prior_or_standard_normal(
    prior: Distribution | Callable[..., Distribution] | None, encoder: Any
) -> Distribution | Callable[..., Distribution]:
    """The given prior; without one the standard normal, with as many latents as the encoder says."""
    if prior is not None:
        if not isinstance(prior, Distribution) and not callable(prior):
            raise ValueError(f"prior is {prior!r}; wanted a distribution, or a module that returns one")
        return prior
    latent = getattr(encoder, "latent", None)
    if latent is None:
        raise ValueError(
            "prior is None and the encoder has no attribute `latent`; wanted one of them: "
            "set encoder.latent, or pass prior=StandardNormal(latent)"
        )
    prior = StandardNormal(latent)
    weight = next(encoder.parameters(), None) if isinstance(encoder, nn.Module) else None
    return prior if weight is None else prior.to(weight.device, weight.dtype)


def check_prior(prior: Distribution | Callable[..., Distribution]) -> None:
    """Refuse a prior that cannot be called without an argument."""
    if not isinstance(prior, Distribution) and needs_an_argument(prior):
        raise ValueError(
            f"prior is {prior!r}, which cannot be called without an argument; wanted a distribution, or a "
            "module that returns one"
        )


def prior_of(source: Distribution | Callable[..., Distribution]) -> Distribution:
    """The distribution that the source is, or that it makes when called."""
    return check_made(source if isinstance(source, Distribution) else source())


def check_made(made: Any) -> Distribution:
    """Refuse what is no distribution of vectors."""
    if not isinstance(made, Distribution):
        raise ValueError(f"prior returned a {type(made).__name__}; wanted a torch.distributions.Distribution")
    if len(made.event_shape) != 1:
        raise ValueError(
            f"prior has event shape {tuple(made.event_shape)}; wanted (latent,), as "
            "torch.distributions.Independent(..., 1) makes it"
        )
    return made


def needs_an_argument(prior: Callable[..., Distribution]) -> bool:
    """Whether the prior cannot be called without one."""
    parameters = inspect.signature(getattr(prior, "forward", prior)).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is p.empty for p in parameters)
