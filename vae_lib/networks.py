r"""Encoders, decoders, and builders that put them together into a ready `VAE`.

`mlp_vae` is the model of the chapters; `linear_vae` is the one whose best answer is known on paper.
Both are made of the same few pieces, which you can also put together yourself::

    encoder = GaussianEncoder(mlp(64, (128,), 4), latent=2)
    decoder = Decoder(mlp(2, (128,), 64), Bernoulli())
    model = VAE(encoder, decoder)
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_lib import _require
from vae_lib.laboratory import LinearGaussianModel
from vae_lib.likelihoods import Bernoulli, Gaussian
from vae_lib.models import VAE

__all__ = [
    "Decoder",
    "GaussianEncoder",
    "LinearEncoder",
    "bounded_log_var",
    "linear_gaussian_model",
    "linear_vae",
    "mlp",
    "mlp_vae",
    "set_output_bias",
]

_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "gelu": nn.GELU}
_BOUND = 6.0


def bounded_log_var(raw: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""A log-variance that stays usable whatever number the network puts out.

    .. math:: g(r) = r \quad\text{for } |r| \le 6, \qquad
              g(r) = \operatorname{sign}(r)\,\bigl(6 + \ln(1 + |r| - 6)\bigr) \quad\text{outside}

    Outside :math:`[-6, 6]` it grows like a logarithm, so :math:`e^{g(r)}` neither overflows nor
    reaches zero in float32. Its slope is continuous, :math:`1 / (1 + |r| - 6)` outside, and never
    zero: unlike a hard clamp it always lets a network that went too far come back.

    Args:
        raw: Any shape, which is kept. NaN stays NaN.

    Raises:
        ValueError: If raw does not hold floating-point numbers.

    Book: chapter 8 (initialisation, log-variance, NaN) and exercise 8.7.

    Example:
        >>> bounded_log_var(torch.tensor([-1e4, -6.0, 0.5, 6.0, 1e4]))
        tensor([-15.2098,  -6.0000,   0.5000,   6.0000,  15.2098])
    """
    _require.floating("raw", raw)
    inside = raw.clamp(-_BOUND, _BOUND)
    excess = raw - inside
    return inside + excess.sign() * excess.abs().log1p()


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw initial weights from `seed` and leave torch's global random state as it was."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: str | Callable[[], nn.Module] = "tanh",
) -> nn.Sequential:
    """A multi-layer perceptron: linear layers with `activation` between them and none at the end.

    Weights start Glorot-uniform, biases at zero.

    Args:
        inputs: The size of the input, `(..., inputs)`.
        hidden: The sizes of the hidden layers, in order; none makes a linear map.
        outputs: The size of the output, `(..., outputs)`.
        activation: "tanh", "gelu", or a class of modules such as `torch.nn.SiLU`.

    Raises:
        ValueError: If a size is below 1 or the activation is unknown.

    Book: chapter 8. Source: Glorot and Bengio (2010) for the initial weights.

    Example:
        >>> mlp(64, (32,), 4)
        Sequential(
          (0): Linear(in_features=64, out_features=32, bias=True)
          (1): Tanh()
          (2): Linear(in_features=32, out_features=4, bias=True)
        )
    """
    _require.positive_integer("inputs", inputs)
    _require.positive_integer("outputs", outputs)
    for size in hidden:
        _require.positive_integer("hidden", size)
    if isinstance(activation, str):
        if activation not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise ValueError(f"activation is {activation!r}; wanted one of {known}, or a class of modules")
        activation = _ACTIVATIONS[activation]
    sizes = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        linear = nn.Linear(size_in, size_out)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


class GaussianEncoder(nn.Module):
    r"""An encoder with a Gaussian posterior, independent in every latent variable.

    .. math:: q_\phi(z|x) = \mathcal{N}(z; \mu_\phi(x), \operatorname{diag} \sigma_\phi^2(x))

    Args:
        network: A module that maps `(..., pixels)` to `(..., 2 latent)`: first the means, then the
            raw log-variances, which pass through `bounded_log_var`.
        latent: The number of latent variables.

    Raises:
        ValueError: If latent is below 1.

    Book: chapter 8. Source: Kingma and Welling (2014), appendix C.2.

    Example:
        >>> encoder = GaussianEncoder(mlp(64, (32,), 4), latent=2)
        >>> encoder(torch.zeros(5, 64)).mean.shape
        torch.Size([5, 2])
    """

    def __init__(self, network: nn.Module, latent: int):
        super().__init__()
        _require.positive_integer("latent", latent)
        self.network = network
        self.latent = latent

    def forward(self, x: Float[Tensor, "*batch pixels"]) -> Independent:
        mean, raw = self.network(x).split(self.latent, dim=-1)  # (batch, latent) each
        std = torch.exp(0.5 * bounded_log_var(raw))
        return Independent(Normal(mean, std, validate_args=False), 1)


class Decoder(nn.Module):
    r"""The decoder :math:`p_\theta(x|z)`: a network that feeds a likelihood.

    Args:
        network: A module that maps `(..., latent)` to the likelihood's parameter, `(..., pixels)`.
        likelihood: A module that turns this parameter into a distribution over `x`, such as
            `vae_lib.likelihoods.Bernoulli()`.

    Book: chapter 8.

    Example:
        >>> decoder = Decoder(mlp(2, (32,), 64), Bernoulli())
        >>> decoder(torch.zeros(7, 5, 2)).log_prob(torch.zeros(5, 64)).shape
        torch.Size([7, 5])
    """

    def __init__(self, network: nn.Module, likelihood: nn.Module):
        super().__init__()
        self.network = network
        self.likelihood = likelihood

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Distribution:
        return self.likelihood(self.network(z))


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
        ValueError: If latent is below 1.

    Book: chapter 7 (the exactly solvable VAE), chapter 8. Source: Lucas et al. (2019), section 4.

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
        mean = nn.functional.linear(x - self.centre, self.weight)  # (batch, latent)
        std = self.variance.sqrt()
        return Independent(Normal(mean, std.expand_as(mean), validate_args=False), 1)


