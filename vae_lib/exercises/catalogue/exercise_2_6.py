"""2.6 KL by sampling. Oracle: moments of the log-ratio by the trapezoid rule; five standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.distributions import Normal

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

NAMES = ("estimate", "standard_error", "negative_share")
SIGMAS = 5.0

MISTAKES = {
    "samples-of-p": "the samples come from p: the average of KL(q‖p) is over q",
    "negated": "the ratio is upside down: the average of ln p/q is −KL(q‖p)",
    "absolute": "the terms are made positive before the average: then it is no longer unbiased",
    "clamped": "negative terms are set to zero before the average: it is no longer unbiased",
    "no-root-n": "the standard error is not divided by √count: that is the spread of one term",
    "over-n": "the spread is divided by count: the standard error has its square root",
    "variance": "the standard error is made from the variance: take the square root",
    "share-of-positive": "the share of the positive terms is returned",
    "count-for-share": "the number of negative terms is returned: divide it by count",
    "percentage": "the share is returned in per cent: it lies between 0 and 1",
    "share-of-samples": "the share of negative samples z is returned: it is the terms ln q/p that count",
    "no-logarithm": "the ratio q/p is averaged without its logarithm",
    "batch-averaged": "the batch is averaged: average over the samples only, the first axis",
}


def _moments(q: tuple[float, float], p: tuple[float, float], under: tuple[float, float]) -> dict:
    """Moments of ln q − ln p when z is drawn from `under`; all three are (mean, std)."""
    t = np.linspace(-12.0, 12.0, 24_001)
    weight = np.exp(-0.5 * t**2) / math.sqrt(2.0 * math.pi) * (t[1] - t[0])
    z = under[0] + under[1] * t
    log_ratio = math.log(p[1] / q[1]) - 0.5 * ((z - q[0]) / q[1]) ** 2 + 0.5 * ((z - p[0]) / p[1]) ** 2

    def about(values: np.ndarray) -> tuple[float, float, float]:
        mean = float(weight @ values)
        centred = values - mean
        return mean, math.sqrt(weight @ centred**2), float(weight @ centred**4)

    mean, std, fourth = about(log_ratio)
    absolute = about(np.abs(log_ratio))
    clamped = about(np.maximum(log_ratio, 0.0))
    return {
        "mean": mean,
        "std": std,
        "fourth": fourth,
        "share": float(weight @ (log_ratio < 0.0)),
        "absolute_mean": absolute[0],
        "absolute_std": absolute[1],
        "clamped_mean": clamped[0],
        "clamped_std": clamped[1],
        "ratio_mean": float(weight @ np.exp(log_ratio)),
        "negative_samples": float(weight @ (z < 0.0)),
    }


def _columns(q: Normal, p: Normal, under: Normal) -> dict[str, torch.Tensor]:
    pairs = [list(zip(d.loc.tolist(), d.scale.tolist(), strict=True)) for d in (q, p, under)]
    rows = [_moments(*triple) for triple in zip(*pairs, strict=True)]
    return {name: tensor([row[name] for row in rows]) for name in rows[0]}


def _mistaken(q: Normal, p: Normal, count: int) -> Iterator[tuple[str, Values]]:
    exact, wrong = _columns(q, p, q), _columns(q, p, p)
    root = math.sqrt(count)
    right = {
        "estimate": exact["mean"],
        "standard_error": exact["std"] / root,
        "negative_share": exact["share"],
    }
    zero = torch.zeros_like(exact["mean"])
    yield (
        "samples-of-p",
        {
            "estimate": wrong["mean"],
            "standard_error": wrong["std"] / root,
            "negative_share": wrong["share"],
        },
    )
    yield "negated", right | {"estimate": -exact["mean"], "negative_share": 1.0 - exact["share"]}
    yield "negated", right | {"estimate": -exact["mean"]}
    for name in ("absolute", "clamped"):
        changed = {
            "estimate": exact[f"{name}_mean"],
            "standard_error": exact[f"{name}_std"] / root,
        }
        yield name, right | changed
        yield name, right | changed | {"negative_share": zero}
        yield name, right | {"estimate": exact[f"{name}_mean"]}
    yield "no-root-n", right | {"standard_error": exact["std"]}
    yield "over-n", right | {"standard_error": exact["std"] / count}
    yield "variance", right | {"standard_error": exact["std"] ** 2 / count}
    yield "variance", right | {"standard_error": exact["std"] ** 2 / root}
    yield "variance", right | {"standard_error": exact["std"] ** 2}
    yield "share-of-positive", right | {"negative_share": 1.0 - exact["share"]}
    yield "count-for-share", right | {"negative_share": count * exact["share"]}
    yield "percentage", right | {"negative_share": 100.0 * exact["share"]}
    yield "share-of-samples", right | {"negative_share": exact["negative_samples"]}
    yield "no-logarithm", {"estimate": exact["ratio_mean"]}
    yield "batch-averaged", {name: value.mean() for name, value in right.items()}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    q = Normal(inputs["mean_q"], inputs["std_q"])
    p = Normal(inputs["mean_p"], inputs["std_p"])
    return as_named(answers[0](q, p, inputs["count"]), NAMES, of=tuple)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    count = 20_000
    for batch in (3, 1):
        mean_q = rng.normal(size=batch)
        sign = rng.choice([-1.0, 1.0], size=batch)
        inputs = {
            "mean_q": tensor(mean_q),
            "std_q": tensor(rng.uniform(0.6, 0.9, size=batch)),
            "mean_p": tensor(mean_q + sign * rng.uniform(0.5, 0.9, size=batch)),
            "std_p": tensor(rng.uniform(1.1, 1.5, size=batch)),
        }
        q = Normal(inputs["mean_q"], inputs["std_q"])
        p = Normal(inputs["mean_p"], inputs["std_p"])
        exact = _columns(q, p, q)
        spread_of_std = ((exact["fourth"] - exact["std"] ** 4) / count).sqrt() / (2 * exact["std"])
        share = exact["share"]
        yield Case(
            {**inputs, "count": count},
            {
                "estimate": exact["mean"],
                "standard_error": exact["std"] / math.sqrt(count),
                "negative_share": share,
            },
            lambda q=q, p=p: _mistaken(q, p, count),
            rtol={"standard_error": SIGMAS * float((spread_of_std / exact["std"]).max())},
            atol={
                "estimate": SIGMAS * exact["std"] / math.sqrt(count),
                "standard_error": 0.0,
                "negative_share": SIGMAS * (share * (1.0 - share) / count).sqrt(),
            },
            blur={"estimate": 0.05, "standard_error": 0.15, "negative_share": 0.05},
            about=f"{count:,} samples",
        )


EXERCISE = Exercise(
    id="2.6",
    functions=("kl_monte_carlo",),
    returns="(batch,), one value per pair of distributions",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
