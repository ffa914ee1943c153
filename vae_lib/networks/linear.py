"""The linear VAE, the one VAE whose best answer is known on paper."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from vae_lib import _require
from vae_lib.laboratory import LinearGaussianModel
from vae_lib.likelihoods import Gaussian
from vae_lib.models import VAE
from vae_lib.networks.coders import Decoder
from vae_lib.networks.perceptron import mlp
from vae_lib.networks.recipe import noting_the_recipe
from vae_lib.networks.seed import seeded
from vae_lib.posteriors import bounded_log_var

__all__ = ["LinearEncoder", "linear_gaussian_model", "linear_vae"]


class LinearEncoder(nn.Module):
    r"""The encoder of the linear VAE, with learned V and d.

    .. math:: q(z|x) = \mathcal{N}(z; V (x - \mu), \operatorname{diag} d)

    The variances d do not depend on x: for a linear decoder the best ones do not either.

    Args:
        centre: The parameter :math:`\mu`, (pixels,), shared with the decoder's bias.
        latent: The number of latent variables.

    Attributes:
        weight: V, (latent, pixels).
        log_var: What `bounded_log_var` turns into the logarithm of d, (latent,).

    Raises:
        ValueError: If latent is below 1. Calling it: if x has another number of pixels than the centre.

    Book: chapter 7 (solved), chapter 8 (a linear VAE). Source: Lucas et al. (2019), section 4.

    Example:
        >>> encoder = LinearEncoder(nn.Parameter(torch.ones(5)), latent=2)
        >>> encoder(torch.ones(3, 5)).mean.shape, encoder.variance.tolist()
        (torch.Size([3, 2]), [1.0, 1.0])
    """

    def __init__(self, centre: nn.Parameter, latent: int):
        super().__init__()
        _require.positive_integer("latent", latent)
        self.latent = latent
        self.centre = centre
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(latent, len(centre))))
        self.log_var = nn.Parameter(torch.zeros(latent))

    @property
    def variance(self) -> Float[Tensor, " latent"]:
        """The posterior variances d, the same for every example.

        Example:
            >>> LinearEncoder(nn.Parameter(torch.ones(5)), latent=2).variance.shape
            torch.Size([2])
        """
        return bounded_log_var(self.log_var).exp()

    def forward(self, x: Float[Tensor, "*batch pixels"]) -> Independent:
        if x.shape[-1:] != self.centre.shape:  # the difference below would broadcast a single column
            raise ValueError(f"x has shape {tuple(x.shape)}; wanted (..., {len(self.centre)})")
        mean = nn.functional.linear(x - self.centre, self.weight)  # (batch, latent)
        std = self.variance.sqrt()
        return Independent(Normal(mean, std.expand_as(mean), validate_args=False), 1)


@noting_the_recipe
def linear_vae(pixels: int, latent: int, seed: int | None = None) -> VAE:
    r"""The linear VAE, the one VAE whose best answer is known on paper.

    .. math:: p(x|z) = \mathcal{N}(W z + \mu, \sigma^2 I), \qquad
              q(z|x) = \mathcal{N}(V (x - \mu), \operatorname{diag} d)

    All of :math:`W, \mu, \sigma^2, V, d` are learned. At the optimum of its ELBO :math:`p(x)` is
    probabilistic PCA, the gap is zero, and the columns of :math:`W` are orthogonal.
    `linear_gaussian_model` reads off the exact model that it holds.

    Args:
        pixels: The number of values in one example.
        latent: The number of latent variables, below `pixels`.
        seed: Seed of the initial weights. Without one they come from torch's global generator.

    Raises:
        ValueError: If a size is below 1 or `latent` is not below `pixels`.

    Book: chapter 7 (solved), chapter 8 (a linear VAE). Source: Lucas et al. (2019).

    Example:
        >>> linear_vae(pixels=5, latent=2, seed=0).elbo(torch.zeros(3, 5)).shape
        torch.Size([3])
    """
    _require.positive_integer("pixels", pixels)
    _require.positive_integer("latent", latent)
    if latent >= pixels:
        raise ValueError(f"latent is {latent}; wanted less than pixels = {pixels}")
    with seeded(seed):
        network = mlp(latent, (), pixels)
        linear: Any = network[0]
        return VAE(
            LinearEncoder(linear.bias, latent),
            Decoder(network, Gaussian(learned=True)),
        )


def linear_gaussian_model(model: VAE) -> LinearGaussianModel:
    r"""The exact model inside a linear VAE: :math:`W, \mu, \sigma^2` of its decoder, in float64.

    Its `log_evidence` is :math:`\ln p_\theta(x)` of the VAE, without any bound. It is a copy on the
    CPU: training the VAE further does not change it.

    Args:
        model: A VAE made by `linear_vae`.

    Raises:
        ValueError: If model is any other VAE.

    Book: chapter 8 (a linear VAE).

    Example:
        >>> exact = linear_gaussian_model(linear_vae(pixels=5, latent=2, seed=0))
        >>> exact.log_evidence(torch.zeros(3, 5, dtype=torch.float64)).shape
        torch.Size([3])
    """
    if not isinstance(model.encoder, LinearEncoder):
        raise ValueError(
            f"model has the encoder {type(model.encoder).__name__}; wanted the VAE of linear_vae"
        )
    decoder: Any = model.decoder
    linear, likelihood = decoder.network[0], decoder.likelihood
    return LinearGaussianModel(
        linear.weight.detach().double().cpu(),
        linear.bias.detach().double().cpu(),
        float(likelihood.std.detach().double() ** 2),
    )
