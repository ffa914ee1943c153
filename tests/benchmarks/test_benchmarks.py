"""The benchmarks work: their arithmetic, and every command in its tiny mode. No time is tested."""

import itertools
import json
import re
import sys

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.floor import Floor, products
from benchmarks.gpu import gaps_between
from benchmarks.growth import exponent
from benchmarks.ours import PlainTorchLoop
from benchmarks.pausing import OneEpochAtATime
from benchmarks.rounds import Contestant, Goal, Report, Spread, in_round_ratio, take_turns
from benchmarks.training import bounds
from benchmarks.workloads import WORKLOADS, Networks, bound, synthetic

PEERS = ("pythae", "pyro", "lightning", "torchvision")


@pytest.fixture
def no_peers(monkeypatch):
    """As on a machine where only the course is installed."""
    for name in list(sys.modules):
        if name.split(".")[0] in PEERS:
            monkeypatch.delitem(sys.modules, name)
    for name in PEERS:
        monkeypatch.setitem(sys.modules, name, None)


class Clocked(Contestant):
    """Takes a stated time for its turns, by a clock that only it moves."""

    def __init__(self, name, samples, seconds, time):
        self.name, self.samples, self.seconds, self.time = name, samples, iter(seconds), time

    def turn(self):
        self.time[0] += next(self.seconds)
        return self.samples


def made_up(slowdown=1.0):
    """Two contestants over three rounds in changing weather, which slows both of them in a round."""
    time = [0.0]
    ours = Clocked("ours", 100, [9, 1 * slowdown, 2 * slowdown, 4 * slowdown], time)
    peer = Clocked("peer", 50, [9, 1.0, 2.0, 3.0], time)
    floor = Clocked("floor", 100, [9, 0.5, 1.0, 2.0], time)
    rates = take_turns([ours, peer, floor], rounds=3, clock=lambda: time[0])
    return Report("W", "ours", "floor", rates, goals=[Goal("ours", 1.8, "peer"), Goal("ours", 1.8, "absent")])


