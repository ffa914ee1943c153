"""2.3 KL of two Gaussians in d dimensions. Oracle: generalised eigenvalues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "swapped": "the two distributions change places: KL(p‖q)",
    "trace-upside-down": "the trace is that of Σ_q⁻¹ Σ_p: it should be Σ_p⁻¹ Σ_q",
    "log-det-upside-down": "the two determinants change places",
    "no-log-det": "the logarithm of the determinants is missing",
    "no-logarithm": "the ratio of the determinants stands without its logarithm",
    "no-dimension": "the −d is missing",
    "dimension-added": "d is added: it is subtracted",
    "dimension-is-batch": "the size of the batch stands where the dimension d belongs",
    "no-half": "the factor ½ in front is missing",
    "half-of-a-part": "the ½ stands in front of a part of the bracket: it belongs to all four terms",
    "diagonal-only": "only the diagonals of the covariances are used",
    "no-distance": "the distance of the means is missing",
    "distance-under-q": "the distance of the means is measured with Σ_q⁻¹: it should be Σ_p⁻¹",
    "distance-plain": "the distance of the means is squared but not measured with Σ_p⁻¹",
    "inverse-of-q": "Σ_q is inverted where Σ_p should be",
    "not-inverted": "Σ_p is multiplied where it should be inverted",
    "not-a-trace": (
        "the trace of Σ_p⁻¹ Σ_q is another number: multiply the matrices, then sum the diagonal only"
    ),
    "batch-averaged": "the batch is averaged: keep one value per pair",
    "batch-summed": "the batch is summed: keep one value per pair",
}


def _pieces(
    mean_q: Tensor, cov_q: Tensor, mean_p: Tensor, cov_p: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Per pair: Σ λ, Σ 1/λ, Σ ln λ of cov_q v = λ cov_p v, and the squared distance under p."""
    from scipy.linalg import eigh, solve

    eigenvalues = np.stack(
        [eigh(a, b, eigvals_only=True) for a, b in zip(cov_q.numpy(), cov_p.numpy(), strict=True)]
    )
    shift = (mean_q - mean_p).numpy()
    distance = [d @ solve(c, d, assume_a="pos") for c, d in zip(cov_p.numpy(), shift, strict=True)]
    return (
        tensor(eigenvalues.sum(-1)),
        tensor((1.0 / eigenvalues).sum(-1)),
        tensor(np.log(eigenvalues).sum(-1)),
        tensor(distance),
    )


def _right(**inputs: Tensor) -> Tensor:
    stretch, _, log_stretch, distance = _pieces(**inputs)
    return 0.5 * (stretch - inputs["mean_q"].shape[-1] - log_stretch + distance)


def _mistaken(**inputs: Tensor) -> Iterator[tuple[str, Values]]:
    mean_q, cov_q, mean_p, cov_p = inputs.values()
    right, size = _right(**inputs), mean_q.shape[-1]
    stretch, inverse, log_stretch, distance = _pieces(**inputs)
    swapped = {"mean_q": mean_p, "cov_q": cov_p, "mean_p": mean_q, "cov_p": cov_q}
    under_q = _pieces(**swapped)[3]
    products = tensor([np.sum(a * b) for a, b in zip(cov_p.numpy(), cov_q.numpy(), strict=True)])
    shift = mean_q - mean_p
    multiplied = (shift * (cov_p * shift[:, None, :]).sum(-1)).sum(-1)
    solved = tensor(np.linalg.solve(cov_p.numpy(), cov_q.numpy()))
    entries = tensor(np.linalg.inv(cov_p.numpy())) * cov_q
    flat = {
        **inputs,
        "cov_q": torch.diag_embed(cov_q.diagonal(dim1=-2, dim2=-1)),
        "cov_p": torch.diag_embed(cov_p.diagonal(dim1=-2, dim2=-1)),
    }
    for name, value in (
        ("swapped", _right(**swapped)),
        ("trace-upside-down", right + 0.5 * (inverse - stretch)),
        ("log-det-upside-down", right + log_stretch),
        ("no-log-det", right + 0.5 * log_stretch),
        ("no-logarithm", right + 0.5 * (log_stretch + (-log_stretch).exp())),
        ("no-dimension", right + 0.5 * size),
        ("dimension-added", right + size),
        ("dimension-is-batch", right + 0.5 * (size - len(mean_q))),
        ("no-half", 2.0 * right),
        ("half-of-a-part", 2.0 * right - 0.5 * stretch),
        ("half-of-a-part", right - 0.5 * log_stretch),
        ("diagonal-only", _right(**flat)),
        ("distance-under-q", right + 0.5 * (under_q - distance)),
        ("no-distance", right - 0.5 * distance),
        ("distance-plain", right + 0.5 * (shift.square().sum(-1) - distance)),
        ("inverse-of-q", right + 0.5 * (inverse - stretch + under_q - distance)),
        ("not-a-trace", right + 0.5 * (solved.sum((-2, -1)) - stretch)),
        ("not-a-trace", right + 0.5 * (entries.diagonal(dim1=-2, dim2=-1).sum(-1) - stretch)),
        ("not-inverted", right + 0.5 * (products - stretch)),
        ("not-inverted", right + 0.5 * (multiplied - distance)),
        ("not-inverted", right + 0.5 * (products - stretch + multiplied - distance)),
        ("batch-averaged", right.mean()),
        ("batch-summed", right.sum()),
    ):
        yield name, {"value": value}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return {"value": answers[0](**inputs)}


def _covariances(rng: np.random.Generator, batch: int, size: int) -> np.ndarray:
    """Random covariances with condition numbers below about 40."""
    rotations, _ = np.linalg.qr(rng.normal(size=(batch, size, size)))
    spread = rng.uniform(0.2, 3.0, size=(batch, 1, size))
    return (rotations * spread) @ rotations.transpose(0, 2, 1)


def _case(inputs: dict[str, Tensor], about: str) -> Case:
    right = _right(**inputs)
    return Case(inputs, {"value": right}, lambda: _mistaken(**inputs), about=about)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, size in ((1, 2), (3, 2), (4, 3), (2, 5)):
        inputs = {
            "mean_q": tensor(rng.normal(size=(batch, size))),
            "cov_q": tensor(_covariances(rng, batch, size)),
            "mean_p": tensor(rng.normal(size=(batch, size))),
            "cov_p": tensor(_covariances(rng, batch, size)),
        }
        yield _case(inputs, f"{size} dimensions")
    same = tensor(rng.normal(size=(2, 3))), tensor(_covariances(rng, 2, 3))
    yield _case(
        {"mean_q": same[0], "cov_q": same[1], "mean_p": same[0], "cov_p": same[1]},
        "equal distributions",
    )


EXERCISE = Exercise(
    id="2.3",
    functions=("kl_multivariate_gaussian",),
    returns="(batch,), one value per pair",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
