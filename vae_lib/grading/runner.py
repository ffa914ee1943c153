"""What happens in the process of one submission: its cells are run in IPython, the tests beside it.

The student's cells go through IPython, as in a notebook. The tests do not: they are compiled from our own
text and run in a namespace of their own, in which the student's names are visible but the names of the
tests, of the set-up and of Python are ours. Before every test, what the student's code has replaced in
the libraries is put back, and told.

This makes the cheap tricks fail. It is no proof against a determined one: the code of a student and the
code of the tests run in one process.
"""

from __future__ import annotations

import ast
import builtins
import dis
import gc
import io
import json
import linecache
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

from vae_lib.exercises import CheckResult, check
from vae_lib.grading.confine import confine, readable

__all__ = ["run"]

LARGEST_OUTPUT = 100_000  # characters of one cell
MOST_LINES = 200
LARGEST_PICTURE = 1_000_000


class _Channel:
    """Where the outputs go: lines of JSON to the grader."""

    def __init__(self, fd: int):
        self._fd = fd
        self._home = os.getpid()  # a fork of the student's is not heard
        self.cell = -1
        self.met: set[str] = set()  # the limits that this cell came up against
        self._characters = self._lines = 0

    def tell(self, **message: Any) -> None:
        if os.getpid() != self._home:
            return
        data = json.dumps({"cell": self.cell, **message}).encode() + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]

    def stay_alone(self) -> None:
        """End a fork that has come out of its cell: it must not take the turn of the one that is graded."""
        if os.getpid() != self._home:
            os._exit(0)

    def ask(self) -> dict[str, str]:
        """The source of the test whose turn it is, and the key with which its end is told."""
        self.tell(ask=True)
        told = b""
        while not told.endswith(b"\n"):
            got = os.read(self._fd, 1 << 16)
            if not got:
                raise SystemExit("the grader has gone")
            told += got
        return dict(json.loads(told))

    def begin(self, cell: int) -> None:
        self.cell, self._characters, self._lines = cell, 0, 0
        self.met.clear()
        self.tell(begin=True, used=time.process_time())

    def text(self, name: str, text: str) -> None:
        if self._characters >= LARGEST_OUTPUT or self._lines >= MOST_LINES:
            return
        lines = text[: LARGEST_OUTPUT - self._characters].splitlines(keepends=True)
        kept = "".join(lines[: MOST_LINES - self._lines])
        self._characters += len(kept)
        self._lines += kept.count("\n")
        if self._characters >= LARGEST_OUTPUT or self._lines >= MOST_LINES:
            kept += "\n… the rest of this output was cut\n"
        self.tell(output={"output_type": "stream", "name": name, "text": kept})

    def display(self, kind: str, data: Mapping[str, Any], metadata: Any = None, **more: Any) -> None:
        kept = {mime: value for mime, value in data.items() if len(str(value)) <= LARGEST_PICTURE}
        self._characters += sum(len(str(value)) for value in kept.values())
        if self._characters <= 10 * LARGEST_PICTURE:
            self.tell(output={"output_type": kind, "data": kept, "metadata": dict(metadata or {}), **more})


class _Stream(io.TextIOBase):
    """Standard output, as the outputs of a cell."""

    encoding = "utf-8"

    def __init__(self, channel: _Channel, name: str):
        self._channel, self._name, self._held = channel, name, ""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        # some want a descriptor; as in a notebook, what is written there is not seen
        return 2 if self._name == "stderr" else 1

    def write(self, text: str) -> int:
        self._held += str(text)
        if len(self._held) > 8192:
            self.flush()
        return len(text)

    def flush(self) -> None:
        held, self._held = self._held, ""
        if held:
            self._channel.text(self._name, held)


_channel: _Channel


class _Publisher(DisplayPublisher):
    def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **more):
        _channel.display("display_data", _plain(data), metadata)


