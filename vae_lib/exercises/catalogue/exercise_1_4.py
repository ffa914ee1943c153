"""1.4 The evidence on a grid. Oracles: the Gaussian marginal; Gauss-Legendre panels for a bent decoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "Curve"]

MISTAKES = {
    "no-step": "the step of the grid is missing: a sum becomes an integral only times dz",
    "step-of-n": "the step is (hi − lo)/n: between n nodes there are n − 1 steps",
    "no-prior": "the prior is missing: every node counts with p(z)",
    "mean-over-nodes": "the nodes are averaged: an integral is the sum times the step",
    "variance-as-std": "variance is used as a standard deviation: it is σ²",
    "std-as-variance": "the square root of the variance is taken twice, or σ stands where σ² belongs",
    "narrow-grid": "the grid does not reach from lo to hi",
    "pixels-averaged": "the pixels are averaged: ln p(x|z) is a sum over pixels",
    "no-normaliser": "the normaliser of the likelihood is missing: −½ ln 2πσ² for every pixel",
    "normaliser-once": "the normaliser is counted once: every pixel has one",
    "mean-of-logs": "the logarithm is averaged over the prior: integrate first, then take the logarithm",
    "batch-averaged": "the batch is averaged: keep one value per example",
}


@dataclass(frozen=True)
class Curve:
    """A decoder with one latent, z ↦ slope z + height tanh(2z): (n, 1) -> (n, pixels)."""

    slope: Tensor
    height: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        return z * self.slope + torch.tanh(2 * z) * self.height

    def __repr__(self) -> str:
        return f"a decoder from one latent to {len(self.slope)} pixels"


def _right(inputs: Mapping[str, Any]) -> Tensor:
    """ln p(x): the Gaussian marginal of a straight decoder, else 400 Gauss-Legendre panels."""
    from scipy.stats import multivariate_normal

    decode, x = inputs["decode"], inputs["x"].numpy()
    if not decode.height.any():
        w = decode.slope.numpy()
        covariance = np.outer(w, w) + inputs["variance"] * np.eye(len(w))
        return tensor(np.atleast_1d(multivariate_normal(np.zeros(len(w)), covariance).logpdf(x)))
    place, weight = np.polynomial.legendre.leggauss(6)
    edges = np.linspace(-9.0, 9.0, 401)
    z = (edges[:-1, None] + (place + 1.0) / 2.0 * (edges[1] - edges[0])).ravel()
    weight = np.tile(weight / 2.0 * (edges[1] - edges[0]), 400)
    error = x[None] - decode(tensor(z)[:, None]).numpy()[:, None]
    density = np.exp(-0.5 * (error**2).sum(-1) / inputs["variance"])
    density /= (2.0 * math.pi * inputs["variance"]) ** (x.shape[1] / 2)
    prior = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    return tensor(np.log((weight * prior) @ density))


def _terms(inputs: Mapping[str, Any], z: Tensor, variance: float) -> tuple[Tensor, Tensor, Tensor]:
    square = (inputs["x"] - inputs["decode"](z[:, None])[:, None]).square().sum(-1) / (2 * variance)
    prior = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    return -square, prior[:, None], tensor(0.5 * math.log(2 * math.pi * variance))


def _mistaken(inputs: Mapping[str, Any], right: Tensor) -> Iterator[tuple[str, Values]]:
    pixels, n = inputs["x"].shape[1], inputs["n"]
    z = torch.linspace(inputs["lo"], inputs["hi"], n, dtype=torch.float64)
    log_step = math.log((inputs["hi"] - inputs["lo"]) / (n - 1))
    square, prior, constant = _terms(inputs, z, inputs["variance"])
    whole = square - pixels * constant
    for name, value in (
        ("no-step", right - log_step),
        ("step-of-n", right + math.log((n - 1) / n)),
        ("no-prior", whole.logsumexp(0) + log_step),
        ("no-prior", whole.logsumexp(0) - math.log(n)),
        ("mean-over-nodes", right - log_step - math.log(n)),
        ("pixels-averaged", (whole / pixels + prior).logsumexp(0) + log_step),
        ("no-normaliser", right + pixels * constant),
        ("normaliser-once", right + (pixels - 1) * constant),
        ("mean-of-logs", (prior.exp() * whole).sum(0) * math.exp(log_step)),
        ("batch-averaged", right.mean()),
    ):
        yield name, {"value": value}
    for name, variance in (
        ("variance-as-std", inputs["variance"] ** 2),
        ("std-as-variance", inputs["variance"] ** 0.5),
    ):
        other, prior, constant = _terms(inputs, z, variance)
        yield name, {"value": (other - pixels * constant + prior).logsumexp(0) + log_step}
    for reach in (1.0, 2.0, 3.0, 5.0, 6.0, 8.0):
        narrow = torch.linspace(-reach, reach, n, dtype=torch.float64)
        square, prior, constant = _terms(inputs, narrow, inputs["variance"])
        value = (square - pixels * constant + prior).logsumexp(0) + math.log(2 * reach / (n - 1))
        yield "narrow-grid", {"value": value}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    kinds = ((3, 2, 0.0, 2.6), (1, 3, 0.0, 2.6), (4, 2, 1.0, 2.6), (2, 2, 0.0, 11.0))
    for batch, pixels, bend, far in kinds:
        decode = Curve(
            tensor(rng.uniform(0.3, 1.0, pixels) * rng.choice([-1.0, 1.0], pixels)),
            tensor(bend * rng.uniform(0.3, 0.8, pixels)),
        )
        x = decode(tensor(rng.normal(size=(batch, 1)))) + tensor(0.3 * rng.normal(size=(batch, pixels)))
        x[0] = decode(tensor([[far]]))[0]  # far out, where a narrow grid has no node
        wide = far > 8.0
        inputs: dict[str, Callable | Any] = {
            "x": x,
            "decode": decode,
            "variance": 0.02 if wide else float(rng.uniform(0.1, 0.3)),
            "lo": -8.0,
            "hi": 14.0 if wide else 8.5,
            "n": 2201 if wide else 801,
        }
        right = _right(inputs)
        yield Case(
            inputs,
            {"value": right},
            lambda inputs=inputs, right=right: _mistaken(inputs, right),
            about="a datum far out" if wide else "a bent decoder" if bend else "a straight decoder",
        )


EXERCISE = Exercise(
    id="1.4",
    functions=("logp_grid",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
)
