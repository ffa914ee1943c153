"""4.5 A point in the plane of rate and distortion. Oracle: sums over a grid of x and of the code's noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import kl_by_quadrature, tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

NAMES = ("rate", "distortion", "objective")

MISTAKES = {
    "bits": "the logarithms are to base 2: the course counts in nats",
    "axes-averaged": "the axes are averaged: rate and distortion are summed over them",
    "rate-without-eigenvalue": "the rate averages (v x)² over the data: that is v² λ, not v²",
    "eigenvalue-squared": "λ is squared: the mean of x² is λ, a variance already",
    "spread-not-squared": "w d stands where w² d belongs: the variance of w times the noise of the code",
    "beta-divides": "the rate is divided by β: it is multiplied by it",
    "rate-no-half": "the ½ of the rate is missing",
    "no-spread": "the noise of the code is left out of the error: w² d belongs to it",
    "error-without-eigenvalue": "the mean of (x − w v x)² over the data is (1 − wv)² λ, not (1 − wv)²",
    "d-for-std": "d is read as a standard deviation: it holds variances",
    "exchanged": "rate and distortion change places: the rate comes first",
    "normaliser-once": "½ ln 2πσ² stands there once: it belongs to every axis",
    "no-normaliser": "½ ln 2πσ² is missing in the distortion: a log-density has its normaliser",
    "error-not-halved": "the squared error is divided by σ², not by 2σ²",
    "variance-squared": "the variance is squared: it is σ² already",
    "squared-error": "the distortion is the squared error alone: wanted −E ln p(x|z), in nats",
    "distortion-negated": "the sign of the distortion is turned: D = −E ln p(x|z)",
    "beta-on-distortion": "β stands in front of the distortion: it is the weight of the rate",
    "beta-on-both": "β stands in front of both",
    "difference": "the rate is subtracted: what is minimised is D + βR",
    "beta-unused": "β is not used",
}


def _point(lam: Tensor, w: Tensor, v: Tensor, d: Tensor, variance: float) -> tuple[Tensor, Tensor]:
    """Rate and distortion of each axis, (axes,) twice."""
    axis = torch.linspace(-8.0, 8.0, 81, dtype=torch.float64)
    share = torch.exp(-0.5 * axis.square())
    share = share / share.sum()
    x = lam.sqrt() * axis[:, None, None]  # (data, noise, axes)
    z = v * x + d.sqrt() * axis[:, None]
    loss = 0.5 * ((x - w * z).square() / variance + math.log(2.0 * math.pi * variance))
    distortion = torch.einsum("x,n,xna->a", share, share, loss)
    rates = kl_by_quadrature(v * x[:, 0], d.sqrt().expand(81, len(d)))
    return share @ rates, distortion


def _mistaken(
    lam: Tensor,
    w: Tensor,
    v: Tensor,
    d: Tensor,
    variance: float,
    rate: Tensor,
    distortion: Tensor,
    beta: float,
) -> Iterator[tuple[str, Values]]:
    rates, losses = _point(lam, w, v, d, variance)
    right = {"rate": rates.sum(), "distortion": losses.sum(), "objective": distortion + beta * rate}
    axes = len(lam)
    constant = 0.5 * axes * math.log(2.0 * math.pi * variance)
    error = 2.0 * variance * (right["distortion"] - constant)
    spread = (w.square() * d).sum()
    half = 0.5 * (v.square() * (lam - 1.0)).sum()

    both = {"rate": right["rate"] / math.log(2.0), "distortion": right["distortion"] / math.log(2.0)}
    yield "bits", right | both
    yield "bits", right | {"rate": both["rate"]}
    yield "bits", right | {"rate": right["rate"] + 0.5 * d.log().sum() * (1.0 - 1.0 / math.log(2.0))}
    yield "axes-averaged", right | {"rate": rates.mean(), "distortion": losses.mean()}
    yield "axes-averaged", right | {"rate": rates.mean()}
    yield "axes-averaged", right | {"distortion": losses.mean()}
    yield "rate-without-eigenvalue", right | {"rate": right["rate"] - half}
    yield "eigenvalue-squared", right | {
        "rate": right["rate"] + 0.5 * (v.square() * (lam.square() - lam)).sum()
    }
    bent = ((w - w.square()) * d).sum() / (2.0 * variance)
    yield "spread-not-squared", right | {"distortion": right["distortion"] + bent}
    yield "rate-no-half", right | {"rate": 2.0 * right["rate"]}
    yield "no-spread", right | {"distortion": right["distortion"] - spread / (2.0 * variance)}
    lost = (1.0 - w * v).square()
    yield (
        "error-without-eigenvalue",
        right | {"distortion": right["distortion"] + (lost * (1.0 - lam)).sum() / (2.0 * variance)},
    )
    wide = _point(lam, w, v, d.square(), variance)
    yield "d-for-std", right | {"rate": wide[0].sum(), "distortion": wide[1].sum()}
    yield "d-for-std", right | {"rate": wide[0].sum()}
    yield "d-for-std", right | {"distortion": wide[1].sum()}
    yield "exchanged", right | {"rate": right["distortion"], "distortion": right["rate"]}
    yield "normaliser-once", right | {"distortion": right["distortion"] - constant * (1.0 - 1.0 / axes)}
    yield "no-normaliser", right | {"distortion": right["distortion"] - constant}
    yield "no-normaliser", right | {"distortion": right["distortion"] - 0.5 * axes * math.log(2.0 * math.pi)}
    yield "error-not-halved", right | {"distortion": constant + error / variance}
    squared = _point(lam, w, v, d, variance**2)[1].sum()
    yield "variance-squared", right | {"distortion": squared}
    yield "variance-squared", right | {"distortion": constant + error / (2.0 * variance**2)}
    only_inside = squared - error / (2.0 * variance**2) + error / (2.0 * variance)
    yield "variance-squared", right | {"distortion": only_inside}
    yield "squared-error", right | {"distortion": error}
    yield "squared-error", right | {"distortion": 0.5 * error}
    yield "squared-error", right | {"distortion": error / axes}
    yield "distortion-negated", right | {"distortion": -right["distortion"]}
    for name, value in (
        ("beta-on-distortion", beta * distortion + rate),
        ("beta-on-both", beta * (distortion + rate)),
        ("difference", distortion - beta * rate),
        ("difference", -distortion - beta * rate),
        ("beta-divides", distortion + rate / beta),
        ("beta-unused", distortion + rate),
    ):
        yield name, right | {"objective": value}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    point = {name: inputs[name] for name in ("lam", "w", "v", "d", "variance")}
    found = as_named(answers[0](**point), NAMES[:2], of=tuple)
    return found | {"objective": answers[1](inputs["rate"], inputs["distortion"], inputs["beta"])}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for axes, beta in ((2, 2.5), (4, 0.3), (3, 4.0)):
        inputs: dict[str, Any] = {
            "lam": tensor(rng.uniform(1.5, 4.0, axes)),
            "w": tensor(rng.uniform(0.3, 2.0, axes)),
            "v": tensor(rng.uniform(0.1, 0.9, axes)),
            "d": tensor(rng.uniform(0.05, 0.8, axes)),
            "variance": float(rng.uniform(0.2, 0.7)),
            "rate": tensor(rng.uniform(0.5, 3.0)),
            "distortion": tensor(rng.uniform(1.0, 4.0)),
            "beta": beta,
        }
        rates, losses = _point(*(inputs[name] for name in ("lam", "w", "v", "d", "variance")))
        right = {
            "rate": rates.sum(),
            "distortion": losses.sum(),
            "objective": inputs["distortion"] + beta * inputs["rate"],
        }
        yield Case(inputs, right, lambda inputs=inputs: _mistaken(**inputs), about=f"{axes} axes, β = {beta}")


EXERCISE = Exercise(
    id="4.5",
    functions=("rate_distortion_point", "beta_objective"),
    returns="three numbers, tensors of the shape ()",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
