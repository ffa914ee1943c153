"""One GPU: where a training step's time goes, how near the card's own peak it is, how far ahead of pythae.

Everything is measured on the card at hand in this one run: its peak by a large matrix product and a
large copy, `fit` and pythae's loop in turns. Time is wall time, waited for to the end.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch._C._profiler import _ExperimentalConfig
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.floor import Floor
from benchmarks.ours import CompiledFit, Fit
from benchmarks.peers.pythae_trainer import PythaeTrainer
from benchmarks.rounds import Contestant, Goal, Report, Spread, take_turns
from benchmarks.training import TOLERANCE, assembled, bounds
from benchmarks.workloads import WORKLOADS, Workload, mnist, synthetic
from vae_lib.evaluation import log_likelihood

__all__ = ["Gaps", "gaps_between", "reports", "unfit"]

GOALS = {
    "W1": (Goal(Fit.name, 20.0, PythaeTrainer.name), Goal(CompiledFit.name, 20.0, PythaeTrainer.name)),
    "W2 k=1": (),
    "W2 k=50": (),
}
RATES = {"W1": 1.5e6, "W2 k=1": 180e3, "W2 k=50": 125e3}  # samples/s, goals for one H200
W4_GOAL = 25.0  # ms for 1000 images


def unfit(tiny: bool) -> str | None:
    """Why this cannot run here."""
    if tiny or torch.cuda.is_available():
        return None
    return "no CUDA GPU here; --tiny runs the same code on the CPU"


def reports(rounds: int, tiny: bool) -> Iterable[object]:
    device = "cpu" if tiny else "cuda"
    peak = Peak.measured(device, 256 if tiny else 8192)
    yield peak
    for name in GOALS:
        workload = WORKLOADS[name]
        # an epoch of the real data set: the GPU is through a small one before it is warm
        steps = 2 if tiny else 50_000 // workload.batch
        workload = replace(workload, steps=steps, batch=4 if tiny else workload.batch)
        workload = replace(workload, samples=min(workload.samples, 3)) if tiny else workload
        grey = (synthetic if tiny else mnist)(workload.images)
        yield training(workload, grey, rounds, device, peak)
        yield from gaps(workload, grey, device)
    yield evaluation(rounds, tiny, device)


class Table:
    """Some lines and the same as data."""

    def __init__(self, title: str, lines: Sequence[str], data: dict):
        self.title, self.lines, self.data = title, lines, data

    def table(self) -> str:
        return "\n".join([f"### {self.title}", "", *(f"- {line}" for line in self.lines), ""])

    def as_json(self) -> dict:
        return {"title": self.title, **self.data}


class Peak(Table):
    """What this card can do at best."""

    @classmethod
    def measured(cls, device: str, size: int) -> "Peak":
        products = {}
        for name, dtype, tf32 in (
            ("fp32", torch.float32, False),
            ("tf32", torch.float32, True),
            ("bf16", torch.bfloat16, True),
        ):
            with tensor_cores(tf32):
                a = torch.randn(size, size, device=device, dtype=dtype)
                b = torch.randn(size, size, device=device, dtype=dtype)
                out = torch.empty_like(a)
                seconds = timed(partial(torch.mm, a, b, out=out), device, calls=5)
            products[name] = 2 * size**3 / seconds.median / 1e12
        source = torch.empty(size * size * 4, device=device, dtype=torch.uint8)
        target = torch.empty_like(source)
        copy = 2 * source.numel() / timed(lambda: target.copy_(source), device, calls=5).median / 1e12
        small = torch.zeros(32, device=device)
        launch = timed(lambda: small.add_(1), device, calls=500).median * 1e6
        lines = [f"{size} × {size} product, {name}: {value:.4g} TFLOP/s" for name, value in products.items()]
        lines += [f"copy: {copy:.3g} TB/s", f"launch of the smallest kernel: {launch:.2f} µs"]
        data = {"TFLOP_per_s": products, "copy_TB_per_s": copy, "launch_us": launch}
        return cls("What the device does at best", lines, data)


@contextmanager
def tensor_cores(on: bool) -> Iterator[None]:
    """Matrix products of fp32 through TF32, or not."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if on else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def waiting_clock(device: str) -> Callable[[], float]:
    """Wall time, after everything that was started is done."""

    def clock() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    return clock


def timed(call: Callable[[], object], device: str, calls: int, rounds: int = 5) -> Spread:
    """Seconds per call."""
    clock, taken = waiting_clock(device), []
    call()
    for _ in range(rounds):
        start = clock()
        for _ in range(calls):
            call()
        taken.append((clock() - start) / calls)
    return Spread.of(taken)


class Gaps(Table):
    """Where the time of a turn goes, on the device."""


def gaps_between(intervals: Sequence[tuple[float, float]]) -> tuple[float, float, list[float]]:
    """From (start, end) of kernels: the time from first to last, the time busy, and the gaps between."""
    ordered = sorted(intervals)
    end = ordered[0][0]
    busy, gaps = 0.0, []
    for start, stop in ordered:
        if start > end:
            gaps.append(start - end)
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return end - ordered[0][0], busy, gaps


