"""1.2 The log-density of the ring. Oracle: differences of the law of the radius."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "density-of-radius": "this is the density of the radius: it is spread over a circle of length 2πR",
    "no-two-pi": "the circle has the length 2πR, not R",
    "circle-of-one": "the circle has the length 2πR, not 2π",
    "no-ten": "the factor 10 is missing: dr = 10 dR",
    "no-half": "r² stands in the exponent without its ½",
    "bracket-lost": "r is 10R − 1: it is 10 (R − 1)",
    "no-r": "the factor r is missing: a ring of the plane has the area 2πr dr",
    "log-two": "the logarithm is to base 2: all values are in nats",
    "density-not-log": "this is the density: take its logarithm",
    "underflow": "the density is computed first, and far out it underflows to zero: stay in logarithms",
    "nan-inside": "inside the unit circle the answer is NaN: there the density is zero, its logarithm −inf",
    "finite-inside": "inside the unit circle the answer is finite: there the density is zero",
    "batch-averaged": "the batch is averaged: keep one value per point",
}


_WHERE = {False: "points outside of the unit circle", True: "points far out"}


def _by_differences(radius: np.ndarray) -> np.ndarray:
    """ln of the derivative of P(‖x‖ ≤ R), less ln 2πR; two central differences and their extrapolation.

    The differences are those of P(‖x‖ > R), in units of its value at R, which may be far below 1e-308.
    """
    log_above = -50.0 * (radius - 1.0) ** 2

    def slope(h: float) -> np.ndarray:
        below, above = (np.exp(-50.0 * (radius + side * h - 1.0) ** 2 - log_above) for side in (-1.0, 1.0))
        return (below - above) / (2.0 * h)

    density = (4.0 * slope(1e-4) - slope(2e-4)) / 3.0 / (2.0 * math.pi * radius)
    return np.log(density) + log_above


def _formula(radius: Tensor, r: Tensor) -> Tensor:
    return math.log(10) + r.abs().log() - r**2 / 2 - math.log(2 * math.pi) - radius.log()


def _finite_inside(got: Sequence[float], right: Sequence[float]) -> bool:
    """Finite where it should be −inf, and right elsewhere."""
    if len(got) != len(right):
        return False
    pairs = list(zip(got, right, strict=True))
    return all(math.isfinite(a) if b == -math.inf else math.isclose(a, b, rel_tol=1e-4) for a, b in pairs)


def _mistaken(
    x: Tensor, right: Tensor
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    radius = x.norm(dim=-1)
    inside = radius < 1
    r = 10 * (radius - 1)
    for name, value in (
        ("density-of-radius", right + (2 * math.pi * radius).log()),
        ("no-two-pi", right + math.log(2 * math.pi)),
        ("circle-of-one", right + radius.log()),
        ("no-ten", right - math.log(10)),
        ("no-half", right - r**2 / 2),
        ("bracket-lost", _formula(radius, 10 * radius - 1)),
        ("no-r", right - r.clamp(min=1e-9).log()),
        ("log-two", right / math.log(2)),
        ("density-not-log", right.exp()),
    ):
        for filler in (-math.inf, math.nan):
            yield name, {"value": value.where(~inside, tensor(0.0 if name == "density-not-log" else filler))}
    yield "nan-inside", {"value": right.where(~inside, tensor(math.nan))}
    for filler in (-math.inf, math.nan):
        printed = right.where(radius < 4, tensor(-math.inf))
        yield "underflow", {"value": printed.where(~inside, tensor(filler))}
    if inside.any():
        yield "finite-inside", lambda got: _finite_inside(got["value"], right.tolist())
    else:
        yield "finite-inside", {"value": right}
    yield "batch-averaged", {"value": right.mean()}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for outside, inside, far in ((1, 0, 0.0), (6, 0, 0.0), (4, 3, 0.0), (3, 0, 5.0)):
        near = 1.0 + far + rng.uniform(0.03, 0.35, outside)
        radius = np.concatenate([near, rng.uniform(0.1, 0.95, inside)])
        angle = rng.uniform(0.0, 2.0 * math.pi, outside + inside)
        x = tensor(np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1))
        value = np.full(outside + inside, -math.inf)
        value[:outside] = _by_differences(radius[:outside])
        yield Case(
            {"x": x},
            {"value": tensor(value)},
            lambda x=x, value=value: _mistaken(x, tensor(value)),
            about="points inside and outside" if inside else _WHERE[far > 0.0],
        )


EXERCISE = Exercise(
    id="1.2",
    functions=("ring_logpdf",),
    returns="(n,), one value per point",
    mistakes=MISTAKES,
    cases=_cases,
)
