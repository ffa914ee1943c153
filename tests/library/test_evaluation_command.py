"""`python -m vae_lib evaluate`: what it evaluates on, what it prints, and one line for whatever is wrong."""

import json

import numpy as np
import pytest
import torch

from vae_lib.__main__ import main
from vae_lib.cards.examples import DRAWN_WITH
from vae_lib.data import load
from vae_lib.evaluation import active_units, log_likelihood
from vae_lib.training import load_checkpoint

QUICK = ["--epochs", "1", "--device", "cpu"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders with models that were trained on pixels cut at half, on drawn ones, and on grey ones."""
    runs = tmp_path_factory.mktemp("runs")
    small = ["--latent", "2", "--hidden", "8"]
    layers = ["--model", "hierarchical_mlp_vae", "--latent", "6,3", "--hidden", "8/4"]
    for name, words in {
        "cut": small,
        "drawn": [*small, "--binarise"],
        "grey": [*small, "--likelihood", "gaussian"],
        "layers": layers,
    }.items():
        assert main(["train", "--out", str(runs / name), *QUICK, *words]) == 0
    return runs


def report(capsys, *words):
    capsys.readouterr()
    assert main(["evaluate", *map(str, words), "--json", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_drawn_pixels_are_drawn_once_with_a_seed(runs, capsys):
    words = [runs / "drawn", "-k", 20, "--examples", 70]
    one = report(capsys, *words)
    assert one["binarisation"] == DRAWN_WITH
    assert report(capsys, *words) == one
    data, model = load("digits", split="test"), load_checkpoint(runs / "drawn").model
    for seed in (DRAWN_WITH, 5):
        x = data.binarize(torch.Generator().manual_seed(seed))[:70]
        found = report(capsys, *words, "--binarisation", seed)
        assert found["binarisation"] == seed
        assert found["log_likelihood"] == pytest.approx(log_likelihood(model, x, 20).mean.value.item())
    assert found["log_likelihood"] != one["log_likelihood"]
    assert main(["evaluate", *map(str, words)]) == 0
    assert "pixels        drawn once, with seed 123\n" in capsys.readouterr().out


def test_pixels_that_are_not_drawn(runs, capsys):
    words = [str(runs / "cut"), "-k", "5", "--examples", "9"]
    assert report(capsys, *words)["binarisation"] is None
    assert report(capsys, *words, "--binarisation", 0)["binarisation"] == 0
    assert main(["evaluate", *words]) == 0
    assert "pixels        1 where brighter than one half\n" in capsys.readouterr().out
    assert main(["evaluate", str(runs / "grey"), *words[1:]]) == 0
    assert "pixels" not in capsys.readouterr().out


def test_the_line_of_json_is_complete(runs, capsys):
    found = report(capsys, runs / "cut", "-k", 30, "--seed", 4)
    model, x = load_checkpoint(runs / "cut").model, load("digits", split="test").binarized()
    result, units = log_likelihood(model, x, 30, seed=4), active_units(model, x)
    assert found == {
        "checkpoint": str(runs / "cut" / "best.safetensors"),
        "epoch": 1,
        "data": "digits",
        "split": "test",
        "examples": 300,
        "binarisation": None,
        "samples": 30,
        "seed": 4,
        "device": "cpu",
        "elbo": pytest.approx(result.elbo.numpy().mean()),
        "elbo_standard_error": pytest.approx(result.elbo.numpy().std(ddof=1) / 300**0.5),
        "log_likelihood": pytest.approx(result.value.numpy().mean()),
        "log_likelihood_standard_error": pytest.approx(result.value.numpy().std(ddof=1) / 300**0.5),
        "log_likelihood_sampling_error": pytest.approx(
            np.square(result.standard_error.numpy()).sum() ** 0.5 / 300
        ),
        "median_effective_sample_size": pytest.approx(np.median(result.effective_sample_size), abs=0.2),
        "active_units": units.count,
        "latent_variables": 2,
    }
    # what cannot be known is null, and not NaN, which is no JSON
    alone = report(capsys, runs / "cut", "-k", 1, "--examples", 1)
    assert [name for name, value in alone.items() if value is None] == [
        "binarisation",
        "elbo_standard_error",
        "log_likelihood_standard_error",
        "log_likelihood_sampling_error",
        "active_units",
        "latent_variables",
    ]


def test_the_sampling_error_is_the_scatter_over_seeds(runs, capsys):
    found = [report(capsys, runs / "cut", "-k", 20, "--examples", 64, "--seed", s) for s in range(20)]
    scatter = np.std([one["log_likelihood"] for one in found], ddof=1)
    stated = np.mean([one["log_likelihood_sampling_error"] for one in found])
    assert 0.5 < scatter / stated < 1.7  # 5 / sqrt(2 * 19), roughly
    assert stated < found[0]["log_likelihood_standard_error"] / 2


def test_layers_of_latents(runs, capsys):
    found = report(capsys, runs / "layers", "-k", 20, "--examples", 70)
    model, x = load_checkpoint(runs / "layers").model, load("digits", split="test").binarized()[:70]
    assert found["log_likelihood"] == pytest.approx(log_likelihood(model, x, 20).mean.value.item())
    assert found["latent_variables"] == 6  # those of the layer next to the data


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cut", "-k", "2.5"], "argument -k: invalid int value: '2.5'"),
        (["cut", "--seed", "-1"], "--seed is -1; wanted an integer from 0 to 2**63 - 1"),
        (["cut", "--seed", str(2**80)], f"--seed is {2**80}"),
        (["cut", "--binarisation", "-3"], "--binarisation is -3"),
        (["grey", "--binarisation", "3"], "nothing is drawn under a gaussian likelihood"),
        (["cut", "--data", "empty.npy"], "empty.npy holds 0 examples"),
        (["cut", "--data", "grey.npy"], "grey pixels"),
        (["cut", "--data", "wide.npy", "--binarisation", "1"], "wanted grey pixels within [0, 1]"),
        (["cut", "--data", "ring"], "ring has 2 pixels; wanted 64|grey pixels"),
        (["layers", "--data", "narrow.npy"], "narrow.npy has 10 pixels; wanted 64"),
        (["cut/half.safetensors"], "half.safetensors"),
        (["cut", "--device", "abacus"], "device is 'abacus'; wanted 'auto', 'cpu', 'cuda' or 'cuda:n'"),
        (["cut", "--device", "cuda:x"], "device is 'cuda:x'"),
    ],
)
def test_bad_input_is_one_line(runs, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    binary = np.random.default_rng(0).integers(0, 2, size=(60, 64)).astype(np.float32)
    for name, rows in {
        "empty": binary[:0],
        "grey": binary / 2,
        "wide": binary * 3,
        "narrow": binary[:, :10],
    }.items():
        np.save(f"{name}.npy", rows)
    whole = (runs / "cut" / "best.safetensors").read_bytes()
    (runs / "cut" / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    assert main(["evaluate", str(runs / words[0]), *words[1:]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert any(part in err for part in message.split("|")), err
    assert err.startswith("python -m vae_lib evaluate: ")
    assert err.count("\n") == 1
