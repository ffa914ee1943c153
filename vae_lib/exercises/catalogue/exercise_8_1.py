"""8.1 A perceptron forwards and backwards. Oracle: loops for the output, finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import WrongForm, as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

PARAMETERS = ("weight_1", "bias_1", "weight_2", "bias_2")

MISTAKES = {
    "no-bias-forward": "a bias is not added in the forward pass",
    "no-tanh": "the hidden layer has no tanh",
    "dead-bias": "the gradient of a bias is zero: it is the sum of the signal over the batch",
    "slope-missing": "the signal is not multiplied by the slope of tanh, 1 − h²",
    "slope-of-preactivation": "the slope is 1 − a² with a from before the tanh: it is 1 − tanh(a)²",
    "slope-not-squared": "the slope is 1 − h: the square is missing",
    "batch-averaged": "the gradients are averaged over the batch: sum them, grad_output decides",
    "transposed": "the gradient of a weight is transposed: it has the shape of the weight",
    "changed-in-place": (
        "the backward pass overwrites what the cache holds: a second call gives something else"
    ),
}


def _forward(x: np.ndarray, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
    """The output, entry by entry."""
    weight_1, bias_1, weight_2, bias_2 = (parameters[name] for name in PARAMETERS)
    rows = []
    for example in x:
        hidden = [
            math.tanh(math.fsum(w * v for w, v in zip(row, example, strict=True)) + b)
            for row, b in zip(weight_1, bias_1, strict=True)
        ]
        rows.append(
            [
                math.fsum(w * h for w, h in zip(row, hidden, strict=True)) + b
                for row, b in zip(weight_2, bias_2, strict=True)
            ]
        )
    return np.array(rows)


def _differences(
    x: np.ndarray, parameters: Mapping[str, np.ndarray], grad_output: np.ndarray
) -> dict[str, np.ndarray]:
    """Central differences of Σ grad_output · output in every parameter."""
    step, gradients = 1e-5, {}
    for name in PARAMETERS:
        gradient = np.zeros_like(parameters[name])
        for index in np.ndindex(gradient.shape):
            sides = []
            for sign in (+1.0, -1.0):
                moved = parameters[name].copy()
                moved[index] += sign * step
                sides.append(float((grad_output * _forward(x, {**parameters, name: moved})).sum()))
            gradient[index] = (sides[0] - sides[1]) / (2.0 * step)
        gradients[name] = gradient
    return gradients


def _mistaken(
    x: np.ndarray, parameters: dict[str, np.ndarray], grad_output: np.ndarray, right: Values
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    weight_1, bias_1, weight_2, bias_2 = (parameters[name] for name in PARAMETERS)
    gradients = {name: right[name] for name in PARAMETERS}
    pre = x @ weight_1.T + bias_1
    hidden = np.tanh(pre)
    for lacking in ("bias_1", "bias_2"):
        without = {**parameters, lacking: np.zeros_like(parameters[lacking])}
        yield "no-bias-forward", {"output": _forward(x, without)}
    neither = {**parameters, "bias_1": 0.0 * bias_1, "bias_2": 0.0 * bias_2}
    yield "no-bias-forward", {"output": _forward(x, neither)}
    yield "no-tanh", {"output": pre @ weight_2.T + bias_2}
    yield "dead-bias", gradients | {"bias_1": 0.0 * bias_1}
    yield "dead-bias", gradients | {"bias_2": 0.0 * bias_2}
    yield "dead-bias", gradients | {"bias_1": 0.0 * bias_1, "bias_2": 0.0 * bias_2}
    signal = grad_output @ weight_2
    for name, slope in (
        ("slope-missing", np.ones_like(hidden)),
        ("slope-of-preactivation", 1.0 - pre**2),
        ("slope-of-preactivation", 1.0 - np.tanh(hidden) ** 2),
        ("slope-not-squared", 1.0 - hidden),
    ):
        changed = signal * slope
        yield name, gradients | {"weight_1": changed.T @ x, "bias_1": changed.sum(0)}
    yield "batch-averaged", {name: value / len(x) for name, value in gradients.items()}
    yield "transposed", gradients | {"weight_1": gradients["weight_1"].T}
    yield "transposed", gradients | {"weight_2": gradients["weight_2"].T}
    yield (
        "transposed",
        gradients
        | {
            "weight_1": gradients["weight_1"].T,
            "weight_2": gradients["weight_2"].T,
        },
    )
    yield "changed-in-place", lambda got: any(got[name] != got[f"{name} again"] for name in PARAMETERS)


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    forward, backward = answers
    with torch.no_grad():
        returned = forward(inputs["x"], inputs["parameters"])
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise WrongForm("mlp_forward returned no pair; wanted (output, cache)")
        output, cache = returned
        first = as_named(backward(inputs["grad_output"], cache), PARAMETERS, of=dict)
        first = {name: torch.as_tensor(value).clone() for name, value in first.items()}
        second = as_named(backward(inputs["grad_output"], cache), PARAMETERS, of=dict)
    return {
        "output": output,
        **first,
        **{f"{name} again": value for name, value in second.items()},
    }


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, pixels, hidden, outputs in ((3, 4, 5, 2), (1, 2, 3, 4), (4, 3, 2, 1)):
        parameters = {
            "weight_1": rng.normal(size=(hidden, pixels)),
            "bias_1": rng.normal(size=hidden),
            "weight_2": rng.normal(size=(outputs, hidden)),
            "bias_2": rng.normal(size=outputs),
        }
        x, grad_output = rng.normal(size=(batch, pixels)), rng.normal(size=(batch, outputs))
        gradients = _differences(x, parameters, grad_output)
        right = {
            "output": _forward(x, parameters),
            **gradients,
            **{f"{name} again": value for name, value in gradients.items()},
        }
        yield Case(
            {
                "x": tensor(x),
                "parameters": {name: tensor(value) for name, value in parameters.items()},
                "grad_output": tensor(grad_output),
            },
            right,
            lambda arguments=(x, parameters, grad_output, right): _mistaken(*arguments),
            about=f"{pixels} pixels, {hidden} hidden units, {outputs} outputs",
        )


EXERCISE = Exercise(
    id="8.1",
    functions=("mlp_forward", "mlp_backward"),
    returns="a gradient has the shape of its parameter, an output is (batch, outputs)",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
