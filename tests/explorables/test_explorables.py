"""The Python side of the explorables: what a cell shows, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import struct
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from every_kind import KINDS, QUESTION, one_of_each
from vae_lib import explorables, figures
from vae_lib.explorables import CSS_FILE, _network, _pictures, script
from vae_lib.models import VAE
from vae_lib.networks import linear_vae, mlp_vae


@pytest.fixture(scope="module")
def model():
    return mlp_vae(64, latent=2, hidden=(8,), seed=0)


@pytest.fixture(scope="module")
def images():
    return (torch.rand(30, 64, generator=torch.Generator().manual_seed(0)) > 0.6).float()


@pytest.fixture(scope="module")
def shown(model, images):
    labels = torch.arange(30) % 10
    return one_of_each(model, images, labels, trained_on=images, epochs=1)


@pytest.fixture
def quick_poster(monkeypatch):
    """Spare the tests that look elsewhere the drawing of the atlas's poster."""
    from vae_lib.explorables import _posters

    monkeypatch.setattr(_posters, "latent_atlas", lambda *args: b"")


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.scripts, self.open_script = [], [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.open_script = dict(attributes) if tag == "script" else None

    def handle_data(self, data):
        if self.open_script is not None:
            self.scripts.append((self.open_script, data))
            self.open_script = None

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.mark.parametrize("kind", KINDS)
def test_the_book_gets_a_poster_and_no_script(monkeypatch, shown, kind):
    monkeypatch.setenv("VAE_BOOK_BUILD", "1")
    bundle = shown[kind]._repr_mimebundle_()
    page = Elements(bundle["text/html"])
    [(attributes, spec)] = page.scripts
    assert attributes == {"type": "application/json"}
    assert json.loads(spec) == json.loads(json.dumps(shown[kind].spec))
    assert page.of("style") == []
    [figure] = [a for a in page.of("div") if a["class"] == "vae-figure"]
    assert figure["data-vae-figure"] == kind
    assert figure["role"] == "group"
    assert figure["aria-label"] == shown[kind].title
    assert "://" not in bundle["text/html"]
    assert not any("id" in attributes for _, attributes in page.found)
    assert bundle["text/plain"].startswith(shown[kind].title)
    if kind == "predict":
        assert "image/png" not in bundle
        assert len(page.of("details")) == 1
        return
    [image] = page.of("img")
    assert len(image["alt"]) >= 40
    png = base64.b64decode(bundle["image/png"])
    assert struct.unpack(">II", png[16:24]) == (int(image["width"]), int(image["height"]))
    Image.open(io.BytesIO(png)).verify()
    assert len(png) < 80_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_live_notebook_gets_script_and_style(monkeypatch, shown, kind):
    monkeypatch.delenv("VAE_BOOK_BUILD", raising=False)
    text = shown[kind]._repr_mimebundle_()["text/html"]
    assert script() in text
    assert CSS_FILE.read_text(encoding="utf-8") in text
    assert text.rstrip().endswith("VaeFigures.mountAll();</script>")
    assert text.startswith('<div class="vae-figure"')


def test_a_front_end_can_ask_for_less(shown):
    bundle = shown["two-kls"]._repr_mimebundle_
    assert set(bundle(include={"text/plain"})) == {"text/plain"}
    assert set(bundle(exclude={"text/html"})) == {"text/plain", "image/png"}


def test_the_script_asks_for_nothing_from_elsewhere():
    style = CSS_FILE.read_text(encoding="utf-8")
    addresses = set(re.findall(r"\w+://[^\"'\s)]+", script() + style))
    assert addresses == {"http://www.w3.org/2000/svg"}, "the namespace of SVG is a name, not a request"
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "import(", "fetch(", "@import"):
        assert word not in script() + style
    assert not re.search(r"^\s*(import|export)\b", script(), re.MULTILINE)


def test_colours_are_those_of_the_house():
    """The script's own fallbacks, light and dark, are the values of vae_lib.figures."""
    light, *dark = re.split(r"color-scheme: dark;", CSS_FILE.read_text(encoding="utf-8"))
    assert len(dark) == 2
    for block, shade in [(light, "light"), *((part, "dark") for part in dark)]:
        found = dict(re.findall(r"--vf-[\w-]+: var\(--vae-([\w-]+), (#\w+)\)", block))
        expected = {name: getattr(role, shade) for name, role in figures.ROLES.items() if name != "evidence"}
        expected |= {f"digit-{i}": pair[shade == "dark"] for i, pair in enumerate(figures.DIGITS)}
        assert found == expected


def test_hostile_text_cannot_leave_its_element():
    hostile = "</script><!-- <b>'\"&"
    text = explorables.predict(question=hostile, choices=[hostile, "no"], answer=0, why=hostile).html(
        live=False
    )
    page = Elements(text)
    assert page.of("b") == []
    [(_, spec)] = page.scripts
    assert json.loads(spec)["question"] == hostile


def test_weights_travel_as_little_endian_float32(model):
    spec = _network.layers(model.decoder.network)
    for layer, linear in zip(
        spec, [m for m in model.decoder.network if isinstance(m, nn.Linear)], strict=True
    ):
        weight = np.frombuffer(base64.b64decode(layer["weight"]), "<f4").reshape(layer["shape"])
        assert (weight == linear.weight.detach().numpy()).all()
        assert (np.frombuffer(base64.b64decode(layer["bias"]), "<f4") == linear.bias.detach().numpy()).all()
    assert [layer["activation"] for layer in spec] == ["tanh", None]


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(2, 3), nn.Conv1d(1, 1, 1)),
        nn.Sequential(nn.Tanh(), nn.Linear(2, 3)),
        nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.ReLU()),
        nn.Sequential(nn.Linear(2, 3), nn.GELU(approximate="tanh")),
        nn.Sequential(nn.Linear(2, 3), nn.ELU(alpha=2.0)),
        nn.Sequential(nn.Linear(2, 3), nn.Softplus(beta=3.0)),
        nn.Sequential(nn.Dropout()),
    ],
    ids=str,
)
def test_networks_the_script_cannot_run_are_refused(network):
    with pytest.raises(ValueError, match="network holds"):
        _network.layers(network)


