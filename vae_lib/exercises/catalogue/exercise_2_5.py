"""2.5 The Gaussian nearest to a density with two bumps. Oracle: exact moments, and SciPy's minimiser."""

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
    "worse-bump": "the reverse search stops at the first bump it finds: the other one has the smaller KL",
    "at-the-top": (
        "q is fitted at the top of the density, by its curvature there: the KL averages over all of q"
    ),
    "off-the-grid": "q has run off the grid, where the sum is zero: lay the grid around q, in units of s",
    "not-centred": "the second moment is taken about zero: subtract the square of the mean",
    "not-normalised": ("the density is used without its normaliser: log_density holds an unknown constant"),
}

_GRID = np.linspace(-12.0, 12.0, 4001)


@dataclass(frozen=True)
class TwoBumps:
    """ln of two Gaussian bumps at centre ∓ distance, plus a constant. By default they are equal.

    Args:
        share: the mass of the bump on the right.
        right_std: its standard deviation, if it is another one.

    Example:
        >>> TwoBumps(0.0, 2.0, 0.5)(torch.zeros(1, dtype=torch.float64))
        tensor([-8.2258], dtype=torch.float64)
    """

    centre: float
    distance: float
    std: float
    constant: float = 0.0
    share: float = 0.5
    right_std: float | None = None

    @property
    def bumps(self) -> tuple[tuple[float, float, float], ...]:
        """(mass, mean, standard deviation) of the two bumps."""
        low, high = self.modes
        return (1.0 - self.share, low, self.std), (self.share, high, self.right_std or self.std)

    def __call__(self, z: Tensor) -> Tensor:
        left, right = (
            math.log(mass / (std * math.sqrt(2.0 * math.pi))) - 0.5 * ((z - mean) / std) ** 2
            for mass, mean, std in self.bumps
        )
        return torch.logaddexp(left, right) + self.constant

    def __repr__(self) -> str:
        words = (f"{mass:.3g} N(z; {mean:.4g}, {std:.4g}²)" for mass, mean, std in self.bumps)
        return f"ln[{' + '.join(words)}] + {self.constant:.4g}"

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
    """The exact mean and standard deviation of the target."""
    mean = sum(mass * place for mass, place, _ in target.bumps)
    second = sum(mass * (place**2 + std**2) for mass, place, std in target.bumps)
    return mean, math.sqrt(second - mean**2)


def _tops(target: TwoBumps) -> list[tuple[float, float]]:
    """Each local maximum of the density, with the width that its curvature there suggests."""
    z = np.linspace(-6.0, 6.0, 12_001)
    log_p = target(torch.from_numpy(z)).numpy()
    inner = np.flatnonzero((log_p[1:-1] > log_p[:-2]) & (log_p[1:-1] >= log_p[2:])) + 1
    curvature = (2.0 * log_p[inner] - log_p[inner - 5] - log_p[inner + 5]) / (5.0 * (z[1] - z[0])) ** 2
    return [(float(z[i]), float(c) ** -0.5) for i, c in zip(inner, curvature, strict=True)]


def _reverse_fits(target: TwoBumps) -> list[tuple[float, float]]:
    """The local minima of the reverse KL that lie at a bump, the best one first."""
    found = [_nearest_bump(target, mode) for mode in target.modes]
    return sorted(found, key=lambda fit: _reverse_kl(target, fit[0], math.log(fit[1])))


def _named(pairs: Sequence[tuple[float, float]]) -> list[Values]:
    return [{"mean": mean, "std": std} for mean, std in pairs]


def _right(target: TwoBumps, direction: str) -> list[tuple[float, float]]:
    if direction != "reverse":
        return [_covering(target)]
    fits = _reverse_fits(target)
    equal = target.share == 0.5 and target.right_std is None
    return fits if equal else fits[:1]


def _mistaken(
    target: TwoBumps, direction: str
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    bumps = _reverse_fits(target)
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
    for values in _named(bumps if direction == "reverse" else covering):
        yield "worse-bump", values
    for values in _named(_tops(target) if direction == "reverse" else [*covering, *_tops(target)]):
        yield "at-the-top", values
    yield "off-the-grid", lambda got: abs(got["mean"][0]) > 12.0 or direction == "forward"
    mean, std = covering[0]
    for values in _named(right if direction == "reverse" else [(mean, math.hypot(mean, std))]):
        yield "not-centred", values
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


def _case(target: TwoBumps, direction: str, about: str = "a target") -> Case:
    return Case(
        {"log_density": target, "direction": direction},
        _named(_right(target, direction)),
        lambda: _mistaken(target, direction),
        rtol=0.0,
        atol=0.01,
        about=f"{about} in the {direction} direction",
    )


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for centre, constant in ((0.0, 0.0), (rng.uniform(0.3, 0.9), rng.uniform(0.5, 1.5))):
        std = rng.uniform(0.35, 0.55)
        target = TwoBumps(centre, std * rng.uniform(4.0, 4.8), std, constant)
        yield _case(target, "reverse")
        yield _case(target, "forward")
    for share in (0.3, 0.7):
        uneven = TwoBumps(rng.uniform(-0.5, 0.5), rng.uniform(1.8, 2.2), rng.uniform(0.4, 0.5), 0.0, share)
        yield _case(uneven, "reverse", "two unequal bumps")
    lopsided = TwoBumps(rng.uniform(-0.5, 0.5), rng.uniform(0.55, 0.65), 0.5, 1.0, 0.5, 1.0)
    yield _case(lopsided, "reverse", "a lopsided bump")


EXERCISE = Exercise(
    id="2.5",
    functions=("fit_gaussian",),
    returns="two numbers, the mean and the standard deviation",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
