"""The captured step. Here there is no GPU, so a graph is played by a function that is called again.

What a real graph asks for is checked all the same: nothing in the step waits for an answer, nothing moves,
the rehearsal leaves no trace, and the curve is that of the plain step.
"""

import functools

import pytest
import torch

from vae_lib.builders import hierarchical_mlp_vae
from vae_lib.models import VAE
from vae_lib.networks import conv_vae, mlp_vae
from vae_lib.training import TrainConfig, engines, fit, load_checkpoint
from vae_lib.training.captured import capture
from vae_lib.training.optimisers import make_optimiser
from vae_lib.training.recording import RecordedStep, trusting, waits
from vae_lib.training.resident import Resident
from vae_lib.training.steps import Step
from vae_lib.training.watched import unwatched

CPU = torch.device("cpu")


def config(**changes):
    settings = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01, "progress": False, "device": "cpu"}
    return TrainConfig(**settings | changes)


def model():
    """In double precision: a step size that is a tensor is not rounded then, and equal is equal."""
    return mlp_vae(12, 2, hidden=(8,), seed=0).double()


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.full((100, 12), 0.3, dtype=torch.float64), generator=generator)


class PlayedGraph:
    """It notes where the tensors lie when it is recorded, and insists that they lie there at each replay."""

    replays = 0

    def __init__(self, captured):
        self.captured = captured

    def addresses(self):
        captured, optimiser = self.captured, self.captured.step.optimiser
        tensors = [
            captured.rows,
            captured.scalars,
            *optimiser.parameters,
            *optimiser.first,
            *optimiser.second,
        ]
        tensors += optimiser.steps + getattr(optimiser, "waiting", [])
        return [t.data_ptr() for t in tensors]

    def record(self, function):
        recorded = self.addresses()  # and nothing is computed

        def replay():
            assert self.addresses() == recorded
            PlayedGraph.replays += 1
            return function()

        return replay


@pytest.fixture
def captured(monkeypatch):
    """`fit` takes the captured step, with a played graph."""

    def recorder(function):
        return PlayedGraph(function.__self__).record(function)

    graph = functools.partial(capture, recorder=recorder)

    def make_step(model, data, config, optimiser, team):
        return RecordedStep(model, data, config, optimiser, graph)

    monkeypatch.setattr("vae_lib.training.loop.make_step", make_step)
    monkeypatch.setattr(PlayedGraph, "replays", 0)


