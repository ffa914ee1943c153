"""8.7 A log-variance that cannot explode. Oracle: the properties themselves, in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.compare import WrongForm
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

LIMIT = 6.0

MISTAKES = {
    "unbounded": "the result still grows too far, upwards or downwards: exp(90) is infinite in float32",
    "hard-clamp": "the value is clamped: outside its gradient is zero, and training cannot return",
    "floor-too-high": "the lower limit is too high: small variances, which are needed, are cut off",
    "squashed-inside": "the values inside [−6, 6] are changed as well: there it is the identity",
    "gradient-dies": "the gradient vanishes in float32 far outside: tanh and sigmoid saturate",
    "straight-through": "autograd reports a gradient that the values do not have: outside they stand still",
    "nan-gradient": (
        "torch.where hides a nan from the value but not from the gradient: both branches are differentiated"
    ),
    "jump": "there is a jump at the edge of [−6, 6]",
    "falls": "the value falls as raw grows: the order must be kept",
}


def _measure(answer: Callable[..., Any], raw: Tensor) -> dict[str, Tensor]:
    leaf = raw.clone().requires_grad_(True)
    value = answer(leaf)
    if not isinstance(value, Tensor):
        raise WrongForm(f"it returned a {type(value).__name__}; wanted a tensor")
    if value.shape != raw.shape:
        raise WrongForm(f"the shape is {tuple(value.shape)}; wanted that of raw, {tuple(raw.shape)}")
    if not value.requires_grad:
        raise WrongForm("the gradient is cut off: use torch functions only, and no .detach()")
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    value = value.detach()
    return {"value": value, "slope": slope, "finite": value.exp() + (-value).exp()}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    inside, outside = inputs["inside"], inputs["outside"]
    near = torch.tensor([-LIMIT, LIMIT]) * (1.0 + 1e-5)
    at_inside, at_outside = _measure(answers[0], inside), _measure(answers[0], outside)
    at_edge = _measure(answers[0], near)
    order = torch.cat([outside, inside]).sort().values
    rising = _measure(answers[0], order)["value"].diff() >= 0.0
    far = torch.tensor([-1e4, -1e3, -100.0, -7.0, 7.0, 100.0, 1e3, 1e4])
    growing = _measure(answers[0], far)["value"].diff() > 0.0
    return {
        "values inside": at_inside["value"],
        "slopes inside": at_inside["slope"],
        "finite outside": torch.isfinite(at_outside["finite"]).double(),
        "slopes outside": at_outside["slope"],
        "gradient outside": _usable(at_outside["slope"]).double(),
        "continuous at ±6": ((at_edge["value"] - near).abs() < 0.01).double(),
        "rising": rising.double(),
        "growth outside": growing.double(),
    }


def _usable(slope: Tensor) -> Tensor:
    return torch.isfinite(slope) & (slope > 0.0)


def _mistaken(inside: Tensor, right: Values) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    def same_inside(got: Values) -> bool:
        pairs = zip(got["values inside"], inside.tolist(), strict=True)
        return all(abs(a - b) < 1e-4 for a, b in pairs)

    yield "unbounded", lambda got: same_inside(got) and not all(got["finite outside"])
    yield "nan-gradient", lambda got: same_inside(got) and not all(map(_is_number, got["slopes inside"]))
    yield (
        "hard-clamp",
        lambda got: (
            same_inside(got) and 0.0 in got["slopes outside"] and set(got["slopes outside"]) <= {0.0, 1.0}
        ),
    )
    yield (
        "gradient-dies",
        lambda got: (
            same_inside(got)
            and any(got["gradient outside"])
            and not all(got["gradient outside"])
            and all(got["rising"])
        ),
    )
    yield (
        "straight-through",
        lambda got: (
            same_inside(got)
            and all(got["gradient outside"])
            and all(got["rising"])
            and not all(got["growth outside"])
        ),
    )
    for floor in (-5.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0):
        yield "floor-too-high", {"values inside": inside.clamp_min(floor)}
    yield "jump", lambda got: same_inside(got) and not all(got["continuous at ±6"])
    yield "falls", lambda got: same_inside(got) and not all(got["rising"])
    yield (
        "squashed-inside",
        lambda got: (
            not same_inside(got) and all(got["rising"]) and all(map(_is_number, got["values inside"]))
        ),
    )


def _is_number(value: float) -> bool:
    return value == value


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    inside = np.concatenate([rng.uniform(-5.9, 5.9, size=5), [-5.99, 0.0, 5.0, 5.99]])
    outside = np.concatenate([rng.uniform(20.0, 90.0, size=2), [7.0, 100.0, 1e3, 1e4]])
    raw = {
        "inside": torch.tensor(inside, dtype=torch.float32),
        "outside": torch.tensor(np.concatenate([-outside, outside]), dtype=torch.float32),
    }
    right = {
        "values inside": raw["inside"],
        "slopes inside": torch.ones_like(raw["inside"]),
        "finite outside": torch.ones(len(raw["outside"])),
        "gradient outside": torch.ones(len(raw["outside"])),
        "continuous at ±6": torch.ones(2),
        "rising": torch.ones(len(raw["inside"]) + len(raw["outside"]) - 1),
        "growth outside": torch.ones(7),
    }
    yield Case(raw, right, lambda: _mistaken(raw["inside"], right), rtol=0.0, atol=1e-4, about="float32")


EXERCISE = Exercise(
    id="8.7",
    functions=("safe_log_var",),
    returns="the shape of raw",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
