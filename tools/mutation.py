"""Plant the field's faults in a copy of the library, one at a time, and see which test turns red.

    python tools/mutation.py                 every fault of tests/mutation/faults.toml
    python tools/mutation.py "wrong sign"    those whose name holds these words
    python tools/mutation.py --write         and write the table of book/appendix/faults.md
    python tools/mutation.py --stubs         replace each public function by one that returns zeros

A fault counts as caught when a test that the table names turns red, and that test was green without the
fault. The copies and the processes are the business of tools/planting.py.
"""

import argparse
import csv
import io
import json
import os
import re
import shutil
import sys
import tempfile
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from planting import CONTROL, ROOT, Job, Result, in_child, rewrite, run_jobs, warm_up

FAULTS = ROOT / "tests" / "mutation" / "faults.toml"
HOLLOW = ROOT / "tests" / "mutation" / "hollow.py"
TABLE = ROOT / "book" / "appendix" / "faults.csv"
HEADER = ["fault", "in the field", "our file", "the test that turns red"]
NOT_YET = "not applicable yet"
ROOMS = [
    "bounds",
    "divergences",
    "likelihoods",
    "laboratory",
    "gradients",
    "posteriors",
    "priors",
    "models",
    "networks",
    "builders",
    "data",
    "training",
    "evaluation",
    "cards",
]
# whose tests are called otherwise, or not only so
OTHER_TESTS = {"builders": "models", "training": "checkpoints"}
# they start compilers and processes of their own: minutes that no stub needs
SLOW = {"test_training_compiled.py", "test_training_processes.py"}
# they look at the checkout, or start a process in it, so a copy of the library proves nothing to them
OF_THE_CHECKOUT = [
    "tests/library/test_cards.py::test_the_committed_cards_are_found",
    "tests/library/test_checkpoints.py::test_killed_processes_end_the_same",
]


@dataclass
class Fault:
    """One row of the table: what is replaced in which file, and the tests that should see it."""

    name: str
    field: str
    file: str
    old: str
    new: str
    tests: list[str]


@dataclass
class Absent:
    """A fault that cannot be planted, because the library has no such code; `sign` would betray it."""

    name: str
    field: str
    why: str
    sign: str


# ---------------------------------------------------------------------------------- the table


