"""4.1 The rate of a diagonal Gaussian. Oracle: the trapezoid rule, one latent at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import kl_by_quadrature, tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "no-half": "the ½ in front is missing: everything is twice too large",
    "log-std": "log_var is read as ln σ: it is ln σ², so σ² = exp(log_var)",
    "exp-missing": "log_var stands where σ² belongs: take its exponential there",
    "half-exponent": "σ stands where σ² belongs: the variance is exp(log_var), not exp(log_var / 2)",
    "log-sign": "ln σ² is added: it is subtracted",
    "half-misplaced": "the ½ stands before a part of the sum only: it belongs before all four terms",
    "log-squared": "the logarithm is squared: the last term is ln σ², not (ln σ²)²",
    "reversed": "the two distributions change places: that is KL(p(z)‖q), and the average belongs to q",
    "negated": "the sign is turned: a KL in closed form is never negative",
    "no-mean": "the means are missing: μ² is part of the sum",
    "mean-not-squared": "μ is not squared",
    "no-minus-one": "the constant of each latent is −1, and it is missing or another",
    "clipped": "log_var is clipped: a narrow code then costs too little",
    "padded": (
        "a small number is added before the logarithm is taken: you have ln σ² already, and for a narrow "
        "code the small number is what you see"
    ),
    "latents-averaged": "the latents are averaged: a KL is summed over them",
    "wrong-axis": "the sum is over the batch: sum over the last axis, the latents",
    "batch-averaged": "the batch is averaged too: keep one value per example",
    "batch-summed": "the batch is summed too: keep one value per example",
}


def _mistaken(mean: Tensor, log_var: Tensor) -> Iterator[tuple[str, Values]]:
    std = (0.5 * log_var).exp()
    each = kl_by_quadrature(mean, std)  # (batch, latent)
    right, latent = each.sum(-1), mean.shape[-1]
    wide = log_var.exp()
    log_term = 0.5 * log_var.sum(-1)
    paddings = (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
    for least in (-5.0, -6.0, -7.0, -8.0, -10.0, -15.0, -20.0, -30.0, -40.0, -50.0):
        cut = log_var.clamp(min=least)
        yield "clipped", {"value": right + 0.5 * (cut.exp() - cut - wide + log_var).sum(-1)}
    for name, value in (
        ("no-half", 2.0 * right),
        ("log-std", kl_by_quadrature(mean, wide).sum(-1)),
        ("log-std", right - log_term),
        ("log-std", right + 0.5 * (wide**2 - wide).sum(-1)),
        ("exp-missing", right + 0.5 * (log_var - wide).sum(-1)),
        ("half-exponent", right + 0.5 * (std - wide).sum(-1)),
        ("half-exponent", right + 0.5 * (std - wide).sum(-1) + 0.5 * log_term),
        ("exp-missing", 0.5 * (mean.square() + log_var - 1.0 - log_var.log()).sum(-1)),
        ("log-sign", right + 2.0 * log_term),
        ("half-misplaced", right - 0.5 * latent - log_term),
        ("half-misplaced", right - log_term),
        ("half-misplaced", right + 0.5 * (wide - 1.0 - log_var).sum(-1)),
        ("log-squared", right + log_term - 0.5 * log_var.square().sum(-1)),
        ("reversed", kl_by_quadrature(0.0 * mean, 1.0 + 0.0 * mean, mean, std).sum(-1)),
        ("negated", -right),
        ("no-mean", right - 0.5 * mean.square().sum(-1)),
        ("mean-not-squared", right + 0.5 * (mean - mean.square()).sum(-1)),
        ("mean-not-squared", right + 0.5 * (mean.abs() - mean.square()).sum(-1)),
        ("no-minus-one", right + 0.5 * latent),
        ("no-minus-one", right + latent),
        ("no-minus-one", right + 0.5 * (latent - 1)),
        *(("padded", right + log_term - 0.5 * (wide + small).log().sum(-1)) for small in paddings),
        *(("padded", right + log_term - (std + small).log().sum(-1)) for small in paddings),
        ("latents-averaged", right / latent),
        ("wrong-axis", each.sum(0)),
        ("batch-averaged", right.mean()),
        ("batch-averaged", each.mean()),
        ("batch-summed", right.sum()),
    ):
        yield name, {"value": value}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return {"value": answers[0](**inputs)}


def _case(mean: object, log_var: object, about: str) -> Case:
    inputs = {"mean": tensor(mean), "log_var": tensor(log_var)}
    right = kl_by_quadrature(inputs["mean"], (0.5 * inputs["log_var"]).exp()).sum(-1)
    return Case(inputs, {"value": right}, lambda: _mistaken(**inputs), about=about)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, latent in ((3, 2), (2, 4), (5, 3)):
        mean = rng.normal(size=(batch, latent))
        yield _case(mean, rng.uniform(-2.0, 1.0, size=(batch, latent)), f"{latent} latents")
    yield _case(np.zeros((2, 3)), np.zeros((2, 3)), "q equal to the prior")
    yield _case(rng.normal(size=(2, 3)), np.full((2, 3), -60.0), "very narrow codes")


EXERCISE = Exercise(
    id="4.1",
    functions=("kl_diag_gauss",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
