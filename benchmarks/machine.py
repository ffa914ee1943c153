"""What the numbers were measured on: nothing that names this machine, its user or its folders."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import vae_lib

__all__ = ["describe"]

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("pythae", "pyro-ppl", "lightning", "torchvision")


def describe() -> dict:
    """Processor, cores, memory, versions, commit and how busy the machine was."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions["vae_lib"] = vae_lib.__version__
    for peer in PEERS:
        try:
            versions[peer] = version(peer)
        except PackageNotFoundError:
            versions[peer] = "not installed"
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_GiB": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "versions": versions,
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _commit() -> str | None:
    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return f"{commit} with changes" if commit and changed else commit
