"""From the words that the builders understand to the modules they mean."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.distributions import Distribution

from vae_lib.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
)
from vae_lib.networks.coders import Encoder, GaussianEncoder
from vae_lib.posteriors import Diagonal, Flow, FullCovariance
from vae_lib.priors import MixturePrior, VampPrior

__all__ = ["depth_of", "encoder_of", "likelihood_of", "posterior_of", "prior_of"]


def likelihood_of(likelihood: str | nn.Module) -> nn.Module:
    """The likelihood of this name, or the given one."""
    if isinstance(likelihood, nn.Module):
        return likelihood
    if likelihood == "bernoulli":
        return Bernoulli()
    if likelihood == "continuous_bernoulli":
        return ContinuousBernoulli()
    if likelihood == "gaussian":
        return Gaussian(learned=True)
    if likelihood == "discretized_logistic":
        return DiscretizedLogistic(learned=True)
    if likelihood == "categorical":
        return Categorical()
    raise ValueError(
        f"likelihood is {likelihood!r}; wanted 'bernoulli', 'continuous_bernoulli', 'gaussian', "
        "'discretized_logistic', 'categorical' or a module"
    )


def depth_of(likelihood: nn.Module) -> int:
    """How many numbers the likelihood needs for each pixel."""
    return getattr(likelihood, "depth", 1)


def posterior_of(posterior: str | nn.Module, latent: int) -> Any:
    """The posterior of this name, or the given one if it has that many latents."""
    if isinstance(posterior, nn.Module):
        if not hasattr(posterior, "features") or getattr(posterior, "latent", None) != latent:
            raise ValueError(
                f"posterior is {posterior}; wanted a module with the attributes `features` and "
                f"`latent`, the latter {latent}, as those of vae_lib.posteriors"
            )
        return posterior
    if posterior == "diagonal":
        return Diagonal(latent)
    if posterior == "full":
        return FullCovariance(latent)
    if posterior in ("maf", "iaf"):
        return Flow(latent, posterior)
    raise ValueError(f"posterior is {posterior!r}; wanted 'diagonal', 'full', 'maf', 'iaf' or a module")


def encoder_of(network: nn.Module, posterior: Any) -> Encoder:
    """The encoder of these two; with a diagonal posterior the one that figures and explorables know."""
    if type(posterior) is Diagonal:
        return GaussianEncoder(network, posterior.latent)
    return Encoder(network, posterior)


def prior_of(
    prior: str | nn.Module | Distribution, encoder: Encoder, components: int, pixels: int
) -> Distribution | Callable[[], Distribution] | None:
    """The prior of this name, or the given one; None for the one that a `VAE` takes by itself."""
    if isinstance(prior, (nn.Module, Distribution)):
        return prior
    if prior == "standard":
        return None
    if prior == "mixture":
        return MixturePrior(encoder.latent, components)
    if prior == "vamp":
        return VampPrior(encoder, components, pixels)
    raise ValueError(f"prior is {prior!r}; wanted 'standard', 'mixture', 'vamp', a module or a distribution")
