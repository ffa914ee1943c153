"""W1 to W3: samples per second of CPU time while training, one thread."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.floor import Floor
from benchmarks.ours import BareLoop, CompiledFit, Fit, PlainTorchLoop, PrunedFit, Unavailable
from benchmarks.peers.examples import ExamplesLoop, ReplicatingLoop
from benchmarks.peers.lightning_module import LightningTensors, LightningToTensor
from benchmarks.peers.pyro_svi import PyroSVI
from benchmarks.peers.pythae_trainer import PythaeTrainer
from benchmarks.rounds import Contestant, Goal, Report, take_turns
from benchmarks.workloads import WORKLOADS, Workload, bound, mnist, synthetic

__all__ = ["GOALS", "assembled", "bounds", "measure", "reports"]

OURS = (Fit, CompiledFit, BareLoop, PlainTorchLoop)
OTHERS = {
    "W1": (PythaeTrainer, PyroSVI, ExamplesLoop, LightningToTensor, LightningTensors),
    "W2 k=1": (PythaeTrainer, PyroSVI, ReplicatingLoop),
    "W2 k=50": (PrunedFit, PythaeTrainer, PyroSVI, ReplicatingLoop),
    "W3": (PythaeTrainer, PyroSVI, ExamplesLoop),
}
FIT, COMPILED, BARE = Fit.name, CompiledFit.name, BareLoop.name
PYTHAE, PYRO, EXAMPLES, PORT = PythaeTrainer.name, PyroSVI.name, ExamplesLoop.name, ReplicatingLoop.name
GOALS = {
    "W1": (
        Goal(FIT, 1.6, PYTHAE),
        Goal(FIT, 1.85, PYRO),
        Goal(FIT, 3.0, EXAMPLES),
        Goal(FIT, 0.97, BARE),
        Goal(COMPILED, 2.1, PYTHAE),
        Goal(COMPILED, 0.75, Floor.name),
    ),
    "W2 k=1": (Goal(FIT, 1.65, PYTHAE), Goal(FIT, 0.93, BARE), Goal(COMPILED, 3.0, PYTHAE)),
    "W2 k=50": (Goal(FIT, 1.65, PYTHAE), Goal(COMPILED, 2.0, PYTHAE)),
    "W3": (Goal(FIT, 1.4, PYTHAE), Goal(FIT, 0.97, BARE)),
}
# after the same number of steps from the same weights, trained weights may differ by their luck only, and
# by the noise of the gradient: some take the KL in closed form, others from the draws
TOLERANCE, TINY_TOLERANCE = 0.05, 0.2


def reports(rounds: int, tiny: bool, only: Sequence[str] = ()) -> Iterable[Report]:
    """One report per workload, as soon as it is measured."""
    for name, workload in WORKLOADS.items():
        if only and not any(name.startswith(wanted) for wanted in only):
            continue
        if tiny:
            workload = replace(workload, batch=4, steps=2, samples=min(workload.samples, 3))
        images = (synthetic if tiny else mnist)(workload.images)
        yield measure(workload, images, rounds, tiny)


def assembled(
    kinds: Sequence[Any], workload: Workload, images: Tensor, *device: str
) -> tuple[list[Contestant], dict[str, str]]:
    """The contestants that can take part, and why the others cannot."""
    present: list[Contestant] = []
    absent: dict[str, str] = {}
    for kind in kinds:
        try:
            present.append(kind(workload, images, *device))
        except ImportError as error:
            absent[kind.name] = f"not installed ({error.name})"
        except Unavailable as why:
            absent[kind.name] = f"not available: {why}"
    return present, absent


def measure(workload: Workload, images: Tensor, rounds: int, tiny: bool = False) -> Report:
    """All contestants of a workload, in turns."""
    torch.manual_seed(0)
    ours = [kind for kind in OURS if not (tiny and kind is CompiledFit)]  # it takes long to compile
    contestants, absent = assembled((*ours, *OTHERS[workload.name]), workload, images)
    floor = Floor(workload)
    try:
        rates = take_turns([*contestants, floor], rounds)
    finally:
        for contestant in contestants:
            contestant.close()
    return Report(
        f"{workload.name}: {workload.title} ({floor.flop / 1e6:.4g} MFLOP of matrix products per step)",
        ours=FIT,
        floor=Floor.name,
        rates=rates,
        check="bound after",
        absent=absent,
        checks=bounds(workload, contestants, images, tolerance=TINY_TOLERANCE if tiny else TOLERANCE),
        goals=GOALS[workload.name],
        notes=[f"bound after: nats, on training images, after the same {workload.steps} steps per round"],
    )


def bounds(
    workload: Workload,
    contestants: Sequence[Contestant],
    images: Tensor,
    against: str = PlainTorchLoop.name,
    tolerance: float = TOLERANCE,
) -> dict[str, str]:
    """What the trained weights are worth, by one yardstick, and whether all agree with one of them."""
    generator = torch.Generator().manual_seed(2)
    x = workload.binary(images[:500])
    x = torch.bernoulli(x, generator=generator) if workload.dynamic else x
    found = {one.name: bound(one.networks, x, workload.samples) for one in contestants}
    wanted = found.get(against, math.nan)
    return {
        name: f"{value:.2f} DIFFERS" if abs(value - wanted) > tolerance * abs(wanted) else f"{value:.2f}"
        for name, value in found.items()
    }
