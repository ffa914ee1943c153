"""What the catalogue says about one exercise: inputs, right values, values of known mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Case", "Exercise", "Values"]

Values = Mapping[str, Any]
"""Named values; each is something that `compare.numbers` reads."""


@dataclass(frozen=True)
class Case:
    """One set of inputs, what is right on it, and what each known mistake gives on it.

    Attributes:
        inputs: the arguments, by name. Tensors are copied before every call, and a function that
            changes them is told so. They are shown when the case fails.
        right: the values that are accepted: one set of named values, or several where more than
            one answer is right. They come from an oracle that shares no formula with the reference.
        mistaken: computed only when an answer is wrong: pairs of a mistake's name and either the
            values that it gives, or a test of the values that the answer gave. A name may come
            more than once. Names of values that a mistake leaves out are not compared.
        rtol: relative tolerance: a number, or one per named value.
        atol: absolute tolerance: a number, or one (or one tensor) per named value.
        blur: the relative tolerance with which a mistake is recognised, where it is wider: a mistake
            that scales a sampled value scales its noise too. A number, or one per named value.
        about: which kind of inputs these are, in words.
    """

    inputs: Mapping[str, Any]
    right: Values | Sequence[Values]
    mistaken: Callable[..., Iterator[tuple[str, Values | Callable[[Values], bool]]]]
    rtol: float | Mapping[str, float] = 1e-5
    atol: float | Mapping[str, Any] = 1e-6
    blur: float | Mapping[str, float] = 0.0
    about: str = ""

    @property
    def accepted(self) -> tuple[Values, ...]:
        """The accepted sets of values, also where there is only one."""
        return (self.right,) if isinstance(self.right, Mapping) else tuple(self.right)


@dataclass(frozen=True)
class Exercise:
    """An exercise as the checker sees it.

    Attributes:
        id: its number, such as "2.1".
        functions: the names of the functions that the student writes, in the order of `check`.
        returns: the wanted shape, in words.
        mistakes: name -> what went wrong; it completes "this is what you get when …".
        cases: a generator of fresh cases from a random generator.
        run: calls the student's functions with the inputs and names what they return; the default
            passes the inputs by position to the only function.
    """

    id: str
    functions: tuple[str, ...]
    returns: str
    mistakes: Mapping[str, str]
    cases: Callable[[np.random.Generator], Iterator[Case]]
    run: Callable[[Sequence[Callable[..., Any]], Mapping[str, Any]], Values] = field(
        default=lambda answers, inputs: {"value": answers[0](*inputs.values())}
    )
