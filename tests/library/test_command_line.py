"""`python -m vae_lib`: what it prints, what it writes, and one line for whatever is wrong."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import zlib
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_lib.__main__ import main
from vae_lib.commands import frame
from vae_lib.commands.inputs import compact_examples, examples
from vae_lib.commands.png import grey_png
from vae_lib.data import load
from vae_lib.data.sources import PARTS
from vae_lib.evaluation import log_likelihood
from vae_lib.networks import mlp_vae
from vae_lib.training import TrainConfig, TrainingDiverged, load_checkpoint, save_checkpoint

QUICK = ["--epochs", "2", "--latent", "2", "--hidden", "8", "--device", "cpu"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a trained model."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "--out", str(folder), *QUICK]) == 0
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def inside(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- what works ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--help"], ["train", "--help"], ["evaluate", "-h"], ["sample", "-h"]])
def test_help_explains_with_an_example(capsys, words):
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "example" in out
    assert "python -m vae_lib train --out" in out or f"python -m vae_lib {words[0]} runs/digits" in out
    assert max(len(line) for line in out.splitlines()) <= 110


def test_train_writes_a_folder_and_says_so(trained, here, capsys):
    assert main(["train", "--out", "runs/a", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "2 epochs on 1197 examples of digits" in out
    assert inside(here) == ["runs", "runs/a"] + [
        f"runs/a/{name}" for name in ("best.safetensors", "card.json", "history.jsonl", "last.safetensors")
    ]
    # the same command makes the same bytes
    for name in ("best.safetensors", "last.safetensors"):
        assert Path("runs/a", name).read_bytes() == (trained / name).read_bytes()


def test_train_goes_on_with_resume(trained, here, capsys):
    words = ["train", "--out", "a", *QUICK, "--json"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert main([*words, "--resume"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert first["epochs"] == 2
    assert first["validation_elbo"] > -64 * 0.7


def test_train_takes_the_settings_of_the_paper(here, capsys):
    words = ["train", "--out", "a", "--binarise", "--objective", "iwae", "--samples", "5", "--prune", "1e-6"]
    words += ["--optimiser", "burda", "--schedule", "burda", "--learning-rate", "0.001", "--clip-norm", "100"]
    assert main([*words, *QUICK, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = load_checkpoint("a")
    assert found.config == TrainConfig(
        epochs=2, learning_rate=0.001, schedule="burda", samples=5, device="cpu", progress=False, levels=17,
        objective="iwae", prune=1e-6, binarise=True, optimiser="burda", clip_norm=100.0,
    )  # fmt: skip
    assert report["validation_bound"] == max(found.history.validation_bound) > report["validation_elbo"]
    assert main(["train", "--out", "b", *QUICK, "--kl", "sampled", "--free-bits", "0.1", "--beta-warmup", "1",
                 "--patience", "1", "--precision", "bf16", "--objective", "elbo"]) == 0  # fmt: skip
    config = load_checkpoint("b").config
    assert (config.analytic_kl, config.free_bits, config.beta_warmup) == (False, 0.1, 1)
    assert (config.patience, config.precision, config.levels) == (1, "bf16", 2)
    assert "ELBO" in capsys.readouterr().out
    two = ["--model", "hierarchical_mlp_vae", "--latent", "6,3", "--hidden", "8/4", "--objective", "dreg"]
    assert main(["train", "--out", "c", "--epochs", "1", "--samples", "3", "--device", "cpu", *two]) == 0
    assert "L_3 " in capsys.readouterr().out
    assert [encoder.latent for encoder in load_checkpoint("c").model.encoders] == [6, 3]


def test_what_was_trained_on_draws_is_evaluated_on_draws():
    """One draw, the same every time, and not the pixels cut at half grey."""
    drawn = examples("digits", "test", "bernoulli", binarise=True).x
    assert torch.equal(drawn, examples("digits", "test", "bernoulli", binarise=True).x)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    grey = load("digits", split="test").scaled()
    error = (grey * (1 - grey)).sum().sqrt() / grey.numel()
    assert abs(drawn.mean() - grey.mean()) < 4.5 * error
    assert not torch.equal(drawn, examples("digits", "test", "bernoulli").x)


def test_examples_take_as_little_memory_as_they_need(here):
    for likelihood, binarise, levels in (
        ("bernoulli", False, 2),
        ("bernoulli", True, 17),
        ("gaussian", False, 17),
    ):
        compact = compact_examples("digits", "train", likelihood, binarise)
        assert (compact.x.dtype, compact.levels) == (torch.uint8, levels)
        if not binarise:
            wide = examples("digits", "train", likelihood).x
            assert torch.equal(wide, compact.x.float() / (levels - 1))
            data = load("digits")
            assert torch.equal(wide, data.binarized() if likelihood == "bernoulli" else data.scaled())
    np.save("grey.npy", np.random.default_rng(0).integers(0, 256, size=(60, 4, 5), dtype=np.uint8))
    assert compact_examples("grey.npy", "train", "gaussian").x.dtype == torch.uint8
    assert compact_examples("grey.npy", "train", "gaussian").levels == 256


def test_evaluate_prints_what_the_library_finds(trained, capsys):
    assert main(["evaluate", str(trained), "-k", "50", "--examples", "90", "--json", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads(out)
    model = load_checkpoint(trained / "best.safetensors").model
    result = log_likelihood(model, load("digits", split="test").binarized()[:90], k=50)
    assert report["log_likelihood"] == pytest.approx(result.value.numpy().mean(), abs=1e-9)
    assert report["log_likelihood_standard_error"] == pytest.approx(
        result.value.numpy().std(ddof=1) / 90**0.5, rel=1e-9
    )
    assert report["elbo"] < report["log_likelihood"]
    assert (report["examples"], report["samples"], report["latent_variables"]) == (90, 50, 2)
    assert 1 < report["median_effective_sample_size"] <= 50
    assert main(["evaluate", str(trained / "last.safetensors"), "-k", "5", "--examples", "1"]) == 0
    out, _ = capsys.readouterr()
    assert "last.safetensors, epoch 2" in out
    assert "digits, test: 1 examples" in out


def test_sample_draws_a_sheet(trained, here, capsys):
    assert main(["sample", str(trained), "--count", "6"]) == 0
    assert capsys.readouterr().out == "samples.png: 6 samples\n"
    picture = read_png(Path("samples.png").read_bytes())
    scale = round(560 / 19)
    assert picture.shape == (19 * scale, 28 * scale)
    assert set(np.unique(picture)) == {0, 128, 255}
    assert main(["sample", str(trained), "--count", "6", "--out", "again.png"]) == 0
    assert Path("again.png").read_bytes() == Path("samples.png").read_bytes()
    assert main(["sample", str(trained), "--count", "6", "--out", "other.png", "--seed", "1"]) == 0
    assert Path("other.png").read_bytes() != Path("samples.png").read_bytes()


def test_sample_writes_numbers(trained, here, capsys):
    assert main(["sample", str(trained), "--count", "7", "--out", "x.npz", "--mean", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "x.npz", "count": 7, "seed": 0}
    with np.load("x.npz") as file:
        assert file["x"].shape == (7, 64)
        assert 0 < file["x"].min() < file["x"].max() < 1


def read_png(content):
    """The pixels of an unfiltered grey PNG, read chunk by chunk."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == int.from_bytes(content[at + 8 + length : at + 12 + length], "big")
        chunks[kind] = body
        at += 12 + length
    width, height = (int.from_bytes(chunks[b"IHDR"][i : i + 4], "big") for i in (0, 4))
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


