"""What must be paid before the first step: whole processes, in seconds of CPU time."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.rounds import Contestant, Spread

__all__ = ["reports"]

ROOT = Path(__file__).resolve().parent.parent

OURS = """
import torch
from vae_lib.networks import mlp_vae
from vae_lib.training import TrainConfig, fit
fit(mlp_vae(784, 20, (400,), seed=0), torch.zeros(128, 784), TrainConfig(epochs=1, progress=False))
"""
DEFAULT_ADAM = """
import torch
weight = torch.nn.Parameter(torch.zeros(1))
adam = torch.optim.Adam([weight])
weight.sum().backward()
adam.step()
"""
LIGHTNING = """
from benchmarks.peers.torchvision_shim import import_torchvision
import_torchvision("datasets")
import lightning
"""
PROGRAMS = {
    "import torch": "import torch",
    "import vae_lib.training": "import vae_lib.training",
    "ours: one step of fit": OURS,
    "torch.optim.Adam: one step": DEFAULT_ADAM,
    "import pythae": "import pythae.models, pythae.trainers",
    "import pyro": "import pyro.infer, pyro.optim",
    # its metrics import torchvision, which needs the shim here
    "import lightning, with torchvision": LIGHTNING,
}
AFTER = """
import sys, time
print(time.process_time(), "torch._dynamo" in sys.modules)
"""
TORCH, LIBRARY, STEP = list(PROGRAMS)[:3]
IMPORT_GOAL = 0.3  # seconds beyond torch


class Program(Contestant):
    """A whole process; `seconds` has its CPU time for every turn."""

    def __init__(self, name: str):
        self.name = name
        self.seconds: list[float] = []
        self.compiler = False
        self.missing = ""

    def turn(self) -> int:
        quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", PROGRAMS[self.name] + AFTER]
        done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
        if done.returncode:
            self.missing = (done.stderr.strip() or "no message").splitlines()[-1]
            return 0
        seconds, compiler = done.stdout.split()[-2:]
        self.seconds.append(float(seconds))
        self.compiler = compiler == "True"
        return 1


class StartupReport:
    """Seconds instead of rates, so a table of its own."""

    def __init__(self, programs: list[Program]):
        self.programs = programs

    def beyond_torch(self, program: Program) -> Spread | None:
        torch = self.programs[0].seconds
        if program is self.programs[0] or not program.seconds:
            return None
        return Spread.of([mine - its for mine, its in zip(program.seconds, torch, strict=True)])

    def table(self) -> str:
        lines = ["### Start-up, seconds of CPU time of a whole process", ""]
        lines += ["| process | seconds | beyond import torch | torch's compiler |", "| --- " * 4 + "|"]
        for program in self.programs:
            if not program.seconds:
                absent = "not installed" if "No module named" in program.missing else program.missing
                lines.append(f"| {program.name} | {absent} | - | - |")
                continue
            beyond = self.beyond_torch(program)
            cells = [program.name, str(Spread.of(program.seconds)), "-" if beyond is None else str(beyond)]
            lines.append(f"| {' | '.join(cells)} | {'imported' if program.compiler else 'not imported'} |")
        return "\n".join([*lines, "", *(f"- {line}" for line in self.verdicts()), ""])

    def verdicts(self) -> list[str]:
        by_name = {program.name: program for program in self.programs}
        said = []
        beyond = self.beyond_torch(by_name[LIBRARY]) if LIBRARY in by_name else None
        if beyond is not None:
            verdict = "met" if beyond.median <= IMPORT_GOAL else "NOT met"
            said.append(f"{verdict}: {LIBRARY} ≤ {IMPORT_GOAL} s beyond torch: {beyond}")
        verdict = "NOT met" if by_name[STEP].compiler else "met"
        said.append(f"{verdict}: the first step of fit does not import torch's compiler")
        return said

    def as_json(self) -> dict:
        return {
            "unit": "seconds of CPU time of a whole process",
            "seconds": {program.name: program.seconds for program in self.programs},
            "imports_compiler": {program.name: program.compiler for program in self.programs},
            "goals": self.verdicts(),
        }


def reports(rounds: int, tiny: bool) -> Iterable[StartupReport]:
    """The one table; the first round fills the disk cache and is not counted."""
    programs = [Program(name) for name in ((TORCH, STEP) if tiny else PROGRAMS)]
    for number in range(rounds + (not tiny)):
        for program in programs:
            if program.missing:
                continue
            program.turn()
            if number == 0 and not tiny:
                program.seconds.clear()
    yield StartupReport(programs)
