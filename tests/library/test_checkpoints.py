"""Checkpoints: whole or not at all, exact, refused when damaged, and a killed run that does not show it."""

import builtins
import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import vae_lib.networks
from vae_lib import builders, likelihoods, networks
from vae_lib.data import synthetic_linear_gaussian
from vae_lib.models import AutoEncoder
from vae_lib.networks import linear_vae, mlp_vae
from vae_lib.training import (
    CheckpointError,
    TrainConfig,
    TrainingDiverged,
    container,
    fit,
    load_checkpoint,
    save_checkpoint,
)
from vae_lib.training.history import CURVES

ROOT = Path(vae_lib.networks.__file__).parents[1 if vae_lib.networks.__file__.endswith("networks.py") else 2]
CONFIG = TrainConfig(
    epochs=3, batch_size=30, learning_rate=0.01, schedule="cosine", device="cpu", progress=False
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.full((100, 12), 0.3), generator=generator)


def small(seed=0, pixels=12, latent=2, hidden=(5,)):
    """A model that says how it is built, whether or not its builder already does."""
    model = mlp_vae(pixels, latent, hidden=hidden, seed=seed)
    arguments = {"pixels": pixels, "latent": latent, "hidden": list(hidden)}
    model.recipe = {"builder": "mlp_vae", "arguments": arguments}
    return model


def curves(history):
    return {name: getattr(history, name) for name in CURVES}


def same(one, other):
    """Bit for bit: NaN equals NaN, 0 does not equal -0."""
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(n == m and t.numpy().tobytes() == u.numpy().tobytes() for (n, t), (m, u) in pairs)


# --- the file -----------------------------------------------------------------------------------------

TENSORS = {
    "a": torch.tensor([[1.0, -0.0], [float("nan"), 3e-45]]),
    "b": torch.arange(6, dtype=torch.int64).reshape(2, 3).T,
    "empty": torch.zeros(0, 4, dtype=torch.float64),
    "nought": torch.tensor(7, dtype=torch.uint8),
}
DOCUMENT = {"step": 3, "text": "naïve β", "number": 0.1, "none": None}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "x.safetensors"
    shared = torch.ones(3)
    container.write(path, TENSORS | {"one": shared, "two": shared[:2]}, DOCUMENT)
    tensors, document = container.read(path)
    assert document == DOCUMENT
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].contiguous().numpy().tobytes() == tensor.contiguous().numpy().tobytes()
        assert tensors[name].shape == tensor.shape
    assert tensors["one"].tolist() == [1, 1, 1]
    assert tensors["two"].tolist() == [1, 1]
    assert tensors.keys() == {*TENSORS, "one", "two"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]


def test_the_same_content_makes_the_same_bytes(tmp_path):
    for name in ("x", "y"):
        container.write(tmp_path / name, dict(sorted(TENSORS.items(), reverse=name == "y")), DOCUMENT)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_it_is_a_plain_safetensors_file(tmp_path):
    from safetensors import safe_open

    container.write(tmp_path / "x", TENSORS, DOCUMENT)
    with safe_open(tmp_path / "x", "pt") as file:
        assert json.loads(file.metadata()["vae_lib"]) == DOCUMENT
        assert torch.equal(file.get_tensor("b"), TENSORS["b"])