def test_png_is_read_back_by_others(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    picture = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
    (tmp_path / "x.png").write_bytes(grey_png(picture))
    read = image.imread(tmp_path / "x.png")
    assert np.array_equal(np.round(255 * (read if read.ndim == 2 else read[..., 0])), picture)
    assert np.array_equal(read_png(grey_png(picture)), picture)
    with pytest.raises(ValueError, match="wanted uint8"):
        grey_png(picture.astype(float))


def test_data_has_its_own_command(capsys):
    assert main(["data", "get", "digits"]) == 0
    assert "digits: needs no file" in capsys.readouterr().out


def test_own_data(here, capsys):
    generator = np.random.default_rng(0)
    np.save("grey.npy", generator.integers(0, 256, size=(60, 4, 5), dtype=np.uint8))
    np.savez("real.npz", x=generator.normal(size=(60, 7)))
    grey = ["--data", "grey.npy", "--likelihood", "gaussian", "--batch-size", "16", *QUICK]
    assert main(["train", "--out", "a", *grey]) == 0
    assert main(["train", "--out", "b", *grey, "--model", "conv_vae"]) == 0
    real = ["--data", "real.npz", "--likelihood", "gaussian", "--batch-size", "16", *QUICK]
    assert main(["train", "--out", "c", *real, "--model", "linear_vae"]) == 0
    for folder in ("a", "b", "c"):
        capsys.readouterr()
        assert main(["evaluate", folder, "-k", "20", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["examples"] == 6
    assert main(["sample", "a"]) == 0
    assert main(["sample", "c", "--out", "x.png"]) == 2
    assert "7 pixels and no known shape" in capsys.readouterr().err


def test_the_parts_of_a_file_share_no_row(here):
    np.save("rows.npy", np.arange(57.0)[:, None] * np.ones((1, 3)))
    parts = [examples("rows.npy", split, "gaussian").x[:, 0].tolist() for split in PARTS]
    assert [len(part) for part in parts] == [47, 5, 5]
    assert sorted(chain(*parts)) == list(range(57))
    assert parts == [examples("rows.npy", split, "gaussian").x[:, 0].tolist() for split in PARTS]


# --- what does not ------------------------------------------------------------------------------------


def bad_files(folder):
    """Files that are not what a command wants."""
    generator = np.random.default_rng(0)
    binary = generator.integers(0, 2, size=(60, 64)).astype(np.float32)
    holed = binary.copy()
    holed[7, 3] = np.nan
    np.save(folder / "nan.npy", holed)
    np.save(folder / "grey.npy", binary / 2)
    np.save(folder / "few.npy", binary[:9])
    np.save(folder / "wide.npy", binary * 3)
    np.save(folder / "empty.npy", binary[:0])
    np.save(folder / "flat.npy", binary[0])
    np.save(folder / "words.npy", np.array(["a"] * 60))
    np.save(folder / "narrow.npy", binary[:, :10])
    np.save(folder / "large.npy", binary.astype(np.int64) * 300)
    np.savez(folder / "other.npz", y=binary)
    np.save(folder / "objects.npy", np.array([{}] * 60), allow_pickle=True)
    (folder / "text.npy").write_text("hello")
    np.savez_compressed(folder / "cut.npz", x=binary)
    (folder / "cut.npz").write_bytes((folder / "cut.npz").read_bytes()[:200])
    (folder / "open.npy").write_bytes((folder / "few.npy").read_bytes().replace(b"}", b" "))
    (folder / "red\x1b[31m.npy").write_text("hello")
    (folder / "file").write_text("")
    torch.save({"a": 1}, folder / "pickle.safetensors")
    save_checkpoint(folder / "linear.safetensors", torch.nn.Linear(2, 2))


TRAIN = ["train", "--out", "run", *QUICK]
BAD = [
    (["train", "--epochs", "0"], "epochs is 0"),
    (["train", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
    (["train", "--batch-size", "-3"], "batch_size is -3"),
    (["train", "--batch-size", "5000"], "--batch-size is 5000; wanted at most the 1197 training examples"),
    (["train", "--learning-rate", "nan"], "learning_rate is nan"),
    (["train", "--learning-rate", "0"], "learning_rate is 0.0"),
    (["train", "--beta", "-1"], "beta is -1.0"),
    (["train", "--samples", "0"], "samples is 0"),
    (["train", "--seed", "-1"], "seed is -1"),
    (["train", "--schedule", "linear"], "schedule is 'linear'"),
    (["train", "--device", "abacus"], "device is 'abacus'"),
    (["train", "--latent", "0"], "latent is 0"),
    (["train", "--hidden", "12;3"], "--hidden is '12;3'"),
    (["train", "--hidden", "0"], "hidden is 0"),
    (["train", "--likelihood", "poisson"], "--likelihood is 'poisson'"),
    (["train", "--model", "transformer"], "--model is 'transformer'"),
    (["train", "--model", "linear_vae"], "wanted --likelihood gaussian"),
    (["train", "--data", "cifar"], "'cifar'; wanted one of"),
    (["train", "--data", "nowhere.npy"], "No such file"),
    (["train", "--data", "nan.npy"], "nan.npy holds 1 value that is NaN"),
    (["train", "--data", "grey.npy"], "grey pixels"),
    (["train", "--data", "few.npy"], "few.npy holds 9 examples; wanted at least 10"),
    (["train", "--data", "empty.npy"], "empty.npy holds 0 examples"),
    (["train", "--data", "flat.npy"], "shape (64,)"),
    (["train", "--data", "words.npy"], "wanted numbers"),
    (["train", "--data", "large.npy"], "outside 0 to 255"),
    (["train", "--data", "other.npz"], "holds no array named x"),
    (["train", "--data", "objects.npy"], "no file of NumPy arrays"),
    (["train", "--data", "text.npy"], "no file of NumPy arrays"),
    (["train", "--data", "cut.npz"], "cut.npz is no file of NumPy arrays"),
    (["train", "--data", "open.npy"], "open.npy is no file of NumPy arrays"),
    (["train", "--data", "red\x1b[31m.npy"], "red\\x1b[31m.npy is no file of NumPy arrays"),
    (["train", "--latent", "9" * 30], "--latent is 999999999999999999999999999999; wanted an integer below"),
    (
        ["train", "--samples", "9" * 30],
        "--samples is 999999999999999999999999999999; wanted an integer",
    ),
    (
        ["train", "--threads", "9" * 30],
        "--threads is 999999999999999999999999999999; wanted an integer",
    ),
    (["train", "--save-every", "-1"], "save_every is -1"),
    (["train", "--samples", "-5"], "samples is -5"),
    (["train", "--objective", "vae"], "objective is 'vae'; wanted one of 'elbo', 'iwae', 'dreg'"),
    (["train", "--objective", "iwae", "--beta", "2"], "beta is 2.0, but objective is 'iwae'"),
    (["train", "--objective", "iwae", "--kl", "closed"], "analytic_kl is True, but objective is 'iwae'"),
    (["train", "--objective", "dreg", "--free-bits", "1"], "free_bits is 1.0, but objective is 'dreg'"),
    (["train", "--prune", "1e-6"], "prune is 1e-06, but objective is 'elbo'; wanted 'iwae'"),
    (["train", "--objective", "iwae", "--samples", "9", "--prune", "0.5"], "wanted less than 1 / samples"),
    (["train", "--kl", "exact"], "--kl is 'exact'; wanted one of auto, closed, sampled"),
    (["train", "--optimiser", "sgd"], "optimiser is 'sgd'; wanted one of"),
    (["train", "--clip-norm", "0"], "clip_norm is 0.0"),
    (["train", "--precision", "fp16"], "precision is 'fp16'"),
    (["train", "--patience", "0"], "patience is 0"),
    (["train", "--beta-warmup", "99"], "beta_warmup is 99; wanted at most epochs"),
    (["train", "--free-bits", "-1"], "free_bits is -1.0"),
    (["train", "--device", "cuda"], "torch finds no CUDA GPU"),
    (["train", "--latent", "8,4"], "wanted one, or --model hierarchical_mlp_vae"),
    (["train", "--model", "hierarchical_mlp_vae", "--latent", "8,4"], "latents has 2 layers and hidden 1"),
    (["train", "--model", "hierarchical_mlp_vae", "--kl", "closed"], "has no closed form"),
    (["train", "--latent", "many"], "--latent is 'many'"),
    (["train", "--data", "wide.npy", "--binarise"], "wide.npy lies in [0, 3]; wanted grey pixels within"),
    (["train", "--data", "nan.npy", "--binarise"], "nan.npy holds 1 value that is NaN"),
    (["train", "--tensorboard", "board"], "tensorboard is not installed"),
    (["train", "--colour", "red"], "unrecognized arguments: --colour red"),
    (["train", "--out", "file/run", *QUICK], "file/run could not be made: Not a directory"),
    (["train", "--out", "/proc/run", *QUICK], "/proc/run could not be made"),
    (["train", "--out", "TRAINED", *QUICK], "is there already; wanted resume=True"),
    (["train", "--out", "TRAINED", *QUICK, "--resume", "--seed", "1"], "was trained with seed = 0"),
    (["train", "--out", "TRAINED", *QUICK, "--resume", "--latent", "3"], "holds another model"),
    (["evaluate"], "arguments are required: CHECKPOINT"),
    (["evaluate", "nowhere"], "nowhere could not be read: No such file"),
    (["evaluate", "file"], "file is not a checkpoint of vae_lib"),
    (["evaluate", "pickle.safetensors"], "is not a checkpoint of vae_lib"),
    (["evaluate", "linear.safetensors"], "does not say how its model is built"),
    (["evaluate", "TRAINED", "-k", "0"], "k is 0"),
    (["evaluate", "TRAINED", "-k", "-5"], "k is -5"),
    (["evaluate", "TRAINED", "--chunk", "0"], "chunk is 0"),
    (["evaluate", "TRAINED", "--examples", "0"], "--examples is 0"),
    (["evaluate", "TRAINED", "--split", "all"], "split is 'all'"),
    (["evaluate", "TRAINED", "--data", "narrow.npy"], "narrow.npy has 10 pixels; wanted 64"),
    (["evaluate", "TRAINED", "--data", "nan.npy"], "nan.npy holds 1 value"),
    (["evaluate", "TRAINED", "--device", "cuda"], "torch finds no CUDA GPU"),
    (["sample", "TRAINED", "--count", "0"], "--count is 0"),
    (["sample", "TRAINED", "--out", "x.gif"], "wanted a file that ends in .png or .npz"),
    (["sample", "TRAINED", "--out", "no/x.png"], "there is no folder no"),
    (["sample", "TRAINED", "--seed", "-1"], "--seed is -1"),
    (["sample", "linear.safetensors"], "does not say how its model is built"),
    (["tarin"], "there is no command 'tarin'; wanted one of: train, evaluate, sample, card, audit, data"),
    (["--colour"], "unrecognized arguments: --colour"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_one_line_and_nothing_written(trained, here, capsys, monkeypatch, words, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    bad_files(here)
    before, kept = inside(here), {path: path.read_bytes() for path in trained.iterdir()}
    assert main([str(trained) if word == "TRAINED" else word for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("python -m vae_lib")
    assert err.count("\n") == 1
    assert inside(here) == before
    assert {path: path.read_bytes() for path in trained.iterdir()} == kept


def test_a_checkpoint_that_does_not_name_its_data(here, capsys):
    model = mlp_vae(64, 2, hidden=(8,), seed=0)
    model.recipe = {"builder": "mlp_vae", "arguments": {"pixels": 64, "latent": 2, "hidden": [8]}}
    save_checkpoint("model.safetensors", model)
    assert main(["evaluate", "model.safetensors"]) == 2
    assert "does not say what it was trained on; wanted --data NAME" in capsys.readouterr().err
    assert main(["evaluate", "model.safetensors", "--data", "digits", "-k", "3", "--examples", "5"]) == 0


def test_divergence_is_one_line(here, capsys, monkeypatch):
    import vae_lib.training

    def diverge(*_, **__):
        raise TrainingDiverged("step 3: the rate is not finite")

    monkeypatch.setattr(vae_lib.training, "fit", diverge)
    assert main(TRAIN) == 1
    assert capsys.readouterr().err == "python -m vae_lib train: step 3: the rate is not finite\n"


def test_the_user_may_stop_it(here, capsys, monkeypatch):
    import vae_lib.evaluation
    import vae_lib.training

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(vae_lib.training, "fit", stop)
    assert main(TRAIN) == 130
    nothing_yet = "stopped before the first save, after 30 seconds: nothing to resume\n"
    assert capsys.readouterr() == ("", "python -m vae_lib train: " + nothing_yet)
    (here / "run").mkdir()
    (here / "run/last.safetensors").write_text("")
    assert main(TRAIN) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "what was saved is in run" in err


def refuse_memory(message, kind=RuntimeError):
    raise kind(message)


@pytest.mark.parametrize(
    "greedy",
    [
        lambda _: torch.empty(2**62, 5),  # more than torch can count
        lambda _: refuse_memory("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        lambda _: refuse_memory("CUDA out of memory. Tried to allocate 2 GiB", torch.OutOfMemoryError),
        lambda _: refuse_memory("", MemoryError),
    ],
)
def test_too_little_memory_is_one_line(greedy, capsys):
    assert frame.run(frame.Parser(prog="x"), [], greedy) == 1
    assert capsys.readouterr() == ("", "x: not enough memory for so large a model or batch\n")


def test_another_fault_of_torch_is_not_taken_for_it(monkeypatch):
    def broken(_):
        raise RuntimeError("a fault of our own")

    with pytest.raises(RuntimeError, match="of our own"):
        frame.run(frame.Parser(prog="x"), [], broken)


# --- as processes -------------------------------------------------------------------------------------


def command(*words):
    return [sys.executable, "-W", "error", "-m", "vae_lib", *words]


def test_as_a_process(here):
    done = subprocess.run(command("train", "--epochs", "0"), capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "python -m vae_lib train: epochs is 0; wanted an integer of at least 1\n"
    assert inside(here) == []


SAYS = (
    "import sys; from vae_lib.commands.frame import start; sys.exit(start('x', lambda: print('8 × 8') or 0))"
)


def as_a_shell_would(redirection, **environment):
    """Run a program that prints one line, with its streams redirected: exit code, output, errors."""
    line = f'"{sys.executable}" -c "{SAYS}" {redirection}'
    environment = os.environ | environment
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=100, env=environment)
    return done.returncode, done.stdout, done.stderr


def test_a_reader_that_goes_early_is_not_an_error():
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-c", SAYS]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, timeout=100)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_output_that_cannot_be_written_is_one_line():
    full = "x: the output cannot be written (No space left on device)\n"
    assert as_a_shell_would("> /dev/full") == (1, "", full)
    assert as_a_shell_would(">&-") == (0, "", "")  # nobody wants it


def test_an_output_without_the_letter_gets_a_question_mark():
    assert as_a_shell_would("", PYTHONIOENCODING="ascii") == (0, "8 ? 8\n", "")


def test_without_standard_error_the_work_is_done(trained):
    words = f'"{sys.executable}" -m vae_lib evaluate {trained} -k 2 --examples 2 --json'
    done = subprocess.run(f"{words} 2>&-", shell=True, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0
    assert json.loads(done.stdout)["examples"] == 2


def test_stopped_before_the_command_begins(capsys):
    def stop():
        raise KeyboardInterrupt

    assert frame.start("x", stop) == 130
    assert capsys.readouterr() == ("", "x: stopped\n")


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from vae_lib.__main__ import main; main(['train', '--help']); "
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stderr == "False\n"
    assert "--resume" in done.stdout


def test_a_disk_that_fills_up_is_one_line(here):
    """The limit is set from outside, while the process runs: a real error of the system."""
    words = ["train", "--out", "run", "--epochs", "100000", "--hidden", "8", "--save-every", "0"]
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not Path("run", "history.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
    out, err = process.communicate(timeout=100)
    assert process.returncode == 2, err
    assert out == ""
    assert err.count("\n") == 1
    assert "could not be written: File too large" in err
    assert load_checkpoint("run").position.step >= 0
    assert not list(Path("run").glob(".*"))


def test_ctrl_c_keeps_the_last_checkpoint(here):
    words = ["train", "--out", "run", "--epochs", "100000", "--hidden", "8", "--save-every", "0.1"]
    process = subprocess.Popen(
        command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        # what a shell has put into the background ignores ctrl-C, and so do its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    lines = Path("run", "history.jsonl")
    deadline = time.monotonic() + 100

    def has_saved_a_step():
        """Quick epochs may pass before the first save is due."""
        if not lines.exists() or lines.read_text().count("\n") <= 3:
            return False
        return load_checkpoint("run").position.step > 0

    while not has_saved_a_step() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # where does it hang?
        pytest.fail(process.communicate()[1])
    assert process.returncode == 130, err
    assert out == ""
    assert err.count("\n") == 1
    assert "stopped; what was saved is in run" in err
    assert load_checkpoint("run").position.step > 0
    assert os.listdir("run").count("best.safetensors") == 1
