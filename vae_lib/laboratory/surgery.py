"""Where the KL term goes: ELBO surgery, exactly, for Gaussian codes in one or two dimensions."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require
from vae_lib.divergences import kl_diagonal_gaussian
from vae_lib.laboratory._gaussian import log_normal

__all__ = ["ElboSurgery", "grid_elbo_surgery"]

MOST_NUMBERS = 1_000_000_000
NUMBERS_AT_ONCE = 2_000_000
STEPS_PER_STD = 4.0  # the rule is then off by 1e-11 nats at most: ln q(z) is not quite as smooth as q
REACH = 9.0  # standard deviations around every code; beyond lies 1e-19


class ElboSurgery(NamedTuple):
    """The average KL of the codes and its two parts; each a single number, nats.

    Attributes:
        average_kl: mean over n of KL(q(z|x_n) ‖ N(0, I)), in closed form.
        mutual_information: between z and the number n of the example, at most ln N.
        aggregate_kl: KL(q(z) ‖ N(0, I)) of the mixture q(z) of all codes.

    Book: chapter 4 (the aggregate posterior).

    Example:
        >>> one = torch.ones(1, 1, dtype=torch.float64)
        >>> grid_elbo_surgery(one, one).aggregate_kl        # a single code carries no information
        tensor(0.5000, dtype=torch.float64)
    """

    average_kl: Float[Tensor, ""]
    mutual_information: Float[Tensor, ""]
    aggregate_kl: Float[Tensor, ""]


def grid_elbo_surgery(mean: Float[Tensor, "codes latent"], std: Float[Tensor, "codes latent"]) -> ElboSurgery:
    r"""The KL term of the ELBO, split into information and mismatch.

    .. math:: \frac1N \sum_n \mathrm{KL}(q(z|x_n) \,\|\, p) = I_q(n; z) + \mathrm{KL}(q(z) \,\|\, p),
              \qquad q(z) = \frac1N \sum_n q(z|x_n)

    The left side is known in closed form. Both terms on the right are integrals over z, each taken
    by its own sum over a grid that reaches 9 standard deviations beyond every code in steps of a
    quarter of the smallest one. The identity is therefore a check of the grid, not an assumption.

    Args:
        mean: (N, d) means of the codes q(z|x_n), with d = 1 or 2.
        std: (N, d), their **standard deviations**, positive.

    Returns:
        `ElboSurgery(average_kl, mutual_information, aggregate_kl)`, nats, float64. No gradients are
        kept.

    Raises:
        ValueError: d is not 1 or 2, the shapes differ, a number is not finite or a std not positive,
            or a code is so narrow that the grid would need more than 1e9 numbers.

    Book: chapter 4 (the aggregate posterior). Source: Hoffman and Johnson (2016).

    Example:
        >>> mean = torch.tensor([[-2.0], [2.0]])
        >>> parts = grid_elbo_surgery(mean, torch.full((2, 1), 0.1))
        >>> parts.mutual_information            # two codes that never overlap: ln 2
        tensor(0.6931, dtype=torch.float64)
        >>> parts.average_kl - parts.aggregate_kl
        tensor(0.6931, dtype=torch.float64)
    """
    _require.floating("mean", mean)
    _require.shape("mean", mean, (None, None), "(N, d) with d = 1 or 2")
    codes, latent = mean.shape
    if codes == 0 or latent not in (1, 2):
        raise ValueError(f"mean has shape {tuple(mean.shape)}; wanted (N, d) with N >= 1 and d = 1 or 2")
    _require.floating("std", std)
    _require.shape("std", std, (codes, latent), f"the shape of mean, {tuple(mean.shape)}")
    _require.finite("mean", mean)
    _require.finite("std", std)
    _require.positive("std", std)
    mean, std = mean.detach().to(torch.float64), std.detach().to(torch.float64)
    average_kl = kl_diagonal_gaussian(mean=mean, log_var=2.0 * std.log()).mean()

    axes = [_axis(mean[:, d], std[:, d]) for d in range(latent)]
    numbers = codes * math.prod(axis.shape[0] for axis in axes)
    if numbers > MOST_NUMBERS:
        raise ValueError(
            f"std holds {std.min().item():.6g}, too narrow for the spread of the codes: the grid would "
            f"need {numbers:.3g} numbers; wanted at most {MOST_NUMBERS:.0e}"
        )
    cell = math.prod((axis[1] - axis[0]).item() for axis in axes)
    # everything is a product over dimensions: one table of ln q(z_d|x_n) per dimension, (points, N)
    tables = [
        log_normal((axis.unsqueeze(-1) - mean[:, d]).square(), std[:, d].square())
        for d, axis in enumerate(axes)
    ]
    priors = [log_normal(axis.square(), 1.0) for axis in axes]  # (points,)
    if latent == 1:  # a second dimension in which nothing happens
        tables.append(torch.zeros_like(tables[0][:1]))
        priors.append(torch.zeros_like(priors[0][:1]))

    information = aggregate_kl = torch.zeros((), dtype=torch.float64, device=mean.device)
    rows = max(1, NUMBERS_AT_ONCE // (codes * tables[1].shape[0]))
    for table, prior in zip(tables[0].split(rows), priors[0].split(rows), strict=True):
        log_q = table.unsqueeze(1) + tables[1]  # (rows, points, N)
        log_p = prior.unsqueeze(1) + priors[1]  # (rows, points)
        log_aggregate = torch.logsumexp(log_q, -1) - math.log(codes)
        information = information + (log_q.exp() * (log_q - log_aggregate.unsqueeze(-1))).sum()
        aggregate_kl = aggregate_kl + (log_aggregate.exp() * (log_aggregate - log_p)).sum()
    return ElboSurgery(average_kl, information * cell / codes, aggregate_kl * cell)


def _axis(mean: Tensor, std: Tensor) -> Tensor:
    """Grid points of one dimension, (points,)."""
    low, high = (mean - REACH * std).min().item(), (mean + REACH * std).max().item()
    points = math.ceil((high - low) * STEPS_PER_STD / std.min().item()) + 1
    if points > MOST_NUMBERS:
        raise ValueError(
            f"std holds {std.min().item():.6g}, too narrow for the spread of the codes: the grid would "
            f"need {points:.3g} numbers; wanted at most {MOST_NUMBERS:.0e}"
        )
    return torch.linspace(low, high, points, dtype=torch.float64, device=mean.device)
