"""The compiled step: the plain one's numbers, its state, its refusals. One small function is compiled."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from vae_lib.builders import hierarchical_mlp_vae
from vae_lib.networks import conv_vae, mlp_vae
from vae_lib.training import TrainConfig, fit, load_checkpoint
from vae_lib.training.compiled import CompiledStep
from vae_lib.training.optimisers import make_optimiser
from vae_lib.training.recording import trusting
from vae_lib.training.resident import Resident
from vae_lib.training.steps import Step
from vae_lib.training.watched import unwatched

# torch's compiler imports a part of torch that torch itself calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def config(**changes):
    settings = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01, "progress": False, "device": "cpu"}
    return TrainConfig(**settings | {"compile": True, "binarise": True} | changes)


def same(one, other, **tolerance):
    """Whether two models have the same parameters."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, **tolerance) for a, b in pairs)


def model(likelihood="gaussian"):
    """In double precision, so that rounding is all that is left between two ways of computing.

    The variance of the Gaussian is a parameter without dimensions: torch's compiler needs care with those.
    """
    return mlp_vae(12, 2, hidden=(8,), likelihood=likelihood, seed=0).double()


@pytest.fixture(scope="module")
def x():
    """Grey; the runs below draw zeros and ones from it, so that noise of two kinds is compiled."""
    return torch.rand(100, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def runs(x, tmp_path_factory):
    """A plain run, a compiled one, and a compiled one that was stopped within an epoch and went on."""
    folder = tmp_path_factory.mktemp("run")
    before = torch.get_num_threads()
    shapes = []
    plain, straight, resumed = model(), model(), model()
    histories = {"plain": fit(plain, x, config(compile=False))}

    def compiled(self, rows, **numbers):
        shapes.append(len(rows))
        if len(shapes) == 7:
            raise Stopped
        return original(self, rows, **numbers)

    original = CompiledStep.__call__
    CompiledStep.__call__ = compiled
    try:
        with pytest.raises(Stopped):
            fit(model(), x, config(), checkpoint=folder, save_every=0)
        histories["resumed"] = fit(resumed, x, config(), checkpoint=folder, resume=True)
    finally:
        CompiledStep.__call__ = original
    torch._dynamo.utils.counters.clear()
    histories["straight"] = fit(straight, x, config())
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert torch.get_num_threads() == before
    models = {"plain": plain, "straight": straight, "resumed": resumed}
    return {"histories": histories, "models": models, "graphs": graphs, "shapes": shapes, "folder": folder}


@pytest.mark.timeout(600)
def test_the_curve_is_that_of_the_plain_step(runs):
    plain, compiled = runs["histories"]["plain"], runs["histories"]["straight"]
    assert compiled.elbo == pytest.approx(plain.elbo, rel=1e-12)
    assert compiled.rate == pytest.approx(plain.rate, rel=1e-10)
    assert same(runs["models"]["straight"], runs["models"]["plain"], rtol=1e-9, atol=1e-12)


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(runs):
    assert runs["shapes"][:7] == [32, 32, 32, 4, 32, 32, 32]  # stopped in the second epoch
    assert runs["histories"]["resumed"].elbo == runs["histories"]["straight"].elbo
    assert same(runs["models"]["resumed"], runs["models"]["straight"], rtol=0, atol=0)


def test_one_shape_is_compiled_and_no_other(runs):
    assert runs["graphs"] == 1


def test_the_checkpoint_of_a_compiled_run_is_a_plain_one(runs, x, tmp_path):
    plain = model()
    fit(plain, x, config(compile=False), checkpoint=tmp_path)
    wanted = load_checkpoint(tmp_path, model()).tensors
    saved = load_checkpoint(runs["folder"], model()).tensors
    assert saved.keys() == wanted.keys()
    for name, tensor in saved.items():
        assert tensor.dtype == wanted[name].dtype
        assert torch.allclose(tensor.double(), wanted[name].double(), rtol=1e-8, atol=1e-12), name
    assert torch.equal(saved["optimiser.steps.encoder.network.0.bias"], torch.tensor(12.0))


# --- what does not need a compiler ---------------------------------------------------------------------


SETTINGS = {
    "clipped": {"clip_norm": 0.3},
    "warm-up": {"beta": 2.0, "beta_warmup": 2, "schedule": "cosine"},
    "free bits": {"free_bits": 0.1},
    "sampled rate": {"analytic_kl": False, "samples": 3},
    "iwae": {"objective": "iwae", "samples": 3},
    "dreg": {"objective": "dreg", "samples": 3, "clip_norm": 0.3},
    "burda": {"objective": "iwae", "samples": 3, "optimiser": "burda", "clip_norm": 0.3},
    "burda without delay": {"optimiser": "burda-no-delay"},
}


def test_two_runs_in_one_program_keep_apart(x, monkeypatch):
    # without guards, nothing but its own code tells torch's compiler which run a call belongs to
    compiled = torch.compile

    def without_compiler(operations, **settings):
        guards = {"guard_filter_fn": settings["options"]["guard_filter_fn"]}
        return compiled(operations, backend="eager", fullgraph=True, dynamic=False, options=guards)

    def interleaved(kind):
        steps, sums = [], []
        for hidden in (1, 2, 3):
            network = mlp_vae(12, 2, hidden=(hidden,), seed=0).double()
            settings = config(batch_size=10 + hidden)
            data = Resident(x, settings, torch.device("cpu"), torch.float64)
            steps.append(kind(network, data, settings, make_optimiser("adam", network.named_parameters())))
            sums.append([])
        for number in range(3):
            for step, seen in zip(steps, sums, strict=True):
                rows = torch.arange(step.config.batch_size)
                torch.manual_seed(number)
                with unwatched(step.model):
                    seen.append(step(rows, learning_rate=0.01, beta=1.0, number=number).tolist())
        return sums

    wanted = interleaved(Step)
    monkeypatch.setattr(torch, "compile", without_compiler)
    for ours, theirs in zip(interleaved(CompiledStep), wanted, strict=True):
        assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=1e-10)


