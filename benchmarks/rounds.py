"""Contestants that take turns, and the ratios that come of it.

Neighbours on the machine slow everybody down for a while. So all contestants sit in one process and
take turns, A B C ... A B C ...; a ratio is taken inside a round, where both met the same weather, and
the median over the rounds is what counts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

__all__ = ["Contestant", "Goal", "Report", "Spread", "in_round_ratio", "take_turns"]


class Contestant:
    """Somebody who does the work of a workload, one turn at a time.

    Attributes:
        name: As it stands in the table.
        networks: What it trains, if it trains, as `benchmarks.workloads.Networks`.
    """

    name = ""
    networks: Any = None

    def turn(self) -> int:
        """Do one turn's work; returns how many samples went through."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what was held."""


@dataclass(frozen=True)
class Spread:
    """The median of one number per round, with its lowest and its highest."""

    median: float
    worst: float
    best: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{_short(self.median)} [{_short(self.worst)}..{_short(self.best)}]"


def _short(number: float) -> str:
    """Few digits, no exponent: 11,450 or 0.62."""
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) >= 10 else f"{number:.2f}"


def in_round_ratio(rates: Sequence[float], other: Sequence[float]) -> Spread:
    """`rates` over `other`, round by round: above 1 where the first one is faster."""
    return Spread.of([a / b for a, b in zip(rates, other, strict=True)])


def take_turns(
    contestants: Sequence[Contestant],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Samples per second of `clock` for every contestant and round; a first round warms up, untimed."""
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(rounds + 1):
        for contestant in contestants:
            start = clock()
            samples = contestant.turn()
            if number:
                rates[contestant.name].append(samples / (clock() - start))
    return rates


@dataclass(frozen=True)
class Goal:
    """`name` shall be at least `at_least` times as fast as `over`."""

    name: str
    at_least: float
    over: str


@dataclass
class Report:
    """The table of one workload, and the same as plain data.

    Attributes:
        rates: For each contestant that ran, one number per round.
        absent: For each that did not, why.
        checks: For each that ran, the value that shows it did the same work.
    """

    title: str
    ours: str
    floor: str
    rates: dict[str, list[float]]
    unit: str = "samples/s"
    check: str = "check"
    absent: dict[str, str] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()

    def ratio(self, name: str, over: str) -> Spread | None:
        """How many times as fast as `over` this contestant is; None if one of them did not run."""
        if name not in self.rates or over not in self.rates:
            return None
        return in_round_ratio(self.rates[name], self.rates[over])

    def table(self) -> str:
        """Markdown: one line per contestant, then one per goal."""
        head = ["contestant", self.unit, "ours / this", "of floor", self.check]
        rows = [head, ["---"] * len(head)]
        for name, rates in sorted(self.rates.items(), key=lambda item: -median(item[1])):
            ratios = [self.ratio(self.ours, name), self.ratio(name, self.floor)]
            shown = ["-" if ratio is None else str(ratio) for ratio in ratios]
            rows.append([name, str(Spread.of(rates)), *shown, self.checks.get(name, "-")])
        rows += [[name, why, "-", "-", "-"] for name, why in self.absent.items()]
        lines = [f"### {self.title}", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
        lines += [f"- {verdict}: {text}" for verdict, text in map(self._judged, self.goals)]
        return "\n".join([*lines, *(f"- note: {note}" for note in self.notes), ""])

    def _judged(self, goal: Goal) -> tuple[str, str]:
        wanted = f"{goal.name} ≥ {goal.at_least} × {goal.over}"
        ratio = self.ratio(goal.name, goal.over)
        if ratio is None:
            return "not measured", wanted
        return "met" if ratio.median >= goal.at_least else "NOT met", f"{wanted}: {ratio}"

    def as_json(self) -> dict:
        """The same numbers, none of them rounded."""
        return {
            "title": self.title,
            "unit": self.unit,
            "rates": self.rates,
            "absent": self.absent,
            self.check: self.checks,
            "ours_over_this": self._ratios(lambda name: self.ratio(self.ours, name)),
            "of_floor": self._ratios(lambda name: self.ratio(name, self.floor)),
            "goals": [
                {"goal": text, "verdict": verdict} for verdict, text in map(self._judged, self.goals)
            ],
            "notes": list(self.notes),
        }

    def _ratios(self, ratio: Callable[[str], Spread | None]) -> dict:
        every = {name: ratio(name) for name in self.rates}
        return {name: vars(spread) for name, spread in every.items() if spread is not None}