def refusal(path):
    """The message with which a file is refused: one line that names it."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)
    return message


def test_every_truncation_is_refused(tmp_path):
    container.write(tmp_path / "whole", {"a": torch.ones(5)}, {"step": 1})
    whole = (tmp_path / "whole").read_bytes()
    path = tmp_path / "part"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert ("is truncated: " in refusal(path)) == (length > 8)
    path.write_bytes(whole + b"\0")
    assert "was altered" in refusal(path)


def test_every_flipped_bit_is_refused(tmp_path):
    container.write(tmp_path / "whole", {"a": torch.ones(5)}, {"step": 1})
    whole = (tmp_path / "whole").read_bytes()
    path = tmp_path / "flipped"
    messages = set()
    for place in range(len(whole)):
        for bit in (0, 3, 7):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            messages.add(refusal(path).removeprefix(str(path))[:14])
    assert " was altered: " in messages
    assert messages <= {" was altered: ", " is not a chec", " is truncated:"}


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "file"
    foreign = "is not a checkpoint of vae_lib"
    for content in (
        b"",
        b"\0" * 100,
        b"hello world, this is a text",
        pickle.dumps({"a": 1}),
        os.urandom(500),
    ):
        path.write_bytes(content)
        assert foreign in refusal(path)
    torch.save(small().state_dict(), path)
    assert foreign in refusal(path)
    save_file({"a": torch.ones(3)}, path)
    assert foreign in refusal(path)
    save_file({"a": torch.ones(3)}, path, metadata={"vae_lib": "{}"})
    assert foreign in refusal(path)
    assert "No such file" in refusal(tmp_path / "nowhere")
    (tmp_path / "empty_folder").mkdir()
    assert "last.safetensors could not be read" in refusal(tmp_path / "empty_folder")
    for header in (
        b'{"sha256":{"data_offsets":[0,"a"]}}',
        b'{"sha256":{"data_offsets":[-64,-32]}}',
        b"{" * 9000,
    ):
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
        assert foreign in refusal(path)


def forged(path, **changes):
    """A whole file with a digest that is right, and something else in its document."""
    save_checkpoint(path, small(), config=CONFIG)
    tensors, document = container.read(path)
    container.write(path, tensors, document | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "has the format 1; wanted 2"),
        ({"format": None}, "has the format None; wanted 2"),
        ({"config": {"epochs": 0}}, "cannot be used: epochs is 0"),
        ({"config": {"speed": 1}}, "cannot be used: .*speed"),
        ({"position": {"epoch": 1, "colour": 2}}, "cannot be used: .*colour"),
        ({"history": True}, "cannot be used: it lacks 'history.elbo'"),
        ({"recipe": {"builder": "mlp_vae"}}, "recipe that fails: it lacks 'arguments'"),
        ({"recipe": {"builder": "os.system", "arguments": {}}}, "has no builder 'os.system'"),
        ({"recipe": {"builder": "torch", "arguments": {}}}, "has no builder 'torch'"),
        ({"recipe": {"builder": "Decoder", "arguments": {}}}, "has no builder 'Decoder'"),
        ({"recipe": {"builder": "mlp_vae", "arguments": {"pixels": 0, "latent": 2}}}, "pixels is 0"),
        (
            {"recipe": {"builder": "mlp_vae", "arguments": {"pixels": 12, "latent": 2, "hue": 2}}},
            "that fails: .*hue",
        ),
        # public, but no builders: they would be called with whatever the file says
        ({"recipe": {"builder": "bounded_log_var", "arguments": {"raw": 2}}}, "has no builder"),
        ({"recipe": {"builder": "linear_gaussian_model", "arguments": {"model": 1}}}, "has no builder"),
        ({"recipe": {"builder": "set_output_bias", "arguments": {"model": 1, "x": 2}}}, "has no builder"),
        ({"recipe": {"builder": ["mlp_vae"], "arguments": {}}}, "recipe that fails: .*list"),
        ({"recipe": None}, "does not say how its model is built"),
        (
            {"recipe": {"builder": "mlp_vae", "arguments": {"pixels": 12, "latent": 3, "hidden": [5]}}},
            r"holds another model: decoder.network.0.weight is \(5, 2\) torch.float32; wanted \(5, 3\)",
        ),
        (
            {"recipe": {"builder": "mlp_vae", "arguments": {"pixels": 12, "latent": 2, "hidden": []}}},
            "holds another model",
        ),
    ],
)
def test_documents_that_make_no_sense_are_refused(tmp_path, changes, message):
    forged(tmp_path / "x", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "x")
    assert "\n" not in refusal(tmp_path / "x")


def test_a_refused_model_is_not_touched(tmp_path):
    save_checkpoint(tmp_path / "x", small(latent=3))
    model, twin = small(), small()
    with pytest.raises(CheckpointError, match="holds another model"):
        load_checkpoint(tmp_path / "x", model)
    assert same(model, twin)
    with pytest.raises(CheckpointError, match=r"float32; wanted .* torch\.float64"):
        load_checkpoint(tmp_path / "x", small(latent=3).double())
    with pytest.raises(CheckpointError, match="this model has no decoder"):
        load_checkpoint(tmp_path / "x", nn.ModuleDict({"encoder": small(latent=3).encoder}))
    model = small(latent=3)
    model.more = nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match=r"the checkpoint has no more\.bias"):
        load_checkpoint(tmp_path / "x", model)


@pytest.mark.parametrize("notes", [{"a": torch.ones(1)}, {"a": float("nan")}, {"a": small}])
def test_notes_must_be_json(tmp_path, notes):
    with pytest.raises(ValueError, match="is not JSON"):
        save_checkpoint(tmp_path / "x", small(), notes=notes)
    assert list(tmp_path.iterdir()) == []


# --- writing ------------------------------------------------------------------------------------------


def test_the_content_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    deeds = []
    sync, swap = os.fsync, os.replace

    def fsync(descriptor):
        deeds.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        sync(descriptor)

    def rename(source, target):
        deeds.append("rename")
        assert Path(source).parent == Path(target).parent
        assert Path(source).read_bytes() == b"new"
        assert Path(target).read_bytes() == b"old"
        swap(source, target)

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    container.write_atomically(tmp_path / "x", b"new")
    assert deeds == ["file", "rename", "folder"]
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.fixture
def small_disk():
    """No file may grow beyond 4,000 bytes: a real error of the system, also for the superuser."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def shrink(size=4000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield shrink
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, small_disk):
    path = tmp_path / "x"
    save_checkpoint(path, small(seed=1))
    small_disk(1000)
    with pytest.raises(CheckpointError, match="x could not be written: File too large; the file from before"):
        save_checkpoint(path, small(seed=2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert same(load_checkpoint(path).model, small(seed=1))


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_whatever_fails_is_said_in_one_line(tmp_path, monkeypatch, call, code):
    path = tmp_path / "x"
    save_checkpoint(path, small(seed=1))

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(*(("builtins.open", fail) if call == "open" else (os, call, fail)))
        with pytest.raises(CheckpointError) as caught:
            save_checkpoint(path, small(seed=2))
    assert str(caught.value).startswith(f"{path} could not be written: {os.strerror(code)}")
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert same(load_checkpoint(path).model, small(seed=1))


def test_a_folder_that_cannot_be_made(tmp_path, x):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/run could not be made: Not a directory"):
        fit(small(), x, CONFIG, checkpoint=tmp_path / "file" / "run")
    with pytest.raises(CheckpointError, match=r"file could not be made: File exists"):
        fit(small(), x, CONFIG, checkpoint=tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"no/x could not be written: No such file"):
        save_checkpoint(tmp_path / "no" / "x", small())


# --- models -------------------------------------------------------------------------------------------


def test_the_model_comes_back(tmp_path, x):
    model = small()
    history = fit(model, x, CONFIG, x[:20], checkpoint=tmp_path / "run", notes={"data": "coins"})
    state = torch.random.get_rng_state()
    found = load_checkpoint(tmp_path / "run")
    assert found.path == tmp_path / "run" / "last.safetensors"
    assert same(found.model, model)
    assert not found.model.training
    assert curves(found.history) == curves(history)
    assert found.config == CONFIG
    assert found.notes == {"data": "coins"}
    assert found.versions["torch"] == torch.__version__
    assert found.device == "cpu"
    assert (found.position.epoch, found.position.step, found.position.batches) == (3, 12, 0)
    torch.random.set_rng_state(state)


def test_shared_parameters_and_double_precision(tmp_path):
    model = linear_vae(8, 3, seed=0).double()
    model.recipe = {"builder": "linear_vae", "arguments": {"pixels": 8, "latent": 3}}
    fit(model, synthetic_linear_gaussian(200).double(), CONFIG, checkpoint=tmp_path)
    found = load_checkpoint(tmp_path).model
    assert same(found, model)
    assert found.encoder.centre is found.decoder.network[0].bias
    assert found.encoder.weight.dtype == torch.float64


def test_a_model_without_a_recipe_goes_into_one_of_its_make(tmp_path):
    save_checkpoint(tmp_path / "x", nn.Linear(3, 2))
    with pytest.raises(CheckpointError, match=r"wanted load_checkpoint\(path, model\)"):
        load_checkpoint(tmp_path / "x")
    model = nn.Linear(3, 2)
    found = load_checkpoint(tmp_path / "x", model)
    assert found.model is model
    assert found.config is None
    assert found.history is None


# --- a run that goes on -------------------------------------------------------------------------------


class Died(BaseException):
    """Stands in for the end of the process, at a chosen call of the model."""


def dying(model, calls):
    """The model, which dies when it has been called so many times."""
    left = [calls]

    def count(*_):
        left[0] -= 1
        if left[0] < 0:
            raise Died

    model.encoder.register_forward_pre_hook(count)
    return model


def test_a_run_that_dies_anywhere_ends_the_same(tmp_path, x):
    whole, plain = small(), small()
    config = replace(CONFIG, samples=2, epochs=2, batch_size=40)
    wanted = curves(fit(whole, x, config, x[:20], checkpoint=tmp_path / "whole", save_every=0))
    assert curves(fit(plain, x, config, x[:20])) == wanted  # checkpoints change nothing
    assert same(plain, whole)
    for calls in range(8):  # two epochs of three steps and one validation
        folder = tmp_path / str(calls)
        with pytest.raises(Died):
            fit(dying(small(), calls), x, config, x[:20], checkpoint=folder, save_every=0)
        model = small(seed=7)  # its weights must not matter
        torch.manual_seed(calls)
        torch.randn(calls)
        history = fit(model, x, config, x[:20], checkpoint=folder, resume=True, save_every=1000)
        assert curves(history) == wanted, calls
        assert same(model, whole), calls
        for name in ("last.safetensors", "best.safetensors"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (calls, name)
        lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        assert [line["validation_elbo"] for line in lines] == wanted["validation_elbo"]


def test_it_really_goes_on(tmp_path, x):
    with pytest.raises(Died):
        fit(dying(small(), 9), x, CONFIG, checkpoint=tmp_path, save_every=0)
    model, calls = small(), []
    model.encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    fit(model, x, CONFIG, checkpoint=tmp_path, resume=True)
    assert len(calls) == 12 - 9


def test_saves_are_as_far_apart_as_asked(tmp_path, x, monkeypatch):
    saves = []
    write = container.write
    monkeypatch.setattr(container, "write", lambda *a: (saves.append(a[0].name), write(*a)))
    fit(small(), x, CONFIG, checkpoint=tmp_path / "a", save_every=1000)
    assert saves == ["last.safetensors"] * 2
    saves.clear()
    fit(small(), x, CONFIG, checkpoint=tmp_path / "b", save_every=0)
    assert saves == ["last.safetensors"] * (1 + 12 + 3 + 1)
    saves.clear()
    fit(small(), x, CONFIG, x[:20], checkpoint=tmp_path / "d", save_every=1000)
    # the best epoch first: were the run killed in between, `last` must not know of one that is lost
    assert saves == ["last.safetensors", "best.safetensors", "last.safetensors"]
    with pytest.raises(ValueError, match="save_every is -1"):
        fit(small(), x, CONFIG, checkpoint=tmp_path / "c", save_every=-1)


def test_killed_processes_end_the_same():
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tools" / "kill_test.py"), "--kills", "4", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["broken"] == 0
    assert report["rounds"] == 4
    assert report["kills"] >= 1  # a kill may come after the end of a quick run


def test_a_finished_run_stays_finished(tmp_path, x):
    first = fit(small(), x, CONFIG, checkpoint=tmp_path)
    before = (tmp_path / "last.safetensors").read_bytes()
    model, called = small(seed=3), []
    again = fit(model, x, CONFIG, checkpoint=tmp_path, resume=True, on_epoch=called.append)
    assert curves(again) == curves(first)
    assert called == []
    assert same(model, load_checkpoint(tmp_path).model)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert again.seconds > 0


def test_a_run_that_its_callback_ended_stays_ended(tmp_path, x):
    fit(small(), x, CONFIG, checkpoint=tmp_path, on_epoch=lambda h: len(h) == 2)
    assert len(fit(small(), x, CONFIG, checkpoint=tmp_path, resume=True)) == 2


def test_a_folder_in_use_is_not_overwritten(tmp_path, x):
    fit(small(), x, CONFIG, checkpoint=tmp_path)
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="is there already; wanted resume=True"):
        fit(small(seed=2), x, CONFIG, checkpoint=tmp_path)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    with pytest.raises(ValueError, match="resume is True, but checkpoint is None"):
        fit(small(), x, CONFIG, resume=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 4),
        ("batch_size", 31),
        ("learning_rate", 0.02),
        ("schedule", "constant"),
        ("seed", 1),
        ("beta", 2.0),
        ("samples", 2),
        ("objective", "iwae"),
        ("analytic_kl", False),
        ("beta_warmup", 1),
        ("free_bits", 0.1),
        ("binarise", True),
        ("levels", 17),
        ("optimiser", "burda"),
        ("clip_norm", 1.0),
        ("precision", "bf16"),
    ],
)
def test_another_run_is_refused(tmp_path, x, field, value):
    fit(small(), x, CONFIG, checkpoint=tmp_path, on_epoch=lambda h: len(h) == 1)
    model = small(seed=5)
    with pytest.raises(CheckpointError, match=f"was trained with {field} = "):
        fit(model, x, replace(CONFIG, **{field: value}), checkpoint=tmp_path, resume=True)
    assert same(model, small(seed=5))


