"""7.6 How fast a collapsed latent wakes up. Oracle: second differences of the objective."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

STEP = 1e-2

MISTAKES = {
    "smaller-eigenvalue": "the smaller eigenvalue is returned: the larger one says whether the signal grows",
    "negated": "the sign is turned: at a saddle of the ELBO the rate is positive",
    "doubled": "the matrix is twice too large: the ½ in front cancels the 2 of the square's slope",
    "halved": "the matrix is half of what it should be: the slope of w² is 2w",
    "off-diagonal-halved": "the entry beside the diagonal is halved: wv has the second derivative 1, not ½",
    "determinant": "the determinant is returned: the rate is an eigenvalue",
    "cut-off": "the rate is cut off at zero, or made positive: where the signal dies out it is negative",
    "trace-turned": "half the trace has its sign turned: both entries of the diagonal are negative",
    "difference-under-root": "under the root stands half the *difference* of the diagonal's entries",
    "variance-missing": "the variance is not used",
    "time-for-rate": "the time is returned: the rate is one over it",
    "trace": "the trace is returned: that is the sum of both eigenvalues",
    "threshold-only": "only λ − σ² is returned: it has the sign of the rate, not its size",
    "std-for-variance": "the variance is squared, or its root is taken: it is σ² already",
    "batch-averaged": "the batch is averaged: keep one rate per pair",
}


def _height(lam: float, variance: float, w: float | int, v: float | int) -> float:
    return -0.5 * (((1 - w * v) ** 2 * lam + w**2) / variance + v**2 * lam)


def _curvature(lam: float, variance: float) -> np.ndarray:
    """The matrix of second derivatives at w = v = 0; for this polynomial the differences are exact."""

    def at(w: int, v: int) -> float:
        return _height(lam, variance, w * STEP, v * STEP)

    mixed = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    both = [[at(1, 0) - 2 * at(0, 0) + at(-1, 0), mixed], [mixed, at(0, 1) - 2 * at(0, 0) + at(0, -1)]]
    return np.array(both) / STEP**2


def _mistaken(lam: Tensor, variance: Tensor, right: Tensor) -> Iterator[tuple[str, Values]]:
    pairs = list(zip(lam.tolist(), variance.tolist(), strict=True))
    matrices = [_curvature(*pair) for pair in pairs]
    dim = np.array([[1.0, 0.5], [0.5, 1.0]])
    summed, apart = -(1 / variance + lam) / 2, (1 / variance - lam) / 2
    root = (apart**2 + (lam / variance) ** 2).sqrt()
    if len(right) > 1:
        yield "batch-averaged", {"value": right.mean()}
    for name, value in (
        ("cut-off", right.clamp(min=0.0)),
        ("cut-off", right.abs()),
        ("trace-turned", root - summed),
        ("difference-under-root", summed + (summed**2 + (lam / variance) ** 2).sqrt()),
        (
            "variance-missing",
            [np.linalg.eigvalsh(_curvature(a, 1.0))[1] for a, _ in pairs],
        ),
        ("time-for-rate", 1 / right),
        ("std-for-variance", [np.linalg.eigvalsh(_curvature(a, b**0.5))[1] for a, b in pairs]),
        ("smaller-eigenvalue", [np.linalg.eigvalsh(each)[0] for each in matrices]),
        ("negated", -right),
        ("doubled", 2 * right),
        ("halved", right / 2),
        ("off-diagonal-halved", [np.linalg.eigvalsh(each * dim)[1] for each in matrices]),
        ("determinant", [np.linalg.det(each) for each in matrices]),
        ("trace", [np.trace(each) for each in matrices]),
        ("threshold-only", lam - variance),
        ("std-for-variance", [np.linalg.eigvalsh(_curvature(a, b**2))[1] for a, b in pairs]),
    ):
        yield name, {"value": tensor(value)}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch in (4, 1, 6):
        lam = tensor(rng.uniform(0.5, 6.0, size=batch))
        variance = lam * tensor(rng.choice([0.1, 0.5, 0.97, 1.04, 2.0], size=batch) * rng.uniform(0.98, 1.02))
        variance = variance + tensor(rng.uniform(0.0, 0.01, size=batch))
        pairs = zip(lam.tolist(), variance.tolist(), strict=True)
        right = tensor([np.linalg.eigvalsh(_curvature(*pair))[1] for pair in pairs])
        yield Case(
            {"lam": lam, "variance": variance},
            {"value": right},
            lambda lam=lam, variance=variance, right=right: _mistaken(lam, variance, right),
            rtol=1e-6,
            # near λ = σ² two such numbers nearly cancel: in single precision little is left
            atol={"value": 1e-6 * (1.0 + lam / variance)},
        )


EXERCISE = Exercise(
    id="7.6",
    functions=("collapse_rate",),
    returns="(batch,), one rate per pair",
    mistakes=MISTAKES,
    cases=_cases,
)
