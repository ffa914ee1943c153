"""Break the project in nine ways, one at a time and in a copy, and see that the tests turn red.

    python tools/faults.py            every fault
    python tools/faults.py 3 7        those faults only

A fault is planted by replacing one piece of text. It counts as caught when a stage of `make test` that
should see it ends red; `make test` with all stages green is the other half of the proof.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATEMENT = "book/exercises/02_kl_rearrangement.md"
CHAPTER = "book/02-kl-rearrangement.md"


@dataclass
class Fault:
    name: str
    path: str
    old: str
    new: str
    stages: tuple


FAULTS = [
    Fault("a wrong sign in the KL", "vae_lib/divergences.py",
          "q.log() - p.log()", "p.log() - q.log()", ("library",)),
    Fault("a mean for a sum over pixels", "vae_lib/likelihoods/_image.py",
          "return super().log_prob(value)", "return super().log_prob(value) / value.shape[-1]", ("library",)),
    Fault("an equation without a check", CHAPTER,
          "## Break it", "```{math}\n:label: eq-unchecked\n1 + 1 = 3\n```\n\n## Break it",
          ("library", "build")),
    Fault("an exception in a chapter", CHAPTER,
          "## Break it", "```{code-cell} python\nraise RuntimeError('planted')\n```\n\n## Break it",
          ("build", "nbval")),
    Fault("a wrong expected output", CHAPTER, "expect: |\n  ", "expect: |\n  not ", ("nbval",)),
    Fault("a figure without alt text", CHAPTER, 'alt="A bell', 'alt="" and "A bell',
          ("build", "nbval")),
    Fault("an address of another host in a page", "book/_static/page.css",
          "/* The page", '@import url("https://cdn.example.org/a.css");\n/* The page',
          ("library", "build pages")),
    Fault("an answer in the book", STATEMENT, "## 2.1", "{secret}\n\n## 2.1", ("library",)),
    Fault("a weakened test of an exercise", "exercises/02_kl_rearrangement.md",
          "import agree\ncorner_2_1 =", "import agree\nagree = lambda *a: True\ncorner_2_1 =", ("library",)),
]  # fmt: skip


def secret():
    """A line of the reference answer of 2.1, read from the source so that it stands nowhere else."""
    text = (ROOT / "exercises" / "02_kl_rearrangement.md").read_text(encoding="utf-8")
    answer = text.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
    return max(answer.splitlines(), key=len).strip()


def copy_project(target):
    """What git tracks or would track, and the build, so that unchanged pages need no execution."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    shutil.copytree(ROOT / "_build", target / "_build", ignore=shutil.ignore_patterns("logs"))
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=target, check=True, capture_output=True)


def run(folder, stage):
    return subprocess.run(
        [sys.executable, "tools/test.py", *stage.split()],  # pages are read as they were built
        cwd=folder, capture_output=True, text=True, errors="replace",
        env={**os.environ, "PYTHONPATH": str(folder), "PYTEST_ADDOPTS": "-x"},
    )


def reason(done):
    """The lines of the output that say what was wrong."""
    signs = ("FAILED ", "ERROR ", "WARNING: ", "AssertionError")
    lines = [line.strip() for line in done.stdout.splitlines() if any(sign in line for sign in signs)]
    return lines[:3] or done.stderr.splitlines()[-1:]


def main():
    wanted = [int(word) for word in sys.argv[1:]] or range(1, len(FAULTS) + 1)
    missed = []
    for number in wanted:
        fault = FAULTS[number - 1]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder) / "project"
            copy_project(folder)
            path = folder / fault.path
            text = path.read_text(encoding="utf-8")
            if fault.old not in text:
                sys.exit(f"fault {number} cannot be planted: {fault.path} has changed, adapt tools/faults.py")
            path.write_text(text.replace(fault.old, fault.new.replace("{secret}", secret()), 1))
            for stage in fault.stages:
                started = time.monotonic()
                done = run(folder, stage)
                caught = done.returncode != 0
                word = "red" if caught else "GREEN"
                print(f"{number} {fault.name}: {stage} is {word} ({time.monotonic() - started:.0f} s)")
                for line in reason(done) if caught else ():
                    print(f"    {line[:200]}", flush=True)
                if not caught:
                    missed.append((number, stage))
    if missed:
        sys.exit(f"faults that went unseen: {missed}")


if __name__ == "__main__":
    main()
