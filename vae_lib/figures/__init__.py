"""Figures in one hand: the same quantity has the same colour and line style in the whole book.

A chapter names the role of what it draws, never a colour, a font or a size, and says in words what
is seen:

>>> from vae_lib import figures
>>> fig, ax = figures.new()
>>> figures.hline(ax, -1.42, label="exact ln p(x)")
>>> figures.line(ax, [0, 1, 2], [-3.0, -2.0, -1.6], role="elbo", label="ELBO")
>>> figures.axis_labels(ax, x="step (updates of q)", y="value (nats)")
>>> figures.show(fig, alt="The ELBO climbs towards the exact ln p(x) and stays below it.")
The ELBO climbs towards the exact ln p(x) and stays below it.

==================  =============================================================================
you want            functions
==================  =============================================================================
a sheet             `new` makes it (`WIDTH` inches wide, or `HALF`), `show` shows it; `title`,
                    `axis_labels`
curves and points   `line`, `points`, `hline`, `vline`, `band`, `span`, `label`
other charts        `bars`, `contours`, `scatter_digits` (its colours are `DIGITS`)
pictures            `show_images`
a training run      `training_curve`, and `LiveCurve` while it goes on
drawings            `three_distributions`, `training_graph`, `training_graphs`,
                    `train_and_test_graph`, `loss_anatomy`, `dependency_map`
to go further       `ROLES` names every `Role`; `describe` and `render` are what `show` uses
==================  =============================================================================
"""

from vae_lib.figures.diagrams import (
    loss_anatomy,
    three_distributions,
    train_and_test_graph,
    training_graph,
    training_graphs,
)
from vae_lib.figures.emit import describe, render, show
from vae_lib.figures.images import show_images
from vae_lib.figures.live import LiveCurve, training_curve
from vae_lib.figures.maps import dependency_map
from vae_lib.figures.panels import (
    axis_labels,
    band,
    bars,
    contours,
    hline,
    label,
    line,
    points,
    scatter_digits,
    span,
    title,
    vline,
)
from vae_lib.figures.style import DIGITS, HALF, ROLES, WIDTH, Role, new

__all__ = [
    "DIGITS",
    "HALF",
    "ROLES",
    "WIDTH",
    "LiveCurve",
    "Role",
    "axis_labels",
    "band",
    "bars",
    "contours",
    "dependency_map",
    "describe",
    "hline",
    "label",
    "line",
    "loss_anatomy",
    "new",
    "points",
    "render",
    "scatter_digits",
    "show",
    "show_images",
    "span",
    "three_distributions",
    "title",
    "train_and_test_graph",
    "training_curve",
    "training_graph",
    "training_graphs",
    "vline",
]