SETTINGS = {
    "elbo": {},
    "clipped": {"clip_norm": 0.5},
    "warm-up": {"beta": 2.0, "beta_warmup": 2, "schedule": "cosine"},
    "free bits": {"free_bits": 0.1},
    "sampled rate": {"analytic_kl": False, "samples": 3},
    "iwae": {"objective": "iwae", "samples": 3},
    "dreg": {"objective": "dreg", "samples": 3},
    "burda": {"optimiser": "burda", "objective": "iwae", "samples": 3},
    "burda without delay": {"optimiser": "burda-no-delay", "objective": "iwae", "samples": 3},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_curve_is_that_of_the_plain_step(x, name, request):
    ours, theirs = model(), model()
    plain = fit(theirs, x, config(**SETTINGS[name]), validation=x[:20])
    request.getfixturevalue("captured")
    history = fit(ours, x, config(**SETTINGS[name]), validation=x[:20])
    assert history.elbo == plain.elbo
    assert history.validation_elbo == plain.validation_elbo
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    # three whole batches and a short one in each of three epochs; Burda's first step is plain
    assert PlayedGraph.replays == (8 if name.startswith("burda") else 9)


def test_bfloat16_stays_inside(x, request):
    x = x.float()
    plain = fit(model().float(), x, config(precision="bf16"))
    request.getfixturevalue("captured")
    history = fit(model().float(), x, config(precision="bf16"))
    assert history.elbo == pytest.approx(plain.elbo, rel=1e-5)
    assert history.elbo != fit(model().float(), x, config()).elbo


def test_bytes_are_drawn_inside(x, request):
    grey = (torch.rand(70, 12) * 255).to(torch.uint8)
    plain = fit(model(), grey, config(binarise=True))
    request.getfixturevalue("captured")
    assert fit(model(), grey, config(binarise=True)).elbo == plain.elbo


@pytest.mark.parametrize("optimiser", ["adam", "burda"])
@pytest.mark.usefixtures("captured")
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(x, optimiser, tmp_path):
    straight, resumed = model(), model()
    history = fit(straight, x, config(optimiser=optimiser))
    calls = []

    def stop(*_):
        calls.append(0)
        if len(calls) > 14 and resumed.training:
            raise RuntimeError("stopped")

    hook = resumed.encoder.register_forward_pre_hook(stop)
    with pytest.raises(RuntimeError, match="stopped"):
        fit(resumed, x, config(optimiser=optimiser), checkpoint=tmp_path, save_every=0)
    hook.remove()
    assert 0 < load_checkpoint(tmp_path).position.batches < 4
    again = fit(resumed, x, config(optimiser=optimiser), checkpoint=tmp_path, resume=True)
    assert again.elbo == history.elbo
    for a, b in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures("captured")
def test_a_model_that_waits_is_trained_all_the_same(x):
    class Curious(VAE):
        def loss_terms(self, x, k=1):
            reconstruction, rate = super().loss_terms(x, k)
            return (reconstruction, rate) if rate.sum() > -1 else (reconstruction, 2 * rate)

    plain = model()
    curious = Curious(plain.encoder, plain.decoder)
    with pytest.warns(UserWarning, match=r"this Curious waits for the GPU \(_local_scalar_dense\)"):
        history = fit(curious, x, config())
    assert PlayedGraph.replays == 0
    assert history.elbo[-1] > history.elbo[0]


# ------------------------------------------------------------------ nothing waits

MODELS = {
    "mlp": lambda: model(),
    "gaussian": lambda: mlp_vae(12, 2, hidden=(8,), likelihood="gaussian", seed=0),
    "continuous bernoulli": lambda: mlp_vae(12, 2, hidden=(8,), likelihood="continuous_bernoulli", seed=0),
    "discretized logistic": lambda: mlp_vae(12, 2, hidden=(8,), likelihood="discretized_logistic", seed=0),
    "categorical": lambda: mlp_vae(12, 2, hidden=(8,), likelihood="categorical", seed=0),
    "convolutional": lambda: conv_vae((4, 3), 2, filters=(2,), hidden=(4,), seed=0),
    "hierarchical": lambda: hierarchical_mlp_vae(12, [3, 2], [[8], [4]], seed=0),
    "full covariance": lambda: mlp_vae(12, 2, hidden=(8,), posterior="full", seed=0),
    "vamp prior": lambda: mlp_vae(12, 2, hidden=(8,), prior="vamp", components=3, seed=0),
    "mixture prior": lambda: mlp_vae(12, 2, hidden=(8,), prior="mixture", components=3, seed=0),
}


def operations_that_wait(network, settings, data):
    """Those of one whole step, optimiser included."""
    dtype = next(network.parameters()).dtype
    resident = Resident(data if data.dtype == torch.uint8 else data.to(dtype), settings, CPU, dtype)
    step = RecordedStep(
        network, resident, settings, make_optimiser(settings.optimiser, network.named_parameters())
    )
    rows = torch.arange(settings.batch_size)
    operations = step.operations(rows)
    scalars = torch.tensor([0.01, 1.0, 1.0], dtype=dtype)
    network.train()
    with unwatched(network):
        operations(rows, scalars)
        return waits(lambda: operations(rows, scalars))


@pytest.mark.parametrize("name", MODELS)
def test_no_model_waits(x, name):
    assert operations_that_wait(MODELS[name](), config(), x) == []


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_waits(x, name):
    assert operations_that_wait(model(), config(**SETTINGS[name]), x) == []
    grey = (x * 255).to(torch.uint8)
    assert operations_that_wait(model(), config(binarise=True, **SETTINGS[name]), grey) == []


def test_a_likelihood_that_looks_would_wait(x):
    network, settings = model(), config()
    step = RecordedStep(
        network, Resident(x, settings, CPU), settings, make_optimiser("adam", network.named_parameters())
    )
    rows, scalars = torch.arange(32), torch.tensor([0.01, 1.0, 1.0], dtype=torch.float64)
    assert "_local_scalar_dense" in waits(lambda: step.operations(rows)(rows, scalars))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("_local_scalar_dense", lambda t: t.sum().item()),
        ("_local_scalar_dense", lambda t: bool((t > 0).any())),
        ("nonzero", lambda t: t.nonzero()),
        ("index", lambda t: t[t > 0]),
        ("masked_select", lambda t: t.masked_select(t > 0)),
        ("equal", lambda t: torch.equal(t, t)),
        ("_local_scalar_dense", lambda t: torch.distributions.Normal(t, t)),
    ],
)
def test_waiting_is_noticed(name, function):
    assert name in waits(lambda: function(torch.ones(3)))