class _Hook(DisplayHook):
    def write_output_prompt(self):
        pass

    def write_format_data(self, format_dict, md_dict=None):
        count = _Shell.instance().execution_count
        _channel.display("execute_result", _plain(format_dict), md_dict, execution_count=count)


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a display as JSON has them: bytes become base64."""
    import base64

    return {
        mime: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for mime, value in data.items()
    }


class _Shell(InteractiveShell):
    display_pub_class = Type(_Publisher)
    displayhook_class = Type(_Hook)

    def ask_exit(self):
        raise SystemExit("the notebook asked to quit")

    def system(self, cmd):
        # IPython's own wants a terminal
        done = subprocess.run(
            self.var_expand(cmd, depth=1),
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        print(done.stdout, end="")
        self.user_ns["_exit_code"] = done.returncode

    def enable_gui(self, gui=None):
        pass

    def showtraceback(self, exc_tuple=None, *_, **__):
        # IPython's own takes seconds for an endless recursion
        error = sys.exc_info()[1] if exc_tuple is None else exc_tuple[1]
        assert error is not None
        name = type(error).__name__
        _tell_error(name, _words(error), [f"{name}: {_words(error)}", *_own_frames(error.__traceback__)])

    def _format_exception_for_storage(self, exception, *_, **__):
        return {"ename": type(exception).__name__, "evalue": _words(exception), "traceback": []}

    def showsyntaxerror(self, filename=None, running_compiled_code=False):
        error = sys.exc_info()[1]
        assert error is not None
        _tell_error(type(error).__name__, _words(error), traceback.format_exception_only(error))


def _own_frames(trace: Any, most: int = 5) -> list[str]:
    """The last lines of the student's own code in a traceback."""
    found: deque[str] = deque(maxlen=most)
    while trace is not None:
        code = trace.tb_frame.f_code
        if "ipython-input" in code.co_filename:
            line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            found.append(f"    line {trace.tb_lineno}, in {code.co_name}: {line}")
        trace = trace.tb_next
    return list(found)


def _tell_error(name: str, value: str, lines: list[str]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    _channel.tell(
        output={
            "output_type": "error",
            "ename": name[:200],
            "evalue": value[:2000],
            "traceback": [line[:1000] for line in lines[-60:]],
        }
    )


# ---------------------------------------------------------------------------------------------------
# What the student's code must not change


class Guard:
    """Remembers what the libraries' names stood for, and puts it back.

    Of the public libraries it keeps the public names, of the checker everything: private names, the
    attributes of its classes and the code of its functions.
    """

    MODULES = ("builtins", "math", "operator", "numpy", "torch", "scipy", "vae_lib", "statistics")
    FREE = ("torch.Storage",)  # torch.set_default_dtype changes it
    PRIVATE = ("__import__", "__build_class__")
    STATE = (dict, list, set, bool, type(None))  # a library keeps its own settings in these
    CHECKER = ("vae_lib.exercises", "vae_lib.grading")

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._kept: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._code: list[tuple[str, FunctionType, tuple[Any, ...]]] = []
        classes: list[type] = [torch.Tensor, InteractiveShell, type(shell)]
        for name, module in list(sys.modules.items()):
            root = name.split(".")[0]
            private = any(part.startswith("_") for part in name.split("."))
            if root not in self.MODULES or private:
                continue
            whole = name.startswith(self.CHECKER)
            self._kept[name] = module, dict(self._names(module, whole))
            for value in list(vars(module).values()):
                if isinstance(value, FunctionType) and value.__module__ == name:
                    self._code.append((f"{name}.{value.__name__}", value, self._inside(value)))
                elif whole and isinstance(value, type) and value.__module__ == name:
                    classes.append(value)
        for owner in classes:
            self._kept[f"{owner.__module__}.{owner.__qualname__}"] = owner, dict(vars(owner))
        self._own = set(vars(shell))

    @classmethod
    def _names(cls, module: Any, whole: bool) -> Iterator[tuple[str, Any]]:
        for name, value in list(vars(module).items()):
            public = not name.startswith("_") or name in cls.PRIVATE
            if (whole and not name.startswith("__")) or (public and not isinstance(value, cls.STATE)):
                yield name, value

    @staticmethod
    def _inside(function: FunctionType) -> tuple[Any, ...]:
        return function.__code__, function.__defaults__, function.__kwdefaults__

    def restore(self) -> list[str]:
        """Put everything back; returns what had been replaced."""
        changed = []
        for label, (owner, kept) in self._kept.items():
            if not isinstance(owner, type) and sys.modules.get(label) is not owner:
                changed.append(label)
                sys.modules[label] = owner
            now = vars(owner)
            for name, value in kept.items():
                if now.get(name) is not value and f"{label}.{name}" not in self.FREE:
                    changed.append(f"{label}.{name}")
                    setattr(owner, name, value)
            if isinstance(owner, type):  # a name that was inherited can be covered by a new one
                for name in [name for name in now if name not in kept and name != "__slotnames__"]:
                    changed.append(f"{label}.{name}")
                    delattr(owner, name)
        for label, function, inside in self._code:
            if function.__code__ is not inside[0] or self._inside(function) != inside:
                changed.append(label)
                function.__code__, function.__defaults__, function.__kwdefaults__ = inside
        for name in set(vars(self._shell)) - self._own:
            if callable(getattr(type(self._shell), name, None)):
                changed.append(f"get_ipython().{name}")
                delattr(self._shell, name)
        return changed


class Tests:
    """Runs the tests of the assignment beside the student's names."""

    def __init__(self, channel: _Channel):
        self._channel = channel
        self._names: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        self._python = {name for name in vars(builtins) if not name.startswith("_")}

    def set_up(self, source: str) -> None:
        """Run a set-up cell before any code of the student."""
        exec(compile(source, "set-up", "exec"), self._names)

    def _namespace(self, theirs: Mapping[str, Any]) -> dict[str, Any]:
        seen = {name: value for name, value in theirs.items() if name not in self._python}
        return {**seen, **self._names}

    def run(self, source: str, grade_id: str, theirs: Mapping[str, Any]) -> None:
        """Run a test cell; raises what it raises. The verdicts of its visible checks are told first.

        The test runs statement by statement. What a statement does not assign itself must be the same
        afterwards: a function of the student's can reach the names of its caller.
        """
        space = self._namespace(theirs)
        for code, shown in _statements(source, grade_id):
            if shown:
                eval(code, {**space, "check": self._check})
                continue
            before = dict(space)
            exec(code, space)
            own = _assigned(code)
            watched = space.keys() - own - {"__warningregistry__", "__annotations__"}
            changed = sorted(n for n in watched if space[n] is not before.get(n, _NOTHING))
            if changed or len(space) < len(before):
                raise AssertionError(f"the answer changes {changed[:1] or 'the names'} of its test")
            self._names.update({name: space[name] for name in own if name in space})

    def _check(self, number: str, *answers: Any, seed: int | None = None) -> CheckResult:
        # the same inputs on every day, so that a report can be made again
        result = check(number, *answers, seed=20_000 if seed is None else seed)
        self._channel.tell(
            verdict={
                "exercise": number,
                "status": result.status,
                "mistake": result.mistake,
                "message": str(result.message)[:2000],
                "details": [str(line)[:2000] for line in result.details][:40],
            }
        )
        html = result._repr_html_()
        self._channel.display("display_data", {"text/plain": repr(result), "text/html": html})
        return result


_NOTHING = object()


def _assigned(code: CodeType) -> set[str]:
    """The names that a statement assigns, imports or defines."""
    return {
        step.argval for step in dis.get_instructions(code) if step.opname in ("STORE_NAME", "STORE_GLOBAL")
    }


def _statements(source: str, grade_id: str) -> Iterator[tuple[CodeType, bool]]:
    """The statements of a test, each compiled; True for those that are a call of `check`."""
    for statement in ast.parse(source).body:
        if (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Call)
            and isinstance(statement.value.func, ast.Name)
            and statement.value.func.id == "check"
        ):
            yield compile(ast.Expression(statement.value), grade_id, "eval"), True
        else:
            yield compile(ast.Module([statement], []), grade_id, "exec"), False


