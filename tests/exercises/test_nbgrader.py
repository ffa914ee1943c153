"""The whole way through stock nbgrader, with real kernels: release, hand in, autograde."""

import json
import logging
import os
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest

import exercises as builder

pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install '.[grading]'")

pytestmark = [
    pytest.mark.nbgrader,
    pytest.mark.filterwarnings("ignore"),  # those of nbgrader, its database and the kernels
    pytest.mark.timeout(300),
]

NAMES = builder.names()
STUDENTS = ("reference", "blank", "mistaken")


def wrong_answers(name):
    """The first catalogued wrong answer of each exercise."""
    mutants = builder.load_mutants(name)
    return {number: next(m for m in entries if not m.right) for number, entries in mutants.items()}


def hand_in(root, name, student):
    """Put the released notebook, filled in, where nbgrader looks for submissions."""
    book = nbformat.read(root / "release" / name / f"{name}.ipynb", as_version=4)
    wrong = wrong_answers(name)
    for exercise in builder.Assignment(name).exercises:
        cell = next(cell for cell in book.cells if cell.get("id") == f"answer-{exercise.slug}")
        if student == "reference":
            cell.source = exercise.answer
        elif student == "mistaken":
            cell.source = wrong[exercise.id].code
    path = root / "submitted" / student / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(book, path)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course with every assignment released, and the submissions of three students graded.

    Yields the folder, and name -> student -> grade_id -> (automatic score, maximum).
    """
    import nbgrader.api
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    root = tmp_path_factory.mktemp("course")
    for name in NAMES:
        builder.build_source(name, root / "source" / name / f"{name}.ipynb")
    config = Config()
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.course_id = "vae"
    config.CourseDirectory.db_url = f"sqlite:///{root / 'gradebook.db'}"
    config.Execute.timeout = 120
    config.Execute.startup_timeout = 120
    with pytest.MonkeyPatch.context() as patch:
        # nbgrader starts `alembic` by its bare name, which lies beside the interpreter, and does so at
        # every look into its database; once is enough
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.setattr(nbgrader.api, "get_alembic_version", cache(nbgrader.api.get_alembic_version))
        api = NbGraderAPI(config=config)
        api.log.setLevel(logging.ERROR)
        yield root, {name: graded(api, root, name) for name in NAMES}


def graded(api, root, name):
    done = api.generate_assignment(name, force=True)
    assert done["success"], done["log"]
    scores = {}
    for student in STUDENTS:
        hand_in(root, name, student)
        done = api.autograde(name, student, force=True)
        assert done["success"], done["log"]
        with api.gradebook as gradebook:
            notebooks = gradebook.find_submission(name, student).notebooks
            grades = [grade for notebook in notebooks for grade in notebook.grades]
            scores[student] = {grade.name: (grade.auto_score, grade.max_score) for grade in grades}
    return scores


def graded_cells(name):
    return {test.grade_id: test.points for e in builder.Assignment(name).exercises for test in e.tests}


@pytest.mark.parametrize("name", NAMES)
def test_the_release_is_the_student_notebook(course, name, tmp_path):
    root, _ = course
    released = json.loads((root / "release" / name / f"{name}.ipynb").read_text(encoding="utf-8"))
    built = json.loads(builder.build_student(name, tmp_path / "s.ipynb").read_text(encoding="utf-8"))
    assert released == built
    assert builder.find_leaks(root / "release") == []


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_has_all_points(course, name):
    wanted = {grade_id: (points, points) for grade_id, points in graded_cells(name).items()}
    assert course[1][name]["reference"] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_blank_submission_has_no_points(course, name):
    wanted = {grade_id: (0, points) for grade_id, points in graded_cells(name).items()}
    assert course[1][name]["blank"] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_mistakes_lose_exactly_their_cells(course, name):
    wanted = {}
    for exercise in builder.Assignment(name).exercises:
        lost = wrong_answers(name)[exercise.id].loses
        for test in exercise.tests:
            end = test.grade_id.removeprefix(f"test-{exercise.slug}-")
            wanted[test.grade_id] = (0 if end in lost else test.points, test.points)
    assert course[1][name]["mistaken"] == wanted
