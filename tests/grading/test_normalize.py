"""Whatever was done to a notebook, the student's code comes into its place and the tests are ours."""

import copy
import json

import pytest

from vae_lib.grading.course import Shown
from vae_lib.grading.grade import choose_notebook
from vae_lib.grading.normalize import Template, Unreadable, read_cells, rebuild

NAME = "two-of-chapter-2"  # as in conftest


@pytest.fixture(scope="module")
def template(course):
    return Template(course.source(NAME))


@pytest.fixture
def rebuilt(template, tmp_path):
    def do(book, raw=None):
        path = tmp_path / "n.ipynb"
        path.write_bytes(json.dumps(book).encode() if raw is None else raw)
        cells, odd = read_cells(path)
        made = rebuild(template, cells)
        return made, [*odd, *made.flags]

    return do


def cell(book, name):
    return next(c for c in book["cells"] if c["id"] == name)


def code(made):
    return {c.id: c.source for c in made.book.cells if c.cell_type == "code"}


def own(book, source):
    return {"cell_type": "code", "id": "x", "metadata": {}, "outputs": [], "source": source}


def test_too_much_is_refused_or_told(template, rebuilt, notebook):
    book = notebook()
    book["cells"] += [{}] * 2_000
    with pytest.raises(Unreadable, match="more than 2000 cells"):
        rebuilt(book)
    book = notebook()
    cell(book, "answer-2-1")["source"] += "\n#" + "x" * 1_000_000
    assert any("a cell has more than 1000000 characters" in flag for flag in rebuilt(book)[1])


def without_marks(book):
    for c in book["cells"]:
        c["metadata"] = {}


def without_ids(book):
    for c in book["cells"]:
        del c["id"]


def without_both(book):
    without_marks(book)
    without_ids(book)


def format_3(book):
    cells = [
        {"cell_type": c["cell_type"], "input" if c["cell_type"] == "code" else "source": c["source"]}
        for c in book.pop("cells")
    ]
    book |= {"nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}


def edited_test(book):
    cell(book, "test-2-1-zeros")["source"] = "assert True"


def edited_points(book):
    cell(book, "test-2-1-zeros")["metadata"]["nbgrader"]["points"] = 100


def without_tests(book):
    book["cells"] = [c for c in book["cells"] if not c["id"].startswith("test-")]


def pasted_test(book):
    book["cells"].append(copy.deepcopy(cell(book, "test-2-1-zeros")))


def nothing(book):
    pass


DAMAGE = {
    nothing: None,
    without_marks: "told by their ids",
    without_ids: None,
    without_both: "told by what they define",
    format_3: "older format 3",
    edited_test: "edited: test-2-1-zeros",
    edited_points: "points edited: test-2-1-zeros",
    without_tests: "deleted: test-2-1-values, test-2-1-zeros, test-2-1-shape and 3 more; ours was run",
    pasted_test: "more than once in the notebook: test-2-1-zeros",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_notebook_becomes_the_same_as_the_whole_one(damage, notebook, rebuilt):
    whole, _ = rebuilt(notebook("right", "swapped"))
    book = notebook("right", "swapped")
    damage(book)
    made, flags = rebuilt(book)
    assert code(made) == code(whole)
    assert "BEGIN HIDDEN TESTS" in code(made)["test-2-1-zeros"]
    told = DAMAGE[damage]
    assert (flags == []) if told is None else any(told in flag for flag in flags), flags


def test_the_points_are_those_of_the_assignment(notebook, rebuilt):
    book = notebook()
    edited_points(book)
    made, _ = rebuilt(book)
    graded = [c.metadata["nbgrader"] for c in made.book.cells if c.metadata.get("nbgrader", {}).get("grade")]
    assert {n["grade_id"]: n["points"] for n in graded} == {
        "test-2-1-values": 2,
        "test-2-1-zeros": 1,
        "test-2-1-shape": 1,
        "test-2-2-values": 1,
        "test-2-2-zero": 0.5,
        "test-2-2-shape": 0.5,
    }


def test_own_cells_stand_where_they_stood(notebook, rebuilt):
    book = notebook()
    place = [c["id"] for c in book["cells"]].index("answer-2-2")
    book["cells"].insert(place, own(book, "helper = 1"))
    book["cells"].insert(0, own(book, "first = 1"))
    made, flags = rebuilt(book)
    names = [c.id for c in made.book.cells if c.cell_type == "code"]
    assert names[0] == "own-1"
    assert names.index("own-2") == names.index("answer-2-2") - 1
    assert flags == []


def test_of_a_pasted_answer_both_are_run(notebook, rebuilt, answers):
    book = notebook("blank")
    pasted = copy.deepcopy(cell(book, "answer-2-1"))
    pasted["source"] = answers["2.1"]["right"]
    book["cells"].append(pasted)
    made, flags = rebuilt(book)
    assert code(made)["own-1"] == answers["2.1"]["right"]
    names = [c.id for c in made.book.cells]
    assert names.index("answer-2-1") < names.index("own-1") < names.index("test-2-1-values")
    assert flags == ["more than once in the notebook: answer-2-1"]


def test_a_deleted_answer_is_no_answer(notebook, rebuilt):
    book = notebook()
    book["cells"] = [c for c in book["cells"] if c["id"] != "answer-2-1"]
    made, flags = rebuilt(book)
    assert code(made)["answer-2-1"] == ""
    assert flags == ["deleted: answer-2-1"]
    assert made.unanswered == {"answer-2-1"}


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_other_encodings_are_read(encoding, notebook, rebuilt):
    book = notebook()
    book["cells"].insert(0, own(book, "# é"))
    text = json.dumps(book, ensure_ascii=False).translate({0x3C6: "f", 0x3B8: "t"})
    made, _ = rebuilt(None, raw=text.encode(encoding, errors="replace"))
    assert code(made)["own-1"] == "# é"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[" * 100_000,
        b'{"cells": null}',
        b'{"cells": [1, null, {"source": {"a": 1}, "metadata": []}]}',
        b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "1 + 1"}]}',
        b"\xff\xfe\x00",
        b'{"cells": ' + b"9" * 10_000 + b"}",
    ],
    ids=[
        "empty",
        "cut",
        "null",
        "deep",
        "no cells",
        "odd cells",
        "another notebook",
        "no text",
        "long number",
    ],
)
def test_what_is_no_notebook_of_this_assignment_is_refused_in_words(raw, rebuilt):
    with pytest.raises(Unreadable, match=r"."):
        rebuilt(None, raw=raw)


