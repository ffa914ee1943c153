"""Five codes in node, against the laboratory's surgery, its grid, and one quadrature for each code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from vae_lib.laboratory import grid_elbo_surgery, grid_log_evidence

TOLERANCE = 1e-6
DATA = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64)


def states(count: int = 8):
    rng = np.random.default_rng(4)
    yield [-1.3, -0.65, 0.0, 0.65, 1.3], 0.3, 0.5
    yield [-3.0, -1.5, 0.0, 1.5, 3.0], 0.15, 0.5
    yield [0.0] * 5, 1.0, 0.2
    for _ in range(count):
        yield rng.uniform(-3, 3, 5).tolist(), rng.uniform(0.2, 1.5), rng.uniform(0.2, 2.0)


def decoder(z, means, s):
    return (-0.5 * ((z[..., None] - torch.tensor(means, dtype=z.dtype)) / s) ** 2).softmax(-1) @ DATA


@pytest.mark.parametrize(("means", "s", "n"), list(states()))
def test_rate_information_and_mismatch_are_the_laboratorys(js, means, s, n):
    found = js("fiveCodes", {"means": means, "s": s, "n": n})
    parts = grid_elbo_surgery(
        torch.tensor(means, dtype=torch.float64)[:, None], torch.full((5, 1), s, dtype=torch.float64)
    )
    assert found["rate"] == pytest.approx(parts.average_kl.item(), abs=TOLERANCE)
    assert found["information"] == pytest.approx(parts.mutual_information.item(), abs=TOLERANCE)
    assert found["mismatch"] == pytest.approx(parts.aggregate_kl.item(), abs=TOLERANCE)
    assert found["information"] + found["mismatch"] == pytest.approx(found["rate"], abs=TOLERANCE)


@pytest.mark.parametrize(("means", "s", "n"), list(states()))
def test_elbo_and_evidence_are_those_of_the_decoder(js, means, s, n):
    found = js("fiveCodes", {"means": means, "s": s, "n": n})
    for z in (-2.5, 0.1, 3.0):
        wanted = decoder(torch.tensor(z, dtype=torch.float64), means, s).item()
        assert js("fiveDecoder", z, means, s) == pytest.approx(wanted, abs=TOLERANCE)

    def log_likelihood(x, z):
        return Normal(decoder(z[:, 0], means, s)[:, None], n).log_prob(x[:, 0])

    evidence = grid_log_evidence(log_likelihood, DATA[:, None], latent_dim=1, points=40_001)
    assert found["logEvidence"] == pytest.approx(evidence.mean().item(), abs=TOLERANCE)

    u = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    weight = torch.exp(-0.5 * u**2) * (u[1] - u[0]) / math.sqrt(2 * math.pi)
    fits = []
    for x, mean in zip(DATA, means, strict=True):
        fits.append((weight * Normal(decoder(mean + s * u, means, s), n).log_prob(x)).sum().item())
    assert -found["distortion"] == pytest.approx(np.mean(fits), abs=TOLERANCE)
    assert found["elbo"] == pytest.approx(np.mean(fits) - found["rate"], abs=TOLERANCE)
    assert found["elbo"] <= found["logEvidence"] + 1e-12


def test_the_best_even_codes_are_better_than_their_neighbours(js):
    best = js("fiveBest", 0.5)

    def elbo(a, s):
        return js("fiveCodes", {"means": (a * DATA).tolist(), "s": s, "n": 0.5})["elbo"]

    top = elbo(best["a"], best["s"])
    for da, ds in ((0.05, 1), (-0.05, 1), (0, 1.1), (0, 1 / 1.1)):
        assert elbo(best["a"] + da, best["s"] * ds) < top
    assert js("fiveBest", 2.0)["a"] < 0.6 * best["a"], "more noise, smaller codes"
