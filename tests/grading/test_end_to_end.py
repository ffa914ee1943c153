"""The whole way, by the commands that an instructor types: assignment, collect, grade, report, feedback."""

import csv
import hashlib
import json
import re
import shutil

import nbformat
import pytest

import exercises as builder
from vae_lib.grading.__main__ import main
from vae_lib.grading.course import Course

NAME = "two-of-chapter-2"  # as in conftest
pytestmark = [
    pytest.mark.nbgrader,
    pytest.mark.filterwarnings("ignore"),  # those of nbgrader and its database
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def graded(course, answers, walls, tmp_path_factory):
    """The course after its commands; three students, one of them with a file that is no notebook."""
    handed = tmp_path_factory.mktemp("handed")
    for student, first, second in (("ada", "right", "right"), ("alan", "swapped", "blank")):
        book = nbformat.read(course.release(NAME), as_version=4)
        for number, kind in (("2.1", first), ("2.2", second)):
            cell = next(c for c in book.cells if c.id == f"answer-{number.replace('.', '-')}")
            # as a student would write it
            cell.source = re.sub(rf" *###.*\n| *# {builder.MARKER}\n", "", answers[number][kind] + "\n")
        nbformat.write(book, handed / f"{student}.ipynb")
    (handed / "emmy.ipynb").write_text("{")
    (course.root / "students.txt").write_text("ada\nalan\nemmy\ngrace\n")
    assert main(["collect", str(course.root), NAME, str(handed)]) == 0
    assert main(["grade", str(course.root), NAME, "--jobs", "1", "--timeout", "60", *walls]) == 0
    assert main(["report", str(course.root), NAME]) == 0
    assert main(["feedback", str(course.root), NAME]) == 0
    return course


def table(course, name):
    with (course.root / "reports" / NAME / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_release_has_the_new_points_and_no_secret(course):
    book = nbformat.read(course.release(NAME), as_version=4)
    text = "\n".join(cell.source for cell in book.cells)
    assert "*8 minutes · 2 points*" in text
    assert "# 2.2 · zero for equal distributions, and only then (0.5 points)" in text
    assert "2.3" not in text
    assert builder.find_leaks(course.root / "release") == []
    assert builder.find_leaks(course.root / "source") != []


def test_the_rubric_names_what_is_graded_and_the_known_mistakes(course):
    text = (course.root / "instructor" / f"{NAME}-rubric.md").read_text(encoding="utf-8")
    assert "due 2027-01-15" in text
    assert "| rows with zeros | 1 |" in text
    assert "| arguments swapped | values, zeros | swapped |" in text


def test_the_grades(graded):
    rows = {row["student"]: row for row in table(graded, "grades.csv")}
    assert list(rows) == ["ada", "alan", "emmy", "grace"]
    assert rows["ada"] == {
        "student": "ada",
        "assignment": NAME,
        "score": "6",
        "max_score": "6",
        "status": "graded",
        "flags": "",
        "2.1": "4",
        "2.2": "2",
    }
    assert (rows["alan"]["score"], rows["alan"]["2.1"], rows["alan"]["2.2"]) == ("1", "1", "0")
    for student, why in (("emmy", "not a notebook"), ("grace", "nothing was handed in")):
        assert rows[student]["status"] == "not graded"
        assert rows[student]["score"] == rows[student]["2.1"] == ""
        assert why in rows[student]["flags"]


def test_the_mistakes_and_the_statistics(graded):
    found = {(row["exercise"], row["mistake"]): row for row in table(graded, "mistakes.csv")}
    assert {key: row["count"] for key, row in found.items()} == {
        ("2.1", "swapped"): "1",
        ("2.2", "(unanswered)"): "1",
    }
    assert found["2.1", "swapped"]["when"] == "the arguments are swapped: KL(p‖q) averages over p"
    first, second = table(graded, "statistics.csv")
    assert (first["students"], first["mean"], first["all_points"], first["some"]) == ("2", "2.5", "1", "1")
    assert (second["none"], second["unanswered"]) == ("1", "1")
    for picture in ("mistakes.png", "mistakes.svg"):
        assert (graded.root / "reports" / NAME / picture).stat().st_size > 1000


def test_the_feedback_has_the_diagnosis_and_no_secret(graded):
    page = graded.feedback("alan", NAME).read_text(encoding="utf-8")
    assert "1 of 6 points" in page
    assert "to be handed in by 2027-01-15" in page
    assert "<td>not answered</td>" in page
    assert "Error:" not in page
    assert "this is what you get when the arguments are swapped" in page
    assert builder.find_leaks(graded.root / "feedback") == []
    assert "<script" not in page
    assert re.search(r"(src|href)=", page) is None
    assert "not graded" in graded.feedback("emmy", NAME).read_text(encoding="utf-8")


def test_the_gradebook_of_nbgrader_agrees(graded):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded.database}", "vae") as book:
        found = {s.student.id: s for s in book.assignment_submissions(NAME)}
        assert {name: s.score for name, s in found.items()} == {"ada": 6, "alan": 1, "emmy": 0}
        assert {name: s.needs_manual_grade for name, s in found.items()} == {
            "ada": False,
            "alan": False,
            "emmy": True,
        }
        assert book.find_assignment(NAME).max_score == 6
        assert str(book.find_assignment(NAME).duedate).startswith("2027-01-15")
    # what formgrader shows
    notebook = nbformat.read(graded.autograded("alan", NAME), as_version=4)
    assert any(cell.get("outputs") for cell in notebook.cells)
    notebook = nbformat.read(graded.autograded("emmy", NAME), as_version=4)
    assert notebook.cells[0].source.startswith(f"**Not graded:** {NAME}.ipynb: the file is not a notebook")


def test_the_feedback_of_nbgrader_itself_hides_the_tests(graded, monkeypatch):
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader(str(graded.config)).load_config()
    config.CourseDirectory.feedback_directory = "nbgraders"
    done = NbGraderAPI(config=config).generate_feedback(NAME, "alan", force=True)
    assert done["success"], done["log"]
    assert "2.1: wrong values" in (graded.root / "nbgraders" / "alan" / NAME / f"{NAME}.html").read_text()
    assert builder.find_leaks(graded.root / "nbgraders") == []
    assert builder.find_leaks(graded.root / "autograded") != []


def test_a_mark_by_hand_counts(graded):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded.database}", "vae") as book:
        book.find_grade("test-2-2-values", NAME, NAME, "alan").manual_score = 0.75
        book.db.commit()
    try:
        assert main(["report", str(graded.root), NAME]) == 0
        row = next(row for row in table(graded, "grades.csv") if row["student"] == "alan")
        assert (row["score"], row["2.2"], row["flags"]) == ("1.75", "0.75", "marked by hand: 1 cell")
    finally:
        with Gradebook(f"sqlite:///{graded.database}", "vae") as book:
            book.find_grade("test-2-2-values", NAME, NAME, "alan").manual_score = None
            book.db.commit()