def test_other_data_and_other_models_are_refused(tmp_path, x):
    fit(small(), x, CONFIG, x[:20], checkpoint=tmp_path)
    arguments = {"checkpoint": tmp_path, "resume": True}
    with pytest.raises(CheckpointError, match="made with other training data"):
        fit(small(), x.flip(0), CONFIG, x[:20], **arguments)
    with pytest.raises(CheckpointError, match="made with other validation data"):
        fit(small(), x, CONFIG, **arguments)
    with pytest.raises(CheckpointError, match="holds another model"):
        fit(small(latent=3), x, CONFIG, x[:20], **arguments)
    fit(small(), x, replace(CONFIG, threads=None, device="auto"), x[:20], **arguments)
    save_checkpoint(tmp_path / "last.safetensors", small(), config=CONFIG)
    with pytest.raises(CheckpointError, match="holds a model but no run"):
        fit(small(), x, CONFIG, x[:20], **arguments)
    tensors, document = container.read(tmp_path / "best.safetensors")
    container.write(tmp_path / "last.safetensors", tensors, document | {"device": "cuda"})
    with pytest.raises(CheckpointError, match="was trained on cuda; wanted the same to go on, not cpu"):
        fit(small(), x, CONFIG, x[:20], **arguments)


def test_the_best_epoch_is_kept_with_its_own_moments(tmp_path, x):
    config = replace(CONFIG, epochs=40, learning_rate=0.1, schedule="constant")
    few = x[:30]
    history = fit(small(), few, config, x[30:], checkpoint=tmp_path)
    top = max(history.validation_elbo)
    epoch = history.validation_elbo.index(top) + 1
    assert 1 < epoch < 40  # else this test would show nothing
    best = load_checkpoint(tmp_path / "best.safetensors")
    assert best.position.epoch == len(best.history) == epoch
    assert best.history.validation_elbo[-1] == top
    assert best.tensors["optimiser.steps.encoder.network.0.bias"] == epoch
    again = fit(small(), few, replace(config, epochs=40), on_epoch=lambda h: len(h) == epoch)
    assert len(again) == epoch
    twin = small()
    fit(twin, few, config, on_epoch=lambda h: len(h) == epoch)
    assert same(best.model, twin)


