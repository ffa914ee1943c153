"""5.6 Bits per dimension. Oracle: the length of a code for levels of equal probability, in whole bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "in-nats": "it is not divided by ln 2: those are nats",
    "half-in-nats": "only one of the two terms is in bits: divide both by ln 2",
    "jacobian-sign": "the sign of ln(scale) is turned: on the undivided data the density is smaller",
    "no-scale": "the scale is ignored",
    "no-pixels": "it is not divided by D",
    "scale-shared": "ln(scale) is divided by D too: it comes once for each pixel",
    "scale-squared": "ln(scale) is counted twice",
    "scale-not-logged": "the scale is added, and not its logarithm",
    "scale-times-pixels": "ln(scale) is multiplied by D: per pixel it comes once",
    "scale-in-bits-twice": "ln(scale) is divided by ln 2 twice: log2 has done it already",
    "divided-by-scale": "the nats are divided by the scale: a change of unit adds ln(scale) for each pixel",
    "negated": "the sign is turned: fewer bits are better, so minus ln p",
    "times-ln-2": "it is multiplied by ln 2 where it should be divided",
    "batch-averaged": "the batch is averaged: keep one value per example",
}


def _mistaken(lnp_nats: Tensor, D: int, scale: float) -> Iterator[tuple[str, Values]]:
    nats, log_scale, two = -lnp_nats / D, math.log(scale), math.log(2)
    right = (nats + log_scale) / two
    for name, value in (
        ("in-nats", nats + log_scale),
        ("half-in-nats", nats / two + log_scale),
        ("half-in-nats", nats + log_scale / two),
        ("jacobian-sign", (nats - log_scale) / two),
        ("no-scale", nats / two),
        ("no-pixels", (D * nats + log_scale) / two),
        ("no-pixels", D * right),
        ("scale-shared", (nats + log_scale / D) / two),
        ("scale-squared", (nats + 2 * log_scale) / two),
        ("scale-not-logged", (nats + scale) / two),
        ("scale-times-pixels", (nats + D * log_scale) / two),
        ("scale-in-bits-twice", (nats + log_scale / two) / two),
        ("divided-by-scale", nats / scale / two),
        ("negated", -right),
        ("negated", (log_scale - nats) / two),
        ("times-ln-2", (nats + log_scale) * two),
        ("batch-averaged", right.mean()),
    ):
        yield name, {"value": value}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, power in ((1, 8), (3, 4), (4, 5)):
        dims, scale = int(rng.integers(5, 90)), float(rng.uniform(3.0, 200.0))
        # `free` pixels take one of 2^power levels, the others are known: a code of whole bits
        free = rng.integers(1, dims, size=batch)
        bits = power * free / dims
        log_p = [dims * math.log(scale) - count * power * math.log(2.0) for count in free.tolist()]
        inputs: dict[str, Any] = {"lnp_nats": tensor(log_p), "D": dims, "scale": scale}
        yield Case(
            inputs, {"value": tensor(bits)}, lambda inputs=inputs: _mistaken(**inputs), about=f"{dims} pixels"
        )


EXERCISE = Exercise(
    id="5.6",
    functions=("bits_per_dim",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
)
