"""Encoders and decoders: a network, and the head that makes a distribution of its output."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lib import _require
from vae_lib.posteriors import Diagonal

__all__ = ["Decoder", "Encoder", "GaussianEncoder", "width_of"]


def width_of(network: nn.Module | None) -> int | None:
    """How many values a network reads of each example, where its first layer says so."""
    first = network[0] if isinstance(network, nn.Sequential) and len(network) else network
    if isinstance(first, nn.Linear):
        return first.in_features
    return math.prod(first.unflattened_size) if isinstance(first, nn.Unflatten) else None


def _check_width(name: str, values: Tensor, network: nn.Module) -> None:
    """Refuse rows of another size than the network reads."""
    wanted = width_of(network)
    if wanted is None:
        return
    _require.floating(name, values)
    if values.shape[-1:] != (wanted,):
        raise ValueError(
            f"{name} has shape {tuple(values.shape)}; wanted (..., {wanted}), what the network reads"
        )


class Encoder(nn.Module):
    r"""The encoder :math:`q_\phi(z|x)`: a network that feeds a posterior.

    Args:
        network: A module that maps `(..., pixels)` to `(..., posterior.features)`.
        posterior: A module that turns these numbers into a distribution over `z`, such as
            `vae_lib.posteriors.FullCovariance(latent)`. It has the attribute `latent`.

    Raises:
        ValueError: If the posterior has no attribute `latent`. Calling it: if x does not fit the network.

    Book: chapter 8 (encoder, decoder, prior).

    Example:
        >>> from vae_lib.networks import mlp
        >>> from vae_lib.posteriors import FullCovariance
        >>> posterior = FullCovariance(latent=2)
        >>> encoder = Encoder(mlp(64, (32,), posterior.features), posterior)
        >>> encoder(torch.zeros(5, 64)).covariance_matrix.shape
        torch.Size([5, 2, 2])
    """

    network: nn.Module
    posterior: Any

    def __init__(self, network: nn.Module, posterior: nn.Module):
        super().__init__()
        if not hasattr(posterior, "latent"):
            raise ValueError(
                f"posterior is of type {type(posterior).__name__}, without the attribute `latent`; wanted "
                "one of vae_lib.posteriors, or a module like them"
            )
        self.network = network
        self.posterior = posterior

    @property
    def latent(self) -> int:
        """The number of latent variables.

        Example:
            >>> from vae_lib.networks import mlp
            >>> Encoder(mlp(64, (), 4), Diagonal(latent=2)).latent
            2
        """
        return self.posterior.latent

    def forward(self, x: Float[Tensor, "*batch pixels"]) -> Distribution:
        _check_width("x", x, self.network)
        return self.posterior(_full(self.network(x)))


class GaussianEncoder(Encoder):
    r"""An encoder with a Gaussian posterior, independent in every latent variable.

    .. math:: q_\phi(z|x) = \mathcal{N}(z; \mu_\phi(x), \operatorname{diag} \sigma_\phi^2(x))

    Args:
        network: A module that maps `(..., pixels)` to `(..., 2 latent)`: first the means, then the
            raw log-variances, which pass through `bounded_log_var`.
        latent: The number of latent variables.

    Raises:
        ValueError: If latent is below 1.

    Book: chapter 8 (encoder, decoder, prior). Source: Kingma and Welling (2014), appendix C.2.

    Example:
        >>> from vae_lib.networks import mlp
        >>> encoder = GaussianEncoder(mlp(64, (32,), 4), latent=2)
        >>> encoder(torch.zeros(5, 64)).mean.shape
        torch.Size([5, 2])
    """

    def __init__(self, network: nn.Module, latent: int):
        super().__init__(network, Diagonal(latent))


class Decoder(nn.Module):
    r"""The decoder :math:`p_\theta(x|z)`: a network that feeds a likelihood.

    Args:
        network: A module that maps `(..., latent)` to the likelihood's parameter, `(..., pixels)`.
        likelihood: A module that turns this parameter into a distribution over `x`, such as
            `vae_lib.likelihoods.Bernoulli()`.

    Raises:
        ValueError: Calling it: if z does not fit the network.

    Book: chapter 8 (encoder, decoder, prior).

    Example:
        >>> from vae_lib.likelihoods import Bernoulli
        >>> from vae_lib.networks import mlp
        >>> decoder = Decoder(mlp(2, (32,), 64), Bernoulli())
        >>> decoder(torch.zeros(7, 5, 2)).log_prob(torch.zeros(5, 64)).shape
        torch.Size([7, 5])
    """

    def __init__(self, network: nn.Module, likelihood: nn.Module):
        super().__init__()
        self.network = network
        self.likelihood = likelihood

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Distribution:
        _check_width("z", z, self.network)
        return self.likelihood(_full(self.network(z)))


def _full(output: Tensor) -> Tensor:
    """Under torch.autocast networks put out bfloat16, which is too coarse for log-densities."""
    return output.float() if output.dtype == torch.bfloat16 else output
