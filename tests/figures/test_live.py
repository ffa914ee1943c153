"""The training curve, once it is over and while it grows."""

import math
import sys
import types

import pytest
import torch

from vae_lib import figures
from vae_lib.models import AutoEncoder
from vae_lib.networks import mlp_vae
from vae_lib.training import History, TrainConfig, fit

CONFIG = TrainConfig(epochs=4, batch_size=8, progress=False, device="cpu")


@pytest.fixture
def x():
    return torch.eye(8).repeat(2, 1)


@pytest.fixture
def shown(monkeypatch):
    """A notebook that keeps what is displayed: one list for each display, its updates behind it."""
    shown = []

    class Handle:
        def __init__(self, picture):
            self.pictures = [picture.data]
            shown.append(self.pictures)

        def update(self, picture):
            self.pictures.append(picture.data)

    def display(picture, display_id):
        assert display_id
        return Handle(picture)

    fakes = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    fakes[0].get_ipython = lambda: object()
    fakes[1].HTML = lambda data: types.SimpleNamespace(data=data)
    fakes[1].display = display
    for fake in fakes:
        monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.delenv("VAE_BOOK_BUILD", raising=False)
    return shown


def words(history):
    return figures.render(figures.training_curve(history))


def test_the_description_holds_the_last_values(x):
    history = fit(mlp_vae(8, latent=2, seed=0), x, CONFIG, validation=x[:8])
    text = words(history)
    assert "After 4 epochs" in text
    for values in (history.elbo, history.validation_elbo, history.rate):
        assert f"{values[-1]:.2f}" in text
    assert "var(--vae-elbo" in text
    assert "var(--vae-rate" in text


def test_validation_is_drawn_only_where_there_is_one(x):
    history = fit(mlp_vae(8, latent=2, seed=0), x, CONFIG)
    assert "validation" not in words(history)
    above, below = figures.training_curve(history).axes
    assert [len(ax.lines) for ax in (above, below)] == [1, 1]
    assert above.lines[0].get_ydata().tolist() == history.elbo
    assert below.lines[0].get_ydata().tolist() == history.rate


def test_a_model_without_a_bound_has_no_curve(x):
    vae = mlp_vae(8, latent=2, seed=0)
    history = fit(AutoEncoder(vae.encoder, vae.decoder), x, CONFIG)
    assert math.isnan(history.elbo[-1])
    for nothing in (history, History(CONFIG)):
        with pytest.raises(ValueError, match="holds no ELBO"):
            figures.training_curve(nothing)


def test_the_live_curve_is_one_picture_that_is_replaced(x, shown):
    history = fit(mlp_vae(8, latent=2, seed=0), x, CONFIG, on_epoch=figures.LiveCurve(seconds=0))
    assert [len(pictures) for pictures in shown] == [4]
    assert "After 1 epoch the" in shown[0][0]
    assert words(history) in shown[0][-1]


def test_the_live_curve_is_not_drawn_too_often_but_the_last_epoch_is(x, shown):
    fit(mlp_vae(8, latent=2, seed=0), x, CONFIG, on_epoch=figures.LiveCurve(seconds=1000))
    assert [len(pictures) for pictures in shown] == [2]
    assert "After 4 epochs" in shown[0][-1]


def test_a_second_run_gets_a_picture_of_its_own(x, shown):
    curve = figures.LiveCurve(seconds=0)
    for _ in range(2):
        fit(mlp_vae(8, latent=2, seed=0), x, CONFIG, on_epoch=curve)
    assert [len(pictures) for pictures in shown] == [4, 4]


def test_the_book_and_a_program_get_no_live_picture(x, shown, monkeypatch):
    monkeypatch.setenv("VAE_BOOK_BUILD", "1")
    fit(mlp_vae(8, latent=2, seed=0), x, CONFIG, on_epoch=figures.LiveCurve(seconds=0))
    monkeypatch.delenv("VAE_BOOK_BUILD")
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    fit(mlp_vae(8, latent=2, seed=0), x, CONFIG, on_epoch=figures.LiveCurve(seconds=0))
    assert shown == []


def test_a_page_gets_no_progress_bar(x, monkeypatch, capsys):
    with_bar = TrainConfig(epochs=2, batch_size=8, device="cpu")
    fit(mlp_vae(8, latent=2, seed=0), x, with_bar)
    assert "epoch" in capsys.readouterr().err
    monkeypatch.setenv("VAE_BOOK_BUILD", "1")
    fit(mlp_vae(8, latent=2, seed=0), x, with_bar)
    assert capsys.readouterr() == ("", "")
