"""1.1 Draws from the ring. Oracle: the law of the radius and the even spread of the angle."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import WrongForm
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "not-normalised": "z is added without being divided by its length: the second term is z/‖z‖",
    "squared-norm": "z is divided by its squared length: the second term is z/‖z‖, of length one",
    "one-norm": "one length is taken over the whole batch: every row has a length of its own",
    "uniform": "z is uniform: it comes from the standard normal",
    "z-not-shrunk": "z is added whole: the first term is z/10",
    "both-divided": "both terms are divided by the length: only the second is, z/10 is added as it is",
    "two-clouds": "z is drawn twice: both terms belong to the same z",
    "no-tenth": "z/10 is missing: every point lies on the unit circle",
    "repeats-nothing": "the generator is not used: the same generator must give the same points again",
    "set-back": "a second call with the same generator gives the same points: do not seed it, draw from it",
}

N = 20_000
LEVELS = np.array([0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3])


def _statistics(x: np.ndarray) -> dict[str, Any]:
    """Shares of the radius below each level, and two harmonics of the angle."""
    radius, angle = np.hypot(x[:, 0], x[:, 1]), np.arctan2(x[:, 1], x[:, 0])
    shares = (radius[:, None] <= LEVELS + 1e-6).mean(0)  # single precision reaches its level, too
    waves = [np.cos(angle).mean(), np.sin(angle).mean(), np.cos(2 * angle).mean(), np.sin(2 * angle).mean()]
    return {"radius": tensor(shares), "angle": tensor(waves)}


def _mistaken(seed: int) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(N, 2))
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    yield "not-normalised", _statistics(z / 10 + z)
    yield "z-not-shrunk", _statistics(z + z / norm)
    yield "both-divided", _statistics((z / 10 + z) / norm)
    yield "two-clouds", _statistics(rng.normal(size=(N, 2)) / 10 + z / norm)
    yield "squared-norm", _statistics(z / 10 + z / norm**2)
    yield "one-norm", _statistics(z / 10 + z / np.linalg.norm(z))
    for low in (0.0, -1.0):
        flat = rng.uniform(low, 1.0, size=(N, 2))
        yield "uniform", _statistics(flat / 10 + flat / np.linalg.norm(flat, axis=1, keepdims=True))
    yield "no-tenth", _statistics(z / norm)
    yield "repeats-nothing", lambda got: any(value != 0.0 for value in got["again"])
    yield "set-back", lambda got: got["next"][0] > 0.5


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    drawn = []
    first, second = (torch.Generator().manual_seed(inputs["seed"]) for _ in range(2))
    for generator in (first, second, second):
        x = torch.as_tensor(answers[0](inputs["n"], generator)).double()
        if tuple(x.shape) != (inputs["n"], 2):
            raise WrongForm(f"ring_sample returned the shape {tuple(x.shape)}; wanted (n, 2)")
        drawn.append(x)
    again = (drawn[0] - drawn[1]).abs().max().reshape(1)
    same = 1.0 if torch.equal(drawn[1], drawn[2]) else 0.0
    return _statistics(drawn[0].numpy()) | {"again": again, "next": tensor([same])}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    seed = int(rng.integers(2**31))
    shares = 1.0 - np.exp(-50.0 * np.maximum(LEVELS - 1.0, 0.0) ** 2)
    width = 5.0 / math.sqrt(N)
    yield Case(
        {"n": N, "seed": seed},
        {
            "radius": tensor(shares),
            "angle": tensor(np.zeros(4)),
            "again": tensor([0.0]),
            "next": tensor([0.0]),
        },
        lambda: _mistaken(seed),
        rtol=0.0,
        atol={
            "radius": tensor(width * np.sqrt(shares * (1.0 - shares)) + 1e-3),
            "angle": width * math.sqrt(0.5),
            "again": 1e-9,
        },
        blur={"radius": 0.08},  # a mistaken law has a spread of its own
        about=f"{N:,} points",
    )


EXERCISE = Exercise(
    id="1.1",
    functions=("ring_sample",),
    returns="(n, 2), one point per row",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
