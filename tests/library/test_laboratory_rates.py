"""Collapse growth rates, the Monte-Carlo wall, and joint samples: eigenvalues, flows and quadrature."""

import decimal
import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib import bounds
from vae_lib.laboratory import LinearGaussianModel, collapse_growth_rate, samples_needed, waterfill


class TestCollapse:
    def test_the_published_rates(self):
        # teaching.md no. 41 and exercise 7.6, lambda = 4
        assert collapse_growth_rate(4.0, 0.25).item() == pytest.approx(12.0, abs=1e-12)
        assert collapse_growth_rate(4.0, 3.9).item() == pytest.approx(0.00617, abs=5e-6)
        assert collapse_growth_rate(4.0, 4.1).item() == pytest.approx(-0.00561, abs=5e-6)

    @settings(max_examples=60)
    @given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(0.1, 10))
    def test_the_top_eigenvalue_and_its_sign(self, eigenvalue, variance, beta):
        matrix = [
            [-1 / variance, eigenvalue / variance],
            [eigenvalue / variance, -beta * eigenvalue],
        ]
        spectrum = np.linalg.eigvalsh(matrix)
        rate = collapse_growth_rate(eigenvalue, variance, beta).item()
        assert rate == pytest.approx(spectrum[-1], rel=1e-9, abs=1e-13 * abs(spectrum).max())
        if abs(eigenvalue / (beta * variance) - 1) > 1e-9:
            active = waterfill(torch.tensor([eigenvalue], dtype=torch.float64), variance, beta).active
            assert (rate > 0) == active.item()

    @pytest.mark.parametrize("beta", [1.0, 2.5])
    def test_it_is_the_hessian_of_the_elbo(self, beta):
        # finite differences of the population ELBO at w = v = 0, d = 1, where the gradient is zero
        lam, variance = 1.7, 0.6
        x = torch.tensor([[math.sqrt(lam)]], dtype=torch.float64)

        def elbo(w, v):
            model = LinearGaussianModel(torch.tensor([[w]], dtype=torch.float64), 0 * x[0], variance)
            return model.elbo(x, torch.tensor([[v]]).double(), torch.ones(1).double(), beta).item()

        h = 1e-3
        mixed = (elbo(h, h) - elbo(h, -h) - elbo(-h, h) + elbo(-h, -h)) / (4 * h * h)
        ww = (elbo(h, 0.0) - 2 * elbo(0.0, 0.0) + elbo(-h, 0.0)) / h**2
        vv = (elbo(0.0, h) - 2 * elbo(0.0, 0.0) + elbo(0.0, -h)) / h**2
        top = np.linalg.eigvalsh([[ww, mixed], [mixed, vv]])[-1]
        assert collapse_growth_rate(lam, variance, beta).item() == pytest.approx(top, abs=1e-5)

    @pytest.mark.parametrize("distance", [2.0**-10, 2.0**-30, 2.0**-44, -(2.0**-44)])
    def test_digits_close_to_the_threshold(self, distance):
        # the two terms of the textbook root cancel there; fifty decimal digits do not mind. A variance
        # of 1/4 keeps lambda / variance = 1 + distance exact, so every digit of the rate is defined
        level = 0.25
        with decimal.localcontext() as context:
            context.prec = 50
            lam, variance = (decimal.Decimal(number) for number in (level * (1 + distance), level))
            trace, determinant = -1 / variance - lam, lam / variance - (lam / variance) ** 2
            exact = (trace + (trace * trace - 4 * determinant).sqrt()) / 2
        rate = collapse_growth_rate(level * (1 + distance), level).item()
        assert rate == pytest.approx(float(exact), rel=1e-12, abs=0)  # abs is 1e-12 unless told
        assert collapse_growth_rate(level, level).item() == 0.0

    def test_shapes_and_precision(self):
        table = torch.rand(3, 2) + 0.1
        rates = collapse_growth_rate(table, 0.3)
        assert rates.shape == (3, 2)
        assert rates.dtype == torch.float32
        alone = [collapse_growth_rate(one, 0.3).item() for one in table.flatten()]
        assert rates.flatten().tolist() == pytest.approx(alone, rel=1e-6)
        assert collapse_growth_rate(4, 1).dtype == torch.float64

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0.0, 1.0), "eigenvalue holds 0; wanted numbers greater than 0"),
            ((torch.tensor([1.0, -2.0]), 1.0), "eigenvalue holds -2"),
            ((math.nan, 1.0), "eigenvalue holds 1 value that is NaN"),
            ((torch.tensor([1]), 1.0), "eigenvalue has dtype torch.int64"),
            ((1.0, 0.0), r"variance is 0\.0"),
            ((1.0, 1.0, 0.0), r"beta is 0\.0"),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            collapse_growth_rate(*arguments)


