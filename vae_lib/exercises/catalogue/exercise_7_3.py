"""7.3 The best encoder. Oracle: conditioning in the joint Gaussian of all pixels and latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import given_all_else, tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "marginal-variances": (
        "d holds the posterior's own variances, the diagonal of the inverse: take the inverse of the diagonal"
    ),
    "pseudo-inverse": "V is the pseudo-inverse of W: the σ² in M is missing, and the prior with it",
    "transpose": "V is Wᵀ alone: it needs M⁻¹ before it",
    "variances-without-noise": "d = 1/(WᵀW)ⱼⱼ times σ²: the σ² in M is missing",
    "noise-variance": "d is σ² for every latent: that is the decoder's noise, over x",
    "std": "the standard deviations are returned: d holds variances",
    "precision": "d holds the precisions Mⱼⱼ/σ²: their inverses are wanted",
    "no-variance": "d = 1/Mⱼⱼ: the factor σ² is missing",
    "not-scaled": "V is off by the factor σ²: with M/σ² in place of M, divide Wᵀ by σ² too, and only then",
    "identity-in-m": "the identity stands in M in place of σ²I",
    "latent-by-latent": "each latent is inferred as if it were alone: V needs the whole inverse of M",
    "log-variance": "the logarithms of the variances are returned: d holds variances",
    "prior-variance": "d is 1 for every latent: that is the prior",
    "eigenvalues": "d holds σ² over the eigenvalues of M: take its diagonal",
    "turned-over": "V is transposed: it takes x, with D entries, to z",
}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return as_named(answers[0](*inputs.values()), ("V", "d"), of=tuple)


def _mistaken(weight: Tensor, variance: float, right: Mapping[str, Tensor]) -> Iterator[tuple[str, Values]]:
    w, latent = weight.numpy(), weight.shape[1]
    gram = w.T @ w
    small = gram + variance * np.eye(latent)
    code, alone = right["V"], right["d"]
    for name, value in (
        ("marginal-variances", variance * np.diag(np.linalg.inv(small))),
        ("variances-without-noise", variance / np.diag(gram)),
        ("noise-variance", np.full(latent, variance)),
        ("std", np.sqrt(alone.numpy())),
        ("precision", np.diag(small) / variance),
        ("no-variance", 1.0 / np.diag(small)),
        ("log-variance", np.log(alone.numpy())),
        ("prior-variance", np.ones(latent)),
        ("eigenvalues", variance / np.linalg.eigvalsh(small)),
        ("identity-in-m", variance / np.diag(gram + np.eye(latent))),
    ):
        yield name, {"V": code, "d": tensor(value)}
    for name, matrix in (
        ("pseudo-inverse", tensor(np.linalg.pinv(w))),
        ("transpose", weight.T.contiguous()),
        ("not-scaled", variance * code),
        ("not-scaled", code / variance),
        ("identity-in-m", tensor(np.linalg.solve(gram + np.eye(latent), w.T))),
        ("latent-by-latent", tensor(w.T / np.diag(small)[:, None])),
        ("turned-over", code.T.contiguous()),
    ):
        yield name, {"V": matrix}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for pixels, latent in ((5, 2), (4, 1), (7, 4)):
        weight, variance = tensor(rng.normal(size=(pixels, latent))), float(rng.uniform(0.2, 0.8))
        code, alone = given_all_else(weight, variance)
        right = {"V": code, "d": alone}
        yield Case(
            {"W": weight, "variance": variance},
            right,
            lambda weight=weight, variance=variance, right=right: _mistaken(weight, variance, right),
            about="one latent" if latent == 1 else f"{latent} latents",
        )


EXERCISE = Exercise(
    id="7.3",
    functions=("best_linear_encoder",),
    returns="V (q, D) and d (q,)",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
