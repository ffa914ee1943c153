"""Whatever reads a file that somebody named refuses a pipe and a device, which may never end."""

import os
from pathlib import Path

import numpy as np
import pytest

from vae_lib.cards.card import CardError, read_card
from vae_lib.commands.inputs import examples
from vae_lib.data import DataUnavailable
from vae_lib.data.sources import DataFile
from vae_lib.data.store import fetch
from vae_lib.training import CheckpointError, load_checkpoint

READERS = {
    "a data set": (lambda path: fetch(DataFile("of", path.name, "0" * 64, 1)), DataUnavailable),
    "a checkpoint": (load_checkpoint, CheckpointError),
    "a run card": (read_card, CardError),
    "the reader's numbers": (lambda path: examples(str(path), "train", "gaussian"), OSError),
}


@pytest.mark.parametrize(("read", "refusal"), READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_refused_unopened(kind, read, refusal, tmp_path, monkeypatch):
    path = tmp_path / "of/data.npy"
    path.parent.mkdir()
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")

    def guarded(original):
        def call(which, *rest, **named):
            assert which != path, "it was opened, and would be read for ever"
            return original(which, *rest, **named)

        return call

    monkeypatch.setenv("VAE_LIB_DATA", str(tmp_path))
    for name in ("open", "read_bytes", "read_text"):
        monkeypatch.setattr(Path, name, guarded(getattr(Path, name)))
    monkeypatch.setattr(np, "load", guarded(np.load))
    with pytest.raises(refusal, match=r"a pipe, a socket or a device, not a file") as caught:
        read(path)
    assert str(path) in str(caught.value)
