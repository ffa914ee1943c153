"""The drawn letters and the ring against what is known about them by another route."""

import hashlib
import math

import pytest
import torch
from scipy import stats

from vae_lib.data import GLYPH_FACTORS, draw_glyphs, load, sample_ring

PARTS = ("train", "validation", "test")

# Areas and centres of gravity of the letters of size 1, from rectangles added and subtracted.
AREA = (0.25 + 0.175 - 0.0625, 0.2 + 0.25 - 0.0625, 0.35)
CENTRE = (
    ((-0.225 * 0.25 + 0.225 * 0.0625) / AREA[0], (-0.375 * 0.175 + 0.375 * 0.0625) / AREA[0]),
    (0.0, (0.375 * 0.2 - 0.375 * 0.0625) / AREA[1]),
    (0.0, -0.5 + 1 / 3),
)


@pytest.fixture(scope="module")
def parts():
    return {split: load("glyphs", split) for split in (*PARTS, "all")}


def ink(images):
    """Area (n,) and centre of gravity (n, 2), x to the right, y upwards, in pixels from the middle."""
    grey = images.double() / 16  # the share of each pixel
    axis = torch.arange(28, dtype=torch.float64) + 0.5 - 14
    area = grey.sum((1, 2))
    x, y = (grey.sum(1) * axis).sum(1) / area, (grey.sum(2) * -axis).sum(1) / area
    return area, torch.stack([x, y], 1)


def random_factors(n, shape, size, seed):
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(n, generator=generator, dtype=torch.float64) * 2 * math.pi
    place = torch.rand(n, 2, generator=generator, dtype=torch.float64) * 6 - 3
    same = torch.ones(n, dtype=torch.float64)
    return torch.stack([shape * same, size * same, angle, place[:, 0], place[:, 1]], 1)


@pytest.mark.parametrize("shape", [0, 1, 2])
@pytest.mark.parametrize("size", [8.0, 13.3])
def test_ink_has_the_area_and_the_centre_of_the_letter(shape, size):
    # Over random places the number of points inside has exactly the area as its mean.
    n = 400
    factors = random_factors(n, shape, size, seed=shape)
    area, centre = ink(draw_glyphs(factors))
    wanted = AREA[shape] * size**2
    assert abs(area.mean() - wanted) < 5 * area.std() / math.sqrt(n)
    assert area.std() < 0.02 * wanted
    cos, sin = factors[:, 2].cos(), factors[:, 2].sin()
    u, v = (size * part for part in CENTRE[shape])
    expected = torch.stack([cos * u - sin * v, sin * u + cos * v], 1) + factors[:, 3:]
    miss = centre - expected  # (n, 2)
    assert (miss.mean(0).abs() < 5 * miss.std(0) / math.sqrt(n)).all()
    assert miss.abs().max() < 0.25  # pixels; a flipped axis or angle is off by whole pixels


def test_a_quarter_turn_turns_the_image():
    factors = random_factors(60, 0, 11.0, seed=5)
    factors[:, 0] = torch.arange(60) % 3
    turned = factors.clone()
    turned[:, 2] += math.pi / 2
    turned[:, 3], turned[:, 4] = -factors[:, 4], factors[:, 3]
    assert torch.equal(draw_glyphs(turned), torch.rot90(draw_glyphs(factors), 1, (1, 2)))


def test_no_two_of_the_7776_images_are_the_same(parts):
    everything = parts["all"]
    assert everything.images.shape == (7776, 28, 28)
    assert len(everything.images.flatten(1).unique(dim=0)) == 3 * 4 * 8 * 9 * 9 == 7776
    assert len(everything.factors.unique(dim=0)) == 7776
    assert everything.levels == 17
    assert int(everything.images.max()) == 16
    wanted = sum(AREA) / 3 * (8**2 + 10**2 + 12**2 + 14**2) / 4  # pixels of ink
    assert everything.images.double().sum((1, 2)).mean() / 16 == pytest.approx(wanted, rel=0.01)


def test_the_set_never_changes(parts):
    # Computed once with torch 2.13; reported results depend on it.
    bytes_of_all = parts["all"].images.numpy().tobytes()
    assert hashlib.sha256(bytes_of_all).hexdigest().startswith("1c1203b60cfed366")
    sums = [int((parts[s].images.sum((1, 2)) * torch.arange(len(parts[s]))).sum()) for s in PARTS]
    assert sums == [14149499210, 307788806, 307148438]


def test_parts_make_up_the_whole_and_share_nothing(parts):
    assert [len(parts[split]) for split in PARTS] == [6000, 888, 888]
    rows = torch.cat([parts[split].images.flatten(1) for split in PARTS])
    assert len(rows.unique(dim=0)) == 7776
    for split in PARTS:
        assert torch.bincount(parts[split].labels).min() > 0.29 * len(parts[split])
    assert torch.equal(load("glyphs", "test").images, parts["test"].images)


@pytest.mark.parametrize("split", [*PARTS, "all"])
def test_factors_draw_the_images_again(parts, split):
    data = parts[split]
    rows = torch.arange(0, len(data), 29)
    assert torch.equal(draw_glyphs(data.factors[rows]), data.images[rows])
    assert data.factor_names == GLYPH_FACTORS == ("shape", "size", "angle", "x", "y")
    assert torch.equal(data.labels, data.factors[:, 0].long())


