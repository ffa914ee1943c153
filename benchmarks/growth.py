"""How time and memory grow: an epoch with the data, ln p(x) with the images and the samples.

Time should be proportional, an exponent of 1; memory beyond the data should not grow, an exponent of 0.
"""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.memory import peaks
from benchmarks.workloads import WORKLOADS, synthetic
from vae_lib import figures
from vae_lib.evaluation import log_likelihood
from vae_lib.training import TrainConfig, fit

__all__ = ["exponent", "reports"]

BATCH = 100  # so that the smallest set of images is one batch
TOLERANCE = 0.05  # of an exponent of time, in the upper half of the decades
MEMORY_TOLERANCE = 25  # MiB: an order of the examples, 8 bytes each, is among what may grow

MEMORY = """
from vae_lib.networks import mlp_vae
from vae_lib.training import TrainConfig, fit
def call(images):
    data = {data}
    fit(mlp_vae(784, 20, (50,), seed=0), data,
        TrainConfig(epochs=1, batch_size=1000, progress=False{more}))
"""


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log(values) against log(sizes), by least squares."""
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope)


class GrowthReport:
    """Curves and their exponents."""

    def __init__(self, curves: dict[str, dict[int, float]], memory: dict[int, float], bytes_per_image: int):
        self.curves, self.memory, self.bytes_per_image = curves, memory, bytes_per_image

    def exponents(self) -> dict[str, tuple[float, float]]:
        """Over all sizes, and over their upper half, where the fixed costs no longer count."""
        found = {}
        for name, curve in self.curves.items():
            sizes, seconds = list(curve), list(curve.values())
            half = len(sizes) // 2
            found[name] = (exponent(sizes, seconds), exponent(sizes[half:], seconds[half:]))
        return found

    def table(self) -> str:
        lines = ["### Growth", ""]
        for name, curve in self.curves.items():
            lines += [f"| {name} | seconds of CPU time | per unit, µs |", "| --- | --- | --- |"]
            for size, value in curve.items():
                lines.append(f"| {size:,} | {value:.4g} | {value / size * 1e6:,.1f} |")
            lines.append("")
        if self.memory:
            lines += ["| images | peak memory of fit, MiB | the data alone | beyond |", "| --- " * 4 + "|"]
            for size, peak in self.memory.items():
                data = size * self.bytes_per_image / 2**20
                lines.append(f"| {size:,} | {peak:.0f} | {data:.0f} | {peak - data:.0f} |")
            lines.append("")
        for name, (over_all, upper) in self.exponents().items():
            verdict = "met" if abs(upper - 1) <= TOLERANCE else "NOT met"
            lines.append(f"- {verdict}: {name}: exponent {over_all:.3f}, upper half {upper:.3f}; wanted 1")
        if len(self.memory) > 1:
            beyond = [peak - size * self.bytes_per_image / 2**20 for size, peak in self.memory.items()]
            verdict = "met" if max(beyond) - beyond[0] <= MEMORY_TOLERANCE else "NOT met"
            lines.append(
                f"- {verdict}: memory of fit beyond the data is flat: {min(beyond):.0f} to "
                f"{max(beyond):.0f} MiB; wanted at most {MEMORY_TOLERANCE} MiB more"
            )
        return "\n".join([*lines, ""])

    def as_json(self) -> dict:
        return {
            "seconds": self.curves,
            "exponents": {name: {"all": a, "upper_half": b} for name, (a, b) in self.exponents().items()},
            "peak_MiB_of_fit": self.memory,
            "bytes_per_image": self.bytes_per_image,
        }

    def draw(self, file: Path) -> None:
        """Each curve of time in a panel of its own, with the line of exponent 1 through its last point."""
        fig, panels = figures.new(len(self.curves), height=2.2 * len(self.curves))
        for ax, (name, curve), role in zip(
            panels, self.curves.items(), ("elbo", "inference", "generative"), strict=True
        ):
            sizes, times = np.array(list(curve), float), np.array(list(curve.values()))
            figures.line(ax, sizes, times[-1] * sizes / sizes[-1], role="data")
            figures.line(ax, sizes, times, role=role, marker=figures.ROLES[role].marker)
            ax.set_xscale("log")
            ax.set_yscale("log")
            figures.axis_labels(ax, x=f"{name} (number)", y="CPU time (seconds)")
        fig.savefig(file, facecolor="white")


def reports(rounds: int, tiny: bool, out: Path) -> Iterable[GrowthReport]:
    decades = [10, 20, 50] if tiny else [100, 300, 1000, 3000, 10_000, 30_000, 100_000]
    samples = [10, 30, 60] if tiny else [50, 150, 500, 1500, 5000, 15_000, 50_000]
    images = [1, 2, 4] if tiny else [8, 24, 80, 240, 800, 2400, 8000]
    x = (synthetic(max(decades[-1], images[-1])) > 127).float()
    model = WORKLOADS["W1"].model()
    curves = {
        "images of an epoch": {n: seconds_of_an_epoch(x[:n], rounds) for n in decades},
        "images of log_likelihood, k = 50": {
            n: seconds(partial(log_likelihood, model, x[:n], 50), rounds) for n in images
        },
        "samples of log_likelihood, 8 images": {
            k: seconds(partial(log_likelihood, model, x[:8], k), rounds) for k in samples
        },
    }
    memory, width = memory_of_fit([1000] if tiny else [1000, 10_000, 100_000, 300_000])
    report = GrowthReport(curves, memory, width)
    report.draw(out / "growth.svg")
    report.draw(out / "growth.png")
    yield report


def seconds(call: Callable[[], object], rounds: int) -> float:
    """The median CPU time of a call; the quick ones are repeated more often."""
    call()
    taken: list[float] = []
    while len(taken) < rounds or (sum(taken) < 0.2 and len(taken) < 20 * rounds):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
        if taken[-1] > 5:
            break
    return median(taken)


def seconds_of_an_epoch(x: torch.Tensor, rounds: int) -> float:
    """The median CPU time between two calls of `on_epoch`."""
    ends: list[float] = []

    def ended(_) -> bool:
        ends.append(time.process_time())
        taken = ends[-1] - ends[0]
        return len(ends) > rounds and (taken > 0.3 or len(ends) > 20 * rounds)

    config = TrainConfig(epochs=10**6, batch_size=BATCH, device="cpu", progress=False)
    fit(WORKLOADS["W1"].model(), x, config, on_epoch=ended)
    return median(b - a for a, b in pairwise(ends))


def memory_of_fit(sizes: list[int]) -> tuple[dict[int, float], int]:
    """Peak memory of making the data and training on them; bytes where `fit` takes bytes."""
    if not sys.platform.startswith("linux"):
        return {}, 0
    in_bytes = hasattr(TrainConfig(), "binarise")
    data = "torch.full((images, 784), 100, dtype=torch.uint8)" if in_bytes else "torch.ones(images, 784)"
    found = peaks(MEMORY.format(data=data, more=", binarise=True" if in_bytes else ""), [1000, *sizes])
    return dict(zip(sizes, found[1:], strict=True)), 784 if in_bytes else 784 * 4
