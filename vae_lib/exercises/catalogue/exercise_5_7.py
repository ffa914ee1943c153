"""5.7 A Gaussian cut into levels. Oracle: the density in each bin, by quadrature from its nearer edge."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

MISTAKES = {
    "density-times-bin": "it is the density at the level, times the width of its bin: integrate over the bin",
    "closed-ends": "the end bins are closed: those of 0 and 255 reach to −∞ and +∞",
    "black-closed": "the bin of level 0 is closed: it reaches down to −∞",
    "white-closed": "the bin of level 255 is closed: it reaches up to +∞",
    "underflow": (
        "far from the mean the difference of two Φ has lost its digits, or is 0: stay in logarithms, and "
        "flip the bin to the side where Φ is small"
    ),
    "clipped": "a probability is clipped before the logarithm: far levels then cost too little",
    "ends-exchanged": "the two open ends change places: Φ is taken at the wrong edge of the end bins",
    "logistic": "that is the logistic distribution function: wanted Φ, that of the normal one",
    "s-as-variance": "s is used as a variance: it is a standard deviation",
    "bin-of-two": "the bin is two levels wide: it reaches half a level to either side",
    "bin-beside": "the bin lies beside the level: it reaches half a level to either side",
    "negated": "the sign is turned: that is the loss",
    "mean-over-pixels": "the pixels are averaged: the log-probability of an image is a sum over its pixels",
    "per-pixel": "the pixels are not added up: return one value per example",
    "batch-averaged": "the batch is averaged: keep one value per example",
}

_NODE, _WEIGHT = np.polynomial.legendre.leggauss(60)
_FAR = 60.0  # standard deviations that stand for infinity


def _log_bin(a: float, b: float) -> float:
    """ln of the standard normal's mass between a and b."""
    if a + b < 0:
        a, b = -b, -a  # the upper side
    start = max(a, 0.0)
    if a < 0:  # around the mean: both halves
        halves = [math.exp(_log_bin(0.0, -a)), math.exp(_log_bin(0.0, b))]
        return math.log(math.fsum(halves))
    reach = min(b, start + 12.0 / max(start, 1.0))
    total = 0.0
    pieces = max(1, math.ceil((reach - start) * max(start, 1.0)))
    for left, right in pairwise(np.linspace(start, reach, pieces + 1)):
        t = 0.5 * (left + right) + 0.5 * (right - left) * _NODE
        total += 0.5 * (right - left) * float(_WEIGHT @ np.exp(-0.5 * (t**2 - start**2)))
    return -0.5 * start**2 - 0.5 * math.log(2 * math.pi) + math.log(total)


def _by_pixel(x: Tensor, f: Tensor, s: float) -> Tensor:
    values = []
    for level, mean in zip(x.flatten().tolist(), f.flatten().tolist(), strict=True):
        low = -_FAR if level == 0 else (level - 0.5 - mean) / s
        high = _FAR if level == 255 else (level + 0.5 - mean) / s
        values.append(_log_bin(min(low, high - 1e-9), max(high, low + 1e-9)))
    return tensor(values).reshape(x.shape)


def _mistaken(x: Tensor, f: Tensor, s: float) -> Iterator[tuple[str, Values]]:
    each = _by_pixel(x, f, s)
    right = each.sum(-1)
    phi = torch.special.ndtr
    lower = (x - 0.5 - f) / s
    upper = lower + 1 / s
    black, white = x == 0, x == 255
    naive = phi(upper) - phi(lower)
    open_naive = torch.where(black, phi(upper), torch.where(white, 1 - phi(lower), naive))
    half_open = torch.where(white, 1 - phi(lower), naive)
    other_half = torch.where(black, phi(upper), naive)
    wide = phi((x + 1 - f) / s) - phi((x - 1 - f) / s)
    density = -0.5 * ((x - f) / s) ** 2 - 0.5 * math.log(2 * math.pi * s**2)
    root = math.sqrt(s)
    for name, value in (
        ("density-times-bin", density),
        ("closed-ends", naive.log()),
        ("black-closed", half_open.log()),
        ("white-closed", other_half.log()),
        ("underflow", open_naive.log()),
        ("s-as-variance", _by_pixel(x, f, root)),
        ("bin-of-two", wide.log()),
        ("bin-beside", (phi((x + 1 - f) / s) - phi((x - f) / s)).log()),
        ("negated", -each),
    ):
        yield name, {"value": value.sum(-1)}
    for name, changed in (
        ("bin-of-two", wide),
        ("bin-beside", phi((x + 1 - f) / s) - phi((x - f) / s)),
    ):
        ends = torch.where(black, phi(upper), torch.where(white, 1 - phi(lower), changed))
        yield name, {"value": ends.log().sum(-1)}
    log_ndtr = torch.special.log_ndtr
    turned = torch.where(black, log_ndtr(-lower), torch.where(white, log_ndtr(upper), each))
    yield "ends-exchanged", {"value": turned.sum(-1)}
    log_sigmoid = torch.nn.functional.logsigmoid
    inner = log_sigmoid(upper) + log_sigmoid(-lower) + math.log(-math.expm1(-1 / s))
    ends = torch.where(black, log_sigmoid(upper), torch.where(white, log_sigmoid(-lower), inner))
    yield "logistic", {"value": ends.sum(-1)}
    ends_only = torch.where(black, log_ndtr(upper), torch.where(white, log_ndtr(-lower), naive.log()))
    yield "underflow", {"value": ends_only.sum(-1)}
    lost = log_ndtr(upper) + torch.log1p(-torch.exp(log_ndtr(lower) - log_ndtr(upper)))
    one_sided = torch.where(black, log_ndtr(upper), torch.where(white, log_ndtr(-lower), lost))
    yield "underflow", {"value": one_sided.sum(-1)}
    for least in (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-20, 1e-30):
        yield "clipped", {"value": open_naive.clamp(min=least).log().sum(-1)}
        yield "clipped", {"value": (open_naive + least).log().sum(-1)}
    yield "mean-over-pixels", {"value": right / x.shape[-1]}
    yield "per-pixel", {"value": each}
    yield "batch-averaged", {"value": right.mean()}


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for about, batch, pixels in (("inside", 3, 2), ("the ends", 4, 2), ("far from the mean", 4, 1)):
        s = float(rng.uniform(0.5, 2.0))
        x = rng.integers(60, 190, size=(batch, pixels)).astype(float)
        f = x + s * rng.uniform(-1.5, 1.5, size=(batch, pixels))
        if about == "the ends":
            x[:2, 0], x[2:, 0] = 0.0, 255.0
            f[:, 0] = x[:, 0] + s * rng.uniform(-0.5, 0.5, size=batch)
        if about == "far from the mean":
            f = x + s * np.array([[-30.0], [-17.0], [17.0], [30.0]])
        inputs: dict[str, Any] = {"x": tensor(x), "f": tensor(f), "s": s}
        yield Case(
            inputs,
            {"value": _by_pixel(**inputs).sum(-1)},
            lambda inputs=inputs: _mistaken(**inputs),
            about=about,
        )


EXERCISE = Exercise(
    id="5.7",
    functions=("discretized_gaussian_loglik",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
)
