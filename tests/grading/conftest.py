"""A course with one small assignment; the exercises' sources are for instructors, and so are these tests."""

import json

import nbformat
import pytest

import exercises as builder

NAME = "two-of-chapter-2"


def pytest_collection_modifyitems(items):
    if builder.names():
        return
    for item in items:
        if "tests/grading/" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason="a student's copy: the exercises have no sources here"))


@pytest.fixture(scope="session")
def walls():
    """What `grade` must be told where nothing confines the submissions; those of these tests are our own."""
    from vae_lib.grading.confine import available

    return [] if available() else ["--unconfined"]


@pytest.fixture(scope="session")
def course(tmp_path_factory):
    """A course with the exercises 2.1 and 2.2; nobody has handed in."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install '.[grading]'")
    from vae_lib.grading.assignment import make
    from vae_lib.grading.course import Course

    course = Course(tmp_path_factory.mktemp("made") / "course")
    make(course, ["2.1", "2.2"], name=NAME, points={"2.2": 2}, due="2027-01-15")
    return course


@pytest.fixture(scope="session")
def answers():
    """Exercise -> kind -> code: "right", "swapped" and "blank"."""
    chapter, mutants = builder.Assignment("02_kl_rearrangement"), builder.load_mutants("02_kl_rearrangement")
    found = {}
    for number in ("2.1", "2.2"):
        exercise = chapter.exercise(number)
        swapped = next(mutant.code for mutant in mutants[number] if mutant.says == "swapped")
        found[number] = {"right": exercise.answer, "swapped": swapped, "blank": builder.blank(exercise)}
    return found


@pytest.fixture
def notebook(course, answers):
    """Makes a notebook as a student hands it in: `notebook("right", "swapped")`."""

    def make(first="right", second="right"):
        book = nbformat.read(course.release(NAME), as_version=4)
        for number, kind in (("2.1", first), ("2.2", second)):
            cell = next(c for c in book.cells if c.id == f"answer-{number.replace('.', '-')}")
            cell.source = answers[number].get(kind, kind)
        return json.loads(json.dumps(book))

    return make
