"""3.5 The chain, repaired. Oracle: ln p(x) of the Gaussian model in closed form, times the mass of q."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "deaf-to-q": (
        "the rows are ln p(x) whatever q integrates to: the weight in every row is q as it is given, not "
        "p(z), nothing is normalised, and no row is copied from another"
    ),
    "mixed-weights": (
        "the two terms of row 3 have different weights: both come from one average over q, and keep it"
    ),
    "not-an-integral": "the spacing of the grid is missing: a sum is an integral only times it",
    "joint-for-posterior": (
        "the joint stands where the posterior belongs: ln p(z|x) is ln p(x,z) minus ln p(x)"
    ),
    "half-a-row": "the KL to the posterior is missing: rows 3 and 4 end in it",
    "start-integrated": "the first value is an integral as well: it is ln p(x) itself",
    "gap-sign": "the KL to the posterior is subtracted: the chain adds it",
    "rate-sign": "the KL to the prior is added in row 4: it is subtracted",
    "rate-for-gap": "row 3 ends in the KL to the prior: what is added there is the KL to the posterior",
}


def _log_normal(z: Any, mean: Any, std: float) -> Tensor:
    return -0.5 * ((z - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2.0 * math.pi)


def _mistaken(
    mass: float, *, z: Tensor, log_q: Tensor, log_prior: Tensor, log_likelihood: Tensor, log_evidence: float
) -> Iterator[tuple[str, Values]]:
    spacing = z[1] - z[0]
    q, p = log_q.exp() * spacing, log_prior.exp() * spacing
    joint = log_prior + log_likelihood
    posterior = joint - log_evidence
    elbo, gap = (q * (joint - log_q)).sum(), (q * (log_q - posterior)).sum()
    rate, fit = (q * (log_q - log_prior)).sum(), (q * log_likelihood).sum()
    whole = mass * log_evidence

    def rows(*changed: Any, start: float = log_evidence) -> Values:
        return {"value": tensor([start, *map(float, changed)])}

    yield "deaf-to-q", rows(*[log_evidence] * 4)  # also what p(z) gives as the weight of every row
    yield "deaf-to-q", rows(log_evidence, whole, whole, whole)
    yield "deaf-to-q", rows(log_evidence, log_evidence, whole, whole)
    over_p = (p * (joint - log_q)).sum(), (p * (log_q - posterior)).sum()
    yield "mixed-weights", rows(whole, whole, elbo + over_p[1], whole)
    yield "mixed-weights", rows(whole, whole, over_p[0] + gap, whole)
    yield "mixed-weights", rows(whole, whole, elbo + over_p[1], fit - rate + over_p[1])
    yield "not-an-integral", rows(*[whole / float(spacing)] * 4)
    log_q_to_joint = (q * (log_q - joint)).sum()
    yield "joint-for-posterior", rows(whole, 0.0, elbo + log_q_to_joint, fit - rate + log_q_to_joint)
    for third, fourth in ((elbo, whole), (whole, elbo), (elbo, elbo)):
        yield "half-a-row", rows(whole, whole, third, fourth)
    yield "start-integrated", rows(*[whole] * 4, start=whole)
    yield "gap-sign", rows(whole, whole, elbo - gap, fit - rate - gap)
    yield "gap-sign", rows(whole, whole, elbo - gap, whole)
    yield "gap-sign", rows(whole, whole, whole, fit - rate - gap)
    yield "rate-sign", rows(whole, whole, whole, fit + rate + gap)
    yield "rate-for-gap", rows(whole, whole, elbo + rate, whole)
    yield "rate-for-gap", rows(whole, whole, elbo + rate, fit - rate + rate)


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return {"value": answers[0](**inputs)}


def _case(x: float, s: float, log_q: Tensor, z: Tensor, mass: float, about: str) -> Case:
    evidence = float(_log_normal(tensor(x), 0.0, math.sqrt(1.0 + s * s)))
    inputs: dict[str, Any] = {
        "z": z,
        "log_q": log_q,
        "log_prior": _log_normal(z, 0.0, 1.0),
        "log_likelihood": _log_normal(x, z, s),
        "log_evidence": evidence,
    }
    right = {"value": tensor([evidence, *[mass * evidence] * 4])}
    return Case(inputs, right, lambda: _mistaken(mass, **inputs), atol=1e-7, rtol=0.0, about=about)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    z = torch.linspace(-14.0, 14.0, 2801, dtype=torch.float64)
    for kind in ("one bump", "two bumps", "mass 2"):
        x, s = float(rng.normal()), float(rng.uniform(0.3, 0.8))
        mean, std = float(rng.normal()), float(rng.uniform(0.4, 0.9))
        log_q = _log_normal(z, mean, std)
        if kind == "two bumps":
            log_q = torch.logaddexp(log_q, _log_normal(z, mean + 2.5, 0.6)) - math.log(2.0)
        mass = 2.0 if kind == "mass 2" else 1.0
        yield _case(x, s, log_q + math.log(mass), z, mass, f"a q with {kind}")


EXERCISE = Exercise(
    id="3.5",
    functions=("repair_chain",),
    returns="(5,), ln p(x) and the four rows",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
