"""1.2 The log-density of the ring. Oracle: differences of the law of the radius."""

from __future__ import annotations

import math
from collections.abc import Iterator

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
    "no-r": "the factor r is missing: a ring of the plane has the area 2πr dr",
    "log-two": "the logarithm is to base 2: all values are in nats",
    "density-not-log": "this is the density: take its logarithm",
    "nan-inside": "inside the unit circle the answer is NaN: there the density is zero, its logarithm −inf",
    "finite-inside": "inside the unit circle the answer is finite: there the density is zero",
    "batch-averaged": "the batch is averaged: keep one value per point",
}


def _by_differences(radius: np.ndarray) -> np.ndarray:
    """ln of the derivative of P(‖x‖ ≤ R), less ln 2πR; two central differences and their extrapolation."""

    def slope(h: float) -> np.ndarray:
        below, above = (np.exp(-50.0 * (radius + side * h - 1.0) ** 2) for side in (-1.0, 1.0))
        return (below - above) / (2.0 * h)

    density = (4.0 * slope(2e-4) - slope(4e-4)) / 3.0 / (2.0 * math.pi * radius)
    return np.log(density)


def _mistaken(x: Tensor, right: Tensor) -> Iterator[tuple[str, Values]]:
    radius = x.norm(dim=-1)
    inside = radius < 1
    r = 10 * (radius - 1)
    for name, value in (
        ("density-of-radius", right + (2 * math.pi * radius).log()),
        ("no-two-pi", right + math.log(2 * math.pi)),
        ("circle-of-one", right + radius.log()),
        ("no-ten", right - math.log(10)),
        ("no-r", right - r.clamp(min=1e-9).log()),
        ("log-two", right / math.log(2)),
        ("density-not-log", right.exp()),
    ):
        for filler in (-math.inf, math.nan):
            yield name, {"value": value.where(~inside, tensor(0.0 if name == "density-not-log" else filler))}
    yield "nan-inside", {"value": right.where(~inside, tensor(math.nan))}
    finite = math.log(10) + r.abs().log() - r**2 / 2 - math.log(2 * math.pi) - radius.log()
    yield "finite-inside", {"value": right.where(~inside, finite)}
    yield "finite-inside", {"value": right.where(~inside, tensor(0.0))}
    yield "batch-averaged", {"value": right.mean()}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for outside, inside in ((1, 0), (6, 0), (4, 3)):
        radius = np.concatenate([1.0 + rng.uniform(0.03, 0.35, outside), rng.uniform(0.1, 0.95, inside)])
        angle = rng.uniform(0.0, 2.0 * math.pi, outside + inside)
        x = tensor(np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1))
        value = np.full(outside + inside, -math.inf)
        value[:outside] = _by_differences(radius[:outside])
        yield Case(
            {"x": x},
            {"value": tensor(value)},
            lambda x=x, value=value: _mistaken(x, tensor(value)),
            about="points inside and outside" if inside else "points outside of the unit circle",
        )


EXERCISE = Exercise(
    id="1.2",
    functions=("ring_logpdf",),
    returns="(n,), one value per point",
    mistakes=MISTAKES,
    cases=_cases,
)