def test_without_validation_there_is_no_best(tmp_path, x):
    fit(small(), x, CONFIG, checkpoint=tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["history.jsonl", "last.safetensors"]


def test_a_model_without_a_bound_is_ranked_by_its_reconstruction(tmp_path, x):
    vae = small()
    model = AutoEncoder(vae.encoder, vae.decoder)
    history = fit(model, x, CONFIG, x[:20], checkpoint=tmp_path)
    best = load_checkpoint(tmp_path / "best.safetensors", AutoEncoder(small().encoder, small().decoder))
    assert best.history.validation_reconstruction[-1] == max(history.validation_reconstruction)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[2])["elbo"] is None
    assert json.loads(lines[2])["rate"] == 0.0


# --- a run that fails ---------------------------------------------------------------------------------


def test_divergence_names_the_last_good_checkpoint(tmp_path, x):
    model, calls = small(), []

    def poison(gradient):
        calls.append(1)
        return gradient * (float("nan") if len(calls) == 7 else 1)

    model.encoder.network[0].bias.register_hook(poison)
    last = tmp_path / "last.safetensors"
    with pytest.raises(TrainingDiverged, match=f"bias is not finite.*; the last good checkpoint is {last}$"):
        fit(model, x, CONFIG, x[:20], checkpoint=tmp_path, save_every=0)
    found = load_checkpoint(last)
    assert found.position.step == 6
    assert all(torch.isfinite(tensor).all() for tensor in found.model.state_dict().values())
    assert (tmp_path / "best.safetensors").exists()


