"""8.6 The whole sum from one minibatch. Oracle: the average over every possible minibatch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import numbers
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "not-scaled": "the sum over the batch is not scaled up to the data set",
    "averaged": "the average per example is returned: the total has dataset_size of them",
    "scaled-once-too-often": "the sum is multiplied by dataset_size: divide by the batch's size too",
    "reconstruction-only": "only the reconstruction is scaled: the rate then weighs too little",
    "rate-only": "only the rate is scaled: it then weighs too much",
    "inverted": "the factor is upside down: it is dataset_size over the batch's size",
    "rate-added": "the rate is added: the elbo subtracts it",
    "negated": "this is minus the elbo: the elbo is reconstruction minus rate",
    "whole-batches": "the factor is rounded to a whole number: dataset_size / batch size is a fraction",
    "not-summed": "the batch is not summed: return one number",
}


def _all_batches(values: Tensor, size: int) -> Iterator[Tensor]:
    for chosen in combinations(range(len(values)), size):
        yield values[list(chosen)]


def _average(reconstruction: Tensor, rate: Tensor, size: int, estimate: Callable[..., Any]) -> Any:
    """The exact expectation of an estimate: every minibatch of this size is equally likely."""
    pairs = zip(_all_batches(reconstruction, size), _all_batches(rate, size), strict=True)
    values = [numbers(estimate(a, b, len(rate))) for a, b in pairs]
    return torch.tensor([v.values for v in values]).double().mean(0).reshape(values[0].shape)


def _mistaken(reconstruction: Tensor, rate: Tensor, size: int) -> Iterator[tuple[str, Values]]:
    total = len(rate)
    sums = reconstruction.sum() * size / total, rate.sum() * size / total
    factor = total / size
    for name, value in (
        ("not-scaled", sums[0] - sums[1]),
        ("averaged", (sums[0] - sums[1]) / size),
        ("scaled-once-too-often", total * (sums[0] - sums[1])),
        ("reconstruction-only", factor * sums[0] - sums[1]),
        ("reconstruction-only", factor * sums[0] - sums[1] / size),
        ("rate-only", sums[0] - factor * sums[1]),
        ("rate-only", sums[0] / size - factor * sums[1]),
        ("inverted", (sums[0] - sums[1]) / factor),
        ("rate-added", factor * (sums[0] + sums[1])),
        ("negated", factor * (sums[1] - sums[0])),
        ("whole-batches", (total // size) * (sums[0] - sums[1])),
        ("whole-batches", -(-total // size) * (sums[0] - sums[1])),
    ):
        yield name, {"value": value}
    for scale in (1.0, size):
        rows = _average(reconstruction, rate, size, lambda a, b, n, by=scale: (a - b) * n / by)
        yield "not-summed", {"value": rows}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return {"value": _average(inputs["reconstruction"], inputs["rate"], inputs["batch_size"], answers[0])}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for total, size in ((6, 2), (7, 3), (5, 5), (4, 1)):
        inputs: dict[str, Any] = {
            "reconstruction": tensor(-rng.uniform(1.0, 9.0, size=total)),
            "rate": tensor(rng.uniform(0.1, 3.0, size=total)),
            "batch_size": size,
        }
        yield Case(
            inputs,
            {"value": sum(inputs["reconstruction"].tolist()) - sum(inputs["rate"].tolist())},
            lambda inputs=inputs: _mistaken(inputs["reconstruction"], inputs["rate"], inputs["batch_size"]),
            about=f"the average over all minibatches of {size} out of {total}",
        )


EXERCISE = Exercise(
    id="8.6",
    functions=("minibatch_elbo",),
    returns="one number",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
