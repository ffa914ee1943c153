"""4.6 Which KL is which: eight statements, each about one of them or about none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vae_lib.exercises.compare import WrongForm
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

KINDS = ("gap", "rate", "mismatch", "none")
SAID = (
    "KL(q(z|x)‖p(z|x))",
    "it is what the ELBO lacks to ln p(x)",
    "the loss holds it, and for a Gaussian q it has a closed form",
    "for a given x it is zero exactly if the encoder answers with the prior",
    "KL(q_agg(z)‖p(z))",
    "it would be zero if the average of all the encoder's answers were taken for the prior",
    "the mean over the data of KL(q(z|x_n)‖q_agg(z))",
    "KL(p(z)‖q(z|x))",
)
RIGHT = ("gap", "gap", "rate", "rate", "mismatch", "mismatch", "none", "none")

MISTAKES = {
    "gap-for-rate": (
        "gap and rate change places: the gap compares q with the posterior, which nobody knows, the rate "
        "with the prior, which is part of the model"
    ),
    "rate-for-mismatch": (
        "the mismatch is taken for the rate: the rate is the mean over single answers, the mismatch compares "
        "their average with the prior"
    ),
    "information": "the information is one half of the rate, and none of the three",
    "reversed": "the order is overlooked: KL(p(z)‖q(z|x)) averages over the prior, and is none of the three",
}


def _mistaken(statement: int) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    right = RIGHT[statement - 1]
    if right == "gap":
        yield "gap-for-rate", _coded("rate")
    if right == "rate":
        yield "gap-for-rate", _coded("gap")
        yield "rate-for-mismatch", _coded("mismatch")
    if right == "mismatch":
        yield "rate-for-mismatch", _coded("rate")
    if statement == 7:
        for other in ("mismatch", "rate", "gap"):
            yield "information", _coded(other)
    if statement == 8:
        for other in ("rate", "gap", "mismatch"):
            yield "reversed", _coded(other)


def _coded(kind: str) -> Values:
    return {"value": float(KINDS.index(kind))}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    answer = answers[0](inputs["statement"])
    if answer is None:
        raise WrongForm("it returned None: is the `return` missing?")
    if not isinstance(answer, str) or answer not in KINDS:
        raise WrongForm(f"it returned {answer!r}; wanted one of {', '.join(map(repr, KINDS))}")
    return _coded(answer)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for statement in rng.permutation(len(SAID)) + 1:
        number = int(statement)
        yield Case(
            {"statement": number},
            _coded(RIGHT[number - 1]),
            lambda number=number: _mistaken(number),
            about=f"statement {number}: {SAID[number - 1]}",
        )


EXERCISE = Exercise(
    id="4.6",
    functions=("which_kl",),
    returns="one of 'gap', 'rate', 'mismatch', 'none'",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
