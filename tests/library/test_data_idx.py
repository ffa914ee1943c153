"""The IDX format: what is read, and what each broken file is told."""

import gzip
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_lib.data.idx import parse_idx, unpack_idx
from vae_lib.data.npz import npz_array


def idx(array, *, kind=8, sizes=None):
    sizes = array.shape if sizes is None else sizes
    return bytes([0, 0, kind, array.ndim]) + np.array(sizes, ">u4").tobytes() + array.tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_what_is_written_is_read(sizes):
    array = np.random.default_rng(0).integers(0, 256, sizes, dtype=np.uint8)
    read = parse_idx(idx(array), tuple(sizes), "a file")
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)
    assert np.array_equal(unpack_idx(gzip.compress(idx(array)), tuple(sizes), "a file"), array)


def test_the_magic_numbers_are_those_of_mnist():
    assert int.from_bytes(idx(IMAGES)[:4], "big") == 2051
    assert int.from_bytes(idx(IMAGES[0, 0])[:4], "big") == 2049


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "a file has the wrong magic number: 0, wanted 2051"),
        (idx(IMAGES)[:3], "a file has the wrong magic number: "),
        (idx(IMAGES.reshape(-1)), "a file has the wrong magic number: 2049, wanted 2051"),
        (idx(IMAGES, kind=13), "a file has the wrong magic number: 3331, wanted 2051"),
        (b"\1" + idx(IMAGES)[1:], "a file has the wrong magic number: 16779267, wanted 2051"),
        (idx(IMAGES)[:12], "a file is cut short: it ends within its header"),
        (idx(IMAGES[:3]), "a file has the wrong count: 3 entries, wanted 4"),
        (idx(IMAGES.reshape(4, 2, 3)), r"a file has entries of the wrong size: \(2, 3\), wanted \(3, 2\)"),
        (idx(IMAGES)[:-1], "a file has the wrong length: 23 bytes of data, wanted 24"),
        (idx(IMAGES) + b"!", "a file has the wrong length: 25 bytes of data, wanted 24"),
    ],
)
def test_broken_files(raw, message):
    with pytest.raises(ValueError, match=message):
        parse_idx(raw, (4, 3, 2), "a file")
    with pytest.raises(ValueError, match=message):
        unpack_idx(gzip.compress(raw), (4, 3, 2), "a file")


PACKED = gzip.compress(idx(IMAGES), mtime=0)


@pytest.mark.parametrize("end", range(2, len(PACKED), 3))
def test_cut_short_anywhere(end):
    with pytest.raises(ValueError, match="a file is cut short: the gzip stream does not end"):
        unpack_idx(PACKED[:end], (4, 3, 2), "a file")


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"", "a file is no gzip file"),
        (idx(IMAGES), "a file is no gzip file"),
        (b"PK\3\4 a zip file", "a file is no gzip file"),
        (PACKED[:-8] + bytes(8), "a file is damaged: CRC check failed"),
        (PACKED[:10] + b"\xff\xff\xff" + PACKED[13:], "a file is damaged: "),
        (b"\x1f\x8b\x07" + PACKED[3:], "a file is damaged: Unknown compression method"),
    ],
)
def test_broken_gzip(packed, message):
    with pytest.raises(ValueError, match=message):
        unpack_idx(packed, (4, 3, 2), "a file")


def test_a_bomb_is_not_unpacked():
    bomb = gzip.compress(idx(IMAGES) + bytes(50_000_000))
    with pytest.raises(ValueError, match="25 bytes of data, wanted 24"):
        unpack_idx(bomb, (4, 3, 2), "a file")


def test_an_archive_with_a_pickle_in_it_is_refused():
    stream = io.BytesIO()
    np.savez(stream, plain=np.arange(3), objects=np.array([{}], dtype=object))
    assert npz_array(stream.getvalue(), "plain").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="allow_pickle=False"):
        npz_array(stream.getvalue(), "objects")
