"""The two figures of chapter 5 in node, against the laboratory and the likelihoods."""

from __future__ import annotations

import math

import pytest
import torch

from vae_lib.data import load
from vae_lib.explorables import sigma_weight
from vae_lib.laboratory import LinearGaussianModel, waterfill
from vae_lib.likelihoods import Bernoulli, ContinuousBernoulli

TOLERANCE = 1e-6
EIGENVALUES = [4.0, 1.5, 0.7, 0.3, 0.05, 0.0]


def data_of(eigenvalues: list[float]) -> torch.Tensor:
    """Points on the axes whose covariance has these eigenvalues exactly, (2 · axes, axes)."""
    size = torch.tensor(eigenvalues, dtype=torch.float64)
    points = torch.diag((len(eigenvalues) * size).sqrt())
    return torch.cat([points, -points])


SETTINGS = [(0.5, 1, 6), (0.5, 1, 2), (0.1, 3, 5), (2.0, 0.2, 4), (9.0, 1, 3)]


@pytest.mark.parametrize(("s2", "beta", "q"), SETTINGS)
def test_evidence_bound_and_rate_are_those_of_the_laboratory(js, s2, beta, q):
    found = js("linearVaeAt", EIGENVALUES, s2, beta, q)
    optimum = waterfill(torch.tensor(EIGENVALUES, dtype=torch.float64), s2, beta)
    weight = torch.diag(optimum.weight_squared.sqrt())[:, :q]
    model = LinearGaussianModel(weight, torch.zeros(6, dtype=torch.float64), s2)
    data = data_of(EIGENVALUES)
    encoder, variance = model.best_encoder(beta)
    elbo = model.elbo(data, encoder, variance).mean().item()
    evidence = model.log_evidence(data).mean().item()
    assert found["logEvidence"] == pytest.approx(evidence, abs=TOLERANCE)
    assert found["elbo"] == pytest.approx(elbo, abs=TOLERANCE)
    assert found["rate"] == pytest.approx(optimum.rate[:q].sum().item(), abs=TOLERANCE)
    assert found["active"] == optimum.active[:q].sum().item()
    assert found["weight"] == pytest.approx(2 * beta * s2)
    assert found["elbo"] <= found["logEvidence"] + 1e-12
    if beta == 1:
        assert found["elbo"] == pytest.approx(found["logEvidence"], abs=1e-12)
    else:
        assert found["elbo"] < found["logEvidence"] - 0.01


def test_the_numbers_of_the_figure_are_those_of_the_digits(js):
    eigenvalues = sigma_weight().spec["eigenvalues"]
    digits = load("digits", split="all").scaled().double()
    fitted = LinearGaussianModel.fit(digits, latent_dim=16)
    noise = js("fittedVariance", eigenvalues, 16)
    assert noise == pytest.approx(fitted.variance.item(), abs=TOLERANCE)
    best = js("linearVaeAt", eigenvalues, noise, 1, 16)
    assert best["logEvidence"] == pytest.approx(fitted.log_evidence(digits).mean().item(), abs=TOLERANCE)
    assert best["active"] == 16
    for factor in (0.9, 1.1):
        assert js("linearVaeAt", eigenvalues, noise * factor, 1, 16)["logEvidence"] < best["logEvidence"]


@pytest.mark.parametrize("lam", [0.01, 0.3, 0.494, 0.4951, 0.499999, 0.5, 0.52, 0.526, 0.9, 0.99])
def test_a_grey_pixel_has_the_density_and_the_mean_of_the_library(js, lam):
    logit = torch.logit(torch.tensor([lam], dtype=torch.float64))
    law = ContinuousBernoulli()(logit)
    for x in (0.0, 0.25, 0.7, 1.0):
        found = js("greyPixel", x, lam)
        log_p = law.log_prob(torch.tensor([x], dtype=torch.float64)).item()
        assert found["logEvidence"] == pytest.approx(log_p, abs=TOLERANCE)
        assert found["mean"] == pytest.approx(law.mean.item(), abs=TOLERANCE)
        assert found["mass"] == pytest.approx(math.exp(-found["logC"]))
        assert found["mass"] <= 0.5
        assert found["logEvidence"] == pytest.approx(found["logC"] - found["crossEntropy"])
    black_or_white = Bernoulli()(logit).log_prob(torch.ones(1, dtype=torch.float64)).item()
    assert js("greyPixel", 1, lam)["crossEntropy"] == pytest.approx(-black_or_white, abs=TOLERANCE)
