"""8.4 The average over an epoch. Oracle: one exact sum over all examples."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "mean-of-means": "the means of the batches are averaged: the short last batch counts too much",
    "divided-by-batches": "the sum over all examples is divided by the number of batches",
    "full-size-assumed": "every batch is taken to be as long as the first",
    "last-dropped": "the last batch is left out",
    "one-batch": "only one of the batches is in the result",
    "running-mean": "each mean is averaged with the one before: the last batch then counts for half",
    "not-divided": "the sum is not divided by the number of examples",
}


def _mistaken(batches: list[Tensor]) -> Iterator[tuple[str, Values]]:
    total = math.fsum(value for batch in batches for value in batch.tolist())
    means = [math.fsum(batch.tolist()) / len(batch) for batch in batches]
    kept = [value for batch in batches[:-1] for value in batch.tolist()]
    yield "mean-of-means", {"value": math.fsum(means) / len(means)}
    yield "divided-by-batches", {"value": total / len(batches)}
    yield "full-size-assumed", {"value": total / (len(batches) * len(batches[0]))}
    if kept:
        yield "last-dropped", {"value": math.fsum(kept) / len(kept)}
    yield "one-batch", {"value": means[-1]}
    yield "one-batch", {"value": means[0]}
    running = means[0]
    for mean in means[1:]:
        running = (running + mean) / 2.0
    yield "running-mean", {"value": running}
    yield "not-divided", {"value": total}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for sizes in ((4, 4, 1), (8, 8, 8, 3), (5, 5), (2, 7, 1, 3)):
        batches = [tensor(rng.normal(size=size) + place) for place, size in enumerate(sizes)]
        values = [value for batch in batches for value in batch.tolist()]
        yield Case(
            {"batches": batches},
            {"value": math.fsum(values) / len(values)},
            lambda batches=batches: _mistaken(batches),
            about=f"batches of {', '.join(map(str, sizes))}",
        )


EXERCISE = Exercise(
    id="8.4",
    functions=("epoch_average",),
    returns="one number",
    mistakes=MISTAKES,
    cases=_cases,
)
