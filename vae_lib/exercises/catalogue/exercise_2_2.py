"""2.2 KL of two Gaussians on the line. Oracle: the trapezoid rule in units of q's width."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import kl_by_quadrature, tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "swapped": "the two distributions change places: KL(p‖q)",
    "negated": "the sign of the whole expression is wrong",
    "no-log-ratio": "ln(σ_p/σ_q) is missing",
    "log-ratio-upside-down": "ln(σ_p/σ_q) is upside down",
    "log-of-variances": "the logarithm is that of the variances: ln(σ_p²/σ_q²) is twice too large",
    "no-constant": "the −½ at the end is missing",
    "other-constant": "the constant at the end is −½, and no other",
    "doubled": "everything is twice too large: the ½ in front is missing",
    "no-half": "the fraction is divided by σ_p², not by 2σ_p²",
    "std-for-variance": "a standard deviation stands where a variance belongs: σ is not squared",
    "variance-for-std": "σ is squared twice: std_q and std_p are standard deviations already",
    "distance-not-squared": "the distance of the means is not squared",
    "no-distance": "the distance of the means is missing",
    "distance-over-q": "the distance of the means is divided by σ_q²: it belongs over σ_p²",
    "fraction-over-q": "the whole fraction is divided by 2σ_q²: it belongs over 2σ_p²",
    "no-brackets": "the product below the bar has no brackets: in Python a / 2 * b is (a / 2) · b",
    "other-base": "torch.log2 or torch.log10 stands where the natural logarithm belongs",
    "standard-normal": "p is taken to be N(0, 1): it is N(μ_p, σ_p²)",
    "batch-averaged": "the batch is averaged: keep one value per pair",
    "batch-summed": "the batch is summed: keep one value per pair",
}


def _mistaken(mean_q: Tensor, std_q: Tensor, mean_p: Tensor, std_p: Tensor) -> Iterator[tuple[str, Values]]:
    right = kl_by_quadrature(mean_q, std_q, mean_p, std_p)
    shift, log_ratio = mean_q - mean_p, (std_p / std_q).log()
    fraction = right + 0.5 - log_ratio
    zero = 0.0 * mean_q
    for name, value in (
        ("swapped", kl_by_quadrature(mean_p, std_p, mean_q, std_q)),
        ("negated", -right),
        ("no-log-ratio", right - log_ratio),
        ("log-ratio-upside-down", right - 2.0 * log_ratio),
        ("log-of-variances", right + log_ratio),
        ("no-constant", right + 0.5),
        ("other-constant", right - 0.5),
        ("other-constant", right + 1.0),
        ("doubled", 2.0 * right),
        ("no-half", right + fraction),
        ("std-for-variance", kl_by_quadrature(mean_q, std_q.sqrt(), mean_p, std_p.sqrt())),
        ("std-for-variance", kl_by_quadrature(mean_q, std_q.sqrt(), mean_p, std_p.sqrt()) + log_ratio / 2),
        ("variance-for-std", kl_by_quadrature(mean_q, std_q**2, mean_p, std_p**2)),
        ("variance-for-std", kl_by_quadrature(mean_q, std_q**2, mean_p, std_p**2) - log_ratio),
        ("distance-not-squared", right + (shift - shift**2) / (2.0 * std_p**2)),
        ("distance-not-squared", right + (-shift - shift**2) / (2.0 * std_p**2)),
        ("distance-not-squared", right + (shift.abs() - shift**2) / (2.0 * std_p**2)),
        ("std-for-variance", right + (std_q - std_q**2) / (2.0 * std_p**2)),
        ("std-for-variance", right + fraction * (std_p - 1.0)),
        ("no-distance", kl_by_quadrature(mean_q, std_q, mean_q, std_p)),
        ("distance-over-q", right + 0.5 * shift**2 * (std_q**-2 - std_p**-2)),
        ("fraction-over-q", right + fraction * (std_p**2 / std_q**2 - 1.0)),
        ("no-brackets", right + fraction * (std_p**4 - 1.0)),
        ("other-base", right + log_ratio * (1.0 / math.log(2.0) - 1.0)),
        ("other-base", right + log_ratio * (1.0 / math.log(10.0) - 1.0)),
        ("standard-normal", kl_by_quadrature(mean_q, std_q, zero, zero + 1.0)),
        ("batch-averaged", right.mean()),
        ("batch-summed", right.sum()),
    ):
        yield name, {"value": value}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return {"value": answers[0](**inputs)}


def _case(mean_q: object, std_q: object, mean_p: object, std_p: object, about: str) -> Case:
    inputs = {
        "mean_q": tensor(mean_q),
        "std_q": tensor(std_q),
        "mean_p": tensor(mean_p),
        "std_p": tensor(std_p),
    }
    right = kl_by_quadrature(**inputs)
    return Case(inputs, {"value": right}, lambda: _mistaken(**inputs), about=about)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch in (3, 5, 1):
        yield _case(
            rng.normal(size=batch),
            rng.uniform(0.4, 2.0, size=batch),
            rng.normal(size=batch),
            rng.uniform(0.4, 2.0, size=batch),
            f"{batch} pairs",
        )
    mean, std = rng.normal(size=4), rng.uniform(0.4, 2.0, size=4)
    yield _case(mean, std, mean, std, "equal distributions")
    yield _case(mean, np.full(4, 1e-3), mean + 0.1, std, "a very narrow q")


EXERCISE = Exercise(
    id="2.2",
    functions=("kl_gaussian",),
    returns="(batch,), one value per pair",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
