"""Why the ELBO lies below ln p(x): what the family cannot express, and what the encoder misses."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from vae_lib import _require
from vae_lib.evaluation.arguments import check_examples, evaluating
from vae_lib.evaluation.likelihood import LogLikelihood, estimates
from vae_lib.models import VAE
from vae_lib.training import schedules
from vae_lib.training.optimisers import Adam
from vae_lib.training.surroundings import noise, seeds

__all__ = ["InferenceGaps", "inference_gaps"]

EXAMPLES_AT_ONCE = 256
DRAWS_TO_CHOOSE = 500


class InferenceGaps(NamedTuple):
    r"""The two parts of ln p(x) − ELBO for every example; nats, float64, each (batch,).

    Attributes:
        approximation: :math:`\ln p(x) - \mathcal{L}[q^*]`, what the best member of the family loses.
        amortisation: :math:`\mathcal{L}[q^*] - \mathcal{L}[q_\phi]`, what the encoder loses beyond.
        log_likelihood: :math:`\ln p(x)`, by importance sampling from the best Gaussian with any
            covariance, whose weights scatter least.
        best_elbo: :math:`\mathcal{L}[q^*]`.
        elbo: :math:`\mathcal{L}[q_\phi]`.
        approximation_standard_error: Of `approximation`.
        amortisation_standard_error: Of `amortisation`.

    Book: chapter 7 (the Hadamard gap), chapter 9 (two gaps).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> gaps = inference_gaps(mlp_vae(8, latent=2, seed=0), torch.eye(8)[:2], k=500, steps=50)
        >>> both = gaps.approximation + gaps.amortisation
        >>> bool(((gaps.log_likelihood - gaps.elbo - both).abs() < 1e-9).all())
        True
    """

    approximation: Float[Tensor, " batch"]
    amortisation: Float[Tensor, " batch"]
    log_likelihood: Float[Tensor, " batch"]
    best_elbo: Float[Tensor, " batch"]
    elbo: Float[Tensor, " batch"]
    approximation_standard_error: Float[Tensor, " batch"]
    amortisation_standard_error: Float[Tensor, " batch"]


def inference_gaps(
    model: VAE,
    x: Float[Tensor, "batch pixels"],
    k: int = 5000,
    *,
    family: str = "diagonal",
    steps: int = 500,
    samples: int = 16,
    learning_rate: float | int = 0.1,
    seed: int = 0,
) -> InferenceGaps:
    r"""Split the gap of the ELBO in two: approximation and amortisation.

    .. math:: \ln p(x) - \mathcal{L}[q_\phi]
              = \underbrace{\ln p(x) - \mathcal{L}[q^*]}_{\text{approximation}}
              + \underbrace{\mathcal{L}[q^*] - \mathcal{L}[q_\phi]}_{\text{amortisation}}, \qquad
              q^* = \operatorname*{argmax}_{q \in \text{family}} \mathcal{L}[q]

    The best Gaussian is found for every example by itself: Adam climbs its ELBO from where the
    encoder starts, with the draws' own gradient only (sticking the landing), which is exact once
    :math:`q^*` is the posterior. The decoder stays as it is. All values are then measured with fresh
    noise. Beyond their errors neither gap is negative, unless the encoder's family is richer than
    the one asked for.

    Args:
        model: A `VAE`.
        x: The examples, (batch, pixels).
        k: Importance samples for the three values.
        family: "diagonal", or "full" for Gaussians with any covariance.
        steps: Steps of the search for every example.
        samples: Draws in each step.
        learning_rate: The step size at the start, in units of the encoder's standard deviation; it
            falls to zero along half a cosine.
        seed: Seed of all draws; torch's global random state is left alone.

    Returns:
        `InferenceGaps`, with the two gaps, the three values they lie between, and the errors of the gaps.

    Raises:
        ValueError: If a count is below 1, the family is unknown, the model is no `VAE`, or x is empty,
            not finite, or of the wrong size.

    Book: chapter 7 (the Hadamard gap), where both are known; chapter 9 (two gaps). Source: Cremer et al.
    (2018), section 5; Roeder et al. (2017).

    Example:
        >>> from vae_lib.networks import linear_gaussian_model, linear_vae
        >>> model, x = linear_vae(pixels=5, latent=2, seed=0), torch.ones(4, 5)
        >>> gaps = inference_gaps(model, x, k=2000, steps=200)
        >>> exact = linear_gaussian_model(model).gap()
        >>> bool(((gaps.approximation - exact).abs() < 0.05).all())
        True
    """
    if not isinstance(model, VAE):
        raise ValueError(f"model is of type {type(model).__name__}; wanted a VAE")
    check_examples(model, x)
    for name, count in (("k", k), ("steps", steps), ("samples", samples)):
        _require.positive_integer(name, count)
    _require.positive_number("learning_rate", learning_rate)
    if family not in ("diagonal", "full"):
        raise ValueError(f"family is {family!r}; wanted 'diagonal' or 'full'")
    _require.seed("seed", seed)
    streams = seeds(seed)
    frozen = [p for p in model.parameters() if p.requires_grad]
    parts = []
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        with evaluating(model) as device:
            for rows in x.split(EXAMPLES_AT_ONCE):
                draw_seed = next(streams)
                part = rows.to(device)
                with noise(device, draw_seed):
                    start = _start(model, part)
                    search = (model, part, start, steps, samples, learning_rate)
                    full = _best_gaussian("full", *search)
                    same = family == "full" or start[0].shape[-1] == 1
                    best = full if same else _best_gaussian(family, *search)
                with torch.no_grad():
                    parts.append(_measure(model, rows, k, draw_seed, best, full))
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
    return InferenceGaps(*(torch.cat(column) for column in zip(*parts, strict=True)))


class _Gaussians(nn.Module):
    """One Gaussian for every example, in units of where the encoder starts."""

    def __init__(self, mean: Tensor, std: Tensor, family: str):
        super().__init__()
        self.mean, self.std, self.family = mean, std, family  # (batch, latent), given
        latent = mean.shape[-1]
        self.shift = nn.Parameter(torch.zeros_like(mean))
        self.log_scale = nn.Parameter(torch.zeros_like(mean))
        self.tilt = nn.Parameter(mean.new_zeros(*mean.shape, latent), requires_grad=family == "full")

    def forward(self, rows: slice = slice(None), detach: bool = False) -> Distribution:
        shift, log_scale, tilt = (p[rows].detach() if detach else p[rows] for p in self.parameters())
        mean, std = self.mean[rows], self.std[rows]
        if self.family == "diagonal":
            return Independent(Normal(mean + std * shift, std * log_scale.exp(), validate_args=False), 1)
        factor = torch.tril(tilt, -1) + torch.diag_embed(log_scale.exp())
        return MultivariateNormal(
            mean + std * shift, scale_tril=std.unsqueeze(-1) * factor, validate_args=False
        )

    @torch.no_grad()
    def reset(self, rows: Tensor) -> None:
        """Back to the start, where `rows` (batch,) is true."""
        for parameter in self.parameters():
            parameter[rows] = 0.0


@torch.no_grad()
def _start(model: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the encoder's posteriors, (batch, latent) each."""
    q = model.encode(x)
    try:
        return q.mean.clone(), q.stddev.clone()
    except NotImplementedError:  # a flow has no standard deviation of its own
        draws = q.sample((DRAWS_TO_CHOOSE,))
        return draws.mean(0), draws.std(0)


