r"""The equation ledger: every numbered equation of the book is checked where it stands.

There are three kinds of evidence, and a check says which one it is:

* an **identity** (`identity`) holds to rounding: the largest difference of the two sides is at most the
  tolerance;
* a **bound** (`bound`) holds everywhere: the lower side exceeds the upper one nowhere by more than the
  slack;
* a **statistic** (`statistic`) is an average of random draws, so it may miss the exact value by a few
  of its own standard errors, and by no more.

A check that fails raises `AssertionError`. One that holds shows a line and returns a `Check`.
The build of the book collects those lines and refuses an equation that has none.

`glue` is the other half of the rule "no number typed by hand": it publishes a measured number under
a name, for the role `glue:text` in the prose.
"""

from __future__ import annotations

import html
import json
import math
import re
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from vae_lib._arrays import float64

__all__ = ["Check", "bound", "glue", "identity", "statistic"]

Values = float | int | np.generic | np.ndarray | torch.Tensor | list | tuple

GLUE_PREFIX = "application/papermill.record/"  # as in myst_nb.ext.glue


@dataclass(frozen=True)
class Check:
    """What one check measured.

    `error` and `tolerance` are in the units of the equation for an identity and a bound (nats,
    mostly), and in standard errors for a statistic. `by` names the other route to the same number,
    and `text` is the line that was shown. `count` is the number of values compared. `margin` is the
    smallest `upper - lower` of a bound; `estimate`, `standard_error` and `exact` belong to a
    statistic (of an array: the element that lies furthest out).

    Book: chapter 0 (three kinds of evidence).

    Example:
        >>> c = identity("eq-double", 2 * 0.5, 1.0)
        ✓ eq-double · identity · largest difference 0 ≤ 1e-12 · enumeration
        >>> c.kind, c.error, c.count
        ('identity', 0.0, 1)
    """

    label: str
    kind: str
    error: float
    tolerance: float
    by: str
    text: str
    count: int = 1
    margin: float | None = None
    estimate: float | None = None
    standard_error: float | None = None
    exact: float | None = None
    _cell: int | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values (an infinite margin becomes `None`).

        Example:
            >>> Check("eq-a", "identity", 0.0, 1e-12, "hand", "✓").as_dict()["tolerance"]
            1e-12
        """
        public = {k: v for k, v in asdict(self).items() if not k.startswith("_")}
        return {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in public.items()
            if v is not None
        }

    def _bundle(self) -> dict[str, str]:
        record = html.escape(json.dumps(self.as_dict(), ensure_ascii=False), quote=True)
        return {
            "text/plain": self.text,
            "text/html": f"<div class=\"vae-check\" data-vae-check='{record}'>{html.escape(self.text)}</div>",
        }

    def _ipython_display_(self) -> None:
        """Show the line, but not a second time as the value of the cell that made the check."""
        shell = _shell()
        if shell is None or shell.execution_count != self._cell:
            _show(self)


def identity(
    label: str,
    left: Values,
    right: Values,
    *,
    tolerance: float | int = 1e-12,
    by: str = "enumeration",
) -> Check:
    """Check that the two sides of an equation agree everywhere.

    .. math:: \\text{error} = \\max |\\text{left} - \\text{right}|

    Args:
        label: label of the numbered equation, such as `eq-kl-rearrangement`.
        left: one side, any shape; floats, NumPy arrays or tensors, compared in float64.
        right: the other side, from another route, in the same shape.
        tolerance: largest error allowed, in the units of the equation.
        by: the other route, in a word or two.

    Raises:
        AssertionError: the sides differ by more than `tolerance`, the shapes differ, there is
            nothing to compare, or a difference is NaN (a NaN on either side, or ∞ − ∞).
        ValueError: the label holds other characters than a–z, 0–9 and "-", or the tolerance is
            negative or not finite.

    Book: chapter 0 (three kinds of evidence).

    Example:
        >>> check = identity("eq-log-product", math.log(6.0), math.log(2.0) + math.log(3.0), by="logs")
        ✓ eq-log-product · identity · largest difference 0 ≤ 1e-12 · logs
        >>> identity("eq-wrong", [1.0, 2.0], [1.0, 2.5])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        AssertionError: eq-wrong: identity fails: largest difference 5.0e-1 > ... at index 1: ...
    """
    _require_label(label)
    _require_limit("tolerance", tolerance)
    a, b = _pair(label, "identity", tolerance, left=left, right=right)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.asarray(np.abs(a - b))
    _refuse_nan(label, "identity", tolerance, difference, left=a, right=b)
    error = float(difference.max())
    if error > tolerance:
        raise AssertionError(
            f"{label}: identity fails: largest difference {_size(error)} > tolerance "
            f"{tolerance:g}{_where(np.argmax(difference), left=a, right=b)}"
        )
    line = f"largest difference {_size(error)} ≤ {tolerance:g}"
    return _pass(label, "identity", error, tolerance, by, line, count=a.size)


def bound(
    label: str,
    lower: Values,
    upper: Values,
    *,
    slack: float | int = 1e-12,
    by: str = "enumeration",
) -> Check:
    r"""Check that one side of an equation never exceeds the other.

    .. math:: \text{error} = \max(\text{lower} - \text{upper}, 0)

    The line shows the smallest margin, upper − lower.

    Args:
        label: label of the numbered inequality, such as `eq-elbo-bound`.
        lower: the smaller side, any shape; −∞ is a valid lower bound.
        upper: the larger side, from another route, in the same shape.
        slack: how far rounding may push `lower` over `upper`.
        by: how the larger side was found, in a word or two.

    Raises:
        AssertionError: `lower` exceeds `upper` by more than `slack` somewhere, the shapes differ,
            there is nothing to compare, or a difference is NaN.
        ValueError: as for `identity`.

    Book: chapter 0 (three kinds of evidence).

    Example:
        >>> check = bound("eq-jensen", math.log(1.0) / 2 + math.log(3.0) / 2, math.log(2.0))
        ✓ eq-jensen · bound · holds, margin 0.144 · enumeration
        >>> check = bound("eq-square", np.zeros(3), np.array([1.0, 0.0, 4.0]), by="hand")
        ✓ eq-square · bound · holds at all 3 points, smallest margin 0 · hand
        >>> check = bound("eq-third", 0.1 + 0.2, 0.3)
        ✓ eq-third · bound · holds, margin −5.55e-17 (rounding; up to 1e-12 is allowed) · enumeration
    """
    _require_label(label)
    _require_limit("slack", slack)
    a, b = _pair(label, "bound", slack, lower=lower, upper=upper)
    with np.errstate(invalid="ignore", over="ignore"):
        margins = np.asarray(b - a)
    _refuse_nan(label, "bound", slack, margins, lower=a, upper=b)
    margin = float(margins.min())
    error = max(-margin, 0.0)
    if error > slack:
        raise AssertionError(
            f"{label}: bound fails: lower exceeds upper by {_size(error)} > slack {slack:g}"
            f"{_where(np.argmin(margins), lower=a, upper=b)}"
        )
    points = "holds, " if a.size == 1 else f"holds at all {a.size:,} points, smallest "
    line = f"{points}margin {_true_minus(f'{margin:.3g}')}"
    if error:
        line += f" (rounding; up to {slack:g} is allowed)"
    return _pass(label, "bound", error, slack, by, line, count=a.size, margin=margin)


def statistic(
    label: str,
    estimate: Values,
    standard_error: Values,
    exact: Values,
    *,
    sigmas: float | int = 5.0,
    by: str = "random draws",
) -> Check:
    """Check that a Monte-Carlo estimate agrees with the exact value within its own error.

    .. math:: \\text{error} = \\max |\\text{estimate} - \\text{exact}| / \\text{standard error}

    With independent draws the chance of a false alarm at 5 standard errors is 6e-7 per value.

    Args:
        label: label of the numbered equation.
        estimate: average of random draws, any shape.
        standard_error: its standard error (not the standard deviation of one draw), same shape.
        exact: the value it should have, same shape.
        sigmas: number of standard errors allowed.
        by: the sample, in words: `"100,000 draws"`.

    Raises:
        AssertionError: the estimate lies further out, a standard error is zero, negative or not
            finite, the shapes differ, there is nothing to compare, or a value is NaN.
        ValueError: the label holds other characters than a–z, 0–9 and "-", or `sigmas` is not a
            positive finite number.

    Book: chapter 0 (three kinds of evidence).

    Example:
        >>> check = statistic("eq-mean", 0.513, 0.021, 0.5, by="576 draws")
        ✓ eq-mean · statistic · 0.513 ± 0.021 against 0.500, 0.62 standard errors ≤ 5 · 576 draws
    """
    _require_label(label)
    _require_limit("sigmas", sigmas)
    if sigmas == 0:
        raise ValueError("sigmas must be positive, got 0")
    m, e = _pair(label, "statistic", sigmas, estimate=estimate, exact=exact)
    _, se = _pair(label, "statistic", sigmas, estimate=estimate, standard_error=standard_error)
    usable = np.asarray(np.isfinite(se) & (se > 0))
    if not usable.all():
        raise AssertionError(
            f"{label}: statistic refused: a standard error must be positive and finite (tolerance "
            f"{sigmas:g} standard errors){_where(np.argmin(usable), standard_error=se)}"
        )
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.asarray(np.abs(m - e) / se)
    _refuse_nan(label, "statistic", sigmas, distance, estimate=m, exact=e)
    worst = np.unravel_index(np.argmax(distance), distance.shape)
    error, value, spread, target = (float(v[worst]) for v in (distance, m, se, e))
    if error > sigmas:
        raise AssertionError(
            f"{label}: statistic fails: {error:.3g} standard errors > {sigmas:g}"
            f"{_where(np.argmax(distance), estimate=m, standard_error=se, exact=e)}"
        )
    digits = _decimals(spread)
    numbers = _true_minus(f"{value:.{digits}f} ± {spread:.{digits}f} against {target:.{digits}f}")
    first = f"{m.size:,} values, worst " if m.size > 1 else ""
    line = f"{first}{numbers}, {error:.2f} standard errors ≤ {sigmas:g}"
    return _pass(
        label,
        "statistic",
        error,
        sigmas,
        by,
        line,
        count=m.size,
        estimate=value,
        standard_error=spread,
        exact=target,
    )


class _GluedText(str):
    """Text that a notebook does not show again as the value of the cell."""

    __slots__ = ()

    def _ipython_display_(self) -> None:
        """Show nothing: the text belongs into the prose."""


def glue(
    name: str,
    value: float | int | str | np.generic | np.ndarray | torch.Tensor,
    spec: str = ".4f",
    standard_error: float | np.generic | np.ndarray | torch.Tensor | None = None,
) -> str:
    """Publish a measured number for the role `glue:text` in the prose, and return its text.

    In a notebook this sends the bundle that `myst_nb.glue(name, text, display=False)` sends, so
    nothing is shown. Elsewhere it only returns the text. A number gets a true minus sign, and
    with a standard error the form `−10.600 ± 0.003`.

    Args:
        name: name of the number, of a–z, 0–9 and "-"; unique on its page.
        value: one number, or text that is taken as it is.
        spec: Python format of the number, such as `".4f"`, `"+.2f"` or `","`; `".0e"` gives `4·10⁻¹⁶`.
        standard_error: Monte-Carlo standard error of the value, in the same format.

    Raises:
        ValueError: bad name, a value that is NaN or not a single number, or a standard error that
            is zero, negative or not finite.

    Book: chapter 0 (how to read).

    Example:
        >>> glue("gap", -10.5999, ".3f", standard_error=0.0031)
        '−10.600 ± 0.003'
        >>> glue("draws", 100_000, ",")
        '100,000'
    """
    _require_label(name, what="name")
    if isinstance(value, str):
        text = value
    else:
        number = _number("value", value)
        if math.isnan(number):
            raise ValueError(f"value of {name!r} is NaN")
        text = _typeset(format(number, spec))
    if standard_error is not None:
        spread = _number("standard_error", standard_error)
        if isinstance(value, str) or not (math.isfinite(spread) and spread > 0):
            raise ValueError(
                f"standard_error of {name!r} must be positive and finite, and belong to a number; "
                f"got {spread!r} for {value!r}"
            )
        text += " ± " + _typeset(format(spread, spec.lstrip("+ ")))
    if _shell() is not None:
        from IPython.display import display

        display(
            {f"{GLUE_PREFIX}text/plain": repr(text)},
            raw=True,
            metadata={"scrapbook": {"name": name, "mime_prefix": GLUE_PREFIX}},
        )
    return _GluedText(text)


def _typeset(text: str) -> str:
    """A number for prose: a true minus sign, and a power of ten where Python writes an exponent."""
    small = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    text = text.removesuffix("e+00")
    power = re.compile(r"e([+-]\d+)$")
    return _true_minus(power.sub(lambda found: "·10" + str(int(found[1])).translate(small), text))


def _shell() -> Any:
    """The running IPython shell, or `None`; IPython is never imported for the question."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _show(check: Check) -> None:
    if _shell() is None:
        print(check.text)
        return
    from IPython.display import display

    display(check._bundle(), raw=True)


