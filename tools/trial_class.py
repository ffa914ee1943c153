"""Three students who do not exist hand in: something to grade before there is a class.

    python tools/trial_class.py 02_kl_rearrangement --to _build/trial.zip

One is right, one makes a catalogued mistake, one loops for ever. The zip looks like one from a learning
management system: `--style canvas` or `--style moodle`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "grading"), str(ROOT / "tools")]


def hand_in(name: str, path: Path, style: str) -> list[str]:
    """Write the zip, and say who is in it."""
    import classroom
    import hostile

    sheet = classroom.Sheet(name)
    mutant = sheet.wrong(sheet.first)[0]
    right, wrong = sheet.book(), classroom.mistaken(sheet, sheet.first, mutant)
    loop = hostile.KINDS["endless loop"].make(sheet)
    students = [
        classroom.Student("ada", "right", {sheet.file: classroom.packed(right)}, sheet.wants()),
        classroom.Student("blaise", f"{mutant.name} in {sheet.first}", *wrong),
        classroom.Student("carl", f"an endless loop in {sheet.middle}", *loop),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    classroom.write_zip(students, path, style)
    return [f"{student.name}: {student.kind}" for student in students]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", metavar="NAME", help="the assignment, such as 02_kl_rearrangement")
    parser.add_argument("--to", type=Path, default=Path("_build/trial.zip"), metavar="ZIP")
    parser.add_argument("--style", choices=["canvas", "moodle"], default="canvas")
    options = parser.parse_args(words)
    from exercises import Fault

    try:
        said = hand_in(options.name, options.to, options.style)
    except (Fault, OSError) as error:
        print(f"trial_class: {error}", file=sys.stderr)
        return 2
    print("\n".join([*said, str(options.to)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
