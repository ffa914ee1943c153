"""The page that a student gets back: points and diagnoses; never a hidden test."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

import nbformat

from vae_lib.grading.course import Course, Manifest, write_atomically
from vae_lib.grading.grade import Result
from vae_lib.grading.report import points_in, results_of

__all__ = ["page", "write_feedback"]

SHORTEST = 20  # characters of a line that tells something
MARKER = "instructors" + "_only"  # begins every secret region; written apart, so that it is not taken for one
LEFT_OUT = "(left out: it shows a hidden test)"

_STYLE = """
:root{color-scheme:light dark}
body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
pre{white-space:pre-wrap;border:1px solid #8888;padding:.6em;border-radius:.3em}
table{border-collapse:collapse}td,th{border-bottom:1px solid #8888;padding:.2em .8em .2em 0;text-align:left}
td.n,th.n{text-align:right;white-space:nowrap}
"""


def page(manifest: Manifest, result: Result) -> str:
    """The page as HTML; it loads nothing from elsewhere."""
    score = "not graded" if result.score is None else f"{result.score:g} of {manifest.max_score:g} points"
    title = f"{manifest.name} · {result.student}"
    due = f" · to be handed in by {escape(manifest.due)}" if manifest.due else ""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><main>",
        f"<h1>{escape(manifest.name)}</h1><p>{escape(result.student)}: <strong>{score}</strong>{due}</p>",
    ]
    if result.flags:
        parts.append("<h2>What was noticed</h2><ul>")
        parts += [f"<li>{escape(flag)}</li>" for flag in result.flags]
        parts.append("</ul>")
    if result.score is not None:
        for number in manifest.titles:
            parts += _exercise(manifest, result, number)
    parts.append("</main></body></html>")
    return "\n".join(parts) + "\n"


def _exercise(manifest: Manifest, result: Result, number: str) -> list[str]:
    got, best = points_in(manifest, result, number), manifest.points_of(number)
    parts = [f"<h2>{escape(manifest.titles[number])}</h2><p>{got:g} of {best:g} points</p>"]
    parts.append('<table><thead><tr><th>graded</th><th class="n">points</th><th>why</th></tr></thead><tbody>')
    for cell in manifest.cells:
        if cell.exercise == number:
            points = f"{result.scores.get(cell.grade_id, 0):g} / {cell.points:g}"
            why = escape(_why(result.errors.get(cell.grade_id, ""), number))
            parts.append(f'<tr><td>{escape(cell.about)}</td><td class="n">{points}</td><td>{why}</td></tr>')
    parts.append("</tbody></table>")
    verdict = result.verdicts.get(number)
    if verdict is not None:
        parts.append(f"<p><strong>The check:</strong> {escape(verdict['message'])}</p>")
        if verdict["details"]:
            parts.append(f"<pre>{escape(chr(10).join(verdict['details']))}</pre>")
    return parts


def _why(error: str, number: str) -> str:
    """An error in a student's words: what a test says, without the name of its exception and its exercise."""
    if error.rstrip(": ") == "NotImplementedError":
        return "not answered"
    return error.removeprefix("AssertionError: ").removeprefix(f"{number}: ")


def hidden_lines(source: Path) -> frozenset[str]:
    """The lines of answers and hidden tests of an assignment, without what copying changes."""
    found = set()
    for cell in nbformat.read(source, as_version=4).cells:
        inside = False
        for line in cell.source.split("\n"):
            if "### BEGIN" in line or "### END" in line:
                inside = "### BEGIN" in line
            elif inside and len(_squeeze(line)) >= SHORTEST:
                found.add(_squeeze(line))
    return frozenset(found)


def _squeeze(text: str) -> str:
    return re.sub(r"[\s\\\"'“”‘’]+", "", text)


def clean(value: Any, hidden: frozenset[str]) -> Any:
    """The value, with the texts left out that show a hidden line: code of a student can print them."""
    if isinstance(value, str):
        squeezed = _squeeze(value)
        return LEFT_OUT if any(line in squeezed for line in hidden) or MARKER in squeezed else value
    if isinstance(value, list):
        cleaned = [clean(item, hidden) for item in value]
        # a line can also be cut into several
        return cleaned if clean("".join(map(str, value)), hidden) != LEFT_OUT or LEFT_OUT in cleaned else []
    if isinstance(value, dict):
        return {key: clean(item, hidden) for key, item in value.items()}
    return value


def write_feedback(course: Course, name: str) -> list[str]:
    """Write the pages of everybody who has handed in; returns their names."""
    manifest, results = course.manifest(name), results_of(course, name)
    hidden = hidden_lines(course.source(name))
    done = []
    for result in results:
        result.flags, result.errors = clean(result.flags, hidden), clean(result.errors, hidden)
        result.verdicts = clean(result.verdicts, hidden)
        write_atomically(course.feedback(result.student, name), page(manifest, result))
        done.append(result.student)
    return done