# ---------------------------------------------------------------------------------------------------


def _limit(job: Mapping[str, Any]) -> None:
    """Memory, size of files, core dumps. The grader watches over time and processes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_bytes"],) * 2)
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + job["memory_bytes"],) * 2)


def _quiet_descriptors() -> None:
    """Standard input is empty; what goes past Python to the descriptors is lost."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def run(job: Mapping[str, Any], results: int) -> None:
    """Run the cells of a job and tell the outcome; returns when all are done."""
    global _channel
    work, home = f"{job['folder']}/work", f"{job['folder']}/home"
    os.mkdir(home)
    os.chdir(work)
    for name in ("HOME", "TMPDIR", "MPLCONFIGDIR", "IPYTHONDIR", "TORCHINDUCTOR_CACHE_DIR"):
        os.environ[name] = home
    tempfile.tempdir = home
    sys.path.append(work)  # last, so that no file of the student's stands before a library
    _quiet_descriptors()
    _limit(job)
    if job["confine"]:
        confine(readable(), Path(job["folder"]))
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    _channel = channel = _Channel(results)
    # a file that grows too large is an ordinary error, whose text need not tell what it is
    signal.signal(signal.SIGXFSZ, lambda *_: channel.met.add("file"))
    settings = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
    shell = _Shell.instance(user_ns={"__name__": "__main__"}, config=settings)
    guard, tests = Guard(shell), Tests(channel)
    for cell in job["cells"]:
        if cell["role"] == "setup":
            tests.set_up(cell["source"])
    hooks = _hooks(shell)
    # held here, so that nobody replaces them by a name, and frozen, so that nobody finds them by looking
    run_cell, restore, test = _run_cell, guard.restore, tests.run
    gc.freeze()
    for place, cell in enumerate(job["cells"]):
        if place in job["skip"]:
            continue
        run_cell(channel, restore, test, shell, place, cell)
        if cell["role"] not in ("test", "setup") and _hooks(shell) != hooks:
            hooks = _hooks(shell)
            channel.tell(flag="the notebook changes how cells are run; the tests were run without that")
    channel.tell(done=True)


