"""Run every test of the project and say in one table what passed and how long it took.

Two stages run at a time, the longest first; those that read the built book wait for it. One stage in red
does not hide the others. `python tools/test.py library pages` runs only the stages that are named.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

import nbformat

import notebooks

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "_build" / "logs"
# One thread per process: two stages share two cores, and small models gain nothing from a second thread.
QUIET = {"OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
# nbgrader calls alembic, and JupyterLab its kernel, by name: find the ones of this environment.
BIN = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}


@dataclass(eq=False)
class Stage:
    name: str
    command: list
    after: "Stage | None" = None
    code: int = 0
    seconds: float = 0.0
    processor: float = 0.0  # seconds, with all that the stage started and waited for
    output: str = ""
    over: Event = field(default_factory=Event)

    def run(self):
        try:
            self._run()
        finally:
            self.over.set()

    def _run(self):
        started = time.monotonic()
        with (LOGS / f"{self.name}.log").open("w+b") as log:
            child = subprocess.Popen(
                [str(part) for part in self.command],
                cwd=ROOT,
                env={**os.environ, **QUIET, **BIN},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            _, status, used = os.wait4(child.pid, 0)  # unlike wait(), it tells the processor time
            child.returncode = self.code = os.waitstatus_to_exitcode(status)
            self.processor = used.ru_utime + used.ru_stime
            self.seconds = time.monotonic() - started
            log.seek(0)
            self.output = log.read().decode(errors="replace")
        print(f"\n===== {self.name} ({self.seconds:.0f} s) =====\n{self.output}", flush=True)


def stages():
    """Every stage by its name."""
    python = sys.executable
    nbval_too = [python, "-m", "pytest", "-q"]
    pytest = [*nbval_too, "-p", "no:nbval"]  # its imports cost seconds that only one stage needs
    alone = ["-c", os.devnull, "--rootdir", notebooks.TARGET, "-p", "no:cacheprovider", "--durations=10"]
    nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=180"]
    elsewhere = ["--ignore=tests/book/test_sources.py", "--ignore=tests/browser/test_site.py"]
    areas = ("exercises", "library", "figures", "explorables", "benchmarks")
    library = ["tests/book/test_sources.py", *(f"tests/{area}" for area in areas), "vae_lib"]
    build = Stage("build", [python, "tools/build.py"])
    made = [
        Stage("lint", [python, "-m", "ruff", "check", "."]),
        Stage("library", [*pytest, *library]),
        build,
        Stage("grading", [*pytest, "tests/grading"]),
        Stage("site", [*pytest, "tests/book", "tests/browser", *elsewhere], after=build),
        Stage("pages", [*pytest, "tests/browser/test_site.py"], after=build),
        Stage("nbval", [*nbval_too, *alone, *nbval, *notebooks.write_all()]),
        Stage("faults", [*pytest, "tests/mutation"]),
        Stage("types", [python, "-m", "mypy"]),
    ]
    return {stage.name: stage for stage in made}


def ensure_grading():
    """nbgrader is the instructor's extra; the tests of the exercises need it."""
    try:
        import nbgrader  # noqa: F401
    except ImportError:
        print("installing the [grading] extra", flush=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        done = subprocess.run([*pip, "--editable", ".[grading]"], cwd=ROOT)
        if done.returncode:
            sys.exit("make: nbgrader could not be installed: is there a network?")


def ensure_chromium():
    """Debian's Chromium where we may install it; elsewhere the browser tests say why they are skipped."""
    if shutil.which("chromium") or shutil.which("google-chrome") or not shutil.which("apt-get"):
        return
    if os.geteuid() != 0:
        return
    print("installing chromium", flush=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "chromium"],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        **quiet,
    )


def nbval_ran_every_cell(stage):
    """nbval runs one test per code cell; fewer would mean that some cell was passed over."""
    paths = [path for path in stage.command if isinstance(path, Path) and path.suffix == ".ipynb"]
    books = [nbformat.read(path, as_version=4) for path in paths]
    cells = sum(cell.cell_type == "code" for book in books for cell in book.cells)
    last = stage.output.splitlines()[-1] if stage.output else ""
    ran = sum(int(n) for n in re.findall(r"(\d+) (?:passed|failed)", last))
    print(f"nbval ran {ran} cells; the {len(paths)} notebooks of _toc.yml have {cells}")
    if ran != cells:
        stage.code = stage.code or 1


def run_two_at_a_time(chosen):
    """Start the stages in their order; one that reads the book starts when the book is there."""
    waiting = list(chosen)
    lock = Lock()

    def ready(stage):
        return stage.after not in chosen or stage.after.over.is_set()

    def worker():
        while True:
            with lock:
                stage = next(filter(ready, waiting), waiting[0] if waiting else None)
                if stage is None:
                    return
                waiting.remove(stage)
            if not ready(stage):
                stage.after.over.wait()
            stage.run()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(worker) for _ in range(2)]:
            done.result()


def main():
    started = time.monotonic()
    LOGS.mkdir(parents=True, exist_ok=True)
    every = stages()
    wanted = sys.argv[1:] or list(every)
    unknown = set(wanted) - set(every)
    if unknown:
        sys.exit(f"make: no stage named {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    if {"library", "grading"} & set(wanted):
        ensure_grading()
    if {"pages", "site"} & set(wanted):
        ensure_chromium()
    run_two_at_a_time([stage for name, stage in every.items() if name in wanted])
    if "nbval" in wanted:
        nbval_ran_every_cell(every["nbval"])

    print("\nstage      result   seconds   of processor")
    for name in wanted:
        stage = every[name]
        result = "red" if stage.code else "green"
        print(f"{name:10} {result:8} {stage.seconds:7.0f} {stage.processor:14.0f}")
    processor = sum(every[name].processor for name in wanted)
    print(f"{'all':10} {'':8} {time.monotonic() - started:7.0f} {processor:14.0f}")
    red = [name for name in wanted if every[name].code]
    if red:
        sys.exit(f"make: red: {', '.join(red)} (the full text of each stage is in {LOGS})")
    print("all green")


if __name__ == "__main__":
    main()