def _best_gaussian(
    family: str,
    model: VAE,
    x: Tensor,
    start: tuple[Tensor, Tensor],
    steps: int,
    samples: int,
    learning_rate: float,
) -> _Gaussians:
    """The Gaussian with the highest ELBO for every example."""
    q = _Gaussians(*start, family)
    optimiser = Adam(q.named_parameters())
    for step in range(steps):
        z = q().rsample((samples,))
        log_w = model._log_joint(x, z) - q(detach=True).log_prob(z)  # (samples, batch)
        optimiser.zero_grad()
        (-log_w.mean(0).sum()).backward()  # a sum: every example climbs by itself
        optimiser.step(schedules.cosine(learning_rate, step, steps))
    with torch.no_grad():
        q.reset(_elbo(model, x, q()) < _elbo(model, x, _Gaussians(*start, family)()))
    return q


def _elbo(model: VAE, x: Tensor, q: Distribution) -> Tensor:
    """The ELBO of q with fresh draws, (batch,)."""
    z = q.sample((DRAWS_TO_CHOOSE,))
    return (model._log_joint(x, z) - q.log_prob(z)).mean(0)


def _measure(
    model: VAE, x: Tensor, k: int, seed: int, best: _Gaussians, full: _Gaussians
) -> tuple[Tensor, ...]:
    """The columns of `InferenceGaps` for these examples."""

    def estimate(posterior: _Gaussians | None) -> LogLikelihood:
        return estimates(model, x, (k,), None, seed, posterior=posterior)[0]

    best_result, own_result = estimate(best), estimate(None)
    full_result = best_result if full is best else estimate(full)
    log_p, best_elbo, elbo = full_result.value, best_result.elbo, own_result.elbo
    return (
        log_p - best_elbo,
        best_elbo - elbo,
        log_p,
        best_elbo,
        elbo,
        torch.hypot(full_result.standard_error, best_result.elbo_standard_error),
        torch.hypot(best_result.elbo_standard_error, own_result.elbo_standard_error),
    )
