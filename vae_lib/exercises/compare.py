"""Compare an answer with a value, in plain Python arithmetic.

Nothing here calls `numpy.allclose`, `torch.allclose` or their relatives: a notebook that replaces
them by accident or on purpose changes no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = ["Numbers", "WrongForm", "agree", "as_named", "close", "numbers", "show"]


class WrongForm(Exception):
    """An answer of a kind that cannot be compared; the text is meant for the student."""


class Numbers(NamedTuple):
    """A shape and the values in row-major order."""

    shape: tuple[int, ...]
    values: tuple[float, ...]


def numbers(value: Any) -> Numbers:
    """Read a tensor, an array, a number or nested lists of numbers.

    Raises:
        WrongForm: `value` is something else.

    Example:
        >>> numbers(torch.tensor([[1, 2]]))
        Numbers(shape=(1, 2), values=(1.0, 2.0))
        >>> numbers(0.5)
        Numbers(shape=(), values=(0.5,))
    """
    if isinstance(value, Numbers):
        return value
    if value is None:
        raise WrongForm("it returned None: is the `return` missing?")
    if isinstance(value, torch.Tensor):
        if value.is_complex():
            raise WrongForm("it returned complex numbers; wanted real ones")
        flat = value.detach().to("cpu", torch.float64).reshape(-1)
        return Numbers(tuple(value.shape), tuple(flat.tolist()))
    if isinstance(value, (Mapping, str, bytes)) or callable(value):
        raise WrongForm(f"it returned {_kind(value)}; wanted a tensor")
    if isinstance(value, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in value):
        value = [numbers(v) for v in value]
        if len({v.shape for v in value}) > 1:
            raise WrongForm("it returned tensors of different shapes; wanted one tensor")
        return Numbers((len(value), *value[0].shape), tuple(entry for v in value for entry in v.values))
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise WrongForm(f"it returned {_kind(value)}; wanted a tensor") from None
    return Numbers(tuple(array.shape), tuple(array.ravel().tolist()))


def _kind(value: Any) -> str:
    """The type of a value with its article; of a distribution, what one does with it."""
    if isinstance(value, torch.distributions.Distribution):
        return "a distribution (it has .mean, .sample() and .log_prob)"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def as_named(result: Any, names: Sequence[str], *, of: type) -> dict[str, Any]:
    """Give the parts of a returned tuple or dictionary their names.

    Args:
        result: what the answer returned.
        names: the wanted keys, or the names of the positions.
        of: `tuple` or `dict`.

    Raises:
        WrongForm: `result` is of another kind, or parts are missing.

    Example:
        >>> as_named((1.0, 2.0), ("mean", "std"), of=tuple)
        {'mean': 1.0, 'std': 2.0}
    """
    if of is dict:
        if not isinstance(result, Mapping):
            raise WrongForm(
                f"it returned {_kind(result)}; wanted a dictionary with the keys {', '.join(names)}"
            )
        missing = [name for name in names if name not in result]
        if missing:
            raise WrongForm(f"the dictionary that it returned lacks {', '.join(missing)}")
        return {name: result[name] for name in names}
    wanted = f"wanted {len(names)} values: {', '.join(names)}"
    if not isinstance(result, (tuple, list)):
        raise WrongForm(f"it returned {_kind(result)}; {wanted}")
    if len(result) != len(names):
        raise WrongForm(f"it returned {len(result)} values; {wanted}")
    return dict(zip(names, result, strict=True))


def close(got: Numbers, wanted: Numbers, rtol: float, atol: float | Numbers) -> bool:
    """Whether the shapes are equal and every |got − wanted| is at most atol + rtol |wanted|.

    NaN equals NaN, and an infinity equals only itself. `atol` may hold one number per value; where the
    count differs, the largest holds for all.

    Example:
        >>> close(numbers([1.0, 2.0]), numbers([1.0, 2.1]), rtol=0.0, atol=0.05)
        False
    """
    if got.shape != wanted.shape:
        return False
    slack = atol.values if isinstance(atol, Numbers) else (atol,)
    if len(slack) != len(wanted.values):
        slack = (max(slack),) * len(wanted.values)
    return all(
        _near(a, b, s + rtol * abs(b) if abs(b) < float("inf") else 0.0)
        for a, b, s in zip(got.values, wanted.values, slack, strict=True)
    )


def agree(got: Any, wanted: Any, *, rtol: float = 1e-5, atol: float = 1e-6) -> bool:
    """Whether two tensors, arrays or numbers have the same shape and nearly the same values.

    The graded tests of the exercises call it; it answers False where `got` cannot be compared.

    Book: the exercises of every chapter.

    Example:
        >>> agree(np.array([0.5]), torch.tensor([0.5])), agree([0.5], 0.5), agree(None, 0.5)
        (True, False, False)
    """
    try:
        return close(numbers(got), numbers(wanted), rtol, atol)
    except WrongForm:
        return False


def show(value: Any, digits: int = 4, rows: int = 4, columns: int = 8) -> str:
    """A short text of a value: rounded, and cut where it is long.

    Example:
        >>> show(torch.tensor([1 / 3, 2.0]))
        '[0.3333, 2]'
        >>> show(torch.zeros(9))
        '[0, 0, 0, 0, 0, 0, 0, 0, …] (9,)'
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {show(v, digits, rows)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)) and not isinstance(value, Numbers):
        shown = [show(v, digits, rows, columns) for v in value[:columns]]
        more = [f"… ({len(value)} in all)"] if len(value) > columns else []
        text = ", ".join(shown + more)
        return f"[{text}]" if isinstance(value, list) else f"({text})"
    try:
        shape, values = numbers(value)
    except WrongForm:
        text = repr(value)
        return text if len(text) <= 80 else text[:79] + "…"
    text, cut = _nested(shape, values, digits, rows, columns)
    return f"{text} {shape}" if cut else text


def _near(a: float, b: float, slack: float) -> bool:
    if a == b or (a != a and b != b):
        return True
    return abs(a - b) <= slack


def _nested(
    shape: tuple[int, ...], values: tuple[float, ...], digits: int, rows: int, columns: int
) -> tuple[str, bool]:
    if not shape:
        return f"{values[0]:.{digits}g}", False
    length, inner = shape[0], shape[1:]
    step = len(values) // length if length else 0
    limit = rows if inner else columns
    parts = [
        _nested(inner, values[i * step : (i + 1) * step], digits, rows, columns)
        for i in range(min(length, limit))
    ]
    cut = length > limit or any(part_cut for _, part_cut in parts)
    texts = [text for text, _ in parts] + (["…"] if length > limit else [])
    return "[" + ", ".join(texts) + "]", cut
