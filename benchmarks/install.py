"""An environment of their own for the peers: the course itself needs none of them."""

import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["install"]

ROOT = Path(__file__).resolve().parent.parent


def install(folder: Path, python: Path) -> int:
    """Make the environment and install into it what the pins say."""
    try:
        if not python.exists():
            print("creating benchmarks/.venv", flush=True)
            venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"benchmarks: cannot create benchmarks/.venv: {error}", file=sys.stderr)
        return 2
    print("installing vae_lib and the peers (a few minutes the first time)", flush=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "--progress-bar=off"]
    wanted = ["-c", "requirements.txt", "-r", "benchmarks/requirements.txt", "--editable", ".[book]"]
    done = subprocess.run([*pip, *wanted], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        (folder / "install.log").write_text(done.stdout + done.stderr)
        print("benchmarks: pip stopped (its own words: benchmarks/.venv/install.log)", file=sys.stderr)
        return 2
    print("ready: python -m benchmarks training")
    return 0
