"""The two figures of chapter 1 in node, against the laboratory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from vae_lib.laboratory import Ring, samples_needed

TOLERANCE = 1e-6


def test_the_bent_cloud_ends_as_the_ring_and_starts_as_noise(js):
    x = Ring().sample(30, torch.Generator().manual_seed(2))
    for point, value in zip(x.tolist(), Ring().log_prob(x).tolist(), strict=True):
        assert js("bentLogPdf", *point, 1) == pytest.approx(value, abs=TOLERANCE)
    for point in x.tolist():
        noise = Normal(0.0, 1.0).log_prob(torch.tensor(point, dtype=torch.float64)).sum().item()
        assert js("bentLogPdf", *point, 0) == pytest.approx(noise, abs=TOLERANCE)
    assert js("bentEntropy", 1) == pytest.approx(Ring().entropy.item(), abs=TOLERANCE)
    assert js("bentEntropy", 0) == pytest.approx(math.log(2 * math.pi * math.e), abs=TOLERANCE)


@pytest.mark.parametrize("t", [0.25, 0.6, 1.0])
def test_half_way_the_density_is_that_of_a_smooth_map(js, t):
    """The change of variables by autograd, on the script's own points."""
    z = torch.tensor(js("bentPoints", 40, 0), dtype=torch.float64).reshape(-1, 2)
    x = torch.tensor(js("bentPoints", 40, t), dtype=torch.float64).reshape(-1, 2)

    def bend(point):
        return (1 - t) * point + t * (point / 10 + point / point.norm())

    slopes = torch.func.vmap(torch.func.jacrev(bend))(z)
    log_p = Normal(0.0, 1.0).log_prob(z).sum(-1) - slopes.det().abs().log()
    assert torch.allclose(torch.stack([bend(point) for point in z]), x, atol=TOLERANCE)
    for point, value in zip(x.tolist(), log_p.tolist(), strict=True):
        assert js("bentLogPdf", *point, t) == pytest.approx(value, abs=TOLERANCE)


def test_the_points_have_the_mean_that_the_line_shows_and_no_gaussian_beats_it(js):
    for t in (0.0, 0.5, 1.0):
        x = torch.tensor(js("bentPoints", 2000, t), dtype=torch.float64).reshape(-1, 2)
        log_p = np.array([js("bentLogPdf", *point, t) for point in x.tolist()])
        ceiling = -js("bentEntropy", t)
        assert abs(log_p.mean() - ceiling) < 5 * log_p.std() / math.sqrt(2000)
        gaussian = Normal(0.0, x.square().mean().sqrt()).log_prob(x).sum(-1)
        best = js("bestGaussian", t)
        assert best == pytest.approx(gaussian.mean().item(), abs=0.15)
        assert best <= ceiling + 1e-9
    assert js("bestGaussian", 0) == pytest.approx(-js("bentEntropy", 0), abs=TOLERANCE)
    assert js("bentLogPdf", 0.5, 0.0, 1) is None, "minus infinity has no JSON"


@pytest.mark.parametrize(("d", "s"), [(1, 0.5), (2, 0.5), (10, 0.5), (5, 0.1), (50, 2.0)])
def test_the_price_is_that_of_the_laboratory(js, d, s):
    assert js("wallDraws", d, s, 0.1) == pytest.approx(samples_needed(d, s, 0.1), rel=1e-9)
    typical = torch.full((d,), math.sqrt(1 + s * s), dtype=torch.float64)
    evidence = Normal(0.0, typical[0]).log_prob(typical).sum().item()
    assert js("wallLogEvidence", d, s) == pytest.approx(evidence, abs=TOLERANCE)


@pytest.mark.parametrize(("d", "s"), [(1, 0.5), (2, 0.7), (3, 0.8), (4, 1.2)])
def test_estimates_are_unbiased_and_spread_as_the_formula_says(js, d, s):
    found = js("wallEstimates", d, s, 20, 3000, 5)
    ratio = np.exp(found["logs"])
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / math.sqrt(3000)
    squares = (ratio - 1) ** 2
    relative = math.expm1(d * js("wallLogRho", s)) / 20
    assert abs(squares.mean() - relative) < 5 * squares.std() / math.sqrt(3000)
    assert np.mean(found["logs"]) < 0
    assert min(found["ess"]) >= 1 - 1e-9
    assert max(found["ess"]) <= 20 + 1e-9
