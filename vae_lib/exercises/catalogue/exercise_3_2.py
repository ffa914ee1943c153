"""3.2 The ELBO of a table model. Oracle: ln p(x) minus the divergence from the posterior, by loops."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import kl_of_rows, tables, tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "aggregate-weights": (
        "the weights are q(z), the average of q(z|x) over the batch: weight and denominator must "
        "be the same q(z|x), or the bound is no bound"
    ),
    "prior-average": (
        "the average is over the prior: Σ p(z) ln p(x|z) is a bound too, but far looser, and it holds no q"
    ),
    "no-entropy": "−ln q(z|x) is missing: that is E_q ln p(x,z)",
    "entropy-sign": "ln q(z|x) is added: it is subtracted",
    "no-prior": "the prior is missing: the joint is p(x|z) p(z)",
    "reconstruction-only": "only E_q ln p(x|z) is left: the prior and −ln q(z|x) are missing",
    "rate-added": "the KL to the prior is added to the reconstruction: it is subtracted",
    "gap-only": "the posterior stands where the joint belongs: that is minus the gap",
    "posterior-average": "the average is over the posterior: that is an upper bound; the weights here are q",
    "prior-weights": "the average is over the prior: the weights are the same q(z|x) that is divided by",
    "latents-averaged": "the terms are averaged over z: the weights q(z|x) make a sum an average already",
    "log-outside": "the logarithm is taken after the average: ln E_q[p(x,z)/q] is ln p(x) again",
    "negated": "the sign is turned: that is the loss",
    "nan-at-zero": "0 · ln 0 is left to the computer, which makes it nan: such a term is 0",
    "batch-averaged": "the batch is averaged: keep one value per example",
}


def _right(q: Tensor, prior: Tensor, likelihood: Tensor, x: Tensor) -> Tensor:
    values = []
    for weights, symbol in zip(q.tolist(), x.tolist(), strict=True):
        joint = [a * b for a, b in zip(prior.tolist(), likelihood[:, symbol].tolist(), strict=True)]
        evidence = math.fsum(joint)
        values.append(math.log(evidence) - kl_of_rows(weights, [a / evidence for a in joint]))
    return tensor(values)


def _mistaken(q: Tensor, prior: Tensor, likelihood: Tensor, x: Tensor) -> Iterator[tuple[str, Values]]:
    right = _right(q, prior, likelihood, x)
    given = likelihood[:, x].T  # (batch, latents)
    joint = given * prior
    fit, energy = (torch.where(q > 0, q * table.log(), 0.0).sum(-1) for table in (given, joint))
    entropy = -torch.special.xlogy(q, q).sum(-1)
    log_ratio = joint.log() - q.log()
    for name, value in (
        ("aggregate-weights", (q.mean(0) * log_ratio).sum(-1)),
        ("prior-average", (prior * given.log()).sum(-1)),
        ("no-entropy", energy),
        ("entropy-sign", energy - entropy),
        ("no-prior", fit + entropy),
        ("reconstruction-only", fit),
        ("rate-added", fit - entropy - torch.special.xlogy(q, prior).sum(-1)),
        ("gap-only", right - joint.sum(-1).log()),
        ("gap-only", joint.sum(-1).log() - right),
        ("posterior-average", (joint / joint.sum(-1, keepdim=True) * log_ratio).sum(-1)),
        ("prior-weights", (prior * log_ratio).sum(-1)),
        ("latents-averaged", right / len(prior)),
        ("log-outside", joint.sum(-1).log()),
        ("log-outside", torch.where(q > 0, joint, 0.0).sum(-1).log()),
        ("negated", -right),
        ("nan-at-zero", (q * log_ratio).sum(-1)),
        ("batch-averaged", right.mean()),
    ):
        yield name, {"value": value}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    shapes = ((2, 2, 2, False), (1, 3, 4, False), (4, 3, 4, False), (5, 6, 3, False), (3, 3, 2, True))
    for batch, latents, symbols, certain in shapes:
        q = tables(rng, batch, latents)
        if certain:
            q = torch.eye(latents, dtype=torch.float64)
        inputs = {
            "q": q,
            "prior": tables(rng, 1, latents)[0],
            "likelihood": tables(rng, latents, symbols),
            "x": tensor(rng.integers(symbols, size=batch)).long(),
        }
        yield Case(
            inputs,
            {"value": _right(**inputs)},
            lambda inputs=inputs: _mistaken(**inputs),
            about="certain encoders" if certain else f"{latents} latent values",
        )


EXERCISE = Exercise(
    id="3.2",
    functions=("elbo_discrete",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
)
