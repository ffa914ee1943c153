"""6.6 A relaxed objective. Oracle: powers of waiting times, row by row; a sum of p(x, z) over the codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import tensor
from vae_lib.exercises.compare import WrongForm, as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE", "Codes"]

MISTAKES = {
    "own-noise": "fresh noise is drawn inside: use the noise that is given",
    "hard": "the largest sum is turned into a one-hot code: that is the draw itself, not its relaxation",
    "temperature-multiplied": "the logits are multiplied by the temperature: divide by it",
    "noise-unused": "the noise is not used",
    "temperature-unused": "the temperature is not used, or only on the noise: divide the sum by it",
    "noise-unscaled": "only the logits are divided by the temperature: the noise is, too",
    "noise-subtracted": "the noise is subtracted: it is added",
    "probabilities": "the noise is added to the probabilities: add it to their logarithms",
    "no-entropy": "the entropy of q is missing",
    "entropy-subtracted": "the entropy of q is subtracted: it is added",
    "entropy-of-the-draw": "the entropy is taken at the relaxed draw: it is that of q, one number",
    "prior-twice": "a KL to the uniform prior is there: log_joint holds the prior, only H[q] is wanted",
    "entropy-unnormalised": "the entropy is made of the logits: it needs ln q, whose exponentials sum to one",
    "averaged": "the draws are averaged: keep one value per draw",
    "evidence-of-the-mean-code": "ln p(x) is taken at the mean of all codes: sum p(x, z) over the codes",
    "mean-of-logarithms": "ln p(x) is made of the ln p(x, z): add up the p(x, z), then take the logarithm",
    "evidence-averaged": "the p(x, z) are averaged: they hold the prior, so p(x) is their sum",
    "not-a-logarithm": "p(x) is returned: its logarithm is asked for",
    "largest-only": "ln p(x) is the largest ln p(x, z): all of them are summed",
    "one-draw-decides": "a single value above ln p(x) decides: it is the average that a bound is about",
    "turned": "the answer is turned round: it is true if the average lies above ln p(x)",
    "always-the-same": "the answer is the same for every objective",
    "mean-of-exponentials": "ln of the average exponential is compared: take the average itself",
    "std-for-standard-error": "five standard deviations are subtracted: an average has a smaller error",
    "variance-for-standard-error": "the variance of the draws is used: it takes their standard deviation",
    "few-errors": "one or two standard errors are subtracted: five are asked for",
    "either-side": "the answer is true far below ln p(x), too: only above it counts",
    "over-n": "the standard deviation is divided by the number of draws: by its square root",
    "no-standard-error": "the average is compared as it is: give it five of its standard errors",
}


@dataclass(frozen=True)
class Codes:
    """ln p(x, z) of a pixel whose mean is a code; z holds weights on the codes, (…, classes) -> (…)."""

    codes: Tensor
    log_prior: Tensor
    x: float
    std: float

    def __call__(self, z: Tensor) -> Tensor:
        density = torch.distributions.Normal(z @ self.codes, self.std)
        return density.log_prob(torch.tensor(self.x, dtype=self.codes.dtype)) + z @ self.log_prior

    def __repr__(self) -> str:
        return f"a pixel x = {self.x:.3g} with the noise {self.std:.3g} and {len(self.codes)} codes"


def _weights(logits: np.ndarray, gumbel: np.ndarray, temperature: float) -> np.ndarray:
    """Row by row: powers of the waiting times exp(−g)/q, as shares of their sum."""
    q = np.exp(logits - np.logaddexp.reduce(logits))
    rows = []
    for noise in gumbel:
        waits = [math.exp(-g) / share for g, share in zip(noise, q, strict=True)]
        shortest = min(waits)
        speeds = [(wait / shortest) ** (-1.0 / temperature) for wait in waits]
        rows.append([speed / math.fsum(speeds) for speed in speeds])
    return np.array(rows)


def _entropy(logits: np.ndarray) -> float:
    from scipy.stats import entropy

    return float(entropy(np.exp(logits - logits.max())))


def _log_evidence(log_joint: Codes, classes: int) -> float:
    each = [float(log_joint(row)) for row in torch.eye(classes, dtype=torch.float64)]
    top = max(each)
    return top + math.log(math.fsum(math.exp(value - top) for value in each))


def _mistaken(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Values | Callable[[Values], bool]]]:
    logits, gumbel = inputs["logits"].numpy(), inputs["gumbel"].numpy()
    temperature, log_joint = inputs["temperature"], inputs["log_joint"]
    classes, entropy = len(logits), _entropy(logits)
    objectives = inputs["objectives"]

    def at(z: np.ndarray) -> np.ndarray:
        return log_joint(tensor(z)).numpy()

    def soft(scores: np.ndarray) -> np.ndarray:
        return np.exp(scores - np.logaddexp.reduce(scores, -1)[:, None])

    z = _weights(logits, gumbel, temperature)
    value = at(z) + entropy
    q = np.exp(logits - np.logaddexp.reduce(logits))
    yield "own-noise", lambda got: got["objective"] != got["objective again"]
    plain = soft(np.log(q) / temperature + 0.0 * gumbel)
    for name, wrong in (
        ("hard", np.eye(classes)[(np.log(q) + gumbel).argmax(-1)]),
        ("temperature-unused", _weights(logits, gumbel, 1.0)),
        ("temperature-unused", soft(np.log(q) + gumbel / temperature)),
        ("temperature-multiplied", _weights(logits, gumbel, 1.0 / temperature)),
        ("noise-unused", plain),
        ("noise-unscaled", soft(np.log(q) / temperature + gumbel)),
        ("noise-subtracted", _weights(logits, -gumbel, temperature)),
        ("probabilities", soft((q + gumbel) / temperature)),
    ):
        yield name, {"objective": tensor(at(wrong) + entropy)}
    of_draw = -(z * np.log(np.maximum(z, 1e-300))).sum(-1)
    for name, changed in (
        ("no-entropy", value - entropy),
        ("entropy-subtracted", value - 2.0 * entropy),
        ("entropy-of-the-draw", at(z) + of_draw),
        ("entropy-of-the-draw", at(z) - z @ np.log(q)),
        ("prior-twice", value - math.log(classes)),
        ("entropy-unnormalised", at(z) - (q * logits).sum()),
        ("averaged", value.mean()),
    ):
        yield name, {"objective": tensor(changed)}
    each = at(np.eye(classes))
    yield "evidence-of-the-mean-code", {"log_evidence": tensor(at(np.full((1, classes), 1.0 / classes))[0])}
    yield "mean-of-logarithms", {"log_evidence": tensor(each.mean())}
    yield "mean-of-logarithms", {"log_evidence": tensor(each.sum())}
    yield "evidence-averaged", {"log_evidence": tensor(_log_evidence(log_joint, classes) - math.log(classes))}
    yield "not-a-logarithm", {"log_evidence": tensor(math.exp(_log_evidence(log_joint, classes)))}
    yield "largest-only", {"log_evidence": tensor(each.max())}
    exact = _log_evidence(log_joint, classes)
    right = [_exceeds(draws, exact) for draws in objectives]
    yield "one-draw-decides", {"exceeds": tensor([float(bool((d > exact).any())) for d in objectives])}
    of_exponentials = [
        _exceeds(d - d.mean() + torch.logsumexp(d, 0) - math.log(len(d)), exact) for d in objectives
    ]
    yield "mean-of-exponentials", {"exceeds": tensor(of_exponentials)}
    either = [
        max(truth, _exceeds(2.0 * exact - d, exact)) for truth, d in zip(right, objectives, strict=True)
    ]
    yield "either-side", {"exceeds": tensor(either)}
    yield "turned", {"exceeds": tensor([_exceeds(2.0 * exact - d, exact) for d in objectives])}
    yield "turned", {"exceeds": tensor([1.0 - truth for truth in right])}
    yield "always-the-same", {"exceeds": tensor([0.0 for _ in right])}
    yield "always-the-same", {"exceeds": tensor([1.0 for _ in right])}
    for name, errors in (
        ("no-standard-error", [0.0 for _ in objectives]),
        ("std-for-standard-error", [float(d.std()) for d in objectives]),
        ("variance-for-standard-error", [float(d.var()) / len(d) ** 0.5 for d in objectives]),
        ("few-errors", [0.2 * float(d.std()) / len(d) ** 0.5 for d in objectives]),
        ("few-errors", [0.4 * float(d.std()) / len(d) ** 0.5 for d in objectives]),
        ("over-n", [float(d.std()) / len(d) for d in objectives]),
    ):
        margins = [float(d.mean()) - 5.0 * error for d, error in zip(objectives, errors, strict=True)]
        yield name, {"exceeds": tensor([float(margin > exact) for margin in margins])}


def _exceeds(draws: Tensor, exact: float) -> float:
    values = draws.numpy()
    error = math.sqrt(values.var(ddof=1) / len(values))
    return float(values.mean() - 5.0 * error > exact)


def _truth(answer: Any) -> float:
    if answer is None or isinstance(answer, (str, list, tuple, dict)):
        raise WrongForm(f"the second value was {answer!r}; wanted True or False")
    return float(answer)


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    relaxed, exceeds = answers
    log_joint, logits = inputs["log_joint"], inputs["logits"]
    objective = relaxed(log_joint, logits, inputs["temperature"], inputs["gumbel"])
    pairs = [
        as_named(exceeds(log_joint, len(logits), draws.clone()), ("log_evidence", "exceeds"), of=tuple)
        for draws in inputs["objectives"]
    ]
    again = relaxed(log_joint, logits, inputs["temperature"], inputs["gumbel"])
    return {
        "objective": objective,
        "objective again": again,
        "log_evidence": pairs[0]["log_evidence"],
        "exceeds": [_truth(pair["exceeds"]) for pair in pairs],
    }


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for classes, draws, temperature in ((3, 6, 0.6), (2, 5, 2.5), (4, 4, 1.7)):
        prior = rng.dirichlet(np.full(classes, 3.0))
        log_joint = Codes(
            tensor(rng.normal(size=classes)),
            tensor(np.log(prior)),
            x=float(rng.normal()),
            std=float(rng.uniform(0.4, 0.7)),
        )
        logits, gumbel = rng.normal(size=classes), rng.gumbel(size=(draws, classes))
        exact = _log_evidence(log_joint, classes)
        # averages far above, above, below with a few draws above, above by three errors, by half an error,
        # by a tenth, and far below; above by eight errors of widely scattered draws, by three of narrow ones;
        # below by four
        noise = rng.normal(size=(10, 400))
        noise = (noise - noise.mean(-1, keepdims=True)) / noise.std(-1, ddof=1, keepdims=True)
        scales = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 0.3, 1.0)
        shifts = (9.0, 1.0, -1.0, 0.15, 0.025, 0.005, -9.0, 1.2, 0.045, -0.2)
        objectives = [
            exact + shift + scale * tensor(row)
            for shift, scale, row in zip(shifts, scales, noise, strict=True)
        ]
        value = log_joint(tensor(_weights(logits, gumbel, temperature))).numpy() + _entropy(logits)
        inputs = {
            "log_joint": log_joint,
            "logits": tensor(logits),
            "temperature": temperature,
            "gumbel": tensor(gumbel),
            "objectives": objectives,
        }
        yield Case(
            inputs,
            {
                "objective": tensor(value),
                "log_evidence": tensor(exact),
                "exceeds": tensor([_exceeds(row, exact) for row in objectives]),
            },
            lambda inputs=inputs: _mistaken(inputs),
            about=f"{classes} codes at the temperature {temperature:g}",
        )


EXERCISE = Exercise(
    id="6.6",
    functions=("relaxed_objective", "exceeds_evidence"),
    returns="the objective is (draws,); exceeds_evidence returns a number and True or False",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