def _pass(
    label: str, kind: str, error: float, tolerance: float | int, by: str, line: str, **more: Any
) -> Check:
    shell = _shell()
    check = Check(
        label=label,
        kind=kind,
        error=error,
        tolerance=float(tolerance),
        by=by,
        text=f"✓ {label} · {kind} · {line} · {by}",
        _cell=None if shell is None else shell.execution_count,
        **more,
    )
    _show(check)
    return check


def _pair(label: str, kind: str, tolerance: float | int, **sides: Values) -> tuple[np.ndarray, np.ndarray]:
    (name_a, a), (name_b, b) = ((name, float64(side)) for name, side in sides.items())
    if a.shape != b.shape:
        raise AssertionError(
            f"{label}: {kind} fails: no error to measure (tolerance {tolerance:g}), because "
            f"{name_a} has shape {a.shape} and {name_b} has shape {b.shape}"
        )
    if a.size == 0:
        raise AssertionError(
            f"{label}: {kind} fails: no error to measure (tolerance {tolerance:g}), because "
            f"{name_a} and {name_b} are empty, shape {a.shape}"
        )
    return a, b


def _refuse_nan(
    label: str, kind: str, tolerance: float | int, difference: np.ndarray, **sides: np.ndarray
) -> None:
    bad = np.isnan(difference)
    if bad.any():
        raise AssertionError(
            f"{label}: {kind} fails: error NaN (tolerance {tolerance:g}){_where(np.argmax(bad), **sides)}"
        )


