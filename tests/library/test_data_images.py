"""Grey levels to zeros and ones: drawn afresh, or once and for all."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vae_lib.data import (
    ImageData,
    PointData,
    binarize,
    draw_glyphs,
    load,
    synthetic_linear_gaussian,
)


def grey(levels=256):
    """Every grey level once, as an image of one row."""
    return torch.arange(levels, dtype=torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_probability_is_grey_over_255():
    # With grey / 256 the mean would be 0.0020 lower: 11 standard errors of 8,000,000 draws.
    n = 8_000_000
    mean = binarize(torch.full((n,), 128, dtype=torch.uint8), generator=seeded()).double().mean()
    p = 128 / 255
    assert abs(mean - p) < 5 * math.sqrt(p * (1 - p) / n)


def test_every_level_has_its_probability():
    n = 20_000
    mean = binarize(grey().expand(n, 256), generator=seeded(1)).double().mean(0)
    p = torch.arange(256, dtype=torch.float64) / 255
    assert ((mean - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all()


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_black_stays_black_and_full_ink_is_always_drawn(levels):
    ends = torch.tensor([0, levels - 1], dtype=torch.uint8).expand(100_000, 2)
    assert torch.equal(binarize(ends, levels=levels).mean(0), torch.tensor([0.0, 1.0]))


def test_pixels_are_drawn_independently():
    n = 200_000
    draws = binarize(torch.full((n, 3), 128, dtype=torch.uint8), generator=seeded(2)).double()
    correlations = draws.T.corrcoef()[~torch.eye(3, dtype=torch.bool)]
    assert correlations.abs().max() < 5 / math.sqrt(n)


def test_each_call_draws_anew_and_a_seed_repeats_it():
    data = load("digits")
    assert not torch.equal(data.binarize(), data.binarize())
    assert torch.equal(data.binarize(seeded(3)), data.binarize(seeded(3)))
    state = torch.random.get_rng_state()
    data.binarize(seeded(3))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_digits_are_drawn_with_their_sixteenths():
    data = load("digits", "all")
    draws = torch.stack([data.binarize(seeded(seed)) for seed in range(50)]).double()
    for level in (1, 8, 15):
        at = data.images.flatten(1) == level
        share = draws[:, at].mean()
        assert abs(share - level / 16) < 5 * math.sqrt(0.25 / draws[:, at].numel())


@given(st.lists(st.integers(1, 4), min_size=0, max_size=4))
def test_shape_and_type(sizes):
    draws = binarize(torch.zeros(sizes, dtype=torch.uint8) + 77)
    assert draws.shape == tuple(sizes)
    assert draws.dtype == torch.float32
    assert set(draws.flatten().tolist()) <= {0.0, 1.0}


def test_binary_images_stay_as_they_are():
    images = torch.randint(0, 2, (5, 4, 3), dtype=torch.uint8)
    assert torch.equal(binarize(images, levels=2), images.float())


def test_no_image_at_all():
    assert binarize(torch.zeros(0, 3, dtype=torch.uint8)).shape == (0, 3)


def test_bytes_travel_to_the_device_and_are_drawn_there(monkeypatch):
    # "meta" stands for another device: shapes move, numbers do not.
    data, seen = load("glyphs", "test"), []
    monkeypatch.setattr(
        "vae_lib.data.images.binarize", lambda images, **options: seen.append(images) or images
    )
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    generator = seeded()
    data.binarize(generator, device="meta")
    data.binarize(generator)
    assert [(images.device.type, images.dtype, images.shape) for images in seen] == [
        ("meta", torch.uint8, (888, 784)),
        ("cpu", torch.uint8, (888, 784)),
    ]
    assert data.images.device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu():
    images = torch.full((4_000_000,), 128, dtype=torch.uint8, device="cuda")
    draws = binarize(images, generator=torch.Generator("cuda").manual_seed(0))
    assert draws.device.type == "cuda"
    assert abs(draws.double().mean().item() - 128 / 255) < 5 * 0.5 / math.sqrt(4_000_000)
    with pytest.raises(ValueError, match="generator is on cpu"):
        binarize(images, generator=seeded())
    moved = load("glyphs", "test").to("cuda")
    assert {moved.images.device.type, moved.labels.device.type, moved.factors.device.type} == {"cuda"}


def test_data_move_without_labels_too():
    images = torch.ones(2, 3, 4, dtype=torch.uint8)
    moved = ImageData(images, None, 2, "none", "all").to("cpu")
    assert moved.labels is None
    assert moved.factors is None
    assert (moved.name, moved.split, moved.levels, len(moved)) == ("none", "all", 2, 2)


PICTURES = torch.ones(2, 3, 3, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: binarize(grey(), levels=1), "levels is 1; wanted an integer from 2 to 256"),
        (lambda: binarize(grey(), levels=257), "levels is 257; wanted"),
        (lambda: binarize(grey(), levels=2.5), "levels is 2.5; wanted"),
        (lambda: binarize(grey(), levels=17), "images hold the level 255; wanted less than levels = 17"),
        (lambda: binarize(grey() / 255), "images have dtype torch.float32; wanted whole grey levels"),
        (
            lambda: binarize(torch.empty(2, dtype=torch.uint8, device="meta"), generator=seeded()),
            "generator is on cpu; wanted the device of the images, meta",
        ),
        (
            lambda: ImageData(PICTURES, None, 2, "some", "all", torch.zeros(3, 1), ("size",)),
            r"factors has shape \(3, 1\); wanted \(2, 1\)",
        ),
        (
            lambda: ImageData(PICTURES, None, 2, "some", "all", torch.zeros(2, 2), ("size",)),
            r"factors has shape \(2, 2\); wanted \(2, 1\)",
        ),
        (lambda: PointData(torch.zeros(0, 2), torch.zeros(0, 2), "none", "all"), "points are empty"),
        (lambda: PointData(torch.zeros(3, 2), torch.zeros(2, 2), "some", "all"), "latents are 2; wanted one"),
        (lambda: binarize([[0, 1]]), "images is of type list; wanted a torch.Tensor"),
        (lambda: binarize(np.zeros(3, np.uint8)), "images is of type ndarray; wanted a torch.Tensor"),
        (lambda: binarize(grey(), generator=3), "generator is 3; wanted a torch.Generator"),
        (lambda: load("digits").binarized("half"), "threshold is 'half'; wanted 0 <= threshold < 1"),
        (lambda: load("digits").binarized(math.nan), "threshold is nan"),
        (lambda: ImageData(PICTURES.float(), None, 2, "some", "all"), "images have dtype torch.float32"),
        (lambda: ImageData(PICTURES[0], None, 2, "some", "all"), r"images has shape \(3, 3\); wanted \(n, h"),
        (lambda: ImageData(PICTURES, [0, 1], 2, "some", "all"), "labels is of type list"),
        (lambda: ImageData(PICTURES, torch.zeros(2), 2, "some", "all"), "labels have dtype torch.float32"),
        (lambda: ImageData(PICTURES, None, 2.5, "some", "all"), "levels is 2.5; wanted"),
        (lambda: PointData(torch.full((3, 2), math.nan), torch.zeros(3, 2), "a", "all"), "points holds 6"),
        (lambda: PointData(torch.zeros(3), torch.zeros(3, 2), "some", "all"), r"points has shape \(3,\)"),
        (lambda: load(["digits"]), r"name is \['digits'\]; wanted one of"),
        (lambda: load("digits", download="no"), "download is 'no'; wanted True or False"),
        (lambda: draw_glyphs([[0.0, 14.0, 0.0, 0.0, 0.0]]), "factors is of type list; wanted a torch.Tensor"),
        (lambda: draw_glyphs(torch.zeros(1, 5).long()), "factors has dtype torch.int64"),
        (lambda: synthetic_linear_gaussian(eigenvalues=(math.nan,)), "eigenvalues is nan"),
        (lambda: synthetic_linear_gaussian(pixels=4.5), "pixels is 4.5"),
        (lambda: load("digits", size=28), "size is 28 for 'digits'; wanted None, or 28 or 105"),
        (lambda: load("omniglot", size=64), "size is 64 for 'omniglot'; wanted None, or 28 or 105"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
