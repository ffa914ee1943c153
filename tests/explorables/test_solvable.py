"""The figures of the linear VAE in node, against the laboratory."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from vae_lib.laboratory import BugZoo, LinearGaussianModel, collapse_growth_rate, waterfill

TOLERANCE = 1e-6
SETTINGS = [(4.0, 0.25, 1.0), (4.0, 3.9, 1.0), (4.0, 4.1, 1.0), (2.0, 0.5, 3.0), (1.0, 0.4, 5.0)]


def scalar_model(w, variance):
    return LinearGaussianModel(
        torch.tensor([[w]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64), variance
    )


def typical(eigenvalue):
    """One x that stands for data of this variance, since every term is quadratic."""
    return torch.tensor([[math.sqrt(eigenvalue)]], dtype=torch.float64)


@pytest.mark.parametrize(("lam", "s2", "beta"), SETTINGS)
def test_the_landscape_is_the_elbo_of_the_library(js, lam, s2, beta):
    rng = np.random.default_rng(7)
    for w, v in rng.uniform(-2, 2, (10, 2)).tolist():
        found = js("landscapeValues", {"lam": lam, "s2": s2, "beta": beta, "w": w, "v": v})
        model, x = scalar_model(w, s2), typical(lam)
        d = model.best_encoder(beta)[1]
        encoder = torch.tensor([[v]], dtype=torch.float64), d
        assert found["d"] == pytest.approx(d.item(), abs=TOLERANCE)
        assert found["objective"] == pytest.approx(model.elbo(x, *encoder, beta=beta).item(), abs=TOLERANCE)
        assert found["elbo"] == pytest.approx(model.elbo(x, *encoder).item(), abs=TOLERANCE)
        assert found["logEvidence"] == pytest.approx(model.log_evidence(x).item(), abs=TOLERANCE)
        assert found["elbo"] <= found["logEvidence"] + 1e-12


@pytest.mark.parametrize(("lam", "s2", "beta"), SETTINGS)
def test_summit_and_growth_rate(js, lam, s2, beta):
    state = {"lam": lam, "s2": s2, "beta": beta}
    found, filled = js("landscapeOptimum", state), waterfill(torch.tensor([lam]).double(), s2, beta)
    assert found["active"] == filled.active.item()
    assert found["w"] ** 2 == pytest.approx(filled.weight_squared.item(), abs=TOLERANCE)
    assert found["d"] == pytest.approx(filled.encoder_variance.item(), abs=TOLERANCE)
    decoders = np.linspace(0, 4, 4001)
    variance = decoders**2 + s2
    best = (-0.5 * (np.log(2 * np.pi * variance) + lam / variance)).max()
    assert found["best"] == pytest.approx(best, abs=TOLERANCE)
    rate = collapse_growth_rate(lam, s2, beta).item()
    assert js("landscapeGrowth", state) == pytest.approx(rate, abs=TOLERANCE)


@pytest.mark.parametrize(("lam", "s2", "beta"), SETTINGS)
def test_the_climb_rises_all_the_way_and_ends_at_the_summit(js, lam, s2, beta):
    state = {"lam": lam, "s2": s2, "beta": beta, "w": 0.4, "v": -0.05}
    summit = js("landscapeOptimum", state)
    path = js("landscapeFlow", state, 20_000)
    heights = [
        js("landscapeValues", state | {"w": w, "v": v})["objective"]
        for w, v in itertools.islice(zip(path["w"], path["v"], strict=True), 0, None, 40)
    ]
    assert (np.diff(heights) > -1e-12).all()
    assert np.diff(path["t"]).min() > 0
    reached = np.array([abs(path["w"][-1]), abs(path["v"][-1])])
    assert reached == pytest.approx([summit["w"], summit["v"]], abs=2e-3)


def test_a_start_in_the_middle_stays_there(js):
    path = js("landscapeFlow", {"lam": 4, "s2": 0.25, "beta": 1, "w": 0, "v": 0})
    assert path == {"t": [0], "w": [0], "v": [0]}


@pytest.mark.parametrize(("a", "l1", "l2", "s2"), [(0, 4, 0.6, 0.3), (30, 4, 0.6, 0.3), (117, 0.5, 8, 0.45)])
def test_rotated_columns(js, a, l1, l2, s2):
    found = js("rotatedPosterior", {"a": a, "l1": l1, "l2": l2, "s2": s2})
    angle = math.radians(a)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()
    lengths = torch.tensor([l1, l2]).double()
    model = LinearGaussianModel((lengths - s2).sqrt().diag() @ turn, torch.zeros(2).double(), s2)
    x = (lengths.sqrt() * torch.tensor([1.0, -1.0]).double())[None]
    posterior, encoder = model.posterior(x), model.best_encoder()
    assert found["mean"] == pytest.approx(posterior.mean[0].tolist(), abs=TOLERANCE)
    covariance = posterior.covariance_matrix[0]
    assert np.array(found["covariance"]) == pytest.approx(covariance.numpy(), abs=TOLERANCE)
    assert found["d"] == pytest.approx(encoder[1].tolist(), abs=TOLERANCE)
    assert found["gap"] == pytest.approx(model.gap().item(), abs=TOLERANCE)
    assert found["logEvidence"] == pytest.approx(model.log_evidence(x).item(), abs=TOLERANCE)
    assert found["elbo"] == pytest.approx(model.elbo(x, *encoder).item(), abs=TOLERANCE)


@pytest.mark.parametrize(("lam", "s2"), [(4.0, 0.25), (1.5, 0.9), (16.0, 0.05)])
def test_every_row_of_the_zoo(js, lam, s2):
    zoo = BugZoo(lam, s2)
    for name in zoo.names:
        found, row = js("zooRow", name, lam, s2), zoo.row(name)
        wanted = {
            "w2": row.weight_squared,
            "v": row.encoder_weight,
            "d": row.encoder_variance,
            "reported": row.reported,
            "elbo": row.elbo,
            "logEvidence": row.log_evidence,
            "aggregate": row.aggregate_variance,
            "model": row.model_variance,
            "best": zoo.best_log_evidence(),
        }
        assert found == pytest.approx(wanted, abs=TOLERANCE), name


def test_the_objectives_also_of_losses_without_an_optimum(js):
    rng = np.random.default_rng(8)
    zoo = BugZoo(3.0, 0.4)
    for name in zoo.names + zoo.unbounded:
        for w, v, d in rng.uniform(0.1, 2.0, (5, 3)).tolist():
            found = js("zooObjective", name, 3.0, 0.4, w, v, d)
            assert found == pytest.approx(zoo.objective(name, w, v, d).item(), abs=TOLERANCE), name


@pytest.mark.parametrize("name", BugZoo.unbounded)
def test_a_loss_without_an_optimum_keeps_improving(js, name):
    reported = [js("zooRow", name, 4.0, 0.25, n)["reported"] for n in (1, 3, 10, 100, 1000)]
    assert (np.diff(reported) > 0).all()
    assert reported[-1] > BugZoo().best_log_evidence()