def test_bytes_are_drawn_in_the_recorded_step(x, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda operations, **options: operations)
    grey = (x * 255).to(torch.uint8)
    wanted = fit(model(), grey, config(compile=False))
    assert fit(model(), grey, config()).elbo == pytest.approx(wanted.elbo, rel=1e-12)


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_compiled_is_the_step_of_the_settings(x, name, monkeypatch):
    # the recorded operations themselves, without the compiler, which the test above has for one of them
    monkeypatch.setattr(torch, "compile", lambda operations, **options: operations)
    plain, recorded = model(), model()
    wanted = fit(plain, x, config(compile=False, **SETTINGS[name]))
    history = fit(recorded, x, config(**SETTINGS[name]))
    assert history.elbo == pytest.approx(wanted.elbo, rel=1e-12)
    assert history.rate == pytest.approx(wanted.rate, rel=1e-10)
    assert same(recorded, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "build",
    [
        lambda: hierarchical_mlp_vae(12, [3, 2], [[8], [4]], seed=0),
        lambda: conv_vae((4, 3), 2, filters=(2,), hidden=(4,), seed=0),
        lambda: mlp_vae(12, 2, hidden=(8,), posterior="full", prior="vamp", components=3, seed=0),
        lambda: mlp_vae(12, 2, hidden=(8,), likelihood="gaussian", prior="mixture", components=3, seed=0),
    ],
    ids=["hierarchical", "convolutional", "full, vamp", "gaussian, mixture"],
)
def test_every_model_can_be_recorded(x, build, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda operations, **options: operations)
    plain, recorded = build().double(), build().double()
    wanted = fit(plain, x, config(compile=False, epochs=2))
    assert fit(recorded, x, config(epochs=2)).elbo == pytest.approx(wanted.elbo, rel=1e-12)
    assert same(recorded, plain, rtol=1e-9, atol=1e-12)


def test_no_whole_batch_no_compiler():
    # 40 examples in batches of 64 are one short batch: the plain step takes it
    code = (
        "import sys, torch\n"
        "from vae_lib.networks import mlp_vae\n"
        "from vae_lib.training import TrainConfig, fit\n"
        "config = TrainConfig(epochs=1, batch_size=64, progress=False, device='cpu', compile=True)\n"
        "fit(mlp_vae(8, 2), torch.ones(40, 8), config)\n"
        "print('torch._inductor' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_without_a_compiler_there_is_one_clear_line(x, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"compile is True, but there is no C\+\+ compiler 'g\+\+'"):
        fit(model(), x, config())


def test_the_compiler_of_the_variable_is_the_one_that_is_looked_for(x, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="no C\\+\\+ compiler 'no-such-compiler'"):
        fit(model(), x, config())


def test_a_step_that_cannot_be_recorded_is_refused_in_one_line(x):
    class Curious(nn.Module):
        """It asks for a number in the middle of a step."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def loss_terms(self, x, k=1):
            values = x.sum(-1) * self.weight
            return (values if values.sum() > 0 else 2 * values), 0 * values

    with pytest.raises(ValueError, match=r"this Curious cannot be compiled .*wanted compile=False") as error:
        fit(Curious(), x, config())
    assert "\n" not in str(error.value)


def test_grey_pixels_are_refused_although_nobody_looks_later(x):
    grey = x.round()
    grey[71, 3] = 0.5
    with pytest.raises(ValueError, match=r"data holds 1 grey pixels, such as 0\.5"):
        fit(model("bernoulli"), grey, config(binarise=False))


def test_distributions_look_again_after_compiling(runs):
    with pytest.raises(ValueError, match="scale"):
        torch.distributions.Normal(torch.zeros(2), -torch.ones(2))


def test_trust_ends_whatever_happens():
    def work():
        with trusting():
            torch.distributions.Normal(torch.zeros(2), -torch.ones(2))
            raise Stopped

    with pytest.raises(Stopped):
        work()
    with pytest.raises(ValueError, match="scale"):
        torch.distributions.Normal(torch.zeros(2), -torch.ones(2))


def test_pruning_and_compiling_exclude_each_other():
    with pytest.raises(ValueError, match="compile is True, but prune is 1e-06"):
        config(objective="iwae", samples=5, prune=1e-6)
