r"""ln p(x|z) of black-or-white images without gradients: one logarithm for many pixels.

Evaluation spends its time in the decoder's matrix products, as it must, and in what follows them. With
:math:`s_d = 2 x_d - 1` the probability of a pixel is :math:`\sigma(s_d \ell_d)`, and

.. math:: \ln p(x|z) = \sum_d \ln \sigma(s_d \ell_d)
          = \sum_g \ln \prod_{d \in g} \sigma(s_d \ell_d)

for groups g of 8 pixels. A sigmoid and a product cost about half of what the textbook form
:math:`x_d \ell_d - \ln(1 + e^{\ell_d})` costs. A product of probabilities can underflow. Where one does,
the textbook form is used, so no image is too unlikely.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli

from vae_lib.likelihoods import Bernoulli
from vae_lib.models import VAE
from vae_lib.networks import Decoder

__all__ = ["applies", "check", "log_prob"]

PIXELS_PER_LOGARITHM = 8


def applies(model: nn.Module) -> bool:
    """Whether the model is a `VAE` whose decoder ends in a linear layer with a Bernoulli behind it.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> applies(mlp_vae(8, latent=2)), applies(mlp_vae(8, latent=2, likelihood="gaussian"))
        (True, False)
    """
    if not isinstance(model, VAE) or type(model).decode is not VAE.decode:
        return False
    decoder = model.decoder
    return (
        type(decoder) is Decoder
        and type(decoder.likelihood) is Bernoulli
        and type(decoder.network) is nn.Sequential
        and type(decoder.network[-1]) is nn.Linear  # its output is new: it may be overwritten
    )


def check(decoder: Any, x: Tensor) -> None:
    """Have the likelihood refuse x, as it would for any logits.

    Raises:
        ValueError: If x has another number of pixels than the decoder, or pixels that are not 0 or 1.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> check(mlp_vae(3, latent=2).decoder, torch.zeros(1, 3) + 0.5)
        Traceback (most recent call last):
        ValueError: x holds 3 grey pixels, such as 0.5; wanted every pixel to be 0 or 1 ...
    """
    decoder.likelihood(x.new_zeros(len(x), decoder.network[-1].out_features)).log_prob(x)


def log_prob(decoder: Any, z: Tensor, x: Tensor) -> Tensor:
    """As `decoder(z).log_prob(x)`, to rounding, but x and the logits are not looked at.

    Args:
        decoder: That of a model which `applies` accepts.
        z: The codes, (k, batch, latent).
        x: The examples, (batch, pixels), which passed the `check`.

    Returns:
        In nats, (k, batch), without gradients.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> decoder, z, x = mlp_vae(64, latent=2).decoder, torch.randn(7, 5, 2), torch.ones(5, 64)
        >>> bool((log_prob(decoder, z, x) - decoder(z).log_prob(x)).abs().max() < 1e-4)
        True
    """
    with torch.no_grad():
        probability = decoder.network(z).mul_(2 * x - 1).sigmoid_()  # (k, batch, pixels), of what was seen
        group = math.gcd(x.shape[-1], PIXELS_PER_LOGARITHM)
        product = probability.unflatten(-1, (group, -1)).prod(-2)  # (k, batch, pixels / group)
        lost = product.amin(-1) < torch.finfo(product.dtype).tiny  # (k, batch)
        result = product.log_().sum(-1)
        if bool(lost.any()):
            images = x.expand(*lost.shape, -1)[lost]  # (lost, pixels)
            result[lost] = TorchBernoulli(logits=decoder.network(z[lost])).log_prob(images).sum(-1)
        return result