class TestMonteCarloWall:
    @pytest.mark.parametrize(
        ("std", "latent_dim", "expected"),
        [  # teaching.md E13 and exercise 1.6
            (0.5, 1, 160),
            (0.5, 2, 576),
            (0.5, 5, 1.18e4),
            (0.5, 10, 1.41e6),
            (0.5, 20, 2e10),
            (0.1, 5, 2.2e7),
            (0.1, 10, 4.9e12),
        ],
    )
    def test_the_published_counts(self, std, latent_dim, expected):
        assert samples_needed(latent_dim, std, 0.1) == pytest.approx(expected, rel=1e-2)

    @pytest.mark.parametrize("std", [0.1, 0.5, 3.0, 100.0])
    def test_one_dimension_agrees_with_quadrature(self, std):
        x = math.sqrt(1 + std**2)  # the typical point

        def moment(power):
            def integrand(z):
                p = math.exp(-0.5 * ((x - z) / std) ** 2) / (std * math.sqrt(2 * math.pi))
                return p**power * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)

            cuts = [-12, -4, 0, x / (1 + std**2), x, 12] if x < 12 else [-12, -4, 0, 4, 12]
            return math.fsum(
                scipy.integrate.quad(integrand, a, b, epsabs=1e-16, epsrel=1e-12)[0]
                for a, b in itertools.pairwise(cuts)
            )

        relative_variance = moment(2) / moment(1) ** 2 - 1
        assert samples_needed(1, std, 1.0) == pytest.approx(relative_variance, rel=1e-7)
        assert samples_needed(3, std, 0.5) == pytest.approx(4 * ((1 + relative_variance) ** 3 - 1), rel=1e-6)

    def test_that_many_samples_do_reach_the_error(self):
        x, n = torch.full((2,), math.sqrt(1.25), dtype=torch.float64), round(samples_needed(2, 0.5, 0.1))
        z = torch.randn(4000, n, 2, dtype=torch.float64)
        p = torch.distributions.Normal(z, 0.5).log_prob(x).sum(-1).exp().mean(-1)  # 4000 estimates
        exact = torch.distributions.Normal(0.0, math.sqrt(1.25)).log_prob(x.float()).sum().exp()
        spread = (p / exact.item()).std().item()
        assert spread == pytest.approx(0.1, rel=0.1)

    def test_beyond_the_largest_float(self):
        assert samples_needed(5000, 0.1, 0.1) == math.inf
        # far out rho is exp(1/2) / (s sqrt 2), and 1 for a decoder wider than anything
        assert samples_needed(1, 1e-200, 0.1) == pytest.approx(1e202 * math.sqrt(math.e / 2), rel=1e-9)
        assert samples_needed(1, 1e200, 1e-200) == 0.0

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0, 0.5, 0.1), "latent_dim is 0; wanted an integer of at least 1"),
            ((1.5, 0.5, 0.1), r"latent_dim is 1\.5"),
            ((1, 0.0, 0.1), r"std is 0\.0"),
            ((1, 0.5, -0.1), r"relative_error is -0\.1"),
            ((1, 0.5, math.nan), "relative_error is nan"),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            samples_needed(*arguments)


class TestJointSamples:
    def model(self) -> LinearGaussianModel:
        rng = np.random.default_rng(0)
        return LinearGaussianModel(
            torch.tensor(rng.normal(size=(4, 2))), torch.tensor(rng.normal(size=4)), 0.3
        )

    def test_moments_of_the_joint_gaussian(self):
        model, n = self.model(), 100_000
        x, z = model.sample_joint(n)
        assert x.shape == (n, 4)
        assert z.shape == (n, 2)
        both = torch.cat([x - model.bias, z], -1)
        w, eye = model.weight, torch.eye(2, dtype=torch.float64)
        expected = torch.cat(
            [torch.cat([w @ w.T + 0.3 * torch.eye(4).double(), w], 1), torch.cat([w.T, eye], 1)]
        )
        products = both.unsqueeze(-1) * both.unsqueeze(1)
        error = products.std(0) / math.sqrt(n)
        assert ((products.mean(0) - expected).abs() < 5 * error).all()
        assert (both.mean(0).abs() < 5 * both.std(0) / math.sqrt(n)).all()
        assert (w.abs().max() / error.max()) > 10  # power: an independent z would have no covariance with x

    def test_z_is_one_exact_posterior_draw(self):
        # whitened with the posterior of its own x, z is standard normal and independent of x
        model, n = self.model(), 20_000
        x, z = model.sample_joint(n)
        posterior = model.posterior(x)
        white = torch.linalg.solve_triangular(
            posterior.scale_tril, (z - posterior.mean).unsqueeze(-1), upper=False
        ).squeeze(-1)
        square = white.T @ white / n
        assert (square - torch.eye(2).double()).abs().max() < 5 * math.sqrt(2 / n)
        assert (white.T @ (x - x.mean(0)) / n / x.std(0)).abs().max() < 5 / math.sqrt(n)

    def test_the_model_bounds_its_own_samples_from_above(self):
        model, n = self.model(), 20_000
        x, z = model.sample_joint(n)
        weight, variance = model.best_encoder()
        mean = (x - model.bias) @ weight.T
        normal = torch.distributions.Normal
        log_q = normal(mean, variance.sqrt()).log_prob(z).sum(-1)
        log_p = normal(z @ model.weight.T + model.bias, math.sqrt(0.3)).log_prob(x).sum(-1)
        log_w = log_p + normal(0.0, 1.0).log_prob(z).sum(-1) - log_q
        gap = bounds.eubo(log_w.unsqueeze(0)) - model.log_evidence(x)
        assert gap.mean() > 5 * gap.std() / math.sqrt(n)

    def test_sample_is_its_first_half(self):
        model = self.model()
        alone = model.sample(5, torch.Generator().manual_seed(3))
        x, _ = model.sample_joint(5, torch.Generator().manual_seed(3))
        assert (alone == x).all()
        with pytest.raises(ValueError, match="n is 0"):
            model.sample_joint(0)
