r"""Priors over the latents: modules that return a distribution when called.

- `StandardNormal`: the default; nothing to learn.
- `MixturePrior`: a mixture of Gaussians, learned.
- `VampPrior`: the posteriors of a few made-up examples, which are learned.

A model asks for its prior anew in every step, so a prior may have parameters and learn them::

    model = VAE(encoder, decoder, prior=MixturePrior(latent=2, components=10))
    model.prior.log_prob(z)                         # (k, batch) for z (k, batch, latent)
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, register_kl

from vae_lib import _require
from vae_lib._gaussian import kl_of_parts, log_density
from vae_lib.posteriors import Diagonal, DiagonalNormal, Mixture, aggregate_posterior
from vae_lib.posteriors._check import check_codes

__all__ = ["MixturePrior", "StandardNormal", "VampPrior"]


class StandardNormal(nn.Module):
    r"""The prior :math:`p(z) = \mathcal{N}(0, I)` over `latent` numbers.

    Calling it returns the distribution, on the device and in the precision of the model that the
    prior belongs to.

    Args:
        latent: The number of latent variables, at least 1.

    Raises:
        ValueError: If `latent` is below 1.

    Book: chapter 8 (encoder, decoder, prior). Source: Kingma and Welling (2014), section 3.

    Example:
        >>> prior = StandardNormal(2)()
        >>> prior.log_prob(torch.zeros(3, 2))
        tensor([-1.8379, -1.8379, -1.8379])
    """

    mean: Float[Tensor, " latent"]

    def __init__(self, latent: int):
        super().__init__()
        _require.positive_integer("latent", latent)
        self.register_buffer("mean", torch.zeros(latent), persistent=False)

    def forward(self) -> Independent:
        std = torch.ones_like(self.mean)
        return _Standard(Normal(self.mean, std, validate_args=False), 1)


class _Standard(Independent):
    """The standard normal: with neither mean nor variance to divide by, half the operations are enough."""

    def log_prob(self, value: Tensor) -> Tensor:
        check_codes(value, self.event_shape[0])
        distance = (value - self.base_dist.loc).square().sum(-1)
        return log_density(distance, 0.0, dims=self.event_shape[0])


@register_kl(DiagonalNormal, _Standard)
def _kl_from_standard(q: DiagonalNormal, p: _Standard) -> Tensor:
    mean, std = q.base_dist.loc, q.base_dist.scale
    return kl_of_parts(std.square() - 1, q.log_var, mean.square())


class MixturePrior(nn.Module):
    r"""A learned mixture of diagonal Gaussians.

    .. math:: p(z) = \sum_{c=1}^{C} w_c \, \mathcal{N}(z; \mu_c, \operatorname{diag} \sigma_c^2)

    Weights, means and variances are all learned. The weights start equal, the variances at 1, and
    the means are drawn from the standard normal: equal means would stay equal for ever.

    Args:
        latent: The number of latent variables.
        components: C, the number of Gaussians.

    Attributes:
        logits: The logarithms of the weights, up to a constant, (C,).
        gaussians: The features of the Gaussians, (C, 2 latent): means, then raw log-variances.

    Raises:
        ValueError: If latent or components is below 1.

    Book: chapter 4 (the aggregate posterior), chapter 11 (learned priors). Source: Tomczak and Welling
    (2018), who compare theirs with it.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> prior = MixturePrior(latent=2, components=3)
        >>> prior().log_prob(torch.zeros(7, 5, 2)).shape, prior().sample((4,)).shape
        (torch.Size([7, 5]), torch.Size([4, 2]))
    """

    def __init__(self, latent: int, components: int = 10):
        super().__init__()
        _require.positive_integer("latent", latent)
        _require.positive_integer("components", components)
        self.head = Diagonal(latent)  # from features to a Gaussian, as for q
        self.logits = nn.Parameter(torch.zeros(components))
        start = torch.cat([torch.randn(components, latent), torch.zeros(components, latent)], dim=-1)
        self.gaussians = nn.Parameter(start)

    def forward(self) -> Mixture:
        return Mixture(self.head(self.gaussians), self.logits)

    def extra_repr(self) -> str:
        return f"components={len(self.logits)}"


class VampPrior(nn.Module):
    r"""The VampPrior: the aggregate posterior of K made-up examples that are learned.

    .. math:: p(z) = \frac{1}{K} \sum_{k=1}^{K} q_\phi(z|u_k), \qquad u_k \in (0, 1)^{\text{pixels}}

    The prior that makes the ELBO of a whole data set largest is its aggregate posterior
    :math:`\frac{1}{N} \sum_n q_\phi(z|x_n)`. This one stands in for it with K pseudo-inputs
    :math:`u_k` in place of N examples; gradients reach them through the encoder. They are the
    sigmoid of a parameter, so they stay pixels and never lose their gradient to a clamp.

    The encoder is borrowed, not owned: it is the encoder of the `VAE`, which counts and saves its
    parameters; `parameters()` and `state_dict()` of the prior hold the pseudo-inputs only. Give it
    the very same object, and make copies of the whole `VAE`, never of the prior alone.

    Args:
        encoder: The encoder of the model; `encoder(u)` returns :math:`q_\phi(z|u)`.
        pseudo_inputs: K, how many.
        pixels: The number of values in one of them.
        data: Examples within [0, 1] to start from, (K, pixels); see `start_at`. Without them the
            pseudo-inputs start at random.

    Attributes:
        raw: The parameter, (K, pixels).

    Raises:
        ValueError: If a count is below 1, or as `start_at`.

    Book: chapter 4 (the aggregate posterior), which shows why; chapter 11 (learned priors). Source:
    Tomczak and Welling (2018), section 3.

    Example:
        >>> from vae_lib.models import VAE
        >>> from vae_lib.networks import mlp_vae
        >>> plain = mlp_vae(pixels=64, latent=2, seed=0)
        >>> model = VAE(plain.encoder, plain.decoder, VampPrior(plain.encoder, 10, 64))
        >>> model.log_weights(torch.zeros(5, 64), k=7).shape
        torch.Size([7, 5])
        >>> list(model.prior_source.state_dict())
        ['raw']
    """

    def __init__(
        self,
        encoder: Callable[[Float[Tensor, "k pixels"]], Distribution],
        pseudo_inputs: int,
        pixels: int,
        data: Float[Tensor, "k pixels"] | None = None,
    ):
        super().__init__()
        _require.positive_integer("pseudo_inputs", pseudo_inputs)
        _require.positive_integer("pixels", pixels)
        # a tuple hides the encoder from nn.Module, which would save it twice, and deepcopy of a
        # whole VAE still puts the copied encoder here
        self._borrowed = (encoder,)
        self.raw = nn.Parameter(torch.randn(pseudo_inputs, pixels))
        if data is not None:
            self.start_at(data)

    @property
    def pseudo_inputs(self) -> Float[Tensor, "k pixels"]:
        """The made-up examples, (K, pixels), within [0, 1].

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> mlp_vae(64, latent=2, prior="vamp", seed=0).prior_source.pseudo_inputs.shape
            torch.Size([10, 64])
        """
        return self.raw.sigmoid()

    @torch.no_grad()
    def start_at(self, data: Float[Tensor, "k pixels"]) -> None:
        r"""Make the pseudo-inputs start at examples, changing them in place.

        .. math:: u = 0.01 + 0.98\, x

        Black and white are pulled in a little: only an infinite parameter would reach them.

        Args:
            data: K examples within [0, 1], (K, pixels).

        Raises:
            ValueError: If data has another shape, or values that are not finite or outside [0, 1].

        Example:
            >>> from vae_lib.networks import mlp_vae
            >>> prior = mlp_vae(3, latent=1, prior="vamp", components=2, seed=0).prior_source
            >>> prior.start_at(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.5, 1.0]]))
            >>> prior.pseudo_inputs.detach()
            tensor([[0.0100, 0.9900, 0.9900],
                    [0.0100, 0.5000, 0.9900]])
        """
        wanted = tuple(self.raw.shape)
        _require.shape("data", data, wanted, f"{wanted}: one example for each pseudo-input")
        _require.floating("data", data)
        _require.finite("data", data)
        _require.within_unit_interval("data", data)
        self.raw.copy_(torch.logit(0.01 + 0.98 * data.to(self.raw)))

    def forward(self) -> Mixture:
        (encoder,) = self._borrowed
        return aggregate_posterior(encoder(self.pseudo_inputs))

    def extra_repr(self) -> str:
        return f"pseudo_inputs={len(self.raw)}, pixels={self.raw.shape[1]}"
