"""Many processes, one run: the curve of one, the order, resuming, and failing together without a hang.

Two processes are forked from this one, which has imported everything: that costs a second in place of ten.
The launch by torchrun itself is one test at the end.
"""

import contextlib
import io
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import torch
from torch import nn

import vae_lib
from vae_lib.commands.train import main
from vae_lib.networks import mlp_vae
from vae_lib.training import TrainConfig, fit, load_checkpoint
from vae_lib.training.container import CheckpointError
from vae_lib.training.history import CURVES
from vae_lib.training.processes import together
from vae_lib.training.sharded import shards_of

LIMIT = 90  # seconds for all that the two processes do; a hang is a failure

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def config(**changes):
    settings = {"epochs": 3, "batch_size": 15, "learning_rate": 0.01, "progress": False, "device": "cpu"}
    return TrainConfig(**settings | changes)


def model():
    return mlp_vae(12, 2, hidden=(8,), seed=0)


def examples():
    """46 of them: in batches of 15, cut into shards of 8 and 7, one is left over, and a shard is empty."""
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.full((46, 12), 0.3), generator=generator)


def curves(history):
    return {name: getattr(history, name) for name in CURVES if getattr(history, name)}


def outcome(work):
    """The error that work ends with, as a child can write it down."""
    try:
        work()
    except Exception as error:
        return [type(error).__name__, str(error)]
    return None


class Noting(nn.Module):
    """Notes which examples it sees; the terms are the data, whatever the parameter is."""

    def __init__(self):
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(()))
        self.seen = []

    def loss_terms(self, x, k=1):
        self.seen.append(x[:, 0].tolist())
        return x[:, 0] + 0 * self.parameter, x[:, 1] + 0 * self.parameter


def failing(rank, step, error):
    """A model that fails in one process, at one of its batches."""
    network = model()
    calls = []

    def fail(*_):
        calls.append(0)
        if network.training and len(calls) == step and os.environ["RANK"] == str(rank):
            raise error

    network.encoder.register_forward_pre_hook(fail)
    return network


# ------------------------------------------------------------------ what both processes do


def straight(rank, folder):
    network = model()
    history = fit(network, examples(), config(), validation=examples()[:20], checkpoint=folder / "straight")
    weights = torch.cat([p.detach().flatten() for p in network.parameters()])
    return {"curves": curves(history), "weights": weights.tolist()}


def order(rank, folder):
    network = Noting()
    data = torch.arange(46.0)[:, None].repeat(1, 2)
    history = fit(network, data, config(epochs=2))
    return {"seen": network.seen, "reconstruction": history.reconstruction}


def resumed(rank, folder):
    # process 1 fails in the second epoch; both end; then both go on from what process 0 has saved
    def stop():
        error = ValueError("no more")
        fit(
            failing(1, 7, error), examples(), config(), examples()[:20], checkpoint=folder / "b", save_every=0
        )

    error = outcome(stop)
    network = mlp_vae(12, 2, hidden=(8,), seed=rank)  # their own start must not matter
    go_on = {"checkpoint": folder / "b", "resume": True}
    history = fit(network, examples(), config(), validation=examples()[:20], **go_on)
    return {"error": error, "curves": curves(history)}


def diverged(rank, folder):
    network, batches = model(), []

    def spoil(module, inputs, output):
        batches.append(0)
        return output * math.nan if rank == 1 and len(batches) == 3 else output

    network.decoder.network.register_forward_hook(spoil)
    network.decoder.likelihood.validate = False  # or it would refuse the NaN before the loss is one
    return outcome(lambda: fit(network, examples(), config(), checkpoint=folder / "nan"))


def refused_callback(rank, folder):
    def on_epoch(history):
        raise OSError("the disk is full")

    return outcome(lambda: fit(model(), examples(), config(), on_epoch=on_epoch))


def stopped(rank, folder):
    calls = []
    history = fit(model(), examples(), config(), on_epoch=lambda h: calls.append(len(h)) or len(h) == 2)
    return [len(history), calls]


def other_data(rank, folder):
    return outcome(lambda: fit(model(), examples()[rank:], config()))


def three_shards(rank, folder):
    return outcome(lambda: fit(model(), examples(), config(shards=3)))


def compiled(rank, folder):
    return outcome(lambda: fit(model(), examples(), config(compile=True)))


def existing_folder(rank, folder):
    return outcome(lambda: fit(model(), examples(), config(), checkpoint=folder / "straight"))


