"""Four estimators of one slope: the figure of chapter 6."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from vae_lib.explorables._explorable import Explorable
from vae_lib.gradients import (
    pathwise,
    pathwise_analytic_kl,
    score_function,
    sticking_the_landing,
)
from vae_lib.laboratory import LinearGaussianModel

__all__ = ["gradient_clouds"]

M, V, X, S, ESTIMATES = 0.4, 0.3, 1.5, 0.5, 40  # where the figure starts


def gradient_clouds() -> Explorable:
    r"""The ELBO against the mean of q, and clouds of estimates of its slope by four estimators.

    .. math:: z \sim \mathcal{N}(0, 1), \qquad x \mid z \sim \mathcal{N}(z, \tfrac14), \qquad
              q = \mathcal{N}(m, v), \qquad \frac{\partial \mathcal{L}}{\partial m} = \frac{m^* - m}{v^*}

    The curve stays below the ink line, the exact ln p(x). Each stroke at the dot, and each dot of a
    row, is the mean of n estimates; all four estimators see the same noise. The variances are exact.
    Address: `#gradient-clouds:e=score|path|kl|stl,m=…,v=…,x=…,n=1|4|16|64`.

    Book: chapter 6 (how noisy are they?).

    >>> gradient_clouds().kind
    'gradient-clouds'
    """
    return Explorable(
        "gradient-clouds",
        "Four estimators agree on the slope, and not on how sure they are.",
        "The ELBO against the mean of q, an arch below the horizontal line "
        f"ln p(x) = {_evidence():.2f} nats. At the mean {M} a fan of strokes shows estimates of the slope. "
        "Below, four rows of estimates are centred on the exact slope, "
        f"{(X - M * (1 + S**2)) / S**2:.0f}; the row of the score function is by far the widest.",
        poster=_poster(),
    )


def _model() -> LinearGaussianModel:
    return LinearGaussianModel(
        torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), variance=S**2
    )


def _evidence() -> float:
    return _model().log_evidence(torch.tensor([[X]], dtype=torch.float64)).item()


@cache
def _poster() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    m_star, v_star = X / (1 + S**2), S**2 / (1 + S**2)

    def log_likelihood(z: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Normal(z, S).log_prob(torch.tensor(X)).sum(-1)

    def log_joint(z: torch.Tensor) -> torch.Tensor:
        return log_likelihood(z) + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)

    def slopes(estimator: Callable[..., Any], function: Callable[..., torch.Tensor]) -> list[float]:
        seed = torch.Generator().manual_seed(6)
        mean, log_var = torch.tensor([M]), torch.tensor([V]).log()
        found = estimator(function, mean=mean, log_var=log_var, n=ESTIMATES, generator=seed)
        return found.mean.squeeze(-1).tolist()

    found = [
        slopes(score_function, log_joint),
        slopes(pathwise, log_joint),
        slopes(pathwise_analytic_kl, log_likelihood),
        slopes(sticking_the_landing, log_joint),
    ]
    grid = np.linspace(-1.0, 3.0, 161)
    widths = 0.5 * (V / v_star - 1 - np.log(V / v_star))
    elbo = _evidence() - (grid - m_star) ** 2 / (2 * v_star) - widths
    here = float(np.interp(M, grid, elbo))
    fig, (hill, rows) = figures.new(2, height=6.2, height_ratios=[3, 2])
    figures.hline(hill, _evidence(), label=f"exact ln p(x) = {_evidence():.2f}".replace("-", "−"), at="left")
    figures.line(hill, grid[elbo > -9.5], elbo[elbo > -9.5], role="elbo", linestyle="solid")
    for slope in found[1]:
        reach = np.array([-0.35, 0.35]) / np.hypot(1, slope / 3)
        figures.line(hill, M + reach, here + slope * reach, role="reconstruction", linewidth=0.6)
    figures.points(hill, M, here, role="elbo", markersize=8)
    figures.axis_labels(hill, x="mean of q (prior standard deviations)", y="ELBO (nats)")
    kinds = ("score function", "pathwise", "analytic KL", "STL")
    roles = ("generative", "reconstruction", "rate", "inference")
    for row, (kind, role, values) in enumerate(zip(kinds, roles, found, strict=True)):
        figures.points(rows, values, np.full(ESTIMATES, 3.0 - row), role=role, markersize=5, alpha=0.6)
        figures.label(rows, -14.5, 3.25 - row, kind, role=role, align="left")
    figures.vline(rows, (m_star - M) / v_star, label="exact")
    rows.set_xlim(-15, 23)
    rows.set_ylim(-0.5, 3.9)
    rows.set_yticks([])
    figures.axis_labels(rows, x="estimates of the slope (nats per unit of z)")
    return _png(fig)
