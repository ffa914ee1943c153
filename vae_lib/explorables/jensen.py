"""Jensen's inequality as a chord: the figure of chapter 3 that is not about a model yet."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from vae_lib.explorables._explorable import Explorable

__all__ = ["jensen_chord"]

VALUES, CHANCES = (1.0, 4.0), (0.5, 0.5)  # where the figure starts: the counter-example to the note's line 47


def jensen_chord() -> Explorable:
    r"""A curve, up to three values of X on it, and the two orders of average and function.

    .. math:: f(\mathbb{E} X) - \mathbb{E} f(X), \qquad f(t) = \ln t, \; \sqrt t, \; t/2, \; t^2/6

    The mean point lies on a chord. For a concave curve it stays below the ink line f(E X), for a
    convex one above. If f is the logarithm and X an importance weight, the line is the exact ln p(x) and
    the point the ELBO.
    Address: `#jensen-chord:f=log|sqrt|line|square,x1=…,x2=…,x3=…,q1=…,q2=…,q3=…`.

    Book: chapter 3 (Jensen's inequality).

    >>> jensen_chord().kind
    'jensen-chord'
    """
    return Explorable(
        "jensen-chord",
        "The mean of a concave function stays below the function of the mean.",
        "The curve ln t with two points on it, at 1 and at 4, and the straight chord between them. "
        f"Half-way, at 2.5, the chord is at {_mean_of_log():.3f} and the curve at {math.log(2.5):.3f}: a "
        "horizontal line through the curve there lies above the chord.",
        poster=_poster(),
    )


def _mean_of_log() -> float:
    return sum(chance * math.log(value) for value, chance in zip(VALUES, CHANCES, strict=True))


@cache
def _poster() -> bytes:
    from vae_lib import figures
    from vae_lib.explorables._posters import _png

    t = np.linspace(0.05, 6.0, 240)
    mean = sum(chance * value for value, chance in zip(VALUES, CHANCES, strict=True))
    fig, ax = figures.new(height=3.0)
    figures.hline(ax, math.log(mean), label=f"ln E X = {math.log(mean):.3f}")
    figures.line(ax, t, np.log(t), role="data", linestyle="solid", label="ln t", at=0.5, side="right")
    figures.line(ax, VALUES, np.log(VALUES), role="elbo")
    figures.points(ax, VALUES, np.log(VALUES), role="evidence", marker="o", markersize=8)
    figures.points(ax, mean, _mean_of_log(), role="elbo", marker="s", markersize=7)
    words = f"E ln X = {_mean_of_log():.3f}"
    figures.label(ax, mean + 0.12, _mean_of_log() - 0.28, words, role="elbo", align="left")
    figures.span(ax, mean, _mean_of_log(), math.log(mean), role="gap")
    ax.set_ylim(-3.4, 2.3)
    figures.axis_labels(ax, x="t (values of X)", y="ln t (nats)")
    return _png(fig)