def test_what_is_graded_is_not_graded_again(graded, walls, capsys, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("no process should start")

    monkeypatch.setattr("vae_lib.grading.execute.Worker._start", refuse)
    before = digests(graded)
    assert main(["grade", str(graded.root), NAME, "--jobs", "1", "--timeout", "60", *walls]) == 0
    assert digests(graded) == before
    assert "2 graded, 0 flagged, 1 not graded (3 of 3 by an earlier call)" in capsys.readouterr().out


def test_one_student_is_graded_again(graded, walls, capsys):
    before = digests(graded)
    words = ["grade", str(graded.root), NAME, "--jobs", "1", "--timeout", "60", *walls, "--again"]
    assert main([*words, "emmi"]) == 2
    assert f"--again names 'emmi', who has not handed in {NAME}" in capsys.readouterr().err
    assert main([*words, "emmy"]) == 0
    assert "(2 of 3 by an earlier call)" in capsys.readouterr().out
    changed = {name for name, told in digests(graded).items() if told != before[name]}
    assert changed == {"emmy.json"}


def test_an_assignment_made_again_keeps_what_is_not_named_and_accuses_nobody(graded, walls, capsys, tmp_path):
    course = Course(tmp_path / "course")
    shutil.copytree(graded.root, course.root)
    again = ["assignment", "2.1", "2.2", "--name", NAME, "--to", str(course.root)]
    assert main(["feedback", str(course.root), NAME]) == 0
    assert "to be graded" not in capsys.readouterr().out
    assert main([*again, "--points", "2.1=8", "--variant", "1"]) == 0
    said = capsys.readouterr().out
    assert f"{NAME}: 2 exercises, 10 points, variant 1, due 2027-01-15" in said
    assert "to be graded, with `grade`, as something is new: ada, alan, emmy" in said
    assert main(["report", str(course.root), NAME]) == 0
    assert "as something is new: ada, alan, emmy" in capsys.readouterr().out
    assert main([*again, "--due", ""]) == 0
    assert f"{NAME}: 2 exercises, 10 points, variant 1, no last day" in capsys.readouterr().out
    assert main(["grade", str(course.root), NAME, "--jobs", "1", "--timeout", "60", *walls]) == 0
    assert main(["report", str(course.root), NAME]) == 0
    assert "to be graded" not in capsys.readouterr().out
    rows = {row["student"]: row for row in table(course, "grades.csv")}
    assert (rows["ada"]["score"], rows["ada"]["status"], rows["ada"]["flags"]) == ("10", "graded", "")


def digests(course):
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in course.results(NAME).iterdir()
    }


