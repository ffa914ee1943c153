"""The curve of a training run, once it is over and while it goes on."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from matplotlib.figure import Figure

from vae_lib.figures.emit import _building, _live_style, describe, render
from vae_lib.figures.panels import axis_labels, line
from vae_lib.figures.style import new
from vae_lib.training import History

__all__ = ["LiveCurve", "training_curve"]


def training_curve(history: History) -> Figure:
    """What a run of `fit` reported: the ELBO above, the rate below, one point per epoch.

    The training ELBO is an average over the epoch, while the parameters change; the validation ELBO
    is taken at the end of it. A rate that falls to zero is a posterior that has collapsed.

    Args:
        history: of a model that has an ELBO, with at least one epoch.

    Raises:
        ValueError: the history is empty, or the model has no ELBO (an `AutoEncoder`).

    Book: chapter 8 (a VAE on real digits).

    Example:
        >>> from vae_lib.training import TrainConfig
        >>> history = History(TrainConfig(epochs=2), [-30.0, -25.0], [-28.0, -22.0], [2.0, 3.0])
        >>> training_curve(history).get_size_inches().tolist()
        [4.2, 4.0]
    """
    if len(history) == 0 or math.isnan(history.elbo[-1]):
        raise ValueError("history holds no ELBO: it has no epoch yet, or the model has no bound")
    epochs = list(range(1, len(history) + 1))
    marks: dict[str, Any] = {"marker": "o"} if len(history) == 1 else {}
    fig, (above, below) = new(2, height=4.0, height_ratios=[3, 2], sharex=True)
    curves = [(above, "elbo", "ELBO", history.elbo, history.validation_elbo)]
    curves += [(below, "rate", "rate", history.rate, history.validation_rate)]
    for ax, role, name, training, validation in curves:
        plain: dict[str, Any] = {"linewidth": 1.0, "alpha": 0.7, "linestyle": "solid"} if validation else {}
        line(ax, epochs, training, role=role, label="training", **plain, **marks)
        if validation:
            line(ax, epochs, validation, role=role, label="validation", **marks)
        axis_labels(ax, y=f"{name} (nats per image)")
    axis_labels(below, x="epoch (passes over the training data)")
    passes = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    ends = f"After {passes} the training ELBO is {history.elbo[-1]:.2f} nats per image"
    if history.validation_elbo:
        ends += f", the validation ELBO {history.validation_elbo[-1]:.2f}"
    return describe(
        fig,
        f"Training curves against the epoch: the ELBO above, the rate below. {ends}; the rate, "
        f"which started at {history.rate[0]:.2f}, is {history.rate[-1]:.2f}.",
    )


class LiveCurve:
    """A callback for `fit` that draws `training_curve` anew while the model trains.

    In a live notebook the picture below the cell is replaced now and then, and at the last epoch. Between
    two pictures at least `seconds` pass, and five times what the last one took, so that drawing does not
    hold up the training. While the book is built, and outside notebooks, it draws nothing.

    Args:
        seconds: the shortest time between two pictures; 0 draws every epoch, whatever it takes.

    Book: chapter 8 (a VAE on real digits).

    Example:
        >>> from vae_lib.training import TrainConfig
        >>> curve = LiveCurve()
        >>> curve(History(TrainConfig(epochs=2), [-30.0], [-28.0], [2.0]))  # nothing outside a notebook
    """

    def __init__(self, seconds: float | int = 1.0) -> None:
        self.seconds = seconds
        self._handle: Any = None
        self._epochs = 0
        self._drawn = -math.inf
        self._cost = 0.0

    def __call__(self, history: History) -> None:
        """Draw the epochs so far, if it is time to."""
        ipython = sys.modules.get("IPython")
        if _building() or ipython is None or ipython.get_ipython() is None:
            return
        if len(history) <= self._epochs:  # the same object, called by another run of `fit`
            self._handle, self._drawn = None, -math.inf
        self._epochs = len(history)
        now = time.monotonic()
        pause = max(self.seconds, 5 * self._cost) if self.seconds else 0.0
        if now - self._drawn < pause and self._epochs < history.config.epochs:
            return
        from IPython.display import HTML, display

        picture = HTML(_live_style() + f'<div class="vae-plot">{render(training_curve(history))}</div>')
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
        self._drawn = time.monotonic()
        self._cost = self._drawn - now
