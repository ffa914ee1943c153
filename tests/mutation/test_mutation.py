"""Every fault that the field makes is seen by a test here, and the runner itself can fail.

The runner is a process of its own: it must not have imported the library when it forks.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import mutation
import planting
import pytest

pytestmark = [pytest.mark.mutation, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")]
FAULTS, ABSENT = mutation.read_table()


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "tools/mutation.py", "--json", *map(str, arguments)],
        cwd=mutation.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def report():
    return run()


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_test_turns_red(report, fault):
    found = {result["name"]: result for result in report[1]["results"]}[fault.name]
    assert not found["error"]
    assert found["red"], f"survived {fault.tests}"


def test_without_a_fault_the_same_tests_are_green(report):
    control, harmless = report[1]["results"][:2]
    assert control["name"] == mutation.CONTROL
    assert harmless["name"] == mutation.HARMLESS
    assert not any(result["red"] or result["error"] for result in (control, harmless))


@pytest.mark.parametrize("absent", ABSENT, ids=[absent.name for absent in ABSENT])
def test_what_is_said_to_be_missing_is_missing(absent):
    assert absent.why
    assert mutation.betrayed(absent) == []


def test_nothing_else_is_wrong_and_the_table_in_the_book_is_the_measured_one(report):
    code, found = report
    assert found["wrong"] == []
    assert code == 0


ROW = """
[[fault]]
name = "{name}"
field = "nowhere"
file = "vae_lib/bounds/lower.py"
old = "return log_w.mean(0)"
new = "{new}"
tests = ["{test}"]
"""
TEST = "tests/library/test_bounds.py::test_values_by_hand"


def test_the_runner_can_fail(tmp_path):
    rows = {
        "harmless": {"new": "return log_w.mean(0)  # a comment", "test": TEST},
        "real": {"new": "return log_w.sum(0)", "test": TEST},
        "no such test": {"new": "return log_w.sum(0)", "test": TEST + "_that_is_not_there"},
        "does not import": {"new": "return log_w.mean(0)\\n\\n\\nimport nothing_of_this_name", "test": TEST},
        "does not parse": {"new": "return log_w.mean(0", "test": TEST},
    }
    table = tmp_path / "faults.toml"
    table.write_text(
        "".join(ROW.format(name=name, **row) for name, row in rows.items())
        + ROW.format(name="moved", new="return 0", test=TEST).replace("return log_w.mean(0)", "no such text")
        + ROW.format(name="twice", new="return 0", test=TEST).replace("return log_w.mean(0)", "log_w")
    )
    code, found = run("--table", table)
    assert code == 1
    results = {result["name"]: result for result in found["results"]}
    assert results["real"]["red"] == TEST
    assert not results["real"]["error"]
    assert not results["harmless"]["red"]
    wrong = {line.split(": ", 1)[0]: line for line in found["wrong"]}
    assert sorted(wrong) == [
        "does not import",
        "does not parse",
        "harmless",
        "moved",
        "no such test",
        "twice",
        "without any fault",  # the control asks for the test that is not there
    ]
    for name, words in {
        "harmless": "SURVIVED",
        "moved": "stands 0 times in vae_lib/bounds/lower.py, wanted once",
        "twice": "wanted once",
        "no such test": "is there such a test?",
        "does not import": "could not be collected",
        "does not parse": "was never closed",
    }.items():
        assert words in wrong[name]


def test_two_rows_of_one_name_are_refused(tmp_path):
    table = tmp_path / "faults.toml"
    table.write_text(2 * ROW.format(name="same", new="return 0", test=TEST))
    with pytest.raises(ValueError, match="two rows named"):
        mutation.read_table(table)


def test_a_library_imported_before_the_fork_is_noticed(monkeypatch):
    monkeypatch.setitem(sys.modules, "vae_lib", sys)
    with pytest.raises(RuntimeError, match="imported already"):
        planting.warm_up()


def test_the_copy_and_nothing_else_is_imported(tmp_path):
    """A library from elsewhere is an error, whatever the tests say about it."""
    recorder = planting.Recorder(tmp_path)
    recorder.pytest_collection_finish(type("Session", (), {"items": ["one"]}))
    assert "not from the copy" in recorder.error or "do not import vae_lib" in recorder.error


def test_hollow_answers_have_the_form_and_nothing_else():
    torch = pytest.importorskip("torch")
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        import hollow
    finally:
        sys.path.pop(0)
    x = torch.tensor([1.0, torch.nan, -torch.inf], requires_grad=True)
    assert hollow.zeros(x).tolist() == [0.0, 0.0, 0.0]
    assert hollow.zeros(x).requires_grad
    q = hollow.zeros(torch.distributions.Independent(torch.distributions.Normal(torch.ones(3, 2), 1.0), 1))
    assert isinstance(q, torch.distributions.Independent)
    assert q.log_prob(torch.ones(3, 2)).tolist() == [0.0, 0.0, 0.0]
    assert q.sample((4,)).shape == (4, 3, 2)
    assert not q.mean.any()
    assert hollow.zeros({"a": (1, 2.5, "x", [True])}) == {"a": (0, 0.0, "", [False])}
