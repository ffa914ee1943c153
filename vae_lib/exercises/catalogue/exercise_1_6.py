"""1.6 How many draws p(x) needs. Oracle: the second moment by the trapezoid rule."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "no-minus-one": "the −1 is missing: a variance is a mean square minus a squared mean",
    "not-squared": "ε is not squared: the error falls like one over the square root of n",
    "rounded": "the number is rounded: return it as it comes",
    "below-not-squared": "p(x) stands in the denominator of ρ without its square",
    "no-bell-factor": "the factor 1/(2s√π) is missing: the square of a bell is a bell times that",
    "not-halved": "the square of a bell keeps its variance: it has half of it, s²/2",
    "each-minus-one": "the 1 is subtracted from ρ before the power: it belongs behind ρᵈ",
    "first-moment": "ρ is built from p(x|z) instead of its square",
    "linear": "ρ is multiplied by d: independent coordinates multiply, so it is a power",
    "s-as-variance": "s is used as a variance: it is a standard deviation",
    "x-at-zero": "x lies at the origin: its typical place has x² = 1 + s² in every coordinate",
    "x-at-one": "x² = 1 is used: the noise belongs to x as well, x² = 1 + s²",
    "root-of-rho": "this is the square root of the number of draws",
}

_Z = np.linspace(-12.0, 12.0, 24_001)
_SHARE = np.exp(-0.5 * _Z**2) / math.sqrt(2.0 * math.pi) * (_Z[1] - _Z[0])


def _moments(s: float, square: float) -> tuple[float, float]:
    """Mean and mean square of N(x; z, s²) over the prior, for x² = square."""
    density = np.exp(-0.5 * ((math.sqrt(square) - _Z) / s) ** 2) / (s * math.sqrt(2.0 * math.pi))
    return float(_SHARE @ density), float(_SHARE @ density**2)


def _rho(s: float, square: float) -> float:
    first, second = _moments(s, square)
    return second / first**2


def _mistaken(d: int, s: float, relative_error: float) -> Iterator[tuple[str, Values]]:
    square, rho = 1.0 + s**2, _rho(s, 1.0 + s**2)
    first, second = _moments(s, square)
    factor = 2.0 * s * math.sqrt(math.pi)
    right = (rho**d - 1.0) / relative_error**2
    for name, value in (
        ("no-minus-one", rho**d / relative_error**2),
        ("not-squared", (rho**d - 1.0) / relative_error),
        ("rounded", float(math.ceil(right))),
        ("rounded", float(math.floor(right))),
        ("below-not-squared", ((second / first) ** d - 1.0) / relative_error**2),
        ("no-bell-factor", ((rho * factor) ** d - 1.0) / relative_error**2),
        ("not-halved", ((1.0 / (factor * first)) ** d - 1.0) / relative_error**2),
        ("each-minus-one", (rho - 1.0) ** d / relative_error**2),
        ("first-moment", ((1.0 / first) ** d - 1.0) / relative_error**2),
        ("linear", (d * rho - 1.0) / relative_error**2),
        ("linear", d * (rho - 1.0) / relative_error**2),
        ("s-as-variance", (_rho(math.sqrt(s), 1.0 + s) ** d - 1.0) / relative_error**2),
        ("x-at-zero", (_rho(s, 0.0) ** d - 1.0) / relative_error**2),
        ("x-at-one", (_rho(s, 1.0) ** d - 1.0) / relative_error**2),
        ("root-of-rho", math.sqrt(right)),
    ):
        yield name, {"value": tensor(value)}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for d in (1, 2, 5, 10):
        s, error = float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.02, 0.3))
        right = (_rho(s, 1.0 + s**2) ** d - 1.0) / error**2
        yield Case(
            {"d": d, "s": s, "relative_error": error},
            {"value": tensor(right)},
            lambda d=d, s=s, error=error: _mistaken(d, s, error),
            about=f"d = {d}",
        )


EXERCISE = Exercise(
    id="1.6",
    functions=("samples_needed",),
    returns="one number",
    mistakes=MISTAKES,
    cases=_cases,
)
