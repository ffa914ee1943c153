"""Where a decoder starts."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.likelihoods import Bernoulli, Gaussian
from vae_lib.models import VAE, HierarchicalVAE
from vae_lib.networks.coders import Decoder

__all__ = ["set_output_bias"]


@torch.no_grad()
def set_output_bias(model: VAE | HierarchicalVAE, x: Float[Tensor, "batch pixels"]) -> None:
    r"""Start the decoder at the mean of the training data.

    The bias of the decoder's last layer becomes the parameter whose likelihood has this
    mean: the mean itself for a Gaussian, its logit for a Bernoulli, with the mean kept inside
    :math:`[0.001, 0.999]`. The first steps of training are then not spent on learning what an
    average picture looks like.

    Args:
        model: A VAE made by `mlp_vae`, `conv_vae`, `linear_vae` or `hierarchical_mlp_vae`; it is changed
            in place.
        x: The training examples, (batch, pixels).

    Raises:
        ValueError: If x is empty, not finite, or has another number of pixels; if it does not lie
            in [0, 1] and the likelihood is Bernoulli; or if the decoder is one whose mean this
            function does not know how to set.

    Book: chapter 8 (initialisation, log-variance, NaN). Source: the code of Burda et al. (2016).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> model = mlp_vae(3, latent=1, seed=0)
        >>> set_output_bias(model, torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]))
        >>> model.decoder.network[-1].bias
        Parameter containing:
        tensor([-6.9068,  0.0000,  6.9068], requires_grad=True)
    """
    decoder: Any = model.decoders[0] if isinstance(model, HierarchicalVAE) else model.decoder
    if not isinstance(decoder, Decoder):
        raise ValueError(f"model has the decoder {type(decoder).__name__}; wanted a Decoder")
    network: Any = decoder.network
    bias = network[-1].bias
    if len(x) == 0 or x.shape[1] != len(bias):
        raise ValueError(f"x has shape {tuple(x.shape)}; wanted (batch, {len(bias)}), not empty")
    _require.finite("x", x)
    mean = x.mean(0).to(bias)
    likelihood = decoder.likelihood
    if isinstance(likelihood, Bernoulli):
        _require.within_unit_interval("x", x)
        bias.copy_(torch.logit(mean, eps=1e-3))
    elif isinstance(likelihood, Gaussian):
        bias.copy_(mean)
    else:
        raise ValueError(
            f"model has the likelihood {type(likelihood).__name__}; wanted Bernoulli or Gaussian"
        )
