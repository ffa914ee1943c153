"""The still pictures of the explorables: what a reader without scripts sees, and what print shows.

Each is drawn in the house style on white, so that it reads on a light and on a dark page.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vae_lib import figures
from vae_lib.explorables._pictures import png
from vae_lib.figures.style import PIXELS_PER_INCH, house_style

__all__ = ["bound_and_gap", "latent_atlas", "two_kls"]

Density = Callable[[np.ndarray], np.ndarray]


def _normal(mean: float, variance: float) -> Density:
    normal = torch.distributions.Normal(mean, math.sqrt(variance))
    return lambda x: normal.log_prob(torch.as_tensor(x)).exp().numpy()


def _png(fig: Figure) -> bytes:
    buffer = io.BytesIO()
    with house_style():
        fig.savefig(buffer, format="png", dpi=PIXELS_PER_INCH, facecolor="white")
    buffer.seek(0)
    return png(Image.open(buffer).convert("RGB"))


def _filled(ax: Axes, x: np.ndarray, y: np.ndarray, role: str) -> None:
    colour = figures.ROLES[role].colour
    ax.fill_between(x, y, where=y >= 0, color=colour, alpha=0.3, linewidth=0)
    ax.fill_between(x, y, where=y <= 0, facecolor="none", edgecolor=colour, hatch="////", linewidth=0)


@cache
def two_kls(m: float, s: float, a: float) -> bytes:
    """The densities p = ½N(−a, ¼) + ½N(a, ¼) and q = N(m, s²), and the integrands of both KLs."""
    x = np.linspace(-6, 6, 1201)
    p = 0.5 * _normal(a, 0.25)(x) + 0.5 * _normal(-a, 0.25)(x)
    q = _normal(m, s * s)(x)
    fig, axes = figures.new(3, 1, height=5.0, sharex=True)
    figures.line(axes[0], x, p, role="generative", label="p", at=-a)
    figures.line(axes[0], x, q, role="inference", label="q", at=m)
    axes[0].set_ylim(0, 1.25 * max(p.max(), q.max()))
    integrands = {"KL(q‖p): q ln(q/p)": q * np.log(q / p), "KL(p‖q): p ln(p/q)": p * np.log(p / q)}
    for ax, (text, integrand) in zip(axes[1:], integrands.items(), strict=True):
        _filled(ax, x, integrand, "gap")
        figures.line(ax, x, integrand, role="gap", linestyle="solid")
        figures.title(ax, f"{text}, area {np.trapezoid(integrand, x):.2f} nats")
    figures.axis_labels(axes[0], y="density (per x)")
    for ax in axes[1:]:
        figures.axis_labels(ax, y="nats (per x)")
    figures.axis_labels(axes[2], x="x (standard units)")
    return _png(fig)


@cache
def bound_and_gap(*, evidence: float, elbo: float, others: tuple[float, float, int] | None) -> bytes:
    """The ELBO with its gap against the line of ln p(x); beside it `others`, IWAE bound, EUBO and K."""
    fig, ax = figures.new(height=3.0)
    floor = elbo - 1.2 * (evidence - elbo)
    highest = evidence if others is None else max(others[1], evidence)
    ceiling = highest + 0.5 * (evidence - elbo)
    names = ["ELBO + gap"]
    roles = {name: figures.ROLES[name].colour for name in ("elbo", "gap", "evidence")}
    with house_style():
        ax.bar(0, elbo - floor, bottom=floor, color=roles["elbo"], width=0.62)
        ax.bar(0, evidence - elbo, bottom=elbo, color=roles["gap"], width=0.62)
        if others is not None:
            iwae, eubo, samples = others
            names += [f"IWAE, K = {samples}", "EUBO"]
            ax.bar(1, iwae - floor, bottom=floor, color=roles["elbo"], alpha=0.35, width=0.62)
            ax.bar(2, ceiling - eubo, bottom=eubo, color=roles["evidence"], alpha=0.25, width=0.62)
        ax.set_xticks(range(len(names)), names)
        ax.set_xlim(-0.75, len(names) - 0.25)
        ax.tick_params(axis="x", length=0)
        on_the_bars = {
            f"gap {evidence - elbo:.2f}": (elbo + evidence) / 2,
            f"ELBO {elbo:.2f}".replace("-", "−"): (floor + elbo) / 2,
        }
        for text, at in on_the_bars.items():
            ax.text(0, at, text, color="white", ha="center", va="center", size=9)
    ax.set_ylim(floor, ceiling)
    figures.hline(ax, evidence, label=f"exact ln p(x) = {evidence:.2f}".replace("-", "−"))
    figures.axis_labels(ax, y="log-probability (nats)")
    return _png(fig)


def latent_atlas(
    mosaic: np.ndarray, extent: float, codes: np.ndarray | None, labels: np.ndarray | None
) -> bytes:
    """What the decoder makes of a grid of codes; beside it, where the encoder puts the data."""
    fig, axes = figures.new(1, 1 if codes is None else 2, height=4.6 if codes is None else 2.7, squeeze=False)
    left, *others = axes[0]
    with house_style():
        left.imshow(
            mosaic, cmap="gray", vmin=0, vmax=1, extent=(-extent, extent) * 2, interpolation="nearest"
        )
    figures.title(left, "decoded")
    for ax in others:
        assert codes is not None  # without codes there is no second panel
        if labels is None:
            figures.points(ax, codes[:, 0], codes[:, 1])
        else:
            figures.scatter_digits(ax, codes, labels, size=4.5)
        ax.set_xlim(-extent, extent)
        ax.set_ylim(-extent, extent)
        ax.set_aspect("equal")
        figures.title(ax, "encoded")
    for ax in axes[0]:
        figures.axis_labels(ax, x="$z_1$ (prior deviations)")
    figures.axis_labels(left, y="$z_2$ (prior deviations)")
    return _png(fig)
