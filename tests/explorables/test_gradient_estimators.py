"""The four estimators in node, against `vae_lib.gradients` with the same noise and against quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vae_lib import gradients
from vae_lib.laboratory import LinearGaussianModel

TOLERANCE = 1e-6
S = 0.5  # of the figure's model
STATES = [(0.4, 0.3, 1.5), (1.2, 0.2, 1.5), (-1.0, 0.02, 3.0), (3.0, 1.0, 0.0)]


def by_library(m: float, v: float, x: float, n: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Gradients with respect to the mean, and the noise that they used."""

    def log_likelihood(z):
        return torch.distributions.Normal(z, S).log_prob(torch.tensor(x, dtype=torch.float64)).sum(-1)

    def log_joint(z):
        return log_likelihood(z) + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)

    q = {
        "mean": torch.tensor([m], dtype=torch.float64),
        "log_var": torch.tensor([v], dtype=torch.float64).log(),
        "n": n,
    }
    functions = {
        "score": (gradients.score_function, log_joint),
        "path": (gradients.pathwise, log_joint),
        "kl": (gradients.pathwise_analytic_kl, log_likelihood),
        "stl": (gradients.sticking_the_landing, log_joint),
    }
    found = {
        name: estimator(function, generator=torch.Generator().manual_seed(5), **q).mean[:, 0]
        for name, (estimator, function) in functions.items()
    }
    noise = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return found, noise.tolist()


@pytest.mark.parametrize(("m", "v", "x"), STATES)
def test_each_estimate_is_that_of_the_library(js, m, v, x):
    expected, noise = by_library(m, v, x, 200)
    found = js("gradientSamples", {"m": m, "v": v, "x": x}, noise)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values.tolist(), rel=TOLERANCE, abs=TOLERANCE), name


@pytest.mark.parametrize(("m", "v", "x"), STATES)
def test_the_exact_slope_is_that_of_the_exact_elbo(js, m, v, x):
    model = LinearGaussianModel(
        torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), variance=S**2
    )
    datum = torch.ones(1, 1, dtype=torch.float64)  # an encoder weight of m is the mean m at x = 1

    def elbo(mean: float) -> float:
        # the posterior mean is x/(1 + s²): shift x to 1 and the mean with it, and nothing changes
        shifted = mean + (1 - x) / (1 + S**2)
        encoder = torch.tensor([[shifted]], dtype=torch.float64)
        return model.elbo(datum, encoder, torch.tensor([v], dtype=torch.float64)).item()

    step = 1e-4
    slope = (elbo(m + step) - elbo(m - step)) / (2 * step)
    assert js("gradientExact", {"m": m, "v": v, "x": x}) == pytest.approx(slope, abs=TOLERANCE)


@pytest.mark.parametrize(("m", "v", "x"), STATES)
def test_the_variances_are_those_of_the_estimates(js, m, v, x):
    nodes = np.linspace(-12, 12, 1601)
    mass = np.exp(-0.5 * nodes**2) / math.sqrt(2 * math.pi) * (nodes[1] - nodes[0])
    state = {"m": m, "v": v, "x": x}
    samples = js("gradientSamples", state, nodes.tolist())
    variances = js("gradientVariances", state)
    exact = js("gradientExact", state)
    for name, values in samples.items():
        mean = (mass * np.array(values)).sum()
        assert mean == pytest.approx(exact, rel=TOLERANCE, abs=TOLERANCE), name
        variance = (mass * (np.array(values) - mean) ** 2).sum()
        assert variances[name] == pytest.approx(variance, rel=TOLERANCE, abs=TOLERANCE), name


def test_at_the_posterior_the_figure_shows_the_numbers_of_the_chapter(js):
    variances = js("gradientVariances", {"m": 1.2, "v": 0.2, "x": 1.5})
    assert {name: round(value, 1) for name, value in variances.items()} == {
        "score": 18.6,
        "path": 5.0,
        "kl": 3.2,
        "stl": 0.0,
    }


def test_the_noise_is_standard_normal_and_the_same_everywhere(js):
    noise = np.array(js("gradientNoise", 1, 20_000))
    assert noise.tolist() == js("gradientNoise", 1, 20_000)
    assert noise[:5].tolist() != js("gradientNoise", 2, 5)
    error = 1 / math.sqrt(20_000)
    assert abs(noise.mean()) < 5 * error
    assert abs((noise**2).mean() - 1) < 5 * math.sqrt(2) * error
    assert abs((noise**4).mean() - 3) < 5 * math.sqrt(96) * error
