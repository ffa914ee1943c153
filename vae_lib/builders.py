"""Ready models of multi-layer perceptrons, beyond the plain VAE of `vae_lib.networks`.

- `conditional_mlp_vae`: a VAE of x given y.
- `hierarchical_mlp_vae`: several layers of latents.
- `vq_mlp_vae`: a codebook in place of a posterior; no bound.

They put together the pieces of `vae_lib.networks` and `vae_lib.models`, which you can also do
yourself.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from vae_lib import _require
from vae_lib.models import VQVAE, Concatenated, ConditionalVAE, HierarchicalVAE
from vae_lib.networks import Decoder, GaussianEncoder, mlp
from vae_lib.networks.choices import depth_of, likelihood_of
from vae_lib.networks.recipe import noting_the_recipe
from vae_lib.networks.seed import seeded

__all__ = ["conditional_mlp_vae", "hierarchical_mlp_vae", "vq_mlp_vae"]


@noting_the_recipe
def conditional_mlp_vae(
    pixels: int,
    conditions: int,
    latent: int,
    hidden: Sequence[int] = (128,),
    likelihood: str | nn.Module = "bernoulli",
    activation: str | Callable[[], nn.Module] = "tanh",
    conditional_prior: bool = True,
    seed: int | None = None,
) -> ConditionalVAE:
    r"""A conditional VAE whose encoder, decoder and prior are multi-layer perceptrons.

    Each sees y next to its own input.

    Args:
        pixels: The number of values in one example.
        conditions: The number of values in one condition y: classes, if it is one-hot.
        latent: The number of latent variables.
        hidden: The sizes of the encoder's hidden layers; the decoder has the same in reverse order,
            the prior the same in the same order.
        likelihood: As in `mlp_vae`.
        activation: As in `mlp_vae`.
        conditional_prior: Whether the prior is a network, :math:`p_\theta(z|y)`; otherwise it is the
            standard normal, whatever y.
        seed: Seed of the initial weights. Without one they come from torch's global generator.

    Raises:
        ValueError: If a size is below 1, or the likelihood or the activation is unknown.

    Book: chapter 11 (conditional VAE). Source: Sohn et al. (2015).

    Example:
        >>> import torch
        >>> model = conditional_mlp_vae(64, conditions=10, latent=2, hidden=(32,), seed=0)
        >>> model.elbo(torch.zeros(5, 64), torch.eye(10)[:5]).shape
        torch.Size([5])
    """
    for name, size in (("pixels", pixels), ("conditions", conditions), ("latent", latent)):
        _require.positive_integer(name, size)

    def gaussian(inputs: int) -> GaussianEncoder:
        return GaussianEncoder(mlp(inputs, hidden, 2 * latent, activation), latent)

    with seeded(seed):
        return ConditionalVAE(
            Concatenated(gaussian(pixels + conditions)),
            Concatenated(_decoder(latent + conditions, hidden, pixels, likelihood, activation)),
            gaussian(conditions) if conditional_prior else None,
        )


@noting_the_recipe
def hierarchical_mlp_vae(
    pixels: int,
    latents: Sequence[int] = (100, 50),
    hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100)),
    likelihood: str | nn.Module = "bernoulli",
    activation: str | Callable[[], nn.Module] = "tanh",
    seed: int | None = None,
) -> HierarchicalVAE:
    r"""A VAE with several stochastic layers, made of multi-layer perceptrons.

    The defaults are the sizes of the two-layer model of Burda et al.

    Args:
        pixels: The number of values in one example.
        latents: The number of latent variables in each layer, from the data up.
        hidden: For each layer, the sizes of the hidden layers of its encoder; its decoder has the
            same in reverse order.
        likelihood: As in `mlp_vae`.
        activation: As in `mlp_vae`.
        seed: Seed of the initial weights. Without one they come from torch's global generator.

    Raises:
        ValueError: If a size is below 1, latents and hidden have not one entry for each layer, or the
            likelihood or the activation is unknown.

    Book: chapter 11 (hierarchies). Source: Burda et al. (2016), section 5.

    Example:
        >>> model = hierarchical_mlp_vae(784, seed=0)
        >>> [encoder.latent for encoder in model.encoders]
        [100, 50]
    """
    _require.positive_integers("latents", latents)
    if not isinstance(hidden, Sequence):
        raise ValueError(f"hidden is {hidden!r}; wanted a list of lists of integers, one for each layer")
    for sizes in hidden:
        _require.positive_integers("hidden", sizes)
    if len(latents) == 0 or len(latents) != len(hidden):
        raise ValueError(
            f"latents has {len(latents)} layers and hidden {len(hidden)}; wanted as many, at least one"
        )
    _require.positive_integer("pixels", pixels)

    def gaussian(inputs: int, layer_hidden: Sequence[int], outputs: int) -> GaussianEncoder:
        return GaussianEncoder(mlp(inputs, layer_hidden, 2 * outputs, activation), outputs)

    layers = list(zip(pairwise([pixels, *latents]), hidden, strict=True))
    with seeded(seed):
        encoders = [gaussian(below, sizes, above) for (below, above), sizes in layers]
        bottom = _decoder(latents[0], hidden[0], pixels, likelihood, activation)
        upper = [gaussian(above, sizes[::-1], below) for (below, above), sizes in layers[1:]]
        return HierarchicalVAE(encoders, [bottom, *upper])


@noting_the_recipe
def vq_mlp_vae(
    pixels: int,
    entries: int = 64,
    slots: int = 4,
    size: int = 4,
    hidden: Sequence[int] = (128,),
    likelihood: str | nn.Module = "bernoulli",
    activation: str | Callable[[], nn.Module] = "tanh",
    commitment: float | int = 0.25,
    seed: int | None = None,
) -> VQVAE:
    r"""A small vector-quantised auto-encoder, made of multi-layer perceptrons.

    Args:
        pixels: The number of values in one example.
        entries: The number of entries in the codebook, at least 2.
        slots: How many entries make the code of one example.
        size: The length of an entry.
        hidden: The sizes of the encoder's hidden layers; the decoder has the same in reverse order.
        likelihood: As in `mlp_vae`.
        activation: As in `mlp_vae`.
        commitment: The weight of the commitment term.
        seed: Seed of the initial weights. Without one they come from torch's global generator.

    Raises:
        ValueError: If a size is below 1, entries is below 2, commitment is not positive, or the
            likelihood or the activation is unknown.

    Book: chapter 11 (discrete latents). Source: van den Oord et al. (2017).

    Example:
        >>> import torch
        >>> vq_mlp_vae(64, entries=16, slots=3, size=2, seed=0).encode(torch.zeros(5, 64)).shape
        torch.Size([5, 3])
    """
    for name, number in (("pixels", pixels), ("slots", slots), ("size", size)):
        _require.positive_integer(name, number)
    row = slots * size
    with seeded(seed):
        return VQVAE(
            mlp(pixels, hidden, row, activation),
            _decoder(row, hidden, pixels, likelihood, activation),
            entries=entries,
            size=size,
            commitment=commitment,
        )


def _decoder(
    inputs: int,
    hidden: Sequence[int],
    pixels: int,
    likelihood: str | nn.Module,
    activation: str | Callable[[], nn.Module],
) -> Decoder:
    """The mirror image of an encoder with these hidden layers."""
    made = likelihood_of(likelihood)
    return Decoder(mlp(inputs, hidden[::-1], pixels * depth_of(made), activation), made)
