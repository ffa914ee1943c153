r"""The ELBO's gradient through the sample: :math:`z = \mu + \sigma \epsilon` is differentiated too."""

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib.bounds import elbo, iwae_bound
from vae_lib.divergences import kl_diagonal_gaussian
from vae_lib.gradients.posterior import GaussianCopies, GaussianGradient, LogDensity, log_density

__all__ = ["pathwise", "pathwise_analytic_kl", "sticking_the_landing"]


@torch.enable_grad()
def pathwise(
    log_joint: LogDensity,
    *,
    mean: Float[Tensor, " latent"],
    log_var: Float[Tensor, " latent"],
    n: int,
    generator: torch.Generator | None = None,
) -> GaussianGradient:
    r"""The gradient of the ELBO, differentiating through z: the estimator of every VAE.

    .. math:: \nabla_\phi \left[ \ln p(x, z) - \ln q_\phi(z) \right], \qquad
              z = \mu + \sigma \epsilon, \quad \epsilon \sim N(0, I)

    Unbiased. It needs a density that is smooth in z, and noise that does not depend on the
    parameters; so it does not exist for a discrete z.

    Args:
        log_joint: called with z (rows, latent); returns ln p(x, z) for one fixed x, (rows,), each
            row from its own z only.
        mean: (latent,), the mean of q.
        log_var: (latent,), ln of the variances of q.
        n: the number of samples.
        generator: the source of randomness; torch's global one by default.

    Returns:
        `GaussianGradient(mean, log_var)`, each (n, latent); one gradient per sample, nats per unit.

    Raises:
        ValueError: mean and log_var do not fit or are not finite, n is below 1, or log_joint returns
            another shape, is not finite or cannot be differentiated.

    Book: chapter 6 (reparametrisation). Source: Kingma and Welling (2014), section 2.4.

    Example:
        >>> def log_joint(z):                                # x = 1.5, z and x|z Gaussian
        ...     return (-0.5 * z**2 - 2 * (1.5 - z) ** 2).sum(-1)
        >>> optimum = {"mean": torch.tensor([1.2]), "log_var": torch.tensor([0.2]).log()}
        >>> gradient = pathwise(log_joint, **optimum, n=10_000)
        >>> gradient.mean.shape
        torch.Size([10000, 1])
        >>> bool((gradient.mean.var() - 5.0).abs() < 0.5)    # zero on average, and noisy
        True
    """
    q = GaussianCopies(mean, log_var, n)
    z = q.rsample(1, generator)  # (1, n, latent)
    log_w = log_density("log_joint", log_joint, z) - q.log_prob(z)
    return q.gradient(elbo(log_w))


@torch.enable_grad()
def pathwise_analytic_kl(
    log_likelihood: LogDensity,
    *,
    mean: Float[Tensor, " latent"],
    log_var: Float[Tensor, " latent"],
    n: int,
    generator: torch.Generator | None = None,
) -> GaussianGradient:
    r"""The gradient through z for the reconstruction, and in closed form for the rate.

    .. math:: \nabla_\phi \left[ \ln p(x|z) - \mathrm{KL}(q_\phi \,\|\, N(0, I)) \right],
              \qquad z = \mu + \sigma \epsilon

    Unbiased. The prior is the standard normal. Less noisy than `pathwise` where the prior's
    share of the noise adds to that of the likelihood, noisier where the two cancel.

    Args:
        log_likelihood: called with z (rows, latent); returns ln p(x|z), **without the prior**, for
            one fixed x, (rows,), each row from its own z only.
        mean, log_var, n, generator: as in `pathwise`.

    Returns:
        `GaussianGradient(mean, log_var)`, each (n, latent); one gradient per sample, nats per unit.

    Raises:
        ValueError: mean and log_var do not fit or are not finite, n is below 1, or log_likelihood
            returns another shape, is not finite or cannot be differentiated.

    Book: chapter 6 (analytic KL). Source: Kingma and Welling (2014), section 2.3, equation 7.

    Example:
        >>> def log_likelihood(z):
        ...     return (-2 * (1.5 - z) ** 2).sum(-1)
        >>> optimum = {"mean": torch.tensor([1.2]), "log_var": torch.tensor([0.2]).log()}
        >>> gradient = pathwise_analytic_kl(log_likelihood, **optimum, n=10_000)
        >>> bool((gradient.mean.var() - 3.2).abs() < 0.5)
        True
    """
    q = GaussianCopies(mean, log_var, n)
    z = q.rsample(1, generator)  # (1, n, latent)
    reconstruction = log_density("log_likelihood", log_likelihood, z).squeeze(0)  # (n,)
    return q.gradient(reconstruction - kl_diagonal_gaussian(mean=q.mean, log_var=q.log_var))


@torch.enable_grad()
def sticking_the_landing(
    log_joint: LogDensity,
    *,
    mean: Float[Tensor, " latent"],
    log_var: Float[Tensor, " latent"],
    n: int,
    k: int = 1,
    generator: torch.Generator | None = None,
) -> GaussianGradient:
    r"""The gradient through z alone: the parameters inside ln q are held constant.

    .. math:: \frac{\partial z}{\partial \phi} \, \frac{\partial}{\partial z}
              \left[ \ln p(x, z) - \ln q(z) \right]

    What is left out is :math:`-\nabla_\phi \ln q_\phi(z)` at fixed z, which is zero on average:
    unbiased. Where q is the exact posterior, the bracket does not depend on z, and **every single
    sample** has gradient zero: there is no noise at the optimum.

    **With k above 1 it is biased.** The same step on the importance-weighted bound L_k leaves out a
    term that is not zero on average, because the weights multiply it. Use `dreg` there.

    Args:
        log_joint, mean, log_var, generator: as in `pathwise`.
        n: the number of gradients.
        k: the samples in each bound; leave it at 1 unless you want to see the bias.

    Returns:
        `GaussianGradient(mean, log_var)`, each (n, latent); one gradient per sample, nats per unit.

    Raises:
        ValueError: mean and log_var do not fit or are not finite, n or k is below 1, or log_joint
            returns another shape, is not finite or cannot be differentiated.

    Book: chapter 6 (sticking the landing), chapter 6 (when does the order change?) for the bias. Source:
    Roeder et al. (2017); Tucker et al. (2019).

    Example:
        >>> def log_joint(z):
        ...     return (-0.5 * z**2 - 2 * (1.5 - z) ** 2).sum(-1)
        >>> optimum = {"mean": torch.tensor([1.2]), "log_var": torch.tensor([0.2]).log()}
        >>> gradient = sticking_the_landing(log_joint, **optimum, n=1000)
        >>> bool(gradient.mean.abs().max() < 1e-5)
        True
    """
    q = GaussianCopies(mean, log_var, n)
    z = q.rsample(k, generator)  # (k, n, latent)
    log_w = log_density("log_joint", log_joint, z) - q.stopped_log_prob(z)
    return q.gradient(iwae_bound(log_w))
