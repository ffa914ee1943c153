"""7.1 The best linear-Gaussian model. Oracle: data that are made to have a known covariance."""

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

__all__ = ["EXERCISE", "known_data"]

MISTAKES = {
    "noise-from-kept": "the noise is the mean of the variances that are kept: take those that are left over",
    "smallest-kept": "the smallest principal variances are kept: torch.linalg.eigh puts them first",
    "noise-summed": "the left-over variances are added up: the noise is their mean",
    "noise-over-all": "the left-over variances are divided by D: there are only D − q of them",
    "one-left-over": "the noise is one of the left-over variances: it is the mean of all of them",
    "mean-of-all": "the noise is the mean of all variances: take those that are left over",
    "axes-in-the-other-order": "lengths and axes do not match: eigh's columns rise as its values do",
    "n-minus-one": "the covariance is divided by N − 1: the maximum of the likelihood has N",
    "noise-std": "the square root of the noise is returned: what is wanted is a variance",
    "not-shortened": "the noise is not subtracted: a column's squared length is λ − σ², not λ",
    "no-root": "the square root is missing: λ − σ² is the squared length of a column",
    "rows-for-columns": "rows of the matrix of axes stand where its columns belong, or the other way round",
    "not-centred": "the mean of the data is not the mean of the model",
    "value-summed": "ln p(x) is added up over the data: the mean is wanted",
    "value-no-constant": "D ln 2π is missing in the value",
    "value-per-datum": "ln p(x) of each datum is returned: their mean is wanted",
    "value-per-pixel": "the value is divided by the number of pixels",
    "value-no-d": "a D is missing in the value: the trace of C⁻¹S, which is D at the optimum",
    "value-no-half": "the ½ is missing in the value",
}


def known_data(
    rng: np.random.Generator, count: int, variances: np.ndarray
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Data whose principal variances (over N) are exactly these; their axes as columns, and their mean."""
    size = len(variances)
    raw = rng.normal(size=(count, size))
    raw -= raw.mean(0)
    white = np.linalg.solve(np.linalg.cholesky(raw.T @ raw / count), raw.T).T
    axes = np.linalg.qr(rng.normal(size=(size, size)))[0]
    mean = rng.normal(size=size)
    return tensor(white * np.sqrt(variances) @ axes.T + mean), axes, mean


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    parts = as_named(answers[0](*inputs.values()), ("W", "mu", "variance", "mean ln p"), of=tuple)
    shape, flat = numbers(parts["W"])
    wanted = (inputs["x"].shape[1], inputs["q"])
    if shape != wanted:
        raise WrongForm(f"W has the shape {shape}; wanted (D, q) = {wanted}, one column for each latent")
    weight = torch.tensor(flat, dtype=torch.float64).reshape(shape)
    # any rotation of the latents is as good: W is compared through W Wᵀ
    return {"W Wᵀ": weight @ weight.T, **{name: parts[name] for name in ("mu", "variance", "mean ln p")}}


def _right(x: Tensor, axes: np.ndarray, mean: np.ndarray, variances: np.ndarray, q: int) -> dict[str, Any]:
    from scipy.stats import multivariate_normal

    noise = float(np.mean(variances[q:]))
    square = axes[:, :q] * (variances[:q] - noise) @ axes[:, :q].T
    density = multivariate_normal(mean, square + noise * np.eye(len(variances)))
    value = float(density.logpdf(x.numpy()).mean())
    return {"W Wᵀ": tensor(square), "mu": tensor(mean), "variance": noise, "mean ln p": value}


def _mistaken(
    x: Tensor, axes: np.ndarray, variances: np.ndarray, q: int, right: dict[str, Any]
) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    count, size = x.shape
    kept, left, noise = variances[:q], variances[q:], right["variance"]
    for name, value in (
        ("noise-from-kept", kept.mean()),
        ("smallest-kept", variances[: size - q].mean()),
        ("noise-summed", left.sum()),
        ("noise-over-all", left.sum() / size),
        ("one-left-over", left[0]),
        ("one-left-over", left[-1]),
        ("mean-of-all", variances.mean()),
        ("n-minus-one", noise * count / (count - 1)),
        ("noise-std", math.sqrt(noise)),
    ):
        yield name, {"variance": value}
    for name, squared in (("not-shortened", kept), ("no-root", (kept - noise) ** 2)):
        product = tensor(axes[:, :q] * squared @ axes[:, :q].T)
        yield name, {"variance": noise, "W Wᵀ": product}
    turned = axes[:, ::-1][:, :q]
    for lengths in (kept - noise, (kept - noise)[::-1]):
        yield "axes-in-the-other-order", {"variance": noise, "W Wᵀ": tensor(turned * lengths @ turned.T)}
    yield "value-per-datum", lambda got: len(got["mean ln p"]) == count
    # the sign of an axis is free: only the diagonal of W Wᵀ is certain
    crossed = axes.T[:, :q] ** 2 @ (kept - noise)
    yield (
        "rows-for-columns",
        lambda got: all(
            abs(got["W Wᵀ"][i * (size + 1)] - crossed[i]) < 1e-6 * (1 + crossed[i]) for i in range(size)
        ),
    )
    yield "not-centred", {"mu": torch.zeros(size, dtype=torch.float64)}
    exact = {"variance": noise, "W Wᵀ": right["W Wᵀ"]}
    for name, value in (
        ("value-summed", count * right["mean ln p"]),
        ("value-no-constant", right["mean ln p"] + size / 2 * math.log(2 * math.pi)),
        ("value-per-pixel", right["mean ln p"] / size),
        ("value-no-d", right["mean ln p"] + size / 2),
        ("value-no-half", 2 * right["mean ln p"]),
    ):
        yield name, exact | {"mean ln p": value}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for count, size, q in ((30, 5, 2), (12, 4, 1), (40, 7, 4)):
        gaps = rng.uniform(0.3, 1.5, size=size)
        variances = np.cumsum(gaps)[::-1].copy()
        x, axes, mean = known_data(rng, count, variances)
        right = _right(x, axes, mean, variances, q)
        yield Case(
            {"x": x, "q": q},
            right,
            lambda x=x, axes=axes, variances=variances, q=q, right=right: _mistaken(
                x, axes, variances, q, right
            ),
            about=f"{size} pixels and {q} latents",
        )


EXERCISE = Exercise(
    id="7.1",
    functions=("ppca_mle",),
    returns="W (D, q), mu (D,), variance and value one number each",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
