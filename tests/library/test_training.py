"""The training loop: averages, noise, seeds, failures, and the one answer that is known exactly."""

import math
import subprocess
import sys
import time
from dataclasses import fields
from itertools import chain
from typing import get_args

import pytest
import torch
from torch import nn

from vae_lib.bounds import iwae_bound
from vae_lib.data import load, synthetic_linear_gaussian
from vae_lib.laboratory import LinearGaussianModel, grid_log_evidence
from vae_lib.models import AutoEncoder
from vae_lib.networks import linear_gaussian_model, linear_vae, mlp_vae, set_output_bias
from vae_lib.training import History, TrainConfig, TrainingDiverged, fit
from vae_lib.training.optimisers import Adam

pytestmark = pytest.mark.usefixtures("one_thread")


def config(**changes):
    return TrainConfig(**{"epochs": 3, "batch_size": 32, "progress": False, "device": "cpu"} | changes)


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.full((100, 12), 0.3), generator=generator)


class Meter(nn.Module):
    """A model whose terms are the data themselves, whatever its parameter is; it notes what it sees."""

    def __init__(self):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.batches = []

    def loss_terms(self, x, k=1):
        self.batches.append(x[:, 0].tolist())
        return x[:, 0] + 0 * self.parameter, x[:, 1] + 0 * self.parameter


# --- what an epoch is ---------------------------------------------------------------------------------


def test_epoch_average_counts_a_short_last_batch_right():
    # 1050 examples in batches of 128 leave 26 for the last one. The mean of batch means is far off here
    # only if the last batch is unlike the others, so look at many epochs: each must be exact.
    data = torch.linspace(0, 1, 1050).square()[:, None].repeat(1, 2)
    data[:, 1] *= 0.1
    model = Meter()
    history = fit(model, data, config(epochs=5, batch_size=128))
    assert [len(batch) for batch in model.batches[:9]] == [128] * 8 + [26]
    assert history.reconstruction == pytest.approx([data[:, 0].double().mean().item()] * 5, rel=1e-6)
    assert history.rate == pytest.approx([data[:, 1].double().mean().item()] * 5, rel=1e-6)
    wrong = [sum(sum(b) / len(b) for b in model.batches[9 * i : 9 * i + 9]) / 9 for i in range(5)]
    assert min(abs(w - history.reconstruction[0]) for w in wrong) > 1e-4