def test_trust_keeps_distributions_from_looking():
    with trusting():
        assert waits(lambda: torch.distributions.Normal(torch.ones(3), torch.ones(3))) == []


# ------------------------------------------------------------------ which step a run takes


class Elsewhere(Resident):
    """Data that say that they lie on a GPU."""

    def __init__(self, data, config):
        super().__init__(data, config, CPU)
        self.real, self.data = self.data, self

    device = torch.device("cuda")


@pytest.mark.parametrize(
    ("changes", "kind", "graph"),
    [({}, RecordedStep, True), ({"objective": "iwae", "samples": 5, "prune": 1e-6}, Step, False)],
)
def test_on_cuda_the_step_is_captured_unless_its_size_changes(x, changes, kind, graph):
    from vae_lib.training.processes import Team

    settings, network = config(**changes), model()
    optimiser = make_optimiser("adam", network.named_parameters())
    step = engines.make_step(network, Elsewhere(x, settings), settings, optimiser, Team(CPU))
    assert type(step) is kind
    assert (getattr(step, "graph", None) is capture) == graph


needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA GPU, and there is none here"
)


@needs_cuda
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("name", [*SETTINGS, "binarise", "bf16"])
def test_on_a_gpu_the_graph_draws_the_curve_of_the_plain_step(x, name, compile, monkeypatch):
    changes = {"binarise": {"binarise": True}, "bf16": {"precision": "bf16"}, **SETTINGS}[name]
    settings = config(device="cuda", compile=compile, **changes)
    data = (x * 200).to(torch.uint8) if name == "binarise" else x.float()
    history = fit(model().float(), data, settings, validation=data[:20])
    again = fit(model().float(), data, settings, validation=data[:20])
    monkeypatch.setattr(
        "vae_lib.training.loop.make_step",
        lambda model, data, config, optimiser, team: Step(model, data, config, optimiser),
    )
    plain = fit(model().float(), data, settings, validation=data[:20])
    assert history.elbo == again.elbo
    # the noise of a graph comes from the same generator, at other places of its sequence
    error = 5 * abs(plain.elbo[-1]) / 100
    assert history.elbo[-1] == pytest.approx(plain.elbo[-1], abs=error)


@needs_cuda
def test_on_a_gpu_a_run_that_was_stopped_ends_as_if_it_had_not_been(x, tmp_path):
    straight = model()
    history = fit(straight, x, config(device="cuda"))

    def stop(so_far):
        if len(so_far) == 2:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fit(model(), x, config(device="cuda"), on_epoch=stop, checkpoint=tmp_path, save_every=0)
    resumed = model()
    again = fit(resumed, x, config(device="cuda"), checkpoint=tmp_path, resume=True)
    assert again.elbo == history.elbo
    for a, b in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(a, b)
