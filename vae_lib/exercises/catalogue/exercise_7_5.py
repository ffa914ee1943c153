"""7.5 Water-filling. Oracle: BFGS on the objective of each direction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import summit, tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

NAMES = ("w2", "d", "rate", "distortion")

MISTAKES = {
    "beta-turned": "the water level is σ²/β: it is the product, β σ²",
    "beta-unused": "beta is not used, or not everywhere: the level is β σ² in all four",
    "rate-weighted": "the rate is multiplied by beta: the KL itself is asked for, without the weight",
    "rate-turned": "the rate has its sign turned: it is never negative",
    "order-changed": "the directions are sorted: each keeps its place",
    "swapped": "rate and distortion are exchanged",
    "std": "the standard deviations of the encoder are returned: d holds variances",
    "not-shortened": "the level is not subtracted: w² is λ − βσ²",
    "not-clipped": "the directions under water are not cut off: there w² is 0, and a rate is never negative",
    "rate-in-bits": "the rate is in bits: take the natural logarithm",
    "rate-no-half": "the ½ of the rate is missing",
    "d-under-water": "d is not 1 in the directions under water: there q is the prior",
    "d-not-divided": "d is the water level: divide it by λ",
    "d-without-beta": "beta is missing in d: it is βσ²/λ",
    "distortion-under-water": "the distortion under water is not λ, though nothing is transmitted there",
    "distortion-not-level": "the code's noise is missing in the distortion: above water it is the level",
    "w-not-squared": "w is returned: w² is wanted",
    "summed": "the directions are summed: keep one value for each",
}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return as_named(answers[0](*inputs.values()), NAMES, of=tuple)


def _by_climbing(eigenvalues: Tensor, variance: float, beta: float) -> dict[str, Tensor]:
    """Each direction's own summit, and what it costs and leaves there."""

    def parts(point: Tensor) -> tuple[Tensor, Tensor]:
        w, v, log_d = point.reshape(3, -1)
        error = (1 - w * v) ** 2 * eigenvalues + w**2 * log_d.exp()
        return error, 0.5 * (v**2 * eigenvalues + log_d.exp() - 1 - log_d)

    def height(*point: Tensor) -> Tensor:
        error, rate = parts(torch.stack(point))
        return -(error / (2 * variance) + beta * rate).sum()

    root = eigenvalues.sqrt()
    start = torch.cat([0.7 * root, 0.7 / root, torch.full_like(root, -0.7)])
    point = tensor(summit(height, start.tolist()))
    error, rate = parts(point)
    w, _, log_d = point.reshape(3, -1)
    return dict(zip(NAMES, (w**2, log_d.exp(), rate, error), strict=True))


def _filled(eigenvalues: Tensor, level: float, *, clip: bool = True) -> dict[str, Tensor]:
    covered = eigenvalues.clamp(min=level) if clip else eigenvalues
    return {
        "w2": covered - level,
        "d": level / covered,
        "rate": 0.5 * (covered / level).log(),
        "distortion": eigenvalues.clamp(max=level) if clip else torch.full_like(eigenvalues, level),
    }


def _mistaken(
    eigenvalues: Tensor, variance: float, beta: float, right: dict[str, Tensor]
) -> Iterator[tuple[str, Values]]:
    level = beta * variance
    clipped = eigenvalues.clamp(max=level)
    yield "beta-turned", _filled(eigenvalues, variance / beta)
    yield "beta-unused", _filled(eigenvalues, variance)
    yield "not-clipped", _filled(eigenvalues, level, clip=False)
    yield "not-clipped", _filled(eigenvalues, level, clip=False) | {"distortion": clipped}
    unclipped = _filled(eigenvalues, level, clip=False)
    for some in (("w2",), ("d",), ("rate",), ("d", "rate"), ("w2", "d"), ("w2", "rate")):
        yield "not-clipped", right | {name: unclipped[name] for name in some}
    under = eigenvalues < level
    order = eigenvalues.argsort(descending=True)
    yield "order-changed", {name: value[order] for name, value in right.items()}
    yield "order-changed", {name: value[order.flip(0)] for name, value in right.items()}
    yield "swapped", right | {"rate": right["distortion"], "distortion": right["rate"]}
    for name, key, value in (
        ("rate-weighted", "rate", beta * right["rate"]),
        ("rate-turned", "rate", -right["rate"]),
        ("rate-turned", "rate", -unclipped["rate"]),
        ("std", "d", right["d"].sqrt()),
        ("not-shortened", "w2", torch.where(under, 0.0, eigenvalues)),
        ("beta-unused", "distortion", eigenvalues.clamp(max=variance)),
        ("beta-unused", "d", torch.where(under, 1.0, variance / eigenvalues)),
        ("rate-in-bits", "rate", right["rate"] / math.log(2)),
        ("d-without-beta", "d", variance / (right["w2"] + variance)),
        ("d-without-beta", "d", torch.where(under, 1.0, variance / eigenvalues)),
        ("rate-no-half", "rate", 2 * right["rate"]),
        ("d-under-water", "d", torch.where(under, 0.0, right["d"])),
        ("d-not-divided", "d", torch.where(under, 1.0, level)),
        ("d-not-divided", "d", torch.full_like(eigenvalues, level)),
        ("distortion-under-water", "distortion", torch.full_like(eigenvalues, level)),
        ("distortion-under-water", "distortion", torch.where(under, 0.0, level)),
        ("distortion-not-level", "distortion", eigenvalues - right["w2"] ** 2 / eigenvalues),
        ("distortion-not-level", "distortion", level**2 / eigenvalues),
        ("distortion-not-level", "distortion", torch.where(under, eigenvalues, level**2 / eigenvalues)),
        ("w-not-squared", "w2", right["w2"].sqrt()),
    ):
        yield name, right | {key: value}
    for several in (("rate", "distortion"), ("rate",), ("distortion",)):
        yield "summed", right | {name: right[name].sum() for name in several}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for beta, places in ((float(rng.uniform(2.0, 4.0)), 4), (1.0, 3), (float(rng.uniform(0.3, 0.7)), 5)):
        variance = float(rng.uniform(0.2, 0.6))
        # two directions at least on each side of the level, none close to it
        ratios = np.exp(np.concatenate([rng.uniform(0.3, 1.8, places), -rng.uniform(0.3, 1.2, 2)]))
        eigenvalues = tensor(rng.permutation(beta * variance * ratios))
        right = _by_climbing(eigenvalues, variance, beta)
        yield Case(
            {"eigenvalues": eigenvalues, "variance": variance, "beta": beta},
            right,
            lambda e=eigenvalues, s=variance, b=beta, r=right: _mistaken(e, s, b, r),
            rtol=1e-4,
            atol=1e-5,
            about="β = 1" if beta == 1.0 else f"β = {beta:.2g}",
        )


EXERCISE = Exercise(
    id="7.5",
    functions=("waterfill",),
    returns="four tensors (directions,): w2, d, rate, distortion",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
