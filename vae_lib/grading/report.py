"""The report on an assignment: grades, statistics, and the mistakes that the class made."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_lib.exercises.catalogue import find
from vae_lib.grading.course import Course, Manifest, write_atomically
from vae_lib.grading.grade import Result, read_result
from vae_lib.grading.gradebook import manual_scores

__all__ = ["mistakes", "write_report"]


MOST_BARS = 15


def results_of(course: Course, name: str) -> list[Result]:
    """A result for everybody: marks by hand counted in; those who handed in nothing, if there is a list.

    The list is COURSE/students.txt, one name a line.

    Raises:
        ValueError: nobody has handed in, or nothing is graded.
    """
    students = course.students(name)
    if not students:
        raise ValueError(f"nobody has handed in {name} yet; `collect` comes first")
    read = {student: read_result(course, student, name) for student in students}
    if not any(read.values()):
        raise ValueError(f"nothing of {name} is graded yet; `grade` comes first")
    by_hand = manual_scores(course, name)
    found = []
    for student, result in read.items():
        if result is None:
            result = Result(student, name, "not graded", ["was not graded yet"])
        marked = by_hand.get(student, {})
        if marked:
            result.scores = {**result.scores, **marked}
            # a person has looked
            result.status = "graded"
            cells = "1 cell" if len(marked) == 1 else f"{len(marked)} cells"
            result.flags = [*result.flags, f"marked by hand: {cells}"]
        found.append(result)
    missing = sorted(set(course.roster()) - {result.student for result in found})
    found += [Result(student, name, "not graded", ["nothing was handed in"]) for student in missing]
    return sorted(found, key=lambda result: result.student)


def _number(value: float | int) -> str:
    return f"{round(value, 4):g}"


def grades_csv(manifest: Manifest, results: Sequence[Result]) -> str:
    """The table of grades; the same results give the same bytes."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["student", "assignment", "score", "max_score", "status", "flags", *manifest.titles])
    for result in sorted(results, key=lambda result: result.student):
        score = result.score
        row = [result.student, manifest.name, "" if score is None else _number(score)]
        row += [_number(manifest.max_score), result.status, "; ".join(result.flags)]
        parts = (points_in(manifest, result, number) for number in manifest.titles)
        row += ["" if score is None else _number(part) for part in parts]
        table.writerow([_harmless(field) for field in row])
    return out.getvalue()


def _harmless(field: str) -> str:
    """The text, so that a spreadsheet takes it for text and never for a formula."""
    return "'" + field if field.startswith(("=", "+", "-", "@", "\t", "\r")) else field


def points_in(manifest: Manifest, result: Result, exercise: str) -> float | int:
    """The points of a result in one exercise."""
    return sum(result.scores.get(cell.grade_id, 0.0) for cell in manifest.cells if cell.exercise == exercise)


def mistakes(manifest: Manifest, results: Sequence[Result]) -> list[tuple[str, str, int]]:
    """(exercise, mistake, how many made it), the commonest of each exercise first.

    A mistake has the name that the check gives it; where the check recognises none, its verdict stands
    in its place, in brackets: "(unanswered)", "(raised)", "(wrong)".
    """
    counted: Counter[tuple[str, str]] = Counter()
    for result in results:
        for number, verdict in result.verdicts.items():
            if verdict["status"] != "right":
                counted[number, verdict["mistake"] or f"({verdict['status']})"] += 1
    order = {number: place for place, number in enumerate(manifest.titles)}
    found = [(number, name, count) for (number, name), count in counted.items() if number in order]
    return sorted(found, key=lambda entry: (order[entry[0]], -entry[2], entry[1]))


def mistakes_csv(found: Sequence[tuple[str, str, int]]) -> str:
    """The table of mistakes; "when" is what the check says of it."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["exercise", "mistake", "count", "when"])
    for number, name, count in found:
        table.writerow([number, name, count, find(number).mistakes.get(name, "")])
    return out.getvalue()


def statistics_csv(manifest: Manifest, results: Sequence[Result]) -> str:
    """Per exercise: how many have all points, some, none; the mean of those who have a score."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    counts = ["students", "mean", "all_points", "some", "none", "unanswered"]
    table.writerow(["exercise", "title", "max_score", *counts])
    scored = [result for result in results if result.score is not None]
    for number, title in manifest.titles.items():
        best = manifest.points_of(number)
        got = [points_in(manifest, result, number) for result in scored]
        full, none = sum(p >= best for p in got), sum(p == 0 for p in got)
        blank = sum(r.verdicts.get(number, {}).get("status") == "unanswered" for r in scored)
        mean = _number(sum(got) / len(got)) if got else ""
        row = [number, title, _number(best), len(got), mean, full, len(got) - full - none, none, blank]
        table.writerow(row)
    return out.getvalue()


def mistakes_figure(
    manifest: Manifest, found: Sequence[tuple[str, str, int]], students: int
) -> tuple[Any, str]:
    """The commonest named mistakes of the class as bars, and what they show in words."""
    from vae_lib import figures

    named = [entry for entry in found if not entry[1].startswith("(")]
    shown = sorted(named, key=lambda entry: (-entry[2], entry[0], entry[1]))[:MOST_BARS]
    fig, ax = figures.new(height=0.9 + 0.27 * max(len(shown), 1))
    colour = figures.ROLES["generative"].colour
    for place, (*_, count) in enumerate(shown):
        ax.barh(-place, count, height=0.6, color=colour, alpha=0.85, linewidth=0)
        ax.text(count, -place, f" {count}", va="center")
    ax.set_yticks([-place for place in range(len(shown))], [f"{number} {name}" for number, name, _ in shown])
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, max([count for *_, count in shown], default=1) * 1.12)
    ax.xaxis.get_major_locator().set_params(integer=True)
    figures.axis_labels(ax, x=f"students (of {students})")
    worst = f"; the commonest is {shown[0][1]} in {shown[0][0]}, {shown[0][2]} times" if shown else ""
    told = f"The commonest mistakes in {manifest.name}, as the checks name them{worst}."
    return figures.describe(fig, told), told


def _save(fig: Any, told: str, folder: Path) -> list[Path]:
    from vae_lib.figures.style import house_style

    paths = [folder / "mistakes.svg", folder / "mistakes.png"]
    with house_style():
        fig.savefig(paths[0], bbox_inches="tight", metadata={"Date": None, "Creator": None, "Title": told})
        fig.savefig(paths[1], bbox_inches="tight", dpi=150, facecolor="white", metadata={"Software": None})
    return paths


def write_report(course: Course, name: str, folder: Path) -> list[Path]:
    """Write the report into a folder; returns what was written."""
    manifest = course.manifest(name)
    results = results_of(course, name)
    found = mistakes(manifest, results)
    texts = {
        "grades.csv": grades_csv(manifest, results),
        "statistics.csv": statistics_csv(manifest, results),
        "mistakes.csv": mistakes_csv(found),
    }
    for file, text in texts.items():
        write_atomically(folder / file, text)
    pictures = _save(*mistakes_figure(manifest, found, len(results)), folder)
    return [*(folder / file for file in texts), *pictures]
