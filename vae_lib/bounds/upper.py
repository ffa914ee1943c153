r"""Upper bounds on ln p(x), and the sandwich of a lower and an upper one."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.bounds import _check
from vae_lib.bounds.lower import iwae_bound
from vae_lib.bounds.weights import log_mean_exp

__all__ = ["Sandwich", "cubo", "eubo", "iwae_eubo", "sandwich"]


class Sandwich(NamedTuple):
    """A lower and an upper estimate of the same ln p(x), each (batch,), nats.

    Book: chapter 3 (the sandwich).

    Example:
        >>> bounds = Sandwich(lower=torch.tensor([-3.0]), upper=torch.tensor([-2.5]))
        >>> bounds.upper - bounds.lower
        tensor([0.5000])
    """

    lower: Float[Tensor, " batch"]
    upper: Float[Tensor, " batch"]


def eubo(log_w: Float[Tensor, "k batch"]) -> Float[Tensor, " batch"]:
    r"""The evidence upper bound, estimated from k samples of the exact posterior.

    .. math:: \frac{1}{k} \sum_{i=1}^{k} \ln w_i, \qquad
              \mathbb{E}_{p(z|x)} \ln w = \ln p(x) + \mathrm{KL}(p(z|x) \,\|\, q(z|x))

    **The samples must come from the posterior p(z|x), not from the encoder.** The arithmetic is
    that of `elbo`. Only the origin of the samples turns the lower bound into an upper bound, and
    no function can tell from the numbers which of the two it was given. You have posterior samples
    where the posterior is known (the laboratory), and on data that the model generated itself: if
    z is drawn from the prior and x from p(x|z), then z is one exact draw from p(z|x).

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from p(z|x).

    Returns:
        (batch,), nats.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1.

    Book: chapter 3 (from above). Source: Grosse et al. (2015), arXiv 1511.02543.

    Example:
        >>> prior = torch.tensor([0.5, 0.5])
        >>> likelihood = torch.tensor([0.9, 0.1])           # p(x|z) of one observed x
        >>> posterior = prior * likelihood / 0.5            # p(x) = 0.5, ln p(x) = -0.693
        >>> z = torch.multinomial(posterior, 1000, replacement=True)
        >>> encoder = torch.tensor([0.6, 0.4])
        >>> log_w = (prior * likelihood / encoder).log()[z]
        >>> bool(eubo(log_w.unsqueeze(1)) > torch.tensor(0.5).log())
        True
    """
    _check.log_weights(log_w)
    return log_w.mean(0)


def iwae_eubo(
    log_w: Float[Tensor, "k batch"], log_w_posterior: Float[Tensor, "m batch"]
) -> Float[Tensor, " batch"]:
    r"""The importance-weighted upper bound: one posterior sample among k of the encoder.

    .. math:: \mathcal{U}_{k+1} = \mathbb{E}_{z_0 \sim p(z|x), \; z_1 \dots z_k \sim q(z|x)}
              \ln \frac{1}{k+1} \sum_{i=0}^{k} w_i, \qquad
              \mathrm{EUBO} = \mathcal{U}_1 \ge \mathcal{U}_2 \ge \dots \ge \ln p(x)

    It is the mirror image of `iwae_bound`: a single exact draw in the sum turns the lower bound
    into an upper one, and more samples of the encoder pull it down to ln p(x). Each of the m
    posterior samples stands in the sum alone, and the m values are averaged.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).
        log_w_posterior: (m, batch), the same at z drawn from p(z|x).

    Returns:
        (batch,), nats.

    Raises:
        ValueError: one of the two is not a floating-point table with at least one row, or they
            disagree about the batch.

    Book: chapter 3 (from above), chapter 9 (sandwiching). Source: Grosse et al. (2015); Brekelmans et
    al. (2022).

    Example:
        >>> log_w = torch.tensor([[0.1], [0.3]]).log()
        >>> log_w_posterior = torch.tensor([[0.5]]).log()
        >>> iwae_eubo(log_w, log_w_posterior).exp()
        tensor([0.3000])
    """
    _check.log_weights(log_w)
    _check.log_weights(log_w_posterior, "log_w_posterior")
    m, batch = log_w_posterior.shape[0], log_w.shape[1]
    _require.shape("log_w_posterior", log_w_posterior, (None, batch), f"(m, {batch}), the examples of log_w")
    others = log_w.unsqueeze(1).expand(-1, m, -1)  # (k, m, batch)
    together = torch.cat([log_w_posterior.unsqueeze(0), others])  # (k + 1, m, batch)
    return log_mean_exp(together, dim=0).mean(0)


def cubo(log_w: Float[Tensor, "k batch"], order: float | int = 2) -> Float[Tensor, " batch"]:
    r"""An estimate of the chi upper bound, from samples of the encoder.

    .. math:: \mathrm{CUBO}_n = \frac1n \ln \mathbb{E}_{q(z|x)} w^n \ge \ln p(x),
              \qquad \mathrm{CUBO}_2 = \ln p(x) + \tfrac12 \ln\left(1 + \chi^2(p(z|x) \,\|\, q(z|x))\right)

    **Only the expectation inside the logarithm makes it a bound.** What a program can compute is

    .. math:: \widehat{\mathrm{CUBO}}_n = \frac1n \ln \frac1k \sum_{i=1}^{k} w_i^n

    and by Jensen's inequality this is too low on average, at every finite k. With k = 1 it is
    ln w, and on average the ELBO: a lower bound. The estimate is usually far below CUBO, and may
    be below ln p(x), when few samples carry the sum (look at `effective_sample_size`). If
    the posterior has heavier tails than q, CUBO is infinite and no estimate will show it. What
    is unbiased is :math:`e^{n \widehat{\mathrm{CUBO}}_n}`. For an upper bound that you can trust on
    average, use `eubo` or `iwae_eubo`, which need posterior samples.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).
        order: n, at least 1. CUBO grows with n; CUBO_1 is ln p(x) itself, and its estimate
            `iwae_bound`.

    Returns:
        (batch,), nats.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1, or order is
            below 1, infinite or NaN.

    Book: chapter 3 (the ELBO family). Source: Dieng et al. (2017).

    Example:
        >>> cubo(torch.tensor([[3.0], [4.0]]).log()).exp()   # the root of (9 + 16) / 2
        tensor([3.5355])
    """
    _check.log_weights(log_w)
    _require.number_within("order", order, lowest=1.0)
    return log_mean_exp(order * log_w, dim=0) / order


def sandwich(log_w: Float[Tensor, "k batch"], log_w_posterior: Float[Tensor, "m batch"]) -> Sandwich:
    r"""ln p(x) between two estimates, on data that the model generated itself.

    .. math:: \mathbb{E} \, \mathrm{lower} = \mathcal{L}_k \le \ln p(x)
              \le \mathcal{U}_{k+1} = \mathbb{E} \, \mathrm{upper}

    The lower one is `iwae_bound`, the upper one `iwae_eubo`; both close in on ln p(x) as k grows.
    The upper one needs a posterior sample. Draw z from the prior and x from p(x|z): then z is one
    exact draw from p(z|x), for any model, however intractable. So the log-likelihood of any model
    can be bracketed on its own samples; on real data it cannot, and the gap found on simulated data
    need not be the gap on real data. The order holds on average. Single values may cross.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).
        log_w_posterior: (m, batch), the same at z drawn from p(z|x); m is usually 1.

    Returns:
        `Sandwich(lower, upper)`, each (batch,), nats.

    Raises:
        ValueError: one of the two is not a floating-point table with at least one row, or they
            disagree about the batch.

    Book: chapter 3 (the sandwich), chapter 9 (sandwiching). Source: Grosse et al. (2015), arXiv
    1511.02543.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> z = torch.randn(1, 1000)                         # the model: z, then x around z
        >>> x = z[0] + torch.randn(1000)
        >>> q = torch.distributions.Normal(x / 2, 1.0)       # too wide: the posterior has 0.71
        >>> def log_weights(z):
        ...     joint = -(z**2 + (x - z) ** 2) / 2 - 1.8379
        ...     return joint - q.log_prob(z)
        >>> lower, upper = sandwich(log_weights(q.sample((5,))), log_weights(z))
        >>> log_evidence = torch.distributions.Normal(0.0, 2**0.5).log_prob(x)
        >>> bool(lower.mean() < log_evidence.mean() < upper.mean())
        True
    """
    return Sandwich(lower=iwae_bound(log_w), upper=iwae_eubo(log_w, log_w_posterior))
