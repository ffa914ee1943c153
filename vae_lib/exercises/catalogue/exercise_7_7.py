"""7.7 Where training with a wrong loss ends. Oracle: BFGS on that loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import summit
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "printed"]

NAMES = ("w2", "d", "printed")
BUGS = ("std_is_exp_logvar", "kl_averaged", "kl_reversed")
LATENTS = 20

MISTAKES = {
    "right-loss": "this is the optimum of the right loss: the bug moves it",
    "beta-upside-down": "an averaged KL counts for less, not for more: the level falls to σ²/20",
    "other-root": "the larger root of the quadratic is taken: it is no maximum",
    "drawn-variance": "d is the variance that is drawn: what is asked for is the one that the KL is told",
    "d-of-the-right-loss": "d is σ²/(w² + σ²), as in the right loss: KL(p‖q) has its slope zero elsewhere",
    "v-for-d": "the second number is v, the encoder's weight: d, its variance, is wanted",
    "true-elbo": "the third number is the true ELBO: what is asked for is what the faulty program prints",
    "true-evidence": "the third number is ln p(x): what is asked for is what the faulty program prints",
    "loss-for-objective": "the third number has its sign turned: the program prints an ELBO, not a loss",
    "model-variance": "the model's variance w² + σ² is returned: w² is wanted",
    "std": "d is a standard deviation: the variance that stands in the KL is wanted",
    "swapped": "w² and d are exchanged",
    "noise-kept": "v is that of the right loss: with σ²/20 it is w/(w² + σ²/20)",
    "duality-constant": "this is the best ln p: the printed value has the factor 1/20 and a constant besides",
    "no-normaliser": "−½ ln 2πσ² is missing in the third number",
    "w-not-squared": "w is returned: w² is wanted",
}


def printed(bug: str, lam: float, variance: float, w: Tensor, v: Tensor, d: Tensor) -> Tensor:
    """What the faulty program prints, on average over data of the variance lam."""
    noise = d * d if bug == "std_is_exp_logvar" else d
    error = (1 - w * v) ** 2 * lam + w**2 * noise
    rate = 0.5 * (v**2 * lam + d - 1 - d.log())
    if bug == "kl_averaged":
        rate = rate / LATENTS
    elif bug == "kl_reversed":
        rate = 0.5 * ((1 + v**2 * lam) / d - 1 + d.log())
    return -0.5 * math.log(2 * math.pi * variance) - error / (2 * variance) - rate


def _by_climbing(bug: str, lam: float, variance: float) -> tuple[float, float, float]:
    """w, v and d where that program's training ends."""

    def height(w: Tensor, v: Tensor, log_d: Tensor) -> Tensor:
        return printed(bug, lam, variance, w, v, log_d.exp())

    root = math.sqrt(lam)
    w, v, log_d = summit(height, (root, 0.7 / root, -1.0))
    return abs(w), abs(v), math.exp(log_d)


def _right(bug: str, lam: float, variance: float) -> dict[str, float]:
    w, v, d = _by_climbing(bug, lam, variance)
    point = (torch.tensor(value, dtype=torch.float64) for value in (w, v, d))
    return {"w2": w**2, "d": d, "printed": printed(bug, lam, variance, *point).item()}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return as_named(answers[0](*inputs.values()), NAMES, of=tuple)


def _mistaken(bug: str, lam: float, variance: float, right: dict[str, float]) -> Iterator[tuple[str, Values]]:
    w, v, d = _by_climbing(bug, lam, variance)
    yield "right-loss", {"w2": lam - variance, "d": variance / lam}
    yield "model-variance", right | {"w2": right["w2"] + variance}
    yield "std", right | {"d": math.sqrt(right["d"])}
    yield "swapped", right | {"w2": right["d"], "d": right["w2"]}
    yield "w-not-squared", right | {"w2": math.sqrt(right["w2"])}
    yield "v-for-d", {"w2": right["w2"], "d": v}
    normaliser = -0.5 * math.log(2 * math.pi * variance)
    yield "no-normaliser", right | {"printed": right["printed"] - normaliser}
    yield "loss-for-objective", right | {"printed": -right["printed"]}
    point = [torch.tensor(value, dtype=torch.float64) for value in (w, v, d)]
    yield "true-elbo", right | {"printed": printed("none", lam, variance, *point).item()}
    s = w**2 + variance
    yield "true-evidence", right | {"printed": -0.5 * (math.log(2 * math.pi * s) + lam / s)}
    if bug == "kl_averaged":
        wrong_v = torch.tensor(w / (w**2 + variance), dtype=torch.float64)
        yield (
            "noise-kept",
            right | {"printed": printed(bug, lam, variance, point[0], wrong_v, point[2]).item()},
        )
        best = -0.5 * (math.log(2 * math.pi * lam) + 1)
        for value in (best, best / LATENTS):
            yield "duality-constant", right | {"printed": value}
        level = variance * LATENTS
        yield "beta-upside-down", {"w2": max(lam - level, 0.0)}
        yield "beta-upside-down", {"w2": lam - level}
    elif bug == "std_is_exp_logvar":
        yield "other-root", {"d": 0.5 / right["d"]}  # the product of the two roots is ½
        yield (
            "true-elbo",
            right | {"printed": printed("none", lam, variance, point[0], point[1], point[2] ** 2).item()},
        )
        yield "drawn-variance", right | {"d": right["d"] ** 2}
    else:
        yield "d-of-the-right-loss", {"w2": right["w2"], "d": variance / s}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for bug in BUGS:
        lam, variance = float(rng.uniform(2.0, 9.0)), float(rng.uniform(0.15, 0.6))
        right = _right(bug, lam, variance)
        yield Case(
            {"bug": bug, "lam": lam, "variance": variance},
            right,
            lambda bug=bug, lam=lam, variance=variance, right=right: _mistaken(bug, lam, variance, right),
            rtol=2e-5,
            atol=1e-5,
            about=bug,
        )


EXERCISE = Exercise(
    id="7.7",
    functions=("predict_bug",),
    returns="three numbers: w2, d, printed",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
