"""3.4 Line 66 of the source note, row by row. Oracle: closed forms of Gaussian averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import WrongForm
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "all-equal": "every row before the ≥ is put equal to ln p(x): evaluate them as they are printed",
    "averaged-over-q": "rows 1 to 3 are averaged over q: it is p(z) that stands under these integrals",
    "log-outside": "the logarithm of row 1 is taken after the average: that is ln p(x)",
    "joint-for-ratio": "row 3 holds ln p(x,z) without the division by p(z)",
    "gap-kept": "row 6 still holds KL(q‖p(z|x)): that term is dropped there",
    "half-a-row": "the KL to the posterior is missing: it stands in row 4 and in row 5",
    "row-4-copied": "row 4 is put equal to row 3: its two integrals are over q",
    "std-q-as-variance": "std_q is used as a variance: it is a standard deviation",
    "rate-sign": "the KL to the prior is added in rows 5 and 6: there is a minus in front of the bracket",
    "free-energy-sign": "row 7 is F itself: printed is −F, and row 8 is equal to it",
    "not-an-integral": (
        "every row is off by the same factor: a sum over a grid is an integral only times the spacing"
    ),
    "single-precision": (
        "the grid is in single precision, where its spacing is off by some 1e-4: "
        "torch.linspace(…, dtype=torch.float64)"
    ),
    "s-as-variance": "s is used as a variance: it is a standard deviation",
    "against-the-left-side": (
        "the rows are compared with the left side: a sign stands between a row and the row before it"
    ),
    "counted-from-zero": "the rows are counted from 0: the row after signs[0] has the number 1",
    "greater-as-equal": "a >= is read as =: a smaller value is what it allows",
    "strictly-greater": "a >= is read as >: two values that are equal satisfy it",
    "greater-ignored": "a >= is never called false: it is where the value rises",
    "first-only": "the search ends at the first false sign: there may be more",
    "greater-as-less": "a >= is read the other way round: it says that the row before is the larger one",
    "rounding-punished": "rounding counts as a false sign: differences up to 1e-6 are forgiven",
}

NAMES = ("rows", "signs")


def _rows(x: float, s: float, mean_q: float, std_q: float) -> dict[str, float]:
    """What the rows are made of, in closed form."""
    half = 0.5 * math.log(2.0 * math.pi)
    variance, evidence_variance = std_q**2, 1.0 + s**2
    posterior_mean, posterior_variance = x / evidence_variance, s**2 / evidence_variance
    rate = 0.5 * (mean_q**2 + variance - 1.0 - math.log(variance))
    ratio = variance / posterior_variance
    gap = 0.5 * (ratio - 1.0 - math.log(ratio) + (mean_q - posterior_mean) ** 2 / posterior_variance)
    return {
        "evidence": -half - 0.5 * math.log(evidence_variance) - x**2 / (2.0 * evidence_variance),
        "prior_average": -half - math.log(s) - (x**2 + 1.0) / (2.0 * s**2),
        "fit": -half - math.log(s) - ((x - mean_q) ** 2 + variance) / (2.0 * s**2),
        "rate": rate,
        "gap": gap,
        "prior_energy": -half - 0.5,  # the average of ln p(z) over the prior
    }


def _right(part: Mapping[str, float]) -> list[float]:
    bound = part["fit"] - part["rate"]
    return [part["prior_average"]] * 3 + [part["evidence"]] * 2 + [bound] * 3


def _changed(rows: Sequence[float], changes: Mapping[int, float]) -> Tensor:
    """The rows with some of them, counted from 1, replaced."""
    return tensor([changes.get(number, row) for number, row in enumerate(rows, start=1)])


def _false(values: Sequence[float], signs: Sequence[str], slack: float = 1e-6) -> list[int]:
    """The rows whose sign is false, counted from 1."""
    steps = [b - a for a, b in pairwise(values)]
    rises = [step if sign == ">=" else abs(step) for step, sign in zip(steps, signs, strict=True)]
    holds = [rise <= slack for rise in rises]
    return [row for row, true in enumerate(holds, start=1) if not true]


def _flags(rows: Sequence[int], count: int) -> list[float]:
    """1 at the places of these rows, 0 elsewhere; place 0 is for a row that does not exist."""
    return [1.0 if row in rows else 0.0 for row in range(count + 1)]


def _mistaken(
    x: float, s: float, mean_q: float, std_q: float, values: Tensor, signs: list[str]
) -> Iterator[tuple[str, Any]]:
    part = _rows(x, s, mean_q, std_q)
    rows = _right(part)
    evidence, fit, rate, gap = (part[name] for name in ("evidence", "fit", "rate", "gap"))
    wide = _rows(x, math.sqrt(s), mean_q, std_q)
    broad = _rows(x, s, mean_q, math.sqrt(std_q))
    for name, changed in (
        ("all-equal", _changed(rows, dict.fromkeys(range(1, 6), evidence))),
        ("averaged-over-q", _changed(rows, dict.fromkeys(range(1, 4), fit))),
        ("log-outside", _changed(rows, {1: evidence})),
        ("log-outside", _changed(rows, dict.fromkeys(range(1, 4), evidence))),
        ("joint-for-ratio", _changed(rows, {3: part["prior_average"] + part["prior_energy"]})),
        ("gap-kept", _changed(rows, {6: evidence})),
        ("rate-sign", _changed(rows, {5: fit + rate + gap, 6: fit + rate})),
        ("free-energy-sign", _changed(rows, {7: rate - fit})),
        ("free-energy-sign", _changed(rows, {7: rate - fit, 8: rate - fit})),
        ("half-a-row", _changed(rows, {4: fit - rate})),
        ("half-a-row", _changed(rows, {5: fit - rate})),
        ("half-a-row", _changed(rows, {4: fit - rate, 5: fit - rate})),
        ("row-4-copied", _changed(rows, {4: part["prior_average"]})),
        ("std-q-as-variance", tensor(_right(broad))),
        ("s-as-variance", tensor(_right(wide))),
    ):
        yield name, {"rows": changed}

    def scaled(got: Mapping[str, Sequence[float]], most: float) -> float:
        """How far the rows are off, relatively, where all are off by one factor; else zero."""
        factors = [a / b for a, b in zip(got["rows"], rows, strict=False)]
        alike = len(got["rows"]) == 8 and max(factors) - min(factors) < most * abs(factors[0])
        return abs(factors[0] - 1.0) if alike else 0.0

    yield "not-an-integral", lambda got: scaled(got, 1e-6) > 1e-2
    yield "single-precision", lambda got: 2e-6 < scaled(got, 1e-4) <= 1e-2

    chain = values.tolist()
    count = len(signs)
    false = _false(chain, signs)
    left = [row for row in range(1, count + 1) if _false([chain[0], chain[row]], signs[row - 1 : row])]
    turned = [-value for value in chain]
    backward = [row for row in _false(turned, signs) if signs[row - 1] == ">="]
    equalities = [row for row in false if signs[row - 1] == "="]
    strict = [row for row in _false(chain, signs, slack=-1e-6) if signs[row - 1] == ">="]
    unforgiven = [row for row in _false(chain, signs, slack=0.0) if signs[row - 1] == ">="]
    for name, found in (
        ("against-the-left-side", left),
        ("counted-from-zero", [row - 1 for row in false]),
        ("greater-as-equal", _false(chain, ["="] * count)),
        ("strictly-greater", sorted(equalities + strict)),
        ("greater-ignored", equalities),
        ("first-only", false[:1]),
        ("rounding-punished", sorted(equalities + unforgiven)),
        ("greater-as-less", sorted(equalities + backward)),
        ("rounding-punished", _false(chain, signs, slack=0.0)),
    ):
        yield name, {"signs": _flags(found, count)}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    numbers_of_rows = {name: inputs[name] for name in ("x", "s", "mean_q", "std_q")}
    rows = answers[0](**numbers_of_rows)
    found = answers[1](inputs["values"], inputs["signs"])
    flags = isinstance(found, (list, tuple)) and any(isinstance(row, bool) for row in found)
    if flags or not isinstance(found, (list, tuple)) or not all(float(row).is_integer() for row in found):
        raise WrongForm("false_signs must return a list of row numbers")
    return {"rows": rows, "signs": _flags([int(row) for row in found], len(inputs["signs"]))}


def _chain(rng: np.random.Generator) -> tuple[Tensor, list[str]]:
    """Values that stay, jump up and down, and come back, with some of the signs false."""
    low, middle, high = np.sort(rng.normal(size=3)) + np.array([-1.0, 0.0, 1.0])
    values = [middle, low, low, low, low + 4e-7, middle, middle + 3e-7, high, low, low]
    signs = ["=", "=", ">=", ">=", ">=", "=", "=", ">=", "="]
    return tensor(values), signs


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for _ in range(3):
        x, s = float(rng.normal()), float(rng.uniform(0.3, 0.8))
        mean_q, std_q = float(rng.normal()), float(rng.uniform(0.3, 0.9))
        values, signs = _chain(rng)
        inputs = {"x": x, "s": s, "mean_q": mean_q, "std_q": std_q, "values": values, "signs": signs}
        yield Case(
            inputs,
            {
                "rows": tensor(_right(_rows(x, s, mean_q, std_q))),
                "signs": _flags(_false(values.tolist(), signs), len(signs)),
            },
            lambda inputs=inputs: _mistaken(**inputs),
        )


EXERCISE = Exercise(
    id="3.4",
    functions=("chain_values", "false_signs"),
    returns="(8,), one value per row, and a list of row numbers",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
