"""The house style: one colour, one line style and one marker for each quantity of the book.

A role is a quantity, not a colour. `evidence` is ln p(x), `elbo` the bound, and so on; the same
role looks the same in every figure. On the page a role's colour is the CSS variable `--vae-<role>`
of `book/_static/vae.css`, so one picture serves light and dark pages. The hexadecimal values here
are the ones of that file; a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

__all__ = ["DIGITS", "HALF", "INK", "ROLES", "WIDTH", "Role", "new"]

WIDTH = 4.2  # inches; text of 9.5 points is 11 px high when the figure is 350 px wide
HALF = 3.4  # inches; two such figures stand side by side on a wide page, one above the other on a phone
PIXELS_PER_INCH = 120  # widest display: WIDTH becomes 504 px, where text is as large as the page's
SMALL, MEDIUM = 9.5, 10.0  # points

INK = "#0a0b0c"  # stands for the colour of the page's text


@dataclass(frozen=True)
class Role:
    """How one quantity of the book is drawn.

    `light` and `dark` are its colours on the two pages; `dashes` and `marker` are the second cue,
    for readers who cannot tell the colours apart.

    Book: chapter 0 (one colour for each quantity).

    Example:
        >>> ROLES["elbo"].variable
        '--vae-elbo'
    """

    name: str
    meaning: str
    light: str
    dark: str
    dashes: str | tuple[int, tuple[float, ...]]
    marker: str
    width: float = 1.8

    @property
    def variable(self) -> str:
        """Name of the CSS variable that holds the colour.

        Example:
            >>> ROLES["rate"].variable
            '--vae-rate'
        """
        return f"--vae-{self.name}"

    @property
    def colour(self) -> str:
        """The colour that matplotlib draws with; on the page stands the variable in its place.

        Example:
            >>> ROLES["rate"].colour == ROLES["rate"].light
            True
        """
        return INK if self.name == "evidence" else self.light


ROLES = {
    role.name: role
    for role in (
        Role("evidence", "ln p(x), exact", "#222832", "#ced6dd", "solid", "_", 1.6),
        Role("elbo", "ELBO", "#2a6cc0", "#7aa0ff", (0, (8.0, 1.2)), "o", 2.0),
        Role("gap", "KL(q‖p(z|x))", "#a36500", "#ffa02e", (0, (1.0, 1.2)), "^"),
        Role("rate", "KL(q‖p(z))", "#5c2d99", "#a469fb", (0, (5.0, 1.5, 1.0, 1.5)), "s"),
        Role("reconstruction", "E ln p(x|z)", "#0f6126", "#9ee973", (0, (4.0, 1.5)), "D"),
        Role("generative", "model p, θ", "#b5120a", "#e8623a", "solid", "v"),
        Role("inference", "encoder q, φ", "#005b68", "#6cc3ca", (0, (2.5, 1.2)), "P"),
        Role("data", "data", "#6b6f76", "#8b929c", (0, (1.0, 2.5)), "."),
    )
}

DIGITS = (  # (light, dark) of the ten digits; the digit itself is the marker
    ("#5c2d99", "#b48bff"),
    ("#b5120a", "#ff7b5e"),
    ("#2a6cc0", "#7aa0ff"),
    ("#0f6126", "#9ee973"),
    ("#a36500", "#ffb54a"),
    ("#005b68", "#6cc3ca"),
    ("#bd1974", "#ff8ac8"),
    ("#60646b", "#a7afb9"),
    ("#704a2b", "#cfa57c"),
    ("#636600", "#d6d75a"),
)

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.labelsize": MEDIUM,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=[INK]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": MEDIUM,
    "axes.titleweight": "bold",
    "figure.edgecolor": "none",
    "figure.facecolor": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": MEDIUM,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "grid.linewidth": 0.8,
    "hatch.color": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "mathtext.fontset": "dejavusans",
    "patch.edgecolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "vae_lib",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.color": INK,
    "ytick.labelsize": SMALL,
}


@contextmanager
def house_style() -> Iterator[None]:
    """The house style for the length of a `with` block; the reader's own settings come back."""
    with matplotlib.rc_context():
        dict.update(matplotlib.rcParams, _settings())
        yield


@cache
def _settings() -> dict[Any, Any]:
    """Every setting but the backend, checked once: matplotlib's defaults with `STYLE` on top."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(matplotlib.rcParamsDefault)
        matplotlib.rcParams.update(STYLE)
        settings = dict(matplotlib.rcParams.copy())
    return {key: value for key, value in settings.items() if key != "backend"}


def role_named(name: str) -> Role:
    """The role of this name.

    Raises:
        ValueError: there is no such role; the message lists those there are.

    Example:
        >>> role_named("rate").meaning
        'KL(q‖p(z))'
    """
    if name not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}; got {name!r}")
    return ROLES[name]


def new(
    rows: int = 1,
    columns: int = 1,
    *,
    height: float | int | None = None,
    width: float | int = WIDTH,
    **subplots: Any,
) -> tuple[Figure, Any]:  # one Axes, or an array of them
    """A figure in the house style, and its axes.

    Args:
        rows, columns: grid of panels. On a phone the whole figure is 350 px wide, so prefer rows,
            or two figures of `width=figures.HALF` that `show` sets side by side.
        height: inches; 2.6 for each row if left out.
        width: inches; `figures.WIDTH` is the width for which text sizes were chosen.
        **subplots: passed on to `Figure.subplots` (`sharex`, `width_ratios`, …).

    Returns:
        The figure, and one `Axes` or an array of them as from `plt.subplots`. The figure does not
        belong to pyplot: only `figures.show` shows it. Global matplotlib settings stay as they are.

    Raises:
        ValueError: no panel, or a size that is not positive.

    Book: every chapter.

    Example:
        >>> fig, ax = new()
        >>> [float(side) for side in fig.get_size_inches()]
        [4.2, 2.6]
    """
    if rows < 1 or columns < 1:
        raise ValueError(f"rows and columns must be at least 1, got {rows} and {columns}")
    height = 2.6 * rows if height is None else height
    if not (width > 0 and height > 0):
        raise ValueError(f"width and height must be positive, got {width} and {height}")
    with house_style():
        fig = Figure(figsize=(width, height), layout="constrained")
        axes = fig.subplots(rows, columns, **subplots)
    return fig, axes
