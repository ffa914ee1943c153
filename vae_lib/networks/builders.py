"""Builders that return a ready `VAE`."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.distributions import Distribution

from vae_lib import _require
from vae_lib.models import VAE
from vae_lib.networks.choices import depth_of, encoder_of, likelihood_of, posterior_of, prior_of
from vae_lib.networks.coders import Decoder
from vae_lib.networks.convolutional import check_image, conv_decoder_network, conv_encoder_network
from vae_lib.networks.perceptron import mlp
from vae_lib.networks.recipe import noting_the_recipe
from vae_lib.networks.seed import seeded

__all__ = ["conv_vae", "mlp_vae"]


@noting_the_recipe
def mlp_vae(
    pixels: int,
    latent: int,
    hidden: Sequence[int] = (128,),
    likelihood: str | nn.Module = "bernoulli",
    activation: str | Callable[[], nn.Module] = "tanh",
    seed: int | None = None,
    *,
    posterior: str | nn.Module = "diagonal",
    prior: str | nn.Module | Distribution = "standard",
    components: int = 10,
) -> VAE:
    r"""A VAE whose encoder and decoder are multi-layer perceptrons.

    The network of Burda et al. (2016) with one layer of latents is
    `mlp_vae(784, latent=50, hidden=(200, 200))`.

    Args:
        pixels: The number of values in one example.
        latent: The number of latent variables.
        hidden: The sizes of the encoder's hidden layers; the decoder has the same in reverse order.
        likelihood: "bernoulli" for pixels that are 0 or 1; "gaussian" for real ones, with one
            learned variance shared by all pixels, which starts at 1; "continuous_bernoulli" for
            real ones within [0, 1]; "discretized_logistic" or "categorical" for 256 grey levels;
            or a module that returns a distribution, which may ask for several numbers for each pixel
            (see `vae_lib.likelihoods`).
        activation: "tanh", "gelu", or a class of modules.
        seed: Seed of the initial weights. Without one they come from torch's global generator.
        posterior: "diagonal", "full", "maf" or "iaf", or a module: see `vae_lib.posteriors`. The KL
            of the last two has no closed form: `elbo` and `loss_terms` average over draws instead.
        prior: "standard", "mixture" or "vamp", a module that returns a distribution, or a
            distribution: see `vae_lib.priors`. The KL to "mixture" and "vamp" has no closed form
            either.
        components: The number of Gaussians of the "mixture", or of pseudo-inputs of the "vamp",
            whose start is random: `model.prior_source.start_at(x[:components])` makes it examples.

    Raises:
        ValueError: If a size is below 1, or the likelihood, the activation, the posterior or the
            prior is unknown.
        ImportError: If the posterior is a flow and zuko is not installed.

    Book: chapter 8 (encoder, decoder, prior); chapter 11 for the posteriors and priors.

    Example:
        >>> model = mlp_vae(64, latent=2, hidden=(32,), seed=0)
        >>> sum(p.numel() for p in model.parameters())
        4420
        >>> import torch
        >>> mlp_vae(64, latent=2, posterior="full", seed=0).elbo(torch.zeros(5, 64)).shape
        torch.Size([5])
    """
    _require.positive_integer("pixels", pixels)
    _require.positive_integer("latent", latent)
    _require.positive_integer("components", components)
    likelihood = likelihood_of(likelihood)
    with seeded(seed):
        head = posterior_of(posterior, latent)
        encoder = encoder_of(mlp(pixels, hidden, head.features, activation), head)
        network = mlp(latent, hidden[::-1], pixels * depth_of(likelihood), activation)
        decoder = Decoder(network, likelihood)
        return VAE(encoder, decoder, prior_of(prior, encoder, components, pixels))


@noting_the_recipe
def conv_vae(
    shape: Sequence[int],
    latent: int,
    channels: int = 1,
    filters: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (128,),
    likelihood: str | nn.Module = "bernoulli",
    activation: str | Callable[[], nn.Module] = "gelu",
    seed: int | None = None,
    *,
    posterior: str | nn.Module = "diagonal",
    prior: str | nn.Module | Distribution = "standard",
    components: int = 10,
) -> VAE:
    r"""A VAE whose encoder and decoder are convolutional, for images of any size.

    Images are flat at its door, x (batch, pixels) with pixels = channels · height · width, channel
    by channel and row by row, exactly as for `mlp_vae`. The encoder has a convolution of stride 2
    for each entry of `filters`, then linear layers; the decoder is its mirror image, and puts out
    exactly as many pixels, odd sizes too.

    Inside, the channels of a pixel lie side by side (`torch.channels_last`), where convolutions are
    quickest.

    Args:
        shape: Height and width of the images.
        latent: The number of latent variables.
        channels: 1 for grey images, 3 for colour.
        filters: The channels after each convolution.
        hidden: The sizes of the linear layers between convolutions and posterior; the decoder has
            the same in reverse order.
        likelihood: As for `mlp_vae`.
        activation: "tanh", "gelu", or a class of modules.
        seed: Seed of the initial weights. Without one they come from torch's global generator.
        posterior: As for `mlp_vae`.
        prior: As for `mlp_vae`.
        components: As for `mlp_vae`.

    Raises:
        ValueError: If shape is not (height, width), a size is below 1, filters is empty, or the
            likelihood, the activation, the posterior or the prior is unknown.
        ImportError: If the posterior is a flow and zuko is not installed.

    Book: chapter 12 (two models).

    Example:
        >>> import torch
        >>> model = conv_vae((28, 20), latent=2, filters=(8, 16), seed=0)
        >>> model.elbo(torch.zeros(5, 560)).shape, model.sample(3).shape
        (torch.Size([5]), torch.Size([3, 560]))
    """
    height, width = check_image(shape, channels, filters)
    _require.positive_integer("latent", latent)
    _require.positive_integer("components", components)
    likelihood = likelihood_of(likelihood)
    design: dict[str, Any] = {
        "channels": channels,
        "filters": filters,
        "hidden": hidden,
        "activation": activation,
    }
    with seeded(seed):
        head = posterior_of(posterior, latent)
        encoder = encoder_of(conv_encoder_network(shape, head.features, **design), head)
        network = conv_decoder_network(shape, latent, **design, depth=depth_of(likelihood))
        decoder = Decoder(network, likelihood)
        return VAE(encoder, decoder, prior_of(prior, encoder, components, channels * height * width))
