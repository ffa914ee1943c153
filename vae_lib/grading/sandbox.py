"""The optional sandbox: bubblewrap around the process that runs the submissions.

Inside there is no network, there are no other processes, and no files but the system's, Python's, the
library's and those of the submission itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from vae_lib.grading.confine import readable

__all__ = ["Sandbox"]

_HIDDEN = {"/proc", "/sys/devices/system/cpu"}  # bubblewrap makes its own


class Sandbox:
    """Wraps commands in bubblewrap.

    Raises:
        ValueError: bubblewrap is not installed, or the system does not let it work; the text says which.
    """

    def __init__(self) -> None:
        found = shutil.which("bwrap")
        if found is None:
            raise ValueError(
                "the sandbox is not available: there is no bwrap "
                "(Debian, Ubuntu: apt-get install bubblewrap); without --sandbox it goes on without"
            )
        self._bwrap = found
        trial = self(["true"], Path("/tmp"))
        done = subprocess.run(trial, capture_output=True, text=True, check=False)
        if done.returncode:
            told = " ".join(done.stderr.split())[-200:] or f"exit code {done.returncode}"
            raise ValueError(f"the sandbox is not available here: {told}")

    def __call__(self, command: list[str], scratch: Path) -> list[str]:
        """The command in its sandbox; it may write into scratch only."""
        words = [self._bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        for path in readable():
            if str(path) in _HIDDEN:
                continue
            if path.is_symlink():
                words += ["--symlink", os.readlink(path), str(path)]
            else:
                words += ["--ro-bind", str(path), str(path)]
        return [*words, "--bind", str(scratch), str(scratch), "--chdir", str(scratch), "--", *command]
