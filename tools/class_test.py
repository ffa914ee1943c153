"""Grade a class that does not exist, and see that nobody is lost, wronged, or hurt by another.

    python tools/class_test.py                          360 students, three kills
    python tools/class_test.py --students 30 --kills 1  a smaller class, a part of each kind
    python tools/class_test.py --kinds "os._exit; 3 GB" --students 4    these hostile kinds only

The class hands in perfect, partial and catalogued wrong answers, and everything hostile that
`tests/grading/hostile.py` lists. What each must get is known beforehand, from the exercises' sources. The
class is graded once without disturbance, and once more with the grader killed at random moments by SIGKILL
and started again: both must end with the same grades.csv, byte for byte. Needs /proc (Linux).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "grading"), str(ROOT / "tools")]

MARK = "VAE_CLASS_TEST"


# ---------------------------------------------------------------------------------------------------
# Processes


def ours(mark: str) -> set[int]:
    """The processes that carry our mark in their environment, and all below them."""
    parents, found = {}, set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            parents[int(entry)] = int(Path("/proc", entry, "stat").read_text().rsplit(")", 1)[1].split()[1])
            if f"{MARK}={mark}".encode() in Path("/proc", entry, "environ").read_bytes():
                found.add(int(entry))
        except (OSError, IndexError):
            continue  # it has ended, or belongs to somebody else
    grown = True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in found} - found
        found |= below
        grown = bool(below)
    return found - {os.getpid()}


def memory(pids: set[int]) -> int:
    """The bytes that these processes hold, shared pages counted once."""
    total = 0
    for pid in pids:
        try:
            for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except (OSError, ValueError):
            continue
    return total


def alive(mark: str, seconds: float) -> set[int]:
    """The processes of ours that are still there after at most `seconds`."""
    until = time.monotonic() + seconds
    while (left := ours(mark)) and time.monotonic() < until:
        time.sleep(0.5)
    return left


def sweep(mark: str) -> list[str]:
    """End what a run left behind, and say what it was."""
    said = []
    for pid in ours(mark):
        try:
            words = Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80]
            os.kill(pid, signal.SIGKILL)
            said.append(f"{pid}: {words.strip()}")
        except OSError:
            continue
    return said


@dataclass
class Watch:
    """Follows one command: how much memory it and what it starts ever hold."""

    mark: str
    peak: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.wait(0.5):
            self.peak = max(self.peak, memory(ours(self.mark)))


@dataclass(frozen=True)
class Done:
    """How a command went."""

    code: int
    seconds: float
    cpu: float
    peak: int
    output: str


class Grader:
    """The command `python -m vae_lib.grading`, started in processes that we can find again."""

    def __init__(self, log: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.log = log

    def start(self, *words: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "vae_lib.grading", *map(str, words)]
        with self.log.open("ab") as log:
            log.write(f"\n$ {' '.join(command[1:])}\n".encode())
            log.flush()
            return subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, MARK: self.mark},
            )

    def run(self, *words: object, limit: float = 3 * 3600) -> Done:
        """Run a command to its end."""
        before = self.log.stat().st_size if self.log.exists() else 0
        watch = Watch(self.mark)
        began = time.monotonic()
        process = self.start(*words)
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        timer = threading.Timer(limit, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        watch.stop.set()
        thread.join()
        process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for it
        output = self.log.read_bytes()[before:].decode(errors="replace")
        seconds = time.monotonic() - began
        return Done(process.returncode, seconds, usage.ru_utime + usage.ru_stime, watch.peak, output)

    def must(self, *words: object) -> Done:
        done = self.run(*words)
        if done.code:
            sys.exit(f"class_test: this failed with {done.code}:\n{done.output[-3000:]}")
        return done

    def killed(self, chance: random.Random, length: float, whole: bool, *words: object) -> tuple[float, bool]:
        """Start a command and kill it at a random moment; returns the moment, and whether it came in time."""
        process = self.start(*words)
        moment = chance.uniform(0.05, 0.95) * length
        began = time.monotonic()
        try:
            process.wait(timeout=moment)
            return time.monotonic() - began, False
        except subprocess.TimeoutExpired:
            pass
        if whole:
            for pid in ours(self.mark) | {process.pid}:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
        else:
            process.kill()  # what it started has to notice by itself
        process.wait()
        return moment, True


# ---------------------------------------------------------------------------------------------------
# What a course holds


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    """Every regular file below a folder with its SHA-256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def gradebook_scores(course: Path, name: str) -> dict[str, float]:
    """student -> the score in nbgrader's own gradebook."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {s.student.id: s.score for s in book.assignment_submissions(name)}


def hidden_lines(name: str) -> dict[str, str]:
    """The lines of hidden tests and notes: what no feedback may show, whatever a student hands in."""
    import exercises as builder

    found: dict[str, str] = {}
    for variant in range(len(builder.Assignment(name).settings["variants"])):
        assignment = builder.Assignment(name, variant=variant)
        shown = builder._squeeze("\n".join(c.source for c in builder.student_notebook(assignment).cells))
        answers = builder._squeeze("\n".join(e.answer for e in assignment.exercises))
        for exercise in assignment.exercises:
            for test in exercise.tests:
                for line in builder.region_lines(test.code):
                    squeezed = builder._squeeze(line)
                    known = squeezed in shown or squeezed in answers
                    short = len(squeezed) < builder.SHORTEST_SECRET
                    if not (known or short or line.lstrip().startswith(builder.COMMON)):
                        found[squeezed] = line.strip()
            found[builder._squeeze(exercise.note)] = exercise.note
    return found


SCRIPTS = ("owned-by-output", "owned-by-image", "owned-by-javascript", "owned-by-text")


def live_scripts(folder: Path) -> Iterator[str]:
    """The students' scripts that would run when the feedback is opened."""
    import html.parser

    class Reader(html.parser.HTMLParser):
        inside = False
        found: set[str]

        def handle_starttag(self, tag, attributes):
            self.inside = tag == "script"
            for key, value in attributes:
                if key.startswith("on") or "javascript:" in (value or ""):
                    self.found |= {mark for mark in SCRIPTS if mark in (value or "")}

        def handle_endtag(self, tag):
            self.inside = False

        def handle_data(self, data):
            if self.inside:
                self.found |= {mark for mark in SCRIPTS if mark in data}

    for path in sorted(folder.rglob("*.html")):
        reader = Reader()
        reader.found = set()
        reader.feed(path.read_text(encoding="utf-8", errors="replace"))
        yield from (f"{path.parent.name}: {mark}" for mark in sorted(reader.found))


