"""A process that has loaded everything once and forks itself for every submission.

Loading PyTorch takes seconds; a fork takes milliseconds, and shares nothing that is written. One server
runs one submission at a time: it starts the child, interrupts or kills it when it is told to, and when
the child has ended it ends whatever the child has left behind.

    python -m vae_lib.grading.server FD      (FD: a socket to the grader)
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["main"]

PRELOADED = (
    "matplotlib.pyplot",
    "numpy",
    "scipy.integrate",
    "scipy.stats",
    "torch",
    "torch._dynamo",  # optimisers load it when they are first made
    "IPython.core.interactiveshell",
    "vae_lib.bounds",
    "vae_lib.divergences",
    "vae_lib.exercises",
    "vae_lib.grading.runner",
)
_DEATH_SIGNAL, _SUBREAPER = 1, 36  # of prctl


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def children() -> list[int]:
    """The processes that have this one as their parent; where the system does not tell, none."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _end_all(leader: int) -> None:
    """End a child and everything that it has left behind; orphans become our children."""
    for _ in range(10_000):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
        for pid in children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
        if not children():
            return
        time.sleep(0.002)


def _serve(control: socket.socket, job: dict[str, Any], results: int, ended: int) -> bool:
    """Run one submission; False when the grader has gone."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            _prctl(_DEATH_SIGNAL, signal.SIGKILL)
            control.close()
            from vae_lib.grading.runner import run

            run(job, results)
            code = 0
        finally:
            os._exit(code)
    os.close(results)
    status = None
    present = True
    while status is None:
        ready, _, _ = select.select([control.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            pid, told = os.waitpid(child, os.WNOHANG)
            if pid:
                status = os.waitstatus_to_exitcode(told)
                continue
        if control.fileno() in ready:
            word = control.recv(1)
            if word == b"i":
                os.kill(child, signal.SIGINT)
            else:  # b"k", or the grader has gone
                present = bool(word)
                os.kill(child, signal.SIGKILL)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _end_all(child)
    if present:
        control.sendall(json.dumps({"exit": status}).encode() + b"\n")
    return present


def main(fd: int) -> None:
    """Load, and serve until the grader goes away."""
    _prctl(_SUBREAPER, 1)
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    warnings.simplefilter("ignore")
    for name in PRELOADED:
        import_module(name)
    import torch

    torch.set_num_threads(1)
    # what `torch.compile` replaces in torch when it is first used; not by a student
    import_module("torch._dynamo.eval_frame").TorchPatcher.patch()
    ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()  # what is loaded stays shared
    control.sendall(b'{"ready": true}\n')
    while True:
        message, fds, _, _ = socket.recv_fds(control, 65536, 1)
        if not message:
            return
        message = message.lstrip(b"ik")  # meant for a child that had ended already
        if not message or not fds:
            continue
        path = Path(json.loads(message)["job"])
        job = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()  # the tests stand in it
        if not _serve(control, job, fds[0], ended):
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
