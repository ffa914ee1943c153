"""The real data sets: what is loaded against the figures of the folder that holds them.

The figures are those of the README in that folder, which were computed from the files without this
library. Without the folder (no VAE_LIB_DATA) these tests are skipped; continuous integration has it.
"""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_lib.data import load
from vae_lib.data.frey import FREY_BLOCKS, FREY_GAP
from vae_lib.data.sources import SETS

FOLDER = os.environ.get("VAE_LIB_DATA")
SPLITS = ("train", "validation", "test")
pytestmark = pytest.mark.skipif(
    not FOLDER, reason="VAE_LIB_DATA is not set: the real data sets are not on this machine"
)

MNIST_COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}
IDX = {  # mean, std, sha256 of the unpacked file: images, then labels
    ("mnist", "train"): (
        33.318421,
        78.567490,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        4.453933,
        2.889246,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    ("mnist", "test"): (
        33.791224,
        79.172463,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        4.443400,
        2.895720,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    ("fashion_mnist", "train"): (
        72.940352,
        90.021182,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        4.5,
        2.872281,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    ("fashion_mnist", "test"): (
        73.146567,
        89.873259,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        4.5,
        2.872281,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
IDX_CASES = pytest.mark.parametrize(("name", "split"), IDX, ids=["-".join(case) for case in IDX])


def mean_and_std(*parts: torch.Tensor) -> tuple[float, float]:
    """By counting how often each value occurs: no rounding worth the name."""
    if max(int(part.max()) for part in parts) == 1:  # 358 million of them are counted faster so
        ones = sum(int(np.count_nonzero(part.numpy())) for part in parts)
        counts = torch.tensor([sum(part.numel() for part in parts) - ones, ones]).double()
    else:
        counts = sum(torch.bincount(part.flatten(), minlength=256).double() for part in parts)
    at = torch.arange(len(counts), dtype=torch.float64)
    mean = (counts * at).sum() / counts.sum()
    return float(mean), float(((counts * (at - mean) ** 2).sum() / counts.sum()).sqrt())


def official(name: str, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of an original file: the training file is train and validation together."""
    parts = [load(name, part) for part in (("train", "validation") if split == "train" else ("test",))]
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def rows_of(images: torch.Tensor) -> list[bytes]:
    return [row.tobytes() for row in images.flatten(1).numpy()]


@IDX_CASES
def test_the_mnist_family_is_its_files_byte_for_byte(name, split):
    images, labels = official(name, split)
    n = len(images)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert images.shape == ({"train": 60_000, "test": 10_000}[split], 28, 28)
    mean, std, images_sha, label_mean, label_std, labels_sha = IDX[name, split]
    assert mean_and_std(images) == pytest.approx((mean, std), abs=6e-7)
    assert mean_and_std(labels) == pytest.approx((label_mean, label_std), abs=6e-7)
    assert (int(images.min()), int(images.max())) == (0, 255)
    header = b"".join(number.to_bytes(4, "big") for number in (2051, n, 28, 28))
    assert hashlib.sha256(header + images.numpy().tobytes()).hexdigest() == images_sha
    header = b"".join(number.to_bytes(4, "big") for number in (2049, n))
    assert hashlib.sha256(header + labels.numpy().astype(np.uint8).tobytes()).hexdigest() == labels_sha
    wanted = MNIST_COUNTS[split] if name == "mnist" else [n // 10] * 10
    assert torch.bincount(labels).tolist() == wanted


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_parts_of_the_mnist_family(name):
    parts = [load(name, split) for split in SPLITS]
    assert [len(part) for part in parts] == [50_000, 10_000, 10_000]
    assert {(part.levels, part.shape, part.name) for part in parts} == {(256, (28, 28), name)}
    everything = load(name, "all")
    assert torch.equal(everything.images, torch.cat([part.images for part in parts]))
    assert torch.equal(everything.labels, torch.cat([part.labels for part in parts]))
    assert len(set(rows_of(everything.images))) == 70_000  # so no image is in two parts


def test_mnist_is_read_within_a_second():
    started = time.process_time()  # of the processor, so that a busy machine is no fault
    load("mnist", "train")
    assert time.process_time() - started < 1


def test_scaled_mnist_has_the_published_mean_and_deviation():
    x = load("mnist", "test").scaled()
    assert float(x.double().mean()) == pytest.approx(0.132515, abs=1e-6)
    assert float(x.double().std()) == pytest.approx(0.310480, abs=1e-6)


def test_binarized_mnist():
    wanted = {"train": (0.130562, 0.336921), "validation": (0.131127, 0.337539), "test": (0.132512, 0.339047)}
    parts = {split: load("binarized_mnist", split) for split in SPLITS}
    assert [len(part) for part in parts.values()] == [50_000, 10_000, 10_000]
    for split, part in parts.items():
        assert mean_and_std(part.images) == pytest.approx(wanted[split], abs=6e-7)
        assert (part.levels, part.labels, part.shape) == (2, None, (28, 28))
        assert (part.images.dtype, int(part.images.max())) == (torch.uint8, 1)
    everything = load("binarized_mnist", "all")
    assert torch.equal(everything.images, torch.cat([part.images for part in parts.values()]))
    assert len(set(rows_of(everything.images))) == 70_000


def test_binarized_mnist_are_draws_from_mnist():
    # Every binary test image fits the grey image it was drawn from: pixels in order, not mirrored.
    grey = load("mnist", "test").images.flatten(1)
    draws = load("binarized_mnist", "test").images.flatten(1)[::500]  # 20 images
    never, always = (grey == 0).float(), (grey == 255).float()
    clashes = draws.float() @ never.T + (1 - draws.float()) @ always.T  # (20, 10000)
    assert (clashes.min(1).values == 0).all()
    # Sorted by digit: taking the digit of the image that fits, it never falls.
    digits = load("mnist", "test").labels[clashes.argmin(1)]
    assert (digits.diff() >= 0).all()
    assert digits.unique().tolist() == list(range(10))


OMNIGLOT = {
    (28, "background"): (19_280, 19.874234, 58.730797),
    (28, "evaluation"): (13_180, 21.492017, 60.991551),
    (105, "background"): (19_280, 1 - 0.922060, 0.268077),
    (105, "evaluation"): (13_180, 1 - 0.915716, 0.277813),
}


@pytest.mark.parametrize("size", [28, 105])
def test_omniglot(size):
    parts = {split: load("omniglot", split, size=size) for split in SPLITS}
    assert [len(part) for part in parts.values()] == [16_720, 2_560, 13_180]
    official = {"background": ("train", "validation"), "evaluation": ("test",)}
    for key, splits in official.items():
        count, mean, std = OMNIGLOT[size, key]
        images = [parts[split].images for split in splits]
        assert sum(len(each) for each in images) == count
        assert mean_and_std(*images) == pytest.approx((mean, std), abs=6e-7)
        assert {int(each.min()) for each in images} == {0}
        assert {int(each.max()) for each in images} == {255 if size == 28 else 1}
    levels = 256 if size == 28 else 2
    assert {(part.levels, part.shape) for part in parts.values()} == {(levels, (size, size))}
    # twenty of each character, and no character in two parts
    labels = [part.labels for part in parts.values()]
    assert [(int(each.min()), int(each.max())) for each in labels] == [(0, 835), (836, 963), (964, 1622)]
    assert torch.bincount(torch.cat(labels)).tolist() == [20] * 1623
    assert torch.cat(labels[:2]).double().mean() == 481.5
    assert (labels[2] - 964).double().mean() == 329.0


def test_no_image_of_omniglot_is_in_two_parts():
    rows = [set(rows_of(load("omniglot", split).images)) for split in SPLITS]
    assert sum(len(each) for each in rows) == len(set.union(*rows)) == 32_460 - 1


def test_the_whole_of_omniglot_is_its_parts_in_order():
    everything = load("omniglot", "all")
    assert torch.equal(everything.images, torch.cat([load("omniglot", split).images for split in SPLITS]))
    assert torch.equal(everything.labels, torch.cat([load("omniglot", split).labels for split in SPLITS]))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_small_omniglot_is_the_large_one_averaged_over_areas(split):
    large, small = load("omniglot", split, size=105), load("omniglot", split)
    assert torch.equal(large.labels, small.labels)
    edges = torch.arange(29, dtype=torch.float64) * 3.75
    pixel = torch.arange(105, dtype=torch.float64)
    shared = torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)
    weights = shared.clamp(min=0) / 3.75  # (28, 105)
    rows = torch.arange(0, len(small), 101)
    average = 255 * weights @ large.images[rows].double() @ weights.T
    assert (average - small.images[rows]).abs().max() <= 0.5 + 1e-9


def test_the_validation_part_of_omniglot_begins_with_a_new_alphabet():
    # The same twenty people drew all characters of an alphabet, in the same order, and how tall, wide
    # and heavy a person draws stays the same within it: neighbours correlate at 0.25, and not at a border.
    train, validation = (load("omniglot", split, size=105).images for split in ("train", "validation"))
    ink = torch.cat([train[20 * 800 :], validation]).view(164, 20, 105, 105).float()
    habits = torch.stack([ink.sum((2, 3)), ink.amax(3).sum(2), ink.amax(2).sum(2)], -1).double()
    habits = (habits - habits.mean(1, keepdim=True)) / (habits.std(1, keepdim=True) + 1e-9)
    rows = habits.flatten(1) / habits.flatten(1).norm(dim=1, keepdim=True)  # (164, 60)
    alike = rows @ rows.T

    def across(border: int, reach: int = 8) -> float:
        at = border - 800
        return float(alike[max(at - reach, 0) : at, at : at + reach].mean())

    borders = {836, 850, 892, 909}
    within = [across(c) for c in range(808, 957) if min(abs(c - border) for border in borders) >= 8]
    assert np.median(within) > 0.15
    assert across(836) < 0.05
    assert across(836) == min(across(c) for c in range(830, 843))


def test_frey_faces():
    everything = load("frey_faces", "all")
    images = everything.images
    assert images.shape == (1965, 28, 20)
    assert (everything.levels, everything.labels, everything.shape) == (256, None, (28, 20))
    assert mean_and_std(images) == pytest.approx((154.460870, 44.896223), abs=6e-7)
    assert (int(images.min()), int(images.max())) == (8, 238)
    wanted = "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest() == wanted


def test_no_held_out_frame_is_near_a_frame_of_another_part():
    at = {row: frame for frame, row in enumerate(rows_of(load("frey_faces", "all").images))}
    assert len(at) == 1965  # no two frames are the same, so each can be found again
    frames = {split: [at[row] for row in rows_of(load("frey_faces", split).images)] for split in SPLITS}
    assert [len(frames[split]) for split in SPLITS] == [1465, 200, 200]
    for split in SPLITS:
        assert frames[split] == list(range(*FREY_BLOCKS[split]))
        for other in set(SPLITS) - {split}:
            distance = np.abs(np.subtract.outer(frames[split], frames[other])).min()
            assert distance > FREY_GAP == 50


def test_frames_beyond_the_gap_are_no_closer_than_any_two():
    frames = load("frey_faces", "all").scaled().double() * 255
    order = torch.randperm(1965, generator=torch.Generator().manual_seed(0))

    def apart(lag: int) -> float:
        return float(((frames[lag:] - frames[:-lag]) ** 2).mean().sqrt())

    anyhow = float(((frames - frames[order]) ** 2).mean().sqrt())
    assert apart(1) < 0.6 * anyhow
    assert apart(FREY_GAP + 1) > 0.9 * anyhow


def test_the_registry_is_the_list_of_checksums_of_the_folder():
    lines = (Path(FOLDER) / "SHA256SUMS").read_text().split("\n")
    wanted = {path: sha256 for sha256, path in (line.split() for line in lines if line)}
    files = {file.path: file for one in SETS.values() for file in one.files}
    assert {path: file.sha256 for path, file in files.items()} == wanted
    for path, file in files.items():
        assert (Path(FOLDER) / path).stat().st_size == file.size


@pytest.mark.parametrize("name", SETS)
def test_the_registry_counts_the_images(name):
    one, data = SETS[name], load(name, "all")
    assert len(data) == one.images
    if name != "ring":
        assert "{} × {}".format(*data.shape) in one.size
