"""The linear VAE, solved: its landscape, the rotation of its latents, and the losses that are wrong."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch

from vae_lib.explorables._explorable import Explorable
from vae_lib.laboratory import BugZoo, LinearGaussianModel

__all__ = ["bug_switchboard", "collapse_landscape", "rotate_columns"]

EIGENVALUE, VARIANCE = 4.0, 0.25  # where the landscape and the switchboard start
ANGLE, LENGTHS, NOISE = 30, (4.0, 0.6), 0.3  # where the rotation starts


def collapse_landscape() -> Explorable:
    r"""The ELBO of one direction over (w, v), and the climb from wherever the reader starts.

    .. math:: -\tfrac12 \ln 2\pi\sigma^2 - \frac{(1 - w v)^2 \lambda + w^2 d}{2 \sigma^2}
              \qquad - \tfrac{\beta}{2} (v^2 \lambda + d - 1 - \ln d), \qquad
              d = \frac{\beta \sigma^2}{w^2 + \beta \sigma^2}

    The middle, w = v = 0, is a saddle where lambda exceeds beta sigma², else the summit. The ELBO along
    the climb never crosses the best exact ln p(x).
    Address: `#collapse-landscape:w=…,v=…,lam=…,s2=…,beta=…`.

    Book: chapter 7 (collapse as a saddle).

    >>> collapse_landscape().kind
    'collapse-landscape'
    """
    return Explorable(
        "collapse-landscape",
        "Collapse is a saddle that training leaves, or the summit itself.",
        "Contour lines over the decoder's weight w and the encoder's weight v. Two summits lie at w = 1.94, "
        "v = 0.48 and at the opposite point, with a saddle between them in the middle. A path starts near "
        "the saddle and ends at a summit.",
        poster=_landscape(),
    )


def rotate_columns() -> Explorable:
    r"""The posterior of two latents and the best independent q, while the columns of W are turned.

    .. math:: \ln p(x) - \mathcal{L}(x) = \tfrac12 \Big( \sum_j \ln M_{jj} - \ln \det M \Big), \qquad
              M = R^\top \operatorname{diag}(\lambda_1, \lambda_2) R

    The exact ln p(x) does not move; the ELBO touches it where the latents are the principal axes.
    Address: `#rotate-columns:a=…,l1=…,l2=…,s2=…`, with the angle a in degrees.

    Book: chapter 7 (why principal axes).

    >>> rotate_columns().kind
    'rotate-columns'
    """
    return Explorable(
        "rotate-columns",
        "Rotating the latents leaves ln p(x) alone and moves the gap.",
        "The plane of two latents with a slanted ellipse, the posterior, and a smaller upright one inside of "
        "it, the best independent q. They have the same centre.",
        poster=_rotation(),
    )


def bug_switchboard() -> Explorable:
    r"""Where training with a wrong loss ends, what it prints, and what is true.

    The losses are those of `vae_lib.laboratory.BugZoo`, with the three that have no optimum. A printed
    number above the line, the best exact ln p(x) of any decoder, changes colour.
    Address: `#bug-switchboard:bug=…,lam=…,s2=…,n=…`, with the bug named as in `BugZoo`.

    Book: chapter 7 (the bug switchboard).

    >>> bug_switchboard().kind
    'bug-switchboard'
    """
    best = BugZoo(EIGENVALUE, VARIANCE).best_log_evidence()
    return Explorable(
        "bug-switchboard",
        "Every bug has a fingerprint, and some print a bound that no model can reach.",
        "What eight programs print against a line at the best exact ln p(x), "
        f"{best:.2f} nats. The correct one ends at the line, five end above it, two below.",
        poster=_switchboard(),
    )


@cache
def _landscape() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    weights, codes = np.linspace(-3, 3, 121), np.linspace(-1.5, 1.5, 121)
    w, v = np.meshgrid(weights, codes)
    gain = (1 - w * v) ** 2 * EIGENVALUE / VARIANCE + v**2 * EIGENVALUE + np.log1p(w**2 / VARIANCE)
    fig, ax = figures.new(height=3.2)
    with figures.style.house_style():
        levels = -0.5 * np.array([50, 24, 12, 6, 3, 1.4, 0.6, 0.2])
        top = math.sqrt(EIGENVALUE - VARIANCE)
        height = -0.5 * (gain - gain.min())
        ax.contour(w, v, height, levels=levels, colors="grey", linestyles="solid", linewidths=0.8)
    point, path = np.array([0.15, -0.05]), []
    for _ in range(4000):
        path.append(point)
        pull = (1 - point[0] * point[1]) * EIGENVALUE / VARIANCE
        rise = [
            pull * point[1] - point[0] / (point[0] ** 2 + VARIANCE),
            pull * point[0] - EIGENVALUE * point[1],
        ]
        point = point + 0.002 * np.array(rise)
    figures.line(ax, *np.array(path).T, role="elbo")
    figures.points(ax, *path[0], role="elbo", marker="o", markersize=8)
    for sign in (1, -1):
        figures.points(ax, sign * top, sign * top / EIGENVALUE, role="evidence", marker="+", markersize=10)
    figures.label(ax, 0.05, -0.28, "saddle", align="left")
    figures.label(ax, top, top / EIGENVALUE + 0.2, "summit")
    figures.axis_labels(ax, x="w (weight of the decoder)", y="v (weight of the encoder)")
    return _png(fig)


@cache
def _rotation() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    angle = math.radians(ANGLE)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    lengths = torch.tensor(LENGTHS)
    model = LinearGaussianModel((lengths - NOISE).sqrt().diag() @ turn, torch.zeros(2), NOISE)
    x = (lengths.sqrt() * torch.tensor([1.0, -1.0]))[None]
    posterior = model.posterior(x)
    _, variance = model.best_encoder()
    circle = torch.linspace(0, 2 * math.pi, 181)
    round_about = torch.stack([circle.cos(), circle.sin()], -1)  # (points, latent)
    fig, ax = figures.new(height=3.2)
    for size in (1, 2):
        true = posterior.mean + size * round_about @ torch.linalg.cholesky(posterior.covariance_matrix[0]).T
        upright = posterior.mean + size * round_about * variance.sqrt()
        figures.line(ax, *true.T, role="generative")
        figures.line(ax, *upright.T, role="inference", linestyle="dashed")
    figures.label(ax, -2.5, 2.0, "posterior p(z|x)", role="generative", align="left")
    figures.label(ax, -2.5, 1.6, "best independent q", role="inference", align="left")
    ax.set_aspect("equal")
    ax.set_xlim(-2.7, 2.7)
    ax.set_ylim(-2.3, 2.3)
    axis = "(prior deviations)"
    figures.axis_labels(ax, x=f"$z_1$ {axis}", y=f"$z_2$ {axis}")
    return _png(fig)


@cache
def _switchboard() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    zoo = BugZoo(EIGENVALUE, VARIANCE)
    best = zoo.best_log_evidence()
    rows = [row for row in zoo.table() if row.name != "reconstruction_averaged"]
    fig, ax = figures.new(height=3.4)
    for place, row in enumerate(reversed(rows)):
        role = "gap" if row.reported > best + 1e-9 else "elbo"
        left = row.reported > -1.2 or row.name == "missing_half"
        figures.points(ax, row.reported, place, role=role, markersize=7)
        figures.label(
            ax,
            row.reported,
            place,
            row.name.replace("_", " "),
            role=role,
            dx=-7 if left else 7,
            align="right" if left else "left",
        )
    figures.vline(ax, best)
    figures.label(ax, best, 7.9, "best exact ln p(x)", dx=-4, align="right")
    ax.set_xlim(-4.1, 0.2)
    ax.set_ylim(-0.6, 8.4)
    ax.set_yticks([])
    figures.axis_labels(ax, x="mean ELBO as printed (nats)")
    return _png(fig)
