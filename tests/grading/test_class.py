"""The class that does not exist is what it says: right answers right, and a judge that sees every fault."""

import json
from collections import Counter

import pytest

import classroom
import exercises as builder
import hostile

NAME = "02_kl_rearrangement"

# what the issue lists, by the names that the kinds have here
LISTED = {
    "200,000 lines",
    "3 GB",
    "a non-UTF-8 file",
    "bad JSON",
    "deleted solutions",
    "deleted tests",
    "duplicated cell",
    "edited points",
    "edited tests",
    "empty file",
    "endless loop",
    "input-transformer hook",
    "kill -9",
    "loop that ignores interrupts",
    "metadata stripped",
    "monkey-patched np.allclose",
    "nbformat 3",
    "no cell ids",
    "no notebook",
    "os._exit",
    "quit()",
    "reading the gradebook",
    "renamed file",
    "sys.exit",
    "two files",
    "warnings on stderr",
    "wrong student name",
}


@pytest.fixture(scope="module")
def sheet():
    return classroom.Sheet(NAME)


def test_every_kind_of_the_list_is_there_and_many_more(sheet):
    assert set(hostile.KINDS) >= LISTED
    assert len(hostile.KINDS) > 3 * len(LISTED)


@pytest.mark.parametrize("name", hostile.KINDS)
def test_a_hostile_kind_is_made_and_its_points_are_possible(sheet, name):
    files, wanted = hostile.KINDS[name].make(sheet)
    assert all(isinstance(content, classroom.Content) for content in files.values())
    assert set(wanted.scores) == set(sheet.numbers)
    for number, allowed in wanted.scores.items():
        assert allowed
        assert all(0 <= points <= sheet.points[number] for points in allowed)
    if wanted.unscored:
        assert wanted.flagged in (True, None)


@pytest.mark.parametrize("confined", [False, True])
def test_a_full_class_has_everybody(sheet, confined):
    students = classroom.enrol(sheet, 360, confined=confined)
    kinds = Counter(student.kind for student in students)
    assert len(students) == 360 == len({student.name for student in students})
    free = {name for name, kind in hostile.KINDS.items() if not kind.confined}
    assert free <= set(kinds)
    planted = classroom.planted(students)
    assert set(planted) >= {(n, mutant.says) for n in sheet.numbers for mutant in sheet.wrong(n)}
    assert kinds["perfect"] >= 5
    assert kinds["partial"] >= 5
    for number in sheet.numbers:
        (favourite, most), (_, next_most) = Counter(
            {mistake: count for (n, mistake), count in planted.items() if n == number}
        ).most_common(2)
        assert favourite == sheet.favourite(number).says
        assert most > next_most


def test_the_same_seed_makes_the_same_class(sheet):
    one, two, other = (classroom.enrol(sheet, 40, seed) for seed in (1, 1, 2))
    assert [(s.name, s.files) for s in one] == [(s.name, s.files) for s in two]
    assert [s.name for s in one] != [s.name for s in other]


def test_a_reference_without_its_marks_is_right(sheet):
    for number in (sheet.first, sheet.middle):
        answer = sheet.reference(number)
        assert builder.MARKER not in answer
        assert builder.grade(sheet.assignment, number, answer).points == sheet.points[number]


def row(sheet, status="graded", flags="", **scores):
    own = {n: str(scores.get(n, p)) for n, p in sheet.points.items()}
    total = sum(float(value) for value in own.values())
    return {"student": "ada", "status": status, "flags": flags, "score": str(total), **own}


def judged(sheet, wanted, given):
    student = classroom.Student("ada", "test", {}, wanted)
    return [text for _, text in classroom.compare([student], given)]


def test_the_judge_accepts_what_is_right(sheet):
    assert judged(sheet, sheet.wants(), [row(sheet)]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: None, "lost: no row"),
        (lambda r: {**r, "2.1": "0", "score": str(float(r["score"]) - 4)}, "2.1: 0, wanted 4"),
        (lambda r: {**r, "score": "1"}, "the exercises sum to"),
        (lambda r: {**r, "status": "flagged", "flags": "odd"}, "a false alarm"),
        (lambda r: {**r, "status": "flagged"}, "the flags are ''"),
        (lambda r: {**r, "status": "not graded", "flags": "bad", "score": ""}, "not graded"),
        (lambda r: {**r, "status": "not graded", "flags": "bad", "score": "0"}, "but a score of 0"),
        (lambda r: {**r, "status": "fine"}, "a status 'fine'"),
        (lambda r: {**r, "student": "eve"}, "who is not in the class"),
    ],
)
def test_the_judge_sees_what_is_wrong(sheet, change, words):
    changed = change(row(sheet))
    found = judged(sheet, sheet.wants(), [] if changed is None else [changed])
    assert any(words in text for text in found), found


def test_the_judge_wants_a_flag_where_points_are_lost_silently(sheet):
    wanted = sheet.wants({sheet.last: {0, sheet.points[sheet.last]}}, flagged=None)
    lost = row(sheet, **{sheet.last: 0})
    assert judged(sheet, wanted, [row(sheet)]) == []
    assert any("nobody is told" in text for text in judged(sheet, wanted, [lost]))
    assert judged(sheet, wanted, [{**lost, "status": "flagged", "flags": "the kernel died"}]) == []


def test_two_rows_and_a_silent_change_of_name_are_seen(sheet):
    assert any("2 rows" in text for text in judged(sheet, sheet.wants(), [row(sheet), row(sheet)]))
    renamed = {**row(sheet), "student": "A_DA"}
    assert any("nobody is told" in text for text in judged(sheet, sheet.wants(), [renamed]))


def test_what_is_handed_in_lies_where_it_should(sheet, tmp_path):
    students = classroom.enrol(sheet, 24, seed=3)
    classroom.write_folder(students, tmp_path / "in")
    assert {path.name for path in (tmp_path / "in").iterdir()} == {student.name for student in students}
    perfect = next(student for student in students if student.kind == "perfect")
    assert (
        json.loads((tmp_path / "in" / perfect.name / sheet.file).read_text(encoding="utf-8"))["nbformat"] == 4
    )
