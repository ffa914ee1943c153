r"""Every bound on ln p(x) from one tensor of log-weights.

Throughout, `log_w` has shape (k, batch) and holds ln w = ln p(x, z) - ln q(z|x): row i is the i-th
sample of z for every example. The sample axis comes first; only that axis is reduced, so each
function returns one value per example, in nats.

What you get depends on where the samples came from:

========================  ==========================  =============================
function                  samples z drawn from        on average
========================  ==========================  =============================
`elbo`                    the encoder q(z|x)          at most ln p(x)
`iwae_bound`              the encoder q(z|x)          at most ln p(x), at least the ELBO
`eubo`                    the posterior p(z|x)        at least ln p(x)
========================  ==========================  =============================

A NaN among the log-weights of one example makes the value of that example NaN and touches no other.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require

__all__ = ["effective_sample_size", "elbo", "eubo", "iwae_bound", "log_mean_exp"]


def log_mean_exp(x: Float[Tensor, "*shape"], dim: int = 0) -> Float[Tensor, "*rest"]:
    r"""The logarithm of a mean of exponentials, safe for any size of x.

    .. math:: \ln \frac{1}{k} \sum_{i=1}^{k} e^{x_i}

    The largest x is taken out of the sum first, so nothing overflows and not every term underflows:
    in float32 the naive formula returns -inf as soon as all x lie below -104.

    Args:
        x: any shape with at least one dimension.
        dim: the dimension to average over; it is removed.

    Returns:
        x without the dimension `dim`.

    Raises:
        ValueError: x is not floating point, has no dimension `dim`, or has no entry along it.

    Book: chapter 3 (importance weights). Source: Burda et al. (2016), section 3.

    Example:
        >>> x = torch.tensor([-1000.0, -1000.0])
        >>> log_mean_exp(x)
        tensor(-1000.)
        >>> x.exp().mean().log()
        tensor(-inf)
    """
    _require.floating("x", x)
    if not -x.dim() <= dim < x.dim():
        raise ValueError(f"dim is {dim}; wanted a dimension of x, whose shape is {tuple(x.shape)}")
    if x.shape[dim] == 0:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; wanted at least one entry along dim {dim} to average"
        )
    return torch.logsumexp(x, dim) - math.log(x.shape[dim])


def elbo(log_w: Float[Tensor, "k batch"]) -> Float[Tensor, " batch"]:
    r"""The evidence lower bound, estimated from k samples of the encoder.

    .. math:: \frac{1}{k} \sum_{i=1}^{k} \ln w_i, \qquad
              \mathbb{E}_{q(z|x)} \ln w = \ln p(x) - \mathrm{KL}(q(z|x) \,\|\, p(z|x))

    More samples make the estimate steadier; they do not make the bound tighter.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).

    Returns:
        (batch,), nats.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1.

    Book: chapter 2 (the rearrangement). Source: Kingma and Welling (2014), section 2.2.

    Example:
        >>> elbo(torch.tensor([[-2.0, -5.0], [-4.0, -5.0]]))
        tensor([-3., -5.])
    """
    _check_log_weights(log_w)
    return log_w.mean(0)


def iwae_bound(log_w: Float[Tensor, "k batch"]) -> Float[Tensor, " batch"]:
    r"""The importance-weighted bound L_k, estimated once from k samples of the encoder.

    .. math:: \mathcal{L}_k = \mathbb{E}_{z_1 \dots z_k \sim q(z|x)}
              \ln \frac{1}{k} \sum_{i=1}^{k} w_i, \qquad
              \mathrm{ELBO} = \mathcal{L}_1 \le \mathcal{L}_2 \le \dots \le \ln p(x)

    This is the bound itself, the number to report. It is not the weighted sum of log-weights whose
    gradient some codes use: that sum is larger by up to ln k.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).

    Returns:
        (batch,), nats.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1.

    Book: chapter 3 (importance weights). Source: Burda et al. (2016), section 3.

    Example:
        >>> log_w = torch.tensor([[0.1], [0.3]]).log()
        >>> iwae_bound(log_w).exp()
        tensor([0.2000])
    """
    _check_log_weights(log_w)
    return log_mean_exp(log_w, dim=0)


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

    Book: chapter 2 (the rearrangement). Source: Grosse et al. (2015), arXiv 1511.02543.

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
    _check_log_weights(log_w)
    return log_w.mean(0)


def effective_sample_size(log_w: Float[Tensor, "k batch"]) -> Float[Tensor, " batch"]:
    r"""How many equally weighted samples the k weighted ones are worth.

    .. math:: \frac{\left(\sum_i w_i\right)^2}{\sum_i w_i^2} \in [1, k]

    It is k when all weights are equal (the encoder is the exact posterior) and near 1 when one
    sample carries the sum; then the importance-weighted bound is far below ln p(x). It is NaN where
    every weight is zero.

    Args:
        log_w: (k, batch), ln p(x, z) - ln q(z|x) at z drawn from q(z|x).

    Returns:
        (batch,), a number of samples.

    Raises:
        ValueError: log_w is not a floating-point table (k, batch) with k of at least 1.

    Book: chapter 9 (evaluation). Source: Kong (1992); Owen, *Monte Carlo theory*, chapter 9.

    Example:
        >>> effective_sample_size(torch.tensor([[-700.0, 0.0], [-700.0, -100.0]]))
        tensor([2., 1.])
    """
    _check_log_weights(log_w)
    weights = torch.exp(log_w - log_w.amax(0))  # the largest is 1: nothing overflows
    return weights.sum(0).square() / weights.square().sum(0)


def _check_log_weights(log_w: Tensor) -> None:
    meaning = "(k, batch): one row for each of at least one sample, one column for each example"
    _require.floating("log_w", log_w)
    _require.shape("log_w", log_w, (None, None), meaning)
    if log_w.shape[0] == 0:
        raise ValueError(f"log_w has shape {tuple(log_w.shape)}, so k = 0; wanted {meaning}")