def rows(table):
    """The cells of a Markdown table, by the first of each line."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cells[0]: cells[1:] for cells in split}


class TestRatios:
    def test_the_warm_up_is_not_counted(self):
        assert made_up().rates["peer"] == [50.0, 25.0, pytest.approx(50 / 3)]

    def test_a_ratio_is_taken_inside_the_round(self):
        # 100/50, 50/25, 25/(50/3); the ratio of the medians would hide the last round
        assert made_up().ratio("ours", "peer") == Spread(2.0, 1.5, 2.0)
        assert in_round_ratio([1.0, 8.0], [2.0, 2.0]) == Spread(2.25, 0.5, 4.0)

    def test_slower_code_prints_a_worse_ratio_and_misses_the_goal(self):
        quick, slow = made_up(), made_up(slowdown=1.2)
        assert slow.ratio("ours", "peer").median == pytest.approx(quick.ratio("ours", "peer").median / 1.2)
        assert "| peer | 25 [16.7..50] | 2.00 [1.50..2.00] | 0.25 [0.25..0.33] |" in quick.table()
        assert rows(slow.table())["peer"][1] == "1.67 [1.25..1.67]"
        assert "met: ours ≥ 1.8 × peer: 2.00" in quick.table()
        assert "- NOT met: ours ≥ 1.8 × peer: 1.67" in slow.table()
        assert "- not measured: ours ≥ 1.8 × absent" in slow.table()

    def test_the_json_holds_what_the_table_shows(self):
        data = json.loads(json.dumps(made_up().as_json()))
        assert data["ours_over_this"]["peer"] == {"median": 2.0, "worst": 1.5, "best": 2.0}
        assert data["goals"][0]["verdict"] == "met"


class TestTheFloor:
    def test_counts_what_is_known_on_paper(self):
        # 128 rows; three products a layer but for the first, which has no gradient of the data
        weights = 784 * 400 + 400 * 40 + 20 * 400 + 400 * 784
        assert Floor(WORKLOADS["W1"]).flop == 2 * 128 * (3 * weights - 784 * 400)

    def test_a_convolution_is_the_product_it_is_equivalent_to(self):
        rows_, inner, columns = products(WORKLOADS["W3"])[0]
        assert (rows_, inner, columns) == (128 * 14 * 14, 9, 32)
        assert len(products(WORKLOADS["W3"])) == 3 * 6 - 1


class TestTheWork:
    def test_the_yardstick_is_the_bound_of_the_library(self):
        model, x = WORKLOADS["W2 k=1"].model(), (synthetic(6) > 127).float()
        draws = model.log_weights(x, 300).detach()  # (300, 6)
        error = float(draws.var(0).mean().div(draws.numel()).sqrt())
        measured = bound(Networks.of(model), x.repeat(300, 1), 1)
        assert abs(measured - float(draws.mean())) < 5 * 2**0.5 * error

    def test_weights_that_were_trained_otherwise_are_marked(self):
        workload, images = WORKLOADS["W1"], synthetic(300)
        right, wrong = PlainTorchLoop(workload, images), PlainTorchLoop(workload, images)
        wrong.name = "wrong"
        for loop in (right, wrong):
            for group in loop.adam.param_groups:
                group["lr"] = 0.0 if loop is wrong else 1e-3
            loop.turn()
        shown = bounds(workload, [right, wrong], images)
        assert "DIFFERS" in shown["wrong"]
        assert "DIFFERS" not in shown[right.name]

    def test_a_loop_of_others_runs_one_epoch_at_a_time(self):
        epochs = []

        def run(pause):
            for number in itertools.count():
                epochs.append(number)
                if pause():
                    return

        loop = OneEpochAtATime(run)
        assert epochs == []
        loop.epoch()
        loop.epoch()
        assert epochs == [0, 1]
        loop.close()
        assert epochs == [0, 1]

    def test_an_error_of_that_loop_reaches_the_caller(self):
        def run(pause):
            raise ValueError("it broke")

        loop = OneEpochAtATime(run)
        with pytest.raises(ValueError, match="it broke"):
            loop.epoch()
        loop.close()

    def test_an_exponent(self):
        assert exponent([1, 10, 100], [2, 20, 200]) == pytest.approx(1)
        assert exponent([1, 10, 100], [5, 500, 50_000]) == pytest.approx(2)

    def test_gaps_between_kernels(self):
        # 0-2 and 1-3 overlap; then a gap of 1; then 4-5
        assert gaps_between([(4, 5), (0, 2), (1, 3)]) == (5, 4, [1])


@pytest.mark.filterwarnings("ignore::UserWarning:torch.profiler")
@pytest.mark.parametrize("command", ["training", "evaluation", "startup", "growth", "gpu"])
def test_a_command_in_its_tiny_mode(command, no_peers, tmp_path, capsys):
    assert main([command, "--tiny", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    document = json.loads((tmp_path / f"{command}.json").read_text())
    assert document["tiny"]
    assert document["machine"]["threads"] == torch.get_num_threads()
    assert str(tmp_path) not in json.dumps(document)
    assert "### " in printed
    if command in ("training", "evaluation"):
        found = rows(printed)
        absent = [name for name, cells in found.items() if cells[0].startswith("not installed")]
        assert any("pythae" in name for name in absent)
        assert any("Pyro" in name for name in absent)
        ran = {name: cells for name, cells in found.items() if re.match(r"[\d,.]+ \[", cells[0])}
        assert any(name.startswith("ours") for name in ran)
        assert all("DIFFERS" not in cells[-1] for cells in ran.values())
    if command == "growth":
        assert (tmp_path / "growth.svg").stat().st_size > 1000


def test_without_a_gpu_one_line_and_exit_2(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["gpu", "--out", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_without_mnist_one_line_and_exit_2(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_LIB_CACHE", str(tmp_path / "empty"))
    monkeypatch.delenv("VAE_LIB_DATA", raising=False)
    assert main(["training", "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
