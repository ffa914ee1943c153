"""Where the KL term goes: information about the example, and mismatch with the prior."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vae_lib import _require
from vae_lib.divergences import Estimate
from vae_lib.evaluation.arguments import check_examples, evaluating
from vae_lib.models import VAE
from vae_lib.posteriors import aggregate_posterior
from vae_lib.training.surroundings import noise

__all__ = ["SurgeryEstimate", "elbo_surgery"]

NUMBERS_AT_ONCE = 4_000_000


class SurgeryEstimate(NamedTuple):
    """The average KL of the posteriors and its two parts; each an `Estimate` in nats.

    Attributes:
        average_kl: The mean over the examples of KL(q(z|x) ‖ p(z)), in closed form where there is
            one (then its standard error is 0).
        mutual_information: Between z and the number of the example, at most ln N.
        aggregate_kl: KL(q(z) ‖ p(z)) of the mixture q(z) of all posteriors.

    Book: chapter 4 (the aggregate posterior).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> parts = elbo_surgery(mlp_vae(8, latent=2, seed=0), torch.eye(8))
        >>> bool(parts.mutual_information.value < torch.tensor(8.0).log())
        True
    """

    average_kl: Estimate
    mutual_information: Estimate
    aggregate_kl: Estimate


@torch.no_grad()
def elbo_surgery(
    model: Any, x: Float[Tensor, "batch pixels"], k: int = 10, *, seed: int = 0
) -> SurgeryEstimate:
    r"""Split the average KL of the ELBO into mutual information and mismatch with the prior.

    .. math:: \frac1N \sum_n \mathrm{KL}(q(z|x_n) \,\|\, p) = I_q(n; z) + \mathrm{KL}(q(z) \,\|\, p),
              \qquad q(z) = \frac1N \sum_n q(z|x_n)

    with k draws from the posterior of every example,

    .. math:: I_q = \mathbb{E} \left[ \ln q(z|x_n) - \ln q(z) \right], \qquad
              \mathrm{KL}(q \,\|\, p) = \mathbb{E} \left[ \ln q(z) - \ln p(z) \right]

    All N posteriors are part of q(z) at every draw, so no draw can claim more than ln N nats of
    information; an average over mini-batches could not promise that. The first term comes from
    other means than the other two: that they add up, within the errors, is a check.

    Work grows with :math:`k N^2`.

    Args:
        model: A `VAE`.
        x: The examples, (batch, pixels).
        k: Draws for each of them, at least 2.
        seed: Seed of the draws; torch's global random state is left alone.

    Returns:
        `SurgeryEstimate(average_kl, mutual_information, aggregate_kl)`. The standard errors are
        those of the draws; the N examples are taken as they are.

    Raises:
        ValueError: If k is below 2, or x is empty, not finite, or of the wrong size.

    Book: chapter 4 (the aggregate posterior). Source: Hoffman and Johnson (2016).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> parts = elbo_surgery(mlp_vae(8, latent=2, seed=0), torch.eye(8), k=500)
        >>> two = parts.mutual_information.value + parts.aggregate_kl.value
        >>> bool((parts.average_kl.value - two).abs() < 0.05)
        True
    """
    if not isinstance(model, VAE):
        raise ValueError(f"model is of type {type(model).__name__}; wanted a VAE")
    check_examples(model, x)
    _require.positive_integer("k", k)
    if k < 2:
        raise ValueError(f"k is {k}; wanted at least 2 draws, to tell the error")
    _require.seed("seed", seed)
    with evaluating(model) as device, noise(device, seed):
        posterior, prior = model.encode(x.to(device)), model.prior
        z = posterior.sample((k,))  # (k, N, latent)
        log_own = posterior.log_prob(z).to(torch.float64)  # (k, N)
        log_all = _aggregate_log_prob(posterior, z).to(torch.float64)
        log_prior = model._prior_log_prob(prior, z).to(torch.float64)
    try:
        average = kl_divergence(posterior, prior).to(torch.float64).mean()
        average_kl = Estimate(average, torch.zeros_like(average))
    except NotImplementedError:
        average_kl = _mean(log_own - log_prior)
    return SurgeryEstimate(average_kl, _mean(log_own - log_all), _mean(log_all - log_prior))


def _aggregate_log_prob(posterior: Distribution, z: Tensor) -> Tensor:
    """ln q(z) of the mixture of all posteriors, (k, N), a few rows at a time."""
    aggregate = aggregate_posterior(posterior)
    rows = z.flatten(0, 1)  # (k N, latent)
    at_once = max(1, NUMBERS_AT_ONCE // (z.shape[1] * z.shape[2]))
    return torch.cat([aggregate.log_prob(part) for part in rows.split(at_once)]).view(z.shape[:2])


def _mean(values: Tensor) -> Estimate:
    """The mean of (k, N) values; its error is that of k draws for each of N given examples."""
    k, examples = values.shape
    error = (values.var(0).sum() / k).sqrt() / examples
    return Estimate(values.mean(), error)
