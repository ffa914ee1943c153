"""6.2 Two estimators of one gradient. Oracle: finite differences of SciPy's log density, and of f."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "swapped": "the two functions are swapped: the score function multiplies a value, the path takes a slope",
    "own-noise": "fresh noise is drawn inside: use the noise that is given",
    "z-for-noise": "the value is multiplied by z: the score of the mean is z − mean, the noise",
    "mean-subtracted": "the mean is subtracted from the noise: the score is z − mean, and that is the noise",
    "value-of-all-draws": "f is summed over the draws too: each draw has a value of its own",
    "no-score": "the value is not multiplied by the score",
    "no-value": "the score stands alone: multiply it by the value f(z)",
    "value-of-noise": "f is evaluated at the noise: it belongs at z = mean + noise",
    "negated": "the sign is turned round: the score of the mean is + (z − mean)",
    "value-of-mean": "f is evaluated at the mean: it belongs at z = mean + noise",
    "value-averaged": "the squares are averaged over the coordinates: f(z) is their sum",
    "own-square-only": (
        "each coordinate is weighed with its own square: right on average, and quieter, but the score "
        "function knows only the whole value f(z)"
    ),
    "baseline": "a baseline is subtracted: right on average, and quieter, but not asked for here",
    "slope-at-noise": "the slope is taken at the noise: it belongs at z = mean + noise",
    "slope-at-mean": "the slope is taken at the mean: that is the exact gradient; each draw has 2z",
    "value-for-slope": "the path returns z²: what is wanted is its slope",
    "no-two": "the slope of z² is 2z: the 2 is missing",
    "path-times-noise": "the slope is multiplied by the noise: that is how σ moves z, the mean moves it by 1",
    "slope-summed": "the slopes are summed over the coordinates: each coordinate of the mean has its own",
    "averaged": "the draws are averaged or summed: keep one estimate per draw",
}


def _square(z: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", z, z)


def _score(mean: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """f(z) times central differences of ln N(z; mean, I) in each coordinate of the mean."""
    from scipy.stats import norm

    z, step, columns = mean + noise, 1e-5, []
    for axis in np.eye(len(mean)):
        up, down = (norm.logpdf(z, loc=mean + sign * step * axis).sum(-1) for sign in (1.0, -1.0))
        columns.append(_square(z) * (up - down) / (2.0 * step))
    return np.stack(columns, -1)


def _path(mean: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Central differences of f(mean + noise), each draw with its noise held fixed."""
    step, columns = 1e-5, []
    for axis in np.eye(len(mean)):
        up, down = (_square(mean + sign * step * axis + noise) for sign in (1.0, -1.0))
        columns.append((up - down) / (2.0 * step))
    return np.stack(columns, -1)


def _mistaken(mean: np.ndarray, noise: np.ndarray) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    z = mean + noise
    value = _square(z)[:, None]
    score, path = _score(mean, noise), _path(mean, noise)
    yield "swapped", {"score": tensor(path), "path": tensor(score)}
    yield "own-noise", lambda got: got["score"] != got["score again"] or got["path"] != got["path again"]
    others = (value.sum(0) - value) / max(len(noise) - 1, 1)
    for name, wrong in (
        ("z-for-noise", value * z),
        ("mean-subtracted", value * (noise - mean)),
        ("value-of-all-draws", value.sum() * noise),
        ("no-score", value + 0.0 * z),
        ("no-score", value[:, 0]),
        ("no-value", noise),
        ("value-of-noise", _square(noise)[:, None] * noise),
        ("negated", -score),
        ("value-of-mean", (mean**2).sum() * noise),
        ("value-averaged", value * noise / len(mean)),
        ("own-square-only", z**2 * noise),
        ("baseline", (value - value.mean()) * noise),
        ("baseline", (value - others) * noise),
        ("baseline", (value - (mean**2 + 1.0).sum()) * noise),
        ("averaged", score.mean(0)),
        ("averaged", score.sum(0)),
    ):
        yield name, {"score": tensor(wrong)}
    for name, wrong in (
        ("slope-at-noise", 2.0 * noise),
        ("slope-at-mean", 2.0 * mean + 0.0 * z),
        ("value-for-slope", z**2),
        ("no-two", z),
        ("path-times-noise", path * noise),
        ("slope-summed", path.sum(-1)),
        ("slope-summed", path.sum(-1, keepdims=True) + 0.0 * z),
        ("averaged", path.mean(0)),
        ("averaged", path.sum(0)),
    ):
        yield name, {"path": tensor(wrong)}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    names, found = ("score", "path"), {}
    for name, answer in zip(names, answers, strict=True):
        found[name] = answer(inputs["mean"], inputs["noise"])
        found[f"{name} again"] = answer(inputs["mean"], inputs["noise"])
    return found


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for draws, latent in ((5, 3), (4, 1), (7, 2)):
        mean, noise = rng.normal(size=latent), rng.normal(size=(draws, latent))
        # a draw may move against its noise: z = mean − noise has the same law
        right = [
            {"score": tensor(_score(mean, a * noise)), "path": tensor(_path(mean, b * noise))}
            for a, b in product((1.0, -1.0), repeat=2)
        ]
        yield Case(
            {"mean": tensor(mean), "noise": tensor(noise)},
            right,
            lambda arguments=(mean, noise): _mistaken(*arguments),
            about=f"{latent} coordinates",
        )


EXERCISE = Exercise(
    id="6.2",
    functions=("score_gradients", "path_gradients"),
    returns="(draws, latent), one estimate per draw and coordinate",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
