"""5.4 The continuous Bernoulli. Oracle: the cross-entropy, divided by its mass from Simpson's rule."""

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
    "no-band": (
        "the fraction has lost its digits right beside λ = ½, where ln λ − ln(1 − λ) is a difference of "
        "nearly equal numbers: use artanh, or the series in a band around ½"
    ),
    "no-constant": "ln C is missing: that is minus the cross-entropy, which is no log-density",
    "constant-subtracted": "ln C is subtracted: it is added, C is at least 2",
    "always-ln-2": "ln C is ln 2 everywhere: that holds at λ = ½ alone",
    "constant-not-logged": "C is added, and not its logarithm",
    "half-the-constant": "the 2 of 2 artanh is missing, or the ln 2 of the series: C at λ = ½ is 2, not 1",
    "nan-at-half": "at λ = ½ the fraction is 0/0, which the computer makes nan: take the series there",
    "always-series": "the series stands where λ is far from ½: it is good for small |t| alone",
    "other-function": "that is arctan or tanh: artanh is torch.atanh",
    "one-constant": "ln C is added once for the image: each pixel brings its own",
    "as-logits": "λ is used as a logit: it is a probability, between 0 and 1",
    "x-and-lambda-swapped": "x and λ are swapped",
    "negated": "the sign is turned: that is a loss",
    "mean-over-pixels": "the pixels are averaged: the log-density of an image is a sum over its pixels",
    "per-pixel": "the pixels are not added up: return one value per example",
    "batch-averaged": "the batch is averaged: keep one value per example",
    "nan-gradient": (
        "the value is right and its gradient at λ = ½ is nan: torch.where sends a gradient through both "
        "branches, so put a harmless t into the one that is not used"
    ),
    "no-gradient": "no gradient reaches λ: a decoder could not be trained with it",
}

_T = np.linspace(0.0, 1.0, 2001)
_SIMPSON = np.full(2001, 2.0)
_SIMPSON[1::2], _SIMPSON[0], _SIMPSON[-1] = 4.0, 1.0, 1.0


def _log_mass(lam: Tensor) -> Tensor:
    """ln ∫ λ^t (1 − λ)^(1 − t) dt, the shape of λ."""
    a = lam.numpy()[..., None]
    return tensor(np.log((_SIMPSON * a**_T * (1 - a) ** (1 - _T)).sum(-1) / 6000.0))


def _slope(x: Tensor, lam: Tensor) -> Tensor:
    """The derivative of the log-density with respect to λ, from derivatives under the integral."""
    a = lam.numpy()[..., None]
    claimed = a**_T * (1 - a) ** (1 - _T)
    moved = (_SIMPSON * claimed * (_T / a - (1 - _T) / (1 - a))).sum(-1)
    return x / lam - (1 - x) / (1 - lam) - tensor(moved / (_SIMPSON * claimed).sum(-1))


def _mistaken(x: Tensor, lam: Tensor) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    constant = -_log_mass(lam)
    entropy = x * lam.log() + (1 - x) * (1 - lam).log()
    right = (entropy + constant).sum(-1)
    inner = 1 - 2 * lam
    near = inner.abs() < 0.02
    other = (2 * torch.atan(inner) / inner).log()
    another = (2 * torch.tanh(inner) / inner).log()
    broken = (2 * torch.atanh(inner) / inner).log()
    probability = torch.sigmoid(lam)
    as_logits = x * probability.log() + (1 - x) * (1 - probability).log() - _log_mass(probability)
    turned = lam * x.log() + (1 - lam) * (1 - x).log()
    for name, value in (
        ("no-constant", entropy.sum(-1)),
        ("constant-subtracted", (entropy - constant).sum(-1)),
        ("always-ln-2", (entropy + math.log(2)).sum(-1)),
        ("constant-not-logged", (entropy + constant.exp()).sum(-1)),
        ("half-the-constant", (entropy + constant - math.log(2)).sum(-1)),
        ("one-constant", entropy.sum(-1) + constant.mean(-1)),
        ("always-series", (entropy + math.log(2) + inner**2 / 3 + 13 * inner**4 / 90).sum(-1)),
        ("always-series", (entropy + math.log(2) + inner**2 / 3).sum(-1)),
        ("other-function", (entropy + torch.where(near, constant, other)).sum(-1)),
        ("other-function", (entropy + torch.where(near, constant, another)).sum(-1)),
        ("half-the-constant", (entropy + constant - (~near).to(lam) * math.log(2)).sum(-1)),
        ("half-the-constant", (entropy + constant - near.to(lam) * math.log(2)).sum(-1)),
        ("as-logits", as_logits.sum(-1)),
        ("x-and-lambda-swapped", (turned - _log_mass(x.clamp(1e-9, 1 - 1e-9))).sum(-1)),
        ("negated", -right),
        ("mean-over-pixels", right / x.shape[-1]),
        ("per-pixel", entropy + constant),
        ("batch-averaged", right.mean()),
    ):
        yield name, {"value": value}
    if bool((lam == 0.5).any()):
        yield "nan-at-half", {"value": (entropy + broken).sum(-1)}
        yield "nan-at-half", lambda got: any(math.isnan(value) for value in got["value"])
        yield "nan-gradient", lambda got: any(math.isnan(value) for value in got["slope"])
    yield "no-gradient", lambda got: not any(got["slope"])
    if lam.dtype == torch.float32:
        yield "no-band", lambda got: len(got["value"]) == len(x)


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    moving = inputs["lam"].clone().requires_grad_()
    value = answers[0](inputs["x"], moving)
    slope = None
    if isinstance(value, Tensor) and value.requires_grad:
        (slope,) = torch.autograd.grad(value.sum(), moving, allow_unused=True)
    return {"value": value, "slope": torch.zeros_like(moving) if slope is None else slope}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for kind in ("one half", "near one half", "", ""):
        batch, pixels = (3, 2) if kind else (int(rng.integers(2, 5)), int(rng.integers(2, 5)))
        lam = rng.uniform(0.03, 0.42, size=(batch, pixels))
        lam[:, ::2] = 1 - lam[:, ::2]
        if kind == "one half":
            lam[0] = 0.5
        if kind == "near one half":
            lam = 0.5 + rng.choice([-1.0, 1.0], size=lam.shape) * rng.uniform(0.005, 0.06, size=lam.shape)
            lam[0] = 0.507  # inside a band of |t| < 0.02
        inputs = {"x": tensor(rng.uniform(0.05, 0.95, size=(batch, pixels))), "lam": tensor(lam)}
        about = {"one half": "inputs with λ = ½", "near one half": "λ near ½"}.get(kind, "λ away from ½")
        yield _case(inputs, about)
    beside = torch.tensor([[0.5 + 1.2e-7], [0.5 - 1.2e-7], [0.5 + 4.8e-7]], dtype=torch.float32)
    x = torch.tensor(rng.uniform(0.05, 0.95, size=(3, 1)), dtype=torch.float32)
    yield _case({"x": x, "lam": beside}, "λ right beside ½, in float32")


def _case(inputs: dict[str, Tensor], about: str) -> Case:
    x, lam = (value.double() for value in inputs.values())
    entropy = x * lam.log() + (1 - x) * torch.log1p(-lam)
    right = {"value": (entropy - _log_mass(lam)).sum(-1), "slope": _slope(x, lam)}
    return Case(
        inputs, right, lambda: _mistaken(**inputs), atol={"value": 1e-6, "slope": 1e-2}, about=about
    )


EXERCISE = Exercise(
    id="5.4",
    functions=("cb_loglik",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
