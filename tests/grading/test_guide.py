"""What the instructor's guide tells to type is typed, as written; and what it names is there."""

import contextlib
import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
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


def typed(copy, line, seconds=240):
    """What a line prints; whatever it started has ended with it, in time or not."""
    process = subprocess.Popen(
        ["bash", "-c", line],
        cwd=copy,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        # the shell alone is not enough: what it started holds the pipe open
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        said += f"\nstopped after {seconds} s"
    assert process.returncode == 0, f"{line}\n{said[-4000:]}"
    return said


def test_a_line_that_takes_too_long_is_ended_with_what_it_started(tmp_path):
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"stopped after 0\.3 s"):
        typed(tmp_path, "sleep 8 & sleep 8", seconds=0.3)
    assert time.monotonic() - began < 5


# Loads once what the commands load, and runs each in a fork: the words of the line, the code of the copy.
TYPIST = """
import importlib, json, os, runpy, sys
for name in ("torch", "matplotlib.pyplot", "nbgrader.apps", "nbgrader.api", "nbconvert", "sqlalchemy"):
    importlib.import_module(name)
assert not any(name.split(".")[0] == "vae_lib" for name in sys.modules)
for line in sys.stdin:
    words, log = json.loads(line)
    pid = os.fork()
    if pid == 0:
        for fd in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), fd)
        module = words[0] == "-m"
        sys.argv = words[module:]
        sys.path[0] = os.getcwd() if module else os.path.dirname(os.path.abspath(words[0]))
        try:
            if module:
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[0], run_name="__main__")
            code = 0
        except SystemExit as told:
            code = told.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 1
        import vae_lib
        if not vae_lib.__file__.startswith(os.getcwd()):
            print("not the code of the copy:", vae_lib.__file__)
            code = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture
def run_in_a_fork(copy):
    """Like `typed`, for the lines that call Python, without loading the libraries for each of them."""
    process = subprocess.Popen(
        [sys.executable, "-c", TYPIST],
        cwd=copy,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log = copy.parent / "typist.log"

    def run(line):
        python, *words = shlex.split(line)
        assert python == ".venv/bin/python"
        log.write_text("")
        process.stdin.write(json.dumps([words, str(log)]) + "\n")
        process.stdin.flush()
        code = process.stdout.readline().strip()
        assert code == "0", f"{line}\n{code}: {log.read_text()[-4000:]}"

    with process:
        try:
            yield run
            process.stdin.close()
            process.wait(10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def quickly(line, walls):
    """A line that grades, with less patience for the endless loop; and where nothing confines, it says so."""
    return re.sub(r"(grading grade) ", rf"\1 {' '.join(walls)} --timeout 2 ", line)


@pytest.mark.nbgrader
@pytest.mark.timeout(900)  # half a minute on a machine that does nothing else
def test_from_nothing_to_feedback(copy, walls, run_in_a_fork):
    """The whole circle of the first hour; then what comes after it, on the same course folder."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install '.[grading]'")
    first = [
        line for line in commands(section("instructor-first-hour")) if not any(e in line for e in ELSEWHERE)
    ]
    assert len(first) == 6
    for line in first:
        # one of them as it stands, to see that the interpreter and its words are right
        (typed if " collect " in line else lambda _, words: run_in_a_fork(words))(copy, quickly(line, walls))
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
def test_the_rest_of_the_guide(copy, walls):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: pip install '.[grading]'")
    lines = commands(section("instructor-first-hour"))
    lines = [line for line in lines if any(word in line for word in ("assignment", "trial_class", "collect"))]
    for label in ("assignments", "changes", "many-machines", "private"):
        found = commands(section(f"instructor-{label}"))
        lines += [line for line in found if not any(word in line for word in ELSEWHERE)]
    assert len(lines) >= 11
    said = [typed(copy, quickly(line, walls)) for line in lines]
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
