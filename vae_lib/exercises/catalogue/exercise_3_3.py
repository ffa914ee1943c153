"""3.3 The prior bound and its gap. Oracle: the trapezoid rule in units of the prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "claims-equality": (
        "the bound is ln p(x) itself: the logarithm has been moved inside the average without a loss"
    ),
    "gap-reversed": "the gap is KL(p(z|x)‖p(z)): the bound averages over the prior, so the prior comes first",
    "gap-negated": "the sign of the gap is turned: ln p(x) minus the bound is never negative",
    "no-spread": "z is taken at its mean: E(x − wz)² is x² + w², not x²",
    "w-not-squared": "w is not squared: E(x − wz)² is x² + w²",
    "w-left-out": "w is taken for 1: the mean of x is wz, so that x² + w² and w² + s² stand there",
    "width-of-posterior": "the variance of the posterior is used as its standard deviation",
    "single-precision": (
        "the grid is in single precision, where its spacing is off by some 1e-4: "
        "torch.linspace(…, dtype=torch.float64)"
    ),
    "s-as-variance": "s is used as a variance: it is a standard deviation",
    "no-half": "the ½ of the exponent is missing",
    "no-normaliser": "the normaliser of the Gaussian is missing: −½ ln 2πs²",
    "batch-averaged": "the batch is averaged: keep one value per example",
}

_Z = np.linspace(-12.0, 12.0, 2401)
_WEIGHT = np.exp(-0.5 * _Z**2) / math.sqrt(2.0 * math.pi) * (_Z[1] - _Z[0])


def _log_normal(x: Any, mean: Any, std: Any) -> Any:
    return -0.5 * ((x - mean) / std) ** 2 - np.log(std) - 0.5 * math.log(2.0 * math.pi)


def _by_grid(x: Tensor, w: Tensor, s: Tensor) -> dict[str, Tensor]:
    """The average of ln p(x|z) over the prior, and of ln p(z)/p(z|x); both by quadrature."""
    a, b, c = (values.numpy()[:, None] for values in (x, w, s))
    total = b**2 + c**2
    log_posterior = _log_normal(_Z, a * b / total, c / np.sqrt(total))
    bound = (_log_normal(a, b * _Z, c) * _WEIGHT).sum(-1)
    gap = ((_log_normal(_Z, 0.0, 1.0) - log_posterior) * _WEIGHT).sum(-1)
    return {"bound": tensor(bound), "gap": tensor(gap)}


def _mistaken(
    x: Tensor, w: Tensor, s: Tensor
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    right = _by_grid(x, w, s)
    total = w**2 + s**2
    evidence = right["bound"] + right["gap"]
    yield "claims-equality", {"bound": evidence, "gap": 0.0 * evidence}
    yield "claims-equality", {"bound": evidence, "gap": right["gap"]}
    mean, variance = w * x / total, s**2 / total
    reversed_gap = 0.5 * (mean**2 + variance - 1.0 - variance.log())
    yield "gap-reversed", right | {"gap": reversed_gap}
    wrong_width = 0.5 * ((1.0 + mean**2) / variance**2 - 1.0 + 2.0 * variance.log())
    yield "width-of-posterior", right | {"gap": wrong_width}
    yield "gap-negated", right | {"gap": -right["gap"]}
    yield "s-as-variance", _by_grid(x, w, s.sqrt())
    yield "s-as-variance", right | {"bound": _by_grid(x, w, s.sqrt())["bound"]}
    yield "s-as-variance", right | {"gap": _by_grid(x, w, s.sqrt())["gap"]}
    square, normaliser = (x**2 + w**2) / (2 * s**2), -s.log() - 0.5 * math.log(2.0 * math.pi)
    for name, bound in (
        ("no-spread", normaliser - x**2 / (2 * s**2)),
        ("w-not-squared", normaliser - (x**2 + w) / (2 * s**2)),
        ("w-not-squared", normaliser - (x**2 + w.abs()) / (2 * s**2)),
        ("no-half", normaliser - 2 * square),
        ("no-normaliser", -square),
    ):
        yield name, right | {"bound": bound}
        yield name, {"bound": bound, "gap": evidence - bound}
    one_bound = normaliser - (x**2 + 1.0) / (2 * s**2)
    one_evidence = tensor(_log_normal(x.numpy(), 0.0, np.sqrt(1.0 + s.numpy() ** 2)))
    yield "w-left-out", right | {"bound": one_bound}
    yield "w-left-out", right | {"gap": one_evidence - right["bound"]}
    yield "w-left-out", {"bound": one_bound, "gap": evidence - one_bound}
    yield "w-left-out", {"bound": one_bound, "gap": one_evidence - one_bound}
    yield "no-normaliser", {"bound": -square, "gap": square - x**2 / (2 * total)}

    def scaled(got: Values) -> bool:
        factors = [a / b for a, b in zip(got["bound"], right["bound"].tolist(), strict=False)]
        return max(factors) - min(factors) < 2e-6 < abs(factors[0] - 1.0) < 1e-2

    yield "single-precision", scaled
    yield "batch-averaged", {name: value.mean() for name, value in right.items()}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return {name: answer(*inputs.values()) for name, answer in zip(("bound", "gap"), answers, strict=True)}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch in (4, 1, 6):  # one factor for all values means something only where there are several
        inputs = {
            "x": tensor(rng.normal(size=batch)),
            "w": tensor(rng.uniform(0.4, 1.6, size=batch) * rng.choice([-1.0, 1.0], size=batch)),
            "s": tensor(rng.uniform(0.2, 0.8, size=batch)),
        }
        yield Case(inputs, _by_grid(**inputs), lambda inputs=inputs: _mistaken(**inputs))


EXERCISE = Exercise(
    id="3.3",
    functions=("prior_bound", "prior_gap"),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
