"""4.3 The density of the aggregate posterior. Oracle: products of densities, by loops in plain Python."""

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
    "mean-of-logs": "the logarithms are averaged: q_agg averages the densities, and its logarithm comes last",
    "averaged-parameters": (
        "one Gaussian with averaged parameters stands there: the average of several bells is no bell"
    ),
    "not-averaged": "the densities are summed: −ln N is missing",
    "largest-only": "only the largest density counts: all N codes are in the average",
    "coordinates-apart": (
        "each coordinate is averaged over the codes by itself: first multiply the coordinates of one code, "
        "then average over the codes"
    ),
    "count-sign": "ln N is added: a mean divides by N, so subtract ln N",
    "wrong-count": "ln of another number is subtracted: the average is over the N codes",
    "padded": "a small number is added to the density: far from the codes it is all that you see",
    "wrong-axis": "the sum is over the points: average over the codes, one value for each point",
    "latents-averaged": "the log-densities of the latents are averaged: they are summed",
    "variance-for-std": "std is read as a variance: it is a standard deviation",
    "not-logged": "the density itself is returned: take its logarithm",
    "underflow": (
        "far from every code the density underflows to zero, and its logarithm to minus infinity: "
        "torch.logsumexp adds densities whose logarithms you have"
    ),
}


def _log_density(z: float, mean: float, std: float) -> float:
    return -0.5 * ((z - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2.0 * math.pi)


def _right(z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """By loops: the largest log-density of a code, plus the logarithm of the mean ratio to it."""
    values = []
    for point in z.tolist():
        logs = [
            math.fsum(_log_density(*entry) for entry in zip(point, m, s, strict=True))
            for m, s in zip(mean.tolist(), std.tolist(), strict=True)
        ]
        top = max(logs)
        values.append(top + math.log(math.fsum(math.exp(log - top) for log in logs) / len(logs)))
    return tensor(values)


def _mistaken(z: Tensor, mean: Tensor, std: Tensor) -> Iterator[tuple[str, Values]]:
    right = _right(z, mean, std)
    each = torch.distributions.Normal(mean, std).log_prob(z.unsqueeze(1))  # (points, codes, latent)
    logs = each.sum(-1)
    codes = len(mean)
    centre, spread = mean.mean(0, keepdim=True), std.square().mean(0, keepdim=True)
    between = mean.var(0, correction=0, keepdim=True)
    by_hand = (logs.exp().sum(-1) / codes).log()
    far = by_hand.isinf() & right.isfinite()
    for small in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5):
        yield "padded", {"value": (right.exp() + small).log()}
    for name, value in (
        ("mean-of-logs", logs.mean(-1)),
        ("averaged-parameters", _right(z, centre, std.mean(0, keepdim=True))),
        ("averaged-parameters", _right(z, centre, spread.sqrt())),
        ("averaged-parameters", _right(z, centre, (spread + between).sqrt())),
        ("not-averaged", right + math.log(codes)),
        ("largest-only", logs.max(-1).values),
        ("largest-only", logs.max(-1).values - math.log(codes)),
        ("coordinates-apart", (torch.logsumexp(each, 1) - math.log(codes)).sum(-1)),
        ("coordinates-apart", torch.logsumexp(each, 1).sum(-1)),
        ("coordinates-apart", torch.logsumexp(each, 1).sum(-1) - math.log(codes)),
        ("wrong-count", right + math.log(codes) - math.log(len(z))),
        ("wrong-count", right + math.log(codes) - math.log(z.shape[-1])),
        ("count-sign", right + 2.0 * math.log(codes)),
        ("wrong-axis", torch.logsumexp(logs, 0)),
        ("wrong-axis", torch.logsumexp(logs, 0) - math.log(codes)),
        ("wrong-axis", torch.logsumexp(logs, 0) - math.log(len(z))),
        ("latents-averaged", torch.logsumexp(each.mean(-1), -1) - math.log(codes)),
        ("variance-for-std", _right(z, mean, std.sqrt())),
        ("not-logged", right.exp()),
        ("underflow", torch.where(far, by_hand, right)),
    ):
        yield name, {"value": value}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return {"value": answers[0](**inputs)}


def _case(z: object, mean: object, std: object, about: str) -> Case:
    inputs = {"z": tensor(z), "mean": tensor(mean), "std": tensor(std)}
    return Case(inputs, {"value": _right(**inputs)}, lambda: _mistaken(**inputs), about=about)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for points, codes, latent in ((4, 3, 2), (3, 5, 1), (5, 2, 3)):
        yield _case(
            rng.normal(size=(points, latent)),
            2.0 * rng.normal(size=(codes, latent)),
            rng.uniform(0.3, 1.2, size=(codes, latent)),
            f"{codes} codes, {latent} latents",
        )
    far = 40.0 + rng.random((2, 2))
    yield _case(far, rng.normal(size=(3, 2)), rng.uniform(0.3, 0.8, (3, 2)), "points far from every code")


EXERCISE = Exercise(
    id="4.3",
    functions=("aggregate_log_prob",),
    returns="(points,), one value per point",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
