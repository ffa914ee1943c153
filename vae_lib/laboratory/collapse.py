"""How fast a linear VAE leaves the collapsed state, or falls back into it."""

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.laboratory._tables import table

__all__ = ["collapse_growth_rate"]


def collapse_growth_rate(
    eigenvalue: float | int | Float[Tensor, "*directions"],
    variance: float | int,
    beta: float | int = 1.0,
) -> Float[Tensor, "*directions"]:
    r"""The growth rate of a small signal around w = v = 0, where the posterior has collapsed.

    Take one principal direction of variance :math:`\lambda`, the decoder N(w z, sigma^2) and the
    encoder N(v x, d). At w = v = 0, d = 1 the gradient of the (beta-weighted) ELBO is zero. Close to
    it, gradient ascent in (w, v) is linear, with the symmetric matrix

    .. math:: \begin{pmatrix} -1/\sigma^2 & \lambda/\sigma^2 \\
              \lambda/\sigma^2 & -\beta\lambda \end{pmatrix}

    whose larger eigenvalue is returned. It is positive exactly when
    :math:`\lambda > \beta \sigma^2`: then the collapsed state is a saddle and training leaves it.
    Otherwise it is a maximum, and no optimiser gets out. The same inequality decides in `waterfill`
    which directions the optimum keeps.

    Args:
        eigenvalue: lambda, a positive number or a tensor of any shape.
        variance: sigma squared of the decoder, positive.
        beta: the weight of the KL term, positive.

    Returns:
        The shape of `eigenvalue`; one rate per unit of time of the gradient flow. Numbers give
        float64.

    Raises:
        ValueError: an eigenvalue, the variance or beta is not positive and finite.

    Book: chapter 7 (collapse as a saddle). Source: Lucas et al. (2019).

    Example:
        >>> collapse_growth_rate(4.0, 0.25)
        tensor(12., dtype=torch.float64)
        >>> collapse_growth_rate(torch.tensor([4.0, 0.1]), 0.25) > 0
        tensor([ True, False])
    """
    lam = table("eigenvalue", eigenvalue)
    _require.floating("eigenvalue", lam)
    _require.finite("eigenvalue", lam)
    _require.positive("eigenvalue", lam)
    _require.positive_number("variance", variance)
    _require.positive_number("beta", beta)
    decoder, encoder, cross = 1.0 / variance, beta * lam, lam / variance
    half_difference = 0.5 * (decoder - encoder)
    away = torch.hypot(half_difference, cross) - 0.5 * (decoder + encoder)
    # near the threshold the two terms cancel; there the rate is the determinant over the other eigenvalue
    other = -torch.hypot(half_difference, cross) - 0.5 * (decoder + encoder)
    determinant = lam / variance * (beta - lam / variance)
    return torch.where(away > 0.1 * decoder, away, determinant / other)
