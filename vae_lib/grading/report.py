"""The report on an assignment: grades, statistics, and the mistakes that the class made."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vae_lib.exercises.catalogue import find
from vae_lib.grading.course import Course, Manifest, write_atomically
from vae_lib.grading.grade import Result, read_result

__all__ = ["mistakes", "write_report"]


def results_of(course: Course, name: str) -> list[Result]:
    """A result for everybody who has handed in; those without one are not graded."""
    found = []
    for student in course.students(name):
        result = read_result(course, student, name)
        found.append(result or Result(student, name, "not graded", ["was not graded yet"]))
    return found


def _number(value: float) -> str:
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


def points_in(manifest: Manifest, result: Result, exercise: str) -> float:
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
    return [folder / file for file in texts]
