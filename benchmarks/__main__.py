"""The command line of the benchmarks: see `README.md` beside this file."""

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "benchmarks" / ".venv"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

# before torch is imported: one thread, so that CPU time means something
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

COMMANDS = {
    "install": "make benchmarks/.venv, with the peers and vae_lib",
    "training": "W1, W2 and W3: samples per second while training",
    "evaluation": "W4: images per second of ln p(x) with 5,000 samples",
    "startup": "imports and the first training step, in seconds of CPU time",
    "growth": "how time and memory grow with the data and the samples",
    "gpu": "launch gaps, share of the measured peak, ratio to pythae; needs a CUDA GPU",
}
ROUNDS = {"training": 10, "evaluation": 8, "startup": 8, "growth": 3, "gpu": 8}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m benchmarks", description="Measure vae_lib against its peers.")
    commands = made.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "install":
            continue
        command.add_argument("--tiny", action="store_true", help="seconds: the shape of the table only")
        command.add_argument("--rounds", type=_positive, help=f"turns for each (default {ROUNDS[name]})")
        command.add_argument("--out", type=Path, default=ROOT / "_build" / "benchmarks", help="a folder")
        if name == "training":
            command.add_argument("--only", default="", help="such as W1,W2")
    return made


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; wanted a whole number of at least 1")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.command == "install":
        from benchmarks.install import install

        return install(ENVIRONMENT, PYTHON)

    import torch

    from vae_lib.data.store import DataUnavailable

    torch.set_num_threads(1)
    options.rounds = options.rounds or (1 if options.tiny else ROUNDS[options.command])
    try:
        return _measure(options)
    except DataUnavailable as error:
        print(f"benchmarks: {error}; or see the shape of the table with --tiny", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _measure(options: argparse.Namespace) -> int:
    import importlib

    from benchmarks.machine import describe

    module = importlib.import_module(f"benchmarks.{options.command}")
    document = {"command": options.command, "rounds": options.rounds, "tiny": options.tiny}
    document["machine"] = describe()
    if problem := getattr(module, "unfit", lambda _: None)(options.tiny):
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    more = {"only": [name for name in options.only.split(",") if name]} if "only" in options else {}
    if options.command == "growth":
        more["out"] = options.out
    document["tables"] = []
    for report in module.reports(options.rounds, options.tiny, **more):
        print(report.table(), flush=True)
        document["tables"].append(report.as_json())
    file = options.out / f"{options.command}.json"
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    print(f"written: {shown}")
    return 0


def in_the_environment_of_the_benchmarks() -> None:
    """Go on in benchmarks/.venv where there is one and this is another Python."""
    if PYTHON.exists() and Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        os.execv(PYTHON, [str(PYTHON), "-m", "benchmarks", *sys.argv[1:]])


if __name__ == "__main__":
    if sys.argv[1:2] != ["install"]:
        in_the_environment_of_the_benchmarks()
    sys.exit(main())
