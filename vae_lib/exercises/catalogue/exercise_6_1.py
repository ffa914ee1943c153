"""6.1 A draw that keeps its gradient. Oracle: the quantile of q at the noise's rank; finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import WrongForm
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "own-noise": "fresh noise is drawn inside: use the noise that is given",
    "no-gradient": "the gradient is cut: z must stay a function of mean and log_var",
    "mean-gradient-only": "the gradient reaches the mean only: σ must stay a function of log_var",
    "log-var-gradient-only": "the gradient reaches log_var only: the mean must not be cut off",
    "no-noise": "the noise is not used: z is the mean",
    "noise-is-one": "the noise is not used: z is always mean + σ",
    "std-is-exp-log-var": "exp(log_var) is used as the standard deviation: that is the variance",
    "std-is-log-var": "log_var is used as the standard deviation: take exp(½ log_var)",
    "softplus": "the width is a softplus of log_var: σ is exp(½ log_var), since log_var is ln σ²",
    "std-is-sqrt-log-var": "σ is the square root of exp(log_var), not of log_var, which may be negative",
    "exponent-doubled": "the exponent is doubled: a square root halves it, exp(½ log_var)",
    "std-unused": "the noise is added as it is: it has to be scaled by σ",
    "std-of-everything": "the mean is scaled as well: only the noise is, by σ",
    "no-mean": "the mean is missing: z = mean + σ·noise",
    "small-noise": "the noise is made smaller, by 0.01: q has the standard deviation σ",
    "inverse-std": "the noise is divided by σ: it is multiplied",
    "latent-summed": "the latents are summed: z has the shape of the mean",
}


def _quantiles(mean: np.ndarray, log_var: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The number that has the rank under N(mean, exp(log_var)) that the noise has under N(0, 1)."""
    from scipy.stats import norm

    return norm.ppf(norm.cdf(noise), loc=mean, scale=np.sqrt(np.exp(log_var)))


def _slope(mean: np.ndarray, log_var: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Central differences of those quantiles in log_var."""
    step = 1e-5
    up, down = (_quantiles(mean, log_var + sign * step, noise) for sign in (1.0, -1.0))
    return (up - down) / (2.0 * step)


def _named(z: np.ndarray, slope: np.ndarray, mean_slope: float = 1.0) -> Values:
    return {
        "z": tensor(z),
        "slope of the mean": tensor(mean_slope + 0.0 * z),
        "slope of log_var": tensor(slope),
    }


def _mistaken(
    mean: np.ndarray, log_var: np.ndarray, noise: np.ndarray
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    std = np.sqrt(np.exp(log_var))
    z, slope = _quantiles(mean, log_var, noise), _slope(mean, log_var, noise)
    yield "own-noise", lambda got: got["z"] != got["z again"]
    for sign in (+1.0, -1.0):
        moved = mean + sign * (z - mean)
        yield "no-gradient", _named(moved, 0.0 * z, 0.0)
        yield "mean-gradient-only", _named(moved, 0.0 * z)
        yield "log-var-gradient-only", _named(moved, sign * slope, 0.0)
        yield "no-mean", {"z": tensor(sign * std * noise)}
        for name, spread in (
            ("std-is-exp-log-var", np.exp(log_var) * noise),
            ("std-is-log-var", log_var * noise),
            ("std-is-sqrt-log-var", np.where(log_var < 0.0, np.nan, np.sqrt(np.abs(log_var))) * noise),
            ("exponent-doubled", np.exp(2.0 * log_var) * noise),
            ("std-unused", noise),
            ("softplus", np.log1p(np.exp(log_var)) * noise),
            ("small-noise", 0.01 * std * noise),
            ("inverse-std", noise / std),
        ):
            yield name, {"z": tensor(mean + sign * spread)}
    yield "no-noise", {"z": tensor(mean)}
    yield "noise-is-one", {"z": tensor(mean + std)}
    yield "noise-is-one", {"z": tensor(mean + std**2)}
    yield "std-of-everything", {"z": tensor((mean + noise) * std)}
    yield "std-of-everything", {"z": tensor((mean + std) * noise)}
    yield "latent-summed", {"z": tensor(z.sum(-1))}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    mean, log_var = (inputs[name].requires_grad_() for name in ("mean", "log_var"))
    z = answers[0](mean, log_var, inputs["noise"])
    if z is None:
        return {"z": z}
    if not isinstance(z, torch.Tensor):
        raise WrongForm(f"it returned a {type(z).__name__}; wanted a tensor that torch can differentiate")
    slopes = [torch.zeros_like(mean), torch.zeros_like(log_var)]
    if z.requires_grad:
        found = torch.autograd.grad(z.sum(), (mean, log_var), allow_unused=True)
        slopes = [zero if slope is None else slope for zero, slope in zip(slopes, found, strict=True)]
    again = answers[0](mean.detach(), log_var.detach(), inputs["noise"])
    return {"z": z, "slope of the mean": slopes[0], "slope of log_var": slopes[1], "z again": again}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, latent in ((3, 2), (1, 4), (5, 1)):
        mean, noise = rng.normal(size=(2, batch, latent))
        log_var = rng.uniform(-3.0, 1.5, size=(batch, latent))
        noise = np.clip(noise, -3.0, 3.0)
        z, slope = _quantiles(mean, log_var, noise), _slope(mean, log_var, noise)
        yield Case(
            {"mean": tensor(mean), "log_var": tensor(log_var), "noise": tensor(noise)},
            [_named(z, slope), _named(2.0 * mean - z, -slope)],
            lambda arguments=(mean, log_var, noise): _mistaken(*arguments),
            about=f"{latent} latents",
        )


EXERCISE = Exercise(
    id="6.1",
    functions=("reparametrise",),
    returns="z has the shape of mean, (batch, latent)",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
