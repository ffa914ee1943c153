"""Refusals: each names the argument, says what it got and what it wanted."""

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

__all__ = [
    "finite",
    "finite_number",
    "floating",
    "integer_within",
    "is_integer",
    "number_within",
    "positive",
    "positive_integer",
    "positive_integers",
    "positive_number",
    "probabilities",
    "seed",
    "shape",
    "tensor",
    "within_unit_interval",
]


def tensor(name: str, value: Tensor) -> None:
    """Refuse lists, NumPy arrays and numbers."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is of type {type(value).__name__}; wanted a torch.Tensor")


def shape(name: str, value: Tensor, wanted: tuple[int | None, ...], meaning: str) -> None:
    """Refuse a value whose shape is not `wanted`; None stands for any size."""
    tensor(name, value)
    fits = value.dim() == len(wanted) and all(
        size in (None, got) for size, got in zip(wanted, value.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; wanted {meaning}")


def floating(name: str, value: Tensor) -> None:
    """Refuse integers, booleans and complex numbers."""
    tensor(name, value)
    if not value.is_floating_point():
        raise ValueError(f"{name} has dtype {value.dtype}; wanted real floating-point numbers")


def finite(name: str, value: Tensor) -> None:
    """Refuse NaN and infinities."""
    # one NaN or infinity makes the sum one; a mask of a whole data set is made only where that happens
    if math.isfinite(value.sum().item()):
        return
    bad = int((~torch.isfinite(value)).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} value{'s' if bad > 1 else ''} that {'are' if bad > 1 else 'is'} "
            "NaN or infinite; wanted finite numbers"
        )


def within_unit_interval(name: str, value: Tensor, meaning: str = "it within [0, 1]") -> None:
    """Refuse numbers below 0 or above 1, such as bytes that were not divided; NaN passes."""
    if value.min() < 0 or value.max() > 1:
        raise ValueError(f"{name} lies in [{value.min():.6g}, {value.max():.6g}]; wanted {meaning}")


def positive(name: str, value: Tensor) -> None:
    """Refuse a tensor that holds zero, a negative number or NaN."""
    if value.numel() and not value.min().item() > 0.0:
        raise ValueError(f"{name} holds {value.min().item():.6g}; wanted numbers greater than 0")


def is_integer(value: object) -> bool:
    """Whether the value is an integer, of Python or of NumPy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def integer_within(name: str, value: int, lowest: int, highest: int | None = None) -> None:
    """Refuse a number outside [lowest, highest], and what is no integer."""
    if not is_integer(value) or value < lowest or (highest is not None and value > highest):
        wanted = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"{name} is {value!r}; wanted an integer {wanted}")


def positive_integer(name: str, value: int) -> None:
    """Refuse zero, negative counts and counts that are no integers."""
    integer_within(name, value, lowest=1)


def positive_integers(name: str, values: Sequence[int]) -> None:
    """Refuse what is no list, and a list that holds zero, a negative count or what is no integer."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"{name} is {values!r}; wanted a list of integers")
    for value in values:
        positive_integer(name, value)


def seed(name: str, value: int) -> None:
    """Refuse what torch's generators take for no seed, or for another one."""
    if not is_integer(value) or not 0 <= value < 2**63:
        raise ValueError(f"{name} is {value!r}; wanted an integer from 0 to 2**63 - 1")


def positive_number(name: str, value: float | int | Tensor) -> None:
    """Refuse a number that is not finite and greater than zero."""
    value = float(_number(name, value))
    if not (0.0 < value < math.inf):
        raise ValueError(f"{name} is {value!r}; wanted a finite number greater than 0")


def finite_number(name: str, value: float | int) -> None:
    """Refuse NaN, infinity and what is no number."""
    if not math.isfinite(_number(name, value)):
        raise ValueError(f"{name} is {value!r}; wanted a finite number")


def number_within(name: str, value: float | int | Tensor, lowest: float, highest: float = math.inf) -> None:
    """Refuse a number outside [lowest, highest], NaN and infinity.

    A tensor of one number is trusted: to look into it, a GPU would have to be waited for.
    """
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"{name} has shape {tuple(value.shape)}; wanted a single number")
        return
    value = _number(name, value)
    if not (lowest <= value <= highest and math.isfinite(value)):
        wanted = f"of at least {lowest:g}" if highest == math.inf else f"from {lowest:g} to {highest:g}"
        raise ValueError(f"{name} is {value!r}; wanted a finite number {wanted}")


def _number(name: str, value: float | int | Tensor) -> float | int:
    """The number that a tensor holds, or the number itself; refuse anything else."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    if isinstance(value, bool) or not isinstance(value, Real):  # NumPy's numbers are Real
        short = isinstance(value, bool | str | None)
        got = repr(value) if short else f"of type {type(value).__name__}"
        raise ValueError(f"{name} is {got}; wanted a number")
    return value


def probabilities(name: str, rows: Tensor) -> None:
    """Refuse rows (last dimension) that are not probability distributions.

    A row may miss one by the square root of the rounding unit: 1.5e-8 in float64, 3.5e-4 in
    float32.
    """
    floating(name, rows)
    finite(name, rows)
    if rows.dim() == 0 or rows.shape[-1] == 0:
        raise ValueError(f"{name} has shape {tuple(rows.shape)}; wanted at least one probability")
    if rows.numel() == 0:  # no rows at all
        return
    lowest = rows.min().item()
    if lowest < 0.0:
        raise ValueError(f"{name} holds the probability {lowest:.6g}; wanted none below 0")
    totals = rows.sum(-1).reshape(-1)
    worst = totals[(totals - 1.0).abs().argmax()].item()
    room = torch.finfo(rows.dtype).eps ** 0.5
    if abs(worst - 1.0) > room:
        digits = 6 if abs(worst - 1.0) > 1e-5 else 12  # rows from a coarser dtype must not "sum to 1"
        raise ValueError(
            f"{name} holds a row that sums to {worst:.{digits}g}; wanted rows that sum to 1 within {room:.1e}"
        )
