"""Run a rebuilt submission in a process of its own, and survive whatever it does.

Every cell has a time limit. Then it is interrupted, and if it does not listen it is killed. After a
killed or dead process a new one runs the cells that the others need, without the one that was fatal, and
goes on behind it: a fatal cell costs its own points and not those of the others.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from vae_lib.grading.confine import available

__all__ = ["Execution", "Limits", "Worker"]


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        timeout: seconds for one cell; on a busy machine, of the processor.
        total: seconds for all of them, by the clock.
        grace: seconds between an interrupt and the end.
        memory_bytes: beyond what the loaded libraries take.
        output_bytes: all outputs together, as they are kept.
        file_bytes: the largest file that may be written.
        disk_bytes: all files together.
        files: how many of them, folders included.
        processes: how many there may be.
        deaths: how often the process may die before the rest is given up.
    """

    timeout: float | int = 30.0
    total: float | int = 300.0
    grace: float | int = 2.0
    memory_bytes: int = 2_000_000_000
    output_bytes: int = 20_000_000
    file_bytes: int = 100_000_000
    disk_bytes: int = 500_000_000
    files: int = 10_000
    processes: int = 32
    deaths: int = 3


@dataclass
class Execution:
    """What came of it.

    Attributes:
        outputs: of every cell, in nbformat's form.
        errors: the error of a cell that failed, None for one that ran; a cell that was never reached is
            missing.
        verdicts: what the checks said, in order.
        flags: what somebody should look at, in words.
        seconds: by the clock.
    """

    outputs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    errors: dict[int, str | None] = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    seconds: float | int = 0.0

    def flag(self, text: str) -> None:
        """Note something, once."""
        if text not in self.flags:
            self.flags.append(text)


# puts a command into a sandbox, in which it may write into one folder
Wrapper = Callable[[list[str], Path], list[str]]


class Broken(RuntimeError):
    """The server cannot be started or talked to."""


_PREFIX = "vae-grading-"


