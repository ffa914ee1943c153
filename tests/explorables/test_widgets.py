"""The widgets' callbacks over their whole ranges, without a browser."""

from __future__ import annotations

import math
import re

import ipywidgets
import pytest
import torch

from vae_lib import widgets
from vae_lib.data import load
from vae_lib.explorables import Explorable
from vae_lib.networks import mlp_vae
from vae_lib.training import TrainConfig, TrainingDiverged, fit


@pytest.fixture(autouse=True)
def live(monkeypatch):
    monkeypatch.delenv("VAE_BOOK_BUILD", raising=False)


@pytest.fixture(scope="module")
def data():
    return load("digits", split="validation")


@pytest.fixture(scope="module")
def model(data):
    model = mlp_vae(64, latent=2, hidden=(16,), seed=0)
    fit(model, data.binarized(), TrainConfig(epochs=20, learning_rate=1e-2, progress=False))
    return model


def whole_range(slider, count=9):
    """Values from one end of a slider to the other."""
    if isinstance(slider, ipywidgets.IntSlider):
        return sorted({round(slider.min + i * (slider.max - slider.min) / (count - 1)) for i in range(count)})
    low, high = slider.min, slider.max
    values = [low + i * (high - low) / (count - 1) for i in range(count)]
    return [slider.base**v for v in values] if isinstance(slider, ipywidgets.FloatLogSlider) else values


def test_the_atlas_over_the_whole_plane(model, data):
    atlas = widgets.latent_atlas(model, data)
    for slider in (atlas.z1, atlas.z2):
        for value in whole_range(slider):
            before = atlas.pictures.value
            slider.value = value
            assert atlas.pictures.value != before or value == 0
            z = torch.tensor([atlas.z1.value, atlas.z2.value])
            shown = atlas.place(atlas.z1.value, atlas.z2.value)
            assert torch.equal(shown, model.decode(z).mean)
            assert f"z = ({z[0]:.2f}, {z[1]:.2f})" in atlas.pictures.value
            assert f"z = ({z[0]:.2f}, {z[1]:.2f})" in atlas.map.value


def test_the_atlas_evaluates_every_image_it_is_given(model, data):
    atlas = widgets.latent_atlas(model, data)
    for index in whole_range(atlas.image, 5):
        atlas.image.value = index
        elbo, error, evidence = atlas.choose(index)
        assert elbo - 5 * error < evidence, "a bound"
        assert f"ln p(x) = {evidence:.2f} nats (grid)" in atlas.score.value
        assert f"digit {int(data.labels[index])}" in atlas.score.value
        draws = model.log_weights(data.binarized()[index][None], k=4000)[:, 0].double()
        spread = (draws.std() / 4000**0.5).item()
        assert abs(elbo - draws.mean().item()) < 5 * math.hypot(error, spread)


def test_the_atlas_draws_anew(model, data):
    atlas = widgets.latent_atlas(model, data)
    before = atlas.pictures.value
    atlas.draw.click()
    assert atlas.pictures.value != before


def test_the_atlas_sees_a_model_that_was_trained_on(data):
    model = mlp_vae(64, latent=2, hidden=(8,), seed=0)
    atlas = widgets.latent_atlas(model, data)
    before = atlas.place(0.0, 0.0)
    fit(model, data.binarized(), TrainConfig(epochs=2, progress=False))
    assert not torch.equal(atlas.place(0.0, 0.0), before)


def test_the_interpolation_over_its_whole_range(model, data):
    line = widgets.interpolation(model, data)
    codes = model.encode(data.binarized()).mean.detach()
    for control in (line.start, line.end, line.t):
        for value in whole_range(control):
            control.value = value
            a, b, t = line.start.value, line.end.value, line.t.value
            expected = model.decode((1 - t) * codes[a] + t * codes[b]).mean
            torch.testing.assert_close(line.walk(a, b, t), expected, atol=1e-5, rtol=1e-5)
            assert f"decoded at t = {t:.2f}" in line.now.value
            assert f"image {a} (digit {int(data.labels[a])})" in line.strips.value
    line.start.value = 4
    line.t.value = 0
    # not bit for bit: where a tensor lies in memory decides how a product of matrices is summed
    torch.testing.assert_close(line.walk(4, 9, 0), model.decode(codes[4]).mean, atol=1e-6, rtol=1e-6)


def test_the_interpolation_takes_any_number_of_latents(data):
    for likelihood in ("bernoulli", "gaussian"):
        model = mlp_vae(64, latent=5, hidden=(8,), likelihood=likelihood, seed=0)
        widgets.interpolation(model, data).t.value = 1.0