def test_factors_take_the_values_that_are_documented(parts):
    shape, size, angle, x, y = parts["all"].factors.unbind(1)
    assert shape.unique().tolist() == [0, 1, 2]
    assert size.unique().tolist() == [8, 10, 12, 14]
    assert torch.allclose(angle.unique(), torch.arange(8) * math.pi / 4)
    assert x.unique().tolist() == y.unique().tolist() == list(range(-4, 5))


def test_images_do_not_hang_on_rounding(parts):
    # A machine that rounds differently draws the same set: no point lies on an edge.
    factors = parts["all"].factors[::13].double()
    factors[:, 2] = (factors[:, 2] * 4 / math.pi).round() * math.pi / 4
    noise = 1e-9 * torch.randn(len(factors), 4, dtype=torch.float64)
    nudged = factors + torch.cat([torch.zeros(len(factors), 1), noise], 1)
    assert torch.equal(draw_glyphs(nudged), draw_glyphs(factors))


def test_order_of_the_rows_does_not_matter_and_one_row_is_enough():
    factors = random_factors(300, 1, 9.0, seed=8)
    factors[:, 0] = torch.arange(300) % 3
    images = draw_glyphs(factors)
    order = torch.randperm(300)
    assert torch.equal(draw_glyphs(factors[order]), images[order])
    assert torch.equal(draw_glyphs(factors[7:8])[0], images[7])
    assert torch.equal(draw_glyphs(factors[:20].float()), draw_glyphs(factors[:20].float().double()))


ROW = [0.0, 10.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (torch.zeros(3, 4), r"factors have shape \(3, 4\); wanted \(n, 5\)"),
        (torch.zeros(0, 5), r"factors have shape \(0, 5\); wanted \(n, 5\) with n of at least 1"),
        (torch.tensor([[3.0, *ROW[1:]]]), "factors name a shape that is none of 0 to 2"),
        (torch.tensor([[0.5, *ROW[1:]]]), "factors name a shape that is none of 0 to 2"),
        (torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0]]), "factors hold the size 0.0; wanted sizes above 0"),
        (torch.tensor([ROW, [0.0, 10.0, math.nan, 0.0, 0.0]]), "factors holds 1 value that is NaN"),
        (torch.tensor([ROW, [0.0, 10.0, 0.0, 0.0, -8.0]]), "factors of row 1 put the letter beyond"),
        (torch.tensor([[2.0, 24.0, 0.0, 0.0, 0.0]]), "factors of row 0 put the letter beyond the edge"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_factors_get_a_clear_error(factors, message):
    with pytest.raises(ValueError, match=message):
        draw_glyphs(factors)


@pytest.mark.parametrize("split", [*PARTS, "all"])
def test_ring_has_its_density(split):
    x = load("ring", split).points.double()
    radius = x.norm(dim=1)
    assert radius.min() >= 1
    noise = 10 * (radius.numpy() - 1)  # the length of z: 1 - exp(-r^2 / 2) is the chance to be below r
    assert stats.kstest(noise, "rayleigh").pvalue > 1e-3
    turn = torch.atan2(x[:, 1], x[:, 0]).numpy() / (2 * math.pi) + 0.5
    assert stats.kstest(turn, "uniform").pvalue > 1e-3
    # The density of teaching.md 1.2 has the entropy 0.59374 nats.
    r = 10 * (radius - 1)
    log_p = (10 * r / (2 * math.pi * radius)).log() - r**2 / 2
    assert abs(log_p.mean() + 0.59374) < 5 * log_p.std() / math.sqrt(len(x))


def test_mean_radius_of_the_ring():
    radius = sample_ring(200_000, seed=3).double().norm(dim=1)
    assert abs(radius.mean() - 1.12533) < 5 * radius.std() / math.sqrt(200_000)
    assert abs(radius.mean() - (1 + math.sqrt(math.pi / 2) / 10)) < 5 * radius.std() / math.sqrt(200_000)


def test_ring_keeps_the_noise_it_was_made_from():
    data = load("ring", "validation")
    z, x = data.latents.double(), data.points.double()
    assert torch.allclose(z.norm(dim=1), 10 * (x.norm(dim=1) - 1), atol=1e-5)
    assert torch.allclose((z * x).sum(1), z.norm(dim=1) * x.norm(dim=1), atol=1e-5)
    assert data.points.dtype == data.latents.dtype == torch.float32


def test_parts_of_the_ring_share_no_point():
    parts = [load("ring", split).points for split in PARTS]
    assert [len(part) for part in parts] == [10_000, 2_000, 2_000]
    assert len(torch.cat(parts).unique(dim=0)) == 14_000
    assert torch.equal(torch.cat(parts), load("ring", "all").points)
    assert torch.equal(load("ring").points, parts[0])
    for seed in range(3):  # nor does what a reader draws with a small seed lie in a part
        fresh = sample_ring(2_000, seed=seed)
        assert not any(torch.equal(fresh[:10], part[:10]) for part in parts)


def test_ring_follows_the_seed_alone():
    state = torch.random.get_rng_state()
    assert torch.equal(sample_ring(5, seed=1), sample_ring(5, seed=1))
    assert not torch.equal(sample_ring(5, seed=1), sample_ring(5, seed=2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert sample_ring(1).shape == (1, 2)
    assert repr(load("ring")) == "PointData(name='ring', split='train', points=10000, dimensions=2)"


@pytest.mark.parametrize("n", [0, -1, 2.0, True])
@pytest.mark.usefixtures("unchecked")
def test_a_ring_of_no_points(n):
    with pytest.raises(ValueError, match=r"n is .*; wanted an integer of at least 1"):
        sample_ring(n)
