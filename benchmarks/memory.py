"""How much memory a call needs at its peak: in a process of its own, where nobody else leaves traces."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["peaks"]

ROOT = Path(__file__).resolve().parent.parent

PROGRAM = """
import ctypes, json
from pathlib import Path

def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

import torch
torch.set_num_threads(1)
{setup}
found = []
for size in {sizes}:
    ctypes.CDLL(None).malloc_trim(0)  # what was freed shall not hide what is taken
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = kilobytes("VmRSS")
    call(size)
    found.append((kilobytes("VmHWM") - before) / 1024)
print(json.dumps(found))
"""


def peaks(setup: str, sizes: Sequence[object]) -> list[float]:
    """MiB by which memory rose, at the peak, while `call(size)` ran, for each size. Linux only.

    `setup` is the source that defines `call`. The first size also pays for what is loaded on the way.
    """
    program = PROGRAM.format(setup=setup, sizes=list(sizes))
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=quiet, capture_output=True, text=True
    )
    if done.returncode:
        raise OSError(f"measuring memory failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return json.loads(done.stdout)
