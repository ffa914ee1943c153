"""8.5 Four ways to use a trained VAE. Oracle: the exact law of a linear model; five standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vae_lib.exercises.catalogue.oracles import kl_by_quadrature, tensor
from vae_lib.exercises.compare import WrongForm, numbers
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "LinearVAE"]

SIGMAS = 5.0
DRAWS = 20_000
LEAST_SPREAD = 0.85  # of one sample, as a share of what is expected; the mean of two has 0.71

MISTAKES = {
    "mean-plus-std": "encode returns μ + σ: the code of an example is μ",
    "code-sampled": "encode draws from q(z|x): the code is its mean, the same at every call",
    "reconstruction-sampled": "reconstruct draws: decode the mean code, and return the mean of p(x|z)",
    "without-noise": "generate returns the mean of p(x|z): a sample also has the noise of the pixels",
    "from-encoder": "generate uses the encoder: new examples start from the prior, z ~ p(z)",
    "one-code": "generate decodes one code for all: every example has a z of its own",
    "batch-averaged": "the elbo is averaged over the batch: keep one value per example",
    "elbo-at-mean": "the elbo is evaluated at z = μ: it is too high, and it is no bound",
    "no-rate": "the elbo has no rate: that is only E_q ln p(x|z)",
    "rate-added": "the rate is added in the elbo: it is subtracted",
    "elbo-negated": "elbo returns what is minimised: the elbo itself is its negative",
    "no-prior": "ln p(z) is missing in the elbo",
    "no-posterior": "−ln q(z|x) is missing in the elbo",
    "posterior-added": "ln q(z|x) is added in the elbo: it is subtracted",
    "codes-of-the-prior": "the elbo decodes codes of the prior: z is drawn from q(z|x)",
    "many-samples": "the elbo averages several samples: one for each example was asked for",
    "not-fresh": "elbo gives the same numbers at every call: its sample is not fresh",
}


@dataclass(frozen=True)
class LinearVAE:
    """p(x|z) = N(weight z, std²), q(z|x) = N(encoder_weight x, encoder_std²), p(z) = N(0, I).

    It has what a model of the course has, and no more: `encode`, `decode` and `prior`.
    """

    weight: Tensor
    std: float
    encoder_weight: Tensor
    encoder_std: Tensor

    def encode(self, x: Tensor) -> Independent:
        """q(z|x), (batch,|latent)."""
        mean = x @ self.encoder_weight.T
        return Independent(Normal(mean, self.encoder_std.expand_as(mean)), 1)

    def decode(self, z: Tensor) -> Independent:
        """p(x|z), (batch,|pixels)."""
        mean = z @ self.weight.T
        return Independent(Normal(mean, torch.full_like(mean, self.std)), 1)

    @property
    def prior(self) -> Independent:
        """p(z), (|latent)."""
        zero = torch.zeros_like(self.encoder_std)
        return Independent(Normal(zero, torch.ones_like(zero)), 1)

    def __repr__(self) -> str:
        return f"a linear VAE with {self.weight.shape[0]} pixels, {self.weight.shape[1]} latents"


def _expected_elbo(model: LinearVAE, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E_q ln p(x|z) and the rate of each row of x, from the quadratic form of the error."""
    weight, mean = model.weight.numpy(), x @ model.encoder_weight.numpy().T
    noise = weight * model.encoder_std.numpy()
    squares = ((x - mean @ weight.T) ** 2).sum(-1) + (noise**2).sum()
    pixels = x.shape[-1]
    reconstruction = -0.5 * pixels * math.log(2.0 * math.pi * model.std**2)
    reconstruction = reconstruction - squares / (2.0 * model.std**2)
    rate = kl_by_quadrature(mean, model.encoder_std.numpy()).sum(-1).numpy()
    return reconstruction, rate


def _spreads(
    model: LinearVAE, x: np.ndarray, rng: np.random.Generator, draws: int = 4000
) -> tuple[float, float]:
    """The standard deviations of the two usual one-sample estimates of the ELBO at one x, sorted."""
    noise = rng.normal(size=(draws, len(model.encoder_std)))
    z = x @ model.encoder_weight.numpy().T + model.encoder_std.numpy() * noise
    misfit = ((x - z @ model.weight.numpy().T) ** 2).sum(-1) / (2.0 * model.std**2)
    log_ratio = 0.5 * (noise**2 - z**2).sum(-1)
    smaller, larger = sorted((float(misfit.std()), float((log_ratio - misfit).std())))
    return smaller, larger


def _covariance(rows: Tensor) -> Tensor:
    return torch.cov(rows.T)


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    encode, reconstruct, generate, elbo = answers
    model, x = inputs["model"], inputs["x"]
    generated = numbers(generate(model, DRAWS))
    if generated.shape != (DRAWS, x.shape[1]):
        raise WrongForm(
            f"generate(model, {DRAWS}) returned the shape {generated.shape}; wanted {(DRAWS, x.shape[1])}"
        )
    samples = tensor(np.reshape(generated.values, generated.shape))
    values, again = elbo(model, x), elbo(model, x)
    drawn = [numbers(elbo(model, row.expand(DRAWS, -1))) for row in x]
    averages = [math.fsum(d.values) / len(d.values) for d in drawn]
    return {
        "code": encode(model, x),
        "code again": encode(model, x),
        "reconstruction": reconstruct(model, x),
        "reconstruction again": reconstruct(model, x),
        "mean of the samples": samples.mean(0),
        "covariance of the samples": _covariance(samples),
        "elbo": values,
        "average elbo": averages,
        "elbo varies": [float(len(set(d.values)) > 1) for d in drawn],
        "elbo is fresh": float(numbers(values) != numbers(again)),
        "spread of the elbo": [float(np.std(d.values)) for d in drawn],
    }


