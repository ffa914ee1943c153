"""5.2 The variance that a loss assumes. Oracle: the loss itself, on errors and rates of one unit each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "kl-weight": "it is 2σ², the weight of the KL against the sum of squares: halve it",
    "no-pixels": "D is forgotten: a mean over the pixels is 1/D of their sum",
    "pixels-turned": "D is on the wrong side: averaging the squares makes the KL weigh more, not less",
    "no-latents": "q is forgotten: a mean over the latents is 1/q of their sum",
    "latents-turned": "q is on the wrong side: averaging the KL makes it weigh less",
    "weight-turned": "c is on the wrong side: a heavier KL assumes a larger noise",
    "half-ignored": "the ½ of half_sum is ignored",
    "standard-deviation": "it is σ: wanted the variance, σ²",
    "half-doubled": "the ½ of half_sum is turned round: half_sum is ½ times the sum, so a = ½",
    "multiplied": "it is b / 2 * a, which multiplies by a: write b / (2 * a)",
    "counts-exchanged": "D and q change places: D belongs to the squares, q to the KL",
    "weight-forgotten": "c is forgotten: it is the weight of the KL",
    "inverse": "it is one over the variance",
}

REDUCE: dict[str, Callable[[np.ndarray], Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "half_sum": lambda each: np.sum(each) / 2,
}


def _right(recon: str, kl: str, c: float, D: int, q: int) -> float:
    """Half the price of a unit of KL in units of squared error; both are read off the loss."""
    squares, rates = np.ones(D), np.ones(q)

    def loss(errors: np.ndarray, costs: np.ndarray) -> float:
        return float(REDUCE[recon](errors) + c * REDUCE[kl](costs))

    nothing = loss(0 * squares, 0 * rates)
    error = (loss(squares, 0 * rates) - nothing) / squares.sum()
    rate = (loss(0 * squares, rates) - nothing) / rates.sum()
    return rate / (2 * error)


def _mistaken(recon: str, kl: str, c: float, D: int, q: int) -> Iterator[tuple[str, Values]]:
    right = _right(recon, kl, c, D, q)
    yield "kl-weight", {"value": 2 * right}
    yield "half-ignored", {"value": right / 2 if recon == "half_sum" else right}
    pixels, latents = (D if recon == "mean" else 1), (q if kl == "mean" else 1)
    yield "no-pixels", {"value": right / pixels}
    yield "pixels-turned", {"value": right / pixels**2}
    yield "no-latents", {"value": right * latents}
    yield "latents-turned", {"value": right * latents**2}
    yield "weight-turned", {"value": right / c**2}
    a = {"sum": 1.0, "half_sum": 0.5, "mean": 1 / D}[recon]
    yield "half-doubled", {"value": right / 4 if recon == "half_sum" else right}
    yield "multiplied", {"value": right * a**2}
    swapped = {"value": right * (q / D if recon == "mean" else 1) * (q / D if kl == "mean" else 1)}
    yield "counts-exchanged", swapped
    yield "counts-exchanged", {"value": right * (q / D if recon == "mean" else 1)}
    yield "counts-exchanged", {"value": right * (q / D if kl == "mean" else 1)}
    yield "weight-forgotten", {"value": right / c}
    yield "standard-deviation", {"value": right**0.5}
    yield "inverse", {"value": 1 / right}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for recon in ("sum", "half_sum", "mean"):
        for kl in ("sum", "mean"):
            inputs: dict[str, Any] = {
                "recon": recon,
                "kl": kl,
                "c": float(rng.uniform(1.2, 4.0)),
                "D": int(rng.integers(20, 900)),
                "q": int(rng.integers(3, 17)),
            }
            yield Case(
                inputs,
                {"value": _right(**inputs)},
                lambda inputs=inputs: _mistaken(**inputs),
                about=f"{recon} of the squares, {kl} of the KL",
            )


EXERCISE = Exercise(
    id="5.2",
    functions=("effective_sigma2",),
    returns="one number",
    mistakes=MISTAKES,
    cases=_cases,
)