def test_every_example_is_seen_once_per_epoch_in_a_new_order():
    data = torch.arange(100.0)[:, None].repeat(1, 2)
    model = Meter()
    fit(model, data, config(epochs=2))
    first, second = (list(chain(*model.batches[4 * i : 4 * i + 4])) for i in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert first != sorted(first)


def test_validation_average_does_not_depend_on_the_batch_size():
    data = torch.rand(50, 2)
    validation = torch.rand(3000, 2)
    for batch_size in (7, 2000):
        history = fit(Meter(), data, config(batch_size=batch_size, epochs=1), validation=validation)
        wanted = (validation[:, 0] - validation[:, 1]).double().mean().item()
        assert history.validation_elbo == pytest.approx([wanted], abs=1e-6)


def test_the_step_is_the_gradient_of_the_batch_mean(x):
    # One epoch of one batch from the same start: the parameters must move as torch.optim.Adam moves them.
    model, twin = mlp_vae(12, 2, hidden=(8,), seed=0), mlp_vae(12, 2, hidden=(8,), seed=0)
    for network in (model, twin):
        with torch.no_grad():
            network.encoder.network[-1].weight[2:] = 0
            network.encoder.network[-1].bias[2:] = -1e30  # no noise: both see the same z
    fit(model, x, config(epochs=1, batch_size=100, beta=0.5, learning_rate=0.01))
    optimiser = torch.optim.Adam(twin.parameters(), lr=0.01)
    (-twin.elbo(x, beta=0.5).mean()).backward()
    optimiser.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_fused_adam_is_adam():
    torch.manual_seed(0)
    start = [torch.randn(4, 3), torch.randn(5)]
    ours = [nn.Parameter(p.clone()) for p in start]
    theirs = [nn.Parameter(p.clone()) for p in start]
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    unused = nn.Parameter(torch.ones(2))
    named = [(str(i), p) for i, p in enumerate([*ours, frozen, unused])]
    mine = Adam(named)
    torchs = torch.optim.Adam(theirs)
    for step in range(20):
        rate = 0.1 / (step + 1)
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        mine.step(rate)
        torchs.param_groups[0]["lr"] = rate
        torchs.step()
    for p, q in zip(ours, theirs, strict=True):
        assert torch.allclose(p, q, atol=1e-6)
    assert torch.equal(unused, torch.ones(2))
    assert torch.equal(frozen, torch.ones(2))


def test_cosine_schedule_runs_to_zero():
    class Slope(Meter):
        """Its gradient is constant, so Adam moves the parameter by exactly the learning rate."""

        def loss_terms(self, x, k=1):
            self.batches.append(self.parameter.item())
            return x[:, 0] * 0 + self.parameter, x[:, 0] * 0

    steps = {}
    for schedule in ("constant", "cosine"):
        model = Slope()
        fit(model, torch.ones(8, 2), config(epochs=10, batch_size=4, schedule=schedule))
        where = torch.tensor([*model.batches, model.parameter.item()])
        steps[schedule] = where.diff()
    assert torch.allclose(steps["constant"], torch.full((20,), 1e-3), rtol=1e-3)
    wanted = 1e-3 * 0.5 * (1 + torch.cos(torch.pi * torch.arange(20) / 20))
    assert torch.allclose(steps["cosine"], wanted, atol=1e-7)


# --- what is logged -----------------------------------------------------------------------------------


def test_logged_elbo_is_the_bound_whatever_beta_is(x):
    history = fit(mlp_vae(12, 2, seed=0), x, config(beta=7.0), validation=x[:10])
    for i in range(3):
        assert history.elbo[i] == history.reconstruction[i] - history.rate[i]
        assert history.validation_elbo[i] == pytest.approx(
            history.validation_reconstruction[i] - history.validation_rate[i]
        )
    assert min(history.rate) > 0


def test_history_has_one_entry_per_epoch(x):
    start = time.perf_counter()
    history = fit(mlp_vae(12, 2, seed=0), x, config(), validation=x[:10])
    assert 0 < history.seconds < time.perf_counter() - start
    assert isinstance(history, History)
    assert len(history) == 3
    for values in (history.elbo, history.rate, history.validation_elbo, history.validation_rate):
        assert len(values) == 3
    assert history.config == config()
    assert repr(history).startswith("History(epochs=3, seconds=")
    assert fit(mlp_vae(12, 2, seed=0), x, config()).validation_elbo == []


def test_auto_encoder_has_no_elbo(x):
    vae = mlp_vae(12, 2, seed=0)
    model = AutoEncoder(vae.encoder, vae.decoder)
    history = fit(model, x, config(epochs=30, learning_rate=0.01), validation=x)
    assert all(math.isnan(value) for value in history.elbo + history.validation_elbo)
    assert history.reconstruction[-1] > history.reconstruction[0] + 0.5
    assert history.rate == [0.0] * 30


# --- seeds and states ---------------------------------------------------------------------------------


def test_same_seed_same_curve(x):
    runs = [fit(mlp_vae(12, 2, seed=0), x, config(seed=seed)).elbo for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_the_curve_depends_on_nothing_outside(x):
    plain = fit(mlp_vae(12, 2, seed=0), x, config())

    def meddle(history):
        torch.manual_seed(len(history))
        torch.randn(7)

    torch.manual_seed(99)
    other = fit(mlp_vae(12, 2, seed=0), x, config(), validation=x[:33], on_epoch=meddle)
    assert other.elbo == plain.elbo


def test_global_random_state_is_left_alone(x):
    state = torch.random.get_rng_state()
    fit(mlp_vae(12, 2, seed=0), x, config(), validation=x)
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(TrainingDiverged):
        fit(Broken("rate", 1), x, config())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_validation_uses_the_same_noise_every_epoch(x):
    model = mlp_vae(12, 2, seed=0)
    history = fit(model, x, config(learning_rate=1e-30), validation=x)
    assert len(set(history.validation_elbo)) == 1
    assert len(set(history.elbo)) == 3


def test_noise_differs_from_epoch_to_epoch(x):
    model = mlp_vae(12, 2, seed=0)
    seen = []
    model.encoder.register_forward_hook(lambda *_: seen.append(torch.randn(2).tolist()))
    fit(model, x, config(batch_size=100))
    assert seen[0] != seen[1] != seen[2]


def test_model_ends_in_eval_mode_and_trains_in_train_mode(x):
    model = mlp_vae(12, 2, seed=0)
    modes = []
    model.encoder.register_forward_hook(lambda module, *_: modes.append(module.training))
    calls = []
    history = fit(model, x, config(), validation=x, on_epoch=lambda h: calls.append((len(h), model.training)))
    assert modes == [True, True, True, True, False] * 3
    assert calls == [(1, False), (2, False), (3, False)]
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert len(history) == 3


def test_callback_can_stop_training(x):
    history = fit(mlp_vae(12, 2, seed=0), x, config(epochs=50), on_epoch=lambda h: len(h) == 4)
    assert len(history) == 4


def test_threads_are_set_for_the_run_only(x):
    before = torch.get_num_threads()
    seen = []
    for threads in (1, 2, None):
        fit(
            mlp_vae(12, 2, seed=0),
            x,
            config(epochs=1, threads=threads),
            on_epoch=lambda h: seen.append(torch.get_num_threads()),
        )
        assert torch.get_num_threads() == before
    assert seen == [1, 2, before]
    with pytest.raises(TrainingDiverged):
        fit(Broken("rate", 0), x, config(threads=before + 1))
    assert torch.get_num_threads() == before


def test_progress_bar_only_when_asked(x, capfd, monkeypatch):
    monkeypatch.delenv("VAE_BOOK_BUILD", raising=False)
    fit(mlp_vae(12, 2, seed=0), x, config())
    assert capfd.readouterr() == ("", "")
    fit(mlp_vae(12, 2, seed=0), x, config(progress=True))
    shown = capfd.readouterr().err
    assert "3/3" in shown
    assert "elbo" in shown
    monkeypatch.setenv("VAE_BOOK_BUILD", "1")
    fit(mlp_vae(12, 2, seed=0), x, config(progress=True))
    assert capfd.readouterr() == ("", "")


def test_first_step_does_not_import_the_compiler():
    code = (
        "import sys, torch\n"
        "from vae_lib.networks import mlp_vae\n"
        "from vae_lib.training import TrainConfig, fit\n"
        "plain = dict(epochs=1, progress=False, device='cpu')\n"
        "fit(mlp_vae(8, 2), torch.eye(8), TrainConfig(**plain))\n"
        "more = dict(optimiser='burda', clip_norm=1.0, precision='bf16', objective='dreg', binarise=True)\n"
        "fit(mlp_vae(8, 2), torch.eye(8), TrainConfig(**plain, **more))\n"
        "print('torch._dynamo' in sys.modules, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --- failures -----------------------------------------------------------------------------------------


class Broken(Meter):
    """One of its terms turns into NaN at step `step`."""

    def __init__(self, term, step):
        super().__init__()
        self.term, self.step = term, step

    def loss_terms(self, x, k=1):
        terms = dict(zip(("reconstruction", "rate"), super().loss_terms(x), strict=True))
        if len(self.batches) > self.step:
            terms[self.term] = terms[self.term] * math.nan
        return tuple(terms.values())


@pytest.mark.parametrize("term", ["reconstruction", "rate"])
def test_divergence_names_the_step_and_the_term(x, term):
    model = Broken(term, step=6)
    with pytest.raises(TrainingDiverged, match=f"step 6: the {term} is not finite"):
        fit(model, x, config())
    assert not model.training
    assert issubclass(TrainingDiverged, FloatingPointError)


def test_divergence_of_a_parameter_is_named(x):
    model = mlp_vae(12, 2, seed=0)

    def poison(gradient):  # one number of many
        return torch.cat([gradient[:1] * math.nan, gradient[1:]])

    model.encoder.network[0].bias.register_hook(poison)
    with pytest.raises(TrainingDiverged, match=r"step 1: the parameter encoder.network.0.bias"):
        fit(model, x, config())


def test_other_errors_are_not_called_divergence(x):
    with pytest.raises(ValueError, match="grey pixels"):
        fit(mlp_vae(12, 2, seed=0), x * 0.5, config())


@pytest.mark.parametrize("shape", [(), (32, 1), (1,)])
def test_terms_that_are_not_one_value_per_example_are_refused(x, shape):
    class Averaged(Meter):
        def loss_terms(self, x, k=1):
            terms = super().loss_terms(x)
            return terms[0], terms[1].mean().expand(shape)

    with pytest.raises(ValueError, match=r"the rate of model\.loss_terms has shape"):
        fit(Averaged(), x, config())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("batch_size", 0),
        ("samples", -1),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("beta", -1.0),
        ("beta", math.inf),
        ("seed", -1),
        ("seed", 0.5),
        ("schedule", "linear"),
        ("device", "gpu"),
        ("threads", 0),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_config_is_checked(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value!r}"):
        TrainConfig(**{field: value})


WRONG = {int: (1.5, "1", True, math.nan), float: ("1", True, math.nan), bool: (1, "no"), str: (1, None)}


@pytest.mark.parametrize("field", fields(TrainConfig), ids=lambda field: field.name)
@pytest.mark.usefixtures("unchecked")
def test_every_setting_refuses_another_type(field):
    kind = (get_args(field.type) or (field.type,))[0]
    for value in WRONG[kind]:
        with pytest.raises(ValueError, match=f"^{field.name} is {value!r}; wanted "):
            TrainConfig(**{field.name: value})


def test_config_is_frozen_and_readable():
    settings = TrainConfig(epochs=7)
    with pytest.raises(AttributeError):
        settings.epochs = 8
    assert "epochs=7, batch_size=128, learning_rate=0.001" in repr(settings)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.zeros(0, 12), r"data has shape \(0, 12\)"),
        (torch.zeros(12), r"data has shape \(12,\)"),
        (torch.zeros(5, 12, dtype=torch.int64), "dtype torch.int64"),
        (torch.full((5, 12), math.nan), "data holds 60 values that are NaN"),
        (torch.full((5, 12), math.inf), "data holds 60 values that are NaN or infinite"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_data_get_a_clear_error(data, message):
    with pytest.raises(ValueError, match=message):
        fit(mlp_vae(12, 2, seed=0), data, config())


@pytest.mark.usefixtures("unchecked")
def test_bad_companions_get_a_clear_error(x, monkeypatch):
    model = mlp_vae(12, 2, seed=0)
    with pytest.raises(ValueError, match="validation has 3 columns; wanted 12"):
        fit(model, x, config(), validation=torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"validation has shape \(0, 12\)"):
        fit(model, x, config(), validation=torch.zeros(0, 12))
    with pytest.raises(ValueError, match="model has no parameters"):
        fit(nn.Tanh(), x, config())
    with pytest.raises(ValueError, match="data is of type ImageData"):
        fit(model, load("digits"), config())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch finds no CUDA GPU"):
        fit(model, x, config(device="cuda"))


# --- the answers that are known ------------------------------------------------------------------------


def test_linear_vae_reaches_the_optimum_of_probabilistic_pca():
    x = synthetic_linear_gaussian(1000)
    best = LinearGaussianModel.fit(x.double(), 3).log_evidence(x.double()).mean()
    model = linear_vae(8, 3, seed=0)
    set_output_bias(model, x)
    fit(model, x, config(epochs=200, batch_size=128, learning_rate=0.1, schedule="cosine"))
    exact = linear_gaussian_model(model)
    evidence = exact.log_evidence(x.double()).mean()
    encoder = model.encoder.weight.detach().double(), model.encoder.log_var.detach().double().exp()
    elbo = exact.elbo(x.double(), *encoder).mean()
    assert best - 0.02 < evidence <= best + 1e-9
    assert best - 0.05 < elbo <= evidence + 1e-9
    columns = exact.weight / exact.weight.norm(dim=0)
    assert (columns.T @ columns - torch.eye(3)).abs().max() < 0.05


def test_digits_with_two_latents_order_elbo_iwae_and_grid():
    train, test = load("digits").binarized(), load("digits", split="test").binarized()[:60]
    model = mlp_vae(64, 2, hidden=(64, 32), seed=0)
    set_output_bias(model, train)
    history = fit(model, train, config(epochs=40, batch_size=128, learning_rate=0.01, schedule="cosine"))
    assert history.elbo[-1] > history.elbo[0] + 3
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        log_w = model.log_weights(test, k=500)
    with torch.no_grad():
        grid = grid_log_evidence(model.log_likelihood, test, latent_dim=2, points=161)
    elbo, iwae = log_w.mean(0), iwae_bound(log_w)
    gap = (iwae - elbo).double()
    assert gap.mean() > 5 * gap.std() / 60**0.5
    # For one image the IWAE estimate scatters by sd(w) / (p sqrt(k)); over 60 images far less.
    scatter = (log_w - iwae).exp().std(0) / 500**0.5
    error = scatter.square().mean().sqrt().item() / 60**0.5
    assert iwae.mean() < grid.mean() + 5 * error
    assert error < 0.05
