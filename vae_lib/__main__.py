"""`python -m vae_lib`: train a model, evaluate it, sample from it, audit what is said of it."""

import importlib
import sys

import vae_lib.commands
from vae_lib.commands.frame import Parser, Usage, complain, start

__all__ = ["main"]

_ABOUT = """\
Variational auto-encoders, checked against exact answers.

commands:
  train      train a VAE and keep checkpoints
  evaluate   ELBO and ln p(x) of a trained model, with standard errors
  sample     draw examples from a trained model
  card       complete the run card of a training: what its model is worth
  audit      recompute what a run card reports, and say whether it is so
  data       the data sets: which there are, download, verify

`python -m vae_lib COMMAND --help` explains a command.
"""
_MORE = """\
example, half a minute and no download:
  python -m vae_lib train --out runs/digits
  python -m vae_lib evaluate runs/digits
  python -m vae_lib sample runs/digits --out samples.png
"""
_COMMANDS = ("train", "evaluate", "sample", "card", "audit", "data")
_PROGRAM = "python -m vae_lib"


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        argv: The words after the program; by default those it was started with.

    Returns:
        0 if all is well, 2 if the input was bad, 1 if something else failed, 130 if the user stopped
        it. As a process also 141, if nobody reads its output to the end.

    Example:
        >>> main(["--version"])
        vae_lib 0.1.0
        0
    """
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in _COMMANDS:
        return importlib.import_module(f"vae_lib.commands.{words[0]}").main(words[1:])
    parser = Parser(
        prog=_PROGRAM,
        usage=f"{_PROGRAM} COMMAND ...",
        description=_ABOUT,
        epilog=_MORE,
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    try:
        if words and not words[0].startswith("-"):
            raise Usage(f"there is no command {words[0]!r}; wanted one of: {', '.join(_COMMANDS)}")
        arguments = parser.parse_args(words)
    except Usage as error:
        return complain(_PROGRAM, error)
    except SystemExit:  # --help
        return 0
    if arguments.version:
        print(f"vae_lib {vae_lib.__version__}")
    else:
        parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(start(_PROGRAM, main))
