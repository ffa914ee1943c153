"""What a panel is made of: lines, bands, points and bars of a role, with the label on the mark.

Every helper takes floats, lists, NumPy arrays or tensors, and a `role` of `style.ROLES`. There are
no legends: a label is written where the mark is, in the colour of the mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from vae_lib._arrays import float64
from vae_lib.figures.style import DIGITS, MEDIUM, SMALL, house_style, role_named

__all__ = [
    "axis_labels",
    "band",
    "bars",
    "contours",
    "hline",
    "label",
    "line",
    "points",
    "scatter_digits",
    "span",
    "title",
    "vline",
]

NAMES = "vae-names"  # gid of an axis whose ticks are names and need no unit
DIGIT = "vae-digit"  # gid of the marks of `scatter_digits`
END_LABEL = "vae-end-label"  # labels with this gid are moved apart when the figure is shown


def line(
    ax: Axes,
    x: Any,
    y: Any,
    *,
    role: str,
    label: str | None = None,
    at: float | int | None = None,
    side: str = "above",
    **style: Any,
) -> None:
    """Draw a curve in the colour and line style of its role, and write its label on it.

    Args:
        x, y: the curve, two arrays of shape (n,).
        role: a role of `ROLES`.
        label: written at the right end of the curve, or at `at`.
        at: the x at which the label stands; the curve must be sorted by x then.
        side: of the curve ("above", "below", "left" or "right"), for a label placed with `at`.
        **style: passed on to `Axes.plot` (`alpha`, `linewidth`, `marker`, `markevery`, …).

    Raises:
        ValueError: unknown role, arrays that are not (n,) twice, or `at` outside the curve.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> line(ax, [0, 1, 2], [-3.0, -2.0, -1.5], role="elbo", label="ELBO")
        >>> ax.texts[0].get_text()
        'ELBO'
    """
    xs, ys = float64(x), float64(y)
    if xs.ndim != 1 or xs.shape != ys.shape or xs.size == 0:
        raise ValueError(f"x and y must be (n,) twice, got {xs.shape} and {ys.shape}")
    kind = role_named(role)
    look = {"color": kind.colour, "linestyle": kind.dashes, "linewidth": kind.width} | style
    with house_style():
        ax.plot(xs, ys, **look)
    if label is None:
        return
    if at is None:
        seen = np.flatnonzero(np.isfinite(ys))
        if seen.size == 0:
            raise ValueError("a curve without a finite value cannot carry a label")
        _write(ax, label, (xs[seen[-1]], ys[seen[-1]]), (4, 0), kind.colour, "left", gid=END_LABEL)
    else:
        if not xs.min() <= at <= xs.max():
            raise ValueError(f"at must lie on the curve, {xs.min()} to {xs.max()}; got {at}")
        place = (at, np.interp(at, xs, ys))
        if side in ("left", "right"):
            dx, align = (-6, "right") if side == "left" else (6, "left")
            _write(ax, label, place, (dx, 0), kind.colour, align)
        else:
            offset, vertical = _side(side)
            _write(ax, label, place, (0, offset), kind.colour, "center", vertical)


def hline(
    ax: Axes,
    y: Any,
    *,
    role: str = "evidence",
    label: str | None = None,
    at: str = "right",
    side: str = "above",
    **style: Any,
) -> None:
    """Draw a horizontal line across the whole panel: the exact value that a bound may not cross.

    Args:
        y: one number.
        label: written on the line.
        at: "left", "center" or "right" end of the panel.
        side: "above" or "below" the line.
        **style: passed on to `Axes.axhline`.

    Raises:
        ValueError: unknown role or place, or a `y` that is not one finite number.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> hline(ax, -1.42, label="exact ln p(x)")
    """
    value = scalar("y", y)
    kind = role_named(role)
    with house_style():
        look = {"color": kind.colour, "linestyle": kind.dashes, "linewidth": kind.width} | style
        ax.axhline(value, **look)
    if label is not None:
        places = {"left": (0.0, 3, "left"), "center": (0.5, 0, "center"), "right": (1.0, -3, "right")}
        if at not in places:
            raise ValueError(f'at must be "left", "center" or "right", got {at!r}')
        across, dx, align = places[at]
        offset, vertical = _side(side)
        _write(
            ax,
            label,
            (across, value),
            (dx, offset - 1 if offset > 0 else offset + 1),
            kind.colour,
            align,
            vertical,
            coordinates=ax.get_yaxis_transform(),
        )


def vline(ax: Axes, x: Any, *, role: str = "evidence", label: str | None = None, **style: Any) -> None:
    """Draw a vertical line across the whole panel, its label beside the upper end.

    Raises:
        ValueError: unknown role, or an `x` that is not one finite number.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> vline(ax, 0.5, role="data", label="x")
    """
    value = scalar("x", x)
    kind = role_named(role)
    with house_style():
        look = {"color": kind.colour, "linestyle": kind.dashes, "linewidth": kind.width} | style
        ax.axvline(value, **look)
    if label is not None:
        place = ax.get_xaxis_transform()
        _write(ax, label, (value, 1.0), (4, -2), kind.colour, "left", "top", coordinates=place)


def band(
    ax: Axes,
    x: Any,
    low: Any,
    high: Any,
    *,
    role: str,
    label: str | None = None,
    at: float | int | None = None,
) -> None:
    """Shade the region between two curves: a gap, or a Monte-Carlo error.

    Args:
        x, low, high: three arrays of shape (n,), or numbers for `low` and `high`.
        label: written in the middle of the region at `at` (its widest place if left out).

    Raises:
        ValueError: unknown role, shapes that do not agree, or `at` outside x.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> band(ax, [0, 1], [0, 0], [1, 2], role="gap", label="gap")
    """
    xs = float64(x)
    lows, highs = (np.broadcast_to(float64(v), xs.shape) for v in (low, high))
    if xs.ndim != 1 or xs.size == 0:
        raise ValueError(f"x must be (n,), got {xs.shape}")
    kind = role_named(role)
    with house_style():
        ax.fill_between(xs, lows, highs, color=kind.colour, alpha=0.18, linewidth=0)
    if label is not None:
        if at is None:
            at = float(xs[np.argmax(highs - lows)])
        if not xs.min() <= at <= xs.max():
            raise ValueError(f"at must lie in x, {xs.min()} to {xs.max()}; got {at}")
        middle = np.interp(at, xs, (lows + highs) / 2)
        align = "left" if at == xs.min() else "right" if at == xs.max() else "center"
        dx = {"left": 4, "right": -4, "center": 0}[align]
        _write(ax, label, (at, middle), (dx, 0), kind.colour, align)


def span(
    ax: Axes,
    at: Any,
    low: Any,
    high: Any,
    *,
    role: str = "gap",
    label: str | None = None,
    horizontal: bool = False,
) -> None:
    """Draw a double arrow from `low` to `high`: the size of a gap.

    Args:
        at: the x of the arrow (its y when `horizontal`).
        low, high: its two ends.
        label: written beside it.

    Raises:
        ValueError: unknown role, or a value that is not one finite number.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> span(ax, 1.0, -2.0, -1.4, label="gap 0.6")
    """
    place = scalar("at", at)
    ends = (scalar("low", low), scalar("high", high))
    kind = role_named(role)
    (a, b) = (((e, place) if horizontal else (place, e)) for e in ends)
    with house_style():
        ax.plot(*zip(a, b, strict=True), linestyle="none", marker="none")
        arrow = {
            "arrowstyle": "<->",
            "color": kind.colour,
            "linewidth": 1.4,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 8,
        }
        ax.annotate("", xy=b, xytext=a, arrowprops=arrow)
    if label is not None:
        middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
        offset, align, vertical = ((0, 3), "center", "bottom") if horizontal else ((5, 0), "left", "center")
        _write(ax, label, middle, offset, kind.colour, align, vertical)


def points(
    ax: Axes,
    x: Any,
    y: Any,
    *,
    role: str = "data",
    label: str | None = None,
    errors: Any = None,
    **style: Any,
) -> None:
    """Draw points with the marker of their role, and standard errors as bars.

    Args:
        x, y: two arrays of shape (n,), or two numbers.
        label: written beside the last point.
        errors: standard errors of y, (n,); a bar of one standard error either way.
        **style: passed on to `Axes.errorbar` (`markersize`, `alpha`, …).

    Raises:
        ValueError: unknown role, or shapes that do not agree.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> points(ax, [1, 2], [-3.0, -2.5], role="elbo", errors=[0.1, 0.1], label="ELBO")
    """
    xs, ys = np.atleast_1d(float64(x)), np.atleast_1d(float64(y))
    if xs.ndim != 1 or xs.shape != ys.shape or xs.size == 0:
        raise ValueError(f"x and y must be (n,) twice, got {xs.shape} and {ys.shape}")
    spread = None if errors is None else np.broadcast_to(float64(errors), ys.shape)
    kind = role_named(role)
    look = {"color": kind.colour, "marker": kind.marker, "linestyle": "none"} | style
    with house_style():
        if spread is None:
            ax.plot(xs, ys, **look)
        else:
            ax.errorbar(xs, ys, yerr=spread, elinewidth=1.2, capsize=2.5, **look)
    if label is not None:
        _write(ax, label, (xs[-1], ys[-1]), (6, 0), kind.colour, "left", gid=END_LABEL)


def bars(
    ax: Axes,
    names: Sequence[str],
    values: Any,
    *,
    role: str | Sequence[str],
    spec: str | None = ".2f",
    errors: Any = None,
) -> None:
    """Draw one upright bar for each name, with its value on it.

    Args:
        names: written below the bars; they tell the bars apart, so they must differ.
        values: heights, (n,).
        role: one role for all bars, or one for each.
        spec: format of the values; `None` leaves them out.
        errors: standard errors, (n,), drawn as bars of one standard error either way.

    Raises:
        ValueError: unknown role, names that repeat, or lengths that do not agree.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> bars(ax, ["reconstruction", "rate"], [8.1, 2.5], role=["reconstruction", "rate"])
        >>> [t.get_text() for t in ax.texts]
        ['8.10', '2.50']
    """
    heights = float64(values)
    roles = [role] * len(names) if isinstance(role, str) else list(role)
    if heights.shape != (len(names),) or len(roles) != len(names) or not names:
        raise ValueError(
            f"names, values and roles must be equally many, got {len(names)}, "
            f"{heights.shape} and {len(roles)}"
        )
    if len(set(names)) != len(names):
        raise ValueError(f"names must differ, got {list(names)}")
    spread = None if errors is None else np.broadcast_to(float64(errors), heights.shape)
    places = np.arange(len(names))
    colours = [role_named(r).colour for r in roles]
    with house_style():
        ax.bar(places, heights, width=0.62, color=colours, alpha=0.85, linewidth=0)
        if spread is not None:
            ax.errorbar(places, heights, yerr=spread, linestyle="none", capsize=3)
        ax.axhline(0, linewidth=0.8)
        ax.set_xticks(places, list(names))
        ax.tick_params(axis="x", length=0)
        ax.xaxis.set_gid(NAMES)
        ax.spines["bottom"].set_visible(False)
        ax.margins(y=0.12)
    if spec is not None:
        for i, height in enumerate(heights):
            reach = 0.0 if spread is None else spread[i]
            up = height >= 0
            top = height + reach if up else height - reach
            text = format(float(height), spec).replace("-", "−")
            vertical = "bottom" if up else "top"
            _write(ax, text, (i, top), (0, 2 if up else -2), colours[i], "center", vertical)


def contours(
    ax: Axes, x: Any, y: Any, density: Any, *, role: str, label: str | None = None, levels: int = 5
) -> None:
    """Draw the regions that hold equal shares of the mass of a density on a grid.

    Args:
        x, y: the grid, (columns,) and (rows,).
        density: values of shape (rows, columns), not negative, of any scale.
        label: written above the outermost outline.
        levels: number of outlines; they enclose 1/(levels+1), 2/(levels+1), … of the mass.

    Raises:
        ValueError: unknown role, shapes that do not agree, or a density that is negative, not
            finite, or zero everywhere.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> g = np.linspace(-3, 3, 61)
        >>> contours(ax, g, g, np.exp(-(g**2 + g[:, None] ** 2) / 2), role="generative", label="p(z)")
    """
    xs, ys, mass = float64(x), float64(y), float64(density)
    if xs.ndim != 1 or ys.ndim != 1 or mass.shape != (ys.size, xs.size):
        raise ValueError(f"density must be (len(y), len(x)) = ({ys.size}, {xs.size}), got {mass.shape}")
    if not (np.isfinite(mass).all() and mass.min() >= 0 and mass.max() > 0):
        raise ValueError("density must be finite, not negative, and positive somewhere")
    falling = np.sort(mass.ravel())[::-1]
    shares = np.cumsum(falling) / falling.sum()
    wanted = np.arange(1, levels + 1) / (levels + 1)
    heights = np.unique(falling[np.searchsorted(shares, wanted)])
    kind = role_named(role)
    with house_style():
        ax.contour(xs, ys, mass, levels=heights, colors=kind.colour, linestyles=[kind.dashes], linewidths=1.2)
    if label is not None:
        row = int(np.flatnonzero((mass >= heights[0]).any(axis=1))[-1])
        place = (xs[int(np.argmax(mass[row]))], ys[row])
        _write(ax, label, place, (0, 4), kind.colour, "center", "bottom")


def scatter_digits(ax: Axes, z: Any, labels: Any, *, size: float | int = 7.0) -> None:
    """Draw a map of a two-dimensional latent space: each point is its own digit, in its colour.

    Args:
        z: points, (n, 2). About 600 are enough for the eye; more make the page heavy.
        labels: digits 0 to 9, (n,).
        size: height of a digit in points.

    Raises:
        ValueError: shapes that do not agree, points that are not finite, or labels outside 0 to 9.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> scatter_digits(ax, [[0.0, 1.0], [1.0, 0.0]], [3, 8])
    """
    place, digit = float64(z), float64(labels)
    if place.ndim != 2 or place.shape[1] != 2 or digit.shape != place.shape[:1]:
        raise ValueError(f"z must be (n, 2) and labels (n,), got {place.shape} and {digit.shape}")
    if not np.isfinite(place).all():
        raise ValueError("z must be finite")
    if not np.isin(digit, np.arange(10)).all():
        raise ValueError("labels must be digits 0 to 9")
    with house_style():
        for value in np.unique(digit).astype(int):
            ax.plot(
                *place[digit == value].T,
                linestyle="none",
                marker=f"${value}$",
                markersize=size,
                color=DIGITS[value][0],
                markeredgewidth=0.2,
                gid=f"{DIGIT}-{value}",
            )


def label(
    ax: Axes,
    x: Any,
    y: Any,
    text: str,
    *,
    role: str = "evidence",
    dx: float | int = 0,
    dy: float | int = 0,
    align: str = "center",
) -> None:
    """Write text at a point of the panel, in the colour of a role.

    Args:
        x, y: the point, in data coordinates.
        text: the label.
        dx, dy: offset in points (1/72 inch).
        align: "left", "center" or "right": which part of the text stands at the point.

    Raises:
        ValueError: unknown role or alignment, or a coordinate that is not one finite number.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> label(ax, 0.5, 0.5, "posterior", role="generative", dy=4)
    """
    if align not in ("left", "center", "right"):
        raise ValueError(f'align must be "left", "center" or "right", got {align!r}')
    place = (scalar("x", x), scalar("y", y))
    _write(ax, text, place, (dx, dy), role_named(role).colour, align)


def title(ax: Axes, text: str) -> None:
    """Name one panel of several; what to see in the figure is the caption's business.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> title(ax, "β = 4")
    """
    with house_style():
        ax.set_title(text)


def axis_labels(ax: Axes, *, x: str | None = None, y: str | None = None) -> None:
    """Name the quantity on each axis and its unit, as in "ELBO (nats per image)".

    Args:
        x, y: the label, which must end with its unit in parentheses. What has no unit says what one
            step is: "z (prior standard deviations)", "k (samples)", "epoch (passes over the data)".

    Raises:
        ValueError: a label without a unit, or no label at all.

    Example:
        >>> from vae_lib import figures
        >>> fig, ax = figures.new()
        >>> axis_labels(ax, x="epoch (passes over the data)", y="ELBO (nats per image)")
        >>> axis_labels(ax, y="ELBO")
        Traceback (most recent call last):
        ValueError: y must end with a unit in parentheses, as in "ELBO (nats)"; got 'ELBO'
    """
    if x is None and y is None:
        raise ValueError("give x, y or both")
    for name, text, write in (("x", x, ax.set_xlabel), ("y", y, ax.set_ylabel)):
        if text is not None:
            require_unit(name, text)
            with house_style():
                write(text)


def require_unit(name: str, text: str) -> None:
    """Refuse the label of an axis that does not end with a unit in parentheses."""
    if re.fullmatch(r"\S.*\([^()]+\)", text, flags=re.DOTALL) is None:
        raise ValueError(f'{name} must end with a unit in parentheses, as in "ELBO (nats)"; got {text!r}')


def _write(
    ax: Axes,
    text: str,
    place: tuple[Any, Any],
    offset: tuple[float | int, float | int],
    colour: str,
    align: str,
    vertical: str = "center_baseline",
    *,
    gid: str | None = None,
    coordinates: Any = "data",
) -> Annotation:
    with house_style():
        return ax.annotate(
            text,
            xy=place,
            xycoords=coordinates,
            xytext=offset,
            textcoords="offset points",
            color=colour,
            ha=align,
            va=vertical,
            fontsize=SMALL if len(text) > 24 else MEDIUM,
            gid=gid,
            annotation_clip=False,
        )


def _side(side: str) -> tuple[int, str]:
    sides = {"above": (4, "bottom"), "below": (-4, "top")}
    if side not in sides:
        raise ValueError(f'side must be "above" or "below", got {side!r}')
    return sides[side]


def scalar(name: str, value: Any) -> float:
    """The one finite number that `value` holds."""
    array = float64(value)
    if array.size != 1 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be one finite number, got {value!r}")
    return float(array.reshape(()))
