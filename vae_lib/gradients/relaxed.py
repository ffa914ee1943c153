r"""A smooth stand-in for a discrete z. What it maximises is **not a bound on ln p(x)**."""

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.gradients.posterior import CategoricalCopies, CategoricalGradient, LogDensity, log_density

__all__ = ["gumbel_softmax", "relaxed_objective"]


def relaxed_objective(
    log_joint: LogDensity,
    *,
    logits: Float[Tensor, "*latent classes"],
    n: int,
    temperature: float | int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " n"]:
    r"""The objective that Gumbel-softmax maximises. **Not a bound**: it may exceed ln p(x).

    .. math:: \ln p(x, \tilde z) + \mathrm{H}(q), \qquad
              \tilde z = \operatorname{softmax}\left( \frac{\ln q + g}{\tau} \right),
              \quad g_c \sim \text{Gumbel}

    A one-hot z would be the arg max of the same :math:`\ln q + g`. The relaxed one is a mixture
    of codes, a point between them where the model has never been defined. ln p(x, ·) may
    well be larger there. As the temperature goes to 0 the objective goes to the ELBO, and the
    noise of its gradient to infinity. Report the ELBO of the one-hot codes, never this.

    Args:
        log_joint: called with relaxed z (rows, \*latent, classes), rows that sum to one; returns
            ln p(x, z) for one fixed x, (rows,).
        logits: (classes,), or (latent, classes) for several independent variables.
        n: the number of samples.
        temperature: tau, above 0.
        generator: the source of randomness; torch's global one by default.

    Returns:
        (n,), nats, without gradients. See `gumbel_softmax` for those.

    Raises:
        ValueError: logits has another shape or is not finite, n is below 1, temperature is not a
            positive number, or log_joint returns another shape, is not finite or cannot be differentiated.

    Book: chapter 6 (discrete latents: what breaks). Source: Jang et al. (2017); Maddison et al.
    (2017), who keep a bound by relaxing q and the prior too.

    Example:
        >>> def log_joint(z):                                # codes +1 and -1, x = 0, std 0.1
        ...     code = z @ torch.tensor([1.0, -1.0])
        ...     return torch.distributions.Normal(code, 0.1).log_prob(torch.tensor(0.0)) - 0.6931
        >>> log_evidence = -48.616
        >>> values = relaxed_objective(log_joint, logits=torch.zeros(2), n=1000, temperature=20)
        >>> bool(values.mean() > log_evidence + 49)
        True
    """
    _, objective = _relax(log_joint, logits, n, temperature, generator)
    return objective.detach()


def gumbel_softmax(
    log_joint: LogDensity,
    *,
    logits: Float[Tensor, "*latent classes"],
    n: int,
    temperature: float | int,
    generator: torch.Generator | None = None,
) -> CategoricalGradient:
    r"""The gradient of `relaxed_objective`: **biased** for the ELBO, and of no bound.

    .. math:: \nabla_\phi \left[ \ln p(x, \tilde z) + \mathrm{H}(q_\phi) \right]

    It goes through the relaxed sample, so it is much less noisy than `score_function`. It is the
    gradient of something else. A high temperature has little noise and much bias, a low one the
    reverse.

    Args:
        log_joint: called with relaxed z (rows, \*latent, classes), rows that sum to one; returns
            ln p(x, z) for one fixed x, (rows,), each row from its own z only.
        logits: (classes,), or (latent, classes) for several independent variables.
        n: the number of samples.
        temperature: tau, above 0.
        generator: the source of randomness; torch's global one by default.

    Returns:
        `CategoricalGradient(logits)`, (n, \*latent, classes); one gradient per sample.

    Raises:
        ValueError: as `relaxed_objective`.

    Book: chapter 6 (discrete latents: what breaks). Source: Jang et al. (2017).

    Example:
        >>> def log_joint(z):
        ...     code = z @ torch.tensor([1.0, -1.0])
        ...     return torch.distributions.Normal(code, 1.0).log_prob(torch.tensor(0.5)) - 0.6931
        >>> gradient = gumbel_softmax(log_joint, logits=torch.zeros(2), n=1000, temperature=1.0)
        >>> gradient.logits.shape
        torch.Size([1000, 2])
    """
    q, objective = _relax(log_joint, logits, n, temperature, generator)
    return q.gradient(objective)


@torch.enable_grad()
def _relax(
    log_joint: LogDensity,
    logits: Tensor,
    n: int,
    temperature: float | int,
    generator: torch.Generator | None,
) -> tuple[CategoricalCopies, Tensor]:
    _require.positive_number("temperature", temperature)
    q = CategoricalCopies(logits, n)
    z = (q.perturbed(1, generator) / temperature).softmax(-1)  # (1, n, *latent, classes)
    return q, log_density("log_joint", log_joint, z).squeeze(0) + q.entropy()
