"""The data sets against their source and their own description."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from vae_lib.data import ImageData, load, synthetic_linear_gaussian

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def parts():
    return {split: load("digits", split=split) for split in SPLITS}


def test_sizes_and_types(parts):
    assert [len(parts[split]) for split in SPLITS] == [1197, 300, 300]
    for part in parts.values():
        assert part.images.dtype == torch.uint8
        assert part.images.shape[1:] == part.shape == (8, 8)
        assert part.labels.dtype == torch.int64
        assert (part.levels, part.pixels, part.name) == (17, 64, "digits")


def test_parts_make_up_the_whole_set_and_share_no_image(parts):
    source = load_digits()
    rows = np.concatenate([np.column_stack([part.images.flatten(1), part.labels]) for part in parts.values()])
    wanted = np.column_stack([source.images.reshape(-1, 64), source.target])
    assert len(np.unique(rows, axis=0)) == 1797
    assert sorted(map(tuple, rows)) == sorted(map(tuple, wanted.astype(int)))
    everything = load("digits", split="all")
    assert np.array_equal(everything.images, source.images)
    assert np.array_equal(everything.labels, source.target)


def test_every_part_has_its_share_of_every_digit(parts):
    counts = {split: torch.bincount(part.labels) for split, part in parts.items()}
    whole = sum(counts.values())
    for split in ("validation", "test"):
        assert (counts[split] - whole * 300 / 1797).abs().max() < 1


def test_split_never_changes(parts):
    # Computed once with torch 2.13; the reported results of the book depend on it.
    sums = [int((part.labels * torch.arange(len(part))).sum()) for part in parts.values()]
    assert sums == [3204857, 204399, 203663]
    state = torch.random.get_rng_state()
    assert torch.equal(load("digits", split="train").images, parts["train"].images)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_parts_are_not_sorted_by_digit(parts):
    for part in parts.values():
        assert len(part.labels[:50].unique()) > 5


def test_scaled_and_binarized(parts):
    data = parts["test"]
    scaled = data.scaled()
    assert scaled.dtype == torch.float32
    assert scaled.shape == (300, 64)
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)
    assert torch.equal((scaled * 16).to(torch.uint8).reshape(-1, 8, 8), data.images)
    assert torch.equal(data.binarized(), (data.images.flatten(1) > 8).float())
    assert torch.equal(data.binarized(0.0), (data.images.flatten(1) > 0).float())


def test_synthetic_data_have_the_covariance_they_are_said_to_have():
    n = 200_000
    x = synthetic_linear_gaussian(n, pixels=6, eigenvalues=(8.0, 3.0), variance=0.5, seed=4).double()
    eigenvalues = torch.linalg.eigvalsh(x.T.cov()).flip(0)
    wanted = torch.tensor([8.0, 3.0, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64)
    assert ((eigenvalues - wanted).abs() < 5 * wanted * math.sqrt(2 / n)).all()
    assert x.mean(0).norm() > 0.5


def test_synthetic_data_follow_the_seed_alone():
    state = torch.random.get_rng_state()
    first = synthetic_linear_gaussian(10, seed=1)
    assert torch.equal(first, synthetic_linear_gaussian(10, seed=1))
    assert not torch.equal(first, synthetic_linear_gaussian(10, seed=2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.dtype == torch.float32


def images(n=2, level=3):
    return torch.full((n, 8, 8), level, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load("mnits"), "name is 'mnits'; wanted one of: digits"),
        (lambda: load("digits", split="val"), "split is 'val'; wanted one of: train"),
        (lambda: ImageData(images(0), torch.zeros(0).long(), 17, "none", "all"), "images are empty"),
        (lambda: ImageData(images(2), torch.zeros(3).long(), 17, "some", "all"), r"labels has shape \(3,\)"),
        (lambda: ImageData(images(), torch.zeros(2).long(), 3, "some", "all"), "the level 3"),
        (lambda: load("digits").binarized(1.0), "threshold is 1.0"),
        (lambda: load("digits").binarized(math.nan), "threshold is nan"),
        (lambda: synthetic_linear_gaussian(0), "n is 0"),
        (lambda: synthetic_linear_gaussian(variance=0.0), "variance is 0"),
        (lambda: synthetic_linear_gaussian(eigenvalues=()), "eigenvalues are 0"),
        (lambda: synthetic_linear_gaussian(pixels=3), "eigenvalues are 3"),
        (lambda: synthetic_linear_gaussian(variance=5.0), "above variance = 5.0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
