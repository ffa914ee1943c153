"""2.1 KL of two tables of probabilities. Oracle: a loop over the terms that are not zero."""

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
    "swapped": "the arguments are swapped: KL(p‖q) averages over p",
    "negated": "the ratio is upside down: Σ q ln (p/q) is −KL(q‖p)",
    "base-2": "the logarithm has base 2: that is bits, and this course counts nats",
    "averaged": "the terms are averaged over the categories: KL is their sum",
    "squeezed": "the answer is squeezed: a batch of one is still a batch",
    "batch-averaged": "the rows are averaged too: keep one value per row",
    "batch-summed": "the rows are summed too: keep one value per row",
    "absolute": "every term is made positive before the sum: single terms may be negative",
    "symmetrised": "both directions are averaged: KL has one direction, and it matters",
    "nan-at-zero": "0 · ln 0 or 0/0 is left to the computer, which makes it nan: such a term is 0",
    "clipped": (
        "zeros are replaced by a small number: where q is 0 the term is 0, and where p is 0 but q "
        "is not, KL is infinite"
    ),
}

_SMALL = (1e-2, 1e-3, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-16)


def _right(q: Tensor, p: Tensor) -> Tensor:
    return tensor([kl_of_rows(a, b) for a, b in zip(q.tolist(), p.tolist(), strict=True)])


def _terms(q: Tensor, p: Tensor) -> Tensor:
    """The terms as a computer sees them: nan where q is 0."""
    return q * (q.log() - p.log())


def _mistaken(q: Tensor, p: Tensor) -> Iterator[tuple[str, Values]]:
    right, reversed_ = _right(q, p), _right(p, q)
    signed = torch.where(q > 0, _terms(q, p), 0.0)
    yield "swapped", {"value": reversed_}
    yield "negated", {"value": -right}
    yield "base-2", {"value": right / math.log(2.0)}
    yield "averaged", {"value": right / q.shape[-1]}
    yield "averaged", {"value": right.mean() / q.shape[-1]}
    yield "squeezed", {"value": right.squeeze()}
    yield "batch-averaged", {"value": right.mean()}
    yield "batch-summed", {"value": right.sum()}
    yield "absolute", {"value": signed.abs().sum(-1)}
    yield "symmetrised", {"value": 0.5 * (right + reversed_)}
    yield "symmetrised", {"value": right + reversed_}
    yield "nan-at-zero", {"value": _terms(q, p).sum(-1)}
    yield "nan-at-zero", {"value": torch.xlogy(q, q / p).sum(-1)}
    if bool((q > 0).all()) and bool((p > 0).all()):
        yield "clipped", {"value": right}  # nothing to clip; only a large addend would be seen
        for small in _SMALL[:3]:
            yield "clipped", {"value": _terms(q + small, p + small).sum(-1)}
        return
    for small in _SMALL:
        for a, b in (
            (q.clamp_min(small), p.clamp_min(small)),
            (q + small, p + small),
            (q, p.clamp_min(small)),
            (q, p + small),
        ):
            yield "clipped", {"value": _terms(a, b).sum(-1)}
            yield "clipped", {"value": (q * (a.log() - b.log())).sum(-1)}


def _case(q: Tensor, p: Tensor, about: str) -> Case:
    return Case({"q": q, "p": p}, {"value": _right(q, p)}, lambda: _mistaken(q, p), about=about)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    yield _case(tables(rng, 3, 2), tables(rng, 3, 2), "two categories")
    for columns in (4, 7):
        yield _case(tables(rng, 5, columns), tables(rng, 5, columns), f"{columns} categories")
    q = tables(rng, 3, 4)
    yield _case(q, q.clone(), "equal rows")
    yield _case(tables(rng, 1, 3), tables(rng, 1, 3), "a batch of one")
    holes = tables(rng, 3, 4)
    holes[0, 1] = holes[1, 0] = holes[1, 3] = holes[2, 2] = 0.0
    holes = holes / holes.sum(-1, keepdim=True)
    yield _case(holes, tables(rng, 3, 4), "rows in which q holds zeros")
    yield _case(holes, holes.clone(), "rows in which q and p hold the same zeros")
    yield _case(tables(rng, 3, 4), holes, "rows in which p excludes what q allows")


EXERCISE = Exercise(
    id="2.1",
    functions=("kl_categorical",),
    returns="(batch,), one value per row",
    mistakes=MISTAKES,
    cases=_cases,
)