def launch_gaps(contestant: Contestant, workload: Workload, device: str) -> Gaps:
    """One turn under the profiler: kernels, gaps, share of the time that the device is busy."""
    activity, kind = ProfilerActivity.CUDA, DeviceType.CUDA
    everywhere = None
    if device == "cpu":  # operations stand in for kernels; `fit` runs in a thread of its own
        activity, kind = ProfilerActivity.CPU, DeviceType.CPU
        everywhere = _ExperimentalConfig(profile_all_threads=True)
    contestant.turn()
    clock = waiting_clock(device)
    clock()
    with profile(activities=[activity], experimental_config=everywhere, acc_events=True) as watched:
        contestant.turn()
        clock()
    kernels = [
        (event.time_range.start, event.time_range.end)
        for event in watched.events()
        if event.device_type == kind and event.cpu_parent is None
    ]
    span, busy, gaps = gaps_between(kernels)
    per_step = len(kernels) / workload.steps
    mean_gap = sum(gaps) / len(gaps) if gaps else 0.0
    lines = [
        f"{per_step:.1f} kernels per step, {span / workload.steps:.1f} µs per step under the profiler",
        f"busy {busy / span:.0%} of the time; {len(gaps) / workload.steps:.1f} gaps per step, "
        f"{mean_gap:.2f} µs each on average",
    ]
    data = {"kernels_per_step": per_step, "busy": busy / span, "mean_gap_us": mean_gap}
    return Gaps(f"{workload.name}, {contestant.name}: launch gaps", lines, data)


def training(workload: Workload, grey: Tensor, rounds: int, device: str, peak: Peak) -> Report:
    """`fit` against pythae's loop and against its own matrix products."""
    kinds = [Fit, PythaeTrainer] if device == "cpu" else [Fit, CompiledFit, PythaeTrainer]
    contestants, absent = assembled(kinds, workload, grey, device)
    floor = Floor(workload, device)
    try:
        rates = take_turns([*contestants, floor], rounds, waiting_clock(device))
    finally:
        for contestant in contestants:
            contestant.close()
    notes = []
    for name, per_second in rates.items():
        achieved = Spread.of(per_second).median / workload.batch * floor.flop / 1e12
        share = achieved / peak.data["TFLOP_per_s"]["fp32"]
        notes.append(f"{name}: {achieved:.3g} TFLOP/s, {share:.1%} of the measured fp32 peak")
    for name in (Fit.name, CompiledFit.name):
        if name in rates and device == "cuda":
            verdict = "met" if Spread.of(rates[name]).median >= RATES[workload.name] else "NOT met"
            notes.append(f"{name} ≥ {RATES[workload.name]:,.0f} samples/s (one H200): {verdict}")
    return Report(
        f"{workload.name} on {device}: {workload.title}",
        ours=Fit.name,
        floor=Floor.name,
        rates=rates,
        check="bound after",
        absent=absent,
        checks=bounds(workload, contestants, grey, PythaeTrainer.name, 1.0 if device == "cpu" else TOLERANCE),
        goals=GOALS[workload.name],
        notes=notes,
    )


def gaps(workload: Workload, grey: Tensor, device: str) -> Iterable[Gaps]:
    """The launch gaps of everybody, over a short epoch: a profile of a long one would not fit."""
    workload = replace(workload, steps=min(workload.steps, 100))
    kinds = [Fit, PythaeTrainer] if device == "cpu" else [Fit, CompiledFit, PythaeTrainer]
    contestants, _ = assembled(kinds, workload, grey[: workload.images], device)
    try:
        for contestant in contestants:
            yield launch_gaps(contestant, workload, device)
    finally:
        for contestant in contestants:
            contestant.close()


def evaluation(rounds: int, tiny: bool, device: str) -> Table:
    """W4: ln p(x) of 1000 images with 5,000 samples, with TF32 and without, and what TF32 changes."""
    images, k = (4, 50) if tiny else (1000, 5000)
    model = WORKLOADS["W1"].model().to(device)
    x = ((synthetic if tiny else mnist)(images) > 127).float().to(device)
    lines, data, values = [], {}, {}
    for name, tf32 in (("fp32", False), ("tf32", True)):
        with tensor_cores(tf32):
            spread = timed(lambda: log_likelihood(model, x, k), device, calls=1, rounds=rounds)
            values[name] = log_likelihood(model, x, k).value
        data[name] = vars(spread)
        lowest, highest = spread.worst * 1e3, spread.best * 1e3
        lines.append(f"{name}: {spread.median * 1e3:.4g} ms [{lowest:.4g}..{highest:.4g}]")
    if not tiny:
        verdict = "met" if data["tf32"]["median"] * 1e3 <= W4_GOAL else "NOT met"
        lines.append(f"TF32 ≤ {W4_GOAL:.0f} ms for {images} images: {verdict}")
    difference = (values["tf32"] - values["fp32"]).abs()
    lines.append(f"TF32 against fp32: mean {difference.mean():.2g}, largest {difference.max():.2g} nats")
    title = f"W4 on {device}: ln p(x) of {images} images, k = {k}, an untrained model"
    return Table(title, lines, data | {"largest_difference_nats": float(difference.max())})
