"""Build the book: execute, render to _build/html, and fail on any warning.

The cache of executed pages knows the pages but neither `vae_lib` nor the recorded runs; it is emptied when
one of them has changed.
"""

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
STAMP = BUILD / "library"


def library_fingerprint():
    digest = hashlib.sha256()
    for path in sorted((ROOT / "vae_lib").rglob("*")):
        if path.suffix in (".py", ".js", ".css"):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    for path in sorted((ROOT / "runs").glob("*/card.json")):  # it names the digests of what it is about
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def main():
    started = time.monotonic()
    now = library_fingerprint()
    try:
        if STAMP.exists() and STAMP.read_text() != now:
            shutil.rmtree(BUILD / ".jupyter_cache", ignore_errors=True)
            shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
        BUILD.mkdir(exist_ok=True)
        STAMP.write_text(now)
    except OSError as error:
        sys.exit(f"make: cannot write to {BUILD}: {error}")
    command = [Path(sys.executable).parent / "jupyter-book", "build", "-W", "-n", "--keep-going", "."]
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        sys.exit("make: the book has faults, see the warnings above")
    seconds = time.monotonic() - started
    print(f"\nThe book is ready ({seconds:.0f} s). Open {(BUILD / 'html' / 'index.html').as_uri()}")


if __name__ == "__main__":
    main()
