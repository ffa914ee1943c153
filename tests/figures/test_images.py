"""Tiles of digits: the right pixels, one description, and no silent scale."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from vae_lib import figures
from vae_lib.figures import emit
from vae_lib.figures import images as module

ALT = "Eight small squares of noise in two rows."


@pytest.fixture(autouse=True)
def no_descriptions_yet(monkeypatch):
    monkeypatch.setattr(emit, "_claimed", {})


@pytest.fixture
def page(monkeypatch):
    shown = []
    monkeypatch.setattr(module, "publish", lambda markup, text: shown.append((markup, text)))
    return shown


def pictures(markup):
    return [
        (alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
        for alt, data in re.findall(r'alt="([^"]*)".*?base64,([^"]+)"', markup)
    ]


def test_pixels_are_those_of_the_images(page):
    values = np.random.default_rng(0).random((3, 8, 8))
    figures.show_images(values, alt=ALT, columns=3)
    ((markup, text),) = page
    assert text == ALT
    assert "image-rendering:pixelated" in markup
    ((alt, sheet),) = pictures(markup)
    assert alt == ALT
    zoom = (sheet.shape[0] - 2 * module.GAP) // 8
    for i, image in enumerate(values):
        left = module.GAP + i * (8 * zoom + module.GAP)
        tile = sheet[module.GAP : module.GAP + 8 * zoom, left : left + 8 * zoom]
        np.testing.assert_array_equal(tile[::zoom, ::zoom], np.rint(255 * image))
        assert (tile == tile[::zoom, ::zoom].repeat(zoom, 0).repeat(zoom, 1)).all()
    assert set(sheet[0]) == {module.GROUND}


def test_flat_and_square_images_give_the_same_page(page):
    values = torch.rand(6, 64)
    figures.show_images(values, alt=ALT)
    figures.show_images(values.reshape(6, 8, 8), alt=ALT + " Again.")
    assert page[0][0].split("src=")[1] == page[1][0].split("src=")[1]


def test_rows_to_compare_carry_their_names(page):
    rows = [torch.rand(4, 64), torch.rand(4, 8, 8)]
    figures.show_images(rows, labels=["originals", "<reconstructions>"], alt=ALT)
    markup = page[0][0]
    assert re.findall(r'vae-row-label"[^>]*>([^<]*)<', markup) == [
        "originals",
        "&lt;reconstructions&gt;",
    ]
    assert [alt for alt, _ in pictures(markup)] == [ALT, ""]


def test_tiles_carry_their_labels(page):
    figures.show_images(torch.rand(5, 8, 8), columns=3, labels=list("abcde"), alt=ALT)
    markup = page[0][0]
    assert re.findall(r"<span>([^<]*)</span>", markup) == list("abcde")
    assert len(pictures(markup)) == 2


def test_whole_numbers_need_their_range(page):
    digits = np.full((2, 8, 8), 16, dtype=np.uint8)
    with pytest.raises(ValueError, match="value_range"):
        figures.show_images(digits, alt=ALT)
    figures.show_images(digits, value_range=(0, 16), alt=ALT)
    assert pictures(page[0][0])[0][1].max() == 255


def test_the_page_is_the_same_every_time(page):
    values = torch.rand(4, 8, 8)
    for alt in (ALT, ALT + " Again."):
        figures.show_images(values, alt=alt)
    assert page[0][0].replace(ALT, "") == page[1][0].replace(ALT + " Again.", "")


@pytest.mark.parametrize(
    ("images", "kwargs", "part"),
    [
        (torch.rand(3, 8, 8), {"alt": "digits.png and nothing else.png"}, "alt"),
        (torch.rand(3, 8, 8), {"alt": "digits"}, "alt"),
        (torch.rand(3, 60), {}, "square"),
        (torch.rand(0, 8, 8), {}, "images must be"),
        (torch.rand(8), {}, "images must be"),
        (torch.full((1, 8, 8), float("nan")), {}, "NaN"),
        (torch.rand(3, 8, 8), {"labels": ["a"]}, "one for each image, 3"),
        (torch.rand(2, 3, 8, 8), {"labels": ["a"]}, "one for each row, 2"),
        (torch.rand(2, 3, 8, 8), {"columns": 2}, "columns"),
        (torch.rand(3, 8, 8), {"columns": 0}, "columns"),
        (torch.rand(3, 8, 8), {"value_range": (1, 1)}, "value_range"),
        ([torch.rand(3, 8, 8), torch.rand(3, 9, 9)], {}, "different size"),
    ],
)
def test_what_does_not_fit_is_refused(images, kwargs, part, page):
    with pytest.raises(ValueError, match=part):
        figures.show_images(images, **({"alt": ALT} | kwargs))
    assert page == []


def test_a_description_is_not_used_up_by_a_refusal(page):
    with pytest.raises(ValueError, match="labels"):
        figures.show_images(torch.rand(3, 8, 8), labels=["a"], alt=ALT)
    figures.show_images(torch.rand(3, 8, 8), alt=ALT)
    with pytest.raises(ValueError, match="another figure"):
        figures.show_images(torch.rand(3, 8, 8), alt=ALT)