def _likelihood(likelihood: str | nn.Module) -> nn.Module:
    if isinstance(likelihood, nn.Module):
        return likelihood
    if likelihood == "bernoulli":
        return Bernoulli()
    if likelihood == "gaussian":
        return Gaussian(learned=True)
    raise ValueError(f"likelihood is {likelihood!r}; wanted 'bernoulli', 'gaussian' or a module")


def mlp_vae(
    pixels: int,
    latent: int,
    hidden: Sequence[int] = (128,),
    likelihood: str | nn.Module = "bernoulli",
    activation: str | Callable[[], nn.Module] = "tanh",
    seed: int | None = None,
) -> VAE:
    r"""A VAE whose encoder and decoder are multi-layer perceptrons.

    Args:
        pixels: The number of values in one example.
        latent: The number of latent variables.
        hidden: The sizes of the encoder's hidden layers; the decoder has the same in reverse order.
        likelihood: "bernoulli" for pixels that are 0 or 1; "gaussian" for real ones, with one
            learned variance shared by all pixels, which starts at 1; or a module that returns a
            distribution.
        activation: "tanh", "gelu", or a class of modules.
        seed: Seed of the initial weights. Without one they come from torch's global generator.

    Raises:
        ValueError: If a size is below 1, or the likelihood or the activation is unknown.

    Book: chapter 8.

    Example:
        >>> model = mlp_vae(64, latent=2, hidden=(32,), seed=0)
        >>> sum(p.numel() for p in model.parameters())
        4420
    """
    _require.positive_integer("pixels", pixels)
    _require.positive_integer("latent", latent)
    with _seeded(seed):
        return VAE(
            GaussianEncoder(mlp(pixels, hidden, 2 * latent, activation), latent),
            Decoder(mlp(latent, hidden[::-1], pixels, activation), _likelihood(likelihood)),
        )


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

    Book: chapter 7 (solved), chapter 8 (trained). Source: Lucas et al. (2019).

    Example:
        >>> linear_vae(pixels=5, latent=2, seed=0).elbo(torch.zeros(3, 5)).shape
        torch.Size([3])
    """
    _require.positive_integer("pixels", pixels)
    _require.positive_integer("latent", latent)
    if latent >= pixels:
        raise ValueError(f"latent is {latent}; wanted less than pixels = {pixels}")
    with _seeded(seed):
        network = mlp(latent, (), pixels)
        return VAE(
            LinearEncoder(network[0].bias, latent),
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

    Book: chapter 8.

    Example:
        >>> exact = linear_gaussian_model(linear_vae(pixels=5, latent=2, seed=0))
        >>> exact.log_evidence(torch.zeros(3, 5, dtype=torch.float64)).shape
        torch.Size([3])
    """
    if not isinstance(model.encoder, LinearEncoder):
        raise ValueError(
            f"model has the encoder {type(model.encoder).__name__}; wanted the VAE of linear_vae"
        )
    linear, likelihood = model.decoder.network[0], model.decoder.likelihood
    return LinearGaussianModel(
        linear.weight.detach().double().cpu(),
        linear.bias.detach().double().cpu(),
        float(likelihood.std.detach().double() ** 2),
    )


@torch.no_grad()
def set_output_bias(model: VAE, x: Float[Tensor, "batch pixels"]) -> None:
    r"""Start the decoder at the mean of the training data.

    The bias of the decoder's last linear layer becomes the parameter whose likelihood has this
    mean: the mean itself for a Gaussian, its logit for a Bernoulli, with the mean kept inside
    :math:`[0.001, 0.999]`. The first steps of training are then not spent on learning what an
    average picture looks like.

    Args:
        model: A VAE made by `mlp_vae` or `linear_vae`; it is changed in place.
        x: The training examples, (batch, pixels).

    Raises:
        ValueError: If x is empty, not finite, or has another number of pixels; if it does not lie
            in [0, 1] and the likelihood is Bernoulli; or if the decoder is one whose mean this
            function does not know how to set.

    Book: chapter 8. Source: the code published with Burda et al. (2016).

    Example:
        >>> model = mlp_vae(3, latent=1, seed=0)
        >>> set_output_bias(model, torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]))
        >>> model.decoder.network[-1].bias
        Parameter containing:
        tensor([-6.9068,  0.0000,  6.9068], requires_grad=True)
    """
    if not isinstance(model.decoder, Decoder):
        raise ValueError(f"model has the decoder {type(model.decoder).__name__}; wanted a Decoder")
    bias = model.decoder.network[-1].bias
    if len(x) == 0 or x.shape[1] != len(bias):
        raise ValueError(f"x has shape {tuple(x.shape)}; wanted (batch, {len(bias)}), not empty")
    _require.finite("x", x)
    mean = x.mean(0).to(bias)
    likelihood = model.decoder.likelihood
    if isinstance(likelihood, Bernoulli):
        if x.min() < 0 or x.max() > 1:
            raise ValueError(f"x lies in [{x.min():.6g}, {x.max():.6g}]; wanted it within [0, 1]")
        bias.copy_(torch.logit(mean, eps=1e-3))
    elif isinstance(likelihood, Gaussian):
        bias.copy_(mean)
    else:
        raise ValueError(
            f"model has the likelihood {type(likelihood).__name__}; wanted Bernoulli or Gaussian"
        )
