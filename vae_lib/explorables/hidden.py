"""Hidden causes: noise that is bent into a ring, and p(x) estimated with draws from the prior."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch

from vae_lib.bounds import log_mean_exp
from vae_lib.explorables._explorable import Explorable
from vae_lib.laboratory import Ring, samples_needed
from vae_lib.laboratory._gaussian import log_normal

__all__ = ["monte_carlo_wall", "noise_to_ring"]

D, S, N, REPEATS = 5, 0.5, 100, 60  # where the figure of the wall starts


def noise_to_ring() -> Explorable:
    r"""A cloud of noise that is bent into a ring, with its exact density and the exact E ln p.

    .. math:: x_t = (1 - t) z + t \, g(z), \qquad g(z) = \frac{z}{10} + \frac{z}{\|z\|}, \qquad z \sim N(0, I)

    The ink line is minus the entropy of the points: no model of them has a larger average ln p. The
    dashes below it are the best single Gaussian.
    Address: `#noise-to-ring:t=…,n=…,x=…,y=…`, with the probe at (x, y).

    Book: chapter 1 (the ring).

    >>> noise_to_ring().kind
    'noise-to-ring'
    """
    ceiling = -Ring().entropy.item()
    return Explorable(
        "noise-to-ring",
        "One fixed map bends a cloud of noise into a ring, and the best average ln p is known.",
        "Five hundred points on a ring of radius 1.1 around an empty disc. Beside it the mean of ln p over "
        f"the points settles on a horizontal line at {ceiling:.5f} nats, its exact value.",
        poster=_ring_poster(),
    )


def monte_carlo_wall() -> Explorable:
    r"""Estimates of ln p(x) from draws of the prior, against the exact value.

    .. math:: z \sim N(0, I_d), \qquad x \mid z \sim N(z, s^2 I), \qquad x_j^2 = 1 + s^2, \qquad
              \hat p(x) = \frac1n \sum_i p(x \mid z_i)

    Each dot is one estimate. The relative variance is (rho^d - 1)/n, so the draws that are needed grow
    like a power of d.
    Address: `#monte-carlo-wall:d=…,s=…,n=…`.

    Book: chapter 1 (the Monte-Carlo wall).

    >>> monte_carlo_wall().kind
    'monte-carlo-wall'
    """
    return Explorable(
        "monte-carlo-wall",
        "The more dimensions, the more draws an estimate of p(x) needs.",
        f"Sixty estimates of ln p(x) in {D} dimensions, from {N} draws each, scattered around the horizontal "
        f"line of the exact value, {_log_evidence():.2f} nats; most lie below it. A relative error of "
        f"10 per cent needs {samples_needed(D, S, 0.1):,.0f} draws.",
        poster=_wall_poster(),
    )


def _log_evidence() -> float:
    typical = torch.tensor(D * (1 + S**2), dtype=torch.float64)  # of the squared length of x
    return log_normal(typical, 1 + S**2, D).item()


@cache
def _ring_poster() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    ring = Ring()
    x = ring.sample(500, torch.Generator().manual_seed(1))
    mean = ring.log_prob(x).cumsum(0) / torch.arange(1, 501)
    fig, (plane, means) = figures.new(2, height=6.4, height_ratios=[3, 2])
    figures.points(plane, x[:, 0], x[:, 1], role="data", markersize=3)
    plane.set_aspect("equal")
    figures.axis_labels(plane, x="x₁ (units of the data)", y="x₂ (units of the data)")
    figures.hline(means, -ring.entropy.item(), label="exact E ln p")
    figures.line(means, np.arange(10, 501), mean[9:], role="data", linestyle="solid")
    means.set_ylim(-1.5, 0.0)
    figures.axis_labels(means, x="points (how many)", y="mean of ln p (nats)")
    return _png(fig)


@cache
def _wall_poster() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    generator = torch.Generator().manual_seed(1)
    z = torch.randn(REPEATS, N, D, generator=generator, dtype=torch.float64)
    square = (z - math.sqrt(1 + S**2)).square().sum(-1)
    estimate = log_mean_exp(log_normal(square, S**2, D), dim=1)
    fig, ax = figures.new(height=3.2)
    figures.points(ax, np.arange(1, REPEATS + 1), estimate, role="generative", markersize=5)
    figures.hline(ax, _log_evidence(), label="exact ln p(x)", at="left")
    figures.axis_labels(ax, x="estimates (one dot for each)", y="ln p (nats)")
    return _png(fig)
