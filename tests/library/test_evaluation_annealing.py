"""ln p(x) from below and above: against closed forms and the grid, and weights whose mean is known."""

import math

import pytest
import torch
from torch import nn

from vae_lib.evaluation import ais, annealing, mean_over_examples, sandwich
from vae_lib.evaluation.hmc import adapted, hmc
from vae_lib.laboratory import grid_log_evidence
from vae_lib.models import AutoEncoder
from vae_lib.networks import linear_gaussian_model, linear_vae, mlp_vae

pytestmark = pytest.mark.usefixtures("one_thread")


def linear(variance=1.0):
    """A linear VAE in float64 whose posterior is much narrower than its prior, and its closed form."""
    model = linear_vae(6, 2, seed=0).double()
    with torch.no_grad():
        weight = model.decoder.network[0].weight
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        model.decoder.likelihood.log_var.fill_(math.log(variance))
    return model, linear_gaussian_model(model)


def curved(pixels=12, latent=2):
    """A VAE of black-or-white pixels whose encoder knows nothing."""
    model = mlp_vae(pixels, latent, hidden=(8,), seed=0)
    with torch.no_grad():
        model.decoder.network[0].weight *= 2
        model.decoder.network[-1].weight *= 2
        model.encoder.network[-1].weight.zero_()
    return model


def grid(model, x):
    with torch.no_grad():
        return grid_log_evidence(model.log_likelihood, x, latent_dim=2, points=81)


# --- the bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["prior", "encoder"])
def test_the_exact_value_lies_between(start):
    model, exact = linear()
    bounds = sandwich(model, 64, chains=8, temperatures=60, leapfrogs=4, start=start)
    truth = exact.log_evidence(bounds.x)
    below, above = mean_over_examples(truth - bounds.lower), mean_over_examples(bounds.upper - truth)
    assert below.value > -5 * below.standard_error
    assert above.value > -5 * above.standard_error
    assert -5 * bounds.width.standard_error < bounds.width.value < 0.3
    assert below.standard_error < 0.05


def test_the_grid_lies_between():
    model = curved()
    bounds = sandwich(model, 64, chains=8, temperatures=20, leapfrogs=3)
    truth = grid(model, bounds.x)
    below, above = mean_over_examples(truth - bounds.lower), mean_over_examples(bounds.upper - truth)
    assert below.value > -5 * below.standard_error
    assert above.value > -5 * above.standard_error
    assert bounds.width.value < 0.1
    assert set(bounds.x.unique().tolist()) == {0.0, 1.0}


def test_the_mean_weight_is_known_both_ways():
    # sharper than the bounds: E w = p(x) forwards and 1 / p(x) backwards, for any number of steps
    model, exact = linear(variance=2.0)
    bounds = sandwich(model, 2048, chains=1, temperatures=4, leapfrogs=3)
    truth = exact.log_evidence(bounds.x)
    for log_w in (bounds.lower - truth, truth - bounds.upper):
        w = log_w.exp()
        error = w.std() / len(w) ** 0.5
        assert abs(w.mean() - 1) < 5 * error
        assert error < 0.04
    assert (truth - bounds.lower).mean() > 0.1  # so a bias of the walk would have something to show


def test_the_gap_shrinks_with_the_number_of_temperatures():
    model, _ = linear()
    wide, narrow = (sandwich(model, 64, chains=2, temperatures=t, leapfrogs=4).width for t in (4, 80))
    assert wide.value - narrow.value > 3 * torch.hypot(wide.standard_error, narrow.standard_error)
    assert narrow.value < wide.value / 3


def test_ais_has_an_error_that_is_one():
    model, exact = linear()
    x = exact.sample(64, torch.Generator().manual_seed(0))
    result = ais(model, x, chains=16, temperatures=40, leapfrogs=4)
    score = (result.value - exact.log_evidence(x)) / result.standard_error
    assert score.abs().max() < 6
    assert 0.4 < score.square().mean() < 2
    assert result.standard_error.max() < 0.5
    assert (result.effective_sample_size > 2).all()
    assert (result.effective_sample_size <= 16).all()
    assert 0.4 < result.acceptance.mean() < 0.95
    assert result.mean.value == pytest.approx(result.value.mean().item(), abs=1e-12)


def test_tiny_steps_are_all_accepted(monkeypatch):
    monkeypatch.setattr(annealing, "SETTLING", 0)
    monkeypatch.setattr(annealing, "FIRST_STEP", 1e-6)
    result = ais(curved(), torch.zeros(3, 12), chains=2, temperatures=2, leapfrogs=1)
    assert (result.acceptance == 1).all()


def test_ais_needs_no_encoder():
    model = curved()
    x = torch.bernoulli(torch.full((40, 12), 0.4), generator=torch.Generator().manual_seed(0))
    result = ais(model, x, chains=16, temperatures=20, leapfrogs=3)
    assert ((result.value - grid(model, x)) / result.standard_error).abs().max() < 6
    assert result.standard_error.max() < 0.4


