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
KINDS = ("reference", "blank", "mistaken")
# Each submission starts a kernel, which costs seconds. One student, whose answers are right, missing and
# mistaken in turn, hands in the first assignment and the last. VAE_GRADE_ALL=1 has four students do all.
if os.environ.get("VAE_GRADE_ALL"):
    STUDENTS = [(name, student) for name in NAMES for student in ("mixed", *KINDS)]
else:
    STUDENTS = [(NAMES[0], "mixed"), (NAMES[-1], "mixed")]


def answers(name, student):
    """Each exercise with the kind of answer that the student gives."""
    for i, exercise in enumerate(builder.Assignment(name).exercises):
        yield exercise, KINDS[i % 3] if student == "mixed" else student


def wrong_answer(name, exercise):
    """The first that is catalogued."""
    return next(mutant for mutant in builder.load_mutants(name)[exercise.id] if not mutant.right)


def hand_in(root, name, student):
    """Put the released notebook, filled in, where nbgrader looks for submissions."""
    book = nbformat.read(root / "release" / name / f"{name}.ipynb", as_version=4)
    for exercise, kind in answers(name, student):
        cell = next(cell for cell in book.cells if cell.get("id") == f"answer-{exercise.slug}")
        if kind == "reference":
            cell.source = exercise.answer
        elif kind == "mistaken":
            cell.source = wrong_answer(name, exercise).code
    path = root / "submitted" / student / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(book, path)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course with every assignment released, and the submissions of its students graded.

    Yields the folder, and (name, student) -> grade_id -> (automatic score, maximum).
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
        for name in NAMES:
            done = api.generate_assignment(name, force=True)
            assert done["success"], done["log"]
        yield root, {(name, student): graded(api, root, name, student) for name, student in STUDENTS}


def graded(api, root, name, student):
    hand_in(root, name, student)
    done = api.autograde(name, student, force=True)
    assert done["success"], done["log"]
    with api.gradebook as gradebook:
        notebooks = gradebook.find_submission(name, student).notebooks
        grades = [grade for notebook in notebooks for grade in notebook.grades]
        return {grade.name: (grade.auto_score, grade.max_score) for grade in grades}


@pytest.mark.parametrize("name", NAMES)
def test_the_release_is_the_student_notebook(course, name, tmp_path):
    root, _ = course
    released = json.loads((root / "release" / name / f"{name}.ipynb").read_text(encoding="utf-8"))
    built = json.loads(builder.build_student(name, tmp_path / "s.ipynb").read_text(encoding="utf-8"))
    assert released == built
    assert builder.find_leaks(root / "release") == []


@pytest.mark.parametrize(("name", "student"), STUDENTS)
def test_the_right_cells_have_their_points_and_the_others_none(course, name, student):
    wanted = {}
    for exercise, kind in answers(name, student):
        for test in exercise.tests:
            end = test.grade_id.removeprefix(f"test-{exercise.slug}-")
            lost = kind == "blank" or (kind == "mistaken" and end in wrong_answer(name, exercise).loses)
            wanted[test.grade_id] = (0 if lost else test.points, test.points)
    assert course[1][name, student] == wanted
