"""`python -m vae_lib card`: complete the run card of a training."""

import argparse
import json
import sys

from vae_lib.commands.frame import Parser, add_evaluation, run

__all__ = ["main"]

_ABOUT = """\
Complete the run card of a training. Writes three files: card.json, model.safetensors (the weights with
the best validation ELBO, and the curve) and values.safetensors (ELBO and ln p(x) of every example).
"""
_MORE = """\
examples:
  python -m vae_lib card runs/digits
  python -m vae_lib card runs/mnist --precision float16 --out published/mnist
  python -m vae_lib audit published/mnist
"""


def _parser() -> Parser:
    parser = Parser(
        prog="python -m vae_lib card",
        description=_ABOUT,
        epilog=_MORE,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a training, or a checkpoint in it")
    add("--out", metavar="FOLDER", help="where the files go (default: the same folder)")
    add(
        "--precision",
        default="float32",
        help="float32, or float16 for a small file; the numbers are those of what is stored "
        "(default: %(default)s)",
    )
    add(
        "--again",
        action="store_true",
        help="evaluate the checkpoint of a complete card once more, with the settings on the card",
    )
    add_evaluation(parser)
    return parser


def main(argv: list[str]) -> int:
    """Run the command with the words after `card`, and return its exit code.

    Args:
        argv: The arguments, without the program and without "card".

    Returns:
        0, or 2 for bad input, 130 if the user stopped it.

    Example:
        >>> main(["nowhere"])
        2
    """
    return run(_parser(), argv, _card)


def _card(arguments: argparse.Namespace) -> None:
    from vae_lib.cards import complete_card, evaluate_again

    common = {"device": arguments.device, "progress": sys.stderr.isatty() and not arguments.json}
    if arguments.again:
        card = evaluate_again(arguments.run, **common)
    else:
        card = complete_card(
            arguments.run,
            arguments.out,
            precision=arguments.precision,
            split=arguments.split,
            examples=arguments.examples,
            binarisation=arguments.binarisation,
            k=arguments.k,
            seed=arguments.seed,
            **common,
        )
    evaluation = card.evaluation or {}
    if arguments.json:
        print(json.dumps({"card": str(card.path), **evaluation}))
        return
    print(f"card       {card.path}")
    data = evaluation["data"]
    print(f"data       {data['name']}, {data['split']}: {evaluation['examples']} examples")
    for name, label in (("elbo", "ELBO"), ("log_likelihood", "ln p(x)")):
        mean = evaluation[name]
        spread = "" if mean["standard_error"] is None else f" ± {mean['standard_error']:.2f}"
        print(f"{label:<10} {mean['value']:.2f}{spread} nats")
    worth = evaluation["effective_sample_size"]
    print(f"samples    worth {worth:.0f} of {evaluation['samples']} (median over the examples)")
