"""2.5 The Gaussian nearest to a density with two bumps. Oracle: symmetry, and SciPy's minimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "TwoBumps"]

MISTAKES = {
    "directions-swapped": (
        "the two directions change places: the reverse KL(q‖p) averages over q and settles on one "
        "bump, the forward KL(p‖q) averages over p and covers both"
    ),
    "variance-for-std": "the second value is the variance: return its square root",
    "one-bump": "the forward fit settles on one bump: KL(p‖q) punishes a q that misses the other",
    "stuck-between": (
        "the reverse search starts in the middle and stays there: try several starts, keep the best"
    ),
    "not-normalised": ("the density is used without its normaliser: log_density holds an unknown constant"),
}

_GRID = np.linspace(-12.0, 12.0, 4001)


@dataclass(frozen=True)
class TwoBumps:
    """ln of ½N(z; centre − distance, std²) + ½N(z; centre + distance, std²), plus a constant.

    Example:
        >>> TwoBumps(0.0, 2.0, 0.5)(torch.zeros(1, dtype=torch.float64))
        tensor([-8.2258], dtype=torch.float64)
    """

    centre: float
    distance: float
    std: float
    constant: float = 0.0

    def __call__(self, z: Tensor) -> Tensor:
        left = -0.5 * ((z - self.centre + self.distance) / self.std) ** 2
        right = -0.5 * ((z - self.centre - self.distance) / self.std) ** 2
        scale = math.log(2.0 * self.std) + 0.5 * math.log(2.0 * math.pi)
        return torch.logaddexp(left, right) - scale + self.constant

    def __repr__(self) -> str:
        low, high = self.centre - self.distance, self.centre + self.distance
        return (
            f"ln[½N(z; {low:.4g}, {self.std:.4g}²) + ½N(z; {high:.4g}, {self.std:.4g}²)]"
            f" + {self.constant:.4g}"
        )

    @property
    def modes(self) -> tuple[float, float]:
        """The centres of the two bumps."""
        return self.centre - self.distance, self.centre + self.distance


def _reverse_kl(target: TwoBumps, mean: float, log_std: float) -> float:
    """KL(q‖p) up to the constant, by the trapezoid rule in units of q's width."""
    t = np.linspace(-9.0, 9.0, 1201)
    weight = np.exp(-0.5 * t**2) / math.sqrt(2.0 * math.pi) * (t[1] - t[0])
    log_p = target(torch.from_numpy(mean + math.exp(log_std) * t)).numpy()
    return float(-log_std - weight @ log_p)


def _nearest_bump(target: TwoBumps, mode: float) -> tuple[float, float]:
    from scipy.optimize import minimize

    best = minimize(lambda point: _reverse_kl(target, *point), (mode, math.log(target.std)), method="BFGS")
    return float(best.x[0]), math.exp(best.x[1])


def _stuck(target: TwoBumps) -> tuple[float, float]:
    from scipy.optimize import minimize_scalar

    best = minimize_scalar(
        lambda log_std: _reverse_kl(target, target.centre, log_std),
        bounds=(math.log(0.1), math.log(8.0)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return target.centre, math.exp(best.x)


def _covering(target: TwoBumps) -> tuple[float, float]:
    return target.centre, math.hypot(target.distance, target.std)


def _named(pairs: Sequence[tuple[float, float]]) -> list[Values]:
    return [{"mean": mean, "std": std} for mean, std in pairs]


def _mistaken(target: TwoBumps, direction: str) -> Iterator[tuple[str, Values]]:
    bumps = [_nearest_bump(target, mode) for mode in target.modes]
    covering = [_covering(target)]
    right, other = (bumps, covering) if direction == "reverse" else (covering, bumps)
    for values in _named(other):
        yield "directions-swapped", values
    for mean, std in right:
        yield "variance-for-std", {"mean": mean, "std": std**2}
    for values in _named(bumps):
        yield "one-bump", values
    between = [_stuck(target)] if direction == "reverse" else covering
    for values in _named(between):
        yield "stuck-between", values
    if direction == "reverse":
        for values in _named(right):
            yield "not-normalised", values
        return
    z = torch.from_numpy(_GRID)
    weight = target(z).exp().numpy() * (_GRID[1] - _GRID[0])
    mean = float(weight @ _GRID)
    second = float(weight @ _GRID**2)
    for variance in (float(weight @ (_GRID - mean) ** 2), abs(second - mean**2)):
        yield "not-normalised", {"mean": mean, "std": math.sqrt(variance)}
    yield "not-normalised", {"mean": mean, "std": math.nan}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return as_named(answers[0](*inputs.values()), ("mean", "std"), of=tuple)


def _case(target: TwoBumps, direction: str) -> Case:
    pairs = (
        [_nearest_bump(target, mode) for mode in target.modes]
        if direction == "reverse"
        else [_covering(target)]
    )
    return Case(
        {"log_density": target, "direction": direction},
        _named(pairs),
        lambda: _mistaken(target, direction),
        rtol=0.0,
        atol=0.01,
        about=f"a target in the {direction} direction",
    )


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for centre, constant in ((0.0, 0.0), (rng.uniform(0.3, 0.9), rng.uniform(0.5, 1.5))):
        std = rng.uniform(0.35, 0.55)
        target = TwoBumps(centre, std * rng.uniform(4.0, 4.8), std, constant)
        yield _case(target, "reverse")
        yield _case(target, "forward")


EXERCISE = Exercise(
    id="2.5",
    functions=("fit_gaussian",),
    returns="two numbers, the mean and the standard deviation",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
