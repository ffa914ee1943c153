"""Where a number comes from: the commit of the library, the machine, the versions."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

import vae_lib.training
from vae_lib.training.processes import how_many

__all__ = ["commit", "device_of", "versions"]

_LIBRARY = Path(__file__).parents[1]
_PACKAGES = ("numpy", "safetensors", "lightning-fabric")


def commit() -> tuple[str | None, bool | None]:
    """The commit of the library, and whether its files differ from it; None where there is no git.

    Only the folder of the library is asked about: notes, runs and pages change no number.

    Example:
        >>> revision, dirty = commit()
        >>> (revision is None) == (dirty is None)
        True
    """
    # in an environment inside another repository the library is not that repository's
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    revision, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".")
    return (None, None) if revision is None or changes is None else (revision, bool(changes))


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_LIBRARY), *words], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def device_of(kind: str) -> dict[str, str | int]:
    """The kind, the name and the number of processes, as the card says them.

    Example:
        >>> device_of("cpu")["kind"]
        'cpu'
    """
    name = torch.cuda.get_device_name() if kind == "cuda" else _processor()
    return {"kind": kind, "name": name, "processes": how_many()}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip() or "unknown"
    return platform.processor() or platform.machine() or "unknown"


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a number depends on.

    Example:
        >>> sorted(versions())[-1]
        'vae_lib'
    """
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "vae_lib": vae_lib.__version__,
    }
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
