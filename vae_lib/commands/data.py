"""`python -m vae_lib data`: which sets there are, where they lie, and whether they are whole."""

import json
import os
import sys

from vae_lib.commands.frame import Parser, Usage, complain
from vae_lib.data.faults import DataUnavailable, fault
from vae_lib.data.sources import SETS, DataSet
from vae_lib.data.store import fetch, places

__all__ = ["main"]

_ABOUT = """\
The data sets of the course.

  list          every set: how many images, how large, where it was found (the default)
  get NAME ...  find or download a set and verify it
  check         verify every file that is found (check NAME ...: of these sets)
"""
_MORE = """\
Files are looked for in the folder VAE_LIB_DATA (only ever read), then in the cache (VAE_LIB_CACHE,
or your own cache folder), and are then downloaded into the cache.

exit codes: 0 all is well, 1 a file is missing or wrong, 2 the command was not understood
"""


def _parser() -> Parser:
    parser = Parser(
        prog="python -m vae_lib data",
        description=_ABOUT,
        epilog=_MORE,
    )
    parser.add_argument("action", nargs="?", default="list", help="list, get or check")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(SETS)}")
    parser.add_argument("--cache", metavar="FOLDER", help="the folder for downloads")
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    return parser


def main(argv: list[str]) -> int:
    """Run the command with the words after `data`, and return its exit code.

    Args:
        argv: The arguments, without the program and without "data".

    Returns:
        0, or 1 if a file is missing or wrong, or 2 if the command was not understood.

    Example:
        >>> main(["get", "digits"])
        digits: needs no file
        0
    """
    parser = _parser()
    try:
        # intermixed, so that options may stand between the names
        arguments = parser.parse_intermixed_args(argv)
        sets = _chosen(arguments.action, arguments.names)
    except Usage as error:
        return complain(parser.prog, error)
    except SystemExit:  # --help
        return 0
    run = {"list": _list, "get": _get, "check": _check}[arguments.action]
    try:
        report, lines, bad = run(sets, arguments.cache, bool(arguments.names))
    except KeyboardInterrupt:
        return complain(parser.prog, "stopped", code=130)
    if arguments.json:
        print(json.dumps(report, indent=2))  # ASCII: it passes through any encoding
    else:
        for line in lines:
            print(line)
    for line in bad:
        print(f"{parser.prog}: {line}", file=sys.stderr)
    return 1 if bad else 0


def _chosen(action: str, names: list[str]) -> list[DataSet]:
    if action not in ("list", "get", "check"):
        raise Usage(f"action is {action!r}; wanted one of: list, get, check")
    for name in names:
        if name not in SETS:
            raise Usage(f"name is {name!r}; wanted one of: {', '.join(SETS)}")
    if action == "get" and not names:
        raise Usage(f"get needs a name; wanted one of: {', '.join(SETS)}")
    return [SETS[name] for name in dict.fromkeys(names)] or list(SETS.values())


Report = tuple[list[dict], list[str], list[str]]  # for scripts; for people; what is wrong


def _found(one: DataSet, cache: str | None) -> tuple[dict[str, str], list[str]]:
    """The path of each file that is there, and the names of those that are not."""
    found = {}
    for file in one.files:
        here = (path for _, path in places(file, cache) if path is not None and os.path.isfile(path))
        path = next(here, None)
        if path is not None:
            found[file.path] = str(path)
    return found, [file.path for file in one.files if file.path not in found]


def _list(sets: list[DataSet], cache: str | None, named: bool) -> Report:
    report, lines = [], []
    for one in sets:
        found, missing = _found(one, cache)
        address = all(file.mirrors for file in one.files)
        if not one.files:
            where = "found: needs no file"
        elif not missing:
            where = f"found: {sorted(found.values())[0].rsplit('/', 1)[0]}"
        else:
            partly = f"{len(missing)} of {len(one.files)} files not found" if found else "not found"
            hint = f"python -m vae_lib data get {one.name}" if address else "set VAE_LIB_DATA"
            where = f"{partly}: {hint}"
        lines.append(f"{one.name:<16}{one.images:>7,}  {one.size:<21} {where}")
        lines.append(f"{'':<25}licence: {one.licence}")
        lines.append(f"{'':<25}source: {one.source}")
        report.append(
            {
                "name": one.name,
                "images": one.images,
                "size": one.size,
                "bytes": sum(file.size for file in one.files),
                "found": found,
                "missing": missing,
                "available": not missing,
                "downloadable": address,
                "licence": one.licence,
                "source": one.source,
            }
        )
    return report, lines, []


def _get(sets: list[DataSet], cache: str | None, named: bool) -> Report:
    report, lines, bad = [], [], []
    for one in sets:
        if not one.files:
            lines.append(f"{one.name}: needs no file")
        for file in one.files:
            try:
                _, origin = fetch(file, cache=cache)
            except DataUnavailable as error:
                bad.append(str(error))
                report.append({"file": file.path, "ok": False, "error": str(error)})
                break  # the other files of the set would fail for the same reason, as slowly
            lines.append(f"{file.path}: verified, from {origin}")
            report.append({"file": file.path, "ok": True, "from": origin})
    return report, lines, bad


def _check(sets: list[DataSet], cache: str | None, named: bool) -> Report:
    report, lines, bad = [], [], []
    for one in sets:
        for file in one.files:
            here = [path for _, path in places(file, cache) if path is not None and os.path.isfile(path)]
            for path in here:
                try:
                    wrong = fault(file, path.read_bytes())
                except OSError as error:
                    wrong = f"cannot be read ({error.strerror})"
                report.append({"file": file.path, "path": str(path), "ok": wrong is None, "error": wrong})
                if wrong is None:
                    lines.append(f"{path}: verified")
                else:
                    bad.append(f"{path} {wrong}")
            if not here:
                lines.append(f"{file.path}: not found")
                report.append({"file": file.path, "path": None, "ok": False, "error": "not found"})
                if named:
                    bad.append(f"{file.path} is not found")
    return report, lines, bad
