"""4.4 ELBO surgery. Oracle: for each code its own sum over a grid in the units of that code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import kl_by_quadrature, tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

NAMES = ("rate", "information", "mismatch")

MISTAKES = {
    "rate-log": "ln σ is halved in the rate: ½ ln σ² is ln σ",
    "mean-of-logs": "the logarithms are averaged: q_agg averages the densities, and its logarithm comes last",
    "most-information": "ln N stands for the information: the most there can be, if no codes overlap",
    "short-grid": "the grid ends where codes still have mass: a mean may be 5, and a std 1",
    "swapped": "information and mismatch change places: the information compares a code with the aggregate",
    "entropy-of-aggregate": (
        "the entropy of the aggregate stands for the information: subtract the mean entropy of the codes"
    ),
    "information-is-rate": "the information is the whole rate: compare each code with q_agg, not the prior",
    "information-reversed": "the information is averaged over q_agg: each code averages its own log-ratio",
    "information-negated": "the sign of the information is turned: it is never negative",
    "no-count": "q_agg is the sum of the codes and not their mean: −ln N is missing in its logarithm",
    "mismatch-reversed": "the mismatch is KL(p(z)‖q_agg): the average belongs to q_agg",
    "mismatch-by-moments": (
        "q_agg is replaced by the Gaussian of its mean and variance: a mixture of bells is no bell"
    ),
    "averaged-parameters": "q_agg is replaced by the Gaussian of averaged parameters: average the densities",
    "not-averaged": "the codes are summed: each of the three is a mean over the codes",
    "no-spacing": "the spacing of the grid is missing: a sum over nodes is an integral only times it",
    "nan": (
        "a density that has underflowed to 0 is divided or put into a logarithm: keep the log-densities, and "
        "take the exponential of the weight alone"
    ),
    "variance-for-std": "std is read as a variance: it is a standard deviation",
}


def _bell(z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return -0.5 * ((z - mean) / std) ** 2 - std.log() - 0.5 * math.log(2.0 * math.pi)


def _parts(mean: Tensor, std: Tensor) -> dict[str, Tensor]:
    """Averages over every code of log-ratios, at nodes that move with the code."""
    u = torch.linspace(-10.0, 10.0, 801, dtype=torch.float64)
    share = torch.exp(-0.5 * u.square())
    share = share / share.sum()
    z = mean[:, None] + std[:, None] * u  # (codes, nodes)
    each = _bell(z[..., None], mean, std)  # (codes, nodes, codes)
    log_q = _bell(z, mean[:, None], std[:, None])
    log_aggregate = torch.logsumexp(each, -1) - math.log(len(mean))
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    log_prior = _bell(z, zero, one)
    over = lambda values: (values @ share).mean()  # noqa: E731
    wide = torch.linspace(-10.0, 10.0, 4001, dtype=torch.float64)
    prior = _bell(wide, zero, one)
    averaged = _bell(wide[:, None], mean, std).mean(-1)
    aggregate = torch.logsumexp(_bell(wide[:, None], mean, std), -1) - math.log(len(mean))
    return {
        "rate": kl_by_quadrature(mean, std).mean(),
        "information": over(log_q - log_aggregate),
        "mismatch": over(log_aggregate - log_prior),
        "mean_log_information": over(log_q - each.mean(-1)),
        "mean_log_mismatch": (averaged.exp() * (averaged - prior)).sum() * (wide[1] - wide[0]),
        "entropy": over(-log_aggregate),
        "information_reversed": (
            (aggregate.exp()[:, None] * (aggregate[:, None] - _bell(wide[:, None], mean, std))).mean(1).sum()
            * (wide[1] - wide[0])
        ),
        "reversed": (prior.exp() * (prior - aggregate)).sum() * (wide[1] - wide[0]),
    }


def _cut(mean: Tensor, std: Tensor, end: float) -> dict[str, float]:
    """Information and mismatch on a grid from −end to end."""
    z = torch.linspace(-end, end, 4001, dtype=torch.float64)
    each = _bell(z[:, None], mean, std)
    aggregate = torch.logsumexp(each, -1) - math.log(len(mean))
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    told = (each.exp() * (each - aggregate[:, None])).mean(-1)
    missed = aggregate.exp() * (aggregate - _bell(z, zero, one))
    return {
        "information": float(torch.trapezoid(told, z)),
        "mismatch": float(torch.trapezoid(missed, z)),
    }


def _close_to(got: Values, wanted: Mapping[str, float]) -> bool:
    """Up to what a grid with other nodes changes at its ends."""
    return all(abs(got[name][0] - value) < 5e-3 * (1.0 + abs(value)) for name, value in wanted.items())


def _scaled(got: Values, right: Mapping[str, Tensor]) -> bool:
    """Whether information, mismatch or both are what they should be, divided by one small number."""
    factors = [got[name][0] / float(right[name]) for name in ("information", "mismatch")]
    far = [factor for factor in factors if abs(factor - 1.0) > 1e-3]
    return bool(far) and min(far) > 4.5 and max(far) - min(far) < 1e-3 * max(far)


def _mistaken(mean: Tensor, std: Tensor) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    found = _parts(mean, std)
    right = {name: found[name] for name in NAMES}
    rate, information, mismatch = right.values()
    count = len(mean)
    spread = (std.square().mean() + mean.var(correction=0)).sqrt()
    by_moments = kl_by_quadrature(mean.mean(), spread)
    by_average = kl_by_quadrature(mean.mean(), std.mean())

    yield "swapped", right | {"information": mismatch, "mismatch": information}
    yield "entropy-of-aggregate", right | {"information": found["entropy"]}
    whole, turned = found["entropy"], found["reversed"]
    yield "entropy-of-aggregate", right | {"information": whole, "mismatch": rate - whole}
    yield "information-is-rate", right | {"information": rate}
    yield "information-is-rate", right | {"information": rate, "mismatch": 0.0 * rate}
    yield "information-reversed", right | {"information": found["information_reversed"]}
    yield "information-negated", right | {"information": -information}
    yield "no-spacing", lambda got: _scaled(got, right)
    yield "nan", lambda got: any(not math.isfinite(got[name][0]) for name in ("information", "mismatch"))
    yield "information-negated", right | {"information": -information, "mismatch": rate + information}
    less = information - math.log(count)
    for changed in (mismatch, count * (mismatch + math.log(count)), mismatch + math.log(count), rate - less):
        yield "no-count", right | {"information": less, "mismatch": changed}
    yield "no-count", right | {"mismatch": count * (mismatch + math.log(count))}
    yield "no-count", right | {"mismatch": mismatch + math.log(count)}
    yield "mismatch-reversed", right | {"mismatch": found["reversed"]}
    yield "mismatch-reversed", right | {"mismatch": turned, "information": rate - turned}
    for name, value in (("mismatch-by-moments", by_moments), ("averaged-parameters", by_average)):
        yield name, right | {"mismatch": value}
        yield name, right | {"mismatch": value, "information": rate - value}
    to_average = kl_by_quadrature(mean, std, mean.mean(), std.mean()).mean()
    yield "averaged-parameters", right | {"information": to_average, "mismatch": by_average}
    to_moments = kl_by_quadrature(mean, std, mean.mean(), spread).mean()
    yield "mismatch-by-moments", right | {"information": to_moments, "mismatch": by_moments}
    slip = rate + 0.5 * std.log().mean()
    yield "rate-log", right | {"rate": slip}
    yield "rate-log", right | {"rate": slip, "information": slip - mismatch}
    yield "rate-log", right | {"rate": slip, "mismatch": slip - information}
    log_information, log_mismatch = found["mean_log_information"], found["mean_log_mismatch"]
    yield "mean-of-logs", right | {"information": log_information, "mismatch": log_mismatch}
    yield "mean-of-logs", right | {"information": rate - log_mismatch, "mismatch": log_mismatch}
    yield "mean-of-logs", right | {"information": log_information}
    most = torch.tensor(math.log(count), dtype=torch.float64)
    yield "most-information", right | {"information": most}
    yield "most-information", right | {"information": most, "mismatch": rate - most}
    for end in (3.0, 4.0, 5.0, 6.0):
        cut = _cut(mean, std, end)
        yield "short-grid", partial(_close_to, wanted=cut)
    yield "not-averaged", {"rate": count * rate, "information": count * information, "mismatch": mismatch}
    yield "not-averaged", {name: count * value for name, value in right.items()}
    yield "not-averaged", right | {"rate": count * rate}
    yield "not-averaged", right | {"information": count * information}
    wrong = _parts(mean, std.sqrt())
    yield "variance-for-std", {name: wrong[name] for name in NAMES}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return as_named(answers[0](**inputs), NAMES, of=tuple)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for codes, narrow, wide in ((5, 0.2, 0.9), (12, 0.15, 0.6), (2, 0.1, 0.3)):
        mean = rng.normal(size=codes) + 0.4
        if codes == 5:
            mean[:2] = (-4.8, 4.7)  # bells that reach beyond 5
        if codes == 2:
            mean = np.array([-1.6, 1.2]) + 0.2 * rng.normal(size=2)
        inputs = {"mean": tensor(mean), "std": tensor(rng.uniform(narrow, wide, size=codes))}
        found = _parts(**inputs)
        yield Case(
            inputs,
            {name: found[name] for name in NAMES},
            lambda inputs=inputs: _mistaken(**inputs),
            atol=2e-5,
            about=f"{codes} codes",
        )


EXERCISE = Exercise(
    id="4.4",
    functions=("elbo_surgery",),
    returns="three numbers, tensors of the shape ()",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
