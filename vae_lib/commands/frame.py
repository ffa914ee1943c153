"""What all commands share: how they are parsed, and how they fail, in one line."""

import argparse
import io
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

__all__ = ["Parser", "Usage", "add_evaluation", "complain", "refuse_huge", "run", "start"]

_SIGPIPE = 13  # Windows has no such signal
_OUT_OF_MEMORY = re.compile("out of memory|allocate memory|[Ss]torage size calculation overflowed")


class Usage(Exception):
    """The command was not understood.

    Example:
        >>> Parser(prog="x").parse_args(["--colour"])
        Traceback (most recent call last):
        ...
        vae_lib.commands.frame.Usage: unrecognized arguments: --colour
    """


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, which guesses no abbreviations and keeps texts as written.

    Example:
        >>> parser = Parser(prog="x")
        >>> _ = parser.add_argument("--count", type=int)
        >>> parser.parse_args(["--count", "3"]).count
        3
    """

    def __init__(self, **keywords) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **keywords)

    def error(self, message: str) -> NoReturn:
        """Refuse the command."""
        raise Usage(message)


def add_evaluation(parser: Parser) -> None:
    """The options of the commands that evaluate: on which examples, and with how many samples.

    Example:
        >>> parser = Parser(prog="x")
        >>> add_evaluation(parser)
        >>> parser.parse_args(["-k", "100"]).split
        'test'
    """
    add = parser.add_argument
    add("--split", default="test", help="train, validation or test (default: %(default)s)")
    add("--examples", type=int, metavar="N", help="only the first N examples (default: all)")
    add(
        "--binarisation",
        type=int,
        metavar="SEED",
        help="draw the pixels, once, with this seed (default: 123 if the training drew them; otherwise a "
        "pixel is 1 if brighter than one half)",
    )
    add("-k", type=int, default=5000, help="importance samples for each example (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of the samples (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add("--json", action="store_true", help="print one line of JSON, for scripts")


def complain(program: str, error: BaseException | str, code: int = 2) -> int:
    """Say in one line on standard error what is wrong, and return the exit code.

    Of several processes of one run (see `vae_lib.training.processes`) the first of each machine speaks.

    Example:
        >>> complain("x", ValueError("no such thing"))
        2
    """
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    hint = f" ({program} --help explains)" if isinstance(error, Usage) else ""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{program}: {text}{hint}", file=sys.stderr)
    return code


def refuse_huge(name: str, value: object) -> None:
    """Refuse an integer that torch cannot hold; its own complaint would name no argument.

    Example:
        >>> refuse_huge("--latent", 2**63)
        Traceback (most recent call last):
        ...
        ValueError: --latent is 9223372036854775808; wanted an integer below 2**63
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is {value}; wanted an integer below 2**63")


def run(
    parser: Parser,
    argv: list[str],
    action: Callable[[argparse.Namespace], int | None],
    stopped: str | Callable[[argparse.Namespace], str] = "stopped",
) -> int:
    """Parse the words and act on them; whatever goes wrong becomes one line and an exit code.

    Args:
        parser: The parser of the command.
        argv: The words after the command.
        action: What to do with the parsed arguments, `words` among them: those that were given. It may
            return an exit code of its own.
        stopped: What to say when the user stops it, or a function of the arguments that knows.

    Returns:
        0, or 2 for bad input, 1 for a training that diverged or for too little memory, 130 if the user
        stopped it.

    Example:
        >>> run(Parser(prog="x"), [], lambda arguments: print("hello"))
        hello
        0
    """
    try:
        arguments = parser.parse_args(argv)
        options = {option.dest: option.option_strings for option in parser._actions}
        for name, value in vars(arguments).items():
            refuse_huge((options.get(name) or [f"argument {name}"])[-1], value)
        arguments.words = [*parser.prog.split(), *argv]
    except (Usage, ValueError) as error:
        return complain(parser.prog, error)
    except SystemExit:  # --help
        return 0
    from vae_lib.data import DataUnavailable
    from vae_lib.training import TrainingDiverged

    try:
        return action(arguments) or 0
    except TrainingDiverged as error:
        return complain(parser.prog, error, code=1)
    except BrokenPipeError:
        raise  # nobody reads any more; see `start`
    except (ValueError, OSError, ImportError, DataUnavailable) as error:
        for fault in getattr(error, "faults", [error]):  # a run card may have several
            complain(parser.prog, fault)
        return 2
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        return complain(parser.prog, MemoryError("not enough memory for so large a model or batch"), code=1)
    except KeyboardInterrupt:
        text = stopped(arguments) if callable(stopped) else stopped.format(**vars(arguments))
        return complain(parser.prog, RuntimeError(text), code=130)


def start(program: str, main: Callable[[], int]) -> int:
    """Run the program as a process of its own, whatever its streams are connected to.

    A letter that the encoding of the output lacks becomes "?". Where nobody reads to the end, as in
    `| head`, the program falls silent, and its exit code is that of any other in a pipe. An output that
    cannot be written, to a full disk for example, is one line.

    Example:
        >>> start("x", lambda: 0)
        0
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed, as by `2>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if name == "stdout" else "backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:  # before a command could answer it
        return complain(program, RuntimeError("stopped"), code=130)
    except BrokenPipeError:
        code = 128 + _SIGPIPE
    except OSError as error:
        code = complain(program, OSError(f"the output cannot be written ({error.strerror or error})"), code=1)
    else:
        return code
    # what could not be written would be tried again at the end, and complained about
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
