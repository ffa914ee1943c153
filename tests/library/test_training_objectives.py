"""What a step lowers: the bounds themselves, their gradients, warm-up, free bits, and pruning."""

import math

import pytest
import torch
from torch import nn

from vae_lib.bounds import dreg_surrogate, iwae_bound, iwae_surrogate
from vae_lib.builders import hierarchical_mlp_vae
from vae_lib.models import AutoEncoder
from vae_lib.networks import mlp_vae
from vae_lib.training import History, TrainConfig, fit
from vae_lib.training.loop import _has_waited_enough
from vae_lib.training.objectives import make_objective, terms
from vae_lib.training.pruning import pruned_iwae
from vae_lib.training.schedules import beta, learning_rate

pytestmark = pytest.mark.usefixtures("one_thread")


def config(**changes):
    return TrainConfig(**{"epochs": 3, "batch_size": 32, "progress": False, "device": "cpu"} | changes)


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.full((40, 12), 0.3), generator=generator)


def one_layer():
    return mlp_vae(12, 2, hidden=(8,), seed=0).double()


def two_layers():
    return hierarchical_mlp_vae(12, latents=(3, 2), hidden=((8,), (5,)), seed=0).double()


MODELS = pytest.mark.parametrize("make", [one_layer, two_layers])


def encoder_of(model):
    return list((model.encoders if hasattr(model, "encoders") else model.encoder).parameters())


def decoder_of(model):
    return list((model.decoders if hasattr(model, "decoders") else model.decoder).parameters())


def gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)


def evaluated(model, x, settings, weight=1.0):
    """Loss and sums of the objective, always with the same noise."""
    torch.manual_seed(3)
    return make_objective(model, settings)(x.double(), weight)


# --- values -------------------------------------------------------------------------------------------


@MODELS
@pytest.mark.parametrize("objective", ["iwae", "dreg"])
def test_what_is_reported_is_the_bound_and_no_surrogate(make, objective, x):
    model = make()
    loss, sums = evaluated(model, x, config(objective=objective, samples=6))
    torch.manual_seed(3)
    log_w = model.log_weights(x.double(), 6)
    wanted = iwae_bound(log_w)
    assert -loss.item() == pytest.approx(wanted.mean().item(), rel=1e-12)
    found = dict(zip(terms(config(objective=objective)), sums.tolist(), strict=True))
    assert found["bound"] == pytest.approx(wanted.sum().item(), rel=1e-12)
    assert found["reconstruction"] - found["rate"] == pytest.approx(log_w.mean(0).sum().item(), rel=1e-12)
    # the sum that some codes report lies above the bound
    assert iwae_surrogate(log_w).mean() > wanted.mean() + 0.05


@MODELS
def test_one_draw_makes_all_objectives_the_sampled_elbo(make, x):
    values = [
        evaluated(make(), x, config(objective=objective, analytic_kl=kl))[0].item()
        for objective, kl in (("elbo", False), ("iwae", None), ("dreg", None))
    ]
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)


def test_analytic_and_sampled_rate_agree_on_average(x):
    model = one_layer()
    exact, sampled = (
        make_objective(model, config(analytic_kl=kl, samples=4000))(x.double(), 1.0)[1][1].item() / 40
        for kl in (True, False)
    )
    assert sampled == pytest.approx(exact, abs=0.02)
    assert sampled != exact


# --- gradients ----------------------------------------------------------------------------------------


@MODELS
def test_iwae_follows_the_bound(make, x):
    model = make()
    found = gradients(model, evaluated(model, x, config(objective="iwae", samples=6))[0])
    torch.manual_seed(3)
    wanted = gradients(model, -iwae_surrogate(model.log_weights(x.double(), 6)).mean())
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@MODELS
def test_dreg_follows_two_surrogates(make, x):
    """One backward pass with hooks against two passes over two sums: the oracle of `vae_lib.bounds`."""
    model = make()
    loss, _ = evaluated(model, x, config(objective="dreg", samples=6))
    found = dict(zip(model.parameters(), gradients(model, loss), strict=True))
    torch.manual_seed(3)
    log_w = model.log_weights(x.double(), 6, detach_posterior=True)
    inference = torch.autograd.grad(-dreg_surrogate(log_w).mean(), encoder_of(model), retain_graph=True)
    generative = torch.autograd.grad(-iwae_surrogate(log_w).mean(), decoder_of(model))
    for parameters, wanted in ((encoder_of(model), inference), (decoder_of(model), generative)):
        for parameter, gradient in zip(parameters, wanted, strict=True):
            assert torch.allclose(found[parameter], gradient, rtol=1e-9, atol=1e-12)
    plain = gradients(model, evaluated(model, x, config(objective="iwae", samples=6))[0])
    pairs = zip(model.parameters(), plain, strict=True)
    assert any(not torch.allclose(found[p], g, rtol=1e-3) for p, g in pairs)


