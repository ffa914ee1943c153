"""8.3 A linear VAE trained to its known optimum. Oracle: eigenvalues of the data's covariance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import WrongForm, as_named, numbers
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "best_log_evidence", "linear_data", "measure"]

NAMES = ("weight", "bias", "variance", "encoder_weight", "encoder_variance")

MISTAKES = {
    "mean-over-latents": "the rate is averaged over the latents: sum it",
    "mean-over-pixels": "the code says nothing: no gradient reaches the encoder through z (sample() or "
    "detach()), or the reconstruction is averaged over the pixels, so that z is not worth its rate",
    "std-is-exp-log-var": "exp(log_var) is used as the standard deviation of the noise",
    "rate-from-log-std": "log_var is read as ln σ in the rate: it is ln σ²",
    "no-half-in-exponent": "the ½ in the exponent of the Gaussian is missing",
    "variance-not-learned": "the variance of the pixels is not the best: it is not trained, or the term "
    "D/2 ln s² that keeps it from growing is missing",
    "not-finished": "training stops too early: ln p(x) is nearly there, but the encoder lags behind. Let the "
    "learning rate fall towards the end, or take more steps",
    "no-noise": "z is the mean of q(z|x): without noise nothing but the rate trains the variance",
}


def linear_data(rng: np.random.Generator, examples: int = 500) -> Tensor:
    """Five numbers per example, two strong directions and three weak ones: (examples, 5)."""
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    spread = np.sqrt([rng.uniform(4.0, 5.0), rng.uniform(1.5, 2.0), 0.2, 0.2, 0.2])
    return tensor(rng.normal(size=(examples, 5)) * spread @ rotation.T + rng.normal(size=5))


def _eigenvalues(x: Tensor) -> np.ndarray:
    """Of the covariance with 1/N, largest first."""
    return np.linalg.eigvalsh(np.cov(x.numpy(), rowvar=False, bias=True))[::-1]


def best_log_evidence(x: Tensor, latent: int) -> float:
    """The largest mean ln p(x) of any model with that many latents (Tipping and Bishop 1999)."""
    eigenvalues = _eigenvalues(x)
    size, rest = len(eigenvalues), eigenvalues[latent:]
    logs = np.log(eigenvalues[:latent]).sum() + len(rest) * math.log(rest.mean())
    return -0.5 * (size * math.log(2.0 * math.pi) + logs + size)


def measure(trained: Any, x: Tensor, latent: int) -> dict[str, Any]:
    """ln p(x), the ELBO and the largest cosine between columns of a returned model.

    Raises:
        WrongForm: parts are missing, have another shape, or are no numbers.
    """
    from scipy.stats import multivariate_normal

    from vae_lib.laboratory import LinearGaussianModel

    parts = {
        name: tensor(np.reshape(n.values, n.shape))
        for name, n in ((k, numbers(v)) for k, v in as_named(trained, NAMES, of=dict).items())
    }
    pixels = x.shape[1]
    shapes = ((pixels, latent), (pixels,), (), (latent, pixels), (latent,))
    for name, shape in zip(NAMES, shapes, strict=True):
        if tuple(parts[name].shape) != shape:
            raise WrongForm(f"the shape of {name} is {tuple(parts[name].shape)}; wanted {shape}")
        if not bool(torch.isfinite(parts[name]).all()):
            raise WrongForm(f"{name} holds nan or inf: the training has diverged")
    weight, bias, variance, encoder_weight, encoder_variance = parts.values()
    if float(variance) <= 0.0 or bool((encoder_variance <= 0.0).any()):
        raise WrongForm("a variance is not positive: return exp of the log-variance")
    covariance = weight @ weight.T + variance * torch.eye(pixels, dtype=weight.dtype)
    evidence = multivariate_normal(bias.numpy(), covariance.numpy()).logpdf(x.numpy()).mean()
    model = LinearGaussianModel(weight, bias, float(variance))
    columns = torch.nn.functional.normalize(weight, dim=0)
    cosines = (columns.T @ columns - torch.eye(latent, dtype=weight.dtype)).abs()
    return {
        "log_evidence": float(evidence),
        "elbo": float(model.elbo(x, encoder_weight, encoder_variance).mean()),
        "largest cosine": float(cosines.max()),
        "variance": float(variance),
        "spectrum": torch.linalg.eigvalsh(weight.T @ weight).flip(0),
        "log encoder_variance": float(encoder_variance.log().mean()),
    }


def _fixed_point(
    eigenvalues: np.ndarray,
    latent: int,
    *,
    beta: float = 1.0,
    noise: float = 1.0,
    exponent: float = 0.5,
    log_std: bool = False,
) -> Values:
    """Where training ends with a wrong objective: its minimum over (w, v, ln d, ln σ²).

    The objective separates into the principal directions; `noise` is the power of d that enters
    as the variance of the samples.
    """
    from scipy.optimize import minimize

    size, top, rest = len(eigenvalues), eigenvalues[:latent], eigenvalues[latent:]

    def loss(point: np.ndarray) -> float:
        w, v, log_d = np.split(point[:-1], 3)
        log_variance = point[-1]
        residual = ((1.0 - w * v) ** 2 * top + w**2 * np.exp(noise * log_d)).sum() + rest.sum()
        scale = 2.0 if log_std else 1.0
        rate = 0.5 * (v**2 * top + np.exp(scale * log_d) - 1.0 - scale * log_d).sum()
        return 0.5 * size * log_variance + exponent * residual / math.exp(log_variance) + beta * rate

    start = np.concatenate(
        [
            np.sqrt(top - rest.mean()),
            np.sqrt(top - rest.mean()) / top,
            np.log(rest.mean() / top),
            [math.log(rest.mean())],
        ]
    )
    w, _, log_d = np.split((best := minimize(loss, start, method="BFGS").x)[:-1], 3)
    return _fingerprint(math.exp(best[-1]), w**2, log_d.mean())


def _fingerprint(variance: float, spectrum: np.ndarray, log_encoder_variance: float) -> Values:
    """Where training has ended, in numbers that no rotation of the columns changes (or only little)."""
    return {
        "variance": variance,
        "spectrum": spectrum,
        "log encoder_variance": log_encoder_variance,
    }


def _mistaken(x: Tensor, latent: int) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    eigenvalues = _eigenvalues(x)
    best = best_log_evidence(x, latent)
    total, weak = eigenvalues.mean(), eigenvalues[latent:].mean()
    top = eigenvalues[:latent]

    def not_learned(got: Values) -> bool:
        (fixed,) = got["variance"]
        wanted = np.maximum(top - fixed, 0.0)
        near = [abs(a - b) < 0.15 + 0.1 * b for a, b in zip(got["spectrum"], wanted, strict=True)]
        return abs(math.log(fixed / weak)) > 0.1 and all(near)

    def not_finished(got: Values) -> bool:
        (evidence,), (elbo,) = got["log_evidence"], got["elbo"]
        return bool(best - 0.1 < evidence and best - 1.0 < elbo < best)

    yield "mean-over-latents", _fixed_point(eigenvalues, latent, beta=1.0 / latent)
    yield "mean-over-pixels", _fingerprint(total, np.zeros(latent), 0.0)
    yield "std-is-exp-log-var", _fixed_point(eigenvalues, latent, noise=2.0)
    yield "rate-from-log-std", _fixed_point(eigenvalues, latent, log_std=True)
    yield "no-half-in-exponent", _fixed_point(eigenvalues, latent, exponent=1.0)
    yield "no-noise", {"log encoder_variance": 0.0}
    yield "variance-not-learned", not_learned
    yield "not-finished", not_finished


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    with torch.enable_grad():
        trained = answers[0](inputs["x"], inputs["latent"])
    return measure(trained, inputs["x"], inputs["latent"])


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    x, latent = linear_data(rng), 2
    best = best_log_evidence(x, latent)
    yield Case(
        {"x": x, "latent": latent},
        {"log_evidence": best, "elbo": best, "largest cosine": 0.0},
        lambda: _mistaken(x, latent),
        rtol=0.0,
        atol={
            "log_evidence": 0.02,
            "elbo": 0.05,
            "largest cosine": 0.05,
            "variance": 0.05 * float(_eigenvalues(x)[latent:].mean()),
            "spectrum": 0.15,
            "log encoder_variance": 0.4,
        },
        blur={"spectrum": 0.25, "variance": 0.1},
        about="500 examples",
    )


EXERCISE = Exercise(
    id="8.3",
    functions=("train_linear_vae",),
    returns="weight (pixels, latent), bias (pixels,), variance (), encoder_weight (latent, pixels), "
    "encoder_variance (latent,)",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
