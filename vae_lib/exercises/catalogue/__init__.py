"""The catalogue: one module per exercise, loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from vae_lib.exercises.exercise import Exercise

__all__ = ["find", "known"]


def known() -> tuple[str, ...]:
    """The numbers of all exercises, in order.

    Example:
        >>> known()[0]
        '1.1'
    """
    stems = (path.stem for path in Path(__file__).parent.glob("exercise_*.py"))
    numbers = (tuple(map(int, stem.split("_")[1:])) for stem in stems)
    return tuple(f"{chapter}.{place}" for chapter, place in sorted(numbers))


def find(number: str) -> Exercise:
    """The exercise of this number.

    Raises:
        ValueError: there is none.

    Example:
        >>> find("2.1").functions
        ('kl_categorical',)
    """
    if number not in known():
        raise ValueError(f"exercise is {number!r}; wanted one of {', '.join(known())}")
    return import_module(f"{__name__}.exercise_{number.replace('.', '_')}").EXERCISE
