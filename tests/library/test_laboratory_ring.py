"""Ring: against polar quadrature, adaptive quadrature, sampling and Kolmogorov and Smirnov."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch

from vae_lib.laboratory import Ring
from vae_lib.laboratory import ring as ring_module


def polar(radii: np.ndarray, angles: int = 32) -> torch.Tensor:
    """Points (radius, angle), (len(radii) * angles, 2)."""
    turn = np.arange(angles) * 2 * np.pi / angles
    grid = radii[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], -1)
    return torch.tensor(grid.reshape(-1, 2))


def test_the_density_integrates_to_one_and_has_the_stated_entropy():
    nodes, weights = np.polynomial.legendre.leggauss(200)
    root = 0.55 * (1 + nodes)  # R = 1 + root**2 up to 2.21, where r = 12; smooths the ln r at R = 1
    radii, weights = 1 + root**2, 0.55 * weights * 2 * root
    log_p = Ring().log_prob(polar(radii)).numpy().reshape(200, 32)
    ring = (weights * radii)[:, None] * (2 * np.pi / 32)
    assert (ring * np.exp(log_p)).sum() == pytest.approx(1.0, abs=1e-9)
    entropy = -(ring * np.exp(log_p) * log_p).sum()
    assert Ring().entropy.item() == pytest.approx(entropy, abs=1e-9)
    # teaching.md 6.5 prints .5937420446; the tail beyond r = 7 makes it .5937420450
    assert Ring().entropy.item() == pytest.approx(0.5937420446, abs=1e-9)
    assert Ring().entropy.dtype == torch.float64


def test_the_entropy_to_twelve_digits():
    def integrand(r):
        log_p = math.log(10 * r) - r * r / 2 - math.log(2 * math.pi) - math.log1p(r / 10)
        return -r * math.exp(-r * r / 2) * log_p

    pieces = [scipy.integrate.quad(integrand, a, a + 1, epsabs=1e-14, epsrel=1e-13)[0] for a in range(12)]
    assert Ring().entropy.item() == pytest.approx(math.fsum(pieces), abs=1e-12)


def test_the_density_is_the_one_of_the_map():
    # change of variables with a numerical Jacobian: ln p(g(z)) = ln N(z; 0, I) - ln |det dg/dz|
    z = torch.randn(50, 2, dtype=torch.float64)
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(lambda one: Ring.decoder(one[None])[0], row) for row in z]
    )
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1) - jacobian.det().abs().log()
    assert (Ring().log_prob(Ring.decoder(z)) - expected).abs().max() < 1e-10


def test_samples():
    ring, n = Ring(), 50_000
    x = ring.sample(n)
    assert x.shape == (n, 2)
    assert x.dtype == torch.float64
    radius = x.norm(dim=-1).numpy()
    assert radius.min() >= 1
    assert scipy.stats.kstest(radius, lambda R: 1 - np.exp(-50 * (R - 1) ** 2)).pvalue > 1e-4
    angle = torch.atan2(x[:, 1], x[:, 0]).numpy() / (2 * np.pi) + 0.5
    assert scipy.stats.kstest(angle, "uniform").pvalue > 1e-4
    for values, expected in (
        (radius, 1 + math.sqrt(math.pi / 2) / 10),  # 1.12533
        (ring.log_prob(x).numpy(), -0.59374),
        (x[:, 0].numpy(), 0.0),
        (x[:, 1].numpy(), 0.0),
    ):
        assert abs(values.mean() - expected) < 5 * values.std() / math.sqrt(n)
    # power: a radius without the factor 1/10, or a density without 1 / (2 pi R), is far outside
    assert (radius.mean() - 1.0) / (radius.std() / math.sqrt(n)) > 100
    assert 1 + math.sqrt(math.pi / 2) / 10 == pytest.approx(1.12533, abs=5e-6)
    same = [ring.sample(7, torch.Generator().manual_seed(4)) for _ in range(2)]
    assert (same[0] == same[1]).all()


def test_inside_the_circle_and_far_out():
    x = torch.tensor([[0.0, 0.0], [0.6, 0.8], [1.0, 0.0], [-0.99, 0.0], [1e-300, 0.0]], dtype=torch.float64)
    assert Ring().log_prob(x[[0, 2, 3, 4]]).tolist() == [-math.inf] * 4
    assert Ring().log_prob(torch.tensor([[1e4, 1e4]]))[0] < -1e9
    assert Ring().log_prob(torch.tensor([[1e150, 0.0]], dtype=torch.float64)).isfinite().all()
    single = Ring().log_prob(torch.tensor([[1.1, 0.3]]))
    assert single.dtype == torch.float32
    assert Ring().log_prob(x[:0]).shape == (0,)
    x = torch.tensor([[0.5, 0.0], [1.1, 0.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    Ring().log_prob(x)[1].backward()
    assert x.grad.isfinite().all()  # what is not chosen leaves no NaN behind


class TestNoisyDecoder:
    @pytest.mark.parametrize("variance", [2.0, 0.05, 0.01, 0.002, 1e-4])
    def test_agrees_with_adaptive_quadrature(self, variance):
        # the last ones lie where the noise of the ring has no weight, but the model still has a density
        radii = np.array([0.9, 1.0, 1.1, 1.25, 1.45, 1.9, 2.2, 2.6])

        def density(r, radius):
            rho = 1 + r / 10
            bessel = scipy.special.ive(0, radius * rho / variance)
            return r * math.exp(-r * r / 2 - (radius - rho) ** 2 / (2 * variance)) * bessel

        got = Ring().noisy_log_prob(torch.tensor(np.stack([0 * radii, -radii], -1)), variance)
        for radius, value in zip(radii, got.tolist(), strict=True):
            centre = 10 * (radius - 1) / (1 + 100 * variance)  # of r given x
            width = 10 * math.sqrt(variance / (1 + 100 * variance))
            cuts = sorted({0.0, 30.0, *np.clip(centre + width * np.arange(-8, 9), 0, 30)})
            pieces = [
                scipy.integrate.quad(density, a, b, args=(radius,), epsabs=0, epsrel=1e-11)[0]
                for a, b in itertools.pairwise(cuts)
            ]
            expected = math.log(math.fsum(pieces)) - math.log(2 * math.pi * variance)
            assert value == pytest.approx(expected, abs=1e-8)

    def test_agrees_with_sampling_the_prior(self):
        ring, variance = Ring(), 0.05
        x = torch.tensor([[1.1, 0.2], [-0.4, 0.9], [0.3, 0.0]], dtype=torch.float64)
        y = ring.sample(200_000)
        squared = (x.unsqueeze(1) - y).square().sum(-1)
        p = torch.exp(-0.5 * squared / variance) / (2 * math.pi * variance)
        error = p.std(-1) / math.sqrt(200_000)
        assert ((p.mean(-1) - ring.noisy_log_prob(x, variance).exp()).abs() < 5 * error).all()
        assert (error / p.mean(-1)).max() < 0.02

    def test_integrates_to_one(self):
        radius = torch.linspace(0, 3.5, 701, dtype=torch.float64)
        x = torch.stack([0.6 * radius, -0.8 * radius], -1)
        density = Ring().noisy_log_prob(x, 0.05).exp()
        total = torch.trapezoid(2 * math.pi * radius * density, radius)
        # the ends: the integrand is odd in the radius, so Euler and Maclaurin give p(0) step² pi / 6 more
        total = total + density[0] * (3.5 / 700) ** 2 * math.pi / 6
        assert total.item() == pytest.approx(1.0, abs=1e-9)

    def test_far_outside_nothing_underflows(self):
        """There r is a Gaussian that the cut at 0 does not touch: Laplace's formula, to O(1 / r)."""
        log_p = Ring().noisy_log_prob(torch.tensor([[0.0, 1e4]]), 0.01).item()
        r = 10 * (1e4 - 1) / 2  # at variance 0.01 half of the way
        kernel = r * math.exp(-0.5 * math.log(2 * math.pi * 1e4 * (1 + r / 10) / 0.01))
        expected = math.log(kernel * math.sqrt(math.pi)) - r * r - math.log(2 * math.pi * 0.01)
        assert log_p == pytest.approx(expected, abs=1e-3, rel=1e-12)

    def test_no_preferred_angle(self):
        radii = np.array([0.7, 1.1, 1.3])
        values = Ring().noisy_log_prob(polar(radii), 0.01).view(3, 32)
        assert (values - values[:, :1]).abs().max() < 1e-12

    def test_pieces_do_not_show(self, monkeypatch):
        x = Ring().sample(11)
        whole = Ring().noisy_log_prob(x, 0.05)
        monkeypatch.setattr(ring_module, "NUMBERS_AT_ONCE", 3000)
        torch.testing.assert_close(Ring().noisy_log_prob(x, 0.05), whole, rtol=1e-13, atol=0)
        assert Ring().noisy_log_prob(x[:0], 0.05).shape == (0,)

    def test_the_ladder_of_ceilings(self):
        ring = Ring()
        ladder = [ring.ceiling(variance).item() for variance in (0.05, 0.01, 0.002, 1e-4)]
        # teaching.md 6.5 prints -1.4496, -.8935, -.6578: a polar grid that ends near r = 4.2. The tail
        # of the data is worth up to 1.6e-3 nats; these are the integrals to infinity.
        assert ladder[:3] == pytest.approx([-1.449877, -0.894403, -0.659391], abs=1e-6)
        assert ladder[:3] == pytest.approx([-1.4496, -0.8935, -0.6578], abs=2e-3)
        assert all(a < b for a, b in itertools.pairwise(ladder))
        assert ladder[-1] < -ring.entropy.item() < ladder[-1] + 0.01
        x = ring.sample(4000)
        values = ring.noisy_log_prob(x, 0.01)
        assert (values.mean() - ladder[1]).abs() < 5 * values.std() / math.sqrt(4000)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.sample(0), "n is 0"),
        (lambda r: r.log_prob(torch.zeros(3)), r"x has shape \(3,\); wanted \(n, 2\)"),
        (lambda r: r.log_prob(torch.zeros(3, 3)), r"x has shape \(3, 3\)"),
        (lambda r: r.log_prob(torch.full((1, 2), math.nan)), "x holds 2 values that are NaN"),
        (lambda r: r.log_prob(torch.ones(1, 2).long()), "x has dtype torch.int64"),
        (lambda r: r.decoder(torch.ones(1, 3)), r"z has shape \(1, 3\)"),
        (lambda r: r.decoder(torch.full((1, 2), math.nan)), "z holds 2 values that are NaN"),
        (lambda r: r.decoder(torch.zeros(1, 2)), "z holds the origin; wanted points with a direction"),
        (lambda r: r.noisy_log_prob(torch.zeros(1, 2), 0.0), r"variance is 0\.0"),
        (lambda r: r.noisy_log_prob(torch.zeros(1, 2), 1e-6), "variance is 1e-06; wanted at least 1e-5"),
        (lambda r: r.noisy_log_prob(torch.full((1, 2), math.inf), 0.1), "x holds 2 values that are NaN or"),
        (lambda r: r.ceiling(-1.0), r"variance is -1\.0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call(Ring())
    assert repr(Ring()) == "Ring()"
