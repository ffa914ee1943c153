"""The commands of the README when something is in the way: one clear line, no traceback."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the Makefile needs a POSIX shell")


# `make test` hands these down; a make that inherits them calls itself make[1] and prefixes its messages.
FROM_AN_OUTER_MAKE = ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")


def run(*command, cwd=ROOT, **env):
    inherited = {name: value for name, value in os.environ.items() if name not in FROM_AN_OUTER_MAKE}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**inherited, **env},
    )


def one_line(done, *words):
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.returncode != 0
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture
def project(tmp_path):
    """A copy of what `make install` reads, with a short list of requirements."""
    (tmp_path / "tools").mkdir()
    for name in ("Makefile", "pyproject.toml", "tools/bootstrap.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "requirements.txt").write_text("a-package-that-is-nowhere==1.0\n")
    return tmp_path


def test_help_names_every_target():
    done = run("make", "help")
    for target in ("install", "book", "test", "lab", "notebooks", "serve", "clean", "help"):
        assert f"make {target} " in done.stdout


def test_a_bare_make_is_make_help():
    assert run("make").stdout == run("make", "help").stdout


def test_a_missing_python():
    one_line(run("make", "install", "PYTHON=no-such-python"), "no-such-python", "Python 3.11")


def test_a_python_that_is_too_old():
    pretend = "import sys; sys.version_info = (3, 9); exec(open('tools/bootstrap.py').read())"
    one_line(run(sys.executable, "-c", pretend), "Python 3.11", "3.9")


def test_a_place_that_cannot_be_written(project):
    (project / ".venv").write_text("a file where the folder should go")
    one_line(run("make", "install", f"PYTHON={sys.executable}", cwd=project), "cannot create", ".venv")


def test_no_network_while_installing(project):
    done = run(
        "make", "install", f"PYTHON={sys.executable}", cwd=project,
        PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0", PIP_TIMEOUT="1",
    )
    one_line(done, "could not be fetched", "install.log")
    assert (project / ".venv" / "install.log").read_text()


def test_a_build_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "build.py", tmp_path / "tools")
    (tmp_path / "_build").write_text("a file where the folder should go")
    one_line(run(sys.executable, tmp_path / "tools" / "build.py"), "cannot write", "_build")
