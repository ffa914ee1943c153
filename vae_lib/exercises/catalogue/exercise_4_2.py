"""4.2 The ELBO in three ways. Oracle: sums over a grid of z in the units of q, and over one of the prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

NAMES = ("log_joint", "entropy", "reconstruction", "rate", "log_evidence", "gap")

MISTAKES = {
    "at-the-mean": (
        "z is put at its mean: the average over q of a square has a second part, the variance "
        "σ_j² times the squared length of column j of the weight"
    ),
    "no-prior": "log_joint is E_q ln p(x|z): the joint holds ln p(z) as well",
    "entropy-constant": "the constant of the entropy is missing: ½(1 + ln 2π) for each latent",
    "entropy-constant-once": "the constant stands in the entropy once: it is ½(1 + ln 2π) for each latent",
    "entropy-sign": "the sign of the entropy is turned: H = −E_q ln q",
    "entropy-log-var": "the entropy holds ½ ln σ² for each latent, and log_var is ln σ² already",
    "no-normaliser": "½ ln 2πσ² is missing for each pixel: a log-density has its normaliser",
    "normaliser-once": "½ ln 2πσ² stands there once: each pixel brings its own",
    "spread-by-std": "the second part of the averaged square holds the variances of the code, not the stds",
    "evidence-at-mean": "ln p(x) does not contain q: its mean is 0, not W μ",
    "gap-without-noise": "the covariance of the posterior is σ² M⁻¹: the σ² is missing",
    "prior-constant": "½ ln 2π is missing for each latent in ln p(z)",
    "reconstruction-negated": "the sign of the reconstruction is turned: it is E_q ln p(x|z)",
    "evidence-diagonal": "the pixels are taken for independent: the covariance of x is WWᵀ + σ²I",
    "evidence-is-elbo": "log_evidence is the ELBO again: ln p(x) lies above it, by the gap",
    "one-number": "each of the six is the ELBO: wanted are its parts, two for each form",
    "pairs-exchanged": "the first and the second pair change places: log_joint and entropy come first",
    "rate-sign": "the sign of the rate is turned: a KL is never negative",
    "swapped": "rate and gap change places: the rate goes with the prior, the gap with the posterior",
    "gap-is-rate": "the gap is the distance to the prior: it is that to the posterior",
    "gap-reversed": "the gap is KL(p(z|x)‖q): the average belongs to q",
    "gap-diagonal": "the correlations of the posterior are left out: its covariance is σ² M⁻¹, a full matrix",
    "variance-squared": "the variance is squared: it is σ² already, not σ",
    "pixels-averaged": "the pixels are averaged: ln p(x|z) is summed over them",
    "batch-averaged": "the batch is averaged: keep one value per example",
}


def _log_normal(square: Tensor, variance: Tensor | float) -> Tensor:
    return -0.5 * (square / variance + math.log(2.0 * math.pi) + torch.as_tensor(variance).log())


def _values(weight: Tensor, variance: float, mean: Tensor, log_var: Tensor, x: Tensor) -> dict[str, Tensor]:
    """The six values and those of the mistakes, each (batch,), by quadrature."""
    latent = mean.shape[-1]
    axis = torch.linspace(-8.0, 8.0, 49, dtype=torch.float64)
    u = torch.cartesian_prod(*[axis] * latent).reshape(-1, latent)
    share = torch.exp(-0.5 * u.square().sum(-1))
    share = share / share.sum()

    def terms(z: Tensor) -> tuple[Tensor, Tensor]:
        """ln p(x|z) and ln p(z) at z (points, batch, latent)."""
        likelihood = _log_normal((x - z @ weight.T).square(), variance).sum(-1)
        return likelihood, _log_normal(z.square(), 1.0).sum(-1)

    z = mean + (0.5 * log_var).exp() * u[:, None]
    log_q = _log_normal((z - mean).square(), log_var.exp()).sum(-1)
    likelihood, prior = terms(z)

    wide = torch.linspace(-8.0, 8.0, 81, dtype=torch.float64)
    grid = torch.cartesian_prod(*[wide] * latent).reshape(-1, 1, latent).expand(-1, len(x), latent)
    at_likelihood, at_prior = terms(grid)
    cell = latent * math.log(0.2)
    evidence = torch.logsumexp(at_likelihood + at_prior, 0) + cell
    posterior = (at_likelihood + at_prior - evidence).exp() * math.exp(cell)  # (points, batch), sums to one
    at_q = _log_normal((grid - mean).square(), log_var.exp()).sum(-1)
    centre = torch.einsum("pb,pbl->bl", posterior, grid)
    marginal = torch.einsum("pb,pbl->bl", posterior, (grid - centre).square())
    away = grid - centre
    whole = torch.einsum("pb,pbi,pbj->bij", posterior, away, away)
    sharp = torch.distributions.MultivariateNormal(centre, whole / variance).log_prob(z)
    seen = weight @ weight.T + variance * torch.eye(len(weight), dtype=weight.dtype)
    alone = _log_normal((z - centre).square(), marginal).sum(-1)
    return {
        "log_joint": share @ (likelihood + prior),
        "entropy": share @ -log_q,
        "reconstruction": share @ likelihood,
        "rate": share @ (log_q - prior),
        "log_evidence": evidence,
        "gap": share @ (log_q - likelihood - prior) + evidence,
        "fit_at_mean": terms(mean[None])[0][0],
        "prior_at_mean": terms(mean[None])[1][0],
        "gap_reversed": (posterior * (at_likelihood + at_prior - evidence - at_q)).sum(0),
        "gap_without_noise": share @ (log_q - sharp),
        "evidence_at_mean": torch.distributions.MultivariateNormal(mean @ weight.T, seen).log_prob(x),
        "gap_diagonal": share @ (log_q - alone),
        "evidence_diagonal": _log_normal(x.square(), weight.square().sum(-1) + variance).sum(-1),
    }


def _mistaken(**inputs: Any) -> Iterator[tuple[str, Values]]:
    found = _values(**inputs)
    right = {name: found[name] for name in NAMES}
    latent, pixels = inputs["mean"].shape[-1], inputs["x"].shape[-1]
    constant = 0.5 * (1.0 + math.log(2.0 * math.pi))
    logs = 0.5 * inputs["log_var"].sum(-1)
    squared = _values(**inputs | {"variance": inputs["variance"] ** 2})
    prior = right["log_joint"] - right["reconstruction"]
    fit = found["fit_at_mean"]

    yield "at-the-mean", right | {"log_joint": fit + found["prior_at_mean"], "reconstruction": fit}
    for changes in (
        {"reconstruction": fit},
        {"log_joint": fit + found["prior_at_mean"]},
        {"log_joint": fit + prior},
        {"log_joint": fit + prior, "reconstruction": fit},
        {"log_joint": right["reconstruction"] + found["prior_at_mean"]},
    ):
        yield "at-the-mean", right | changes
    told = {"log_joint": fit + prior, "reconstruction": fit}
    yield "at-the-mean", right | told | {"gap": right["gap"] + right["reconstruction"] - fit}
    widths = (0.5 * inputs["log_var"]).exp() - inputs["log_var"].exp()
    more = widths @ inputs["weight"].square().sum(0) / (2.0 * inputs["variance"])
    both = {name: right[name] - more for name in ("log_joint", "reconstruction")}
    yield "spread-by-std", right | both
    yield "spread-by-std", right | {"reconstruction": both["reconstruction"]}
    yield "no-prior", right | {"log_joint": right["reconstruction"]}
    for value in (logs, latent * math.log(2.0 * math.pi) / 2.0 + logs, 0.5 * latent + logs):
        yield "entropy-constant", right | {"entropy": value}
    if latent > 1:
        yield "entropy-constant-once", right | {"entropy": constant + logs}
    yield "entropy-sign", right | {"entropy": -right["entropy"]}
    yield "entropy-log-var", right | {"entropy": right["entropy"] + logs}
    plain = 0.5 * pixels * math.log(2.0 * math.pi * inputs["variance"])
    flat = 0.5 * latent * math.log(2.0 * math.pi)
    for part in (plain, 0.5 * pixels * math.log(2.0 * math.pi)):
        without = {name: right[name] + part for name in ("log_joint", "reconstruction")}
        yield "no-normaliser", right | without
        yield "no-normaliser", right | {"reconstruction": without["reconstruction"]}
        yield "no-normaliser", right | {"log_joint": without["log_joint"]}
    once = {name: right[name] + plain * (1 - 1 / pixels) for name in ("log_joint", "reconstruction")}
    yield "normaliser-once", right | once
    yield "normaliser-once", right | {"reconstruction": once["reconstruction"]}
    yield "evidence-at-mean", right | {"log_evidence": found["evidence_at_mean"]}
    yield "gap-without-noise", right | {"gap": found["gap_without_noise"]}
    yield "prior-constant", right | {"log_joint": right["log_joint"] + flat}
    yield "prior-constant", right | {"log_joint": right["log_joint"] + flat, "entropy": logs}
    yield "reconstruction-negated", right | {"reconstruction": -right["reconstruction"]}
    yield "evidence-diagonal", right | {"log_evidence": found["evidence_diagonal"]}
    yield "evidence-is-elbo", right | {"log_evidence": right["log_evidence"] - right["gap"]}
    elbo = right["reconstruction"] - right["rate"]
    yield "one-number", dict.fromkeys(NAMES, elbo)
    yield "pairs-exchanged", right | {
        "log_joint": right["reconstruction"],
        "entropy": right["rate"],
        "reconstruction": right["log_joint"],
        "rate": right["entropy"],
    }
    yield "rate-sign", right | {"rate": -right["rate"]}
    yield "swapped", right | {"rate": right["gap"], "gap": right["rate"]}
    yield "gap-is-rate", right | {"gap": right["rate"]}
    yield "gap-reversed", right | {"gap": found["gap_reversed"]}
    if latent > 1:
        yield "gap-diagonal", right | {"gap": found["gap_diagonal"]}
    yield "variance-squared", {name: squared[name] for name in NAMES}
    some = {name: squared[name] for name in ("log_joint", "reconstruction")}
    yield "variance-squared", right | some
    yield "variance-squared", right | some | {"log_evidence": squared["log_evidence"]}
    yield "variance-squared", right | {"reconstruction": squared["reconstruction"]}
    averaged = right["reconstruction"] / pixels
    yield "pixels-averaged", right | {"reconstruction": averaged}
    yield "pixels-averaged", right | {"reconstruction": averaged, "log_joint": averaged + prior}
    yield "batch-averaged", {name: value.mean() for name, value in right.items()}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return as_named(answers[0](**inputs), NAMES, of=tuple)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, pixels, latent in ((2, 3, 2), (3, 2, 1), (1, 4, 2)):
        signs = rng.choice([-1.0, 1.0], (pixels, latent))
        inputs: dict[str, Any] = {
            "weight": tensor(signs * rng.uniform(0.3, 1.0, (pixels, latent))),
            "variance": float(rng.uniform(0.4, 0.8)),
            "mean": tensor(rng.normal(size=(batch, latent))),
            "log_var": tensor(rng.uniform(-1.5, 0.3, (batch, latent))),
            "x": tensor(rng.normal(size=(batch, pixels))),
        }
        found = _values(**inputs)
        yield Case(
            inputs,
            {name: found[name] for name in NAMES},
            lambda inputs=inputs: _mistaken(**inputs),
            about=f"{pixels} pixels, {latent} latents",
        )


EXERCISE = Exercise(
    id="4.2",
    functions=("elbo_three_ways",),
    returns="six tensors (batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
