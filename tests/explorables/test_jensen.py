"""Jensen's chord in node, against the laboratory and against the other form of the gap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vae_lib.laboratory import DiscreteLatentModel

TOLERANCE = 1e-6


def laws(count: int = 20):
    rng = np.random.default_rng(3)
    for _ in range(count):
        yield rng.uniform(0.05, 6.0, 3).tolist(), rng.dirichlet(np.ones(3)).tolist()


def test_the_logarithm_gives_evidence_elbo_and_gap_of_a_table_model(js):
    """With q for the prior, the weight of a latent value is its likelihood; here scaled to at most one."""
    for values, chances in laws():
        found = js("jensenSides", "log", values, chances)
        q = torch.tensor([chances], dtype=torch.float64)
        likelihood = torch.tensor(values, dtype=torch.float64) / 10
        model = DiscreteLatentModel(q[0], torch.stack([likelihood, 1 - likelihood], 1))
        x = torch.tensor([0])
        scale = math.log(10)
        assert found["fOfMean"] == pytest.approx(model.log_evidence(x).item() + scale, abs=TOLERANCE)
        assert found["meanOfF"] == pytest.approx(model.elbo(q, x).item() + scale, abs=TOLERANCE)
        assert found["gap"] == pytest.approx(model.kl_to_posterior(q, x).item(), abs=TOLERANCE)


@pytest.mark.parametrize(("name", "sign"), [("log", 1), ("sqrt", 1), ("line", 0), ("square", -1)])
def test_the_sign_of_the_gap_is_the_bend_of_the_curve(js, name, sign):
    f = {"log": np.log, "sqrt": np.sqrt, "line": lambda t: t / 2, "square": lambda t: t**2 / 6}[name]
    for values, chances in laws():
        found = js("jensenSides", name, values, chances)
        assert found["mean"] == pytest.approx(np.average(values, weights=chances), abs=TOLERANCE)
        mean_of_f = np.average(f(np.array(values)), weights=chances)
        assert found["meanOfF"] == pytest.approx(mean_of_f, abs=TOLERANCE)
        assert found["fOfMean"] == pytest.approx(f(found["mean"]), abs=TOLERANCE)
        assert (found["gap"] > 1e-12) - (found["gap"] < -1e-12) == sign
    assert js("jensenSides", name, [2.5] * 3, [0.2, 0.3, 0.5])["gap"] == pytest.approx(0, abs=1e-12)


def test_weights_become_chances(js):
    assert js("jensenChances", [1, 3, 0]) == [0.25, 0.75, 0]
    assert js("jensenChances", [0, 0, 0]) == pytest.approx([1 / 3] * 3)
