"""From the words that the builders understand to the modules they mean."""

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
from vae_lib.models import VAE
from vae_lib.networks.coders import Decoder, Encoder, GaussianEncoder
from vae_lib.posteriors import Diagonal, Flow, FullCovariance
from vae_lib.priors import MixturePrior, VampPrior

__all__ = ["assembled", "depth_of", "likelihood_of", "posterior_of"]


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
    return likelihood.levels if isinstance(likelihood, Categorical) else 1


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


def assembled(
    encoder_network: nn.Module,
    posterior: Any,
    decoder_network: nn.Module,
    likelihood: nn.Module,
    prior: str | nn.Module | Distribution,
    components: int,
    pixels: int,
) -> VAE:
    """The VAE of these parts; the prior is made last, because a VampPrior needs the encoder."""
    # a diagonal posterior keeps the encoder that the figures and explorables know
    plain = isinstance(posterior, Diagonal)
    encoder = (
        GaussianEncoder(encoder_network, posterior.latent) if plain else Encoder(encoder_network, posterior)
    )
    decoder = Decoder(decoder_network, likelihood)
    if prior == "standard":
        return VAE(encoder, decoder)
    if prior == "mixture":
        return VAE(encoder, decoder, MixturePrior(posterior.latent, components))
    if prior == "vamp":
        return VAE(encoder, decoder, VampPrior(encoder, components, pixels))
    if isinstance(prior, (nn.Module, Distribution)):
        return VAE(encoder, decoder, prior)
    raise ValueError(f"prior is {prior!r}; wanted 'standard', 'mixture', 'vamp', a module or a distribution")
