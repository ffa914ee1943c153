"""Refusals: each names the argument, says what it got and what it wanted."""

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

__all__ = [
    "finite",
    "floating",
    "number_within",
    "positive_integer",
    "positive_integers",
    "positive_number",
    "probabilities",
    "seed",
    "shape",
    "tensor",
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


def seed(value: int) -> None:
    """Refuse what no generator of random numbers can start from."""
    if not isinstance(value, Integral) or not 0 <= value < 2**63:
        raise ValueError(f"seed is {value!r}; wanted an integer from 0 to 2**63 - 1")


def positive_integer(name: str, value: int) -> None:
    """Refuse zero, negative counts and counts that are no integers."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} is {value!r}; wanted an integer of at least 1")


def positive_integers(name: str, values: Sequence[int]) -> None:
    """Refuse what is no list, and a list that holds zero, a negative count or what is no integer."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"{name} is {values!r}; wanted a list of integers")
    for value in values:
        positive_integer(name, value)


def positive_number(name: str, value: float | int | Tensor) -> None:
    """Refuse a number that is not finite and greater than zero."""
    value = float(_number(name, value))
    if not (0.0 < value < math.inf):
        raise ValueError(f"{name} is {value!r}; wanted a finite number greater than 0")


def number_within(name: str, value: float | int | Tensor, lowest: float, highest: float = math.inf) -> None:
    """Refuse a number outside [lowest, highest], NaN and infinity.

    A tensor is trusted: to look into one, a GPU would have to be waited for.
    """
    if isinstance(value, Tensor):
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
        raise ValueError(f"{name} is {value!r}; wanted a number")
    return value


def probabilities(name: str, rows: Tensor) -> None:
    """Refuse rows (last dimension) that are not probability distributions.

    A row may miss one by the square root of the rounding unit: 1.5e-8 in float64, 3.5e-4 in
    float32.
    """
    floating(name, rows)
    finite(name, rows)
    if rows.numel() == 0 or rows.dim() == 0:
        raise ValueError(f"{name} has shape {tuple(rows.shape)}; wanted at least one probability")
    lowest = rows.min().item()
    if lowest < 0.0:
        raise ValueError(f"{name} holds the probability {lowest:.6g}; wanted none below 0")
    totals = rows.sum(-1).reshape(-1)
    worst = totals[(totals - 1.0).abs().argmax()].item()
    if abs(worst - 1.0) > torch.finfo(rows.dtype).eps ** 0.5:
        raise ValueError(f"{name} holds a row that sums to {worst:.6g}; wanted rows that sum to 1")