def _where(flat: Any, **sides: np.ndarray) -> str:
    first = next(iter(sides.values()))
    index = tuple(int(i) for i in np.unravel_index(int(flat), first.shape))
    place = "" if not index else f" at index {index[0] if len(index) == 1 else index}"
    return f"{place}: " + ", ".join(f"{name} = {float(v[index])!r}" for name, v in sides.items())


def _require_label(label: str, what: str = "label") -> None:
    if re.fullmatch(r"[a-z0-9-]+", label) is None:
        raise ValueError(f'{what} may hold only a-z, 0-9 and "-", got {label!r}')


def _require_limit(name: str, limit: float | int) -> None:
    if not (math.isfinite(limit) and limit >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {limit!r}")


def _number(name: str, value: Any) -> float | int:
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        if math.prod(value.shape) != 1:
            raise ValueError(f"{name} must be one number, got shape {tuple(value.shape)}")
        value = value.item()
    return value


def _size(error: float) -> str:
    return "0" if error == 0 else _true_minus(f"{error:.1e}")


def _decimals(spread: float) -> int:
    """Decimals that show two digits of a standard error."""
    return min(max(1 - math.floor(math.log10(spread)), 0), 17)


def _true_minus(text: str) -> str:
    """A true minus before a number; exponents stay as one types them, without zeros: 4.5e-9."""
    return re.sub(r"(?<!e)-", "−", re.sub(r"e([+-])0(\d)", r"e\1\2", text))