def test_one_temperature_is_importance_sampling_from_the_prior():
    model, exact = linear(variance=5.0)
    x = exact.sample(8, torch.Generator().manual_seed(0))
    result = ais(model, x, chains=400, temperatures=1, leapfrogs=1)
    assert ((result.value - exact.log_evidence(x)) / result.standard_error).abs().max() < 5


# --- the moves ----------------------------------------------------------------------------------------


def test_moves_leave_the_density_as_it_is():
    # long steps, so that many are refused: without the refusals the variance would be another
    generator = torch.Generator().manual_seed(17)
    std = torch.tensor([1.0, 0.3], dtype=torch.float64)
    z = std * torch.randn(4000, 2, 2, generator=generator, dtype=torch.float64)
    step, rates = torch.tensor([0.45, 0.1], dtype=torch.float64), []
    for _ in range(10):
        z, moved = hmc(lambda z: -0.5 * (z / std).square().sum(-1), z, step, 3)
        rates.append(moved.double().mean(0))
    assert z.shape == (4000, 2, 2)
    rate = torch.stack(rates).mean(0)
    assert 0.5 < rate[0] < 0.95
    assert rate[1] > 0.97
    assert z.var(0).flatten().tolist() == pytest.approx([1, 0.09, 1, 0.09], rel=5 * (2 / 4000) ** 0.5)
    assert z.mean(0).abs().max() < 5 / 4000**0.5


def test_a_trajectory_that_ends_in_nan_is_refused():
    z = torch.zeros(5, 1, 1)
    stayed, moved = hmc(lambda z: torch.where(z[..., 0] == 0, z[..., 0], math.nan), z, torch.ones(1), 2)
    assert not moved.any()
    assert torch.equal(stayed, z)


def test_steps_follow_what_was_accepted():
    step = torch.ones(3)
    moved = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]]).bool()
    assert adapted(step, moved).tolist() == pytest.approx([1.1, 1 / 1.1, 1 / 1.1])


# --- manners ------------------------------------------------------------------------------------------


def test_nothing_is_left_behind():
    model = curved()
    model.train()
    x = torch.zeros(70, 12)
    state = torch.random.get_rng_state()
    one = ais(model, x, chains=2, temperatures=3, leapfrogs=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(ais(model, x, chains=2, temperatures=3, leapfrogs=2).value, one.value)
    assert not torch.equal(ais(model, x, chains=2, temperatures=3, leapfrogs=2, seed=1).value, one.value)
    assert one.value.shape == (70,)
    assert one.value.dtype == torch.float64
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not one.value.requires_grad
    assert len(one.value.unique()) == 70  # every example has noise of its own


def test_memory_does_not_grow_with_the_temperatures(monkeypatch):
    model, live, most = curved(), [0], [0]
    own = annealing.hmc

    def watched(density, z, step, leapfrogs):
        most[0] = max(most[0], z.numel())
        live[0] += 1
        return own(density, z, step, leapfrogs)

    monkeypatch.setattr(annealing, "hmc", watched)
    monkeypatch.setattr(annealing, "SETTLING", 0)
    ais(model, torch.zeros(400, 12), chains=3, temperatures=4, leapfrogs=1)
    assert most == [3 * 170 * 2]
    assert live == [3 * 2 * 4]  # three blocks, a warm-up and a walk, four temperatures


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chains": 0}, "chains is 0; wanted an integer of at least 1"),
        ({"temperatures": -1}, "temperatures is -1"),
        ({"leapfrogs": 1.5}, "leapfrogs is 1.5"),
        ({"start": "posterior"}, "start is 'posterior'; wanted 'prior' or 'encoder'"),
        ({"x": torch.zeros(0, 12)}, "at least one example"),
        ({"x": torch.full((3, 12), math.nan)}, "x holds 36 values that are NaN"),
        ({"x": torch.full((3, 12), 0.5)}, "grey pixels"),
        ({"model": nn.Linear(12, 2)}, "model is of type Linear; wanted a VAE"),
        ({"model": AutoEncoder(curved().encoder, curved().decoder)}, "type AutoEncoder; wanted a VAE"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ais(**({"model": curved(), "x": torch.zeros(3, 12), "chains": 2, "temperatures": 2} | arguments))


@pytest.mark.usefixtures("unchecked")
def test_the_sandwich_refuses_too():
    with pytest.raises(ValueError, match="n is 0"):
        sandwich(curved(), 0)
    with pytest.raises(ValueError, match="start is 'q'"):
        sandwich(curved(), 3, start="q")
    with pytest.raises(ValueError, match="wanted a VAE"):
        sandwich(nn.Linear(2, 2), 3)
