"""QuantileModel: against convolution, closed forms for a Gaussian, and the law of the vanishing gap."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from torch.distributions import (
    Categorical,
    Exponential,
    Gumbel,
    MixtureSameFamily,
    Normal,
    StudentT,
    TransformedDistribution,
    Uniform,
)
from torch.distributions.transforms import AffineTransform, SigmoidTransform

from vae_lib.laboratory import QuantileModel


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gaussian(std: float = 1.0) -> Normal:
    return Normal(*double(0.0, std))


def logistic_mixture() -> MixtureSameFamily:
    location, scale = double(-1.5, 1.5), double(0.4, 0.4)
    logit = [SigmoidTransform().inv, AffineTransform(location, scale)]
    components = TransformedDistribution(Uniform(torch.zeros_like(scale), torch.ones_like(scale)), logit)
    return MixtureSameFamily(Categorical(double(0.5, 0.5)), components)


def logistic_density(x):
    return sum(0.5 * scipy.stats.logistic.pdf(x, m, 0.4) for m in (-1.5, 1.5))


class TestGaussianData:
    @pytest.mark.parametrize(("width", "std"), [(1.0, 0.5), (2.0, 0.1), (3.0, 1.0)])
    def test_closed_forms(self, width, std):
        model, x = QuantileModel(gaussian(width), std), double(0.0, 1.3, -0.4) * width
        total = width**2 + std**2
        np.testing.assert_allclose(
            model.log_evidence(x), scipy.stats.norm(0, math.sqrt(total)).logpdf(x.numpy()), atol=1e-10
        )
        kl = 0.5 * (width**2 / total - 1 + math.log(total / width**2))
        assert model.kl_data_to_model(401).item() == pytest.approx(kl, abs=1e-10)
        # the posterior is N(width x / total, std² / total), the encoder N(x / width, std² / width²)
        mean, variance = model.encoder(x)
        torch.testing.assert_close(mean, x / width, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(variance, torch.full_like(x, std**2 / width**2), rtol=1e-9, atol=0)
        shift, ratio = mean - width * x / total, (std**2 / width**2) / (std**2 / total)
        gap = 0.5 * (ratio - 1 - math.log(ratio) + shift.square() * total / std**2)
        torch.testing.assert_close(model.log_evidence(x) - model.elbo(x), gap, rtol=0, atol=1e-9)
        mean_square = (1 / width - width / total) ** 2 * width**2
        average = 0.5 * (ratio - 1 - math.log(ratio) + mean_square * total / std**2)
        assert model.average_gap(401).item() == pytest.approx(average, abs=1e-7)

    def test_the_decoder_is_linear(self):
        z = torch.linspace(-6, 6, 25, dtype=torch.float64)
        torch.testing.assert_close(QuantileModel(gaussian(2.0), 0.5).decoder(z), 2 * z, rtol=1e-7, atol=1e-10)


class TestAnyLaw:
    def test_the_decoder_turns_noise_into_data(self):
        model = QuantileModel(logistic_mixture(), 0.2)
        z = torch.randn(20_000, dtype=torch.float64)
        x = model.decoder(z).numpy()
        cdf = lambda x: 0.5 * (scipy.stats.logistic.cdf(x, -1.5, 0.4) + scipy.stats.logistic.cdf(x, 1.5, 0.4))  # noqa: E731
        assert scipy.stats.kstest(x, cdf).pvalue > 1e-4
        np.testing.assert_allclose(cdf(x), scipy.special.ndtr(z.numpy()), atol=1e-12)
        mean, _ = model.encoder(torch.tensor(x))
        torch.testing.assert_close(mean, z, rtol=1e-8, atol=1e-8)  # one is the inverse of the other
        assert model.decoder(z.view(100, 200)).shape == (100, 200)
        assert model.decoder(z[:0]).shape == (0,)

    @pytest.mark.parametrize("std", [0.4, 0.1])
    def test_the_evidence_is_the_data_plus_noise(self, std):
        # by convolution in x: neither g nor z appears
        model, x = QuantileModel(logistic_mixture(), std), double(-3.0, -1.5, 0.0, 0.7, 2.5, 6.0)
        for value, got in zip(x.tolist(), model.log_evidence(x).tolist(), strict=True):

            def integrand(t, value=value):
                return logistic_density(t) * scipy.stats.norm.pdf(value, t, std)

            pieces = [
                scipy.integrate.quad(integrand, value + a * std, value + (a + 2) * std, epsrel=1e-11)[0]
                for a in range(-10, 10, 2)
            ]
            assert got == pytest.approx(math.log(math.fsum(pieces)), abs=1e-9)

    def test_the_slope_of_the_inverse_by_finite_differences(self):
        model, x, h = QuantileModel(logistic_mixture(), 0.3), double(-2.0, 0.1, 1.4), 1e-5
        _, variance = model.encoder(x)
        slope = (model.encoder(x + h)[0] - model.encoder(x - h)[0]) / (2 * h)
        torch.testing.assert_close(variance.sqrt(), 0.3 * slope, rtol=1e-7, atol=0)

    def test_the_elbo_by_sampling(self):
        model, x, n = QuantileModel(logistic_mixture(), 0.2), double(-1.2, 0.3), 40_000
        mean, variance = model.encoder(x)
        q = Normal(mean, variance.sqrt())
        z = q.sample((n,))
        log_w = Normal(model.decoder(z), 0.2).log_prob(x) + gaussian().log_prob(z) - q.log_prob(z)
        assert ((log_w.mean(0) - model.elbo(x)).abs() < 5 * log_w.std(0) / math.sqrt(n)).all()
        assert (model.elbo(x) < model.log_evidence(x)).all()

    def test_both_errors_vanish_with_the_noise(self):
        # teaching.md 6.7 M8: KL .0147, .0013, .0001 and gap .541, .133, .023 for another mixture
        models = [QuantileModel(logistic_mixture(), std) for std in (0.4, 0.2, 0.1)]
        kl = [model.kl_data_to_model(401).item() for model in models]
        gap = [model.average_gap(401).item() for model in models]
        x = np.linspace(-13, 13, 20001)
        for model, value in zip(models, kl, strict=True):
            t = np.arange(-9 * model.std, 9 * model.std, x[1] - x[0])
            noise = scipy.stats.norm.pdf(t, 0, model.std)
            blurred = np.convolve(logistic_density(x), noise / noise.sum(), mode="same")
            inner = np.abs(x) < 10
            p = logistic_density(x)[inner]
            assert value == pytest.approx((p * np.log(p / blurred[inner])).sum() * (x[1] - x[0]), abs=1e-6)
        assert kl == pytest.approx([0.016107, 0.0013565, 0.0000923], rel=1e-3)
        assert kl[0] / kl[1] > 8  # the fourth power of sigma in the end
        assert kl[1] / kl[2] == pytest.approx(16, rel=0.15)
        assert gap[0] / gap[1] == pytest.approx(4, rel=0.15)  # the square of sigma
        assert gap[1] / gap[2] == pytest.approx(4, rel=0.35)
        assert models[2].average_gap(801).item() == pytest.approx(gap[2], abs=1e-6)

    def test_one_value_per_example_whatever_its_neighbours(self):
        model, x = QuantileModel(logistic_mixture(), 0.4), double(-1.0, 0.2, 1.0, 3.0)
        for method in (model.log_evidence, model.elbo):
            assert method(x).shape == (4,)
            torch.testing.assert_close(method(x.flip(0)), method(x).flip(0), rtol=1e-12, atol=1e-13)
            alone = torch.cat([method(row) for row in x.split(1)])
            torch.testing.assert_close(alone, method(x), rtol=1e-12, atol=1e-13)
            assert method(x.float()).dtype == torch.float64
        assert repr(model) == "QuantileModel(MixtureSameFamily, std=0.4)"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: QuantileModel(gaussian(), 0.0), r"std is 0\.0"),
        (lambda: QuantileModel(Normal(torch.zeros(2), 1.0), 0.1), r"law has batch shape \(2,\)"),
        (lambda: QuantileModel(Exponential(double(1.0)[0]), 0.1), "wanted the whole real line"),
        (lambda: QuantileModel(StudentT(double(3.0)[0]), 0.1), "law is StudentT, which has no cdf"),
        (
            lambda: QuantileModel(Gumbel(double(0.0)[0], double(1.0)[0]), 0.1),
            r"law is Gumbel, whose cdf fails far out \(.*\); wanted .* validate_args=False$",
        ),
        (lambda: QuantileModel(gaussian(), 1e-5), "std is 1e-05, and the law has gaps that need"),
        (lambda: QuantileModel(gaussian(), 1).decoder(double(math.nan)), "z holds 1 value that is NaN"),
        (lambda: QuantileModel(gaussian(), 1).log_evidence(double(math.inf)), "x holds 1 value"),
        (lambda: QuantileModel(gaussian(), 1).log_evidence(torch.zeros(2, 2)), r"x has shape \(2, 2\)"),
        (lambda: QuantileModel(gaussian(), 1).elbo(double()), r"x has shape \(0,\); wanted at least one"),
        (lambda: QuantileModel(gaussian(), 1).elbo(double(0.0, 4.0)), r"x holds 4, whose encoder reaches"),
        (lambda: QuantileModel(gaussian(0.3), 1).average_gap(), r"std is 1: for 1 of the data the encoder"),
        (lambda: QuantileModel(gaussian(), 1).elbo(torch.tensor([1])), "x has dtype torch.int64"),
        (lambda: QuantileModel(gaussian(), 1).elbo(double(60.0)), r"x holds 60, so far out that F\(x\)"),
        (lambda: QuantileModel(gaussian(), 1).kl_data_to_model(1), "points is 1; wanted an integer"),
        (lambda: QuantileModel(gaussian(), 1).average_gap(0), "points is 0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