def _remove_what_is_left() -> None:
    """The scratch folders of graders that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        number = folder.name.removeprefix(_PREFIX).split("-")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, however deep it is, and whatever its owner may do there."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            subprocess.run([*command, "--", str(folder)], stderr=subprocess.DEVNULL, check=False)


def _server_of(pid: int) -> psutil.Process | None:
    """The server itself, which in a sandbox is not the process that was started."""
    try:
        started = psutil.Process(pid)
        for process in (started, *started.children(recursive=True)):
            words = process.cmdline()
            if "vae_lib.grading.server" in words and "--" not in words:
                return process
    except psutil.Error:
        pass
    return None


class Worker:
    """One server, and the submissions that it runs one after the other.

    Args:
        limits: for each of them.
        wrap: puts the server into a sandbox; by default there is none.
    """

    def __init__(self, limits: Limits | None = None, wrap: Wrapper | None = None):
        self.limits = limits or Limits()
        self._wrap = wrap
        _remove_what_is_left()
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._aborted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._server: psutil.Process | None = None
        self._control: socket.socket | None = None
        self._told = b""

    def close(self) -> None:
        """End the server and remove its scratch folder."""
        self._stop()
        _remove(self._scratch)

    def abort(self) -> None:
        """End whatever runs, from another thread; the run in progress raises `Broken`."""
        self._aborted = True
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _start(self) -> socket.socket:
        if self._aborted:
            raise Broken("the grading was stopped")
        ours, theirs = socket.socketpair()
        # OMP_NUM_THREADS: threads of a library would not survive the fork
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "MPLBACKEND": "agg",
            "MPLCONFIGDIR": str(self._scratch / ".matplotlib"),
            "HOME": str(self._scratch),
            "LANG": "C.UTF-8",
        }
        environment |= {name: os.environ[name] for name in ("VAE_LIB_DATA",) if name in os.environ}
        command = [sys.executable, "-P", "-m", "vae_lib.grading.server", str(theirs.fileno())]
        if self._wrap is not None:
            command = self._wrap(command, self._scratch)
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd=self._scratch,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._control, self._told = ours, b""
        ours.settimeout(120)
        if self._hear() != {"ready": True}:
            self._stop()
            raise Broken("the process that runs the submissions does not start")
        self._server = _server_of(self._process.pid)
        return ours

    def inside(self) -> list[psutil.Process]:
        """The processes of the submission that runs."""
        try:
            return [] if self._server is None else self._server.children(recursive=True)
        except psutil.Error:
            return []

    def _hear(self) -> dict[str, Any] | None:
        """The next line of the server; None when it is gone or silent."""
        assert self._control is not None
        while b"\n" not in self._told:
            try:
                got = self._control.recv(4096)
            except OSError:
                return None
            if not got:
                return None
            self._told += got
        line, self._told = self._told.split(b"\n", 1)
        return dict(json.loads(line))

    def run(self, cells: Sequence[Mapping[str, Any]], files: Path | None = None) -> Execution:
        """Run cells, each with "source", "role" ("setup", "answer", "own" or "test") and "grade_id".

        Args:
            cells: in order.
            files: a folder whose small files lie beside the notebook.
        """
        execution = Execution()
        skip: set[int] = set()
        deaths = 0
        while True:
            fatal = self._attempt(cells, skip, files, execution)
            if fatal is None:
                break
            deaths += 1
            out_of_time = execution.seconds > self.limits.total
            if fatal < 0 or deaths > self.limits.deaths or out_of_time:
                reason = ": out of time" if out_of_time else ""
                execution.flag(f"the rest of the notebook was not run{reason}")
                break
            # tests before the fatal cell are done; what the others need is run again
            skip = {i for i in range(fatal) if cells[i]["role"] == "test"} | skip | {fatal}
        return execution

    def _attempt(
        self,
        cells: Sequence[Mapping[str, Any]],
        skip: set[int],
        files: Path | None,
        execution: Execution,
    ) -> int | None:
        """One process; the number of the cell that was fatal, -1 if none had begun, None if all is done."""
        control = self._control or self._start()
        folder = Path(tempfile.mkdtemp(dir=self._scratch, prefix="run-"))
        try:
            (folder / "work").mkdir()
            _copy_small_files(files, folder / "work")
            job = {
                # a test is told when it is its turn, so that no cell before it can read it
                "cells": [{**cell, "source": ""} if cell["role"] == "test" else cell for cell in cells],
                "skip": sorted(skip),
                "folder": str(folder),
                "memory_bytes": self.limits.memory_bytes,
                "file_bytes": self.limits.file_bytes,
                "confine": available(),
            }
            # beside the folder: the child must not change what it is given
            path = folder.with_suffix(".json")
            path.write_text(json.dumps(job), encoding="utf-8")
            ours, theirs = socket.socketpair()
            with ours, theirs:
                try:
                    message = json.dumps({"job": str(path)}).encode()
                    socket.send_fds(control, [message], [theirs.fileno()])
                except OSError:
                    self._stop()
                    raise Broken("the process that runs the submissions has gone") from None
                theirs.close()
                began = time.monotonic()  # the start of a server is not the student's
                watch = _Watch(self, control, ours, cells, execution, began - execution.seconds, folder)
                fatal = watch.follow()
                execution.seconds += time.monotonic() - began
            if watch.server_lost:
                self._stop()
            if self._aborted:
                raise Broken("the grading was stopped")
            return fatal
        finally:
            _remove(folder)
            folder.with_suffix(".json").unlink(missing_ok=True)


class _Watch:
    """Follows one process from its first cell to its end."""

    def __init__(
        self,
        worker: Worker,
        control: socket.socket,
        results: socket.socket,
        cells: Sequence[Mapping[str, Any]],
        execution: Execution,
        began: float | int,
        folder: Path,
    ):
        self._worker, self._limits = worker, worker.limits
        self._control, self._results = control, results
        self._cells, self._execution, self._began = cells, execution, began
        self._folder = folder
        self._cell = -1
        self._running = False
        self._start = time.monotonic()
        self._used_before = 0.0
        self._key = ""
        self._deadline = time.monotonic() + self._limits.timeout
        self._interrupted = False
        self._killed = ""
        self._bytes = 0
        self._done = False
        self._buffer = b""
        self.server_lost = False

    def follow(self) -> int | None:
        self._results.settimeout(0.25)
        open_ = True
        looked = time.monotonic()
        while open_:
            try:
                got = self._results.recv(1 << 16)
                open_ = bool(got)
                self._take(got)
            except TimeoutError:
                pass
            except OSError:
                open_ = False
            now = time.monotonic()
            if now - looked > 0.5:
                looked = now
                self._look_at_processes()
            if self._done:
                self._kill("")
            self._watch_the_clock(now)
            if self._killed or self._done:
                break
        status = self._ended()
        if self._done:
            return None
        reason = self._killed or _died(status)
        where = self._label()
        self._execution.flag(f"{reason}{where}")
        if self._cell >= 0:
            self._execution.errors[self._cell] = reason
            self._execution.outputs.setdefault(self._cell, []).append(
                {"output_type": "error", "ename": "Ended", "evalue": reason, "traceback": [reason]}
            )
        return self._cell

    def _is_test(self) -> bool:
        return bool(self._cells[self._cell]["role"] == "test")

    def _label(self) -> str:
        if self._cell < 0:
            return " before the first cell"
        cell = self._cells[self._cell]
        return f" in {cell['grade_id']}" if cell["grade_id"] else " in a cell of the student's own"

    def _ended(self) -> int | None:
        """The exit status of the child, once the server has tidied up."""
        self._control.settimeout(30)
        told = self._worker._hear()
        if told is None:
            self.server_lost = True
            return None
        return int(told["exit"])

    def _kill(self, reason: str) -> None:
        self._killed = self._killed or reason
        try:
            self._control.sendall(b"k")
        except OSError:
            self.server_lost = True

    def _watch_the_clock(self, now: float | int) -> None:
        if self._done or self._killed:
            return
        if now - self._began > self._limits.total:
            self._kill(f"stopped after {self._limits.total:g} s for all cells")
        elif now > self._deadline:
            if not self._interrupted and self._running and self._waits_for_its_turn(now):
                self._deadline = now + 0.5
            elif self._interrupted or not self._running:
                self._kill(f"did not listen to an interrupt after {self._limits.timeout:g} s")
            else:
                self._interrupted = True
                self._deadline = now + self._limits.grace
                try:
                    self._control.sendall(b"i")
                except OSError:
                    self.server_lost = True

    def _waits_for_its_turn(self, now: float | int) -> bool:
        """Whether a cell works, but slowly: on a busy machine it has more time by the clock."""
        passed = now - self._start
        used = sum(map(_processor_time, self._worker.inside())) - self._used_before
        return 0.05 * passed < used < 0.95 * self._limits.timeout and passed < 5 * self._limits.timeout

    def _look_at_processes(self) -> None:
        if self._done or self._killed:
            return
        inside = self._worker.inside()
        if len(inside) > self._limits.processes:
            self._kill(f"started more than {self._limits.processes} processes")
        elif len(inside) > 1 and sum(map(_own_memory, inside)) > 2 * self._limits.memory_bytes:
            self._kill("its processes together took too much memory")
        elif wrote := _too_much(self._folder, self._limits):
            self._kill(wrote)

    def _take(self, got: bytes) -> None:
        self._buffer += got
        *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > 2 * self._limits.output_bytes:
            self._kill("sent what is no output")
            return
        for line in lines:
            try:
                message = json.loads(line)
                if b"\\ud" in line:  # half a surrogate pair can stand in JSON, but in no file
                    message = json.loads(json.dumps(message, ensure_ascii=False).encode(errors="replace"))
                self._hear(message, len(line))
            except OSError:
                return  # it has ended meanwhile
            except (ValueError, KeyError, TypeError, RecursionError):
                self._kill("sent what is no output")
                return

    def _hear(self, message: dict[str, Any], size: int) -> None:
        execution = self._execution
        if message.get("begin"):
            cell = int(message["cell"])
            if self._running or not self._cell < cell < len(self._cells):
                raise ValueError("this is not the cell that comes next")
            self._cell = cell
            self._start = time.monotonic()
            self._used_before = float(message["used"])
            self._key = secrets.token_hex(16)
            execution.outputs[self._cell] = []
            self._running, self._interrupted = True, False
            self._deadline = time.monotonic() + self._limits.timeout
        elif message.get("ask") and self._is_test():
            turn = {"source": self._cells[self._cell]["source"], "key": self._key}
            self._results.sendall(json.dumps(turn).encode() + b"\n")
        elif "output" in message:
            self._bytes += size
            if self._bytes <= self._limits.output_bytes:
                execution.outputs[self._cell].append(dict(message["output"]))
            else:
                execution.flag("the outputs were cut, there were too many")
        elif "verdict" in message:
            execution.verdicts.append(dict(message["verdict"]))
        elif "flag" in message:
            execution.flag(str(message["flag"])[:500])
        elif message.get("end"):
            error = message["error"]
            if not self._running:
                raise ValueError("no cell runs that could end")
            if self._is_test() and message.get("key") != self._key:
                raise ValueError("a test ended that was not run")
            limits = self._limits
            for limit, words in (
                ("memory", f"more memory than {limits.memory_bytes / 1e9:g} GB"),
                ("file", f"a file of more than {limits.file_bytes / 1e6:g} MB"),
            ):
                if limit in message["met"]:
                    execution.flag(f"{words}{self._label()}")
            if self._interrupted and error is not None:
                error = f"stopped after {self._limits.timeout:g} s"
                execution.flag(f"{error}{self._label()}")
            execution.errors[self._cell] = None if error is None else str(error)
            self._running = False
            self._deadline = time.monotonic() + self._limits.timeout
        elif message.get("done"):
            self._done = True


def _processor_time(process: psutil.Process) -> float | int:
    try:
        used = process.cpu_times()
        return float(used.user + used.system)
    except psutil.Error:
        return 0.0


def _too_much(folder: Path, limits: Limits) -> str:
    """What was written beyond the limits, in words; "" if nothing was."""
    count = size = 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count > limits.files:
                        return f"wrote more than {limits.files} files"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return "wrote folders too deep to be looked into"
            # it has gone meanwhile
    return f"wrote more than {limits.disk_bytes / 1e6:g} MB" if size > limits.disk_bytes else ""


def _own_memory(process: psutil.Process) -> int:
    """The bytes of a process, its share of what it has in common with others; 0 where nobody tells."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError, OSError):
        return 0


def _died(status: int | None) -> str:
    if status is None:
        return "the process and its server ended"
    if status < 0:
        try:
            return f"the process died of {signal.Signals(-status).name}"
        except ValueError:
            return f"the process died of signal {-status}"
    return f"the process ended itself with code {status}"


def _copy_small_files(files: Path | None, folder: Path, largest: int = 20_000_000) -> None:
    """What was handed in beside the notebook, without links and without what is large."""
    if files is None:
        return
    left = largest
    for path in sorted(files.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.suffix == ".ipynb":
            continue
        left -= path.stat().st_size
        if left < 0:
            return
        target = folder / path.relative_to(files)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