# ---------------------------------------------------------------------------------------------------
# The test


class Test:
    """One class, graded twice."""

    def __init__(self, options: argparse.Namespace, home: Path) -> None:
        import classroom

        self.classroom, self.options, self.home = classroom, options, home
        self.name: str = options.assignment
        self.course, self.again = home / "course", home / "again"
        self.grader = Grader(home / "log.txt")
        self.faults: list[str] = []
        self.figures: dict[str, Any] = {}
        self.chance = random.Random(options.seed)

    def say(self, text: str) -> None:
        if not self.options.json:
            print(text, flush=True)

    def fault(self, text: str) -> None:
        self.faults.append(text)
        self.say(f"  FAULT {text}")

    def words(self, course: Path) -> list[object]:
        options = self.options
        more = ["--sandbox"] if options.sandbox else []
        return ["grade", course, self.name, "--jobs", options.jobs, "--timeout", options.timeout, *more]

    def hand_in(self) -> None:
        import hostile

        self.grader.must("assignment", self.name, "--to", self.course)
        release = (self.course / "release" / self.name / f"{self.name}.ipynb").read_text(encoding="utf-8")
        sheet = self.classroom.Sheet(self.name, release)
        kinds = [kind.strip() for kind in self.options.kinds.split(";") if kind.strip()]
        if self.options.part:
            part, parts = map(int, self.options.part.split("/"))
            kinds = [kind for place, kind in enumerate(hostile.KINDS) if place % parts == part - 1]
        from vae_lib.grading.confine import available

        self.students = self.classroom.enrol(
            sheet,
            self.options.students,
            self.options.seed,
            kinds=kinds,
            confined=self.options.sandbox or available(),
        )
        source = self.classroom.write_folder(self.students, self.home / "handed in")
        done = self.grader.must("collect", self.course, self.name, source)
        self.told = done.output
        self.figures["students"] = len(self.students)
        self.figures["hostile"] = sum(not student.honest for student in self.students)
        self.figures["collect_seconds"] = round(done.seconds, 1)
        self.say(
            f"{len(self.students)} students, {self.figures['hostile']} of them hostile, collected in "
            f"{done.seconds:.0f} s"
        )
        shutil.copytree(self.course, self.again, symlinks=True)

    def grade(self) -> None:
        before = digests(self.course / "submitted")
        self.done = done = self.grader.run(*self.words(self.course))
        if done.code:
            self.fault(f"grade ended with {done.code}: {done.output[-1500:]}")
        if left := alive(self.grader.mark, 10):
            self.fault(f"{len(left)} processes left behind: {sweep(self.grader.mark)}")
        after = digests(self.course / "submitted")
        for path in sorted(before.keys() | after.keys()):
            if before.get(path) != after.get(path):
                self.fault(f"a submission was changed: {path}")
        self.grader.must("report", self.course, self.name, "--to", self.home / "report")
        count = len(self.students)
        self.figures |= {
            "total_seconds": round(done.seconds, 1),
            "seconds_per_submission": round(done.seconds / count, 2),
            "cpu_per_submission": round(done.cpu / count, 2),
            "memory_peak_MiB": round(done.peak / 2**20),
        }
        self.say(
            f"graded in {done.seconds:.0f} s: {done.seconds / count:.2f} s each, {done.cpu / count:.2f} s of "
            f"processor each, {done.peak / 2**20:.0f} MiB at most"
        )

    def compare(self) -> None:
        table = rows(self.home / "report" / "grades.csv")
        differ: dict[str, list[str]] = {}
        lost = affected = 0
        for student, text in self.classroom.compare(self.students, table, self.told):
            differ.setdefault(student.name, []).append(text)
            self.fault(f"{student.kind} ({student.name}): {text}")
            lost += text.startswith("lost")
            affected += student.honest
        self.figures |= {
            "expected_met": len(self.students) - len(differ),
            "lost": lost,
            "others_affected": affected,
            "statuses": dict(sorted(Counter(row["status"] for row in table).items())),
        }
        self.say(
            f"{self.figures['expected_met']} of {len(self.students)} as expected, {lost} lost, "
            f"{affected} others affected; {self.figures['statuses']}"
        )
        scores = {row["student"]: float(row["score"]) for row in table if row["score"]}
        book = gradebook_scores(self.course, self.name)
        wrong = [who for who, score in scores.items() if abs(book.get(who, float("nan")) - score) > 1e-9 or
                 who not in book]  # fmt: skip
        for who in wrong:
            self.fault(f"the gradebook has {book.get(who)} for {who}, the CSV {scores[who]:g}")
        self.figures["gradebook_differs"] = len(wrong)

    def mistakes(self) -> None:
        """The report must name the class's commonest mistakes, and count them."""
        planted = self.classroom.planted(self.students)
        told: Counter[tuple[str, str]] = Counter()
        for row in rows(self.home / "report" / "mistakes.csv"):
            if not row["mistake"].startswith("("):  # "(unanswered)" and the like
                told[row["exercise"], row["mistake"]] += int(row["count"])
        rightly = sum(min(told[each], count) for each, count in planted.items())
        self.figures |= {"mistakes_planted": sum(planted.values()), "mistakes_named": rightly}
        for number in sorted({number for number, _ in planted}):
            own = {each: count for each, count in planted.items() if each[0] == number}
            most = max(own.values())
            commonest = {each[1] for each, count in own.items() if count == most}
            named = max((e for e in told if e[0] == number), key=lambda e: told[e], default=(number, "none"))[
                1
            ]
            if most > 1 and named not in commonest:
                self.fault(f"the commonest mistake in {number} is {commonest}, the report says {named}")
        for each, count in planted.items():
            if told[each] < count:
                self.fault(f"mistake {each}: planted {count} times, counted {told[each]} times")
        self.say(f"{rightly} of {sum(planted.values())} planted mistakes named")

    def kill(self) -> None:
        kills, ready = [], {}
        for turn in range(self.options.kills):
            moment, hit = self.grader.killed(
                self.chance,
                self.done.seconds / (self.options.kills + 1) * 2,
                turn % 2 == 1,
                *self.words(self.again),
            )
            results = self.again / "results" / self.name
            ready |= {path: path.stat().st_mtime_ns for path in results.glob("*.json") if path not in ready}
            kills.append([round(moment, 1), len(ready)])
            what = "killed" if hit else "was ready"
            self.say(f"{what} after {moment:.1f} s, {len(ready)} of {len(self.students)} graded")
        if kills:
            done = self.grader.run(*self.words(self.again))
            if done.code:
                self.fault(f"the resumed grade ended with {done.code}: {done.output[-1500:]}")
            if left := alive(self.grader.mark, 10):
                self.fault(f"after the kills {len(left)} processes are left: {sweep(self.grader.mark)}")
            twice = [path.stem for path, stamp in ready.items() if path.stat().st_mtime_ns != stamp]
            for who in twice:
                self.fault(f"{who} was graded before the kill, and again after it")
            self.grader.must("report", self.again, self.name, "--to", self.home / "report again")
            same = {
                file: (self.home / "report" / file).read_bytes()
                == (self.home / "report again" / file).read_bytes()
                for file in ("grades.csv", "mistakes.csv")
            }
            self.figures |= {
                "kills_at_s_and_graded": kills,
                "graded_twice": len(twice),
                "last_part_seconds": round(done.seconds, 1),
                "same": same,
            }
            for file, equal in same.items():
                if not equal:
                    self.fault(f"after the kills {file} differs: {self.differences(file)}")
            self.say(f"resumed, ready after {done.seconds:.0f} s; the same files: {same}")
        began = time.monotonic()
        once_more = self.grader.run(*self.words(self.course))
        self.figures["nothing_to_do_seconds"] = round(time.monotonic() - began, 1)
        if once_more.code:
            self.fault(f"grading a graded class ended with {once_more.code}")

    def differences(self, file: str) -> list[str]:
        one, two = ((self.home / r / file).read_text().splitlines() for r in ("report", "report again"))
        return sorted(set(one) ^ set(two))[:8]

    def feedback(self) -> None:
        import exercises as builder

        done = self.grader.run("feedback", self.course, self.name)
        if done.code:
            self.fault(f"feedback ended with {done.code}: {done.output[-1500:]}")
        folder = self.course / "feedback"
        have = {path.parent.name for path in folder.rglob(f"{self.name}.html")}
        tame = {self.classroom.letters(name)[:40] for name in have}
        missing = [
            s.name
            for s in self.students
            if (self.classroom.kept_as(s.name, self.told) or s.name) not in have
            and self.classroom.letters(s.name)[:40] not in tame
        ]
        for name in missing:
            self.fault(f"no feedback for {name}")
        leaks = builder.find_leaks(folder, hidden_lines(self.name)) if folder.exists() else []
        for leak in leaks[:20]:
            self.fault(f"feedback shows a hidden line: {leak.file}: {leak.secret[:60]}")
        control = self.home / "control.html"
        control.write_text("<pre>" + next(iter(hidden_lines(self.name).values())) + "</pre>")
        found = len(builder.find_leaks(control, hidden_lines(self.name)))
        if not found:
            self.fault("the search for leaks does not find a planted one")
        scripts = list(live_scripts(folder)) if folder.exists() else []
        for text in scripts:
            self.fault(f"feedback runs a student's script: {text}")
        size = sum(path.stat().st_size for path in folder.rglob("*.html")) if folder.exists() else 0
        self.figures |= {
            "feedback_seconds": round(done.seconds, 1),
            "feedback_files": len(have),
            "feedback_MB": round(size / 1e6, 1),
            "feedback_leaks": len(leaks),
            "feedback_control_found": found,
            "feedback_scripts": len(scripts),
        }
        self.say(
            f"feedback for {len(have)} in {done.seconds:.0f} s, {size / 1e6:.0f} MB; {len(leaks)} hidden "
            f"lines (control: {found}), {len(scripts)} live scripts"
        )

    def record(self) -> None:
        """Write the table of the instructor's guide."""
        told = {
            "day": time.strftime("%Y-%m-%d", time.gmtime()),
            "students": "students",
            "of them hostile": "hostile",
            "processor cores": os.cpu_count(),
            "submissions at a time": self.options.jobs,
            "in the sandbox": "yes" if self.options.sandbox else "no",
            "seconds in all": "total_seconds",
            "seconds per submission": "seconds_per_submission",
            "seconds of processor per submission": "cpu_per_submission",
            "memory at most, MiB": "memory_peak_MiB",
            "as expected": "expected_met",
            "lost": "lost",
            "other students affected": "others_affected",
            "planted mistakes": "mistakes_planted",
            "of them named": "mistakes_named",
            "hidden lines in the feedback": "feedback_leaks",
            "times the second run was killed": self.options.kills,
            "same grades.csv after the kills": {True: "yes, byte for byte", False: "no", None: "not tried"}[
                self.figures.get("same", {}).get("grades.csv")
            ],
        }  # fmt: skip
        with (ROOT / "book" / "instructor.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["figure", "value"])
            table.writerows([words, self.figures.get(value, value)] for words, value in told.items())

    def zips(self) -> None:
        """Zips that no honest system makes: nothing outside the course, nothing huge, the honest are kept."""
        import hostile

        sheet = self.classroom.Sheet(self.name)
        made = hostile.zips(sheet, self.home / "zips")
        for name, (path, readable) in made.items():
            home = self.home / "zip" / hostile.slug(name)
            course = home / "below" / "course"
            shutil.copytree(
                self.course, course, ignore=shutil.ignore_patterns("submitted", "auto*", "feedback")
            )
            before = self.outside(home, course)
            done = self.grader.run("collect", course, self.name, path)
            if (stray := self.outside(home, course) - before) or Path("/tmp/evil.ipynb").exists():
                self.fault(f"zip, {name}: wrote outside the course: {stray}")
            size = sum(p.stat().st_size for p in course.rglob("*") if p.is_file() and not p.is_symlink())
            if size > 300e6:
                self.fault(f"zip, {name}: the course has {size / 1e6:.0f} MB now")
            if any(p.is_symlink() for p in (course / "submitted").rglob("*")):
                self.fault(f"zip, {name}: a link was unpacked")
            if "Traceback" in done.output:
                self.fault(f"zip, {name}: a traceback")
            honest = course / "submitted" / "honest" / self.name
            if readable and not list(honest.glob("*.ipynb")):
                self.fault(f"zip, {name}: the honest student is lost: {done.output[-300:]}")
            if not readable and done.code == 0 and "honest: " not in done.output:
                self.fault(f"zip, {name}: cannot be read, and nothing is said")
        self.figures["hostile_zips"] = len(made)
        self.say(f"{len(made)} hostile zips")

    @staticmethod
    def outside(home: Path, course: Path) -> set[str]:
        return {str(p) for p in home.rglob("*") if course not in p.parents and p != course}

    def run(self) -> int:
        try:
            self.hand_in()
            self.grade()
            self.compare()
            self.mistakes()
            self.feedback()
            self.zips()
            self.kill()
        finally:
            sweep(self.grader.mark)
        self.figures["faults"] = len(self.faults)
        if self.options.record:
            self.record()
        if self.options.json:
            print(json.dumps(self.figures | {"what": self.faults}, ensure_ascii=False))
        else:
            print(json.dumps(self.figures, indent=1))
            print(f"{len(self.faults)} faults")
        return 1 if self.faults else 0


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--students", type=int, default=360, help="how many hand in (default: 360, room for all kinds)"
    )
    parser.add_argument(
        "--kills", type=int, default=3, help="how often the second run is killed (default: 3)"
    )
    parser.add_argument("--assignment", default="02_kl_rearrangement", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2, help="how many are graded at a time (default: 2)")
    parser.add_argument("--timeout", type=int, default=20, help="seconds for a cell (default: 20)")
    parser.add_argument("--sandbox", action="store_true", help="grade in the sandbox")
    parser.add_argument("--kinds", default="", help="only these hostile kinds, separated by semicolons")
    parser.add_argument("--part", default="", metavar="1/4", help="only this part of the hostile kinds")
    parser.add_argument(
        "--seed", type=int, default=0, help="who is in the class, and the moments of the kills"
    )
    parser.add_argument(
        "--to", type=Path, help="keep everything in this new folder (default: a temporary one)"
    )
    parser.add_argument("--record", action="store_true", help="write the table of the instructor's guide")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args(words)
    if options.to is not None:
        options.to.mkdir(parents=True)
        return Test(options, options.to.resolve()).run()
    with tempfile.TemporaryDirectory() as home:
        return Test(options, Path(home)).run()


if __name__ == "__main__":
    sys.exit(main())
