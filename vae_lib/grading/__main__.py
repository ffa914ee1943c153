"""`python -m vae_lib.grading`: make an assignment, collect it, grade it, report on it, give it back."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from vae_lib.commands.frame import Parser, Usage, complain, run, start

__all__ = ["main"]

_PROGRAM = "python -m vae_lib.grading"
_ABOUT = """\
Assign, collect, grade, report, give back.

commands:
  assignment   make an assignment: notebook for students, instructor's copy, rubric
  collect      put what was handed in (LMS zip, folder, exchange) into the course
  grade        grade what was handed in; goes on where it was stopped
  report       grades, statistics, and the mistakes that the class made
  feedback     one page per student, without hidden tests

`python -m vae_lib.grading COMMAND --help` explains a command.
"""
_MORE = """\
example:
  python -m vae_lib.grading assignment 02_kl_rearrangement --to course
  python -m vae_lib.grading collect course 02_kl_rearrangement submissions.zip
  python -m vae_lib.grading grade course 02_kl_rearrangement
  python -m vae_lib.grading report course 02_kl_rearrangement
  python -m vae_lib.grading feedback course 02_kl_rearrangement
"""


def _points(word: str) -> tuple[str, float | int]:
    number, _, points = word.partition("=")
    try:
        value = float(points)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{word!r}; wanted EXERCISE=POINTS, such as 2.1=3")
    return number, value


def _part(word: str) -> tuple[int, int]:
    first, _, count = word.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise argparse.ArgumentTypeError(f"{word!r}; wanted I/N, such as 1/4 to 4/4")
    return int(first), int(count)


def _count(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 1024:
        raise argparse.ArgumentTypeError(f"{word!r}; wanted a number from 1 on")
    return int(word)


def _above_zero(word: str) -> float | int:
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{word!r}; wanted seconds above 0")
    return value


def _parser(command: str, about: str) -> Parser:
    return Parser(prog=f"{_PROGRAM} {command}", description=about)


def _assignment() -> Parser:
    parser = _parser("assignment", "Make an assignment of a chapter's exercises, or of single ones.")
    parser.add_argument("chosen", nargs="+", metavar="NAME", help="02_kl_rearrangement, or numbers: 2.1 2.4")
    parser.add_argument("--to", type=Path, default=Path("course"), metavar="COURSE", help="default: course")
    parser.add_argument("--name", help="of the assignment, where it is made of single exercises")
    parser.add_argument("--variant", type=int, metavar="N", help="other numbers (0 is the book's)")
    parser.add_argument(
        "--points", type=_points, nargs="+", default=[], metavar="2.1=3", help="points of an exercise"
    )
    parser.add_argument("--due", metavar="2027-01-15", help="the last day; '' for none")
    parser.epilog = "Made again, an assignment keeps the variant, points and day that you do not name."
    return parser


def _make(arguments: argparse.Namespace) -> None:
    from vae_lib.grading.assignment import make
    from vae_lib.grading.course import Course

    course = Course(arguments.to)
    manifest = make(
        course,
        arguments.chosen,
        name=arguments.name,
        variant=arguments.variant,
        points=dict(arguments.points),
        due=arguments.due,
    )
    told = [_many(len(manifest.titles), "exercise"), f"{manifest.max_score:g} points"]
    told += [f"variant {manifest.variant}", f"due {manifest.due}" if manifest.due else "no last day"]
    print(f"{manifest.name}: {', '.join(told)}")
    print(f"for students    {course.release(manifest.name)}")
    print(f"for instructors {course.instructor(manifest.name)}")
    print(f"rubric          {course.root / 'instructor' / (manifest.name + '-rubric.md')}")
    _say_outdated(course, manifest.name)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _say_outdated(course, name: str) -> None:
    from vae_lib.grading.grade import outdated

    if old := outdated(course, name):
        shown = ", ".join(old[:5]) + (f" and {len(old) - 5} more" if len(old) > 5 else "")
        print(f"to be graded, with `grade`, as something is new: {shown}")


def _of_a_course(command: str, about: str) -> Parser:
    parser = _parser(command, about)
    parser.add_argument("course", type=Path, metavar="COURSE")
    parser.add_argument("name", metavar="NAME", help="of the assignment")
    return parser


def _collect() -> Parser:
    parser = _of_a_course("collect", "Put what was handed in into the course.")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="zip of an LMS, folder, or exchange")
    return parser


def _gather(arguments: argparse.Namespace) -> None:
    from vae_lib.grading.collect import collect
    from vae_lib.grading.course import Course

    course = Course.open(arguments.course)
    found = collect(course, arguments.name, arguments.source)
    if not found.students:
        first = f"; {found.unplaced[0]}" if found.unplaced else ""
        raise ValueError(f"{arguments.source} holds nothing that a student handed in{first}")
    again = f" ({len(found.replaced)} of them again)" if found.replaced else ""
    everybody = len(course.students(arguments.name))
    print(f"{_many(len(found.students), 'student')} came{again}; {everybody} have handed in {arguments.name}")
    if found.late:
        print(f"late, as Canvas says: {', '.join(found.late)}")
    for came, kept in found.renamed:
        print(f"{came!r} is kept as {kept}")
    for line in found.unplaced:
        print(f"could not be placed: {line}")


def _grade() -> Parser:
    parser = _of_a_course("grade", "Grade what was handed in; what is graded already is not graded again.")
    parser.add_argument(
        "--jobs", type=_count, default=None, metavar="N", help="at a time (default: the cores)"
    )
    parser.add_argument("--part", type=_part, metavar="I/N", help="only every N-th student, from the I-th on")
    parser.add_argument("--sandbox", action="store_true", help="in bubblewrap: no network, no other files")
    parser.add_argument("--unconfined", action="store_true", help="grade although nothing confines the code")
    parser.add_argument(
        "--timeout", type=_above_zero, default=30.0, metavar="S", help="for one cell (default: 30)"
    )
    parser.add_argument(
        "--again", nargs="*", metavar="STUDENT", help="grade these again, or everybody; stands at the end"
    )
    return parser


def _mark(arguments: argparse.Namespace) -> int:
    import os

    from vae_lib.grading.confine import available
    from vae_lib.grading.course import Course
    from vae_lib.grading.execute import Limits
    from vae_lib.grading.grade import grade
    from vae_lib.grading.gradebook import enter
    from vae_lib.grading.sandbox import Sandbox

    if not hasattr(os, "fork"):
        raise ValueError("grading needs Linux; on Windows, use WSL")
    course = Course.open(arguments.course)
    manifest = course.manifest(arguments.name)
    wrap = Sandbox() if arguments.sandbox else None
    if wrap is None and not available() and not arguments.unconfined:
        raise ValueError(
            "this system has no Landlock (Linux 6.2 or later), so that code of students could write to the "
            "gradebook: add --sandbox, or --unconfined if you trust the code"
        )
    everybody = course.students(arguments.name)
    if not everybody:
        raise ValueError(f"nobody has handed in {arguments.name} yet; `collect` comes first")
    if arguments.part:
        first, count = arguments.part
        everybody = everybody[first - 1 :: count]
    if arguments.again is not None:
        for student in arguments.again:
            if student not in everybody:
                raise ValueError(f"--again names {student!r}, who has not handed in {arguments.name}")
        for student in arguments.again or everybody:
            course.result(student, arguments.name).unlink(missing_ok=True)
    fresh = 0
    limits = Limits(timeout=arguments.timeout, total=20 * arguments.timeout)
    with tqdm(total=len(everybody), unit="student", disable=None) as bar:

        def progress(result, new):
            nonlocal fresh
            fresh += new
            bar.update()
            if result.status != "graded" and new:
                bar.write(f"{result.student}: {result.status}: {'; '.join(result.flags)}")

        results = grade(
            course,
            arguments.name,
            jobs=arguments.jobs or os.cpu_count() or 1,
            limits=limits,
            wrap=wrap,
            students=everybody,
            progress=progress,
        )
    if not arguments.part:
        enter(course, manifest, results)
    counts = {s: sum(r.status == s for r in results) for s in ("graded", "flagged", "not graded")}
    if arguments.part:
        print("the gradebook is filled by a call without --part, when all parts are done")
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    before = len(results) - fresh
    print(f"{told} ({before} of {len(results)} by an earlier call)" if before else told)
    return 0


def _report() -> Parser:
    parser = _of_a_course("report", "Write grades.csv, statistics.csv, mistakes.csv and a figure of them.")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: COURSE/reports/NAME")
    return parser


def _tell(arguments: argparse.Namespace) -> None:
    from vae_lib.grading.course import Course
    from vae_lib.grading.report import write_report

    course = Course.open(arguments.course)
    folder = arguments.to or course.root / "reports" / arguments.name
    for path in write_report(course, arguments.name, folder):
        print(path)
    _say_outdated(course, arguments.name)


def _feedback() -> Parser:
    return _of_a_course("feedback", "Write one page per student, COURSE/feedback/STUDENT/NAME.html.")


def _give_back(arguments: argparse.Namespace) -> None:
    from vae_lib.grading.course import Course
    from vae_lib.grading.feedback import write_feedback

    course = Course.open(arguments.course)
    done = write_feedback(course, arguments.name)
    print(f"{_many(len(done), 'page')} below {course.root / 'feedback'}")
    _say_outdated(course, arguments.name)


_COMMANDS = {
    "assignment": (_assignment, _make),
    "collect": (_collect, _gather),
    "grade": (_grade, _mark),
    "report": (_report, _tell),
    "feedback": (_feedback, _give_back),
}


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        argv: The words after the program; by default those it was started with.

    Returns:
        0 if all is well, 2 if the input was bad, 130 if the user stopped it.
    """
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in _COMMANDS:
        parser, action = _COMMANDS[words[0]]
        return run(parser(), words[1:], action, stopped="stopped; the same command goes on from here")
    frame = Parser(
        prog=_PROGRAM,
        usage=f"{_PROGRAM} COMMAND ...",
        description=_ABOUT,
        epilog=_MORE,
    )
    try:
        if words and not words[0].startswith("-"):
            raise Usage(f"there is no command {words[0]!r}; wanted one of: {', '.join(_COMMANDS)}")
        frame.parse_args(words)
    except Usage as error:
        return complain(_PROGRAM, error)
    except SystemExit:  # --help
        return 0
    frame.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(start(_PROGRAM, main))