def test_of_two_notebooks_the_one_with_answers_is_graded(template, notebook, tmp_path):
    (tmp_path / f"{NAME}.ipynb").write_text(json.dumps(notebook("blank", "blank")))
    (tmp_path / f"{NAME}-Copy1.ipynb").write_text(json.dumps(notebook("right", "blank")))
    _, flags = choose_notebook(tmp_path, NAME, template)
    assert any(f"{NAME}-Copy1.ipynb was graded" in flag for flag in flags)
    (tmp_path / f"{NAME}.ipynb").write_text(json.dumps(notebook("right", "blank")))
    _, flags = choose_notebook(tmp_path, NAME, template)
    assert any(f"; {NAME}.ipynb was graded" in flag for flag in flags)


def test_where_there_is_no_notebook_it_says_what_there_is(template, tmp_path):
    (tmp_path / "essay.pdf").write_bytes(b"x")
    with pytest.raises(Unreadable, match=r"no notebook was handed in, but essay\.pdf"):
        choose_notebook(tmp_path, NAME, template)


@pytest.mark.parametrize(
    ("file", "odd"),
    [
        (f"{NAME}-1.ipynb", False),
        (f"{NAME} (2).ipynb", False),
        (f"{NAME}-old.ipynb", True),
        ("x.ipynb", True),
    ],
)
def test_a_number_after_the_name_is_not_odd(file, odd, template, notebook, tmp_path):
    (tmp_path / file).write_text(json.dumps(notebook()))
    assert choose_notebook(tmp_path, NAME, template)[1] == ([f"the notebook is called {file}"] if odd else [])


def test_a_cell_as_it_was_given_out_before_is_not_edited(course, notebook, tmp_path):
    earlier = (Shown("test-2-1-values", "# as it was\ncheck()", 7.0),)
    path = tmp_path / "n.ipynb"
    for text, points, flags in (
        ("# as it was\ncheck()\n", 7.0, []),
        ("# as it never was", 7.0, ["edited: test-2-1-values; ours was run"]),
        ("# as it was\ncheck()", 8.0, ["points edited: test-2-1-values; ours count"]),
    ):
        book = notebook()
        cell(book, "test-2-1-values")["source"] = text
        cell(book, "test-2-1-values")["metadata"]["nbgrader"]["points"] = points
        path.write_text(json.dumps(book))
        assert rebuild(Template(course.source(NAME), earlier), read_cells(path)[0]).flags == flags
