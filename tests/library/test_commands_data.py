"""`python -m vae_lib data`: what it prints, for people and for scripts, and its exit codes."""

import gzip
import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from vae_lib.commands.data import main
from vae_lib.data import downloads
from vae_lib.data.sources import SETS

DEAD = "http://127.0.0.1:9/"  # nobody listens there
RAW = bytes([0, 0, 8, 1, 0, 0, 0, 5]) + bytes(range(5))
GOOD = gzip.compress(RAW, mtime=0)


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    """Four small files instead of MNIST; an empty data folder; an empty cache; no way out."""
    files = tuple(
        replace(
            file,
            sha256=hashlib.sha256(GOOD).hexdigest(),
            size=len(GOOD),
            shape=(5,),
            mirrors=(DEAD,),
        )
        for file in SETS["mnist"].files
    )
    monkeypatch.setitem(SETS, "mnist", replace(SETS["mnist"], files=files))
    monkeypatch.setattr(downloads, "PAUSE", 0.001)
    for name in ("data", "cache"):
        (tmp_path / name / "mnist").mkdir(parents=True)
    monkeypatch.setenv("VAE_LIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VAE_LIB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def put(folder, contents):
    for file, content in zip(SETS["mnist"].files, contents, strict=False):
        (folder / "mnist" / file.name).write_bytes(content)


def run(capsys, *words):
    code = main(list(words))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert err.count("\n") == (0 if code == 0 else err.count("python -m vae_lib data: "))
    return code, out, err


def as_json(capsys, *words):
    code, out, err = run(capsys, *words, "--json")
    return code, json.loads(out), err


@pytest.mark.parametrize("words", [(), ("list",)])
def test_list_names_every_set_with_licence_and_source(words, capsys, folders):
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    assert out.count("\n") == 3 * len(SETS)
    for one in SETS.values():
        [at] = [n for n, line in enumerate(out.splitlines()) if line.startswith(one.name + " ")]
        first, licence, source = out.splitlines()[at : at + 3]
        assert f"{one.images:,}" in first
        assert one.size in first
        assert licence.strip() == f"licence: {one.licence}"
        assert source.strip() == f"source: {one.source}"
    assert "found: needs no file" in out
    assert "not found: python -m vae_lib data get mnist" in out
    assert "not found: set VAE_LIB_DATA" in out


def test_list_says_where(capsys, folders):
    put(folders / "cache", [GOOD] * 3)
    assert "1 of 4 files not found: python -m vae_lib data get mnist" in run(capsys)[1]
    put(folders / "cache", [GOOD] * 4)
    assert f"found: {folders}/cache/mnist\n" in run(capsys, "list", "mnist")[1]
    put(folders / "data", [GOOD] * 4)
    assert f"found: {folders}/data/mnist\n" in run(capsys, "list", "mnist")[1]


def test_list_for_scripts(capsys, folders):
    put(folders / "data", [GOOD] * 2)
    code, report, err = as_json(capsys)
    assert (code, err) == (0, "")
    assert [one["name"] for one in report] == list(SETS)
    by_name = {one["name"]: one for one in report}
    mnist = by_name["mnist"]
    assert set(mnist["found"]) == {"mnist/train-images-idx3-ubyte.gz", "mnist/train-labels-idx1-ubyte.gz"}
    assert mnist["missing"] == ["mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz"]
    assert (mnist["available"], mnist["downloadable"], mnist["images"]) == (False, True, 70_000)
    assert mnist["bytes"] == 4 * len(GOOD)
    assert by_name["digits"]["available"]
    assert not by_name["frey_faces"]["downloadable"]


def test_get_verifies_what_is_there(capsys, folders):
    put(folders / "data", [GOOD] * 4)
    code, out, err = run(capsys, "get", "mnist")
    assert (code, err) == (0, "")
    assert out.count("verified, from") == 4
    assert f"{folders}/data/mnist/train-images-idx3-ubyte.gz" in out
    code, report, _ = as_json(capsys, "get", "mnist", "digits", "mnist")
    assert code == 0
    assert [one["ok"] for one in report] == [True] * 4
    assert run(capsys, "get", "digits") == (0, "digits: needs no file\n", "")


def test_get_without_a_network(capsys, folders):
    code, out, err = run(capsys, "get", "mnist")
    assert (code, out) == (1, "")
    assert err.startswith("python -m vae_lib data: mnist/train-images-idx3-ubyte.gz is not available: ")
    assert "127.0.0.1:9: no connection" in err
    assert 'load("digits") works' in err
    code, report, err = as_json(capsys, "get", "frey_faces")
    assert (code, report[0]["ok"]) == (1, False)
    assert "it has no public address" in report[0]["error"]
    assert "it has no public address" in err


def test_get_into_another_folder(capsys, folders):
    (folders / "mine/mnist").mkdir(parents=True)
    put(folders / "mine", [GOOD] * 4)
    code, out, _ = run(capsys, "get", "mnist", "--cache", str(folders / "mine"))
    assert code == 0
    assert f"from {folders}/mine/mnist" in out


def test_check_of_good_files(capsys, folders):
    put(folders / "data", [GOOD])
    put(folders / "cache", [GOOD])
    code, out, err = run(capsys, "check")
    assert (code, err) == (0, "")
    for where in ("data", "cache"):  # both copies
        assert f"{folders}/{where}/mnist/train-images-idx3-ubyte.gz: verified\n" in out
    assert "mnist/t10k-images-idx3-ubyte.gz: not found\n" in out


def test_check_names_the_bad_file(capsys, folders):
    put(folders / "cache", [GOOD, GOOD[:-5], GOOD, GOOD])
    code, out, err = run(capsys, "check")
    assert code == 1
    assert out.count(": verified") == 3
    assert err.count("\n") == 1
    assert f"{folders}/cache/mnist/train-labels-idx1-ubyte.gz is cut short" in err
    code, report, _ = as_json(capsys, "check", "mnist")
    assert code == 1
    assert [one["ok"] for one in report] == [True, False, True, True]
    assert "is cut short" in report[1]["error"]


def test_check_of_a_named_set_that_is_not_there(capsys):
    code, _, err = run(capsys, "check", "mnist")
    assert code == 1
    assert err.count("is not found\n") == 4
    assert run(capsys, "check")[0] == 0  # nothing asked for, nothing wrong


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["got"], "action is 'got'; wanted one of: list, get, check"),
        (["get"], "get needs a name; wanted one of: digits, mnist"),
        (["get", "mnits"], "name is 'mnits'; wanted one of: digits, mnist"),
        (["list", "mnist", "emnist"], "name is 'emnist'; wanted one of:"),
        (["--jsn"], "unrecognized arguments: --jsn"),
        (["get", "mnist", "--cache"], "argument --cache: expected one argument"),
    ],
)
def test_bad_input_is_one_line_and_code_2(words, complaint, capsys):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert complaint in err
    assert "--help" in err


