"""6.3 A full covariance. Oracle: the product with L entry by entry; SciPy's density from the covariance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

NAMES = ("z", "log_q")

MISTAKES = {
    "own-noise": "fresh noise is drawn inside: use the noise that is given",
    "no-mask": "raw is used as it is: keep what is strictly below its diagonal",
    "raw-diagonal": "the mask keeps the diagonal of raw: the diagonal of L is σ alone",
    "upper-mask": "the mask keeps what is above the diagonal: L is lower triangular",
    "transposed": "the noise is multiplied by the transpose of L: then the covariance is LᵀL",
    "diagonal-only": "raw is not used: the latents are independent",
    "covariance-times-noise": "the noise is multiplied by the covariance LLᵀ: multiply it by L",
    "log-std-on-diagonal": "log_std stands on the diagonal: σ is exp(log_std)",
    "std-is-half": "σ is exp(½ log_std): here the network puts out ln σ, not ln σ²",
    "std-is-double": "σ is exp(2 log_std): the network puts out ln σ, so σ is exp(log_std)",
    "no-mean": "the mean is missing: z = mean + L·noise",
    "negated": "ln q has the other sign",
    "no-log-det": "the sum of ln σ is missing in ln q",
    "plus-log-det": "the sum of ln σ is added in ln q: it is subtracted",
    "log-det-of-covariance": "ln σ is counted twice, or by half: ln det L belongs there, half of ln det LLᵀ",
    "no-constant": "−½ ln 2π is missing in ln q, once for every latent",
    "constant-once": "−½ ln 2π is counted once: every latent has one",
    "no-half": "the ½ in front of ε² is missing in ln q",
    "log-det-of-raw": "ln q holds the diagonal of raw: the diagonal of L is σ",
    "std-for-log-std": "σ is subtracted in ln q: it is ln σ, which is log_std",
    "independent-density": "ln q is that of independent latents: z leans, and its density must too",
    "density-of-z": "ln q is taken as if z, or z − mean, were the noise: undo L first",
    "latent-averaged": "ln q is averaged over the latents: it is a sum",
    "batch-summed": "ln q is summed over the batch: one value per example",
}


def _factors(log_std: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """L of each example, entry by entry."""
    factors = np.zeros_like(raw)
    for b, row, column in np.ndindex(raw.shape):
        if row == column:
            factors[b, row, row] = math.exp(log_std[b, row])
        elif row > column:
            factors[b, row, column] = raw[b, row, column]
    return factors


def _apply(factors: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return np.einsum("bij,bj->bi", factors, noise)


def _oracle(inputs: Mapping[str, np.ndarray], sign: float = 1.0) -> dict[str, np.ndarray]:
    from scipy.stats import multivariate_normal

    factors = _factors(inputs["log_std"], inputs["raw"])
    z = inputs["mean"] + sign * _apply(factors, inputs["noise"])
    log_q = [
        multivariate_normal.logpdf(z_b, mean=mean_b, cov=factor @ factor.T)
        for z_b, mean_b, factor in zip(z, inputs["mean"], factors, strict=True)
    ]
    return {"z": z, "log_q": np.array(log_q).reshape(len(z))}


def _mistaken(inputs: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    mean, log_std, raw, noise = (inputs[name] for name in ("mean", "log_std", "raw", "noise"))
    right, factors = _oracle(inputs), _factors(log_std, raw)
    log_det, latent = log_std.sum(-1), mean.shape[-1]
    normal = -0.5 * (noise**2).sum(-1) - 0.5 * latent * math.log(2.0 * math.pi)
    diagonal = np.einsum("bi,ij->bij", np.exp(log_std), np.eye(latent))
    yield "own-noise", lambda got: got["z"] != got["z again"]
    upper = np.triu(raw, 1) + diagonal
    for name, wrong in (
        ("no-mask", raw + diagonal),
        ("no-mask", raw),
        ("raw-diagonal", np.tril(raw) + diagonal),
        ("raw-diagonal", np.tril(raw)),
        ("raw-diagonal", np.tril(raw, -1) + np.exp(raw) * np.eye(latent)),
        ("upper-mask", upper),
        ("transposed", factors.transpose(0, 2, 1)),
        ("diagonal-only", diagonal),
        ("covariance-times-noise", factors @ factors.transpose(0, 2, 1)),
        ("log-std-on-diagonal", factors - diagonal + np.einsum("bi,ij->bij", log_std, np.eye(latent))),
        ("std-is-half", factors - diagonal + np.einsum("bi,ij->bij", np.exp(0.5 * log_std), np.eye(latent))),
        (
            "std-is-double",
            factors - diagonal + np.einsum("bi,ij->bij", np.exp(2.0 * log_std), np.eye(latent)),
        ),
    ):
        yield name, {"z": tensor(mean + _apply(wrong, noise))}
    yield "no-mean", {"z": tensor(_apply(factors, noise))}
    moved = right["z"] - mean
    independent = -0.5 * ((moved / np.exp(log_std)) ** 2 + math.log(2.0 * math.pi)).sum(-1)
    as_noise = -0.5 * (moved**2).sum(-1) - 0.5 * latent * math.log(2.0 * math.pi)
    for name, value in (
        ("no-log-det", normal),
        ("plus-log-det", normal + log_det),
        ("log-det-of-covariance", normal - 2.0 * log_det),
        ("no-constant", -0.5 * (noise**2).sum(-1) - log_det),
        ("constant-once", -0.5 * (noise**2).sum(-1) - log_det - 0.5 * math.log(2.0 * math.pi)),
        ("no-half", normal - 0.5 * (noise**2).sum(-1) - log_det),
        ("log-det-of-raw", normal - np.log(np.abs(np.einsum("bii->bi", raw))).sum(-1)),
        ("log-det-of-raw", normal - np.einsum("bii->b", raw)),
        ("std-for-log-std", normal - np.exp(log_std).sum(-1)),
        ("independent-density", independent - log_det),
        ("density-of-z", as_noise - log_det),
        ("density-of-z", as_noise),
        ("density-of-z", -0.5 * (right["z"] ** 2).sum(-1) - 0.5 * latent * math.log(2.0 * math.pi) - log_det),
        ("log-det-of-covariance", normal - 0.5 * log_det),
        ("negated", -right["log_q"]),
        ("latent-averaged", right["log_q"] / latent),
        ("batch-summed", right["log_q"].sum()),
    ):
        yield name, {"log_q": tensor(value)}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    first = as_named(answers[0](**inputs), NAMES, of=tuple)
    again = as_named(answers[0](**inputs), NAMES, of=tuple)
    return {**first, "z again": again["z"]}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, latent in ((3, 3), (1, 2), (4, 4)):
        inputs = {
            "mean": rng.normal(size=(batch, latent)),
            "log_std": rng.uniform(-1.2, 0.6, size=(batch, latent)),
            "raw": rng.normal(size=(batch, latent, latent)),
            "noise": rng.normal(size=(batch, latent)),
        }
        yield Case(
            {name: tensor(value) for name, value in inputs.items()},
            [{name: tensor(v) for name, v in _oracle(inputs, sign).items()} for sign in (1.0, -1.0)],
            lambda inputs=inputs: _mistaken(inputs),
            about=f"{latent} latents",
        )


EXERCISE = Exercise(
    id="6.3",
    functions=("full_covariance_draw",),
    returns="z is (batch, latent), log_q is (batch,)",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
