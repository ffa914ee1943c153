"""Create .venv and install the course into it. Runs on the system's Python: standard library only.

Quick when nothing changed: the environment remembers a fingerprint of the files that describe it.
"""

import sys

if sys.version_info < (3, 11):  # before any newer syntax or module is met
    sys.exit(
        "make: Python 3.11 or newer is needed, this is %d.%d (%s); say PYTHON=/path/to/a/newer/python"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )

import hashlib
import os
import subprocess
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
RUN = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed"


def fingerprint():
    digest = hashlib.sha256(sys.version.encode() + str(ROOT).encode())
    for name in ("requirements.txt", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def pip(*arguments):
    """Run pip; on failure show its own words, then one line that says what to do."""
    command = [RUN, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar=off", "-q"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT)
    if done.returncode == 0:
        return
    log = VENV / "install.log"
    log.write_text(done.stdout + done.stderr)
    words = done.stderr.lower()
    if any(sign in words for sign in ("connection", "resolve", "retries", "timed out", "no matching")):
        cause = "a package could not be fetched: is there a network?"
    elif "no space" in words:
        cause = "the disk is full"
    else:
        cause = "pip stopped"
    sys.exit(f"make: installing failed: {cause} (pip's own words: {log})")


def main():
    if STAMP.exists() and STAMP.read_text() == fingerprint():
        return
    try:
        if not RUN.exists():
            print("creating .venv", flush=True)
            venv.create(VENV, with_pip=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"make: cannot create {VENV}: {error}")
    print("installing requirements.txt (a few minutes the first time)", flush=True)
    pip("-r", "requirements.txt")
    pip("--no-deps", "--editable", ".")
    try:
        STAMP.write_text(fingerprint())
    except OSError as error:
        sys.exit(f"make: cannot write {STAMP}: {error}")


if __name__ == "__main__":
    main()
