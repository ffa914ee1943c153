r"""Kullback-Leibler divergences, in closed form and by sampling.

.. math:: \mathrm{KL}(q \,\|\, p) = \mathbb{E}_{q} \ln \frac{q}{p} \ge 0

- `kl_categorical`: of tables, by a sum.
- `kl_diagonal_gaussian`: the rate of a VAE; by default from the standard normal.
- `kl_multivariate_gaussian`: of Gaussians with any covariances.
- `kl_monte_carlo`: of anything that has samples and log-densities, as an `Estimate` with its error.

The order of the two matters: the average is over the first. Event dimensions (categories, latents)
are summed; every other dimension is kept, so you get one value per example, in nats.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib._gaussian import kl_of_parts

__all__ = [
    "Estimate",
    "kl_categorical",
    "kl_diagonal_gaussian",
    "kl_monte_carlo",
    "kl_multivariate_gaussian",
]


class Estimate(NamedTuple):
    """A sampled value and its standard error, of one shape and in the same unit.

    Book: chapter 2 (by sampling).

    Example:
        >>> estimate = Estimate(torch.tensor(1.5), torch.tensor(0.1))
        >>> float(estimate.value)
        1.5
    """

    value: Float[Tensor, "*batch"]
    standard_error: Float[Tensor, "*batch"]


def kl_categorical(
    q: Float[Tensor, "*batch classes"], p: Float[Tensor, "*#batch classes"]
) -> Float[Tensor, "*batch"]:
    r"""The divergence of one table of probabilities from another.

    .. math:: \mathrm{KL}(q \,\|\, p) = \sum_{z} q(z) \ln \frac{q(z)}{p(z)},
              \qquad 0 \ln 0 = 0

    It is infinite where q puts mass on a z that p excludes. A z with q(z) = 0 gets the gradient zero.

    Args:
        q: (..., classes), rows that sum to one.
        p: the shape of q, or (classes,): one distribution for all rows of q.

    Returns:
        (...), one value per row of q, nats.

    Raises:
        ValueError: the shapes do not fit, or a row is not a probability distribution.

    Book: chapter 2 (the divergence). Source: Kullback and Leibler (1951).

    Example:
        >>> q = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
        >>> p = torch.tensor([0.5, 0.5])
        >>> kl_categorical(q, p)
        tensor([0.0000, 0.6931])
    """
    _require.tensor("q", q)
    _require.tensor("p", p)
    if p.shape not in (q.shape, q.shape[-1:]):
        raise ValueError(
            f"p has shape {tuple(p.shape)}; wanted the shape of q, {tuple(q.shape)}, "
            f"or one distribution of shape {tuple(q.shape[-1:])}"
        )
    _require.probabilities("q", q)
    _require.probabilities("p", p)
    # where q is zero both become one before the logarithm: the term is 0, and so is its gradient,
    # which as minus infinity would turn into NaN behind a softmax that rounds to zero
    possible = q > 0
    q, p = torch.where(possible, q, 1), torch.where(possible, p, 1)
    return (q * (q.log() - p.log())).sum(-1)


def kl_diagonal_gaussian(
    *,
    mean: Float[Tensor, "*batch latent"],
    log_var: Float[Tensor, "*batch latent"],
    prior_mean: float | int | Float[Tensor, "*#batch #latent"] | Float[Tensor, ""] = 0.0,
    prior_log_var: float | int | Float[Tensor, "*#batch #latent"] | Float[Tensor, ""] = 0.0,
) -> Float[Tensor, "*batch"]:
    r"""The divergence of one diagonal Gaussian from another; by default from the standard normal.

    .. math:: \mathrm{KL} = \tfrac12 \sum_j \left[ e^{\delta_j} - 1 - \delta_j
              + \frac{(\mu_j - m_j)^2}{s_j^2} \right],
              \qquad \delta_j = \ln \sigma_j^2 - \ln s_j^2

    with :math:`\mu, \sigma^2` of the first and :math:`m, s^2` of the prior. Both second parameters
    are **logarithms of variances**, not of standard deviations.

    Args:
        mean: (..., latent).
        log_var: (..., latent), ln of the variances.
        prior_mean: a number, (latent,), or the shape of `mean`.
        prior_log_var: a number, (latent,), or the shape of `mean`; ln of the variances.

    Returns:
        (...), summed over the latents, nats. NaN in an example makes that example NaN.

    Raises:
        ValueError: the shapes do not fit, even where broadcasting would hide it; a tensor holds no
            floating-point numbers, or a number is not finite.

    Book: chapter 2 (between Gaussians), chapter 4 (three forms of the ELBO). Source:
    Kingma and Welling (2014), appendix B.

    Example:
        >>> mean, log_var = torch.tensor([[0.0, 0.0], [1.0, -2.0]]), torch.zeros(2, 2)
        >>> kl_diagonal_gaussian(mean=mean, log_var=log_var)
        tensor([0.0000, 2.5000])
    """
    _require.floating("mean", mean)
    if mean.dim() == 0:
        raise ValueError("mean has shape (); wanted (..., latent)")
    _require.shape("log_var", log_var, tuple(mean.shape), f"the shape of mean, {tuple(mean.shape)}")
    _require.floating("log_var", log_var)
    for name, value in (("prior_mean", prior_mean), ("prior_log_var", prior_log_var)):
        if not isinstance(value, Tensor):
            _require.finite_number(name, value)
            continue
        _require.floating(name, value)
        if value.shape not in ((), mean.shape[-1:], mean.shape):
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}; wanted a number, "
                f"{tuple(mean.shape[-1:])} or the shape of mean, {tuple(mean.shape)}"
            )
    delta = log_var - prior_log_var
    distance = _standardised(mean - prior_mean, prior_log_var).square()
    return kl_of_parts(torch.expm1(delta), delta, distance)


def kl_multivariate_gaussian(
    *,
    mean_q: Float[Tensor, "*#batch dim"],
    cov_q: Float[Tensor, "*#batch dim dim"],
    mean_p: Float[Tensor, "*#batch dim"],
    cov_p: Float[Tensor, "*#batch dim dim"],
) -> Float[Tensor, "*#batch"]:
    r"""The divergence of one Gaussian from another, any covariances.

    .. math:: \mathrm{KL} = \tfrac12 \left[ \operatorname{tr}(\Sigma_p^{-1} \Sigma_q)
              + (\mu_p - \mu_q)^\top \Sigma_p^{-1} (\mu_p - \mu_q) - d
              + \ln \frac{\det \Sigma_p}{\det \Sigma_q} \right]

    Args:
        mean_q: (..., d).
        cov_q: (..., d, d), symmetric positive definite.
        mean_p: (..., d).
        cov_p: (..., d, d), symmetric positive definite.
            Each of the four either has the common leading dimensions or none (one for all).

    Returns:
        (...), nats.

    Raises:
        ValueError: the shapes do not fit, one of the four holds no floating-point numbers, or a
            covariance is not symmetric positive definite.

    Book: chapter 2 (between Gaussians). Source: Doersch (2016), equation 6.

    Example:
        >>> eye = torch.eye(3)
        >>> kl_multivariate_gaussian(
        ...     mean_q=torch.ones(3), cov_q=eye, mean_p=torch.zeros(3), cov_p=eye)
        tensor(1.5000)
    """
    means, covariances = {"mean_q": mean_q, "mean_p": mean_p}, {"cov_q": cov_q, "cov_p": cov_p}
    for name, tensor in (means | covariances).items():
        _require.floating(name, tensor)
    dim = mean_q.shape[-1] if mean_q.dim() else 0
    if dim == 0:
        raise ValueError(f"mean_q has shape {tuple(mean_q.shape)}; wanted (..., d) with d >= 1")
    leading = max(
        *(mean.shape[:-1] for mean in means.values()),
        *(covariance.shape[:-2] for covariance in covariances.values()),
        key=len,
    )
    for name, tensor in (means | covariances).items():
        event = (dim,) if name in means else (dim, dim)
        if tuple(tensor.shape) not in (event, (*leading, *event)):
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}; wanted {event} or {(*leading, *event)}"
            )
    factor_q, factor_p = _cholesky("cov_q", cov_q), _cholesky("cov_p", cov_p)
    whitened = torch.linalg.solve_triangular(factor_p, factor_q, upper=False)  # (..., d, d)
    shift = torch.linalg.solve_triangular(
        factor_p, (mean_p - mean_q).unsqueeze(-1), upper=False
    )  # (..., d, 1)
    log_ratio = _log_diagonal(factor_p) - _log_diagonal(factor_q)
    return 0.5 * (whitened.square().sum((-2, -1)) + shift.square().sum((-2, -1)) - dim) + log_ratio


def kl_monte_carlo(log_q: Float[Tensor, "k *batch"], log_p: Float[Tensor, "k *batch"]) -> Estimate:
    r"""The divergence estimated from k samples of q, with its standard error.

    .. math:: \widehat{\mathrm{KL}} = \frac{1}{k} \sum_{i=1}^{k}
              \left[ \ln q(z_i) - \ln p(z_i) \right], \qquad z_i \sim q

    It is unbiased. Single terms are often negative, although the divergence never is.

    Args:
        log_q: (k, ...), ln q at samples **of q**; k of at least 2.
        log_p: (k, ...), ln p at the same samples.

    Returns:
        `Estimate(value, standard_error)`, each (...), nats. Where a sample is impossible under p,
        the value is infinite and the standard error NaN.

    Raises:
        ValueError: the shapes differ, one of the two holds no floating-point numbers, or there are
            fewer than two samples.

    Book: chapter 2 (by sampling). Source: Kingma and Welling (2014), section 2.3, whose first
    estimator samples this term.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> q, p = torch.distributions.Normal(1.0, 1.0), torch.distributions.Normal(0.0, 1.0)
        >>> z = q.sample((10_000,))
        >>> value, error = kl_monte_carlo(q.log_prob(z), p.log_prob(z))
        >>> bool((value - 0.5).abs() < 5 * error)
        True
    """
    _require.floating("log_q", log_q)
    _require.floating("log_p", log_p)
    _require.shape("log_p", log_p, tuple(log_q.shape), f"the shape of log_q, {tuple(log_q.shape)}")
    if log_q.dim() == 0 or log_q.shape[0] < 2:
        raise ValueError(
            f"log_q has shape {tuple(log_q.shape)}; wanted (k, ...) with k of at least 2: "
            "one sample has no standard error"
        )
    terms = log_q - log_p
    if terms.numel() == 0:  # no examples, of which torch would warn
        return Estimate(terms.sum(0), terms.sum(0))
    return Estimate(terms.mean(0), terms.std(0) / terms.shape[0] ** 0.5)


def _standardised(shift: Tensor, log_var: Tensor | float | int) -> Tensor:
    """The shift in standard deviations; 0 where it is 0, however narrow the distribution."""
    if not isinstance(log_var, Tensor):
        inverse = _exp(-log_var / 2)
        if inverse <= torch.finfo(shift.dtype).max:
            return shift * inverse
        log_var = shift.new_full((), log_var)
    # where shift is 0 any width will do: an infinite inverse would make NaN of it and of its gradients
    return shift * torch.exp(-torch.where(shift != 0, log_var, 0.0) / 2)


def _exp(number: float | int) -> float:
    """e to the number, infinite where Python would raise OverflowError."""
    try:  # in Python, because a tensor would have to travel to the device at every step
        return math.exp(number)
    except OverflowError:
        return math.inf


def _cholesky(name: str, covariance: Tensor) -> Tensor:
    if covariance.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"{name} has dtype {covariance.dtype}; wanted float32 or float64, which can be factorised"
        )
    _require.finite(name, covariance)
    scale = covariance.abs().amax((-2, -1))
    skew = (covariance - covariance.mT).abs().amax((-2, -1))
    asymmetric = skew > scale * torch.finfo(covariance.dtype).eps ** 0.5  # each beside its own scale
    if bool(asymmetric.any()):
        worst = skew[asymmetric].max().item()
        raise ValueError(f"{name} differs from its transpose by {worst:.3g}; wanted a symmetric matrix")
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed.any()):
        smallest = torch.linalg.eigvalsh(covariance).min().item()
        raise ValueError(f"{name} has an eigenvalue {smallest:.3g}; wanted a positive definite matrix")
    return factor


def _log_diagonal(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
