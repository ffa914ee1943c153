"""Where files come from, and that only the right ones are used: against a server on this machine.

The server is told what to answer: the file, half of it, a web page, an error, nothing for a while.
"""

import gzip
import hashlib
import http.server
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import requests
import torch
from pooch import HTTPDownloader

from vae_lib.data import DataUnavailable, downloads, load
from vae_lib.data.faults import fault
from vae_lib.data.sources import SETS, DataFile
from vae_lib.data.store import cache_folder, fetch, places


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def packed(array):
    return gzip.compress(idx(array), mtime=0)


DIGITS = np.random.default_rng(0).integers(0, 256, (30, 4, 4), dtype=np.uint8)
GOOD = packed(DIGITS)
SHA = hashlib.sha256(GOOD).hexdigest()
PAGE = b"\n<!DOCTYPE html>\n<html><body>Please log in to this network.</body></html>"
NAME = "images.gz"


def a_file(*mirrors):
    return DataFile("small", NAME, SHA, len(GOOD), (30, 4, 4), mirrors)


# ---- the server: what to answer is a list of functions of the request handler, the last one for ever


def send(content, status=200, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def cut(content, *, say_so):
    """Half of the content; the header says so, or promises the whole and the line goes dead."""

    def answer(handler):
        half = content[: len(content) // 2]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(half) if say_so else len(content)))
        handler.end_headers()
        handler.wfile.write(half)

    return answer


def slow(handler):
    handler.server.released.wait(5)


@pytest.fixture
def serve():
    """Start a server for a list of answers; gives its address, a folder, and the paths asked for."""
    servers = []

    def start(*answers):
        waiting = list(answers)
        lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with lock:
                    answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                    self.server.asked.append((self.path, self.headers))
                answer(self)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.asked, server.released = [], threading.Event()
        server.address = f"http://127.0.0.1:{server.server_address[1]}/"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.released.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data folder, a cache of its own, no proxy, and no patience."""
    monkeypatch.delenv("VAE_LIB_DATA", raising=False)
    monkeypatch.setenv("VAE_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE", 0.001)
    monkeypatch.setattr(downloads, "TIMEOUT", (2.0, 0.3))


DEAD = "http://127.0.0.1:9/"  # nobody listens there


def in_cache(tmp_path):
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


def put(folder, content, name=NAME):
    (folder / "small").mkdir(parents=True, exist_ok=True)
    (folder / "small" / name).write_bytes(content)
    return folder / "small" / name


def refusal(file, **options):
    with pytest.raises(DataUnavailable) as caught:
        fetch(file, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert "small/images.gz" in line
    assert 'load("digits")' in line
    return line


# ---- the order of the places


def test_the_data_folder_comes_first_and_is_not_written_to(tmp_path, monkeypatch, serve):
    server = serve(send(GOOD))
    where = put(tmp_path / "data", GOOD)
    put(tmp_path / "cache", b"something else")
    monkeypatch.setenv("VAE_LIB_DATA", str(tmp_path / "data"))
    assert fetch(a_file(server.address)) == (GOOD, str(where))
    assert server.asked == []
    assert in_cache(tmp_path / "data") == ["small/images.gz"]


def test_then_the_cache(tmp_path, monkeypatch, serve):
    server = serve(send(GOOD))
    where = put(tmp_path / "cache", GOOD)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("VAE_LIB_DATA", str(tmp_path / "data"))
    assert fetch(a_file(server.address)) == (GOOD, str(where))
    assert server.asked == []


def test_then_a_download_into_the_cache(tmp_path, serve):
    server = serve(send(GOOD))
    assert fetch(a_file(server.address)) == (GOOD, server.address + NAME)
    assert in_cache(tmp_path) == ["cache/small/images.gz"]
    assert (tmp_path / "cache/small/images.gz").read_bytes() == GOOD
    assert fetch(a_file(server.address))[1] == str(tmp_path / "cache/small/images.gz")
    assert [path for path, _ in server.asked] == ["/images.gz"]  # once


def test_a_given_cache_goes_before_the_named_one(tmp_path, serve):
    server = serve(send(GOOD))
    fetch(a_file(server.address), cache=tmp_path / "mine")
    assert in_cache(tmp_path) == ["mine/small/images.gz"]


def test_the_cache_without_a_name_is_the_users_own(monkeypatch, tmp_path):
    import pooch

    monkeypatch.delenv("VAE_LIB_CACHE")
    assert cache_folder() == pooch.os_cache("vae_lib")
    monkeypatch.setenv("VAE_LIB_CACHE", "~/somewhere")
    assert str(cache_folder()) == os.path.expanduser("~/somewhere")
    assert cache_folder(tmp_path) == tmp_path


def test_the_download_can_be_switched_off(tmp_path, serve):
    server = serve(send(GOOD))
    line = refusal(a_file(server.address), download=False)
    assert "VAE_LIB_DATA is not set" in line
    assert f"{tmp_path}/cache/small/images.gz does not exist" in line
    assert "download is switched off" in line
    assert server.asked == []
    assert in_cache(tmp_path) == []


def test_a_data_folder_that_is_no_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_LIB_DATA", str(tmp_path / "lost"))
    assert f"VAE_LIB_DATA is {tmp_path}/lost, which is no folder" in refusal(a_file(DEAD), download=False)


def test_a_file_without_an_address_comes_from_the_data_folder_only(tmp_path, monkeypatch):
    put(tmp_path / "cache", GOOD)
    line = refusal(a_file())
    assert "it has no public address: set VAE_LIB_DATA to a folder that holds small/images.gz" in line
    monkeypatch.setenv("VAE_LIB_DATA", str(tmp_path / "cache"))
    assert fetch(a_file())[0] == GOOD
    assert [name for name, _ in places(a_file())] == ["VAE_LIB_DATA"]


def test_no_network_and_no_file(tmp_path):
    line = refusal(a_file(DEAD, "http://127.0.0.1:19/"))
    assert "127.0.0.1:9: no connection" in line
    assert "127.0.0.1:19: no connection" in line
    assert in_cache(tmp_path) == []


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "data/small/images.gz").mkdir(parents=True)  # a folder of that name
    monkeypatch.setenv("VAE_LIB_DATA", str(tmp_path / "data"))
    assert "images.gz cannot be read (Is a directory)" in refusal(a_file(DEAD), download=False)


def test_whoever_has_no_home_is_told_to_name_a_cache(monkeypatch):
    import pooch

    def homeless(_):
        raise RuntimeError("could not determine the home directory for '~/.cache'")

    monkeypatch.delenv("VAE_LIB_CACHE")
    monkeypatch.setattr(pooch, "os_cache", homeless)  # as in a container with a user of no name
    assert "no home folder, so no cache: set VAE_LIB_CACHE to a folder" in refusal(a_file(DEAD))


@pytest.mark.parametrize("missing", ["pooch", "requests"])
def test_without_pooch(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert "need pooch: pip install pooch" in refusal(a_file(DEAD))
    monkeypatch.delenv("VAE_LIB_CACHE")
    assert refusal(a_file(DEAD)).count("need pooch") == 1


# ---- files that are not the right one

ALTERED = packed(np.where(DIGITS < 9, 255 - DIGITS, DIGITS).astype(np.uint8))
LABELS = packed(DIGITS.reshape(-1))
FEWER = packed(DIGITS[:29])
BAD = {
    "truncated gz": (
        GOOD[:-50],
        f"is cut short: the gzip stream does not end ({len(GOOD) - 50} of {len(GOOD)} bytes)",
    ),
    "wrong hash": (ALTERED, "holds other bytes than it should"),
    "wrong magic": (LABELS, "has the wrong magic number: 2049, wanted 2051"),
    "wrong count": (FEWER, "has the wrong count: 29 entries, wanted 30"),
    "HTML": (PAGE, "is a web page instead of data"),
    "nothing": (b"", "is empty"),
    "no gzip": (idx(DIGITS), "is no gzip file"),
    "damaged": (GOOD[:-6] + b"oh dear"[:6], "is damaged: "),
}
BAD_FILES = pytest.mark.parametrize(("content", "complaint"), BAD.values(), ids=BAD)


@BAD_FILES
def test_each_fault_has_its_own_words(content, complaint):
    others = [words for _, words in BAD.values() if words != complaint]
    words = fault(a_file(), content)
    assert words.startswith(complaint)
    assert not words.startswith(tuple(others))
    assert words.endswith(f"(sha256 {hashlib.sha256(content).hexdigest()}, wanted {SHA})")
    assert fault(a_file(), GOOD) is None


def test_faults_of_a_file_of_another_kind():
    archive = replace(a_file(), name="images.npz", shape=None)
    assert fault(archive, GOOD) is None
    assert fault(archive, GOOD[:-1]).startswith(f"is cut short: {len(GOOD) - 1} of {len(GOOD)} bytes (sha")
    assert fault(archive, GOOD[:-1] + b"!").startswith("holds other bytes than it should (sha")
    assert fault(archive, PAGE).startswith("is a web page")


@BAD_FILES
def test_in_the_cache_it_is_named_and_replaced(content, complaint, tmp_path, serve, caplog):
    where = put(tmp_path / "cache", content)
    server = serve(send(GOOD))
    assert fetch(a_file(server.address))[0] == GOOD
    assert where.read_bytes() == GOOD
    assert in_cache(tmp_path) == ["cache/small/images.gz"]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"refused: {where} {complaint}")
    assert record.getMessage().endswith(f"; using {server.address}images.gz instead")


@BAD_FILES
def test_in_the_data_folder_it_is_named_and_passed_over(
    content, complaint, tmp_path, monkeypatch, serve, caplog
):
    where = put(tmp_path / "data", content)
    monkeypatch.setenv("VAE_LIB_DATA", str(tmp_path / "data"))
    server = serve(send(GOOD))
    assert fetch(a_file(server.address)) == (GOOD, server.address + NAME)
    assert where.read_bytes() == content  # not ours to write to
    assert caplog.records[0].getMessage().startswith(f"refused: {where} {complaint}")
    caplog.clear()
    assert fetch(a_file(DEAD)) == (GOOD, str(tmp_path / "cache/small/images.gz"))
    assert len(caplog.records) == 1
    line = refusal(a_file())  # a set without an address has nowhere else to go
    assert f"{where} {complaint}" in line
    assert SHA in line


@BAD_FILES
def test_from_a_mirror_it_is_named_and_not_kept(content, complaint, tmp_path, serve):
    server = serve(send(content))
    line = refusal(a_file(server.address))
    port = server.address.split("//")[1].rstrip("/")
    assert f"{port}: what it sent {complaint}" in line
    assert in_cache(tmp_path) == []
    assert len(server.asked) == 1  # it would send the same again


def test_the_fault_of_a_cached_file_is_named_when_nothing_replaces_it(tmp_path):
    where = put(tmp_path / "cache", PAGE)
    line = refusal(a_file(DEAD))
    assert f"{where} is a web page instead of data" in line
    assert "no connection" in line


# ---- mirrors


def test_the_next_mirror_is_asked(serve):
    bad = [serve(send(b"", 404)), serve(send(PAGE)), serve(cut(GOOD, say_so=True))]
    good = serve(send(GOOD))
    assert fetch(a_file(*(server.address for server in bad), good.address))[1] == good.address + NAME
    assert [len(server.asked) for server in (*bad, good)] == [1, 1, 1, 1]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_mirror_that_is_out_of_order_is_asked_again(status, serve):
    server = serve(send(b"", status), send(b"", status), send(GOOD))
    assert fetch(a_file(server.address))[0] == GOOD
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_mirror_without_the_file_is_not(status, serve):
    server = serve(send(b"", status), send(GOOD))
    assert f"HTTP status {status}" in refusal(a_file(server.address))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("/images.gz", "it redirects without end"),
        ("http://[::bad/", "ValueError: Invalid IPv6 URL"),
        ("file:///etc/hostname", "InvalidSchema"),
    ],
)
def test_a_redirection_that_leads_nowhere(where, complaint, serve):
    lost, good = serve(send(b"", 302, Location=where)), serve(send(GOOD))
    assert complaint in refusal(a_file(lost.address))
    assert fetch(a_file(lost.address, good.address))[0] == GOOD


def test_a_redirection_is_followed(serve):
    good = serve(send(GOOD))
    assert fetch(a_file(serve(send(b"", 302, Location=good.address + NAME)).address))[0] == GOOD


def test_what_stands_between_is_named(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/certificates.pem")
    line = refusal(a_file("https://127.0.0.1:9/"))  # not the cache, which is in order
    assert "127.0.0.1:9: OSError: Could not find a suitable TLS CA certificate bundle" in line
    assert "/nowhere/certificates.pem" in line
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "mirror.invalid: the proxy does not answer" in refusal(a_file("http://mirror.invalid/"))


def test_a_certificate_that_is_not_accepted(monkeypatch):
    def refused(self, url, output_file, pooch):
        raise requests.exceptions.SSLError("certificate verify failed")

    monkeypatch.setattr(HTTPDownloader, "__call__", refused)
    assert "its certificate is not accepted" in refusal(a_file("https://127.0.0.1:9/"))


def test_another_mirror_goes_before_another_round(serve):
    ailing, good = serve(send(b"", 500)), serve(send(GOOD))
    fetch(a_file(ailing.address, good.address))
    assert len(ailing.asked) == 1


def test_it_gives_up(serve, monkeypatch):
    pauses = []
    monkeypatch.setattr(downloads.time, "sleep", pauses.append)
    server = serve(send(b"", 500))
    assert "HTTP status 500" in refusal(a_file(server.address))
    assert len(server.asked) == 3
    assert pauses == [0.001, 0.002]
    refusal(a_file())
    assert len(pauses) == 2


def test_a_line_that_goes_dead(serve, tmp_path):
    server = serve(cut(GOOD, say_so=False), send(GOOD))
    assert fetch(a_file(server.address))[0] == GOOD
    server = serve(cut(GOOD, say_so=False))
    (tmp_path / "cache/small/images.gz").unlink()
    assert "the connection broke off" in refusal(a_file(server.address))
    assert in_cache(tmp_path) == []


def test_a_silent_server(serve, tmp_path):
    silent, good = serve(slow), serve(send(GOOD))
    started = time.monotonic()
    assert fetch(a_file(silent.address, good.address))[0] == GOOD
    assert time.monotonic() - started < 3
    assert "no answer in time" in refusal(a_file(silent.address), cache=tmp_path / "empty")


def test_a_server_that_stops_in_the_middle(serve):
    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(GOOD)))
        handler.end_headers()
        handler.wfile.write(GOOD[:100])
        handler.wfile.flush()
        handler.server.released.wait(5)

    assert "no answer in time" in refusal(a_file(serve(stall).address))


def test_a_server_that_sends_far_too_much(serve, tmp_path):
    def lavish(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(200):  # 20 MB: an end after all, for a client that takes everything
                handler.wfile.write(bytes(100_000))
        except OSError:
            pass

    server = serve(lavish)
    assert f"sent more than the {len(GOOD)} bytes of the file" in refusal(a_file(server.address))
    assert in_cache(tmp_path) == []


def test_the_file_comes_as_it_is_stored(serve):
    # A server that names the compression would have it undone on the way; the hash is of the gzip file.
    def honest(handler):
        coded = "gzip" in handler.headers.get("Accept-Encoding", "")
        send(GOOD, **({"Content_Encoding": "gzip"} if coded else {}))(handler)

    assert fetch(a_file(serve(honest).address))[0] == GOOD


# ---- the cache folder


def test_a_cache_that_cannot_be_written_to(tmp_path, serve):
    server = serve(send(GOOD))
    (tmp_path / "file").write_text("not a folder")
    line = refusal(a_file(server.address), cache=tmp_path / "file")
    assert f"the cache folder {tmp_path}/file/small cannot be written to (" in line
    assert "set VAE_LIB_CACHE to a folder that can" in line
    assert server.asked == []  # found out before the download, not after


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_without_permission(tmp_path, serve):
    (tmp_path / "cache").mkdir(mode=0o500)
    assert "cannot be written to (Permission denied)" in refusal(a_file(serve(send(GOOD)).address))


def test_a_disk_that_is_full(tmp_path, serve, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.os, "replace", full)
    line = refusal(a_file(serve(send(GOOD)).address))
    assert "cannot be written to (No space left on device)" in line
    assert in_cache(tmp_path) == []


def test_the_name_appears_only_when_the_file_is_whole(tmp_path, serve, monkeypatch):
    seen = []
    put(tmp_path / "cache", b"old")

    def watch(handler):
        seen.append(in_cache(tmp_path))
        send(GOOD)(handler)

    replaced = []
    original = os.replace

    def replacing(source, target):
        replaced.append((source.parent == target.parent, source.read_bytes() == GOOD, target.read_bytes()))
        original(source, target)

    monkeypatch.setattr(downloads.os, "replace", replacing)
    fetch(a_file(serve(watch).address))
    assert len(seen[0]) == 2  # the old file, and the one that is being written
    assert any(name.endswith(".part") for name in seen[0])
    assert replaced == [(True, True, b"old")]
    assert in_cache(tmp_path) == ["cache/small/images.gz"]


def test_what_killed_downloads_left_is_swept_after_a_day(tmp_path, serve):
    old, new = (put(tmp_path / "cache", b"half", f".{NAME}.{number}.part") for number in (1, 2))
    other = put(tmp_path / "cache", b"half", ".other.gz.1.part")
    yesterday = time.time() - 2 * downloads.DAY
    for path in (old, other):
        os.utime(path, (yesterday, yesterday))
    fetch(a_file(serve(send(GOOD)).address))
    assert [path.exists() for path in (old, new, other)] == [False, True, True]


@pytest.mark.parametrize("cache", [3, b"folder", ["folder"], "a\0b"])
@pytest.mark.usefixtures("unchecked")
def test_a_cache_that_is_no_path(cache):
    with pytest.raises(ValueError, match=r"cache is .*; wanted the path of a folder, or None"):
        cache_folder(cache)


def test_stopped_by_hand_it_leaves_nothing(tmp_path, serve, monkeypatch):
    def stop(self, chunk):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads._Buffer, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch(a_file(serve(send(GOOD)).address))
    assert in_cache(tmp_path) == []


# The package is stood in for by an empty one: its __init__ imports torch, which takes seconds.
CHILD = """
import sys, types
import vae_lib
sys.modules["vae_lib.data"] = types.ModuleType("vae_lib.data")
sys.modules["vae_lib.data"].__path__ = [vae_lib.__path__[0] + "/data"]
from vae_lib.data import downloads
from vae_lib.data.sources import DataFile
from vae_lib.data.store import fetch
sha, size, *mirrors = sys.argv[1:]
content, origin = fetch(DataFile("small", "images.gz", sha, int(size), (30, 4, 4), tuple(mirrors)))
print(len(content), origin)
"""


def child(server):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, SHA, str(len(GOOD)), server.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_both_succeed_and_a_killed_one_leaves_no_file(tmp_path, serve, monkeypatch):
    both = threading.Barrier(2)

    def together(handler):
        both.wait(120)  # neither is answered before both have asked
        send(GOOD)(handler)

    begun = threading.Event()

    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(GOOD)))
        handler.end_headers()
        handler.wfile.write(GOOD[:100])
        handler.wfile.flush()
        begun.set()
        handler.server.released.wait(120)

    pair = serve(together)
    children = [child(pair), child(pair)]
    monkeypatch.setenv("VAE_LIB_CACHE", str(tmp_path / "killed"))
    victim = child(serve(half))
    try:
        assert begun.wait(120)
        victim.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        victim.communicate(timeout=120)
        assert not (tmp_path / "killed/small/images.gz").exists()
        for one in children:
            out, err = one.communicate(timeout=120)
            assert (one.returncode, err) == (0, "")
            assert out == f"{len(GOOD)} {pair.address}images.gz\n"
    finally:
        for one in (*children, victim):
            one.kill()
            one.wait()
    assert in_cache(tmp_path / "cache") == ["small/images.gz"]
    assert (tmp_path / "cache/small/images.gz").read_bytes() == GOOD
    assert len(pair.asked) == 2


# ---- the progress bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_is_shown_on_a_terminal_only(serve, monkeypatch, tmp_path, capsys):
    server = serve(send(GOOD))
    fetch(a_file(server.address))
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fetch(a_file(server.address), cache=tmp_path / "other")
    assert "small/images.gz: 100%" in terminal.getvalue()


# ---- a whole set, from a small copy of MNIST


@pytest.fixture
def small_mnist(monkeypatch, serve, tmp_path):
    """MNIST with 60 and 10 images instead of 60,000 and 10,000, at a mirror of our own."""
    generator = np.random.default_rng(1)
    contents = {}
    for file in SETS["mnist"].files:
        shape = (file.shape[0] // 1000, *file.shape[1:])
        contents["/" + file.name] = packed(generator.integers(0, 10, shape, dtype=np.uint8))
    server = serve(lambda handler: send(contents[handler.path])(handler))
    files = tuple(
        replace(
            file,
            sha256=hashlib.sha256(contents["/" + file.name]).hexdigest(),
            size=len(contents["/" + file.name]),
            shape=(file.shape[0] // 1000, *file.shape[1:]),
            mirrors=(server.address,),
        )
        for file in SETS["mnist"].files
    )
    monkeypatch.setitem(SETS, "mnist", replace(SETS["mnist"], files=files))
    monkeypatch.setattr("vae_lib.data.mnist._TRAIN", 50)
    return server


def test_load_downloads_only_what_it_needs(small_mnist, tmp_path):
    test = load("mnist", "test")
    assert test.images.shape == (10, 28, 28)
    assert [path for path, _ in small_mnist.asked] == [
        "/t10k-images-idx3-ubyte.gz",
        "/t10k-labels-idx1-ubyte.gz",
    ]
    train, validation = load("mnist"), load("mnist", "validation")
    assert (len(train), len(validation)) == (50, 10)
    assert len(small_mnist.asked) == 4
    everything = load("mnist", "all", download=False)
    assert torch.equal(everything.images, torch.cat([train.images, validation.images, test.images]))
    assert torch.equal(everything.labels, torch.cat([train.labels, validation.labels, test.labels]))


def test_load_takes_a_cache_and_stays_offline(small_mnist, tmp_path):
    with pytest.raises(DataUnavailable, match="download is switched off"):
        load("mnist", cache=tmp_path / "mine", download=False)
    load("mnist", "test", cache=tmp_path / "mine")
    assert len(in_cache(tmp_path / "mine")) == 2
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["binarized_mnist", "omniglot", "frey_faces"])
def test_sets_without_an_address_say_so(name):
    with pytest.raises(
        DataUnavailable, match=r"has no public address: set VAE_LIB_DATA .* load\(\"digits\"\)"
    ):
        load(name)


@pytest.mark.parametrize("name", ["digits", "glyphs", "ring"])
def test_the_others_need_no_file(name, monkeypatch):
    monkeypatch.setattr("vae_lib.data.loading.fetch", None)
    assert len(load(name)) > 1000


def test_what_has_an_address_has_two():
    for one in SETS.values():
        for file in one.files:
            assert len(file.sha256) == 64
            assert len(file.mirrors) in (0, 2)
            assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in file.mirrors)
            assert file.folder == one.name
    assert [name for name, one in SETS.items() if one.files and one.files[0].mirrors] == [
        "mnist",
        "fashion_mnist",
    ]
