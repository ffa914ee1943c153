"""Run tests on copies of the library that were changed, each in a process forked from this one.

Torch is imported once. The library is not, so every child imports its own copy of it and nothing else.
"""

import gc
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 400  # seconds that one child may take on a busy machine
CONTROL = "control: no fault"
WARM = [
    "beartype.claw",
    "hypothesis.strategies",
    "jaxtyping._pytest_plugin",
    "pytest_timeout",
    "scipy.integrate",
    "scipy.optimize",
    "scipy.stats",
]


@dataclass
class Result:
    """What one child saw."""

    name: str
    red: str = ""  # the test that failed first
    error: str = ""  # why the run proves nothing
    seconds: float = 0.0  # of a processor, which does not depend on what else the machine does
    notes: list[str] = field(default_factory=list)


def rewrite(path: Path, text: str) -> None:
    """Replace a file of a copy; the other files of the copy are links to those of the pristine one."""
    path.unlink()
    path.write_text(text, encoding="utf-8")


class Recorder:
    """A pytest plugin that remembers the first red test, and where the library came from."""

    def __init__(self, copy: Path) -> None:
        self.copy, self.red, self.error, self.passed = copy, "", "", 0
        self.reds: list[str] = []

    def pytest_sessionstart(self, session) -> None:
        # the first example that fails is enough: a smaller one would take seconds to find
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.reuse, Phase.generate)
        settings.register_profile("mutation", settings(phases=phases))
        settings.load_profile("mutation")

    def pytest_collectreport(self, report) -> None:
        if report.failed and not self.error:
            self.error = f"{report.nodeid} could not be collected: {last_line(report.longreprtext)}"

    def pytest_collection_finish(self, session) -> None:
        library = sys.modules.get("vae_lib")
        if library is None and session.items:
            self.error = "the tests do not import vae_lib"
        for name, module in list(sys.modules.items()):
            where = getattr(module, "__file__", None)
            if name.split(".")[0] == "vae_lib" and where and not Path(where).is_relative_to(self.copy):
                self.error = f"{name} was imported from {where}, not from the copy"

    def pytest_runtest_logreport(self, report) -> None:
        self.passed += report.passed and report.when == "call"
        if report.failed:
            self.red = self.red or report.nodeid
            self.reds.append(f"{report.nodeid} ({report.duration:.2f} s)")


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("E ")] or text.splitlines() or [""]
    return lines[-1].removeprefix("E").strip()[:200]


def run_tests(copy: Path, tests: list[str], stop: bool = True) -> dict:
    """Run pytest on the copy. Called in a child, which ends afterwards."""
    import jaxtyping._pytest_plugin
    import pytest
    import pytest_timeout

    sys.path.insert(0, str(copy))
    os.environ["PYTHONPATH"] = str(copy)  # for tests that start a process of their own
    os.chdir(ROOT)
    recorder = Recorder(copy)
    quiet = ["-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-o", "timeout=60"]
    # these two by hand, because the other plugins of the environment take four seconds to load
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    plugins = [jaxtyping._pytest_plugin, pytest_timeout, recorder]
    code = pytest.main([*tests, *(["-x"] if stop else []), *quiet], plugins=plugins)
    error = recorder.error
    if not error and code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        error = f"pytest ended with {pytest.ExitCode(code).name}: is there such a test?"
    if not error and not recorder.red and recorder.passed == 0:
        error = "no test ran"
    return {"red": recorder.red, "error": error, "notes": [] if stop else recorder.reds}


def in_child(work: Callable[[], dict], answer: Path, keep_bytecode: bool) -> int:
    """Fork, do the work in the child with its output in a file, and leave its answer as JSON."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        log = os.open(answer.with_suffix(".log"), os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.dont_write_bytecode = not keep_bytecode
        answer.write_text(json.dumps(work()))
        status = 0
    except BaseException as error:
        answer.write_text(json.dumps({"red": "", "error": f"{type(error).__name__}: {error}"}))
    finally:
        os._exit(status)


def warm_up() -> None:
    """Import once what every child needs, but not the library."""
    if any(name.split(".")[0] == "vae_lib" for name in sys.modules):
        raise RuntimeError("vae_lib is imported already; the children would test the wrong one")
    for name in WARM:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    # the first call of each imports a compiler and a computer algebra system, about a second
    torch.testing.assert_close(torch.ones(1), torch.ones(1))
    torch.optim.Adam([torch.ones(1, requires_grad=True)])
    gc.freeze()  # the collectors of the children leave alone what they share


@dataclass
class Job:
    """A change to a copy of the library, and the tests that are run on it."""

    name: str
    change: Callable[[Path], None]
    tests: list[str]
    stop: bool = True


def run_jobs(jobs: list[Job], workers: int, tell: Callable[[Result], None]) -> list[Result]:
    """Run the jobs, each in a copy and a process of its own; the results keep the order of the jobs."""
    results: dict[int, Result] = {}
    running: dict[int, tuple[int, float, Path]] = {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as home:
        pristine = Path(home) / "pristine"
        shutil.copytree(ROOT / "vae_lib", pristine / "vae_lib", ignore=shutil.ignore_patterns("__pycache__"))
        waiting = list(enumerate(jobs))
        while waiting or running:
            while waiting and len(running) < workers:
                number, job = waiting.pop(0)
                # the control runs in the pristine copy and leaves its bytecode there for the others
                control = job.name == CONTROL
                copy = pristine if control else Path(home) / str(number)
                if not control:
                    shutil.copytree(pristine, copy, copy_function=os.link)
                try:
                    job.change(copy)
                except (ValueError, SyntaxError) as error:
                    results[number] = Result(job.name, error=str(error))
                    tell(results[number])
                    continue
                answer = Path(home) / f"{number}.json"
                child = in_child(lambda c=copy, j=job: run_tests(c, j.tests, j.stop), answer, control)
                running[child] = (number, time.monotonic(), answer)
            if running:
                reap(jobs, running, results, tell)
    return [results[number] for number in range(len(jobs))]


def reap(jobs, running, results, tell) -> None:
    """Wait for a child to end, and end one that takes too long."""
    child, _, usage = os.wait4(-1, os.WNOHANG)
    if child not in running:
        for late, (_, began, _) in running.items():
            if time.monotonic() - began > LIMIT:
                os.kill(late, signal.SIGKILL)
        time.sleep(0.02)
        return
    number, began, answer = running.pop(child)
    if jobs[number].name != CONTROL:
        shutil.rmtree(answer.with_suffix(""))
    found = json.loads(answer.read_text()) if answer.exists() else {"error": f"died or took over {LIMIT} s"}
    if found.get("error") and answer.with_suffix(".log").exists():
        found["notes"] = answer.with_suffix(".log").read_text(errors="replace").splitlines()[-15:]
    results[number] = Result(jobs[number].name, seconds=usage.ru_utime + usage.ru_stime, **found)
    tell(results[number])
