"""1.3 The evidence by enumeration. Oracle: exact fractions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tables, tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "mean-of-logs": "the logarithms are averaged over z: average the probabilities, then take the logarithm",
    "no-prior": "the prior is missing: every cause counts with its p(z)",
    "uniform-prior": "every cause counts the same: weigh it with its p(z)",
    "prior-not-logged": "p(z) itself is added to a logarithm: add ln p(z)",
    "one-cause-per-pixel": (
        "the causes are averaged for every pixel alone: all pixels of a picture have the same cause"
    ),
    "negated": "the sign is turned",
    "only-ones": "only the pixels that are 1 are counted: a 0 has the probability 1 − p",
    "pixels-averaged": "the pixels are averaged: ln p(x|z) is a sum over pixels",
    "largest": "only the largest term is kept: the others belong to the sum",
    "underflow": "the product over the pixels underflows to zero: stay in logarithms, use logsumexp",
    "batch-averaged": "the batch is averaged: keep one value per example",
}


def _log(value: Fraction) -> float:
    return math.log(value.numerator) - math.log(value.denominator)


def _right(prior: Tensor, means: Tensor, x: Tensor) -> list[float]:
    """ln p(x) with exact rational numbers; no logarithm before the end."""
    found = []
    for row in x.tolist():
        total = Fraction(0)
        for chance, probabilities in zip(prior.tolist(), means.tolist(), strict=True):
            tops, bottoms = [], []
            for p, pixel in zip(probabilities, row, strict=True):
                top, bottom = p.as_integer_ratio()
                tops.append(top if pixel else bottom - top)
                bottoms.append(bottom)
            total += Fraction(chance) * Fraction(math.prod(tops), math.prod(bottoms))
        found.append(_log(total))
    return found


def _mistaken(prior: Tensor, means: Tensor, x: Tensor, right: Tensor) -> Iterator[tuple[str, Values]]:
    ones = x @ means.log().T
    both = ones + (1 - x) @ (1 - means).log().T  # ln p(x|z), (batch, latents)
    for name, value in (
        ("mean-of-logs", both @ prior),
        ("no-prior", both.logsumexp(-1)),
        ("uniform-prior", both.logsumexp(-1) - math.log(len(prior))),
        ("prior-not-logged", (prior + both).logsumexp(-1)),
        ("one-cause-per-pixel", x @ (prior @ means).log() + (1 - x) @ (1 - prior @ means).log()),
        ("negated", -right),
        ("only-ones", (prior.log() + ones).logsumexp(-1)),
        ("pixels-averaged", (prior.log() + both / x.shape[1]).logsumexp(-1)),
        ("largest", (prior.log() + both).amax(-1)),
        ("underflow", (both.exp() @ prior).log()),
        ("batch-averaged", right.mean()),
    ):
        yield name, {"value": value}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, latents, pixels in ((3, 4, 5), (1, 2, 7), (2, 3, 1500)):
        prior = tables(rng, 1, latents, floor=0.08)[0]
        means = tensor(np.round(rng.uniform(0.1, 0.9, size=(latents, pixels)) * 256) / 256)
        x = tensor(rng.integers(0, 2, size=(batch, pixels)))
        right = tensor(_right(prior, means, x))
        inputs = {"prior": prior, "means": means, "x": x}
        yield Case(
            inputs,
            {"value": right},
            lambda inputs=inputs, right=right: _mistaken(**inputs, right=right),
            rtol=1e-9,
            about=f"{pixels} pixels",
        )


EXERCISE = Exercise(
    id="1.3",
    functions=("logp_enumerate",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
)
