r"""Gradients of the importance-weighted bound L_k: pathwise, doubly reparametrised, and VIMCO."""

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib.bounds import dreg_surrogate, iwae_bound, iwae_surrogate
from vae_lib.gradients.posterior import (
    CategoricalGradient,
    GaussianCopies,
    GaussianGradient,
    LogDensity,
    copies,
    log_density,
)

__all__ = ["dreg", "iwae_pathwise", "vimco"]


@torch.enable_grad()
def iwae_pathwise(
    log_joint: LogDensity,
    *,
    mean: Float[Tensor, " latent"],
    log_var: Float[Tensor, " latent"],
    n: int,
    k: int,
    generator: torch.Generator | None = None,
) -> GaussianGradient:
    r"""The gradient of L_k, differentiating through z.

    .. math:: \nabla_\phi \ln \frac1k \sum_{i=1}^{k} w_i
              = \sum_{i=1}^{k} \tilde w_i \, \nabla_\phi \ln w_i, \qquad z_i = \mu + \sigma \epsilon_i

    Unbiased for L_k. As k grows, the gradient itself shrinks like 1/k and its noise only like
    :math:`1/\sqrt{k}`: the encoder learns less from a tighter bound. With k = 1 it is `pathwise`.

    Args:
        log_joint, mean, log_var, generator: as in `pathwise`.
        n: the number of gradients.
        k: the samples in each bound.

    Returns:
        `GaussianGradient(mean, log_var)`, each (n, latent); one gradient per bound, nats per unit.

    Raises:
        ValueError: mean and log_var do not fit or are not finite, n or k is below 1, or log_joint
            returns another shape, is not finite or cannot be differentiated.

    Book: chapter 6 (when does the order change?), chapter 9 (tighter is not always better). Source:
    Burda et al. (2016), section 3; Rainforth et al. (2018).

    Example:
        >>> def log_joint(z):
        ...     return (-0.5 * z**2 - 2 * (1.5 - z) ** 2).sum(-1)
        >>> gradient = iwae_pathwise(
        ...     log_joint, mean=torch.zeros(1), log_var=torch.zeros(1), n=1000, k=8)
        >>> gradient.log_var.shape
        torch.Size([1000, 1])
    """
    q = GaussianCopies(mean, log_var, n)
    z = q.rsample(k, generator)  # (k, n, latent)
    log_w = log_density("log_joint", log_joint, z) - q.log_prob(z)
    return q.gradient(iwae_bound(log_w))


@torch.enable_grad()
def dreg(
    log_joint: LogDensity,
    *,
    mean: Float[Tensor, " latent"],
    log_var: Float[Tensor, " latent"],
    n: int,
    k: int,
    generator: torch.Generator | None = None,
) -> GaussianGradient:
    r"""The gradient of L_k, doubly reparametrised.

    .. math:: \sum_{i=1}^{k} \tilde w_i^2 \, \frac{\partial z_i}{\partial \phi} \,
              \frac{\partial}{\partial z_i} \left[ \ln p(x, z_i) - \ln q(z_i) \right]

    Unbiased for L_k. As in `sticking_the_landing`, the parameters inside ln q are held constant; the
    **square** of the normalised weights is what that costs, and without it there is a bias. Its
    signal does not drown as k grows, and at the exact posterior it is zero for every sample. With
    k = 1 it is `sticking_the_landing`.

    Args:
        log_joint, mean, log_var, generator: as in `pathwise`.
        n: the number of gradients.
        k: the samples in each bound.

    Returns:
        `GaussianGradient(mean, log_var)`, each (n, latent); one gradient per bound, nats per unit.

    Raises:
        ValueError: mean and log_var do not fit or are not finite, n or k is below 1, or log_joint
            returns another shape, is not finite or cannot be differentiated.

    Book: chapter 6 (when does the order change?), chapter 9 (tighter is not always better). Source:
    Tucker et al. (2019).

    Example:
        >>> def log_joint(z):
        ...     return (-0.5 * z**2 - 2 * (1.5 - z) ** 2).sum(-1)
        >>> wide = {"mean": torch.zeros(1), "log_var": torch.zeros(1), "n": 1000, "k": 8}
        >>> noise = dreg(log_joint, **wide).mean.var()
        >>> bool(noise < iwae_pathwise(log_joint, **wide).mean.var())
        True
    """
    q = GaussianCopies(mean, log_var, n)
    z = q.rsample(k, generator)  # (k, n, latent)
    log_w = log_density("log_joint", log_joint, z) - q.stopped_log_prob(z)
    return q.gradient(dreg_surrogate(log_w))


