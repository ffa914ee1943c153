"""The page that a student gets back: points, diagnoses, the own code; never a hidden test."""

from __future__ import annotations

from html import escape
from typing import Any

import nbformat

from vae_lib.grading.course import Course, Manifest, write_atomically
from vae_lib.grading.grade import Result
from vae_lib.grading.report import points_in, results_of

__all__ = ["page", "write_feedback"]

_STYLE = """
:root{color-scheme:light dark}
body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
pre{white-space:pre-wrap;border:1px solid #8888;padding:.6em;border-radius:.3em}
table{border-collapse:collapse}td,th{border-bottom:1px solid #8888;padding:.2em .8em .2em 0;text-align:left}
td.n,th.n{text-align:right}
"""


def page(manifest: Manifest, result: Result, answers: dict[str, str]) -> str:
    """The page as HTML; it loads nothing from elsewhere.

    Args:
        manifest: of the assignment.
        result: of the student.
        answers: exercise -> the code that was handed in.
    """
    score = "not graded" if result.score is None else f"{result.score:g} of {manifest.max_score:g} points"
    title = f"{manifest.name} · {result.student}"
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><main>",
        f"<h1>{escape(manifest.name)}</h1><p>{escape(result.student)}: <strong>{score}</strong></p>",
    ]
    if result.flags:
        parts.append("<h2>What was noticed</h2><ul>")
        parts += [f"<li>{escape(flag)}</li>" for flag in result.flags]
        parts.append("</ul>")
    if result.score is not None:
        for number in manifest.titles:
            parts += _exercise(manifest, result, number, answers.get(number, ""))
    parts.append("</main></body></html>")
    return "\n".join(parts) + "\n"


def _exercise(manifest: Manifest, result: Result, number: str, answer: str) -> list[str]:
    got, best = points_in(manifest, result, number), manifest.points_of(number)
    parts = [f"<h2>{escape(manifest.titles[number])}</h2><p>{got:g} of {best:g} points</p>"]
    parts.append('<table><thead><tr><th>graded</th><th class="n">points</th><th>why</th></tr></thead><tbody>')
    for cell in manifest.cells:
        if cell.exercise == number:
            points = f"{result.scores.get(cell.grade_id, 0):g} / {cell.points:g}"
            why = escape(result.errors.get(cell.grade_id, ""))
            parts.append(f'<tr><td>{escape(cell.about)}</td><td class="n">{points}</td><td>{why}</td></tr>')
    parts.append("</tbody></table>")
    verdict = result.verdicts.get(number)
    if verdict is not None:
        parts.append(f"<p><strong>The check:</strong> {escape(_said(verdict))}</p>")
        if verdict["details"]:
            parts.append(f"<pre>{escape(chr(10).join(verdict['details']))}</pre>")
    if answer.strip():
        parts.append(f"<details><summary>What you handed in</summary><pre>{escape(answer)}</pre></details>")
    return parts


def _said(verdict: dict[str, Any]) -> str:
    return str(verdict["message"])


def write_feedback(course: Course, name: str) -> list[str]:
    """Write the pages of everybody who has handed in; returns their names."""
    manifest = course.manifest(name)
    done = []
    for result in results_of(course, name):
        answers = {}
        path = course.autograded(result.student, name)
        if result.score is not None and path.is_file():
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.id.startswith("answer-"):
                    answers[cell.id.removeprefix("answer-").replace("-", ".")] = cell.source
        write_atomically(course.feedback(result.student, name), page(manifest, result, answers))
        done.append(result.student)
    return done
