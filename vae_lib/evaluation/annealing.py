r"""ln p(x) between two bounds: annealed importance sampling, forwards and backwards."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.divergences import Estimate
from vae_lib.evaluation.arguments import check_examples, evaluating, refuse_nan
from vae_lib.evaluation.hmc import adapted, hmc
from vae_lib.evaluation.likelihood import mean_over_examples
from vae_lib.evaluation.running import RunningWeights
from vae_lib.models import VAE
from vae_lib.training.surroundings import keep_the_heap, noise, seeds

__all__ = ["AnnealedLogLikelihood", "Sandwich", "ais", "sandwich"]

ROWS_AT_ONCE = 512  # chains times examples
FIRST_STEP, SETTLING = 0.3, 20  # where the warm-up starts, and its moves before it leaves q_0
STEEPNESS = 4.0


class AnnealedLogLikelihood(NamedTuple):
    r"""ln p(x) of every example from below; nats, float64, each (batch,).

    Attributes:
        value: The estimate of :math:`\ln p(x)`; on average it lies below.
        standard_error: Of `value`, from the scatter of the weights of the chains.
        effective_sample_size: What the chains are worth, from 1 to their number.
        acceptance: The share of moves that were accepted.

    Book: chapter 9 (evaluation).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> result = ais(mlp_vae(8, latent=2, seed=0), torch.eye(8)[:3], chains=4, temperatures=5)
        >>> result.value.shape, bool((result.acceptance > 0).all())
        (torch.Size([3]), True)
    """

    value: Float[Tensor, " batch"]
    standard_error: Float[Tensor, " batch"]
    effective_sample_size: Float[Tensor, " batch"]
    acceptance: Float[Tensor, " batch"]

    @property
    def mean(self) -> Estimate:
        """The mean over the examples, and its standard error over examples.

        Example:
            >>> values = torch.tensor([-1.0, -3.0], dtype=torch.float64)
            >>> AnnealedLogLikelihood(values, values, values, values).mean.value
            tensor(-2., dtype=torch.float64)
        """
        return mean_over_examples(self.value)


class Sandwich(NamedTuple):
    r"""Simulated examples, and ln p(x) of each from below and from above; nats, float64.

    Attributes:
        x: The examples, drawn from the model, (n, pixels).
        lower: At most :math:`\ln p(x)` on average, (n,).
        upper: At least :math:`\ln p(x)` on average, (n,).

    Book: chapter 3 (the sandwich).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> bounds = sandwich(mlp_vae(8, latent=2, seed=0), 5, chains=4, temperatures=5)
        >>> bounds.x.shape, bounds.lower.shape, bounds.upper.shape
        (torch.Size([5, 8]), torch.Size([5]), torch.Size([5]))
    """

    x: Float[Tensor, "n pixels"]
    lower: Float[Tensor, " n"]
    upper: Float[Tensor, " n"]

    @property
    def width(self) -> Estimate:
        r"""The mean of upper − lower, with its standard error over examples.

        On average over what is drawn it is at least 0, and no less than how far either bound is from
        :math:`\ln p(x)`.

        Example:
            >>> zero = torch.zeros(2, dtype=torch.float64)
            >>> Sandwich(torch.zeros(2, 8), zero, zero + 0.25).width.value
            tensor(0.2500, dtype=torch.float64)
        """
        return mean_over_examples(self.upper - self.lower)


def ais(
    model: VAE,
    x: Float[Tensor, "batch pixels"],
    chains: int = 16,
    temperatures: int = 500,
    *,
    leapfrogs: int = 10,
    start: str = "prior",
    seed: int = 0,
) -> AnnealedLogLikelihood:
    r"""Estimate ln p(x) of every example by annealed importance sampling; on average from below.

    Chains walk from a density that can be sampled, :math:`q_0`, to the posterior, on the path

    .. math:: f_\beta(z) = q_0(z)^{1 - \beta} \, p_\theta(x, z)^\beta, \qquad
              0 = \beta_0 < \beta_1 < \dots < \beta_T = 1

    From each temperature to the next a chain's weight grows by the ratio of the two densities where it
    stands, and then the chain moves by Hamiltonian Monte Carlo, which leaves the new density as it is:

    .. math:: \ln w = \sum_{t=1}^{T} (\beta_t - \beta_{t-1})
              \left[ \ln p_\theta(x, z_{t-1}) - \ln q_0(z_{t-1}) \right], \qquad
              \mathbb{E}\, w = p_\theta(x)

    So ln of the mean weight is a lower bound on average, as with importance sampling, but one that does
    not need a good encoder. The step sizes are found by a first walk, one for each temperature and
    example, and are then fixed: the second walk, whose weights count, does not choose its own moves.

    The work is about 2 · chains · temperatures · leapfrogs gradients for each example. Memory does not
    grow with the number of temperatures or of examples.

    Args:
        model: A `VAE`.
        x: The examples, (batch, pixels), in the precision of the model.
        chains: Independent chains for each example.
        temperatures: T, the number of steps from :math:`q_0` to the posterior.
        leapfrogs: Steps of a trajectory.
        start: "prior" for :math:`q_0 = p(z)`, "encoder" for :math:`q_0 = q_\phi(z|x)`.
        seed: Seed of the noise; torch's global random state is left alone.

    Returns:
        `AnnealedLogLikelihood(value, standard_error, effective_sample_size, acceptance)`, each (batch,),
        on the device of x.

    Raises:
        ValueError: If a count is below 1, `start` is unknown, the model is no `VAE` or returns NaN, or x
            is empty, not finite or refused by the likelihood.

    Book: chapter 9 (evaluation). Source: Neal (2001); Wu et al. (2017), section 3.

    Example:
        >>> from vae_lib.networks import linear_gaussian_model, linear_vae
        >>> model, x = linear_vae(pixels=5, latent=2, seed=0), torch.ones(3, 5)
        >>> result = ais(model, x, chains=8, temperatures=20, leapfrogs=4)
        >>> exact = linear_gaussian_model(model).log_evidence(x.double())
        >>> bool(((result.value - exact).abs() < 5 * result.standard_error + 1e-4).all())
        True
    """
    _check(model, chains, temperatures, leapfrogs, start, seed)
    check_examples(model, x)
    streams = seeds(seed)
    results = []
    with evaluating(model) as device:
        for part in x.split(max(1, ROWS_AT_ONCE // chains)):
            with noise(device, next(streams)):
                walk = _Walk(model, part.to(device), chains, temperatures, leapfrogs, start)
                sums = RunningWeights(len(part), device)
                sums.add(walk.forwards())
            results.append(
                (sums.log_mean(), sums.standard_error(), sums.effective_sample_size(), walk.acceptance)
            )
    columns = [torch.cat(parts).to(x.device) for parts in zip(*results, strict=True)]
    refuse_nan(columns[0], "ln p(x, z)")
    return AnnealedLogLikelihood(*columns)


def sandwich(
    model: VAE,
    n: int,
    chains: int = 16,
    temperatures: int = 500,
    *,
    leapfrogs: int = 10,
    start: str = "prior",
    seed: int = 0,
) -> Sandwich:
    r"""Bound ln p(x) from both sides, on examples that the model itself draws.

    With :math:`z \sim p(z)` and :math:`x \sim p_\theta(x|z)`, the z is one exact draw from the posterior
    of its x. The chains of `ais` can then walk backwards from it, from the posterior to :math:`q_0`, and
    the mean of their weights is :math:`1 / p_\theta(x)` on average:

    .. math:: \mathbb{E} \ln \frac1C \sum_c w_c \;\le\; \ln p_\theta(x) \;\le\;
              - \mathbb{E} \ln \frac1C \sum_c \bar w_c

    What lies between is at most `width`. It says how far `ais`, or any other estimate of
    :math:`\ln p(x)`, can be trusted for this model: on data that look like the model's own.

    All backward chains of an example start from the same z, so their scatter is not the error of
    `upper`. The error of a mean is that over examples, which are independent: `mean_over_examples`.

    Args:
        model: A `VAE`.
        n: The number of examples to draw.
        chains: As for `ais`.
        temperatures: As for `ais`.
        leapfrogs: As for `ais`.
        start: As for `ais`.
        seed: As for `ais`, and of the examples.

    Returns:
        `Sandwich(x, lower, upper)`, on the device of the model.

    Raises:
        ValueError: As `ais`, and if n is below 1.

    Book: chapter 3 (the sandwich), chapter 9 (evaluation). Source: Grosse, Ghahramani and Adams (2015).

    Example:
        >>> from vae_lib.networks import linear_gaussian_model, linear_vae
        >>> model = linear_vae(pixels=5, latent=2, seed=0)
        >>> bounds = sandwich(model, 30, chains=8, temperatures=20, leapfrogs=4)
        >>> exact = linear_gaussian_model(model).log_evidence(bounds.x.double())
        >>> below, above = mean_over_examples(exact - bounds.lower), mean_over_examples(bounds.upper - exact)
        >>> [bool(value > -5 * error) for value, error in (below, above)], bool(bounds.width.value < 0.2)
        ([True, True], True)
    """
    _require.positive_integer("n", n)
    _check(model, chains, temperatures, leapfrogs, start, seed)
    streams = seeds(seed)
    results = []
    with evaluating(model) as device:
        block = max(1, ROWS_AT_ONCE // chains)
        for first in range(0, n, block):
            with noise(device, next(streams)):
                with torch.no_grad():
                    z = model.prior.sample((min(block, n - first),))  # (batch, latent)
                    x = model.decode(z).sample()
                walk = _Walk(model, x, chains, temperatures, leapfrogs, start)
                forwards, backwards = RunningWeights(len(x), device), RunningWeights(len(x), device)
                forwards.add(walk.forwards())
                backwards.add(walk.backwards(z))
            results.append((x, forwards.log_mean(), -backwards.log_mean()))
    found = Sandwich(*(torch.cat(parts) for parts in zip(*results, strict=True)))
    refuse_nan(found.lower + found.upper, "ln p(x, z)")
    return found


class _Walk:
    """The path from q_0 to the posterior for these examples, with step sizes from a warm-up."""

    def __init__(self, model: VAE, x: Tensor, chains: int, temperatures: int, leapfrogs: int, start: str):
        keep_the_heap()
        self.model, self.x, self.leapfrogs = model, x, leapfrogs
        with torch.no_grad():
            self.start = model.encode(x) if start == "encoder" else model.prior
        # the encoder has a density for each example, the prior one for all, unless it is given a condition
        self.draws = (chains,) if self.start.batch_shape else (chains, len(x))
        ramp = torch.linspace(-STEEPNESS, STEEPNESS, temperatures + 1, dtype=torch.float64).sigmoid()
        self.beta = ((ramp - ramp[0]) / (ramp[-1] - ramp[0])).tolist()  # densest near both ends
        self.steps: list[Tensor] = []  # (batch,) for every temperature but the first
        self.moved = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        self._warm_up()
        self.moves = 0

    @property
    def acceptance(self) -> Tensor:
        """The share of accepted moves since the warm-up, (batch,)."""
        return self.moved / self.moves

    def _warm_up(self) -> None:
        step = self.x.new_full((len(self.x),), FIRST_STEP)
        with torch.no_grad():
            z = self.start.sample(self.draws)  # (chains, batch, latent)
        for beta in [self.beta[1]] * SETTLING + self.beta[1:]:
            z, moved = hmc(self._density(beta), z, step, self.leapfrogs)
            self.steps.append(step)
            step = adapted(step, moved)
        self.steps = self.steps[SETTLING:]

    def forwards(self) -> Tensor:
        """Log-weights of chains from q_0 to the posterior, (chains, batch)."""
        with torch.no_grad():
            z = self.start.sample(self.draws)  # (chains, batch, latent)
        log_w = torch.zeros(z.shape[:2], dtype=torch.float64, device=z.device)
        for t in range(1, len(self.beta)):
            log_w += (self.beta[t] - self.beta[t - 1]) * self._log_ratio(z)
            z = self._move(z, t)
        return log_w

    def backwards(self, z: Tensor) -> Tensor:
        """Log-weights of chains from one draw of the posterior, (batch, latent), to q_0: (chains, batch)."""
        z = z.expand(self.draws[0], *z.shape)
        log_w = torch.zeros(z.shape[:2], dtype=torch.float64, device=z.device)
        for t in range(len(self.beta) - 1, 0, -1):
            z = self._move(z, t)
            log_w += (self.beta[t - 1] - self.beta[t]) * self._log_ratio(z)
        return log_w

    def _move(self, z: Tensor, t: int) -> Tensor:
        z, moved = hmc(self._density(self.beta[t]), z, self.steps[t - 1], self.leapfrogs)
        self.moved += moved.to(torch.float64).mean(0)
        self.moves += 1
        return z

    def _log_joint(self, z: Tensor) -> Tensor:
        return self.model._log_joint(self.x, z)

    def _density(self, beta: float) -> Callable[[Tensor], Tensor]:
        return lambda z: (1 - beta) * self.start.log_prob(z) + beta * self._log_joint(z)

    @torch.no_grad()
    def _log_ratio(self, z: Tensor) -> Tensor:
        """ln p(x, z) - ln q_0(z), (chains, batch): by how much ln f grows per unit of beta."""
        return (self._log_joint(z) - self.start.log_prob(z)).to(torch.float64)


def _check(model: VAE, chains: int, temperatures: int, leapfrogs: int, start: str, seed: int) -> None:
    if not isinstance(model, VAE):
        raise ValueError(f"model is of type {type(model).__name__}; wanted a VAE")
    for name, count in (("chains", chains), ("temperatures", temperatures), ("leapfrogs", leapfrogs)):
        _require.positive_integer(name, count)
    _require.seed("seed", seed)
    if start not in ("prior", "encoder"):
        raise ValueError(f"start is {start!r}; wanted 'prior' or 'encoder'")