def _mistaken(
    model: LinearVAE, x: Tensor, right: Values, smallest: list[float]
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    weight, std = model.weight, model.std
    code = right["code"]
    shifted = code + model.encoder_std
    yield "mean-plus-std", {"code": shifted, "code again": shifted}
    yield "code-sampled", lambda got: got["code"] != got["code again"]
    yield "reconstruction-sampled", lambda got: got["reconstruction"] != got["reconstruction again"]
    signal = weight @ weight.T
    noise = std**2 * torch.eye(len(weight), dtype=weight.dtype)
    yield "without-noise", {"covariance of the samples": signal}
    own = torch.diag(model.encoder_std**2)
    for spread in (own, own + model.encoder_weight @ model.encoder_weight.T):
        generated = weight @ spread @ weight.T
        centred = {"mean of the samples": right["mean of the samples"]}
        for covariance in (generated + noise, generated):
            yield "from-encoder", {**centred, "covariance of the samples": covariance}
    yield "one-code", {"covariance of the samples": noise}
    yield "one-code", {"covariance of the samples": 0.0 * noise}
    reconstruction, rate = _expected_elbo(model, x.numpy())
    yield "elbo-at-mean", lambda got: not any(got["elbo varies"])
    yield "no-rate", {"average elbo": reconstruction}
    yield "rate-added", {"average elbo": reconstruction + rate}
    yield "elbo-negated", {"average elbo": rate - reconstruction}
    entropy = float((0.5 + 0.5 * math.log(2.0 * math.pi) + model.encoder_std.log()).sum())
    yield "no-prior", {"average elbo": reconstruction + entropy}
    yield "no-posterior", {"average elbo": reconstruction - rate - entropy}
    yield "posterior-added", {"average elbo": reconstruction - rate - 2.0 * entropy}
    blind = LinearVAE(weight, std, 0.0 * model.encoder_weight, torch.ones_like(model.encoder_std))
    yield "codes-of-the-prior", {"average elbo": _expected_elbo(blind, x.numpy())[0] - rate}
    yield (
        "many-samples",
        lambda got: any(a < b for a, b in zip(got["spread of the elbo"], smallest, strict=True)),
    )
    yield "not-fresh", lambda got: got["elbo is fresh"] == (0.0,)
    yield "batch-averaged", lambda got: len(got["elbo"]) == 1


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    pixels, latent = 4, 2
    model = LinearVAE(
        weight=tensor(rng.normal(size=(pixels, latent))),
        std=float(rng.uniform(0.6, 0.9)),
        encoder_weight=tensor(0.5 * rng.normal(size=(latent, pixels))),
        encoder_std=tensor(rng.uniform(0.3, 0.6, size=latent)),
    )
    x = tensor(rng.normal(size=(3, pixels)))
    code = tensor([[row @ v for v in model.encoder_weight.numpy()] for row in x.numpy()])
    decoded = tensor([[row @ w for w in model.weight.numpy()] for row in code.numpy()])
    covariance = model.weight @ model.weight.T + model.std**2 * torch.eye(pixels).double()
    variances = covariance.diagonal()
    reconstruction, rate = _expected_elbo(model, x.numpy())
    pairs = [_spreads(model, row, rng) for row in x.numpy()]
    smaller, larger = (tensor(column) for column in zip(*pairs, strict=True))
    right = {
        "code": code,
        "code again": code,
        "reconstruction": decoded,
        "reconstruction again": decoded,
        "mean of the samples": torch.zeros(pixels),
        "covariance of the samples": covariance,
        "elbo": torch.zeros(len(x)),
        "average elbo": reconstruction - rate,
        "elbo varies": torch.ones(len(x)),
        "elbo is fresh": 1.0,
        "spread of the elbo": 5.0 * larger,
    }
    yield Case(
        {"model": model, "x": x},
        right,
        lambda: _mistaken(model, x, right, (LEAST_SPREAD * smaller).tolist()),
        rtol=1e-6,
        atol={
            "elbo": math.inf,  # one sample: only its shape is compared
            "mean of the samples": SIGMAS * (variances / DRAWS).sqrt(),
            "covariance of the samples": SIGMAS
            * ((variances[:, None] * variances + covariance**2) / DRAWS).sqrt(),
            "average elbo": SIGMAS * larger / math.sqrt(DRAWS),
            # only the lower end is meant: the estimate of one draw spreads at least so far
            "spread of the elbo": 5.0 * larger - LEAST_SPREAD * smaller,
        },
    )


EXERCISE = Exercise(
    id="8.5",
    functions=("encode", "reconstruct", "generate", "elbo"),
    returns="code (batch, latent), reconstruction (batch, pixels), samples (n, pixels), elbo (batch,)",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