def _hooks(shell: InteractiveShell) -> tuple[int, ...]:
    manager = shell.input_transformer_manager
    return (
        len(manager.cleanup_transforms),
        len(manager.line_transforms),
        len(manager.token_transformers),
        len(shell.input_transformers_post),
        len(shell.ast_transformers),
    )


def _run_cell(
    channel: _Channel,
    restore: Callable[[], list[str]],
    test: Callable[[str, str, Mapping[str, Any]], None],
    shell: InteractiveShell,
    place: int,
    cell: Mapping[str, Any],
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stdout, stderr = _Stream(channel, "stdout"), _Stream(channel, "stderr")
    sys.stdout, sys.stderr = stdout, stderr
    began = time.monotonic()
    channel.begin(place)
    error: str | None = None
    key = ""
    try:
        if cell["role"] == "test":
            _put_back(channel, restore)
            turn = channel.ask()
            key = turn["key"]
            test(turn["source"], cell["grade_id"], shell.user_ns)
            replaced = _put_back(channel, restore)
            if any(
                name.startswith(("vae_lib.exercises", "vae_lib.grading", "builtins")) for name in replaced
            ):
                raise AssertionError(f"the answer replaces {replaced[0]} while it is tested")
        else:
            outcome = shell.run_cell(cell["source"], store_history=True)
            if not outcome.success:
                raised = outcome.error_before_exec or outcome.error_in_exec
                channel.met |= _limits_met(raised)
                error = f"{type(raised).__name__}: {raised}"
    except BaseException as raised:
        channel.met |= _limits_met(raised)
        error = f"{type(raised).__name__}: {_words(raised)}"
        if cell["role"] == "test":
            _tell_error(type(raised).__name__, _words(raised), _traceback(raised, cell))
    _stop_timers()
    channel.stay_alone()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # between cells nothing is interrupted
    sys.stdout, sys.stderr = stdout, stderr
    stdout.flush()
    stderr.flush()
    channel.tell(
        end=True,
        key=key,
        error=None if error is None else error[:500],
        met=sorted(channel.met),
        seconds=time.monotonic() - began,
    )


TIMERS = (
    (signal.SIGALRM, signal.ITIMER_REAL),
    (signal.SIGVTALRM, signal.ITIMER_VIRTUAL),
    (signal.SIGPROF, signal.ITIMER_PROF),
)


def _stop_timers(setitimer=signal.setitimer, handle=signal.signal) -> None:
    """Timers that a cell has set end with it: else an alarm rings in one later cell or another."""
    for number, timer in TIMERS:
        for _ in range(100):
            try:
                handle(number, signal.SIG_IGN)
                setitimer(timer, 0)
                handle(number, signal.SIG_DFL)
                break
            except BaseException:  # it rang meanwhile
                continue


def _put_back(channel: _Channel, restore: Callable[[], list[str]]) -> list[str]:
    replaced = sorted(restore())
    if replaced:
        channel.tell(flag=f"the notebook replaces {', '.join(replaced[:3])}; the tests were run without that")
    return replaced


_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "bad_alloc", "can't start new thread")


def _limits_met(raised: BaseException | None) -> set[str]:
    """The limits of ours that an error speaks of, it or one that it was raised from or beside."""
    met: set[str] = set()
    waiting: list[BaseException | None] = [raised]
    seen: set[int] = set()
    while waiting and len(seen) < 100:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        words = _words(error)
        if isinstance(error, MemoryError) or any(word in words for word in _NO_MEMORY):
            met.add("memory")
        if "SIGXFSZ" in words:  # a process that it started
            met.add("file")
        waiting += [error.__cause__, error.__context__]
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
    return met


def _words(raised: BaseException) -> str:
    try:
        return str(raised)
    except BaseException:
        return "(an error that cannot be written out)"


def _traceback(raised: BaseException, cell: Mapping[str, Any]) -> list[str]:
    """Where in the student's code a test failed; nothing of the test's own text."""
    head = f"{cell['grade_id']}: {type(raised).__name__}: {_words(raised)}"
    return [head, *_own_frames(raised.__traceback__)]
