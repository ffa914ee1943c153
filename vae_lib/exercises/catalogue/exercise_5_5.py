"""5.5 The best shared variance. Oracle: bisection on the slope of the likelihood; finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import WrongForm
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "standard-deviation": "the variance is σ̂, its root: wanted σ̂²",
    "per-pixel-variance": "each pixel has a variance of its own: wanted one number for all",
    "per-example-variance": "each example has a variance of its own: wanted one number for all",
    "sum-over-pixels": "the squares are added up over the pixels: average over pixels and examples",
    "half-variance": "the variance is halved",
    "mean-subtracted": (
        "that is the variance of the errors around their mean, or divided by one less: wanted their mean "
        "square"
    ),
    "negated": "the sign is turned: the loss is minus the ELBO",
    "batch-summed": "the reconstruction is added up over the batch: wanted the mean over the batch",
    "no-log": "the squared error is not inside a logarithm: that is a loss with a fixed variance",
    "counted-twice": "the squared error is counted twice: the e under the logarithm is its ½ for each pixel",
    "count-of-examples": "D is the number of pixels of one example, not the number of examples",
    "no-pixels": "D is missing in the loss: each of the D pixels brings ½ ln 2πeσ̂²",
    "no-half": "the ½ of D/2 is missing",
    "no-constant": "the constant D/2 ln 2πe is missing: the loss is minus the ELBO, constants included",
    "no-kl": "the KL is missing",
    "kl-summed": "the KL is added up over the batch: average it",
    "kl-subtracted": "the KL is subtracted: the loss is minus the ELBO",
    "detached": "no gradient reaches the reconstructions: nothing in the loss may be detached",
}


def _best(x: Tensor, xhat: Tensor) -> float:
    """Where the likelihood stops rising with the variance: bisection on finite differences."""
    left = (x - xhat).numpy()

    def surprise(log_variance: float) -> float:
        return float((0.5 * log_variance + 0.5 * left**2 * math.exp(-log_variance)).sum())

    low, high = -30.0, 10.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if surprise(middle + 1e-4) < surprise(middle - 1e-4):
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def _loss(x: Tensor, xhat: Tensor, kl: Tensor, variance: float) -> Tensor:
    """Minus the ELBO with this variance, term by term."""
    surprise = 0.5 * math.log(2 * math.pi * variance) + (x - xhat) ** 2 / (2 * variance)
    return (surprise.sum(-1) + kl).mean()


def _slope(x: Tensor, xhat: Tensor, kl: Tensor) -> Tensor:
    """The derivative at the first reconstruction, by central differences of the oracle's loss."""
    ends = []
    for step in (1e-3, -1e-3):
        moved = xhat.clone()
        moved[0, 0] += step
        ends.append(_loss(x, moved, kl, _best(x, moved)))
    return (ends[0] - ends[1]) / 2e-3


def _right(x: Tensor, xhat: Tensor, kl: Tensor) -> dict[str, Any]:
    best = _best(x, xhat)
    return {"variance": best, "loss": _loss(x, xhat, kl, best), "slope": _slope(x, xhat, kl)}


def _mistaken(x: Tensor, xhat: Tensor, kl: Tensor) -> Iterator[tuple[str, Values]]:
    right = _right(x, xhat, kl)
    errors, pixels, batch = (x - xhat).square(), x.shape[-1], len(x)
    best, rate = errors.mean(), kl.mean()
    fit = right["loss"] - rate
    constant = pixels / 2 * (1 + math.log(2 * math.pi))
    yield "standard-deviation", {"variance": best.sqrt()}
    yield "per-pixel-variance", {"variance": errors.mean(0)}
    yield "per-example-variance", {"variance": errors.mean(-1)}
    yield "sum-over-pixels", {"variance": errors.sum(-1).mean()}
    yield "sum-over-pixels", {"variance": errors.sum()}
    yield "half-variance", {"variance": best / 2}
    for correction in (0, 1):
        yield "mean-subtracted", {"variance": (x - xhat).var(correction=correction)}
    kept = {"variance": right["variance"]}
    zero = torch.tensor(0.0, dtype=torch.float64)
    for name, value in (
        ("no-log", errors.sum(-1).mean() + rate),
        ("no-log", best + rate),
        ("no-log", pixels / 2 * best + rate),
        ("no-log", pixels / 2 * math.log(2 * math.pi * math.e) + best + rate),
        ("no-log", pixels / 2 + rate),
        ("counted-twice", fit + pixels / 2 + rate),
        ("count-of-examples", fit * batch / pixels + rate),
        ("no-pixels", fit / pixels + rate),
        ("no-half", 2 * fit + rate),
        ("no-constant", fit - constant + rate),
        ("no-constant", fit - pixels / 2 + rate),
        ("no-constant", fit - constant + pixels / 2 + rate),
        ("negated", -fit - rate),
        ("batch-summed", batch * fit + rate),
        ("batch-summed", batch * (fit + rate)),
        ("no-kl", fit),
        ("kl-summed", fit + batch * rate),
        ("kl-subtracted", fit - rate),
    ):
        yield name, kept | {"loss": value}
    yield "detached", kept | {"loss": right["loss"], "slope": zero}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    variance, loss = answers
    x, xhat, kl = inputs["x"], inputs["xhat"], inputs["kl"]
    found = variance(x, xhat)
    moving = xhat.clone().requires_grad_()
    value = loss(x, moving, kl)
    if not isinstance(value, Tensor):
        raise WrongForm(f"sigma_vae_loss returned a {type(value).__name__}; wanted a tensor")
    if value.dim() or not value.requires_grad:
        slope = torch.tensor(0.0, dtype=torch.float64)
    else:
        slope = torch.autograd.grad(value, moving)[0][0, 0]
    return {"variance": found, "loss": value.detach(), "slope": slope}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, pixels in ((3, 4), (5, 7)):
        inputs = {
            "x": tensor(rng.uniform(size=(batch, pixels))),
            "xhat": tensor(rng.uniform(size=(batch, pixels))),
            "kl": tensor(rng.uniform(0.5, 3.0, size=batch)),
        }
        inputs["xhat"][0, 0] = inputs["x"][0, 0] + 0.5  # a slope that is not near zero
        yield Case(
            inputs,
            _right(**inputs),
            lambda inputs=inputs: _mistaken(**inputs),
            rtol={"variance": 1e-5, "loss": 1e-5, "slope": 1e-3},
        )


EXERCISE = Exercise(
    id="5.5",
    functions=("optimal_sigma2", "sigma_vae_loss"),
    returns="two single numbers, tensors of the shape ()",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
