"""6.4 Sticking the landing. Oracle: finite differences of ln p(x, z) − ln q(z) in z alone, with SciPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "LogJoint"]

NAMES = ("mean", "log_var")

MISTAKES = {
    "own-noise": "fresh noise is drawn inside: use the noise that is given",
    "keeps-the-score": (
        "the score is still in it: inside ln q the parameters have to be held constant (a closed entropy "
        "keeps it, too)"
    ),
    "wrong-branch": "the wrong branch is stopped: z has to stay differentiable in ln q, its parameters not",
    "z-is-cut": "z is cut off from its parameters: nothing flows through the draw",
    "no-log-q": "ln q is left out, or stopped as a whole: its slope in z belongs in the gradient",
    "log-q-added": "ln q is added: the gradient is that of ln p − ln q",
    "latent-averaged": "ln q is averaged over the latents: it is a sum",
    "negated": "the sign is that of a loss: the gradient of the ELBO is asked for",
    "no-half": "∂z/∂log_var is σε: the ½ is missing",
    "slope-of-std": "the part of log_var is a slope in z or in σ: the chain rule adds ∂z/∂log_var = ½σε",
    "std-is-exp-log-var": "exp(log_var) is used as the standard deviation: that is the variance",
    "averaged": "the gradient is divided by the number of draws: keep one gradient per draw",
    "summed": "the gradients are summed over the draws: keep one gradient per draw",
}


@dataclass(frozen=True)
class LogJoint:
    """A smooth ln p(x, z) with dependent latents: (…, latent) -> (…)."""

    mix: Tensor
    shift: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        bent = torch.tanh(z @ self.mix.T) + 0.3 * z  # (…, latent)
        return -0.5 * (z**2).sum(-1) - 2.0 * ((self.shift - bent) ** 2).sum(-1)

    def __repr__(self) -> str:
        return f"a function of {self.shift.shape[0]} latents"


def _in_z(function: Callable[[np.ndarray], np.ndarray], z: np.ndarray) -> np.ndarray:
    """Central differences of a function (draws, latent) -> (draws,) in each coordinate."""
    step, columns = 1e-5, []
    for axis in np.eye(z.shape[-1]):
        up, down = (function(z + sign * step * axis) for sign in (1.0, -1.0))
        columns.append((up - down) / (2.0 * step))
    return np.stack(columns, -1)


def _slopes(inputs: Mapping[str, Any], std: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """∂ ln p(x, z)/∂z and ∂ ln q(z)/∂z, (draws, latent)."""
    from scipy.stats import norm

    mean = inputs["mean"].numpy()
    of_p = _in_z(lambda place: inputs["log_joint"](tensor(place)).numpy(), z)
    of_q = _in_z(lambda place: norm.logpdf(place, loc=mean, scale=std).sum(-1), z)
    return of_p, of_q


def _through(slope: np.ndarray, jump: np.ndarray | float) -> dict[str, np.ndarray]:
    return {"mean": slope, "log_var": slope * jump}


def _tensors(values: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: tensor(value) for name, value in values.items()}


def _oracle(inputs: Mapping[str, Any], sign: float) -> dict[str, np.ndarray]:
    std = np.exp(0.5 * inputs["log_var"].numpy())
    spread = sign * std * inputs["noise"].numpy()
    of_p, of_q = _slopes(inputs, std, inputs["mean"].numpy() + spread)
    return _through(of_p - of_q, 0.5 * spread)


def _mistaken(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    log_var, noise = inputs["log_var"].numpy(), inputs["noise"].numpy()
    std = np.exp(0.5 * log_var)
    spread = std * noise
    z = inputs["mean"].numpy() + spread
    of_p, of_q = _slopes(inputs, std, z)
    score = {"mean": noise / std, "log_var": 0.5 * (noise**2 - 1.0)}
    right = _through(of_p - of_q, 0.5 * spread)
    only_p = _through(of_p, 0.5 * spread)
    nothing = {name: 0.0 * value for name, value in right.items()}
    yield "own-noise", lambda got: got["mean"] != got["mean again"]
    yield "keeps-the-score", _tensors({name: right[name] - score[name] for name in NAMES})
    for name in NAMES:  # one of the two parameters was forgotten
        yield "keeps-the-score", _tensors({**right, name: right[name] - score[name]})
    yield "wrong-branch", _tensors({name: only_p[name] - score[name] for name in NAMES})
    yield "z-is-cut", _tensors(nothing)
    yield "z-is-cut", _tensors({name: -score[name] for name in NAMES})
    yield "no-log-q", _tensors(only_p)
    yield "log-q-added", _tensors(_through(of_p + of_q, 0.5 * spread))
    yield "latent-averaged", _tensors(_through(of_p - of_q / z.shape[-1], 0.5 * spread))
    yield "negated", _tensors({name: -value for name, value in right.items()})
    yield "no-half", _tensors(_through(of_p - of_q, spread))
    # one std in the draw and in ln q, or the wrong one in the draw alone
    wide = np.exp(log_var)
    for in_density in (wide, std):
        place = inputs["mean"].numpy() + wide * noise
        wide_p, wide_q = _slopes(inputs, in_density, place)
        for factor in (0.5, 1.0):
            yield "std-is-exp-log-var", _tensors(_through(wide_p - wide_q, factor * wide * noise))
    _, other_q = _slopes(inputs, wide, z)  # the wrong one in the density alone
    yield "std-is-exp-log-var", _tensors(_through(of_p - other_q, 0.5 * spread))
    for jump in (noise, 1.0):
        yield "slope-of-std", _tensors(_through(of_p - of_q, jump))
    yield "averaged", _tensors({name: value / len(noise) for name, value in right.items()})
    for name, reduced in (("averaged", np.mean), ("summed", np.sum)):
        yield name, _tensors({key: reduced(value, axis=0) for key, value in right.items()})


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    arguments = (inputs["log_joint"], inputs["mean"], inputs["log_var"], inputs["noise"])
    with torch.enable_grad():
        first = as_named(answers[0](*arguments), NAMES, of=tuple)
        again = as_named(answers[0](*arguments), NAMES, of=tuple)
    return {**first, "mean again": again["mean"]}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for draws, latent in ((6, 2), (3, 1), (4, 3)):
        inputs: dict[str, Any] = {
            "log_joint": LogJoint(tensor(rng.normal(size=(latent, latent))), tensor(rng.normal(size=latent))),
            "mean": tensor(rng.normal(size=latent)),
            "log_var": tensor(rng.uniform(-2.0, 0.8, size=latent)),
            "noise": tensor(rng.normal(size=(draws, latent))),
        }
        yield Case(
            inputs,
            [_tensors(_oracle(inputs, sign)) for sign in (1.0, -1.0)],
            lambda inputs=inputs: _mistaken(inputs),
            about=f"{latent} latents",
        )


EXERCISE = Exercise(
    id="6.4",
    functions=("stl_gradients",),
    returns="two tensors, each (draws, latent)",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