def read_table(path: Path = FAULTS) -> tuple[list[Fault], list[Absent]]:
    """The faults that can be planted, and those that cannot."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    faults = [Fault(**row) for row in table["fault"]]
    absent = [Absent(**row) for row in table.get("absent", [])]
    names = [row.name for row in [*faults, *absent]]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{path.name} has two rows named {sorted(twice)}")
    return faults, absent


def plant(fault: Fault, copy: Path) -> None:
    """Replace the text; it must stand in the file exactly once, or the table has fallen behind the code."""
    path = copy / fault.file
    if not path.is_file():
        raise ValueError(f"there is no {fault.file}")
    text = path.read_text(encoding="utf-8")
    found = text.count(fault.old)
    if found != 1:
        raise ValueError(f"the text to replace stands {found} times in {fault.file}, wanted once")
    if fault.old == fault.new:
        raise ValueError("the text is replaced by itself")
    text = text.replace(fault.old, fault.new)
    compile(text, fault.file, "exec")  # a fault that does not even parse proves nothing
    rewrite(path, text)


def betrayed(absent: Absent) -> list[str]:
    """The files of the library in which an absent feature has appeared, so that its fault is due."""
    return [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "vae_lib").rglob("*.py"))
        if re.search(absent.sign, path.read_text(encoding="utf-8"))
    ]


# ---------------------------------------------------------------------------------- the faults

HARMLESS = "control: a change that changes nothing"


def fault_jobs(faults: list[Fault], stop: bool) -> list[Job]:
    """Two controls, then every fault."""
    nodes = sorted({test for fault in faults for test in fault.tests})

    def comment(copy: Path) -> None:
        path = copy / faults[0].file
        rewrite(path, path.read_text(encoding="utf-8") + "\n# nothing\n")

    jobs = [Job(CONTROL, lambda copy: None, nodes, stop=False), Job(HARMLESS, comment, faults[0].tests)]
    for fault in faults:
        jobs.append(Job(fault.name, lambda copy, f=fault: plant(f, copy), fault.tests, stop))
    return jobs


def verdicts(faults: list[Fault], absent: list[Absent], results: list[Result]) -> list[str]:
    """What is wrong, one line each; nothing if every fault was caught and the controls hold."""
    by_name = {result.name: result for result in results}
    wrong = []
    control, harmless = by_name[CONTROL], by_name[HARMLESS]
    if control.red or control.error:
        wrong.append(f"without any fault: {control.red or control.error}")
    if harmless.red or harmless.error:
        wrong.append(f"a comment was taken for a fault: {harmless.red or harmless.error}")
    for fault in faults:
        result = by_name[fault.name]
        if result.error:
            wrong.append(f"{fault.name}: {result.error}")
        elif not result.red:
            wrong.append(f"{fault.name}: SURVIVED {', '.join(fault.tests)}")
    for row in absent:
        wrong += [f"{row.name}: said to be {NOT_YET}, but {file} has it" for file in betrayed(row)]
    return wrong


def table_text(faults: list[Fault], absent: list[Absent], results: list[Result]) -> str:
    """The table of the book as CSV. No seconds: they would change with the machine."""
    red = {result.name: result.red for result in results}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    for fault in faults:
        caught = re.sub(r"\[.*\]$", "", red[fault.name]).removeprefix("tests/library/")
        writer.writerow([fault.name, fault.field, f"`{fault.file}`", f"`{caught}`"])
    for row in absent:
        writer.writerow([row.name, row.field, "–", f"{NOT_YET}: {row.why}"])
    return out.getvalue()


def one_line(result: Result) -> str:
    if result.error:
        return f"{'ERROR':>7} {result.seconds:5.1f} s  {result.name}: {result.error}"
    state = "red" if result.red else "GREEN"
    return f"{state:>7} {result.seconds:5.1f} s  {result.name}" + (f"  <- {result.red}" if result.red else "")


def print_line(result: Result) -> None:
    print(one_line(result), *(f"            {note}" for note in result.notes), sep="\n", flush=True)


def run_faults(options: argparse.Namespace) -> int:
    faults, absent = read_table(options.table)
    if options.words:
        faults = [f for f in faults if any(word.lower() in f.name.lower() for word in options.words)]
        absent = []
    tell = (lambda result: None) if options.json else print_line
    results = run_jobs(fault_jobs(faults, not options.all), options.jobs, tell)
    wrong = verdicts(faults, absent, results)
    if not wrong and not options.words and options.table == FAULTS:
        text = table_text(faults, absent, results)
        if options.write:
            TABLE.write_text(text, encoding="utf-8")
        elif not TABLE.exists() or TABLE.read_text(encoding="utf-8") != text:
            wrong.append(f"{TABLE.relative_to(ROOT)} is not what was measured: run tools/mutation.py --write")
    if options.json:
        print(json.dumps({"results": [asdict(result) for result in results], "wrong": wrong}))
        return bool(wrong)
    for row in absent:
        print(f"{NOT_YET:>18}  {row.name}: {row.why}")
    caught = sum(bool(result.red) for result in results[2:])
    print(f"{caught} of {len(faults)} faults caught; {len(absent)} {NOT_YET}")
    for line in wrong:
        print(f"mutation: {line}", file=sys.stderr)
    return bool(wrong)


# ---------------------------------------------------------------------------------- the stubs


def public_functions() -> list[dict]:
    """Every public function, method and property of the rooms, found in a child."""

    def look() -> dict:
        sys.path[:0] = [str(ROOT), str(HOLLOW.parent)]
        import hollow

        return {"found": hollow.public_functions(ROOMS)}

    with tempfile.TemporaryDirectory() as home:
        answer = Path(home) / "found.json"
        os.waitpid(in_child(look, answer, keep_bytecode=False), 0)
        found = json.loads(answer.read_text())
        if "found" not in found:
            sys.exit(f"mutation: {found['error']}\n{answer.with_suffix('.log').read_text()}")
        return found["found"]


def tests_of(room: str, name: str) -> list[str]:
    """The test files of a room, those that name the function most often first."""
    folder = ROOT / "tests" / "library"
    stems = {room, OTHER_TESTS.get(room, room)}
    files = sorted(f for stem in stems for f in folder.glob(f"test_{stem}*.py") if f.name not in SLOW)
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    word = re.compile(rf"\b{re.escape(name)}\b")
    files.sort(key=lambda file: -len(word.findall(texts[file])))
    return [str(file) for file in files] + [f"--deselect={node}" for node in OF_THE_CHECKOUT if files]


def stub_jobs(wanted: list[str]) -> list[Job]:
    jobs = []
    for row in public_functions():
        path = f"{row['room']}.{row['qualname']}"
        if wanted and not any(word in path for word in wanted):
            continue

        def change(copy: Path, row=row) -> None:
            shutil.copy(HOLLOW, copy / "mutation_hollow.py")
            path = copy / row["file"]
            planted = f"\n\nimport mutation_hollow\n\nmutation_hollow.empty(globals(), {row['qualname']!r})\n"
            rewrite(path, path.read_text(encoding="utf-8") + planted)

        jobs.append(Job(path, change, tests_of(row["room"], row["qualname"].split(".")[-1])))
    return jobs


def run_stubs(options: argparse.Namespace) -> int:
    jobs = stub_jobs(options.words)
    none = [job.name for job in jobs if not job.tests]
    jobs = [job for job in jobs if job.tests]
    # where the tests of a room are red without a stub, they prove nothing
    rooms = sorted({job.name.split(".")[0] for job in jobs})
    controls = [Job(f"control: {room}", lambda copy: None, tests_of(room, "")) for room in rooms]
    controls = run_jobs(controls, options.jobs, print_line)
    if any(result.red or result.error for result in controls):
        sys.exit("mutation: tests are red without any stub")
    results = run_jobs(jobs, options.jobs, print_line)
    # a stub that breaks the import of the library was seen as well, only not by a test of its own
    survived = [result.name for result in results if not result.red and not result.error]
    broken = [result.name for result in results if result.error]
    killed = len(results) - len(survived) - len(broken)
    counts = f"{killed} killed, {len(survived)} survived, {len(broken)} could not be tried"
    print(f"{len(jobs) + len(none)} functions: {counts}, {len(none)} have no test file")
    for title, names in (("survived", survived), ("could not be tried", broken), ("no test file", none)):
        for name in names:
            print(f"{title}: {name}")
    return bool(survived or none or broken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only those whose name holds one of these")
    parser.add_argument("--write", action="store_true", help="write the table of the book")
    parser.add_argument("--all", action="store_true", help="go on after the first red test, and list them")
    parser.add_argument("--stubs", action="store_true", help="plant stubs instead of faults")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--jobs", type=int, default=1, help="children at a time (default: 1)")
    parser.add_argument("--table", type=Path, default=FAULTS, help="another table of faults")
    options = parser.parse_args()
    if not hasattr(os, "fork"):
        sys.exit("mutation: needs os.fork (Linux, macOS)")
    warm_up()
    return run_stubs(options) if options.stubs else run_faults(options)


if __name__ == "__main__":
    sys.exit(main())
