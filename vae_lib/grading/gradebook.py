"""Enter the results in nbgrader's gradebook, so that formgrader and the other tools of nbgrader go on.

It happens after all code of students has ended, and in this process only.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from vae_lib.grading.assignment import nbgrader_api
from vae_lib.grading.course import Course, Manifest
from vae_lib.grading.grade import Result

__all__ = ["enter", "manual_scores"]


def enter(course: Course, manifest: Manifest, results: Sequence[Result]) -> None:
    """Enter results. A manual score stays; it is marked for another look, as nbgrader does."""
    with nbgrader_api(course) as api, api.gradebook as gradebook:
        for result in results:
            gradebook.update_or_create_student(result.student)
            stamp = _timestamp(course, result)
            told = {} if stamp is None else {"timestamp": stamp}
            submission = gradebook.update_or_create_submission(manifest.name, result.student, **told)
            for notebook in submission.notebooks:
                looked_at = result.status == "graded"
                for grade in notebook.grades:
                    grade.auto_score = result.scores.get(grade.name)
                    unsure = grade.auto_score is None or not looked_at
                    grade.needs_manual_grade = grade.manual_score is not None or unsure
                for comment in notebook.comments:
                    blank = comment.name in result.unanswered
                    comment.auto_comment = "No response." if blank else None
        gradebook.db.commit()


def _timestamp(course: Course, result: Result) -> datetime.datetime | None:
    path = course.submission(result.student, result.assignment) / "timestamp.txt"
    try:
        words = path.read_text(encoding="utf-8").strip().removesuffix(" UTC")
        return datetime.datetime.fromisoformat(words)
    except (OSError, ValueError):
        return None


def manual_scores(course: Course, name: str) -> dict[str, dict[str, float | int]]:
    """What was entered by hand in formgrader: student -> graded cell -> points, extra credit included."""
    found: dict[str, dict[str, float | int]] = {}
    if not course.database.is_file():
        return found
    with nbgrader_api(course) as api, api.gradebook as gradebook:
        for submission in gradebook.assignment_submissions(name):
            for notebook in submission.notebooks:
                for grade in notebook.grades:
                    if grade.manual_score is not None or grade.extra_credit:
                        base = grade.auto_score if grade.manual_score is None else grade.manual_score
                        points = float(base or 0) + float(grade.extra_credit or 0)
                        found.setdefault(submission.student.id, {})[grade.name] = points
    return found
