"""`import vae_lib` touches no network, no disk, no global state, and is quick."""

import json
import pkgutil
import subprocess
import sys

import pytest

import vae_lib

ROOMS = ["vae_lib", "vae_lib.bounds", "vae_lib.divergences", "vae_lib.likelihoods"]
ROOMS += ["vae_lib.laboratory", "vae_lib.gradients", "vae_lib.posteriors", "vae_lib.priors"]
ROOMS += ["vae_lib.networks", "vae_lib.models", "vae_lib.builders", "vae_lib.data", "vae_lib.training"]
ROOMS += ["vae_lib.evaluation"]

SCRIPT = """
import importlib, json, sys, time

deeds = []

def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.mkdir", "os.rename", "os.remove",
                         "os.exec", "os.fork", "os.posix_spawn", "shutil.", "urllib.", "http.",
                         "ftplib.", "os.putenv", "os.chdir")):
        deeds.append(f"{event} {arguments!r}"[:200])
    elif event == "open":
        path, mode, flags = arguments
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & 3:
            deeds.append(f"open {path!r} {mode!r}")

import torch

def state():
    return (torch.get_default_dtype(), torch.is_grad_enabled(), torch.initial_seed(),
            torch.get_rng_state().tolist(), torch.distributions.Distribution._validate_args,
            torch.get_num_threads(), sys.getrecursionlimit(), sorted(sys.path))

before = state()
sys.addaudithook(watch)

started = time.process_time()
for room in ROOMS:
    importlib.import_module(room)
seconds = time.process_time() - started
heavy = {"matplotlib", "sklearn", "scipy", "IPython", "ipywidgets", "pandas", "zuko", "pooch"}
heavy &= set(sys.modules)
report = {"deeds": list(deeds), "same": before == state(), "seconds": seconds,
          "heavy": sorted(heavy)}

# the negative control: the watch must see what these lines do
deeds.clear()
import socket
socket.socket().close()
open(TARGET, "w").close()
torch.manual_seed(1)
report |= {"control_deeds": deeds, "control_same": before == state()}
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    """What importing does in a fresh interpreter, once torch is there."""
    target = str(tmp_path_factory.mktemp("import") / "written")
    finished = subprocess.run(
        [sys.executable, "-B", "-c", f"ROOMS = {ROOMS!r}\nTARGET = {target!r}\n{SCRIPT}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return json.loads(finished.stdout)


def test_no_socket_no_process_no_file_written(report):
    assert report["deeds"] == []


def test_no_global_state_changed(report):
    assert report["same"]


def test_nothing_heavy_is_pulled_in(report):
    assert report["heavy"] == []


def test_well_under_a_second_beyond_torch(report):
    assert report["seconds"] < 0.3  # seconds of processor time, so that a busy machine is no fault


def test_the_watch_sees_what_it_should(report):
    assert any("socket.__new__" in deed for deed in report["control_deeds"])
    assert any("written" in deed for deed in report["control_deeds"])
    assert not report["control_same"]


def test_a_room_is_there_when_it_is_asked_for():
    code = (
        "import sys, vae_lib; assert not [m for m in sys.modules if m.startswith('vae_lib.')]\n"
        "print(vae_lib.bounds.elbo.__name__, *dir(vae_lib))\n"
        "vae_lib.cellar"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    shown = done.stdout.split()
    assert shown[0] == "elbo"
    assert done.stderr.splitlines()[-1].startswith(
        "AttributeError: module 'vae_lib' has no attribute 'cellar'; its rooms: bounds, "
    )
    rooms = {name for _, name, _ in pkgutil.iter_modules(vae_lib.__path__) if not name.startswith("_")}
    assert rooms - set(shown) == {"commands", "grading"}  # commands of the command line