def test_the_best_epoch_survives_the_end_of_the_run(tmp_path, x):
    def interrupt(history):
        if len(history) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(small(), x, CONFIG, x[:20], on_epoch=interrupt, checkpoint=tmp_path)
    best = load_checkpoint(tmp_path / "best.safetensors")
    assert best.history.validation_elbo[-1] == max(best.history.validation_elbo)


def test_a_disk_that_fills_up_during_the_run(tmp_path, x, small_disk):
    wanted = small()
    fit(wanted, x, CONFIG, x[:20], checkpoint=tmp_path / "whole")
    run = tmp_path / "run"
    with pytest.raises(CheckpointError, match="could not be written: File too large; the file from before"):
        fit(
            small(),
            x,
            CONFIG,
            x[:20],
            checkpoint=run,
            save_every=0,
            on_epoch=lambda h: small_disk() if len(h) == 2 else None,
        )
    assert load_checkpoint(run).position.epoch in (1, 2)
    assert load_checkpoint(run / "best.safetensors").position.epoch >= 1
    assert not list(run.glob(".*"))
    small_disk(resource.RLIM_INFINITY)
    model = small()
    fit(model, x, CONFIG, x[:20], checkpoint=run, resume=True)
    assert same(model, wanted)


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_a_folder_that_turns_read_only_during_the_run(tmp_path, x, monkeypatch, call, code):
    wanted = small()
    fit(wanted, x, CONFIG, checkpoint=tmp_path / "whole")
    run, write = tmp_path / "run", builtins.open

    def refuse(*arguments, **keywords):
        if call == "open" and not ("w" in arguments[1:2] or "wb" in arguments[1:2]):
            return write(*arguments, **keywords)
        raise OSError(code, os.strerror(code))

    def turn(history):
        if len(history) == 2:
            monkeypatch.setattr(*((builtins, "open", refuse) if call == "open" else (os, call, refuse)))

    message = (
        rf"last\.safetensors could not be written: {os.strerror(code)}; the file from before is untouched$"
    )
    with pytest.raises(CheckpointError, match=message):
        fit(small(), x, CONFIG, checkpoint=run, save_every=0, on_epoch=turn)
    monkeypatch.undo()
    assert load_checkpoint(run).position.step == 8  # two epochs of four steps: saved before the callback
    assert sorted(entry.name for entry in run.iterdir()) == ["history.jsonl", "last.safetensors"]
    model = small()
    fit(model, x, CONFIG, checkpoint=run, resume=True)
    assert same(model, wanted)