@torch.enable_grad()
def vimco(
    log_joint: LogDensity,
    *,
    mean: Float[Tensor, " latent"] | None = None,
    log_var: Float[Tensor, " latent"] | None = None,
    logits: Float[Tensor, "*latent classes"] | None = None,
    n: int,
    k: int,
    generator: torch.Generator | None = None,
) -> GaussianGradient | CategoricalGradient:
    r"""The gradient of L_k by the score function; the other samples are the baseline of each.

    .. math:: \sum_{i=1}^{k} \left( \hat L - \hat L_{-i} \right) \nabla_\phi \ln q_\phi(z_i)
              + \sum_{i=1}^{k} \tilde w_i \, \nabla_\phi \ln w_i \big|_{z_i \text{ fixed}}

    with :math:`\hat L = \ln \frac1k \sum_j w_j`. In :math:`\hat L_{-i}` the weight of sample i
    is replaced by the geometric mean of the k - 1 others, so it does not depend on :math:`z_i`:
    unbiased, without anything to learn. Discrete z are welcome.

    Give q as `mean` and `log_var` (a Gaussian) or as `logits` (categorical; z is one-hot).

    Args:
        log_joint, mean, log_var, logits, generator: as in `score_function`.
        n: the number of gradients.
        k: the samples in each bound, at least 2.

    Returns:
        `GaussianGradient(mean, log_var)`, each (n, latent), or `CategoricalGradient(logits)`,
        (n, \*latent, classes); one gradient per bound, nats per unit.

    Raises:
        ValueError: q is not given by finite parameters that fit, n is below 1, k is below 2, or
            log_joint returns another shape or is not finite.

    Book: chapter 6 (discrete latents). Source: Mnih and Rezende (2016), section 2.

    Example:
        >>> def log_joint(z):
        ...     return z @ torch.tensor([0.2, 0.1, 0.3]).log()
        >>> vimco(log_joint, logits=torch.zeros(3), n=1000, k=5).logits.shape
        torch.Size([1000, 3])
    """
    q = copies(mean, log_var, logits, n)
    z = q.sample(k, generator)  # (k, n, *event)
    if k < 2:
        raise ValueError(f"k is {k}; wanted at least 2: the other samples are the baseline")
    log_q = q.log_prob(z)  # (k, n)
    log_p = log_density("log_joint", log_joint, z, differentiable=False).detach()
    log_w = log_p - log_q
    signal = iwae_bound(log_w) - _bounds_without(log_w)  # (k, n)
    return q.gradient((signal.detach() * log_q).sum(0) + iwae_surrogate(log_w))


def _bounds_without(log_w: Tensor) -> Tensor:
    """The bound with sample i replaced by the geometric mean of the others, for each i: (k, n)."""
    k = log_w.shape[0]
    others = (log_w.sum(0) - log_w) / (k - 1)  # (k, n), logs of the geometric means
    chosen = torch.eye(k, dtype=torch.bool, device=log_w.device).unsqueeze(-1)  # (k, k, 1)
    replaced = torch.where(chosen, others, log_w.unsqueeze(1))  # (sample, i, n)
    return iwae_bound(replaced.flatten(1)).unflatten(0, log_w.shape)