def test_layers_without_effect_or_bias_are_no_trouble():
    nested = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU()), nn.Dropout())
    [layer] = _network.layers(nested)
    assert layer["activation"] == "relu"
    assert base64.b64decode(layer["bias"]) == bytes(12)


def test_models_the_script_cannot_run_are_refused(model, images):
    with pytest.raises(ValueError, match="latents"):
        explorables.latent_atlas(mlp_vae(64, latent=3, hidden=(4,)))
    with pytest.raises(ValueError, match="Bernoulli"):
        explorables.latent_atlas(mlp_vae(64, latent=2, hidden=(4,), likelihood="gaussian"))
    with pytest.raises(ValueError, match="square"):
        explorables.latent_atlas(mlp_vae(63, latent=2, hidden=(4,)))
    with pytest.raises(ValueError, match="GaussianEncoder"):
        explorables.latent_atlas(linear_vae(64, latent=2))
    normal = torch.distributions.Independent(torch.distributions.Normal(torch.ones(2), torch.ones(2)), 1)
    with pytest.raises(ValueError, match="prior"):
        explorables.latent_atlas(VAE(model.encoder, model.decoder, normal))


def test_images_that_do_not_fit_are_refused(model, images):
    with pytest.raises(ValueError, match="binarise"):
        explorables.latent_atlas(model, 0.5 * images)
    with pytest.raises(ValueError, match="64"):
        explorables.latent_atlas(model, images[:, :49])
    with pytest.raises(ValueError, match="labels must be 30, got 29"):
        explorables.latent_atlas(model, images, torch.zeros(29, dtype=torch.long))
    with pytest.raises(ValueError, match="without images"):
        explorables.latent_atlas(model, labels=[1])
    with pytest.raises(ValueError, match="betas"):
        explorables.retrained(images, betas=(1, 1))


def test_the_atlas_without_data_or_labels(model, images, quick_poster):
    empty = explorables.latent_atlas(model).spec
    assert empty["gallery"] == []
    assert "codes" not in empty
    unlabelled = explorables.latent_atlas(model, images).spec
    assert unlabelled["galleryNames"] == [f"image {i}" for i in range(1, 11)]
    assert "labels" not in unlabelled


def test_the_gallery_holds_one_of_each_label(model, images, quick_poster):
    labels = torch.tensor([7, 7, 3] + 27 * [5])
    spec = explorables.latent_atlas(model, images, labels).spec
    assert spec["galleryNames"] == ["digit 3", "digit 5", "digit 7"]
    bits = "".join(f"{int(digit, 16):04b}" for digit in spec["gallery"][0])
    assert [int(bit) for bit in bits] == images[2].int().tolist()


def test_a_narrow_posterior_gets_a_finer_grid(images, quick_poster):
    model = mlp_vae(64, latent=2, hidden=(8,), seed=0)
    assert explorables.latent_atlas(model, images).spec["points"] == 121
    with torch.no_grad():
        model.encoder.network[-1].weight[2:] = 0
        for std, points in [(0.08, 138), (0.05, 220), (0.03, 241)]:
            model.encoder.network[-1].bias[2:] = 2 * math.log(std)
            assert explorables.latent_atlas(model, images).spec["points"] == points


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": ["one"]}, "two or more"),
        ({"choices": ["same", "same"]}, "two or more"),
        ({"answer": 3}, "0 to 2"),
        ({"answer": -1}, "0 to 2"),
        ({"answer": True}, "0 to 2"),
        ({"question": " "}, "empty"),
        ({"why": ""}, "empty"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        explorables.predict(**(QUESTION | change))


def test_an_explorable_needs_words_and_a_still():
    with pytest.raises(ValueError, match="alt"):
        explorables.Explorable("two-kls", "A title.", "too short", poster=b"")
    with pytest.raises(ValueError, match="poster"):
        explorables.Explorable("two-kls", "A title.", "This is long enough to be read.")


def test_nothing_random_is_left_behind(model, images):
    before = torch.random.get_rng_state()
    explorables.latent_atlas(model, images)
    explorables.bound_and_gap()
    explorables.retrained(images, betas=(1,), epochs=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    one, other = (explorables.bound_and_gap().html(live=False) for _ in range(2))
    assert one == other


def test_strips_keep_every_pixel(images):
    sheet = np.asarray(Image.open(io.BytesIO(_pictures.strip(images[:6], 8, columns=3, scale=1))))
    assert sheet.shape == (17, 26)
    assert (sheet[9:17, 18:26] == 255 * images[5].reshape(8, 8).numpy()).all()
    assert (sheet[:, 8] == 128).all()


def test_the_simple_form_says_and_shows_less():
    full, simple = explorables.bound_and_gap(), explorables.bound_and_gap(simple=True)
    assert (full.spec, simple.spec) == ({}, {"simple": True})
    assert "IWAE" in full.alt
    assert "IWAE" not in simple.alt
    assert "EUBO" not in simple.alt
    assert simple.poster != full.poster
