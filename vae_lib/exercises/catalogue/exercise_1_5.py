"""1.5 The evidence by draws from the prior. Oracle: NumPy on plain densities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.exercise_1_4 import Curve
from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

NAMES = ("estimate", "error")

MISTAKES = {
    "mean-of-logs": "the logarithms are averaged: average p(x|z) over the draws, then take the logarithm",
    "no-log-n": "the sum is not divided by n: −ln n is missing",
    "density-not-log": "the estimate is that of p(x): take its logarithm",
    "prior-again": "p(z) is a factor as well: the draws come from the prior, and that is its weight",
    "underflow": "p(x|z) is computed without its logarithm and underflows: use logsumexp",
    "error-of-p": "this is the standard error of p(x): that of its logarithm is divided by p(x)",
    "error-of-logs": "the error is that of an average of logarithms: use the spread of p(x|z) itself",
    "no-root-n": "the error is not divided by √n: this is the spread of one draw",
    "over-n": "the error is divided by n: divide by √n",
    "variance-for-error": "the error is a variance: take its square root",
    "variance-as-std": "variance is used as a standard deviation: it is σ²",
    "pixels-averaged": "the pixels are averaged: ln p(x|z) is a sum over pixels",
    "no-normaliser": "the normaliser of the likelihood is missing: −½ ln 2πσ² for every pixel",
}


def _log_densities(inputs: Mapping[str, Any], variance: float) -> np.ndarray:
    from scipy.stats import norm

    mean = inputs["decode"](inputs["z"]).numpy()
    return norm.logpdf(inputs["x"].numpy(), loc=mean, scale=math.sqrt(variance)).sum(-1)


def _summary(logs: np.ndarray, ddof: int = 1) -> dict[str, Tensor]:
    """ln of the mean and its relative standard error, of densities scaled to at most one."""
    top = logs.max()
    densities = np.exp(logs - top)
    mean = densities.mean()
    error = densities.std(ddof=ddof) / mean / math.sqrt(len(logs))
    return {"estimate": tensor(top + math.log(mean)), "error": tensor(error)}


def _mistaken(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Values]]:
    variance, pixels, n = inputs["variance"], len(inputs["x"]), len(inputs["z"])
    logs = _log_densities(inputs, variance)
    right = _summary(logs)
    yield "mean-of-logs", {"estimate": tensor(logs.mean())}
    yield "no-log-n", {"estimate": right["estimate"] + math.log(n)}
    yield "density-not-log", {"estimate": right["estimate"].exp()}
    z = inputs["z"].numpy()
    yield "prior-again", _summary(logs - 0.5 * (z**2 + math.log(2.0 * math.pi)).sum(-1))
    if np.exp(logs).max() == 0.0:
        yield "underflow", {"estimate": tensor(-math.inf)}
        yield "underflow", {"error": tensor(math.nan)}
        yield "error-of-p", right | {"error": tensor(0.0)}
    else:
        yield "underflow", right
        yield "error-of-p", right | {"error": right["error"] * right["estimate"].exp()}
    yield "error-of-logs", right | {"error": tensor(logs.std(ddof=1) / math.sqrt(n))}
    yield "no-root-n", right | {"error": right["error"] * math.sqrt(n)}
    yield "over-n", right | {"error": right["error"] / math.sqrt(n)}
    yield "variance-for-error", right | {"error": right["error"] ** 2}
    yield "variance-as-std", _summary(_log_densities(inputs, variance**2))
    yield "pixels-averaged", _summary(logs / pixels)
    shift = 0.5 * pixels * math.log(2.0 * math.pi * variance)
    yield "no-normaliser", right | {"estimate": right["estimate"] + shift}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return as_named(answers[0](*inputs.values()), NAMES, of=tuple)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for pixels, n, noise in ((2, 400, 0.3), (3, 150, 0.5), (900, 60, 0.02)):
        decode = Curve(tensor(rng.uniform(0.3, 1.0, pixels)), tensor(rng.uniform(0.2, 0.6, pixels)))
        inputs: dict[str, Any] = {
            "x": tensor(rng.normal(size=pixels)) * 0.5,
            "decode": decode,
            "variance": noise,
            "z": tensor(rng.normal(size=(n, 1))),
        }
        logs = _log_densities(inputs, noise)
        yield Case(
            inputs,
            [_summary(logs), _summary(logs, ddof=0)],
            lambda inputs=inputs: _mistaken(inputs),
            about="very small densities" if pixels > 100 else f"{n} draws",
        )


EXERCISE = Exercise(
    id="1.5",
    functions=("logp_prior_mc",),
    returns="a pair of single numbers, () and ()",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
