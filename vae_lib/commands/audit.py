"""`python -m vae_lib audit`: recompute what a run card reports."""

import argparse
import json
import math
import sys

from vae_lib.commands.frame import Parser, run

__all__ = ["main"]

_ABOUT = """\
Recompute what a run card reports from its checkpoint, and say whether it agrees. The curve, the settings
and the means are always compared; ELBO and ln p(x) of the single examples are computed again.
"""
_MORE = """\
example:
  python -m vae_lib audit runs/digits
  python -m vae_lib audit published/mnist --examples 64 -k 1000

exit codes: 0 the card agrees, 1 it does not, 2 there is no card, or the command was not understood
"""


def _parser() -> Parser:
    parser = Parser(
        prog="python -m vae_lib audit",
        description=_ABOUT,
        epilog=_MORE,
    )
    add = parser.add_argument
    add("card", metavar="CARD", help="a run card, or the folder that holds card.json")
    add("--examples", type=int, metavar="N", help="recompute only the first N examples (default: all)")
    add("-k", type=int, help="recompute with fewer samples: 100 or 1000 (default: as many as the card)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add("--offline", action="store_true", help="download no data")
    add("--json", action="store_true", help="print one line of JSON, for scripts")
    return parser


def main(argv: list[str]) -> int:
    """Run the command with the words after `audit`, and return its exit code.

    Args:
        argv: The arguments, without the program and without "audit".

    Returns:
        0 if the card agrees, 1 if it does not, 2 for bad input, 130 if the user stopped it.

    Example:
        >>> main(["nowhere"])
        2
    """
    return run(_parser(), argv, _audit)


def _audit(arguments: argparse.Namespace) -> int:
    from vae_lib.cards import audit

    found = audit(
        arguments.card,
        examples=arguments.examples,
        samples=arguments.k,
        device=arguments.device,
        download=not arguments.offline,
        progress=sys.stderr.isatty() and not arguments.json,
    )
    if arguments.json:
        report = {
            "card": str(found.card.path),
            "agrees": found.agrees,
            "comparisons": len(found.comparisons),
            "disagreements": [one._asdict() for one in found.disagreements],
            "recomputed": found.recomputed,
            "samples": found.samples,
            "largest_difference": None if math.isnan(found.difference) else found.difference,
        }
        print(json.dumps(report))
    else:
        for line in found.lines():
            print(line)
    return 0 if found.agrees else 1
