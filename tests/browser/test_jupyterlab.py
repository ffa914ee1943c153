"""Widgets and explorables once in a real JupyterLab: a kernel, a browser, a mouse and a keyboard."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "only-for-this-test"
CELLS = [
    "from vae_lib import explorables, widgets\n"
    "from vae_lib.data import load\n"
    "from vae_lib.networks import mlp_vae\n"
    "data = load('digits', split='test')\n"
    "model = mlp_vae(64, latent=2, hidden=(8,), seed=0)",
    "atlas = widgets.latent_atlas(model, data)\natlas",
    "knobs = widgets.quick_retrain(data, hidden=(8,), epochs=2)\nknobs",
    "explorables.two_kls()",
]


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that shows a notebook with `CELLS`, in folders of its own."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell, id=f"cell-{i}") for i, cell in enumerate(CELLS)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    (tmp_path / "work").mkdir()
    nbformat.write(notebook, tmp_path / "work" / "knobs.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    environment = {name: str(tmp_path / name.lower()) for name in folders}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "JUPYTER_PLATFORM_DIRS": "1"}
    inherited = {k: v for k, v in os.environ.items() if k != "VAE_BOOK_BUILD"}
    log = (tmp_path / "lab.log").open("w+")
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"),
            "--ip=127.0.0.1",
            f"--port={port}",
            f"--ServerApp.root_dir={tmp_path / 'work'}",
            f"--IdentityProvider.token={TOKEN}",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.news_url=None",
            "--LabApp.extension_manager=readonly",
        ],
        env=inherited | environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):  # two minutes: a busy machine starts it slowly
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=2) as answer:
                json.load(answer)
            break
        except OSError:
            time.sleep(0.2)
    else:
        server.kill()
        server.wait()
    if server.poll() is not None:
        log.seek(0)
        pytest.fail(f"JupyterLab did not start:\n{log.read()[-3000:]}")
    yield f"{address}/doc/tree/knobs.ipynb?token={TOKEN}"
    server.terminate()  # it stops its kernels
    server.wait(timeout=60)
    log.close()


@pytest.mark.jupyterlab
def test_knobs_turn_in_a_real_jupyterlab(open_page, lab):
    with open_page(lab, width=1200, height=2600) as tab:
        tab.set_default_timeout(90_000)
        tab.wait_for_function("window.jupyterapp && jupyterapp.shell.currentWidget?.context?.isReady")
        tab.wait_for_selector(".jp-Notebook .jp-CodeCell")
        tab.evaluate("jupyterapp.shell.currentWidget.sessionContext.ready")
        tab.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")

        # a slider of the widget reaches the kernel, and what the kernel drew comes back
        tab.wait_for_selector("text=one draw of x at z = (0.00, 0.00)")
        slider = tab.get_by_role("slider").first
        slider.focus()
        slider.press("ArrowRight")
        tab.wait_for_selector("text=one draw of x at z = (0.05, 0.00)")
        assert tab.locator("text=/ln p\\(x\\) = -[\\d.]+ nats \\(grid\\)/").count() == 1

        # the button trains, in the kernel, a model with the knobs as they stand
        tab.get_by_role("button", name="Train").click()
        tab.wait_for_selector("text=/epoch 2: ELBO .* \\(β = 1.00, bernoulli\\)/")

        # the explorable in the same notebook answers by itself, and leaves the address alone
        figure = tab.locator(".vae-figure")
        figure.scroll_into_view_if_needed()
        assert not figure.locator(".vae-static").is_visible()
        reading = figure.locator(".vae-number").first
        before, address = reading.inner_text(), tab.url
        mean = figure.get_by_label("mean m of q")
        mean.focus()
        for _ in range(5):
            mean.press("ArrowRight")
        pad = figure.locator(".vae-pad")
        pad.focus()
        pad.press("ArrowUp")
        tab.wait_for_function(
            "before => document.querySelector('.vae-number').textContent !== before", arg=before
        )
        state = tab.evaluate("({ ...document.querySelector('.vae-figure').vaeFigure.state })")
        assert (state["m"], state["s"]) == (1.25, 1.05)
        tab.wait_for_timeout(400)
        assert tab.url == address
        assert tab.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex") == 3

        # dark mode of the notebook, not of a page
        light = figure.screenshot()
        tab.evaluate("jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
        tab.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
        ink = "getComputedStyle(document.querySelector('.vae-figure')).getPropertyValue('--vf-elbo').trim()"
        tab.wait_for_function(f"{ink} === '#7aa0ff'")
        assert figure.screenshot() != light

        # an error in a callback is shown below the widget
        tab.evaluate(
            """async () => {
              const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              await kernel.requestExecute({ code: "atlas.vae = None" }).done;
            }"""
        )
        slider.focus()
        slider.press("ArrowRight")
        tab.wait_for_selector("text=/NoneType/")

        ours = [fault for fault in tab.faults if re.search("vae|VaeFigures|explorables", fault)]
        assert ours == []
        assert tab.elsewhere == []
