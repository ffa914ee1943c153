"""5.1 The Gaussian log-density. Oracle: products of the standard library's densities, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "no-half": "the ½ of the exponent is missing: the square stands over 2σ²",
    "as-noted": (
        "it is line 98 of the source note: the ½ of the exponent is missing, and there is one normaliser "
        "for all pixels"
    ),
    "square-only": "only −(x − f)² is left: the 2σ² under it and the normaliser are missing",
    "one-normaliser": "there is one normaliser for all pixels: each of the D pixels brings its own",
    "no-normaliser": "the normaliser is missing: −½ ln 2πσ² for each pixel",
    "no-two-pi": "the 2π of the normaliser is missing",
    "no-log-sigma": "σ is missing in the normaliser: it is no constant, ½ ln 2πσ²",
    "half-as-variance": "σ is used as a variance: it is a standard deviation",
    "misplaced-square": "the bracket squares f alone: it is (x − f)²",
    "mean-over-pixels": "the pixels are averaged: the log-density of an image is a sum over its pixels",
    "normaliser-sign": "the sign of the normaliser is turned: it is −½ ln 2πσ² for each pixel",
    "exponent-sign": "the square is added: it is subtracted, the density falls with the distance",
    "not-squared": "the distance is not squared: it is (x − f)², summed over the pixels",
    "sum-squared": "the differences are added up before they are squared: square each, then add",
    "sigma-multiplied": "the square is multiplied by σ², not divided: write / (2 * sigma**2)",
    "normaliser-doubled": "the ½ of D/2 is missing: each pixel brings −½ ln 2πσ²",
    "underflow": (
        "the densities are multiplied before the logarithm is taken: the product of many small numbers is 0 "
        "to the computer, so add logarithms"
    ),
    "negated": "the sign is turned: that is the loss",
    "per-pixel": "the pixels are not added up: return one value per example",
    "batch-summed": "the batch is added up: keep one value per example",
    "batch-averaged": "the batch is averaged: keep one value per example",
}


def _right(x: Tensor, f: Tensor, sigma: float) -> Tensor:
    rows = zip(x.tolist(), f.tolist(), strict=True)
    return tensor(
        [
            math.fsum(math.log(NormalDist(b, sigma).pdf(a)) for a, b in zip(*row, strict=True))
            for row in rows
        ]
    )


def _mistaken(x: Tensor, f: Tensor, sigma: float) -> Iterator[tuple[str, Values]]:
    right = _right(x, f, sigma)
    pixels = x.shape[-1]
    squares = (x - f).square().sum(-1)
    exponent = squares / (2 * sigma**2)
    one = 0.5 * math.log(2 * math.pi * sigma**2)
    for name, value in (
        ("no-half", right - exponent),
        ("as-noted", -one - 2 * exponent),
        ("square-only", -squares),
        ("square-only", -squares / 2),
        ("one-normaliser", right + (pixels - 1) * one),
        ("one-normaliser", right + (pixels - 1) * math.log(sigma)),
        ("normaliser-sign", right + 2 * pixels * one),
        ("no-normaliser", -exponent),
        ("no-normaliser", -2 * exponent),
        ("no-two-pi", right + pixels * 0.5 * math.log(2 * math.pi)),
        ("no-log-sigma", right + pixels * math.log(sigma)),
        ("half-as-variance", _right(x, f, math.sqrt(sigma))),
        ("half-as-variance", right + exponent - squares / (2 * sigma)),
        ("half-as-variance", right + pixels * 0.5 * math.log(sigma)),
        ("misplaced-square", -pixels * one - (x - f.square()).sum(-1) / (2 * sigma**2)),
        ("misplaced-square", -pixels * one - (x - f.square()).square().sum(-1) / (2 * sigma**2)),
        ("mean-over-pixels", right / pixels),
        ("mean-over-pixels", right.mean() / pixels),
        ("mean-over-pixels", -pixels * one - exponent / pixels),
        ("exponent-sign", right + 2 * exponent),
        ("not-squared", right + exponent - squares.sqrt() / (2 * sigma**2)),
        ("not-squared", right + exponent - (x - f).abs().sum(-1) / (2 * sigma**2)),
        ("sum-squared", right + exponent - (x - f).sum(-1).square() / (2 * sigma**2)),
        ("sigma-multiplied", right + exponent - squares / 2 * sigma**2),
        ("normaliser-doubled", right - pixels * one),
        ("underflow", torch.exp(-one - (x - f).square() / (2 * sigma**2)).prod(-1).log()),
        ("negated", -right),
        ("per-pixel", -one - (x - f).square() / (2 * sigma**2)),
        ("batch-summed", right.sum()),
        ("batch-averaged", right.mean()),
    ):
        yield name, {"value": value}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, pixels in ((3, 3), (4, 5), (1, 1), (1, 2000)):
        inputs: dict[str, Any] = {
            "x": tensor(rng.uniform(0.0, 1.0, size=(batch, pixels))),
            "f": tensor(rng.uniform(0.0, 1.0, size=(batch, pixels))),
            "sigma": float(rng.uniform(0.2, 0.7)),
        }
        yield Case(
            inputs,
            {"value": _right(**inputs)},
            lambda inputs=inputs: _mistaken(**inputs),
            about=f"{pixels} pixels",
        )


EXERCISE = Exercise(
    id="5.1",
    functions=("gaussian_loglik",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
)
