"""Run cards: what they say, what an audit finds, and one mutant for everything that may be changed."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from vae_lib.__main__ import main
from vae_lib.cards import (
    CardError,
    CardTable,
    audit,
    complete_card,
    data_at_hand,
    evaluate_again,
    origin,
    read_card,
    read_values,
    recorded,
    recording,
)
from vae_lib.cards.card import digest, file_digest, write_card, write_values
from vae_lib.cards.completing import rungs
from vae_lib.cards.examples import card_examples
from vae_lib.cards.origin import commit, device_of
from vae_lib.data import DataUnavailable, load
from vae_lib.evaluation import log_likelihood
from vae_lib.networks import mlp_vae
from vae_lib.training import CheckpointError, TrainConfig, fit, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN = ["train", "--epochs", "3", "--latent", "2", "--hidden", "8", "--device", "cpu"]
EXAMPLES, SAMPLES = 70, 120  # more than the 64 that share a stream of noise


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a training."""
    folder = tmp_path_factory.mktemp("cards") / "run"
    assert main([*TRAIN, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def complete(run):
    """The folder of a complete card, from a best checkpoint that is not the last."""
    folder = run.parent / "complete"
    words = ["--examples", str(EXAMPLES), "-k", str(SAMPLES), "--seed", "3", "--device", "cpu"]
    assert main(["card", str(run), "--out", str(folder), "--precision", "float16", *words]) == 0
    return folder


@pytest.fixture
def copy(complete, tmp_path):
    """A copy of the complete card to spoil."""
    return Path(shutil.copytree(complete, tmp_path / "copy"))


def document(folder):
    return json.loads((folder / "card.json").read_text())


def spoil(folder, place, value, sealed=True):
    """Change one field of a card; `sealed` puts the right digest under the wrong card."""
    changed = document(folder)
    *parents, last = place.split(".")
    inner = changed
    for name in parents:
        inner = inner[int(name) if name.isdigit() else name]
    inner[int(last) if last.isdigit() else last] = value
    if sealed:
        changed["sha256"] = digest(changed)
    (folder / "card.json").write_text(json.dumps(changed))


# --- what is written ----------------------------------------------------------------------------------


def test_training_leaves_its_half(run):
    card = read_card(run)
    assert card.checkpoint is None
    assert card.evaluation is None
    training = card.training
    assert training["command"] == f"python -m vae_lib {' '.join(TRAIN)} --out {run}"
    assert (training["commit"], training["dirty"]) == commit()
    assert training["config"]["epochs"] == 3
    assert training["config"]["seed"] == 0
    assert training["model"] == {"builder": "mlp_vae", "arguments": mlp_recipe(pixels=64)}
    assert training["device"] == device_of("cpu")
    assert training["seconds"]["wall"] > 0
    assert training["seconds"]["cpu"] > 0
    assert training["resumed"] is False
    history = load_checkpoint(run).history
    assert training["curve"]["elbo"] == history.elbo
    assert training["curve"]["validation_rate"] == history.validation_rate
    assert training["versions"]["torch"] == torch.__version__
    assert training["data"]["training"].startswith("1197x64 ")


def mlp_recipe(pixels):
    return mlp_vae(pixels, latent=2, hidden=[8], seed=0).recipe["arguments"]


def test_the_complete_card_reports_what_the_library_finds(run, complete):
    assert sorted(path.name for path in complete.iterdir()) == [
        "card.json",
        "model.safetensors",
        "values.safetensors",
    ]
    card = read_card(complete)
    assert card.training == read_card(run).training
    model = load_checkpoint(complete / "model.safetensors").model
    x = load("digits", split="test").binarized()[:EXAMPLES]
    result = log_likelihood(model, x, SAMPLES, seed=3)
    evaluation = card.evaluation
    value = result.value.float().numpy().astype(float)
    assert evaluation["log_likelihood"]["value"] == pytest.approx(value.mean(), abs=1e-9)
    error = value.std(ddof=1) / EXAMPLES**0.5
    assert evaluation["log_likelihood"]["standard_error"] == pytest.approx(error, rel=1e-9)
    assert evaluation["elbo"]["value"] == pytest.approx(result.elbo.mean().item(), abs=1e-5)
    assert evaluation["samples"] == SAMPLES
    assert evaluation["seed"] == 3
    assert card.checkpoint["sha256"] == file_digest(complete / "model.safetensors")
    values = read_values(card)
    assert values["samples"].tolist() == [1, 10, 100, 120] == rungs(120)
    assert values["log_likelihood"].shape == (4, EXAMPLES)
    fewer = log_likelihood(model, x, 10, seed=3).value
    torch.testing.assert_close(values["log_likelihood"][1].double(), fewer, atol=1e-5, rtol=0)


def test_half_the_bytes_are_weights_that_float32_can_hold(run, complete):
    best = load_checkpoint(run / "best.safetensors").model
    small = load_checkpoint(complete / "model.safetensors").model
    for ours, theirs in zip(small.parameters(), best.parameters(), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs.half().float())
    assert (complete / "model.safetensors").stat().st_size < (run / "best.safetensors").stat().st_size / 3


def test_the_card_keeps_the_whole_curve_and_the_best_epoch(run, complete):
    kept, best = load_checkpoint(complete / "model.safetensors"), load_checkpoint(run / "best.safetensors")
    assert kept.history.elbo == load_checkpoint(run).history.elbo
    assert kept.position.epoch == best.position.epoch == read_card(complete).checkpoint["epoch"]


def test_a_number_that_is_too_large_for_half_the_bytes_is_refused(run, tmp_path):
    broken = Path(shutil.copytree(run, tmp_path / "run"))
    checkpoint = load_checkpoint(broken / "best.safetensors")
    with torch.no_grad():
        next(checkpoint.model.parameters())[0] = 1e6
    parts = {"config": checkpoint.config, "history": checkpoint.history, "position": checkpoint.position}
    parts |= {"data": checkpoint.data, "notes": checkpoint.notes}
    save_checkpoint(broken / "best.safetensors", checkpoint.model, **parts)
    with pytest.raises(ValueError, match="does not fit into float16"):
        complete_card(broken, precision="float16", examples=2, k=1, device="cpu")


def test_a_resumed_run_says_so(run, tmp_path):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    before = (folder / "card.json").read_text()
    assert main([*TRAIN, "--out", str(folder), "--resume"]) == 0  # nothing left to do
    assert (folder / "card.json").read_text() == before
    (folder / "card.json").unlink()
    assert main([*TRAIN, "--out", str(folder), "--resume"]) == 0
    assert read_card(folder).training["resumed"] is True


def test_a_notebook_can_record_too(tmp_path):
    x = load("digits", split="validation").binarized()[:64]
    config = TrainConfig(epochs=1, progress=False, device="cpu")
    notes = {"data": "digits", "likelihood": "bernoulli"}
    with recording(tmp_path / "a"):
        fit(mlp_vae(64, 2, seed=0), x, config, checkpoint=tmp_path / "a", notes=notes)
    card = complete_card(tmp_path / "a", examples=64, k=20, device="cpu")
    assert card.training["command"] == "unknown"
    assert card.training["data"]["validation"] is None
    assert audit(card, device="cpu").agrees
    with pytest.raises(ValueError, match="no note 'data'"), recording(tmp_path / "b"):
        fit(mlp_vae(64, 2, seed=0), x, config, checkpoint=tmp_path / "b")


def test_a_run_that_fails_leaves_no_card(tmp_path):
    with pytest.raises(KeyError), recording(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_of_several_processes_writes(tmp_path, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "test", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with recording(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_pixels_can_be_drawn_once(run, tmp_path):
    grey = load("digits", split="test")
    x = card_examples("digits", "test", "bernoulli", 5)
    assert torch.equal(x, grey.binarize(torch.Generator().manual_seed(5)))
    assert not torch.equal(x, card_examples("digits", "test", "bernoulli", 6))
    assert torch.equal(card_examples("digits", "test", "gaussian"), grey.scaled())
    assert card_examples("ring", "test", "gaussian").shape == (2000, 2)
    card = complete_card(run, tmp_path / "drawn", examples=64, k=10, binarisation=5, device="cpu")
    assert audit(card, device="cpu").agrees
    spoil(tmp_path / "drawn", "evaluation.data.binarisation", 6)
    assert [one.name for one in audit(tmp_path / "drawn", device="cpu").disagreements] == [
        "evaluation.data.fingerprint"
    ]


def test_a_training_that_draws_its_pixels_is_evaluated_as_the_evaluate_command_does(tmp_path, capsys):
    folder = str(tmp_path / "drawn")
    assert main([*TRAIN, "--binarise", "--out", folder]) == 0
    words = ["--examples", "70", "-k", "30", "--seed", "0", "--device", "cpu", "--json"]
    capsys.readouterr()
    assert main(["evaluate", folder, *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert main(["card", folder, *words]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["data"]["binarisation"] == 123
    assert card["log_likelihood"]["value"] == pytest.approx(report["log_likelihood"], abs=1e-5)
    assert card["elbo"]["standard_error"] == pytest.approx(report["elbo_standard_error"], rel=1e-5)
    assert audit(folder, device="cpu").agrees


def test_a_card_can_be_evaluated_again(copy, monkeypatch, capsys):
    """When the evaluation draws its noise in another way, committed cards are made again from their files."""
    before = read_card(copy)

    def changed(model, x, k, seed, **named):
        return log_likelihood(model, x, k, seed=seed + 1, **named)

    for place in ("completing", "auditing"):
        monkeypatch.setattr(f"vae_lib.cards.{place}.log_likelihood", changed)
    assert not audit(copy, device="cpu").agrees
    assert main(["card", str(copy), "--again", "--device", "cpu"]) == 0
    after = read_card(copy)
    assert audit(after, device="cpu").agrees
    assert (after.training, after.checkpoint) == (before.training, before.checkpoint)
    for name in ("data", "examples", "samples", "seed"):
        assert after.evaluation[name] == before.evaluation[name]
    assert after.evaluation["log_likelihood"] != before.evaluation["log_likelihood"]
    given = evaluate_again(copy, device="cpu")
    assert given.training == after.training
    assert given.evaluation["log_likelihood"] == after.evaluation["log_likelihood"]
    capsys.readouterr()
    (copy / "model.safetensors").write_bytes(b"")
    assert main(["card", str(copy), "--again"]) == 2
    assert "names a checkpoint that is not there" in capsys.readouterr().err


# --- what an audit finds ------------------------------------------------------------------------------


def test_a_true_card_agrees(complete, capsys):
    assert main(["audit", str(complete), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert len(out.splitlines()) == 1
    assert "agrees" in out
    assert "of 70 of 70 examples recomputed with 120 of 120 samples" in out
    assert main(["audit", str(complete / "card.json"), "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["agrees"]
    assert report["disagreements"] == []
    assert report["largest_difference"] < 1e-4


def test_a_cheap_audit_recomputes_a_part(complete, monkeypatch):
    asked = []

    def spy(model, x, k, **named):
        asked.append((len(x), k))
        return log_likelihood(model, x, k, **named)

    monkeypatch.setattr("vae_lib.cards.auditing.log_likelihood", spy)
    found = audit(complete, examples=5, samples=10, device="cpu")
    assert found.agrees
    assert asked == [(64, 10)] == [(found.recomputed, found.samples)]
    assert found.difference < 1e-4
    found = audit(complete, numbers=False, device="cpu")
    assert found.agrees
    assert len(asked) == 1
    assert found.recomputed == 0
    assert "recomputed" not in found.lines()[0]


# each: the field, another value, and what the audit must say
MUTANTS = [
    ("evaluation.log_likelihood.value", -20.0, "evaluation.log_likelihood.value"),
    ("evaluation.log_likelihood.standard_error", 0.01, "evaluation.log_likelihood.standard_error"),
    ("evaluation.elbo.value", -20.0, "evaluation.elbo.value"),
    ("evaluation.elbo.standard_error", None, "evaluation.elbo.standard_error"),
    ("evaluation.effective_sample_size", 119.5, "evaluation.effective_sample_size"),
    ("evaluation.examples", 300, "evaluation.examples"),
    ("evaluation.examples", 64, "evaluation.examples"),
    ("evaluation.samples", 5000, "evaluation.samples"),
    ("evaluation.seed", 4, "ln p(x)"),
    ("evaluation.data.split", "validation", "evaluation.data.fingerprint"),
    ("evaluation.data.name", "glyphs", "evaluation.data.fingerprint"),
    ("evaluation.data.binarisation", 0, "evaluation.data.fingerprint"),
    ("evaluation.data.fingerprint", "70x64 float32 0", "evaluation.data.fingerprint"),
    ("checkpoint.epoch", 7, "checkpoint.epoch"),
    ("checkpoint.precision", "float32", "checkpoint.precision"),
    ("checkpoint.sha256", "0" * 64, "the checkpoint's sha256"),
    ("evaluation.values.sha256", "0" * 64, "the values' sha256"),
    ("training.config.seed", 1, "training.config.seed"),
    ("training.config.learning_rate", 0.004, "training.config.learning_rate"),
    ("training.config.epochs", 4, "training.config.epochs"),
    ("training.config.beta", 1.5, "training.config.beta"),
    ("training.model.arguments.seed", 1, "training.model"),
    ("training.data.training", "1197x64 float32 0", "training.data.training"),
    ("training.data.validation", None, "training.data.validation"),
    ("training.data.name", "glyphs", "training.data.name"),
    ("training.curve.elbo.1", -3.0, "training.curve.elbo, epoch 2"),
    ("training.curve.validation_rate.2", 0.5, "training.curve.validation_rate, epoch 3"),
    ("training.curve.rate", [1.0], "the number of epochs in training.curve.rate"),
    ("training.curve.extra", [1.0, 2.0, 3.0], "the names of the curves"),
]


@pytest.mark.parametrize(
    ("place", "value", "complaint"), MUTANTS, ids=[f"{m[0]}={m[1]}"[:60] for m in MUTANTS]
)
def test_a_sealed_lie_is_found_out(copy, place, value, complaint):
    """Whoever changes a number and repairs the digest is found out by the recomputation."""
    spoil(copy, place, value)
    found = audit(copy, device="cpu")
    assert not found.agrees
    assert any(one.name.startswith(complaint) for one in found.disagreements), found.lines()
    assert "sha256 of the card" not in [one.name for one in found.disagreements]


def numbers_in(value, place=""):
    """The places of all numbers in a document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers_in(inner, f"{place}.{name}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from numbers_in(inner, f"{place}.{i}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place[1:]


def test_any_number_changed_by_hand_is_noticed(complete, copy):
    """Without a new digest no number can be changed, those that cannot be recomputed included."""
    places = [place for place in numbers_in(document(complete)) if place != "format"]
    assert {"training.seconds.wall", "evaluation.seconds.cpu", "training.device.processes"} <= set(places)
    for place in places:
        shutil.copy(complete / "card.json", copy / "card.json")
        inner = document(copy)
        for name in place.split("."):
            inner = inner[int(name) if isinstance(inner, list) else name]
        spoil(copy, place, inner + 1, sealed=False)
        found = audit(copy, numbers=False, device="cpu")
        assert "sha256 of the card" in [one.name for one in found.disagreements], place


def test_a_swapped_checkpoint_is_found_out(copy, run, capsys):
    other = load_checkpoint(copy / "model.safetensors")
    with torch.no_grad():
        list(other.model.parameters())[-1][30] += 0.1  # the bias of a pixel in the middle
    parts = {"config": other.config, "history": other.history, "position": other.position, "data": other.data}
    save_checkpoint(copy / "model.safetensors", other.model.half(), notes=other.notes, **parts)
    assert main(["audit", str(copy), "--device", "cpu"]) == 1
    assert "DISAGREES: the checkpoint's sha256: reported" in capsys.readouterr().out
    # with a new digest too: now the values are others
    spoil(copy, "checkpoint.sha256", file_digest(copy / "model.safetensors"))
    assert main(["audit", str(copy), "--device", "cpu"]) == 1
    out = capsys.readouterr().out
    assert "DISAGREES: ln p(x) of example" in out
    assert "tolerance 0.001" in out


def test_swapped_values_are_found_out(copy):
    values = read_values(read_card(copy))
    values["log_likelihood"] = values["log_likelihood"] + 0.5  # half a nat better, and all else to match
    write_values(copy / "values.safetensors", values)
    spoil(copy, "evaluation.values.sha256", file_digest(copy / "values.safetensors"))
    better = document(copy)["evaluation"]["log_likelihood"]["value"] + 0.5
    spoil(copy, "evaluation.log_likelihood.value", better)
    names = [one.name for one in audit(copy, examples=1, device="cpu").disagreements]
    assert any(name.startswith("ln p(x) of example") for name in names)
    assert any(name.startswith("ln p(x) with 120 samples") for name in names)


def test_another_kind_of_device_is_judged_by_its_noise(copy):
    """A card from a GPU, audited on the CPU: other noise, the same law."""
    x = load("digits", split="test").binarized()[:EXAMPLES]
    model = load_checkpoint(copy / "model.safetensors").model
    values = read_values(read_card(copy))
    for i, k in enumerate(values["samples"].tolist()):
        values["log_likelihood"][i] = log_likelihood(model, x, k, seed=99).value.float()
    write_values(copy / "values.safetensors", values)
    spoil(copy, "evaluation.values.sha256", file_digest(copy / "values.safetensors"))
    mean = values["log_likelihood"][-1].double()
    spoil(copy, "evaluation.log_likelihood.value", mean.mean().item())
    spoil(copy, "evaluation.log_likelihood.standard_error", mean.std().item() / EXAMPLES**0.5)
    assert not audit(copy, device="cpu").agrees  # it says it comes from a CPU, and does not
    spoil(copy, "evaluation.device.kind", "cuda")
    found = audit(copy, device="cpu")
    assert found.agrees, found.lines()
    assert found.difference > 1e-3
    # a tenth of a nat is far outside of what noise can do
    values["log_likelihood"] = values["log_likelihood"] + 0.1
    write_values(copy / "values.safetensors", values)
    spoil(copy, "evaluation.values.sha256", file_digest(copy / "values.safetensors"))
    spoil(copy, "evaluation.log_likelihood.value", mean.mean().item() + 0.1)
    names = [one.name for one in audit(copy, device="cpu").disagreements]
    assert any(name.startswith("ln p(x) with 120 samples") for name in names)


def test_rounding_stays_far_below_the_tolerance(complete):
    """Other chunks of work, other orders of addition: what the same kind of device may do."""
    x = load("digits", split="test").binarized()[:64]
    model = load_checkpoint(complete / "model.safetensors").model
    a, b = (log_likelihood(model, x, SAMPLES, chunk=chunk).value for chunk in (1, 50))
    assert (a - b).abs().max() < 1e-4


# --- what is shown ------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_complete_card(run, complete, tmp_path):
    shutil.copytree(run, tmp_path / "training-only")
    shutil.copytree(complete, tmp_path / "whole")
    cards = recorded(tmp_path)
    assert [card.name for card in cards] == ["whole"]
    table = CardTable(cards)
    evaluation = cards[0].evaluation
    mean, error = evaluation["log_likelihood"]["value"], evaluation["log_likelihood"]["standard_error"]
    row = str(table).splitlines()[2]
    assert row.startswith("| whole | digits: 70 | −")
    assert f"−{-mean:.2f} ± {error:.2f} (k = 120)" in row
    assert "3 epochs" in row
    assert table._repr_markdown_() == repr(table) == str(table)
    with pytest.raises(ValueError, match="holds the training only"):
        CardTable([read_card(run)])


def test_the_committed_cards_are_found():
    """Each committed card holds together; what needs data is the business of chapter 12."""
    cards = recorded()
    assert {"digits-conv", "digits-mlp", "digits-twin"} <= {card.name for card in cards}
    for card in cards:
        found = audit(card, numbers=False, device="cpu")
        assert found.agrees, found.lines()
        assert card.path.with_name(card.checkpoint["file"]).stat().st_size <= 1_000_000, card.name
        assert card.training["dirty"] is False, card.name


@pytest.mark.parametrize(
    ("processor", "machine", "name"),
    [("arm", "arm64", "arm"), ("", "arm64", "arm64"), ("", "", "unknown")],
)
def test_a_machine_that_lists_no_processors_is_named(monkeypatch, tmp_path, processor, machine, name):
    monkeypatch.setattr(origin, "Path", lambda path: tmp_path / "nothing")
    monkeypatch.setattr(origin.platform, "processor", lambda: processor)
    monkeypatch.setattr(origin.platform, "machine", lambda: machine)
    assert device_of("cpu")["name"] == name


# --- what is refused ----------------------------------------------------------------------------------


def test_what_is_written_is_a_card(run, tmp_path):
    card, path = document(run), tmp_path / "card.json"
    card["training"]["curve"]["elbo"] = [float("nan")] * 3  # as an auto-encoder has it
    write_card(path, card)
    assert json.loads(path.read_text())["training"]["curve"]["elbo"] == [None] * 3
    path.unlink()
    card["training"]["config"]["seed"] = "none"
    with pytest.raises(CardError):
        write_card(path, card)
    assert not path.exists()


def test_every_fault_of_a_card_has_its_line(copy, capsys):
    changed = document(copy)
    changed["evaluation"]["samples"] = 0
    changed["evaluation"]["seed"] = -1
    changed["training"]["config"].pop("seed")
    changed["checkpoint"]["file"] = "../elsewhere.safetensors"
    changed["colour"] = "red"
    (copy / "card.json").write_text(json.dumps(changed))
    assert main(["audit", str(copy)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("python -m vae_lib audit: ") and "card.json: " in line for line in lines)
    wanted = (
        "evaluation.samples: 0",
        "evaluation.seed: -1",
        "training.config: 'seed'",
        "colour",
        "elsewhere",
    )
    for words in wanted:
        assert sum(words in line for line in lines) == 1, words
    with pytest.raises(CardError) as caught:
        read_card(copy)
    assert len(caught.value.faults) == 5


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ('{"format": NaN}', "it holds NaN"),
        ("[]", "is not of type 'object'"),
        ('{"format": 2}', "format is 2; wanted 1"),
        ("{}", "'training' is a required property"),
    ],
)
def test_what_is_no_card(tmp_path, content, complaint, capsys):
    (tmp_path / "card.json").write_text(content)
    assert main(["audit", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err
    assert "Traceback" not in err


def test_bad_commands(run, complete, copy, tmp_path, capsys):
    for words, complaint in [
        (["audit"], "required: CARD"),
        (["audit", "nowhere"], "nowhere: cannot be read"),
        (["audit", str(run)], "holds the training only"),
        (["audit", str(complete), "--examples", "0"], "examples is 0; wanted an integer of at least 1"),
        (["audit", str(complete), "-k", "7"], "samples is 7; the values were kept for 1, 10, 100, 120"),
        (["card", "nowhere"], "nowhere/card.json: cannot be read"),
        (["card", str(run), "--out", str(complete)], "is complete already"),
        (["card", str(run), "--precision", "int8"], "precision is 'int8'; wanted one of: float32, float16"),
        (["card", str(run), "--examples", "0"], "examples is 0; wanted an integer of at least 1"),
        (
            ["card", str(run), "-k", "0", "--out", str(tmp_path / "x")],
            "k is 0; wanted an integer of at least 1",
        ),
        (["card", str(run), "--split", "half"], "split is 'half'"),
        (["card", str(complete / "model.safetensors")], "is complete already"),
    ]:
        assert main(words) == 2, words
        out, err = capsys.readouterr()
        assert out == "", words
        assert complaint in err, words
        assert len(err.splitlines()) == 1, err
    assert not (tmp_path / "x").exists()
    (copy / "values.safetensors").unlink()
    assert main(["audit", str(copy)]) == 2
    assert "values.safetensors: cannot be read" in capsys.readouterr().err
    (copy / "model.safetensors").unlink()
    assert main(["audit", str(copy)]) == 2
    assert "model.safetensors: cannot be read" in capsys.readouterr().err


def test_a_checkpoint_of_another_run_gets_no_card(run, tmp_path):
    other = Path(shutil.copytree(run, tmp_path / "run"))
    assert main([*TRAIN, "--seed", "1", "--out", str(tmp_path / "second")]) == 0
    shutil.copy(tmp_path / "second" / "best.safetensors", other)
    with pytest.raises(CheckpointError, match="belongs to another run"):
        complete_card(other, tmp_path / "out", examples=2, k=1, device="cpu")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_model_gets_no_card(run, tmp_path):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    spoil(folder, "training.model.arguments.seed", 7)  # the curves are those of the card
    with pytest.raises(CheckpointError, match="belongs to another run"):
        complete_card(folder, tmp_path / "out", examples=2, k=1, device="cpu")


def test_data_of_ones_own_get_no_card(run, tmp_path):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    spoil(folder, "training.data.name", "mine.npy")
    with pytest.raises(ValueError, match="a run card needs one of: digits"):
        complete_card(folder, examples=2, k=1, device="cpu")
    with pytest.raises(ValueError, match="nothing is drawn"):
        card_examples("digits", "test", "gaussian", 0)


def test_an_audit_without_the_data_says_so(copy, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VAE_LIB_DATA", str(tmp_path))
    monkeypatch.setenv("VAE_LIB_CACHE", str(tmp_path))
    assert data_at_hand(read_card(copy))
    spoil(copy, "evaluation.data.name", "binarized_mnist")
    assert not data_at_hand(read_card(copy))
    assert audit(copy, numbers=False, device="cpu").agrees
    with pytest.raises(DataUnavailable):
        audit(copy, device="cpu", download=False)
    assert main(["audit", str(copy), "--offline", "--device", "cpu"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
