"""2.4 The rearrangement on a discrete model. Oracle: loops over the latent values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vae_lib.exercises.catalogue.oracles import kl_of_rows, tables, tensor
from vae_lib.exercises.compare import as_named
from vae_lib.exercises.exercise import Case, Exercise, Values

__all__ = ["EXERCISE"]

NAMES = ("log_evidence", "elbo", "kl")

MISTAKES = {
    "aggregate-weights": (
        "the weights are q(z), the average of q(z|x) over the batch: weight and denominator must "
        "be the same q(z|x), or the bound is no bound"
    ),
    "kl-to-prior": (
        "kl is KL(q‖p(z)), the distance to the prior: the rearrangement needs the distance to the "
        "posterior p(z|x)"
    ),
    "kl-negated": "the sign of kl is wrong",
    "kl-swapped": "kl is KL(p(z|x)‖q): the average must be over q",
    "no-entropy": "−ln q(z|x) is missing in the elbo: that is E_q ln p(x,z)",
    "entropy-sign": "ln q(z|x) is added in the elbo: it is subtracted",
    "no-prior": "the prior is missing in the elbo: the joint is p(x|z) p(z)",
    "prior-only": "the likelihood is missing in the elbo: that is −KL(q‖p(z))",
    "reconstruction-only": "the elbo is only E_q ln p(x|z): the prior and −ln q(z|x) are missing",
    "elbo-negated": "the sign of the elbo is turned: that is the loss",
    "log-outside": (
        "the logarithm of the elbo is taken after the average: ln E_q[p(x,z)/q] is ln p(x) again"
    ),
    "evidence-without-prior": "ln p(x) is summed without the prior: p(x) = Σ p(x|z) p(z)",
    "evidence-by-jensen": "ln p(x) averages ln p(x|z) over the prior: the logarithm comes last",
    "not-logged": "log_evidence is p(x): its logarithm is missing",
    "batch-averaged": "the batch is averaged: keep one value per example",
}


def _enumerate(q: Sequence[float], prior: Sequence[float], likelihood: Sequence[float]) -> dict[str, float]:
    """Every sum over z of one example, by loops; `likelihood` is p(x|z) at the x of this example."""
    joint = [a * b for a, b in zip(prior, likelihood, strict=True)]
    evidence = math.fsum(joint)
    posterior = [a / evidence for a in joint]
    average = lambda values: math.fsum(w * v for w, v in zip(q, values, strict=True))  # noqa: E731
    energy = average(map(math.log, joint))
    entropy = -average(map(math.log, q))
    return {
        "log_evidence": math.log(evidence),
        "kl": kl_of_rows(q, posterior),
        "elbo": energy + entropy,
        "energy": energy,
        "entropy": entropy,
        "reconstruction": average(map(math.log, likelihood)),
        "kl_to_prior": kl_of_rows(q, prior),
        "kl_swapped": kl_of_rows(posterior, q),
        "summed_likelihood": math.log(math.fsum(likelihood)),
        "prior_average": math.fsum(a * math.log(b) for a, b in zip(prior, likelihood, strict=True)),
    }


def _tabulate(q: Tensor, prior: Tensor, likelihood: Tensor, x: Tensor) -> dict[str, Tensor]:
    rows = [
        _enumerate(weights, prior.tolist(), likelihood[:, symbol].tolist())
        for weights, symbol in zip(q.tolist(), x.tolist(), strict=True)
    ]
    return {name: tensor([row[name] for row in rows]) for name in rows[0]}


def _slip(q: Tensor, prior: Tensor, likelihood: Tensor, x: Tensor) -> Tensor:
    """Σ q(z) ln [p(x,z)/q(z|x)] with q(z) the average of the rows of q."""
    aggregate = [math.fsum(column) / len(q) for column in zip(*q.tolist(), strict=True)]
    return tensor(
        [
            math.fsum(
                a * (math.log(b) + math.log(c) - math.log(d))
                for a, b, c, d in zip(
                    aggregate, prior.tolist(), likelihood[:, symbol].tolist(), row, strict=True
                )
            )
            for row, symbol in zip(q.tolist(), x.tolist(), strict=True)
        ]
    )


def _mistaken(**inputs: Tensor) -> Iterator[tuple[str, Values]]:
    table = _tabulate(**inputs)
    right = {name: table[name] for name in NAMES}
    evidence = right["log_evidence"]
    for name, changes in (
        ("kl-to-prior", {"kl": table["kl_to_prior"]}),
        ("kl-negated", {"kl": -table["kl"]}),
        ("kl-swapped", {"kl": table["kl_swapped"]}),
        ("evidence-without-prior", {"log_evidence": table["summed_likelihood"]}),
        ("evidence-by-jensen", {"log_evidence": table["prior_average"]}),
        ("not-logged", {"log_evidence": evidence.exp()}),
        ("batch-averaged", {key: value.mean() for key, value in right.items()}),
    ):
        yield name, right | changes
    for name, elbo in (
        ("aggregate-weights", _slip(**inputs)),
        ("no-entropy", table["energy"]),
        ("entropy-sign", table["energy"] - table["entropy"]),
        ("no-prior", table["reconstruction"] + table["entropy"]),
        ("prior-only", -table["kl_to_prior"]),
        ("reconstruction-only", table["reconstruction"]),
        ("elbo-negated", -table["elbo"]),
        ("log-outside", evidence),
    ):
        yield name, right | {"elbo": elbo}
        yield name, right | {"elbo": elbo, "kl": evidence - elbo}
        yield name, right | {"elbo": elbo, "log_evidence": elbo + right["kl"]}


def _run(answers: Sequence[Callable[..., Any]], inputs: Mapping[str, Any]) -> Values:
    return as_named(answers[0](*inputs.values()), NAMES, of=dict)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for batch, latents, symbols in ((2, 2, 2), (1, 3, 4), (4, 3, 4), (5, 6, 3)):
        inputs = {
            "q": tables(rng, batch, latents),
            "prior": tables(rng, 1, latents)[0],
            "likelihood": tables(rng, latents, symbols),
            "x": tensor(rng.integers(symbols, size=batch)).long(),
        }
        table = _tabulate(**inputs)
        yield Case(
            inputs,
            {name: table[name] for name in NAMES},
            lambda inputs=inputs: _mistaken(**inputs),
            about=f"{latents} latent values",
        )


EXERCISE = Exercise(
    id="2.4",
    functions=("rearrange",),
    returns="(batch,), one value per example",
    mistakes=MISTAKES,
    cases=_cases,
    run=_run,
)
