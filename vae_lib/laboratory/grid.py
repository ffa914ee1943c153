"""ln p(x) of any decoder with one or two latents, by the trapezoid rule."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vae_lib import _require
from vae_lib.laboratory._gaussian import log_normal

__all__ = ["grid_log_evidence"]

NUMBERS_AT_ONCE = 1_000_000


def grid_log_evidence(
    log_likelihood: Callable[
        [Shaped[Tensor, "batch *event"], Float[Tensor, "rows latent"]], Float[Tensor, "rows batch"]
    ],
    x: Shaped[Tensor, "batch *event"],
    *,
    latent_dim: int,
    points: int = 801,
    half_width: float | int = 8.0,
) -> Float[Tensor, " batch"]:
    r"""ln p(x) under the prior N(0, I), integrated over a grid of z.

    .. math:: \ln p(x) = \ln \int p(x|z) \, N(z; 0, I) \, dz
              \qquad \approx \ln \sum_i c_i \, p(x|z_i) \, N(z_i; 0, I)

    For a smooth integrand that dies out inside the grid the trapezoid rule is off by a factor of
    about :math:`1 + 2 e^{-2 \pi^2 s^2 / h^2}`, with h the spacing and s the width of the posterior:
    a posterior as wide as the spacing already gives eight digits. A posterior much narrower than
    that, or one outside the grid, is missed. To see whether the grid was fine enough, ask again
    with 2 * points - 1, which halves the spacing: the answers must agree.

    The grid is visited in pieces, so memory stays flat. No gradients are kept.

    Args:
        log_likelihood: called as log_likelihood(x, z) with all of x and a piece of the grid,
            z (rows, latent_dim); returns ln p(x|z), (rows, batch).
        x: (batch, ...).
        latent_dim: 1 or 2.
        points: grid points **per dimension**, at least 2; two latents visit points**2 of them.
        half_width: the grid reaches from -half_width to half_width in each dimension.

    Returns:
        (batch,), nats, in float64. The nodes are in the precision of x.

    Raises:
        ValueError: latent_dim is not 1 or 2, points or half_width is out of range, or
            log_likelihood returns NaN, +inf or another shape than (rows, batch).

    Book: chapter 8 (is the number right?). Source: Trefethen and Weideman (2014).

    Example:
        >>> from vae_lib.laboratory import LinearGaussianModel
        >>> model = LinearGaussianModel(torch.ones(3, 1), torch.zeros(3), 0.5)
        >>> x = torch.tensor([[0.5, 1.0, 0.0]])
        >>> model.log_evidence(x), grid_log_evidence(model.log_likelihood, x, latent_dim=1)
        (tensor([-3.2972]), tensor([-3.2972], dtype=torch.float64))
    """
    if isinstance(latent_dim, bool) or not isinstance(latent_dim, int) or latent_dim not in (1, 2):
        raise ValueError(
            f"latent_dim is {latent_dim!r}; wanted 1 or 2: a grid in more dimensions is too large"
        )
    _require.integer_within("points", points, lowest=2)
    _require.positive_number("half_width", half_width)
    if not callable(log_likelihood):
        raise ValueError(
            f"log_likelihood is of type {type(log_likelihood).__name__}; wanted a function of x and z"
        )
    _require.tensor("x", x)
    if x.dim() == 0 or x.numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; wanted (batch, ...), at least one example")

    dtype = x.dtype if x.is_floating_point() else torch.float64
    axis = torch.linspace(-half_width, half_width, points, dtype=torch.float64, device=x.device)
    log_cell = torch.full_like(axis, math.log(2 * half_width / (points - 1)))
    log_cell[[0, -1]] -= math.log(2.0)  # the trapezoid rule halves the two ends
    log_measure = log_cell + log_normal(axis.square(), 1.0)

    total = torch.full((x.shape[0],), -math.inf, dtype=torch.float64, device=x.device)
    rows_at_once = max(1, NUMBERS_AT_ONCE // x.numel())
    with torch.no_grad():
        for rows in torch.arange(points**latent_dim, device=x.device).split(rows_at_once):
            indices = [(rows // points**d) % points for d in range(latent_dim)]
            z = torch.stack([axis[i] for i in indices], dim=-1).to(dtype)  # (rows, latent_dim)
            log_prior = torch.stack([log_measure[i] for i in indices]).sum(0)  # (rows,)
            log_p = log_likelihood(x, z)
            _require.tensor("log_likelihood(x, z)", log_p)
            if log_p.shape != (z.shape[0], x.shape[0]):
                raise ValueError(
                    f"log_likelihood returned the shape {tuple(log_p.shape)} for "
                    f"{z.shape[0]} rows of z and {x.shape[0]} of x; wanted (rows, batch)"
                )
            if not bool((log_p < math.inf).all()):
                raise ValueError("log_likelihood returned NaN or +inf; wanted ln p(x|z) at every z")
            piece = torch.logsumexp(log_p.to(torch.float64) + log_prior.unsqueeze(-1), 0)
            total = torch.logaddexp(total, piece)
    return total
