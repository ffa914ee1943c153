"""3.7 The exact importance-weighted bound. Oracle: a Laplace transform and one integral, no tuples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tables, tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "mean-of-logs": (
        "the logarithms are averaged: that is the ELBO for every k; average the weights first"
    ),
    "no-log-k": "the sum of the weights is not divided by k: −ln k is missing, and the result is no bound",
    "log-k-added": "ln k is added: dividing by k subtracts it",
    "chances-added": "the chances of a tuple's draws are added: independent draws multiply them",
    "maximum-not-returned": "the largest log-weight is taken out and not put back",
    "no-repeats": "no latent is drawn twice: draws are independent, a tuple may hold the same value again",
    "unordered": (
        "every multiset is visited once: tuples in another order count too, or need their multinomial factor"
    ),
    "equal-chances": "every tuple counts the same: its chance is the product of the chances of its draws",
    "largest": "the largest weight stands for the mean weight",
    "log-of-all": "the logarithm is taken once, at the end: that is ln p(x) for every k",
    "underflow": "the weights are computed without their logarithms and underflow: use logsumexp",
}

_U = np.linspace(-45.0, 12.0, 2281)  # the rule is exact to rounding: the integrand dies out at both ends


def _right(log_w: Sequence[float], q: Sequence[float], k: int) -> float:
    """E ln mean(w) = ∫ [exp(−eᵘ) − (E exp(−eᵘ w/k))ᵏ] du, after the largest weight is taken out."""
    top = max(log_w)
    weights = [math.exp(value - top) for value in log_w]
    one = sum(chance * np.exp(-np.exp(_U) * weight / k) for chance, weight in zip(q, weights, strict=True))
    return top + float((np.exp(-np.exp(_U)) - one**k).sum() * (_U[1] - _U[0]))


def _over(tuples: Iterator[tuple[int, ...]], value: Callable, chance: Callable) -> float:
    """The average of `value` with weights `chance`, which need not sum to one."""
    drawn = list(tuples)
    total = math.fsum(chance(t) for t in drawn)
    return math.fsum(chance(t) * value(t) for t in drawn) / total if total else math.nan


def _log_mean(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values) / len(values))


def _mistaken(log_w: Tensor, q: Tensor, k: int) -> Iterator[tuple[str, Values]]:
    logs, chances = log_w.tolist(), q.tolist()
    places = range(len(logs))
    right = _right(logs, chances, k)
    bound = lambda t: _log_mean([logs[i] for i in t])  # noqa: E731
    chance = lambda t: math.prod(chances[i] for i in t)  # noqa: E731

    def unnormalised(tuples: Iterator[tuple[int, ...]]) -> float:
        return math.fsum(chance(t) * bound(t) for t in tuples)

    yield "mean-of-logs", {"value": math.fsum(a * b for a, b in zip(chances, logs, strict=True))}
    yield "no-log-k", {"value": right + math.log(k)}
    yield "log-k-added", {"value": right + 2.0 * math.log(k)}
    yield "maximum-not-returned", {"value": right - max(logs)}
    every = list(itertools.product(places, repeat=k))
    total = math.fsum(math.fsum(chances[i] for i in t) * bound(t) for t in every)
    yield "chances-added", {"value": total}
    if k <= len(logs):
        yield "no-repeats", {"value": _over(itertools.permutations(places, k), bound, chance)}
        yield "no-repeats", {"value": unnormalised(itertools.permutations(places, k))}
        yield "no-repeats", {"value": unnormalised(itertools.combinations(places, k))}
    multisets = list(itertools.combinations_with_replacement(places, k))
    yield "unordered", {"value": unnormalised(iter(multisets))}
    yield "unordered", {"value": _over(iter(multisets), bound, chance)}
    yield "equal-chances", {"value": _over(iter(every), bound, lambda t: 1.0)}
    yield "largest", {"value": _over(iter(every), lambda t: max(logs[i] for i in t), chance)}
    mean = math.fsum(a * math.exp(b - max(logs)) for a, b in zip(chances, logs, strict=True))
    yield "log-of-all", {"value": max(logs) + math.log(mean)}
    naive = [math.exp(value) for value in logs]
    if min(naive) == 0.0:
        yield "underflow", {"value": -math.inf}
        yield "underflow", {"value": math.nan}
    else:
        yield "underflow", {"value": right}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for latents, k, shift in ((3, 2, 0.0), (4, 3, 0.0), (2, 5, -2.0), (3, 3, -1000.0)):
        log_w = tensor(1.5 * rng.normal(size=latents) + shift)
        q = tables(rng, 1, latents, floor=0.08)[0]
        yield Case(
            {"log_w": log_w, "q": q, "k": k},
            {"value": tensor(_right(log_w.tolist(), q.tolist(), k))},
            lambda log_w=log_w, q=q, k=k: _mistaken(log_w, q, k),
            about="small weights" if shift < -100.0 else f"{k} draws",
            rtol=0.0,
            atol=1e-6,
        )


EXERCISE = Exercise(
    id="3.7",
    functions=("iwae_exact",),
    returns="(), one number",
    mistakes=MISTAKES,
    cases=_cases,
)
