"""3.6 The evidence upper bound. Oracle: ln p(x) plus the forward divergence, by loops."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import kl_of_rows, tables, tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "encoder-weights": "the average is over q: that is the ELBO, a lower bound",
    "joint-weights": "the weights are the joint, which sums to p(x): divide by it, so that they sum to one",
    "one-evidence-for-all": "the joint is not divided by the sum of its own row: every row has its own p(x)",
    "softmax-of-joint": "softmax is applied to the joint: it takes logarithms, or divide by the sum",
    "latents-averaged": "the terms are averaged over z: the weights make a sum an average already",
    "posterior-below": "the posterior stands in the denominator too: ln p(x,z)/p(z|x) is ln p(x) for every z",
    "gap-only": "only KL(p(z|x)‖q) is left: inside the logarithm stands the joint, not the posterior",
    "mirrored": "the ELBO is mirrored at ln p(x): this bound has a gap of its own, KL(p(z|x)‖q)",
    "ratio-upside-down": "the ratio is upside down: that is minus the bound",
    "log-outside": "the logarithm is taken after the average",
    "no-denominator": "q is missing: that is the average of ln p(x,z)",
    "batch-averaged": "the rows are averaged too: keep one value per row",
}


def _gaps(q: Tensor, joint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ln p(x), and the divergences KL(p(z|x)‖q) and KL(q‖p(z|x)), each (batch,)."""
    evidence = [math.fsum(row) for row in joint.tolist()]
    posterior = [[a / total for a in row] for row, total in zip(joint.tolist(), evidence, strict=True)]
    forward = [kl_of_rows(p, row) for p, row in zip(posterior, q.tolist(), strict=True)]
    reverse = [kl_of_rows(row, p) for p, row in zip(posterior, q.tolist(), strict=True)]
    return tensor([math.log(total) for total in evidence]), tensor(forward), tensor(reverse)


def _mistaken(q: Tensor, joint: Tensor) -> Iterator[tuple[str, Values]]:
    evidence, forward, reverse = _gaps(q, joint)
    posterior = joint / joint.sum(-1, keepdim=True)
    log_ratio = joint.log() - q.log()
    for name, value in (
        ("encoder-weights", evidence - reverse),
        ("joint-weights", (joint * log_ratio).sum(-1)),
        ("one-evidence-for-all", (joint / joint.sum() * log_ratio).sum(-1)),
        ("one-evidence-for-all", (joint / joint.sum(0) * log_ratio).sum(-1)),
        ("softmax-of-joint", (joint.softmax(-1) * log_ratio).sum(-1)),
        ("latents-averaged", (evidence + forward) / joint.shape[-1]),
        ("posterior-below", evidence),
        ("gap-only", forward),
        ("mirrored", evidence + reverse),
        ("ratio-upside-down", -evidence - forward),
        ("log-outside", (posterior * joint / q).sum(-1).log()),
        ("no-denominator", (posterior * joint.log()).sum(-1)),
        ("batch-averaged", (evidence + forward).mean()),
    ):
        yield name, {"value": value}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, latents in ((3, 2), (1, 4), (4, 6)):
        q = tables(rng, batch, latents)
        joint = tables(rng, batch, latents) * tensor(rng.uniform(0.05, 0.6, size=(batch, 1)))
        evidence, forward, _ = _gaps(q, joint)
        yield Case(
            {"q": q, "joint": joint},
            {"value": evidence + forward},
            lambda q=q, joint=joint: _mistaken(q, joint),
            about=f"{latents} latent values",
        )


EXERCISE = Exercise(
    id="3.6",
    functions=("eubo",),
    returns="(batch,), one value per row",
    mistakes=MISTAKES,
    cases=_cases,
)
