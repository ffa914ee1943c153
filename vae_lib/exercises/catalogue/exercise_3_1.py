"""3.1 Both sides of Jensen's inequality. Oracle: loops over the values, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tables, tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "Curve"]

NAMES = ("f_of_mean", "mean_of_f", "bend")

MISTAKES = {
    "swapped": (
        "the two sides change places: f(E X) averages first and applies f afterwards "
        "(line 47 of the source note)"
    ),
    "bend-turned": "the third answer is turned round: +1 belongs to a concave f, where f(E X) is the larger",
    "difference-for-bend": "the third answer is the difference of the sides: wanted is its sign, +1, 0 or −1",
    "averaged-twice": "chance times value is averaged again: with the chances as weights a mean is a sum",
    "unweighted": "the values are averaged without their chances",
    "not-averaged": "the chances are left out of the mean: f is taken of a plain sum",
    "weighted-inside": "f is applied to chance times value: the chance is a weight, and stays outside of f",
    "batch-averaged": "the rows are averaged too: keep one value per row",
    "never-zero": (
        "the third answer is not 0 where the two sides agree: differences up to 1e-9 are rounding"
    ),
    "coarse-zero": "small differences count as none: only up to 1e-9 do the two sides agree",
}


@dataclass(frozen=True)
class Curve:
    """A function of a tensor, entry by entry, that says what it is.

    Example:
        >>> Curve("t²")(torch.tensor([3.0]))
        tensor([9.])
    """

    text: str

    def __call__(self, t: Tensor) -> Tensor:
        return {
            "ln t": torch.log,
            "√t": torch.sqrt,
            "t²": torch.square,
            "2 − 3t": lambda values: 2.0 - 3.0 * values,
            "−exp t": lambda values: -torch.exp(values),
        }[self.text](t)

    def __repr__(self) -> str:
        return f"the function {self.text}"


_BY_HAND: Mapping[str, Callable[[float], float]] = {
    "ln t": math.log,
    "√t": math.sqrt,
    "t²": lambda t: t * t,
    "2 − 3t": lambda t: 2.0 - 3.0 * t,
    "−exp t": lambda t: -math.exp(t),
}
_BENDS = {"ln t": 1.0, "√t": 1.0, "t²": -1.0, "2 − 3t": 0.0, "−exp t": 1.0}


def _sides(text: str, values: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
    f = _BY_HAND[text]
    rows = list(zip(values.tolist(), chances.tolist(), strict=True))
    outside = [f(math.fsum(a * b for a, b in zip(*row, strict=True))) for row in rows]
    inside = [math.fsum(f(a) * b for a, b in zip(*row, strict=True)) for row in rows]
    return tensor(outside), tensor(inside)


def _bend(first: Tensor, second: Tensor) -> Tensor:
    apart = first - second
    return torch.where(apart.abs() <= 1e-9, 0.0, apart.sign())


def _mistaken(
    f: Curve, values: Tensor, chances: Tensor
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    first, second = _sides(f.text, values, chances)
    bend = torch.full_like(first, _BENDS[f.text])

    def named(a: Tensor, b: Tensor, c: Tensor) -> Values:
        return {"f_of_mean": a, "mean_of_f": b, "bend": c}

    yield "swapped", named(second, first, -bend)
    yield "swapped", named(second, first, bend)
    yield "bend-turned", named(first, second, -bend)
    plain = f(values.mean(-1)), f(values).mean(-1)
    yield "unweighted", named(*plain, _bend(*plain))
    yield "unweighted", named(plain[0], second, _bend(plain[0], second))
    yield "unweighted", named(first, plain[1], _bend(first, plain[1]))
    yield "difference-for-bend", named(first, second, first - second)
    twice = f((chances * values).mean(-1)), (chances * f(values)).mean(-1)
    yield "averaged-twice", named(*twice, _bend(*twice))
    for slack in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        apart = first - second
        yield "coarse-zero", named(first, second, torch.where(apart.abs() <= slack, 0.0, apart.sign()))
    summed = f(values.sum(-1)), f(values).sum(-1)
    yield "not-averaged", named(*summed, _bend(*summed))
    yield "not-averaged", named(summed[0], second, _bend(summed[0], second))
    inner = f(chances * values).sum(-1)
    yield "weighted-inside", named(first, inner, _bend(first, inner))
    yield "batch-averaged", named(first.mean(), second.mean(), bend.mean())
    yield "batch-averaged", named(first.mean(), second.mean(), bend[0])
    yield "never-zero", named(first, second, (first - second).sign())
    yield "never-zero", named(first, second, torch.where(first >= second, 1.0, -1.0))
    yield "never-zero", named(first, second, torch.where(first > second, 1.0, -1.0))
    if _BENDS[f.text] == 0.0:  # which way rounding falls cannot be foretold
        yield "never-zero", lambda got: any(abs(value) > 0.5 for value in got["bend"])


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return as_named(answers[0](*inputs.values()), NAMES, of=tuple)


def _case(text: str, values: Tensor, chances: Tensor, about: str = "") -> Case:
    f = Curve(text)
    first, second = _sides(text, values, chances)
    right = {"f_of_mean": first, "mean_of_f": second, "bend": torch.full_like(first, _BENDS[text])}
    return Case(
        {"f": f, "values": values, "chances": chances},
        right,
        lambda: _mistaken(f, values, chances),
        about=about or repr(f),
    )


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for text, batch, size in (("ln t", 3, 2), ("t²", 4, 3), ("2 − 3t", 5, 4), ("−exp t", 2, 3), ("√t", 1, 5)):
        values = tensor(0.3 + 3.0 * rng.random((batch, size)))
        yield _case(text, values, tables(rng, batch, size, floor=0.1))
    narrow = 1.0 + rng.random((2, 1)) + tensor([-1e-3, 0.0, 1e-3]).numpy()  # the sides differ by 1e-8 or more
    yield _case("ln t", tensor(narrow), tables(rng, 2, 3, floor=0.1), "values that lie close together")


EXERCISE = Exercise(
    id="3.1",
    functions=("jensen_sides",),
    returns="(batch,), one value per row",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