@MODELS
def test_dreg_and_iwae_agree_on_average(make, x):
    """Both are unbiased for the same gradient; DReG scatters less in the encoder."""
    model, rows = make(), x[:1].double().expand(4000, -1)
    parameter = encoder_of(model)[-1]  # the bias of the head: means, then log-variances
    draws = {}
    for objective in ("iwae", "dreg"):
        settings = config(objective=objective, samples=3)
        parts = []
        for seed in range(60):
            torch.manual_seed(seed)
            loss, _ = make_objective(model, settings)(rows[:200], 1.0)
            parts.append(torch.autograd.grad(loss, parameter)[0])
        draws[objective] = torch.stack(parts)
    error = (draws["iwae"].var(0) / 60 + draws["dreg"].var(0) / 60).sqrt()
    assert ((draws["iwae"].mean(0) - draws["dreg"].mean(0)).abs() < 4.5 * error).all()


# --- the price of the rate ----------------------------------------------------------------------------


def test_warm_up_is_a_line_from_zero():
    settings = config(epochs=10, beta=4.0, beta_warmup=2)
    found = [beta(settings, step, steps_in_epoch=5) for step in (0, 1, 5, 9, 10, 49)]
    assert found == pytest.approx([0.0, 0.4, 2.0, 3.6, 4.0, 4.0])
    assert beta(config(beta=4.0), 0, steps_in_epoch=5) == 4.0