def test_retraining_over_the_whole_range_of_the_knobs(data):
    knobs = widgets.quick_retrain(data, hidden=(8,), epochs=2)
    assert knobs.std.disabled
    for beta in whole_range(knobs.beta, 3):
        knobs.likelihood.value = "bernoulli"
        knobs.beta.value = beta
        knobs.button.click()
        assert knobs.history.config.beta == pytest.approx(beta)
        assert f"β = {beta:.2f}, bernoulli" in knobs.status.value
    knobs.likelihood.value = "gaussian"
    assert not knobs.std.disabled
    for std in whole_range(knobs.std, 3):
        knobs.std.value = std
        knobs.button.click()
        assert float(knobs.model.decoder.likelihood.std) == pytest.approx(std)
        assert f"σ = {std:.2f}" in knobs.status.value
    for epochs in (1, 3):
        knobs.epochs.value = epochs
        history = knobs.train()
        assert len(history) == epochs
        assert knobs.progress.value == knobs.progress.max == epochs
        assert history.elbo[-1] == pytest.approx(history.reconstruction[-1] - history.rate[-1])
    assert knobs.result.value.count("<img") == 3
    assert not knobs.button.disabled


def test_beta_does_what_the_book_says(data):
    knobs = widgets.quick_retrain(data, hidden=(16,), epochs=30)
    rates = []
    for beta in (0.1, 10):
        knobs.beta.value = beta
        rates.append(knobs.train().rate[-1])
    assert rates[0] > 3 * rates[1]


def test_errors_are_not_swallowed(model, data, monkeypatch):
    """Without a notebook around they are raised; the JupyterLab test sees them shown below a widget."""
    atlas = widgets.latent_atlas(model, data)

    def no_decoder(*args):
        raise RuntimeError("the decoder is gone")

    monkeypatch.setattr(widgets, "_decode", no_decoder)
    with pytest.raises(RuntimeError, match="decoder is gone"):
        atlas.z1.value = 1.0
    knobs = widgets.quick_retrain(data, hidden=(8,), epochs=1)

    def diverge(*args, **kwargs):
        raise TrainingDiverged("step 3: the rate is not finite")

    monkeypatch.setattr(widgets, "fit", diverge)
    with pytest.raises(TrainingDiverged, match="step 3"):
        knobs.train_and_report()
    assert not knobs.button.disabled, "the reader can try again"


def test_a_plane_needs_two_latents(data, monkeypatch):
    model = mlp_vae(64, latent=3, hidden=(8,), seed=0)
    for setting in ("0", "1"):
        monkeypatch.setenv("VAE_BOOK_BUILD", setting)
        with pytest.raises(ValueError, match="3 latents"):
            widgets.latent_atlas(model, data)


def test_pictures_have_words(model, data):
    knobs = widgets.quick_retrain(data, hidden=(8,), epochs=1)
    knobs.train()
    atlas, line = widgets.latent_atlas(model, data), widgets.interpolation(model, data)
    shown = [atlas.map, atlas.pictures, atlas.score, line.strips, line.now, knobs.result]
    images = [tag for part in shown for tag in re.findall(r"<img[^>]*>", part.value)]
    assert len(images) == 11
    for image in images:
        assert re.search(r'alt="[^"]{6,}"', image)
        assert "data:image/png;base64," in image


def test_in_the_book_an_explorable_stands_in_its_place(model, data, monkeypatch):
    monkeypatch.setenv("VAE_BOOK_BUILD", "1")
    monkeypatch.setattr(widgets.explorables, "fit", lambda model, data, config: fit(
        model, data, TrainConfig(epochs=1, beta=config.beta, progress=False)))  # fmt: skip
    stand_ins = [
        widgets.latent_atlas(model, data),
        widgets.interpolation(model, data),
        widgets.quick_retrain(data),
    ]
    assert [figure.kind for figure in stand_ins] == ["latent-atlas", "interpolation", "retrained"]
    for figure in stand_ins:
        assert isinstance(figure, Explorable)
        assert "application/vnd.jupyter.widget-view+json" not in figure._repr_mimebundle_()


def test_torchs_random_state_is_left_alone(model, data):
    before = torch.random.get_rng_state()
    atlas, line = widgets.latent_atlas(model, data), widgets.interpolation(model, data)
    atlas.draw.click()
    line.t.value = 0.1
    widgets.quick_retrain(data, hidden=(8,), epochs=1).train()
    assert torch.equal(torch.random.get_rng_state(), before)