SCENARIOS = [
    straight,
    order,
    resumed,
    diverged,
    refused_callback,
    stopped,
    other_data,
    three_shards,
    compiled,
    existing_folder,
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fork(rank, port, work, answer):
    """A child that does what torchrun would make it do; it writes what it found and never returns."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.environ |= {
            "TORCHELASTIC_RUN_ID": "test",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        answer.write_text(json.dumps(work(rank)))
    except BaseException:
        answer.with_suffix(".error").write_text(traceback.format_exc())
    finally:
        os._exit(0)


def two_processes(work, folder):
    """What the two of them answer; None from one that was killed for taking too long."""
    import lightning_fabric  # noqa: F401 (here, so that neither of the two has to)

    port, answers = free_port(), [folder / f"{rank}.json" for rank in range(2)]
    children = [fork(rank, port, work, answer) for rank, answer in enumerate(answers)]
    end = time.monotonic() + LIMIT
    waiting = set(children)
    while waiting and time.monotonic() < end:
        waiting -= {pid for pid in waiting if os.waitpid(pid, os.WNOHANG)[0]}
        time.sleep(0.02)
    for pid in waiting:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for answer in answers:
        if answer.with_suffix(".error").exists():
            pytest.fail(answer.with_suffix(".error").read_text())
    assert not waiting, "the processes hang"
    return [json.loads(answer.read_text()) if answer.exists() else None for answer in answers]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What both processes saw, scenario by scenario."""
    folder = tmp_path_factory.mktemp("two")

    def work(rank):
        torch.set_num_threads(1)
        return {scenario.__name__: scenario(rank, folder) for scenario in SCENARIOS}

    answers = two_processes(work, folder)
    return {name: [answer[name] for answer in answers] for name in answers[0]} | {"folder": folder}


# ------------------------------------------------------------------ the curve


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same run in one process."""
    folder = tmp_path_factory.mktemp("one")
    network = model()
    history = fit(network, examples(), config(shards=2), examples()[:20], checkpoint=folder)
    return history, network, folder


def test_two_processes_draw_the_curve_of_one(found, alone):
    history, network, _ = alone
    weights = torch.cat([p.detach().flatten() for p in network.parameters()])
    for process in found["straight"]:
        assert process["curves"].keys() == curves(history).keys()
        for name, curve in process["curves"].items():
            assert curve == pytest.approx(getattr(history, name), rel=1e-5), name
        assert torch.allclose(torch.tensor(process["weights"]), weights, rtol=1e-4, atol=1e-5)


def test_both_processes_end_with_the_same_numbers(found):
    first, second = found["straight"]
    assert first == second


def test_the_mean_of_an_epoch_counts_every_example_once(found):
    for process in found["order"]:
        assert process["reconstruction"] == pytest.approx([22.5, 22.5], rel=1e-6)


def test_the_order_is_new_in_every_epoch_and_the_same_everywhere(found):
    pieces = [process["seen"] for process in found["order"]]
    epochs = [[], []]
    # 15, 15, 15 and 1 examples; the one left over is with process 0
    for mine, shape in zip(pieces, ([8, 8, 8, 1], [7, 7, 7]), strict=True):
        assert [len(piece) for piece in mine] == shape * 2
        for epoch in range(2):
            epochs[epoch].append(mine[epoch * len(shape) : (epoch + 1) * len(shape)])
    for processes in epochs:
        assert sorted(row for mine in processes for piece in mine for row in piece) == list(range(46))
    assert epochs[0] != epochs[1]
    assert sorted(map(sorted, epochs[0][0])) != sorted(map(sorted, epochs[1][0]))


def test_the_noise_of_a_shard_is_its_own(alone):
    # one process, twice the same example: its two shards must not see the same noise
    network, drawn = model(), []
    network.decoder.register_forward_pre_hook(lambda module, z: drawn.append(z[0].detach().clone()))
    fit(network, examples()[:1].repeat(4, 1), config(epochs=2, batch_size=4, shards=2))
    z = torch.stack(drawn)[:, 0, 0]  # the first example of each shard
    assert len(z.unique(dim=0)) == len(z) == 4


def test_the_checkpoint_says_how_many_shards_there_were(found):
    assert load_checkpoint(found["folder"] / "straight").config.shards == 2


def test_a_run_of_two_processes_goes_on_in_one(found, tmp_path):
    # the run that was stopped in both processes, from a copy of its folder
    network = model()
    history = fit(
        network, examples(), config(shards=2), examples()[:20], checkpoint=found["folder"] / "b", resume=True
    )
    assert curves(history) == found["resumed"][0]["curves"]
    with pytest.raises(
        CheckpointError, match="was trained with shards = 2; wanted the same to go on, not None"
    ):
        fit(network, examples(), config(), examples()[:20], checkpoint=found["folder"] / "b", resume=True)


def test_both_go_on_from_the_checkpoint_bit_for_bit(found):
    for process, undisturbed in zip(found["resumed"], found["straight"], strict=True):
        assert process["curves"] == undisturbed["curves"]


def test_the_callback_of_process_0_decides(found):
    assert found["stopped"] == [[2, [1, 2]], [2, []]]


# ------------------------------------------------------------------ failing together


def test_an_error_in_one_process_ends_both(found):
    first, second = (process["error"] for process in found["resumed"])
    assert first == ["ValueError", "process 1: no more"]
    assert second == ["ValueError", "no more"]


def test_a_divergence_in_one_process_names_the_last_good_checkpoint(found):
    first, second = found["diverged"]
    last = found["folder"] / "nan" / "last.safetensors"
    assert first[0] == second[0] == "TrainingDiverged"
    assert first[1].startswith("process 1: step 2: the reconstruction is not finite")
    assert first[1].endswith(f"the last good checkpoint is {last}")


@pytest.mark.parametrize(
    ("scenario", "kind", "message"),
    [
        ("refused_callback", "OSError", "the disk is full"),
        ("other_data", "ValueError", "data is not the same in all processes: 46x12 float32 "),
        ("three_shards", "ValueError", "shards is 3; wanted a multiple of 2, the number of processes"),
        ("compiled", "ValueError", "compile is True with 2 shards; wanted one shard"),
        ("existing_folder", "CheckpointError", "last.safetensors is there already"),
    ],
)
def test_what_is_refused_is_refused_everywhere(found, scenario, kind, message):
    for error in found[scenario]:
        assert error[0] == kind
        assert message in error[1]
        assert "\n" not in error[1]


def test_a_process_that_is_killed_does_not_leave_the_other_waiting(tmp_path):
    def work(rank):
        network, calls = model(), []

        def die(*_):
            calls.append(0)
            if rank == 1 and len(calls) == 5:
                os.kill(os.getpid(), signal.SIGKILL)

        network.encoder.register_forward_pre_hook(die)
        return outcome(lambda: fit(network, examples(), config()))

    first, second = two_processes(work, tmp_path)
    assert first == [
        "ProcessLost",
        "another process of this run is gone, or has not answered for 10 minutes; its own message says why",
    ]
    assert second is None


# ------------------------------------------------------------------ one process, and none of it


def test_a_single_process_imports_nothing_of_it():
    code = (
        "import sys, torch\n"
        "from vae_lib.networks import mlp_vae\n"
        "from vae_lib.training import TrainConfig, fit\n"
        "fit(mlp_vae(8, 2), torch.eye(8), TrainConfig(epochs=1, progress=False, device='cpu', shards=2))\n"
        "print('lightning_fabric' in sys.modules, 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_shards_change_the_noise_and_not_the_gradient_of_the_mean():
    # without noise, two shards of unequal size make the step of the whole batch
    def weights(shards):
        network = model()
        with torch.no_grad():
            network.encoder.network[-1].weight[2:] = 0
            network.encoder.network[-1].bias[2:] = -1e30
        fit(network, examples(), config(shards=shards, epochs=2))
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    assert torch.allclose(weights(2), weights(1), atol=1e-5)
    assert torch.allclose(weights(7), weights(1), atol=1e-5)


def test_a_parameter_that_no_shard_uses_stays_where_it_is():
    class Idle(Noting):
        def __init__(self):
            super().__init__()
            self.idle = nn.Parameter(torch.ones(2))

    network = Idle()
    fit(network, torch.rand(46, 2), config(shards=2))
    assert torch.equal(network.idle, torch.ones(2))


def test_one_team_at_a_time():
    with together("cpu") as outer, together("cpu") as inner:
        assert inner is outer
        assert shards_of(config(), outer) == 1
    with together("cpu") as later:
        assert later is not outer


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cuda:1", 4, "device is 'cuda:1', one GPU for 2 processes; wanted 'cuda' or 'cpu'"),
        ("cuda", 1, "device is 'cuda', with 1 GPUs for the 2 processes of this machine"),
        ("cuda", 0, "torch finds no CUDA GPU"),
    ],
)
def test_every_process_needs_a_gpu_of_its_own(monkeypatch, device, gpus, message):
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    with pytest.raises(ValueError, match=message), together(device):
        pass


# ------------------------------------------------------------------ the command


WORDS = ["--device", "cpu", "--epochs", "2", "--latent", "2", "--hidden", "8", "--seed", "3"]


def test_torchrun_starts_the_command(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "vae_lib", "train", *WORDS, "--out", str(tmp_path / "two")]
    root = Path(vae_lib.__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained     2 epochs") == 1  # the other process is silent
    assert main([*WORDS, "--shards", "2", "--out", str(tmp_path / "one")]) == 0
    together, alone = (
        [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("two", "one")
    )
    assert len(together) == len(alone) == 2
    for ours, theirs in zip(together, alone, strict=True):
        for name in ("elbo", "rate", "validation_elbo"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5)


def test_bad_input_is_one_line_and_not_one_for_each_process(tmp_path):
    def work(rank):
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            codes = [
                main([*WORDS, "--batch-size", "99999", "--out", str(tmp_path / "x")]),
                main([*WORDS, "--shards", "3", "--out", str(tmp_path / "x")]),
                main([*WORDS, "--colour"]),
            ]
        return [codes, said.getvalue().splitlines()]

    first, second = two_processes(work, tmp_path)
    assert first[0] == second[0] == [2, 2, 2]
    assert second[1] == []
    for line, words in zip(first[1], ["--batch-size is 99999", "shards is 3", "--colour"], strict=True):
        assert words in line