class Price(nn.Module):
    """Reconstruction −p², rate p: the gradient at p = 0 is beta itself."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.zeros(()))
        self.seen = []
        self.p.register_hook(lambda gradient: self.seen.append(gradient.item()))

    def loss_terms(self, x, k=1):
        p = self.p.expand(len(x))
        return -(p**2), p


def test_warm_up_reaches_the_step():
    model = Price()
    fit(model, torch.ones(8, 1), config(epochs=4, batch_size=4, beta=2.0, beta_warmup=2, learning_rate=1e-9))
    assert model.seen == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0], abs=1e-6)


@MODELS
def test_rates_by_latent_add_up(make, x):
    model = make()
    for kl in (None, False):
        torch.manual_seed(1)
        reconstruction, rate = model.loss_terms(x.double(), 3, analytic_kl=kl)
        torch.manual_seed(1)
        again, parts = model.loss_terms(x.double(), 3, analytic_kl=kl, by_latent=True)
        assert torch.allclose(again, reconstruction)
        assert parts.shape == (40, 2 if make is one_layer else 5)
        assert torch.allclose(parts.sum(-1), rate)


@MODELS
def test_free_bits_are_a_floor_under_the_minibatch_mean(make, x):
    model, settings = make(), config(free_bits=0.4)
    torch.manual_seed(3)
    reconstruction, rate = model.loss_terms(x.double(), 1, by_latent=True)
    means = rate.mean(0)
    settings = config(free_bits=means.median().item())  # some latents above it, some below
    loss, sums = evaluated(model, x, settings)
    wanted = sum(max(settings.free_bits, mean) for mean in means.tolist()) - reconstruction.mean().item()
    assert loss.item() == pytest.approx(wanted, rel=1e-12)
    assert sums[1].item() == pytest.approx(rate.sum().item(), rel=1e-12)  # the history has the true rate
    per_example = rate.clamp(min=settings.free_bits).sum(-1).mean() - reconstruction.mean()
    assert loss.item() < per_example.item() - 1e-3


def test_a_free_latent_feels_no_rate(x):
    model = one_layer()
    loss, _ = evaluated(model, x, config(free_bits=100.0))
    torch.manual_seed(3)
    reconstruction, _ = model.loss_terms(x.double())
    for one, other in zip(gradients(model, loss), gradients(model, -reconstruction.mean()), strict=True):
        assert torch.allclose(one, other, atol=1e-14)


def test_burda_schedule_has_its_stages():
    paper = config(epochs=3280, schedule="burda", learning_rate=1e-3)
    wanted = [1e-4 * round(10.0 ** (1 - (i - 1) / 7.0), 1) for i in range(1, 9) for _ in range(3 ** (i - 1))]
    assert [learning_rate(paper, epoch, 1) for epoch in range(3280)] == pytest.approx(wanted)
    tenth = config(epochs=328, schedule="burda", learning_rate=1e-3)
    assert [learning_rate(tenth, step, 10) for step in range(3280)] == pytest.approx(wanted)
    assert learning_rate(config(epochs=1, schedule="burda"), 999, 1000) == pytest.approx(1e-4)


# --- pruning ------------------------------------------------------------------------------------------


def sharpened(make):
    """A model whose importance weights differ by many orders of magnitude, in the precision of training."""
    model = make().float()
    with torch.no_grad():
        for parameter in decoder_of(model):
            parameter.mul_(6)
    return model


def relative_error(found, wanted):
    difference = sum(((a.double() - b.double()) ** 2).sum() for a, b in zip(found, wanted, strict=True))
    return (difference / sum((b.double() ** 2).sum() for b in wanted)).sqrt().item()


@MODELS
def test_a_pruned_gradient_is_the_dense_one(make, x):
    model = sharpened(make)
    torch.manual_seed(5)
    dense, sums = pruned_iwae(model, x, 50, 0.0)
    wanted = gradients(model, dense)
    for threshold, tolerance in ((1e-6, 1e-5), (1e-9, 1e-5)):
        torch.manual_seed(5)
        loss, same = pruned_iwae(model, x, 50, threshold)
        assert loss.item() == pytest.approx(dense.item(), rel=1e-6)  # the value is the whole bound
        assert torch.equal(same, sums)
        assert 0 < relative_error(gradients(model, loss), wanted) <= tolerance
    torch.manual_seed(5)
    loss, _ = pruned_iwae(model, x, 50, 0.01)
    assert relative_error(gradients(model, loss), wanted) > 1e-5  # else this test would show nothing


def test_with_nothing_pruned_it_is_the_plain_objective(x):
    model = one_layer()
    torch.manual_seed(3)
    loss, sums = pruned_iwae(model, x.double(), 20, 0.0)
    torch.manual_seed(3)
    plain, wanted = make_objective(model, config(objective="iwae", samples=20))(x.double(), 1.0)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-9)
    assert torch.allclose(sums, wanted)
    for one, other in zip(gradients(model, loss), gradients(model, plain), strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-10)


@MODELS
def test_only_the_survivors_are_differentiated(make, x):
    model = sharpened(make)
    rows = []
    upper = (model.decoders if hasattr(model, "decoders") else [model.decoder])[0]
    first = next(layer for layer in upper.modules() if isinstance(layer, nn.Linear))
    first.register_forward_hook(lambda _, inputs, output: rows.append((output[..., 0].numel(), output)))
    torch.manual_seed(5)
    loss, _ = pruned_iwae(model, x, 50, 1e-6)
    (every, without), (few, attached) = rows
    assert every == 50 * 40
    assert not without.requires_grad
    assert attached.requires_grad
    assert few < every / 2
    with torch.no_grad():
        torch.manual_seed(5)
        weights = model.log_weights(x, 50).softmax(0)
    assert abs(few - int((weights > 1e-6).sum())) <= 0.05 * few
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.numel()) or t, lambda t: t):
        torch.manual_seed(5)
        pruned_iwae(model, x, 50, 1e-6)
    assert max(held) <= few * 12  # no activation of the 2000 draws is kept for the backward pass
    loss.backward()


def test_pruning_trains(x):
    settings = config(objective="iwae", samples=20, prune=1e-4, epochs=5, learning_rate=0.01)
    history = fit(mlp_vae(12, 2, hidden=(8,), seed=0), x, settings, validation=x)
    assert history.bound[-1] > history.bound[0]
    assert len(history.validation_bound) == 5


# --- histories ----------------------------------------------------------------------------------------


@MODELS
@pytest.mark.parametrize("objective", ["elbo", "iwae", "dreg"])
def test_every_objective_trains_and_reports_its_bound(make, objective, x):
    model = make().float()
    history = fit(
        model, x, config(objective=objective, samples=5, epochs=8, learning_rate=0.01), validation=x
    )
    assert history.elbo[-1] > history.elbo[0]
    if objective == "elbo":
        assert history.bound == history.validation_bound == []
        assert "bound" not in history.latest()
        return
    for bound, elbo in ((history.bound, history.elbo), (history.validation_bound, history.validation_elbo)):
        assert len(bound) == 8
        assert all(one >= other for one, other in zip(bound, elbo, strict=True))  # L_k of the same draws
    assert history.scores() == history.validation_bound
    assert f"bound={history.bound[-1]:.2f}" in repr(history)


def test_patience_ends_the_run_on_validation(x):
    few, held_out = x[:8], 1 - x  # nothing that is learned from the one is true of the other
    settings = config(epochs=60, learning_rate=0.05, patience=3)
    history = fit(mlp_vae(12, 2, hidden=(8,), seed=0), few, settings, validation=held_out)
    assert len(history) == history.best_epoch() + 3 < 60
    longer = fit(mlp_vae(12, 2, hidden=(8,), seed=0), few, config(epochs=60, learning_rate=0.05), held_out)
    assert longer.validation_elbo[: len(history)] == history.validation_elbo
    empty = History(settings)  # no epoch is the best one yet
    assert empty.best_epoch() is None
    assert not _has_waited_enough(empty)
    with pytest.raises(ValueError, match="patience is 3, but there are no validation data"):
        fit(mlp_vae(12, 2, seed=0), x, settings)


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "vae"}, "objective is 'vae'; wanted one of 'elbo', 'iwae', 'dreg'"),
        ({"objective": "iwae", "beta": 0.5}, "beta is 0.5, but objective is 'iwae'"),
        ({"objective": "iwae", "beta_warmup": 1}, "beta_warmup is 1, but objective is 'iwae'"),
        ({"objective": "dreg", "free_bits": 0.5}, "free_bits is 0.5, but objective is 'dreg'"),
        ({"objective": "iwae", "analytic_kl": True}, "analytic_kl is True, but objective is 'iwae'"),
        ({"prune": 1e-6}, "prune is 1e-06, but objective is 'elbo'; wanted 'iwae'"),
        ({"objective": "dreg", "prune": 1e-6}, "prune is 1e-06, but objective is 'dreg'"),
        ({"objective": "iwae", "samples": 50, "prune": 0.02}, r"wanted less than 1 / samples = 0\.02"),
        ({"prune": -0.1}, "prune is -0.1"),
        ({"prune": math.nan}, "prune is nan"),
        ({"beta_warmup": -1}, "beta_warmup is -1"),
        ({"beta_warmup": 4}, "beta_warmup is 4; wanted at most epochs, which is 3"),
        ({"free_bits": -1.0}, "free_bits is -1.0"),
        ({"levels": 1}, "levels is 1"),
        ({"levels": 257}, "levels is 257"),
        ({"optimiser": "sgd"}, "optimiser is 'sgd'; wanted one of 'adam', 'burda', 'burda-no-sum'"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"precision": "fp16"}, "precision is 'fp16'"),
        ({"patience": 0}, "patience is 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_models_that_cannot_are_refused(x):
    vae = mlp_vae(12, 2, seed=0)
    plain = AutoEncoder(vae.encoder, vae.decoder)
    for changes, message in (
        ({"objective": "iwae"}, "a AutoEncoder has no method `draw`"),
        ({"free_bits": 0.1}, "loss_terms of a AutoEncoder does not take by_latent"),
        ({"analytic_kl": False}, "loss_terms of a AutoEncoder does not take analytic_kl"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(plain, x, config(**changes))
    with pytest.raises(ValueError, match="has no rate for each latent"):
        fit(mlp_vae(12, 2, posterior="full", seed=0), x, config(free_bits=0.1))
    with pytest.raises(ValueError, match="analytic_kl is True, but between layers"):
        fit(two_layers().float(), x, config(analytic_kl=True))
    with pytest.raises(ValueError, match="prune needs a diagonal Gaussian posterior"):
        fit(mlp_vae(12, 2, posterior="full", seed=0), x, config(objective="iwae", samples=5, prune=1e-6))
