"""What the instructor's guide tells to type is typed, as written; and what it names is there."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import exercises as builder

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "book" / "instructor.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```shell\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Not typed here: they fetch or publish, or say what the machine can do.
ELSEWHERE = ("make install", "pip install", "git clone", "git -C", "--sandbox", "jupyter")


def section(label):
    """The text from a label to the next heading of the second level that has one."""
    rest = GUIDE.split(f"({label})=\n", 1)[1]
    return re.split(r"^\([\w-]+\)=\n## ", rest, flags=re.MULTILINE)[0]


def commands(text):
    joined = (block.replace("\\\n", "") for block in BLOCK.findall(text))
    return [" ".join(line.split()) for block in joined for line in block.splitlines() if line.strip()]


def test_every_command_is_of_a_kind_that_we_know():
    for line in commands(GUIDE):
        assert line.startswith((".venv/bin/", "git ", "make ", "mkdir ", "cd ../course")), line


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository, as after a clone, with the installed environment beside it."""
    root = tmp_path_factory.mktemp("instructor") / "copy"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith(("runs/", "book/_static/vendor")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    (root / ".venv").symlink_to(Path(sys.prefix))
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words],
            cwd=root,
            check=True,
            capture_output=True,
        )
    return root


def typed(copy, line):
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-1500:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.nbgrader
@pytest.mark.timeout(900)  # half a minute on a machine that does nothing else
def test_from_nothing_to_feedback(copy, walls):
    """The whole circle of the first hour; then what comes after it, on the same course folder."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install '.[grading]'")
    first = [
        line for line in commands(section("instructor-first-hour")) if not any(e in line for e in ELSEWHERE)
    ]
    assert len(first) == 6
    for line in first:
        typed(copy, line.replace("grade ../course", f"grade {' '.join(walls)} --timeout 5 ../course"))
    course, name = copy.parent / "course", "02_kl_rearrangement"
    with (course / "reports" / name / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    exercises = builder.Assignment(name).exercises
    total = sum(exercise.points for exercise in exercises)
    assert set(rows) == {"ada", "blaise", "carl"}
    assert float(rows["ada"]["score"]) == total
    assert 0 < float(rows["blaise"]["score"]) < total
    assert rows["blaise"]["status"] == "graded"
    assert float(rows["carl"]["score"]) < total
    assert f"in {rows['carl']['flags'].split()[-1]}`" in section("instructor-first-hour")
    for student in rows:
        assert (course / "feedback" / student / f"{name}.html").is_file()
    with (course / "reports" / name / "mistakes.csv").open(encoding="utf-8", newline="") as file:
        assert ("2.1", "swapped") in {(row["exercise"], row["mistake"]) for row in csv.DictReader(file)}


@pytest.mark.nbgrader
@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.environ.get("VAE_GRADE_ALL"), reason="takes a minute; VAE_GRADE_ALL=1 runs it")
def test_the_rest_of_the_guide(copy):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install '.[grading]'")
    lines = []
    labels = ("assignments", "changes", "many-machines", "private")
    for label in (f"instructor-{label}" for label in labels):
        lines += [line for line in commands(section(label)) if not any(e in line for e in ELSEWHERE)]
    assert len(lines) >= 11
    said = [typed(copy, line) for line in lines]
    assert "no secret line" in said[-1]
    assert not (copy.parent / "students" / "exercises").exists()
    week = json.loads((copy.parent / "course/release/week-5/week-5.ipynb").read_text(encoding="utf-8"))
    ids = {cell["id"] for cell in week["cells"]}
    assert {"answer-2-1", "answer-2-4", "answer-3-2"} <= ids
    assert "answer-2-2" not in ids


def test_the_plan_has_thirteen_weeks_and_every_set_of_exercises():
    plan = section("instructor-plan")
    weeks = [int(n) for n in re.findall(r"^\| (\d+) \|", plan, flags=re.MULTILINE)]
    assert weeks == list(range(1, 14))
    handed_out = set(re.findall(r"<exercise-(\d+)-\d+>", plan))
    handed_out |= {str(int(number)) for number in re.findall(r"<exercises/(\d\d)_", plan)}
    assert handed_out == {str(int(name[:2])) for name in builder.names()}


def test_every_chapter_has_its_notes():
    chapters = sorted(int(p.name[:2]) for p in (ROOT / "book").glob("[0-9][0-9]-*.md"))
    notes = section("instructor-notes")
    found = [int(n) for n in re.findall(r"^### Chapter (\d+) ·", notes, flags=re.MULTILINE)]
    assert found == chapters
    for note in re.split(r"^### ", notes, flags=re.MULTILINE)[1:]:
        for part in ("**In class.**", "**What they get wrong.**", "**Show.**", "**Ask.**"):
            assert part in note, note[:60]


def test_the_mistakes_that_the_notes_name_are_in_the_catalogue():
    from vae_lib.exercises.catalogue import find, known

    named = 0
    for note in re.split(r"^### Chapter ", section("instructor-notes"), flags=re.MULTILINE)[1:]:
        number = note.split(" ", 1)[0]
        own = {m for exercise in known() if exercise.split(".")[0] == number for m in find(exercise).mistakes}
        wrong = note.split("**What they get wrong.**")[1].split("**Show.**")[0] if own else ""
        for word in re.findall(r"(?<!\*)\*([a-z][a-z0-9-]+)\*(?!\*)", wrong):
            assert word in own, f"chapter {number} has no mistake {word}"
            named += 1
    assert named > 30


def test_the_recorded_class_met_every_expectation():
    with (ROOT / "book" / "instructor.csv").open(encoding="utf-8", newline="") as file:
        told = {row["figure"]: row["value"] for row in csv.DictReader(file)}
    assert told["as expected"] == told["students"]
    assert told["lost"] == told["other students affected"] == told["hidden lines in the feedback"] == "0"
    assert told["planted mistakes"] == told["of them named"]
    assert told["same grades.csv after the kills"] == "yes, byte for byte"
