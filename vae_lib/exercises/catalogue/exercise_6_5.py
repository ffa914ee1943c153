"""6.5 The gradients of a linear VAE by hand. Oracle: finite differences of SciPy densities and quadrature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vae_lib.exercises.catalogue.oracles import kl_by_quadrature, tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

PARAMETERS = ("weight", "encoder", "log_var")

MISTAKES = {
    "own-noise": "fresh noise is drawn inside: use the noise that is given",
    "no-half-std": "the slope of z in log_var is ½σε: a factor is missing or there are too many",
    "slope-of-std": "the gradient is that of σ, σ² or ln σ: its slope in log_var is missing",
    "std-is-exp-log-var": "exp(log_var) is used as the standard deviation: that is the variance",
    "rate-no-one": "the −1 of the rate is missing: its derivatives are μ and ½(σ² − 1)",
    "rate-through-the-draw": "the rate's −μ is taken through the draw, too: it belongs to the encoder only",
    "no-reconstruction": "the log-variance gets the rate only: it also moves z",
    "no-rate": "the rate has no part in a gradient of the encoder: its derivatives are μ and ½(σ² − 1)",
    "rate-added": "the rate is added: the ELBO subtracts it",
    "rate-no-half": "the ½ in front of the rate is missing: its derivatives are μ and ½(σ² − 1)",
    "rate-sampled": "the rate is drawn too: the closed form is asked for",
    "rate-once": "the rate of log_var is counted once: every example of the batch has one",
    "noise-unused": "z is put at the mean of q: the noise belongs in it",
    "mean-in-weight": "the gradient of the weight is taken at the mean of q: it is taken at z",
    "variance-forgotten": "the residual is not divided by the variance of the decoder",
    "std-for-variance": "the residual is divided by std: divide by its square, the variance",
    "negated": "the signs are those of a loss: the gradients of the ELBO are asked for",
    "batch-averaged": "the gradients are averaged over the batch: sum them",
    "transposed": "a gradient is transposed: it has the shape of its parameter",
}


def _objective(inputs: Mapping[str, np.ndarray], sign: float) -> float:
    """The one-draw ELBO, summed over the batch."""
    from scipy.stats import norm

    mean = inputs["x"] @ inputs["encoder"].T
    std = np.sqrt(np.exp(inputs["log_var"])) + 0.0 * mean
    z = mean + sign * std * inputs["noise"]
    density = norm.logpdf(inputs["x"], loc=z @ inputs["weight"].T, scale=float(inputs["std"]))
    return float(density.sum() - kl_by_quadrature(mean, std).sum())


def _differences(inputs: Mapping[str, np.ndarray], sign: float = 1.0) -> dict[str, np.ndarray]:
    step, gradients = 1e-5, {}
    for name in PARAMETERS:
        gradient = np.zeros_like(inputs[name])
        for index in np.ndindex(gradient.shape):
            sides = []
            for way in (1.0, -1.0):
                moved = inputs[name].copy()
                moved[index] += way * step
                sides.append(_objective({**inputs, name: moved}, sign))
            gradient[index] = (sides[0] - sides[1]) / (2.0 * step)
        gradients[name] = gradient
    return gradients


def _mistaken(
    inputs: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    x, noise, variance = inputs["x"], inputs["noise"], float(inputs["std"]) ** 2
    batch = len(x)
    mean = x @ inputs["encoder"].T
    std = np.sqrt(np.exp(inputs["log_var"]))
    residual = (x - (mean + std * noise) @ inputs["weight"].T) / variance
    signal = residual @ inputs["weight"]  # at z
    rate_mean = mean.T @ x  # the rate's part in the gradient of the encoder, summed
    rate_log = 0.5 * batch * (std**2 - 1.0)
    reconstruction = right["log_var"] + rate_log
    yield "own-noise", lambda got: got["weight"] != got["weight again"]
    scaled = (signal * noise).sum(0)
    for name, value in (
        ("no-half-std", std * scaled - rate_log),
        ("no-half-std", scaled - rate_log),
        ("no-half-std", 0.5 * scaled - rate_log),
        ("no-half-std", 0.5 * std**2 * scaled - rate_log),
        ("no-half-std", std**2 * scaled - rate_log),
        ("no-half-std", 0.5 * std * signal.sum(0) - rate_log),
        ("rate-no-one", reconstruction - rate_log - 0.5 * batch),
        ("rate-through-the-draw", right["log_var"] - 0.5 * std * (mean * noise).sum(0)),
        ("no-reconstruction", -rate_log),
        ("slope-of-std", 2.0 * right["log_var"]),
        ("slope-of-std", right["log_var"] / (0.5 * std)),
        ("slope-of-std", right["log_var"] / std**2),
        ("slope-of-std", scaled - batch * (std - 1.0 / std)),
        ("slope-of-std", scaled / (2.0 * std) - 0.5 * batch * (1.0 - 1.0 / std**2)),
        ("rate-once", reconstruction - rate_log / batch),
        ("rate-no-half", reconstruction - 2.0 * rate_log),
        ("no-rate", reconstruction),
        ("rate-added", reconstruction + rate_log),
    ):
        yield name, {**_tensors(right), "log_var": tensor(value)}
    for name, sign in (("no-rate", 1.0), ("rate-added", 2.0)):
        encoder = right["encoder"] + sign * rate_mean
        yield name, {**_tensors(right), "encoder": tensor(encoder)}
        both = {"encoder": tensor(encoder), "log_var": tensor(right["log_var"] + sign * rate_log)}
        yield name, {**_tensors(right), **both}
    doubled = {
        "encoder": tensor(right["encoder"] - rate_mean),
        "log_var": tensor(right["log_var"] - rate_log),
    }
    yield "rate-no-half", _tensors(right) | doubled
    of_rate = ((mean + std * noise) * std * noise).sum(0) / 2.0 - batch / 2.0
    drawn = {
        "encoder": tensor(right["encoder"] - (std * noise).T @ x),
        "log_var": tensor(reconstruction - of_rate),
    }
    yield "rate-sampled", _tensors(right) | drawn
    wide = _differences({**inputs, "log_var": 2.0 * inputs["log_var"]})
    for factor in (1.0, 2.0):
        yield "std-is-exp-log-var", _tensors({**wide, "log_var": factor * wide["log_var"]})
    at_mean = (x - mean @ inputs["weight"].T) / variance
    yield "noise-unused", {"weight": tensor(at_mean.T @ mean)}
    yield "mean-in-weight", {"weight": tensor(residual.T @ mean)}
    for name, factor in (("variance-forgotten", variance), ("std-for-variance", variance**0.5)):
        yield (
            name,
            {
                "weight": tensor(factor * right["weight"]),
                "encoder": tensor(factor * (right["encoder"] + rate_mean) - rate_mean),
            },
        )
    yield "negated", _tensors({name: -value for name, value in right.items()})
    yield "batch-averaged", _tensors({name: value / batch for name, value in right.items()})
    yield "transposed", {"weight": tensor(right["weight"].T)}
    yield "transposed", {"encoder": tensor(right["encoder"].T)}


def _tensors(values: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: tensor(value) for name, value in values.items()}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    keywords = {name: value for name, value in inputs.items() if name != "x"}
    with torch.no_grad():
        first = as_named(answers[0](inputs["x"], **keywords), PARAMETERS, of=dict)
        again = as_named(answers[0](inputs["x"], **keywords), PARAMETERS, of=dict)
    return {**first, "weight again": again["weight"]}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, pixels, latent in ((3, 4, 2), (2, 2, 3), (5, 3, 1)):
        given = {
            "x": rng.normal(size=(batch, pixels)),
            "weight": rng.normal(size=(pixels, latent)),
            "encoder": 0.5 * rng.normal(size=(latent, pixels)),
            "log_var": rng.uniform(-2.0, 0.8, size=latent),
            "noise": rng.normal(size=(batch, latent)),
            "std": np.array(rng.uniform(0.5, 0.8)),
        }
        gradients = _differences(given)
        inputs = {name: tensor(value) for name, value in given.items()} | {"std": float(given["std"])}
        yield Case(
            inputs,
            [_tensors(gradients), _tensors(_differences(given, -1.0))],
            lambda arguments=(given, gradients): _mistaken(*arguments),
            about=f"{pixels} pixels, {latent} latents",
        )


EXERCISE = Exercise(
    id="6.5",
    functions=("elbo_gradients",),
    returns="each gradient has the shape of its parameter",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