def test_everything_goes_on_bit_for_bit(tmp_path):
    """Each of these settings has a state or a noise of its own."""
    grey = torch.randint(0, 256, (100, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    extra = {"objective": "iwae", "samples": 5, "prune": 1e-3}
    for name, changes in {
        "iwae": extra | {"optimiser": "burda", "schedule": "burda", "clip_norm": 0.5},
        "dreg": {"objective": "dreg", "samples": 3, "optimiser": "burda-no-delay"},
        "elbo": {"beta_warmup": 2, "free_bits": 0.05, "analytic_kl": False, "precision": "bf16"},
    }.items():
        config = replace(CONFIG, binarise=True, **changes)
        whole, plain = small(), small()
        wanted = curves(fit(whole, grey, config, grey[:20], checkpoint=tmp_path / name, save_every=0))
        assert curves(fit(plain, grey, config, grey[:20])) == wanted
        for calls in (1, 6, 11):
            folder = tmp_path / f"{name}-{calls}"
            with pytest.raises(Died):
                fit(dying(small(), calls), grey, config, grey[:20], checkpoint=folder, save_every=0)
            model = small(seed=7)
            history = fit(model, grey, config, grey[:20], checkpoint=folder, resume=True, save_every=1000)
            assert curves(history) == wanted, (name, calls)
            assert same(model, whole), (name, calls)
            for file in ("last.safetensors", "best.safetensors"):
                assert (folder / file).read_bytes() == (tmp_path / name / file).read_bytes(), (name, calls)


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path, x):
    fit(small(), x, CONFIG, checkpoint=tmp_path)
    last = tmp_path / "last.safetensors"
    damaged = bytearray(last.read_bytes())
    damaged[-50] ^= 4
    last.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"last\.safetensors was altered"):
        fit(small(), x, CONFIG, checkpoint=tmp_path, resume=True)
    assert last.read_bytes() == damaged


@pytest.mark.parametrize(
    "model",
    [
        networks.mlp_vae(12, 2, hidden=(5, 4), posterior="full", prior="mixture", seed=1),
        networks.conv_vae((6, 7), latent=2, seed=1),
        networks.linear_vae(12, 3),
        builders.hierarchical_mlp_vae(12, seed=1),
    ],
    ids=["mlp", "conv", "linear", "hierarchical"],
)
def test_a_builder_notes_how_it_was_called(tmp_path, model):
    save_checkpoint(tmp_path / "model.safetensors", model)
    again = load_checkpoint(tmp_path / "model.safetensors").model
    assert type(again) is type(model)
    for (name, one), (other, two) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(one, two)


def test_a_builder_that_was_given_a_module_notes_nothing():
    assert not hasattr(networks.mlp_vae(12, 2, likelihood=likelihoods.Gaussian()), "recipe")
