"""What a step is given and what moves it: bytes and draws, optimisers, clipping, bfloat16, divergence."""

import math
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from vae_lib.builders import conditional_mlp_vae, hierarchical_mlp_vae
from vae_lib.likelihoods import Bernoulli
from vae_lib.models import Joined
from vae_lib.networks import conv_vae, mlp_vae, set_output_bias
from vae_lib.training import TensorBoard, TrainConfig, TrainingDiverged, fit, load_checkpoint
from vae_lib.training.checkpoints import Position
from vae_lib.training.optimisers import Adam, Burda, make_optimiser
from vae_lib.training.resident import Resident
from vae_lib.training.steps import Step
from vae_lib.training.tally import Tally
from vae_lib.training.watched import unwatched

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def config(**changes):
    return TrainConfig(**{"epochs": 3, "batch_size": 32, "progress": False, "device": "cpu"} | changes)


@pytest.fixture
def grey():
    """Bytes (60, 12)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (60, 12), generator=generator, dtype=torch.uint8)


@pytest.fixture
def x(grey):
    return (grey > 127).float()


class Eye(nn.Module):
    """A model that notes the batches it sees."""

    def __init__(self):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.batches = []

    def loss_terms(self, x, k=1):
        self.batches.append(x.clone())
        return x[:, 0] + 0 * self.parameter, x[:, 1] + 0 * self.parameter


# --- data ---------------------------------------------------------------------------------------------


def test_bytes_are_floats_divided_by_the_levels(grey):
    for levels, wanted in ((256, grey / 255), (2, (grey > 127).float())):
        data = grey if levels == 256 else (grey > 127).to(torch.uint8)
        settings = config(levels=levels)
        one = fit(mlp_vae(12, 2, likelihood="gaussian", seed=0), data, settings, data[:9])
        other = fit(mlp_vae(12, 2, likelihood="gaussian", seed=0), wanted, settings, wanted[:9])
        assert one.elbo == other.elbo
        assert one.validation_elbo == other.validation_elbo


def test_bytes_stay_bytes(grey):
    assert Resident(grey, config(), CPU).data.data_ptr() == grey.data_ptr()
    drawn = Resident(grey, config(binarise=True), CPU).drawn_once()
    assert drawn.data.dtype == torch.uint8
    assert drawn.batch(torch.arange(60)).dtype == torch.float32
    double = fit(mlp_vae(12, 2, seed=0).double(), grey, config(binarise=True))
    assert len(double) == 3


@pytest.mark.parametrize("as_floats", [False, True])
def test_every_step_draws_anew_and_validation_once(grey, as_floats):
    model = Eye()
    data = grey.float() / 255 if as_floats else grey
    fit(model, data, config(binarise=True, epochs=250, batch_size=60), validation=data)
    training, validation = torch.stack(model.batches[::2]), torch.stack(model.batches[1::2])
    assert set(training.unique().tolist()) == {0.0, 1.0}
    assert (validation == validation[0]).all()
    assert set(validation.unique().tolist()) == {0.0, 1.0}
    # the order is anew as well, so compare what no order changes: how often each column is white
    found = training.mean((0, 1)).double()
    wanted = (grey / 255).double().mean(0)
    error = ((grey / 255) * (1 - grey / 255)).double().sum(0).sqrt() / 60 / 250**0.5
    assert ((found - wanted).abs() < 4.5 * error).all()
    assert len({batch.sum().item() for batch in training}) > 30
    again, other = Eye(), Eye()
    fit(again, data, config(binarise=True, epochs=1, batch_size=60), validation=data)
    assert torch.equal(again.batches[0], training[0])
    fit(other, data, config(binarise=True, epochs=1, batch_size=30, seed=1), validation=data)
    assert not torch.equal(torch.cat(other.batches[:2]), training[0])
    assert torch.equal(again.batches[1], validation[0])
    assert torch.equal(other.batches[2], validation[0])  # runs of any seed are scored on the same data


def test_whole_levels_have_their_own_scale():
    """17 levels, as the digits have: grey level 8 is one half."""
    levels = torch.full((2000, 3), 8, dtype=torch.uint8)
    model = Eye()
    fit(model, levels, config(binarise=True, levels=17, epochs=1, batch_size=2000))
    assert abs(model.batches[0].mean().item() - 0.5) < 4.5 * 0.5 / 6000**0.5


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (
            torch.full((5, 12), 9, dtype=torch.uint8),
            {"levels": 9},
            "data holds the level 9; wanted less than",
        ),
        (torch.full((5, 12), 1.5), {"binarise": True}, r"data lies in \[1\.5, 1\.5\]; wanted grey pixels"),
        (torch.full((5, 12), -0.5), {"binarise": True}, r"data lies in \[-0\.5, -0\.5\]"),
        (torch.zeros(5, 0, dtype=torch.uint8), {}, r"data has shape \(5, 0\)"),
        (torch.full((5, 12), math.nan), {"binarise": True}, "data holds 60 values that are NaN"),
        (torch.full((5, 12), 100, dtype=torch.uint8), {}, "data holds 60 grey pixels, such as 0.392157"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_pixels_are_refused_before_the_first_step(tmp_path, data, changes, message):
    model = mlp_vae(12, 2, seed=0)
    calls = []
    model.encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match=message):
        fit(model, data, config(**changes), checkpoint=tmp_path / "run")
    assert calls == []
    assert not (tmp_path / "run").exists()


def test_validation_is_looked_at_too(x, grey):
    with pytest.raises(ValueError, match=r"validation holds .* grey pixels"):
        fit(mlp_vae(12, 2, seed=0), x, config(), validation=grey / 255)
    with pytest.raises(ValueError, match=r"data holds .* pixels that are none of the 256 levels"):
        fit(mlp_vae(12, 2, likelihood="categorical", seed=0), x + 0.001, config())
    with pytest.raises(ValueError, match="data holds 720 pixels outside"):
        fit(mlp_vae(12, 2, likelihood="continuous_bernoulli", seed=0), x + 2, config())


@pytest.mark.parametrize(
    "model",
    [
        mlp_vae(64, 2, seed=0),
        conv_vae((8, 8), 2, filters=(4,), seed=0),
        hierarchical_mlp_vae(64, latents=(3, 2), hidden=((8,), (5,)), seed=0),
    ],
    ids=["mlp", "conv", "hierarchical"],
)
def test_another_number_of_pixels_is_refused(x, model, tmp_path):
    with pytest.raises(ValueError, match="data has 12 columns; wanted 64, as many as the encoder"):
        fit(model, x, config(), checkpoint=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_condition_is_no_pixel(x):
    model = conditional_mlp_vae(pixels=12, conditions=1, latent=2, hidden=(4,), seed=0)
    rows = torch.cat([x, torch.full((60, 1), 0.3)], -1)
    assert len(fit(Joined(model, conditions=1), rows, config())) == 3
    with pytest.raises(ValueError, match="data holds 720 grey pixels"):
        fit(Joined(model, conditions=1), torch.full((60, 13), 0.3), config())


def test_values_are_looked_at_once_and_then_again_afterwards(x):
    model = mlp_vae(12, 2, seed=0)
    likelihood, inside = model.decoder.likelihood, []
    likelihood.register_forward_hook(lambda module, *_: inside.append(module.validate))
    fit(model, x, config(), on_epoch=lambda _: inside.append(likelihood.validate))
    assert inside == [True] + [False, False, True] * 3  # one look, then two steps and a callback
    with pytest.raises(TrainingDiverged), unwatched(model):
        fit(model, x, config(learning_rate=1e30))
    assert likelihood.validate
    silent = Bernoulli(validate=False)
    fit(mlp_vae(12, 2, likelihood=silent, seed=0), x, config())
    assert not silent.validate
    assert torch.distributions.Distribution._validate_args == __debug__


# --- Burda's optimiser --------------------------------------------------------------------------------


def literal_burda(theta, gradients, rates, without=None):
    """The update rule of the published code, number by number in float64: every line reads old values."""
    m, v, t, path = np.zeros_like(theta), np.ones_like(theta), 1, []
    beta1 = 0.9 if without == "momentum" else 0.99
    if without == "ones":
        v = np.zeros_like(theta)
    for rate in rates:
        g = gradients(theta)  # ascent in the published code, descent here
        new_m = beta1 * m + (1 - beta1) * g
        new_v = 0.999 * v + 0.001 * g**2
        if without == "delay":
            m, v = new_m, new_v
        alpha = rate * np.sqrt(1 - 0.999**t) / (1 - beta1**t)
        new_theta = theta - alpha * m / (np.sqrt(v) + 1e-4)
        theta, m, v, t = new_theta, new_m, new_v, t + 1
        path.append(theta)
    return np.stack(path)


@pytest.mark.parametrize("without", [None, "sum", "ones", "momentum", "delay"])
def test_burda_is_the_published_rule(without):
    start = np.array([1.0, -2.0, 0.3, 40.0, 1e-3])
    scale = np.array([50.0, 1.0, 0.01, 1e-4, 3.0])
    rates = [0.1 / (1 + i / 100) for i in range(400)]
    wanted = literal_burda(start, lambda theta: scale * np.sin(theta) + 0.1 * scale, rates, without)
    parameters = [nn.Parameter(torch.tensor(part)) for part in (start[:2], start[2:])]  # float64
    scales = [torch.tensor(scale[:2]), torch.tensor(scale[2:])]
    name = "burda" if without is None else f"burda-no-{without}"
    optimiser = make_optimiser(name, ((str(i), p) for i, p in enumerate(parameters)))
    for step, rate in enumerate(rates):
        optimiser.zero_grad()
        for parameter, factor in zip(parameters, scales, strict=True):
            parameter.grad = factor * parameter.detach().sin() + 0.1 * factor
        optimiser.step(rate)
        found = torch.cat([p.detach() for p in parameters]).numpy()
        assert np.allclose(found, wanted[step], rtol=1e-9, atol=1e-12), step
    assert (np.abs(wanted[0] - start).max() == 0) == (without != "delay")  # the first step moves nothing
    assert np.abs(wanted[-1] - start).max() > 0.1
    assert optimiser.summed == (without != "sum")


def test_burda_goes_on_from_its_state():
    def run(optimiser, parameter, steps):
        for step in steps:
            optimiser.zero_grad()
            parameter.grad = torch.sin(parameter.detach() + step)
            optimiser.step(0.1)

    whole = nn.Parameter(torch.ones(3))
    optimiser = Burda([("p", whole)])
    run(optimiser, whole, range(10))
    half = nn.Parameter(torch.ones(3))
    first = Burda([("p", half)])
    run(first, half, range(4))
    saved = {name: tensor.clone() for name, tensor in first.state().items()}
    second = Burda([("p", half)])
    for name, tensor in second.state().items():
        tensor.copy_(saved[name])
    run(second, half, range(4, 10))
    assert torch.equal(half, whole)


@pytest.mark.parametrize(("name", "factor"), [("adam", 1), ("burda", 20)])
def test_burda_gets_the_gradient_of_the_sum(x, name, factor):
    def noiseless():
        model = mlp_vae(12, 2, hidden=(8,), seed=0)
        with torch.no_grad():
            model.encoder.network[-1].weight[2:] = 0
            model.encoder.network[-1].bias[2:] = -1e30
        return model

    model, twin = noiseless(), noiseless()
    optimiser = make_optimiser(name, model.named_parameters())
    got = []
    optimiser.step = lambda rate: got.extend(p.grad.clone() for p in optimiser.parameters)
    Step(model, Resident(x, config(), CPU), config(), optimiser)(
        torch.arange(20), learning_rate=0.1, beta=1.0, number=0
    )
    (-twin.elbo(x[:20]).mean() * factor).backward()
    for gradient, parameter in zip(got, twin.parameters(), strict=True):
        assert torch.allclose(gradient, parameter.grad, rtol=1e-4, atol=1e-4)


def test_burda_trains(grey):
    dark = (grey > 220).float()
    history = fit(mlp_vae(12, 2, seed=0), dark, config(optimiser="burda", epochs=60, batch_size=20), dark)
    assert history.elbo[-1] > history.elbo[0] + 2


# --- clipping, precision ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adam", "burda"])
def test_long_gradients_are_shortened_and_short_ones_are_not(x, name):
    norms = {}
    for limit in (None, 0.01, 1e6):
        settings = config(clip_norm=limit)
        model = mlp_vae(12, 2, seed=0)
        optimiser = make_optimiser(name, model.named_parameters())
        got = []
        optimiser.step = lambda rate, got=got, optimiser=optimiser: got.append(
            torch.cat([p.grad.flatten() for p in optimiser.parameters]).norm().item()
        )
        torch.manual_seed(0)
        Step(model, Resident(x, settings, CPU), settings, optimiser)(
            torch.arange(20), learning_rate=0.1, beta=1.0, number=0
        )
        norms[limit] = got[0]
    scale = 20 if name == "burda" else 1  # the limit is one on the gradient of the mean
    assert norms[0.01] == pytest.approx(0.01 * scale, rel=1e-4)
    assert norms[1e6] == pytest.approx(norms[None])
    assert norms[None] > 0.1 * scale


@pytest.mark.parametrize("objective", ["elbo", "iwae"])
@pytest.mark.parametrize("kind", ["mlp", "conv", "hierarchical"])
def test_bf16_multiplies_in_bfloat16_and_keeps_the_losses(x, kind, objective):
    make = {
        "mlp": lambda: mlp_vae(12, 2, hidden=(8,), seed=0),
        "conv": lambda: conv_vae((3, 4), 2, filters=(4,), hidden=(8,), seed=0),
        "hierarchical": lambda: hierarchical_mlp_vae(12, latents=(3, 2), hidden=((8,), (5,)), seed=0),
    }[kind]
    sums, seen = {}, []
    for precision in ("float32", "bf16"):
        model = make()
        for part in model.modules():
            if isinstance(part, nn.Linear):
                part.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
        settings = config(precision=precision, objective=objective, samples=3)
        step = Step(model, Resident(x, settings, CPU), settings, Adam(model.named_parameters()))
        torch.manual_seed(0)
        sums[precision] = step(torch.arange(60), learning_rate=0.1, beta=1.0, number=0)
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters())
        if precision == "float32":
            assert set(seen) == {torch.float32}
            seen.clear()
    assert torch.bfloat16 in seen
    assert sums["bf16"].dtype == torch.float32
    assert torch.allclose(sums["bf16"], sums["float32"], rtol=0.02, atol=2.0)
    assert not torch.equal(sums["bf16"], sums["float32"])


def test_bf16_log_probabilities_are_float32(x):
    model = mlp_vae(12, 2, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        draw = model.draw(x, 3)
        reconstruction, rate = model.loss_terms(x, 3)
        posterior = model.encode(x)
    for tensor in (*draw[:2], *draw.latents, reconstruction, rate, posterior.mean):
        assert tensor.dtype == torch.float32


# --- divergence ---------------------------------------------------------------------------------------


class Runaway(nn.Module):
    """Its terms are what a script says, step by step."""

    def __init__(self, script):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.script, self.calls = script, 0

    def loss_terms(self, x, k=1):
        reconstruction, rate = self.script(self.calls)
        self.calls += 1
        ones = torch.ones(len(x)) + 0 * self.parameter
        return reconstruction * ones, rate * ones


def test_an_absurd_loss_that_stays_ends_the_run(x, tmp_path):
    # it starts at 20 nats; with 12 pixels the limit is 20 + 20 + 12
    model = Runaway(lambda step: (-18.0, 2.0) if step < 50 else (-18.0, 34.1))
    last = tmp_path / "last.safetensors"
    message = (
        r"step 150: the loss has been above 52 nats per example for 100 steps, and began at 20; the rate is "
        rf"34\.1 nats; try a lower learning_rate; the last good checkpoint is {last}$"
    )
    with pytest.raises(TrainingDiverged, match=message):
        fit(model, x, config(epochs=100, batch_size=20), checkpoint=tmp_path, save_every=0)
    assert load_checkpoint(tmp_path, Runaway(None)).position.step == 50  # the last before it went astray


@pytest.mark.parametrize("names", [("reconstruction", "rate"), ("rate", "reconstruction")])
def test_the_term_that_got_worse_is_named(x, names):
    """Not the larger one: the one that lost more since the start, the rate as beta weighs it."""
    worse, other = names
    start = {"reconstruction": -90.0, "rate": 30.0}  # with beta = 2: 150 nats, and the limit is 312
    end = dict(start)
    end[worse] += {"reconstruction": -250.0, "rate": 125.0}[worse]
    end[other] += {"reconstruction": -200.0, "rate": 100.0}[other]
    model = Runaway(lambda step: tuple((start if step == 0 else end).values()))
    with pytest.raises(TrainingDiverged, match=f"above 312 .* began at 150; the {worse} is {end[worse]:g} "):
        fit(model, x, config(epochs=100, batch_size=20, beta=2.0))


def test_spikes_and_bad_phases_do_not(x):
    spikes = Runaway(lambda step: (-1e30, 2.0) if step % 50 == 49 else (-18.0, 2.0))
    assert len(fit(spikes, x, config(epochs=60, batch_size=20))) == 60
    just_below = Runaway(lambda step: (-18.0, 2.0) if step == 0 else (-18.0, 33.9))
    assert len(fit(just_below, x, config(epochs=60, batch_size=20))) == 60
    # with beta = 0 the rate costs nothing, and with a warm-up little at first
    free = Runaway(lambda step: (-18.0, 1e6))
    assert len(fit(free, x, config(epochs=60, batch_size=20, beta=0.0))) == 60


def test_a_real_run_that_blows_up_is_stopped(x):
    model = mlp_vae(12, 2, hidden=(8,), likelihood="gaussian", seed=0)
    with pytest.raises(TrainingDiverged, match=r"the (loss has been above|rate|reconstruction|parameter)"):
        fit(model, x, config(epochs=400, batch_size=10, learning_rate=50.0))


@pytest.mark.parametrize("window", [1, 2, 3, 7, 8])
def test_sums_that_wait_on_a_gpu_count_the_same(window):
    """A GPU is asked for several steps at once; here the window is set by hand, and the memory is reused."""
    position = Position()
    tally = Tally(config(), position, pixels=12, device=CPU)
    tally.window, tally.waiting = window, torch.zeros(window, 2, dtype=torch.float64)
    sums, scale = torch.empty(2), torch.tensor([-18.0, 4.0])
    for step in range(7):
        position.step = step
        tally.add(sums.copy_(scale * (step + 1)), rows=2, beta=1.0)
        waiting = (step + 1) % window
        assert position.totals == (scale * sum(range(1, step + 2 - waiting))).tolist()
    tally.settle()
    assert position.totals == (scale * 28).tolist()
    assert position.start == (scale / 2).tolist()

    def end():
        tally.add(torch.tensor([-18.0, math.inf]), rows=2, beta=1.0)
        tally.settle()

    with pytest.raises(TrainingDiverged, match="step 6: the rate is not finite"):
        end()


# --- output bias --------------------------------------------------------------------------------------


def test_the_bottom_decoder_of_a_hierarchy_starts_at_the_mean(x):
    model = hierarchical_mlp_vae(12, latents=(3, 2), hidden=((8,), (5,)), seed=0)
    set_output_bias(model, x)
    wanted = torch.logit(x.mean(0), eps=1e-3)
    assert torch.allclose(model.decoders[0].network[-1].bias, wanted)


# --- TensorBoard --------------------------------------------------------------------------------------


def test_tensorboard_gets_the_curves(x, tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder):
            written.append(folder)

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            pass

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    settings = config(objective="iwae", samples=2, epochs=2)
    history = fit(mlp_vae(12, 2, seed=0), x, settings, x[:9], on_epoch=TensorBoard(tmp_path / "board"))
    assert written[0] == str(tmp_path / "board")
    assert len(written) == 1 + 2 * 8
    assert ("bound/training", history.bound[0], 1) in written
    assert ("elbo/validation", history.validation_elbo[1], 2) in written


def test_without_tensorboard_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"tensorboard is not installed; wanted .* pip install tensorboard"):
        TensorBoard(tmp_path)
    assert list(tmp_path.iterdir()) == []
