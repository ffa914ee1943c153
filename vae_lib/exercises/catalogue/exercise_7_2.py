"""7.2 ln p(x) with small matrices only. Oracle: SciPy's density with the large covariance."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "largest_array"]

MISTAKES = {
    "too-large": "a matrix with D × D entries is built: all you need is q × q",
    "log-det-sign": "the sign of ln det M is turned",
    "no-log-det": "the log-determinant is missing",
    "log-det-unhalved": "the ½ does not reach the log-determinant",
    "decoder-alone": "this is ln p(x | z = 0): the latents widen the density by WWᵀ",
    "no-inverse": "the inverse of M is missing between the two Wᵀy",
    "identity-in-m": "the identity stands in M in place of σ²I",
    "constant-once": "ln 2π is not there D times",
    "negated": "the sign is turned: this is −ln p(x)",
    "pixel-averaged": "ln p(x) is divided by the number of pixels: they are summed",
    "single-precision": "the numbers are rounded to single precision: the tensors are float64, keep to it",
    "no-pixels": "the part (D − q) ln σ² is missing in the log-determinant",
    "no-logarithm": "det M stands where its logarithm belongs",
    "all-pixels": "ln σ² is counted D times: M holds q of its factors already",
    "distance-sign": "yᵀWM⁻¹Wᵀy is added: it is subtracted, what the latents explain shortens the distance",
    "distance-unscaled": "the distance is not divided by σ²",
    "no-noise": "σ² is missing in M = WᵀW + σ²I",
    "no-constant": "D ln 2π is missing",
    "no-half": "the ½ in front of everything is missing",
    "not-centred": "the mean is not subtracted from x",
    "std-for-variance": "the variance is squared, or its root is taken: it is σ² already",
    "batch-averaged": "the batch is averaged: keep one value per datum",
    "batch-summed": "the batch is summed: keep one value per datum",
}


class _Watch(TorchDispatchMode):
    """Notes the entries of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.entries = max(self.entries, leaf.numel())
        return out


def largest_array(call: Callable[[], Any]) -> tuple[Any, int]:
    """What a call returns, and about how many numbers the largest tensor or array in it had.

    It calls twice: what the first call has to import is no array.

    Example:
        >>> largest_array(lambda: torch.ones(20, 30).sum())[1]
        600
    """
    with _Watch() as watch:
        value = call()
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    try:
        call()
        by_numpy = (tracemalloc.get_traced_memory()[1] - before) // 8  # torch's own memory is not traced
    finally:
        if not tracing:
            tracemalloc.stop()
    # what is small is noise of the interpreter
    return value, max(watch.entries, by_numpy if by_numpy > 50_000 else 0)


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    value, entries = largest_array(lambda: answers[0](*inputs.values()))
    pixels = inputs["W"].shape[0]
    return {"value": value, "too large": float(pixels >= 200 and entries >= pixels**2)}


def _by_large_matrix(x: Tensor, weight: Tensor, mu: Tensor, variance: float) -> Tensor:
    from scipy.stats import multivariate_normal

    w = weight.numpy()
    covariance = w @ w.T + variance * np.eye(len(w))
    return tensor(multivariate_normal(mu.numpy(), covariance).logpdf(x.numpy())).reshape(len(x))


def _mistaken(
    x: Tensor, weight: Tensor, mu: Tensor, variance: float
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    right = _by_large_matrix(x, weight, mu, variance)
    pixels, latent = (int(size) for size in weight.shape)
    yield "too-large", {"value": right, "too large": 1.0}
    y, w = (x - mu).numpy(), weight.numpy()
    plain = w.T @ w
    small = plain + variance * np.eye(latent)

    def put_together(log_det: float, distance: np.ndarray) -> Tensor:
        return tensor(-0.5 * (pixels * math.log(2 * math.pi) + log_det + distance))

    def explained(m: np.ndarray, y: np.ndarray = y) -> np.ndarray:
        return ((y @ w) @ np.linalg.inv(m) * (y @ w)).sum(-1)

    inner = float(np.linalg.slogdet(small)[1])
    others = (pixels - latent) * math.log(variance)
    square = (y**2).sum(-1)
    distance = (square - explained(small)) / variance
    identity = plain + np.eye(latent)

    def rounded(got: Values) -> bool:
        if got["too large"] != (0.0,) or len(got["value"]) != len(right):
            return False
        away = (tensor(got["value"]) - right).abs() / (1 + right.abs())
        return bool(away.max() > 1e-9 and away.max() < 1e-3)

    yield "single-precision", rounded
    if len(right) > 1:
        yield "batch-averaged", {"value": right.mean()}
        yield "batch-summed", {"value": right.sum()}
    for name, value in (
        ("log-det-sign", put_together(-others - inner, distance)),
        ("no-log-det", put_together(0.0, distance)),
        ("log-det-unhalved", put_together(2 * (others + inner), distance)),
        ("decoder-alone", put_together(pixels * math.log(variance), square / variance)),
        ("no-inverse", put_together(others + inner, (square - explained(np.eye(latent))) / variance)),
        (
            "identity-in-m",
            put_together(
                others + float(np.linalg.slogdet(identity)[1]), (square - explained(identity)) / variance
            ),
        ),
        ("constant-once", right + (pixels - 1) / 2 * math.log(2 * math.pi)),
        ("constant-once", right + (pixels - latent) / 2 * math.log(2 * math.pi)),
        ("negated", -right),
        ("pixel-averaged", right / pixels),
        ("std-for-variance", _by_large_matrix(x, weight, mu, variance**0.5)),
        ("log-det-sign", put_together(others - inner, distance)),
        ("no-logarithm", put_together(others + math.exp(inner), distance)),
        ("no-pixels", put_together(inner, distance)),
        ("all-pixels", put_together(pixels * math.log(variance) + inner, distance)),
        ("distance-sign", put_together(others + inner, (square + explained(small)) / variance)),
        ("distance-unscaled", put_together(others + inner, square - explained(small))),
        (
            "no-noise",
            put_together(others + float(np.linalg.slogdet(plain)[1]), (square - explained(plain)) / variance),
        ),
        ("no-constant", right + pixels / 2 * math.log(2 * math.pi)),
        ("no-half", 2 * right),
        ("not-centred", _by_large_matrix(x, weight, torch.zeros_like(mu), variance)),
        ("std-for-variance", _by_large_matrix(x, weight, mu, variance**2)),
    ):
        yield name, {"value": value}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, pixels, latent in ((5, 4, 2), (1, 3, 1), (3, 240, 3)):
        x, weight = tensor(rng.normal(size=(batch, pixels)) + 1.0), tensor(rng.normal(size=(pixels, latent)))
        mu, variance = tensor(rng.normal(size=pixels)), float(rng.uniform(0.2, 0.7))
        values = (x, weight, mu, variance)
        yield Case(
            dict(zip(("x", "W", "mu", "variance"), values, strict=True)),
            {"value": _by_large_matrix(*values), "too large": 0.0},
            lambda values=values: _mistaken(*values),
            rtol=1e-8,
            about=f"{pixels} pixels",
        )


EXERCISE = Exercise(
    id="7.2",
    functions=("ppca_logpdf",),
    returns="(batch,), one value per datum",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
