"""5.3 The Bernoulli log-likelihood. Oracle: probabilities as exact fractions; for large logits, limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "double-sigmoid": "a sigmoid is taken of what a sigmoid has made: the arguments are logits already",
    "naive": (
        "the logarithm of a probability, or an exponential, has overflowed: stay with logits, as softplus "
        "does"
    ),
    "clipped": "the probabilities, or the logits, are clipped: a large logit then costs far too little",
    "as-probability": "the logits are used as if they were probabilities",
    "swapped": "the two arguments are swapped: x is what was seen, the logits are the decoder's",
    "white-only": "only white pixels are counted: a black one has the probability 1 − λ",
    "colours-turned": "black and white are swapped",
    "softplus-turned": "softplus is taken of −ℓ: it is ln(1 + e^ℓ) for black and white alike",
    "softplus-added": "ln(1 + e^ℓ) is added: it is subtracted, a probability is at most 1",
    "negated": "the sign is turned: that is the cross-entropy, the loss",
    "mean-over-pixels": "the pixels are averaged: the log-probability of an image is a sum over its pixels",
    "per-pixel": "the pixels are not added up: return one value per example",
    "batch-averaged": "the batch is averaged: keep one value per example",
}


def _of_odds(x: list[list[float]], odds: list[list[Fraction]]) -> Tensor:
    return tensor(
        [
            math.log(math.prod((o if a else 1) / (1 + o) for a, o in zip(image, row, strict=True)))
            for image, row in zip(x, odds, strict=True)
        ]
    )


def _mistaken(x: Tensor, logits: Tensor, right: Tensor) -> Iterator[tuple[str, Values]]:
    lam = torch.sigmoid(logits)
    bent = torch.sigmoid(lam)

    def log_p(p: Tensor, seen: Tensor = x) -> Tensor:
        return torch.where(seen == 1, p.log(), (1 - p).log()).sum(-1)

    turned = torch.sigmoid(x)
    for name, value in (
        ("double-sigmoid", log_p(bent)),
        ("naive", (x * lam.log() + (1 - x) * (1 - lam).log()).sum(-1)),
        ("naive", log_p(lam)),
        ("naive", (x * logits - (1 + logits.exp()).log()).sum(-1)),
        ("naive", (x * logits - torch.log1p(logits.exp())).sum(-1)),
        ("swapped", (logits * turned.log() + (1 - logits) * (1 - turned).log()).sum(-1)),
        ("white-only", (x * torch.nn.functional.logsigmoid(logits)).sum(-1)),
        ("colours-turned", (-x * logits - torch.nn.functional.softplus(-logits)).sum(-1)),
        ("softplus-turned", (x * logits - torch.nn.functional.softplus(-logits)).sum(-1)),
        ("softplus-added", (x * logits + torch.nn.functional.softplus(logits)).sum(-1)),
        ("negated", -right),
        ("mean-over-pixels", right / x.shape[-1]),
        ("mean-over-pixels", right.mean() / x.shape[-1]),
        ("per-pixel", x * logits - torch.nn.functional.softplus(logits)),
        ("batch-averaged", right.mean()),
    ):
        yield name, {"value": value}
    for least in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12, torch.finfo(x.dtype).eps):
        yield "clipped", {"value": log_p(lam.clamp(least, 1 - least))}
        soft = x * (lam + least).log() + (1 - x) * (1 - lam + least).log()
        yield "clipped", {"value": soft.sum(-1)}
    for most in (10.0, 15.0, 20.0, 30.0, 50.0, 80.0, 88.0, 100.0):
        cut = logits.clamp(-most, most)
        yield "clipped", {"value": (x * cut - torch.nn.functional.softplus(cut)).sum(-1)}
        yield "clipped", {"value": (x * logits - torch.nn.functional.softplus(cut)).sum(-1)}
    # torch's own cross-entropy of probabilities stops at −100
    yield "clipped", {"value": log_p(lam, x).clamp(min=-100.0 * x.shape[-1])}
    parts = torch.where(x == 1, lam.log(), (1 - lam).log()).clamp(min=-100.0)
    yield "clipped", {"value": parts.sum(-1)}
    inside = torch.where(x == 1, logits.log(), (1 - logits).log()).sum(-1)
    yield "as-probability", {"value": inside}
    yield "as-probability", {"value": (x * logits.log() + (1 - x) * (1 - logits).log()).sum(-1)}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, pixels in ((3, 2), (4, 5)):
        odds = [[Fraction(int(rng.integers(1, 9)), 5) for _ in range(pixels)] for _ in range(batch)]
        x = rng.integers(2, size=(batch, pixels)).astype(float)
        x[0, :2] = 0, 1
        inputs = {"x": tensor(x), "logits": tensor([[math.log(o) for o in row] for row in odds])}
        right = _of_odds(x.tolist(), odds)
        yield Case(
            inputs,
            {"value": right},
            lambda inputs=inputs, right=right: _mistaken(**inputs, right=right),
            about="moderate logits",
        )
    for size in (40.0, 1000.0):
        inputs = {
            "x": tensor([[1], [0], [1], [0]]),
            "logits": tensor([[size], [size], [-size], [-size]]),
        }
        right = tensor([0.0, -size, -size, 0.0])  # up to e^(−size)
        yield Case(
            inputs,
            {"value": right},
            lambda inputs=inputs, right=right: _mistaken(**inputs, right=right),
            about=f"logits of size {size:g}",
        )


EXERCISE = Exercise(
    id="5.3",
    functions=("bernoulli_loglik",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
)
