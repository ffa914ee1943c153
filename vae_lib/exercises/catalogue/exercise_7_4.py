"""7.4 The Hadamard gap. Oracle: the divergence of two Gaussians, from the joint of pixels and latents."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import given_all_else, tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "negated": "the sign is turned: the product of the diagonal is never smaller than the determinant",
    "no-half": "the ½ is missing",
    "other-direction": (
        "the posterior's own variances are compared with its determinant: that is KL(p‖q), with the "
        "marginals for q"
    ),
    "no-noise": "σ² is missing in M = WᵀW + σ²I",
    "no-logarithm": "product and determinant are subtracted as they are: both belong under a logarithm",
    "trace": "the trace of M stands for the logarithms of its diagonal",
    "wrong-matrix": "C = WWᵀ + σ²I stands in place of M = WᵀW + σ²I",
    "identity-in-m": "the identity stands in M in place of σ²I",
    "logarithm-of-the-sum": "the logarithm is taken of the sum of the diagonal: sum the logarithms",
    "latent-averaged": "the gap is averaged over the latents: it is a sum",
    "always-zero": "this is zero: so it is only for orthogonal columns",
    "only-diagonal": "only the diagonal is there: subtract ln det M",
}


def _divergence(weight: Tensor, variance: float) -> float:
    """KL of the best independent q from the posterior, by the formula for two Gaussians."""
    w = weight.numpy()
    latent = w.shape[1]
    of_x = w @ w.T + variance * np.eye(len(w))
    posterior = np.eye(latent) - w.T @ np.linalg.solve(of_x, w)
    alone = given_all_else(weight, variance)[1].numpy()
    trace = np.trace(np.linalg.solve(posterior, np.diag(alone)))
    return float(0.5 * (trace - latent + np.linalg.slogdet(posterior)[1] - np.log(alone).sum()))


def _mistaken(weight: Tensor, variance: float, right: float) -> Iterator[tuple[str, Values]]:
    w = weight.numpy()
    gram = w.T @ w
    small = gram + variance * np.eye(w.shape[1])
    log_det, diagonal = np.linalg.slogdet(small)[1], np.diag(small)
    of_posterior = variance * np.linalg.inv(small)
    of_x, identity = w @ w.T + variance * np.eye(len(w)), gram + np.eye(w.shape[1])

    def hadamard(m: np.ndarray) -> float:
        return float(0.5 * (np.log(np.diag(m)).sum() - np.linalg.slogdet(m)[1]))

    for name, value in (
        ("wrong-matrix", hadamard(of_x)),
        ("identity-in-m", hadamard(identity)),
        ("logarithm-of-the-sum", 0.5 * (np.log(diagonal.sum()) - log_det)),
        ("latent-averaged", right / w.shape[1]),
        ("always-zero", 0.0),
        ("negated", -right),
        ("no-half", 2 * right),
        ("other-direction", 0.5 * (np.log(np.diag(of_posterior)).sum() - np.linalg.slogdet(of_posterior)[1])),
        ("no-noise", 0.5 * (np.log(np.diag(gram)).sum() - np.linalg.slogdet(gram)[1])),
        ("no-logarithm", 0.5 * (np.prod(diagonal) - np.exp(log_det))),
        ("trace", 0.5 * (diagonal.sum() - log_det)),
        ("only-diagonal", 0.5 * np.log(diagonal).sum()),
    ):
        yield name, {"value": value}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for pixels, latent in ((5, 2), (6, 3), (9, 5)):
        weight, variance = tensor(rng.normal(size=(pixels, latent))), float(rng.uniform(0.2, 0.8))
        right = _divergence(weight, variance)
        yield Case(
            {"W": weight, "variance": variance},
            {"value": right},
            lambda weight=weight, variance=variance, right=right: _mistaken(weight, variance, right),
            about=f"{latent} latents",
        )
    axes = np.linalg.qr(rng.normal(size=(6, 3)))[0]
    weight, variance = tensor(axes * rng.uniform(0.5, 2.0, size=3)), float(rng.uniform(0.2, 0.8))
    yield Case(
        {"W": weight, "variance": variance},
        {"value": 0.0},
        lambda: _mistaken(weight, variance, 0.0),
        about="a decoder with orthogonal columns",
    )


EXERCISE = Exercise(
    id="7.4",
    functions=("hadamard_gap",),
    returns="one number, the same for every datum",
    mistakes=MISTAKES,
    cases=_cases,
)
