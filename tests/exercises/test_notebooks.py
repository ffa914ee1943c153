"""Pages and notebooks: current, reproducible, without answers, and the same as nbgrader's release."""

import json

import nbformat
import pytest

import exercises as builder

NAMES = builder.names()


def sources(book):
    return "\n".join(cell.source for cell in book.cells)


def test_committed_pages_are_current():
    assert builder.stale() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_every_statement_stub_hint_and_call(name):
    assignment = builder.Assignment(name)
    text = (builder.PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f'href="files/{name}.ipynb"' in text
    assert "{download}" not in text
    assert "```{code-cell}" not in text
    for exercise in assignment.exercises:
        assert f"(exercise-{exercise.slug})=\n## {exercise.title}\n" in text
        assert f"*{exercise.minutes} minutes · {exercise.points} points*" in text
        for part in (exercise.statement, exercise.hint, exercise.call):
            assert part in text
        assert builder.blank(exercise).strip() in text
        for test in exercise.tests:
            assert f"{test.about} ({test.points} point" in text
    assert text.count("\n:::{dropdown} Hint\n") == len(assignment.exercises)


@pytest.mark.parametrize("name", NAMES)
def test_student_notebooks_are_reproducible_to_the_byte(name, tmp_path):
    first = builder.build_student(name, tmp_path / "a" / "one.ipynb").read_bytes()
    assert builder.build_student(name, tmp_path / "two.ipynb").read_bytes() == first
    book = nbformat.reads(first.decode(), as_version=4)
    nbformat.validate(book)
    ids = [cell.id for cell in book.cells]
    assert len(set(ids)) == len(ids)
    for cell in book.cells:
        if "nbgrader" in cell.metadata:
            assert cell.id == cell.metadata["nbgrader"]["grade_id"]
    assert all(not cell.outputs and cell.execution_count is None for cell in book.cells if "outputs" in cell)


@pytest.mark.parametrize("name", NAMES)
def test_a_student_notebook_has_statements_and_no_answers(name):
    assignment = builder.Assignment(name)
    text = sources(builder.student_notebook(assignment))
    assert text.count("# YOUR CODE HERE") == sum(
        exercise.answer.count("BEGIN SOLUTION") for exercise in assignment.exercises
    )
    for region in builder.REGIONS:
        assert region not in text
    assert builder.MARKER not in text
    for exercise in assignment.exercises:
        assert exercise.statement in text
        assert exercise.note not in text
        assert exercise.call in text


@pytest.mark.parametrize("name", NAMES)
def test_without_sources_the_student_text_gives_the_same_notebook(name, tmp_path, monkeypatch):
    wanted = builder.build_student(name, tmp_path / "one.ipynb").read_bytes()
    monkeypatch.setattr(builder, "SOURCES", tmp_path / "absent")
    assert builder.build_student(name, tmp_path / "two.ipynb").read_bytes() == wanted
    with pytest.raises(FileNotFoundError, match="only the variant 0"):
        builder.build_student(name, tmp_path / "three.ipynb", variant=1)
    with pytest.raises(FileNotFoundError, match="student's copy"):
        builder.build_instructor(name, tmp_path / "four.ipynb")


@pytest.mark.parametrize("name", NAMES)
def test_the_instructors_notebook_has_answers_notes_and_catalogued_answers(name, tmp_path):
    book = nbformat.read(builder.build_instructor(name, tmp_path / "i.ipynb"), as_version=4)
    text = sources(book)
    mutants = builder.load_mutants(name)
    for exercise in builder.Assignment(name).exercises:
        assert exercise.answer in text
        assert exercise.note in text
        for mutant in mutants[exercise.id]:
            assert f"| {mutant.name} | {', '.join(mutant.loses) or 'none: it is right'} |" in text


def test_the_command_line(tmp_path, capsys):
    name = NAMES[0]
    assert builder.main(["student", name, "--to", str(tmp_path), "--variant", "1"]) == 0
    assert builder.main(["instructor", "--to", str(tmp_path), name]) == 0
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.ipynb"))
    assert made == [f"instructor/{name}.ipynb", f"source/{name}/{name}.ipynb", f"student/{name}.ipynb"]
    other = json.loads((tmp_path / "student" / f"{name}.ipynb").read_text())
    assert (
        other["cells"]
        != json.loads(nbformat.writes(builder.student_notebook(builder.Assignment(name))))["cells"]
    )
    assert builder.main(["student", "99_nothing"]) == 1
    assert builder.main(["student", name, "--variant", "99"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith("exercises: there is no source 99_nothing.md; there are 01_")
    assert errors[1] == f"exercises: {name} has the variants 0 to 2; there is no 99"