def test_options_may_stand_anywhere(capsys, folders):
    put(folders / "data", [GOOD] * 4)
    for words in (["--json", "check", "mnist"], ["check", "--json", "mnist"], ["check", "mnist", "--json"]):
        code, out, _ = run(capsys, *words)
        assert code == 0
        assert len(json.loads(out)) == 4


def test_help(capsys):
    code, out, err = run(capsys, "--help")
    assert (code, err) == (0, "")
    for word in ("list", "get", "check", "--json", "VAE_LIB_DATA", "VAE_LIB_CACHE", "exit codes", *SETS):
        assert word in out


def test_stopped_by_hand(capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("vae_lib.commands.data.fetch", stop)
    assert run(capsys, "get", "mnist") == (130, "", "python -m vae_lib data: stopped\n")


def test_a_file_that_may_not_be_read(capsys, folders, monkeypatch):
    def refused(_):
        raise PermissionError(13, "Permission denied")

    put(folders / "data", [GOOD] * 4)
    monkeypatch.setattr("pathlib.Path.read_bytes", refused)
    code, _, err = run(capsys, "check", "mnist")
    assert code == 1
    assert err.count("cannot be read (Permission denied)") == 4
    assert run(capsys, "get", "mnist")[0] == 1


def test_the_data_are_not_looked_at_for_the_list(capsys, folders, monkeypatch):
    put(folders / "data", [b"anything"] * 4)
    monkeypatch.setattr("pathlib.Path.read_bytes", None)
    assert run(capsys, "list")[0] == 0


def test_as_a_program(folders):
    code = "import sys; from vae_lib.commands.data import main; sys.exit(main(sys.argv[1:]))"
    finished = subprocess.run(
        [sys.executable, "-c", code, "get", "nothing"], capture_output=True, text=True, timeout=120
    )
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.count("\n") == 1