def test_a_torn_result_is_made_again(graded, monkeypatch):
    from vae_lib.grading.execute import Limits
    from vae_lib.grading.grade import grade

    path = graded.result("emmy", NAME)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:30], encoding="utf-8")
    grade(graded, NAME, limits=Limits(timeout=60.0, total=1200.0), students=["emmy"])
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(whole)


def test_a_failure_of_ours_costs_one_student_and_is_tried_again(graded, monkeypatch):
    import vae_lib.grading.grade as room

    whole = graded.result("emmy", NAME).read_text(encoding="utf-8")
    graded.result("emmy", NAME).unlink()
    odd = room.Result("emmy", NAME, "flagged", ["called a\nb\u202e.ipynb"])
    room._keep(graded, odd)
    assert room.read_result(graded, "emmy", NAME).flags == ["called a\\nb\\u202e.ipynb"]
    monkeypatch.setattr(room, "_grade_one", lambda *_: 1 / 0)
    limits = room.Limits(timeout=60.0, total=1200.0)
    results = {r.student: r for r in room.grade(graded, NAME, limits=limits)}
    assert results["ada"].status == "graded"
    assert results["emmy"].flags == ["the grading failed: ZeroDivisionError: division by zero"]
    monkeypatch.undo()
    room.grade(graded, NAME, limits=limits)
    assert graded.result("emmy", NAME).read_text(encoding="utf-8") == whole


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["assignment", "99_nothing"], "there is no source 99_nothing.md"),
        (["assignment", "2.99"], "there is no exercise 2.99; 02_kl_rearrangement has 2.1, 2.2"),
        (["assignment", "2.1", "--points", "2.2=3"], "--points names 2.2, which is not in this assignment"),
        (["assignment", "2.1", "--points", "2.1=x"], "wanted EXERCISE=POINTS"),
        (["assignment", "2.1", "--due", "soon"], "--due is 'soon'; wanted a day such as 2027-01-15"),
        (["assignment", "2.1", "--variant", "9"], "there is no 9"),
        (["assignment", "2.1", "--name", "../x"], "--name is '../x'"),
        (["collect", "nowhere", NAME, "."], "nowhere is no course folder"),
        (["grade", "{course}", "other"], f"has no assignment 'other'; it has {NAME}"),
        (["grade", "{course}", NAME, "--timeout", "-1"], "wanted seconds above 0"),
        (["grade", "{course}", NAME, "--part", "3/2"], "wanted I/N"),
        (["grade", "{course}", NAME, "--jobs", "0"], "wanted a number from 1 on"),
        (["grad"], "there is no command 'grad'"),
    ],
)
def test_a_mistake_in_a_command_is_one_line(words, told, course, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([word.format(course=course.root) for word in words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert not Course(tmp_path / "course").root.exists()


def test_before_anybody_has_handed_in_it_says_what_comes_first(course, capsys, tmp_path):
    empty = Course(tmp_path)
    empty.write_manifest(course.manifest(NAME))
    empty.config.write_text("")
    assert main(["grade", str(tmp_path), NAME, "--unconfined"]) == 2
    assert f"nobody has handed in {NAME} yet; `collect` comes first" in capsys.readouterr().err
    for command in ("report", "feedback"):
        assert main([command, str(tmp_path), NAME]) == 2
        assert f"nobody has handed in {NAME} yet; `collect` comes first" in capsys.readouterr().err
    empty.submission("ada", NAME).mkdir(parents=True)
    empty.source(NAME).parent.mkdir(parents=True)
    shutil.copy(course.source(NAME), empty.source(NAME))
    for command in ("report", "feedback"):
        assert main([command, str(tmp_path), NAME]) == 2
        assert f"nothing of {NAME} is graded yet; `grade` comes first" in capsys.readouterr().err
    assert not (empty.root / "feedback").exists()


def test_where_nothing_confines_it_says_so_and_grades_nobody(course, capsys, monkeypatch):
    monkeypatch.setattr("vae_lib.grading.confine.available", lambda: False)
    assert main(["grade", str(course.root), NAME]) == 2
    assert "--sandbox, or --unconfined" in capsys.readouterr().err
