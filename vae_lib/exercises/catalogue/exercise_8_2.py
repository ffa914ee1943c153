"""8.2 The loss of a VAE. Oracle: SciPy's normal density, the trapezoid rule for the rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import kl_by_quadrature, tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "Decoder"]

NAMES = ("loss", "reconstruction", "rate")

MISTAKES = {
    "no-noise": "the noise is not used: z is the mean of q(z|x)",
    "own-noise": "fresh noise is drawn inside: use the noise that is given",
    "std-is-exp-log-var": "exp(log_var) is used as the standard deviation: that is the variance",
    "std-is-log-var": "log_var is used as the standard deviation: take exp(½ log_var)",
    "mean-over-pixels": "the pixels are averaged: ln p(x|z) is a sum over pixels",
    "mean-over-latents": "the latents are averaged: the rate is a sum over latents",
    "batch-averaged": "the batch is averaged: keep one value per example, the caller averages",
    "no-half-in-exponent": "the ½ in the exponent of the Gaussian is missing",
    "no-normaliser": "−(D/2) ln 2πσ² is dropped: then this is no log density",
    "squared-error": "the squared error stands alone: ln p(x|z) has 1/(2σ²) before it, and a normaliser",
    "normaliser-once": "the normaliser is counted once: every one of the D pixels has one",
    "variance-for-std": "std is used as if it were the variance",
    "std-squared": "the variance std² stands where the standard deviation belongs",
    "rate-from-log-std": "log_var is read as ln σ in the rate: it is ln σ²",
    "rate-std-for-variance": "the standard deviation exp(½ log_var) stands in the rate where σ² belongs",
    "rate-squared-twice": "exp(log_var) is squared in the rate: it is σ² already",
    "rate-log-sign": "the sign of log_var in the rate is wrong",
    "rate-no-one": "the −1 in the rate is missing",
    "rate-sampled": "the rate is estimated from the one draw of z: the closed form is wanted",
    "rate-no-half": "the ½ in front of the rate is missing",
    "rate-swapped": "the rate is KL(p(z)‖q): the average must be over q",
    "rate-negated": "the sign of the rate is wrong: a KL is never negative",
    "mean-not-squared": "the mean is not squared in the rate",
    "beta-unused": "beta is not used",
    "beta-on-reconstruction": "beta multiplies the reconstruction: it weighs the rate",
    "beta-in-rate": "the rate that is returned holds beta already: only the loss has it",
    "reconstruction-negated": "the reconstruction is returned with its sign changed: it is ln p(x|z) itself",
    "reconstruction-added": "the reconstruction is added in the loss: it is subtracted",
    "rate-subtracted": "the rate is subtracted in the loss: the loss is −reconstruction + β · rate",
    "elbo-for-loss": "the loss is the elbo itself: what is minimised is its negative",
}


@dataclass(frozen=True)
class Decoder:
    """A small fixed decoder: z ↦ weight tanh(mix z) + bias, (…, latent) -> (…, pixels)."""

    weight: Tensor
    mix: Tensor
    bias: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        return torch.tanh(z @ self.mix.T) @ self.weight.T + self.bias

    def __repr__(self) -> str:
        return f"a network from {self.mix.shape[1]} latents to {self.weight.shape[0]} pixels"


def _log_density(x: Tensor, mean: Tensor, std: float) -> Tensor:
    from scipy.stats import norm

    return tensor(norm.logpdf(x.numpy(), loc=mean.numpy(), scale=std).sum(-1))


def _parts(inputs: Mapping[str, Any], spread: Tensor) -> tuple[Tensor, Tensor]:
    """ln p(x|z) at z = mean + spread, and the rate."""
    z = inputs["mean"] + spread
    rate = kl_by_quadrature(inputs["mean"], (0.5 * inputs["log_var"]).exp()).sum(-1)
    return _log_density(inputs["x"], inputs["decode"](z), inputs["std"]), rate


def _assemble(reconstruction: Tensor, rate: Tensor, beta: float) -> Values:
    return {
        "loss": beta * rate - reconstruction,
        "reconstruction": reconstruction,
        "rate": rate,
    }


def _mistaken(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    mean, log_var, noise = (inputs[name] for name in ("mean", "log_var", "noise"))
    beta, std, pixels = inputs["beta"], inputs["std"], inputs["x"].shape[-1]
    width = (0.5 * log_var).exp()
    rec, rate = _parts(inputs, width * noise)
    yield "own-noise", lambda got: got["reconstruction"] != got["reconstruction again"]
    for name, spread in (
        ("no-noise", 0.0 * noise),
        ("std-is-exp-log-var", log_var.exp() * noise),
        ("std-is-log-var", log_var * noise),
    ):
        yield name, _assemble(_parts(inputs, spread)[0], rate, beta)
    constant = -0.5 * math.log(2.0 * math.pi * std**2)
    square = rec - pixels * constant
    for name, value in (
        ("mean-over-pixels", rec / pixels),
        ("no-half-in-exponent", rec + square),
        ("no-normaliser", square),
        ("no-normaliser", 2.0 * square),
        ("squared-error", 2.0 * square * std**2),
        ("squared-error", square * std**2),
        ("squared-error", 2.0 * square * std**2 / pixels),
        ("normaliser-once", square + constant),
        ("std-squared", square / std**2 + pixels * (constant - math.log(std))),
        (
            "variance-for-std",
            _log_density(inputs["x"], inputs["decode"](mean + width * noise), math.sqrt(std)),
        ),
    ):
        yield name, _assemble(value, rate, beta)
    per_latent = kl_by_quadrature(mean, width)
    for name, value in (
        ("mean-over-latents", per_latent.mean(-1)),
        ("rate-from-log-std", kl_by_quadrature(mean, log_var.exp()).sum(-1)),
        ("rate-from-log-std", (per_latent + 0.5 * (width - width**2) + 0.25 * log_var).sum(-1)),
        ("rate-from-log-std", (per_latent - 0.5 * log_var).sum(-1)),
        ("rate-std-for-variance", (per_latent + 0.5 * (width - width**2)).sum(-1)),
        ("rate-squared-twice", (per_latent + 0.5 * (width**4 - width**2)).sum(-1)),
        ("rate-log-sign", (per_latent + log_var).sum(-1)),
        ("rate-no-one", (per_latent + 0.5).sum(-1)),
        ("rate-sampled", 0.5 * ((mean + width * noise) ** 2 - noise**2 - log_var).sum(-1)),
        ("rate-no-half", 2.0 * rate),
        ("rate-swapped", kl_by_quadrature(0.0 * mean, 1.0 + 0.0 * mean, mean, width).sum(-1)),
        ("rate-negated", -rate),
        ("mean-not-squared", (per_latent + 0.5 * (mean - mean**2)).sum(-1)),
    ):
        yield name, _assemble(rec, value, beta)
    right = _assemble(rec, rate, beta)
    for name, loss in (
        ("beta-unused", rate - rec),
        ("beta-on-reconstruction", rate - beta * rec),
        ("rate-subtracted", -rec - beta * rate),
        ("elbo-for-loss", rec - beta * rate),
        ("reconstruction-added", rec + beta * rate),
    ):
        yield name, {**right, "loss": loss}
    yield "beta-in-rate", {**right, "rate": beta * rate}
    yield "reconstruction-negated", {**right, "reconstruction": -rec}
    yield "batch-averaged", {name: value.mean() for name, value in right.items()}
    yield "batch-averaged", {**right, "loss": right["loss"].mean()}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    keywords = {name: value for name, value in inputs.items() if name != "x"}
    first = as_named(answers[0](inputs["x"], **keywords), NAMES, of=dict)
    again = as_named(answers[0](inputs["x"], **keywords), NAMES, of=dict)
    return {**first, "reconstruction again": again["reconstruction"]}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, pixels, latent, beta in ((3, 4, 2, 1.0), (4, 5, 3, 2.5), (1, 3, 2, 0.5)):
        inputs: dict[str, Any] = {
            "x": tensor(rng.normal(size=(batch, pixels))),
            "mean": tensor(rng.normal(size=(batch, latent))),
            "log_var": tensor(rng.uniform(-2.0, 0.6, size=(batch, latent))),
            "decode": Decoder(
                tensor(rng.normal(size=(pixels, latent + 1))),
                tensor(rng.normal(size=(latent + 1, latent))),
                tensor(rng.normal(size=pixels)),
            ),
            "noise": tensor(rng.normal(size=(batch, latent))),
            "std": float(rng.uniform(0.5, 0.8)),
            "beta": beta,
        }
        spread = (0.5 * inputs["log_var"]).exp() * inputs["noise"]
        yield Case(
            inputs,
            [_assemble(*_parts(inputs, sign * spread), beta) for sign in (1.0, -1.0)],
            lambda inputs=inputs: _mistaken(inputs),
            about=f"β = {beta:g}",
        )


EXERCISE = Exercise(
    id="8.2",
    functions=("vae_loss",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
