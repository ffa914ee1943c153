r"""The ELBO's gradient without differentiating through the sample: the score function."""

import math
from numbers import Real
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib.gradients.posterior import (
    CategoricalGradient,
    GaussianGradient,
    LogDensity,
    copies,
    log_density,
)

__all__ = ["score_function"]


@torch.enable_grad()
def score_function(
    log_joint: LogDensity,
    *,
    mean: Float[Tensor, " latent"] | None = None,
    log_var: Float[Tensor, " latent"] | None = None,
    logits: Float[Tensor, "*latent classes"] | None = None,
    n: int,
    baseline: Literal["none", "leave_one_out"] | float | int = "none",
    generator: torch.Generator | None = None,
) -> GaussianGradient | CategoricalGradient:
    r"""The gradient of the ELBO from the values of ln p(x, z) alone.

    .. math:: (f(z) - b) \, \nabla_\phi \ln q_\phi(z), \qquad
              f(z) = \ln p(x, z) - \ln q_\phi(z), \quad z \sim q_\phi

    Unbiased for any b that does not depend on z, and for any z, discrete ones too; ln p need not be
    differentiable. The price is noise: with b = 0 the whole size of f multiplies a random
    direction. A baseline b near the mean of f takes most of that away.

    Give q as `mean` and `log_var` (a Gaussian) or as `logits` (categorical; z is one-hot). Codes of
    plus and minus one are `z @ torch.tensor([1.0, -1.0])` inside log_joint.

    Args:
        log_joint: called with z (rows, latent) or (rows, \*latent, classes); returns ln p(x, z) for
            one fixed x, (rows,).
        mean: (latent,), the mean of q.
        log_var: (latent,), ln of the variances of q.
        logits: (classes,), or (latent, classes) for several independent variables.
        n: the number of samples.
        baseline: "none" (b = 0), a number, or "leave_one_out": for each sample the mean of f over
            the n - 1 others.
        generator: the source of randomness; torch's global one by default.

    Returns:
        `GaussianGradient(mean, log_var)`, each (n, latent), or `CategoricalGradient(logits)`,
        (n, \*latent, classes); one gradient per sample, nats per unit.

    Raises:
        ValueError: q is not given by finite parameters that fit, n is below 1 (below 2 with
            "leave_one_out"), baseline is something else, or log_joint returns another shape or is not finite.

    Book: chapter 6 (the score function). Source: Williams (1992); Ranganath et al. (2014); Mnih and
    Rezende (2016) for "leave_one_out".

    Example:
        >>> def log_joint(z):                                # a table of ln p(x, z) for three z
        ...     return z @ torch.tensor([0.2, 0.1, 0.3]).log()
        >>> plain = score_function(log_joint, logits=torch.zeros(3), n=10_000)
        >>> steady = score_function(
        ...     log_joint, logits=torch.zeros(3), n=10_000, baseline="leave_one_out")
        >>> bool(steady.logits.var(0).sum() < plain.logits.var(0).sum())
        True
    """
    q = copies(mean, log_var, logits, n)
    z = q.sample(1, generator)  # (1, n, *event)
    log_q = q.log_prob(z).squeeze(0)  # (n,)
    log_p = log_density("log_joint", log_joint, z, differentiable=False).squeeze(0)
    signal = (log_p - log_q).detach()
    return q.gradient((signal - _baseline(baseline, signal)) * log_q)


def _baseline(baseline: str | float | int, signal: Tensor) -> Tensor | float | int:
    """What to subtract from the signals (n,)."""
    n = signal.shape[0]
    if baseline == "none":
        return 0.0
    if baseline == "leave_one_out":
        if n < 2:
            raise ValueError(f"n is {n}; wanted at least 2: leave_one_out needs another sample")
        return (signal.sum() - signal) / (n - 1)
    if isinstance(baseline, bool | str) or not isinstance(baseline, Real) or not math.isfinite(baseline):
        raise ValueError(f'baseline is {baseline!r}; wanted "none", "leave_one_out" or a finite number')
    return baseline
