"""Likelihoods of grey pixels: integrals by the trapezoid rule, sums over every level, exact fractions."""

import decimal
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    optimal_variance,
)

DOUBLE = torch.float64
LAMBDAS = [0.01, 0.3, 0.499999, 0.5, 0.500001, 0.9]
LEVELS = 5
GREY = [
    (ContinuousBernoulli(), 1),
    (DiscretizedLogistic(scale=0.1, levels=LEVELS), 1),
    (DiscretizedLogistic(scale=0.1, levels=LEVELS, learned=True), 1),
    (Categorical(levels=LEVELS), LEVELS),
]
GREY_IDS = ["continuous-bernoulli", "logistic", "learned-logistic", "categorical"]


def output(factor, *shape):
    """What a network might put out for images of shape[-1] pixels."""
    return torch.randn(*shape[:-1], shape[-1] * factor, dtype=DOUBLE)


def grey(*shape):
    return torch.randint(0, LEVELS, shape).to(DOUBLE) / (LEVELS - 1)


@pytest.mark.parametrize(("likelihood", "factor"), GREY, ids=GREY_IDS)
class TestEveryGreyLikelihood:
    def test_one_value_per_example_whatever_its_neighbours(self, likelihood, factor):
        made, x = output(factor, 6, 3), grey(6, 3)
        p = likelihood(made)
        assert (p.batch_shape, p.event_shape) == ((6,), (3,))
        value = p.log_prob(x)
        assert value.shape == (6,)
        order = torch.randperm(6)
        torch.testing.assert_close(likelihood(made[order]).log_prob(x[order]), value[order])
        alone = torch.cat([likelihood(made[i : i + 1]).log_prob(x[i : i + 1]) for i in range(6)])
        torch.testing.assert_close(alone, value, rtol=1e-13, atol=0)

    def test_pixels_are_summed_and_never_averaged(self, likelihood, factor):
        made, x = output(factor, 4, 3), grey(4, 3)
        twice = likelihood(made.repeat(1, 2)).log_prob(x.repeat(1, 2))
        torch.testing.assert_close(twice, 2 * likelihood(made).log_prob(x))

    def test_sample_axis_first(self, likelihood, factor):
        made, x = output(factor, 4, 6, 3), grey(6, 3)
        value = likelihood(made).log_prob(x)
        assert value.shape == (4, 6)
        torch.testing.assert_close(value[2], likelihood(made[2]).log_prob(x))

    def test_refusals(self, likelihood, factor):
        p = likelihood(output(factor, 6, 3))
        for wrong in (torch.zeros(6, 1), torch.zeros(6, 4), torch.zeros(6)):
            with pytest.raises(ValueError, match=r"x has shape .*wanted .*3"):
                p.log_prob(wrong)
        holed = torch.zeros(6, 3)
        holed[1, 2] = math.nan
        with pytest.raises(ValueError, match="x holds 1 NaN"):
            p.log_prob(holed)
        for value in (-0.25, 1.25, 255.0):
            outside = torch.zeros(6, 3)
            outside[0, 0] = value
            with pytest.raises(ValueError, match=rf"x holds 1 pixels .* {value:g}; wanted every pixel"):
                p.log_prob(outside)
        made = output(factor, 6, 3)
        for wrong in (math.nan, math.inf):
            made[2, 0] = wrong
            with pytest.raises(ValueError, match=r"(logits|mean) holds 1 .*NaN.*inf.*; wanted .*numbers"):
                likelihood(made)

    def test_expanding_keeps_shapes_and_refusals(self, likelihood, factor):
        single = likelihood(output(factor, 1, 3))
        p = single.expand((4,))
        x = grey(4, 3)
        torch.testing.assert_close(p.log_prob(x), single.log_prob(x))
        assert p.sample((2,)).shape == (2, 4, 3)
        with pytest.raises(ValueError, match="x holds 12 pixels"):
            p.log_prob(x + 2)

    def test_samples_match_the_moments(self, likelihood, factor):
        n = 40_000
        p = likelihood(output(factor, 1, 6).sigmoid())  # no pixel that is sure of its level
        draws = p.sample((n,))  # (n, 1, 6)
        assert not draws.requires_grad
        assert draws.min() >= 0
        assert draws.max() <= 1
        assert p.log_prob(draws[:100]).isfinite().all()
        mean, variance = p.mean.detach(), p.variance.detach()
        standard_error = draws.std(0) / n**0.5
        assert ((draws.mean(0) - mean).abs() < 5 * standard_error + 1e-12).all()
        spread = (draws - draws.mean(0)).square()
        assert ((spread.mean(0) - variance).abs() < 5 * spread.std(0) / n**0.5 + 1e-12).all()
        # power: neighbouring pixels have other moments
        assert ((mean.roll(1, -1) - mean).abs().max() > 10 * standard_error).any()

    def test_gradients_match_finite_differences(self, likelihood, factor):
        made, x = output(factor, 2, 3).requires_grad_(), grey(2, 3)
        assert torch.autograd.gradcheck(lambda o: likelihood(o).log_prob(x), made)


# --- continuous Bernoulli ---------------------------------------------------------------------------


class TestContinuousBernoulli:
    @pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
    @pytest.mark.parametrize("lam", LAMBDAS)
    def test_density_integrates_to_one(self, lam, dtype):
        # Simpson's rule on 2001 points; in float32 the values carry rounding of 1e-6
        x = torch.linspace(0, 1, 2001, dtype=DOUBLE).unsqueeze(-1)
        logit = torch.tensor([lam], dtype=DOUBLE).logit().to(dtype)
        density = ContinuousBernoulli()(logit).log_prob(x.to(dtype)).to(DOUBLE).exp()
        total = scipy.integrate.simpson(density.numpy(), x=x[:, 0].numpy())
        assert total == pytest.approx(1.0, abs=1e-8 if dtype == DOUBLE else 3e-6)

    @pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
    @pytest.mark.parametrize("logit", [-1e4, -50.0, 50.0, 1e4])
    def test_density_of_sharp_pixels_integrates_to_one(self, logit, dtype):
        # all of it stands within 40 / |logit| of one end: the grid goes there
        t = torch.linspace(0, 40, 4001, dtype=DOUBLE)
        near_end = t / abs(logit) if logit < 0 else 1 - t / abs(logit)
        p = ContinuousBernoulli()(torch.tensor([logit], dtype=dtype))
        density = p.log_prob(near_end.to(dtype).unsqueeze(-1).clamp(0, 1)).to(DOUBLE).exp() / abs(logit)
        total = scipy.integrate.simpson(density.numpy(), x=t.numpy())
        # float32 cannot place 1 - t / 1e4 better than 6e-8, which is 6e-4 in t
        assert total == pytest.approx(1.0, abs=1e-8 if dtype == DOUBLE else 2e-4)

    @pytest.mark.parametrize("lam", LAMBDAS)
    def test_it_is_cross_entropy_and_the_published_constant(self, lam):
        # C = 2 artanh(1 - 2 lam) / (1 - 2 lam), Loaiza-Ganem and Cunningham, equation 3
        x = torch.tensor([[0.0], [0.2], [0.77], [1.0]], dtype=DOUBLE)
        cross_entropy = x * math.log(lam) + (1 - x) * math.log1p(-lam)
        constant = 2.0 if lam == 0.5 else 2 * math.atanh(1 - 2 * lam) / (1 - 2 * lam)
        logit = torch.tensor([math.log(lam) - math.log1p(-lam)], dtype=DOUBLE)
        got = ContinuousBernoulli()(logit).log_prob(x)
        wanted = (cross_entropy + math.log(constant)).squeeze(-1)
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9 if abs(lam - 0.5) > 1e-3 else 1e-12)

    @pytest.mark.parametrize("sign", [-1, 1])
    def test_fifty_digits(self, sign):
        # the formulas that cancel near 0, with fifty digits to cancel from
        with decimal.localcontext(prec=50):
            for size in ("1e-9", "0.003", "0.2", "0.49999", "0.5", "0.7", "1.2", "1.9", "3", "25"):
                logit = float(size) * sign
                exact = decimal.Decimal(logit)
                growth = exact.exp()
                normaliser = float(((growth - 1) / exact).ln())
                mean = float(growth / (growth - 1) - 1 / exact)
                variance = float(1 / exact**2 - growth / (growth - 1) ** 2)
                p = ContinuousBernoulli()(torch.tensor([logit], dtype=DOUBLE))
                value = p.log_prob(torch.tensor([[0.3]], dtype=DOUBLE)).item()
                assert value == pytest.approx(0.3 * logit - normaliser, abs=3e-14)
                assert p.mean.item() == pytest.approx(mean, abs=3e-15)
                assert p.variance.item() == pytest.approx(variance, abs=3e-15)

    @pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
    def test_series_and_formula_meet(self, dtype):
        # no jump where one takes over from the other: neither in the value nor in the two moments
        eps = torch.finfo(dtype).eps
        for sign in (-1, 1):
            ends = torch.tensor([0.5 * (1 - eps), 0.5], dtype=dtype) * sign
            p = ContinuousBernoulli()(ends.unsqueeze(-1))
            for values in (p.log_prob(torch.full((2, 1), 0.3, dtype=dtype)), p.mean, p.variance):
                assert (values[1] - values[0]).abs() < 40 * eps

    @pytest.mark.parametrize("logit", [-1e4, -30.0, -0.7, -0.49, -1e-3, 0.0, 1e-6, 0.2, 0.51, 3.0, 200.0])
    def test_mean_and_variance_are_the_integrals(self, logit):
        p = ContinuousBernoulli()(torch.tensor([logit], dtype=DOUBLE))
        reach = min(1.0, 40 / max(abs(logit), 1e-9))
        t = torch.linspace(0, reach, 8001, dtype=DOUBLE)
        x = t if logit <= 0 else 1 - t
        density = p.log_prob(x.unsqueeze(-1)).exp()
        mean = scipy.integrate.simpson((x * density).numpy(), x=t.numpy())
        variance = scipy.integrate.simpson(((x - mean) ** 2 * density).numpy(), x=t.numpy())
        assert p.mean.item() == pytest.approx(mean, abs=1e-9)
        assert p.variance.item() == pytest.approx(variance, rel=1e-6)

    def test_the_mean_is_not_the_sigmoid(self):
        p = ContinuousBernoulli()(torch.tensor([2.0], dtype=DOUBLE))
        assert abs(p.mean.item() - 1 / (1 + math.exp(-2))) > 0.2

    @pytest.mark.parametrize("logit", [-200.0, -2.0, -1e-9, 0.0, 0.3, 8.0])
    def test_samples_follow_the_density(self, logit):
        draws = ContinuousBernoulli()(torch.tensor([logit], dtype=DOUBLE)).sample((20_000,))[:, 0].numpy()

        def cdf(x):
            return x if abs(logit) < 1e-6 else np.expm1(x * logit) / np.expm1(logit)

        assert scipy.stats.kstest(draws, cdf).pvalue > 1e-4
        assert scipy.stats.kstest(1 - draws, cdf).pvalue < 1e-8 or abs(logit) < 1e-3  # power

    @pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
    def test_gradient_and_mean_at_every_size_of_logit(self, dtype):
        # d/dl ln p(x) = x - mean, and mean + mirrored mean = 1
        size = torch.cat([torch.zeros(1, dtype=dtype), torch.logspace(-30, 4, 69).to(dtype)])
        logits = torch.cat([-size, size]).unsqueeze(-1).requires_grad_()
        x = torch.full_like(logits, 0.25).detach()
        p = ContinuousBernoulli()(logits)
        (slope,) = torch.autograd.grad(p.log_prob(x).sum(), logits)
        torch.testing.assert_close(slope, 0.25 - p.mean.detach(), rtol=0, atol=200 * torch.finfo(dtype).eps)
        mirrored = ContinuousBernoulli()(-logits).mean
        torch.testing.assert_close(p.mean + mirrored, torch.ones_like(logits))
        (curvature,) = torch.autograd.grad(p.mean.sum(), logits)  # A''(l): the variance, again
        torch.testing.assert_close(curvature, p.variance.detach(), rtol=0, atol=200 * torch.finfo(dtype).eps)

    def test_bernoulli_on_grey_pixels_is_no_density(self):
        # the numbers of the errata: the integral of lam^x (1-lam)^(1-x) is .5 at 1/2, .364 at .1
        x = torch.linspace(0, 1, 2001, dtype=DOUBLE).unsqueeze(-1)
        for lam, mass in ((0.5, 0.5), (0.1, 0.364)):
            logit = torch.tensor([lam], dtype=DOUBLE).logit()
            naive = torch.exp(Bernoulli(validate=False)(logit).log_prob(x))
            total = scipy.integrate.simpson(naive.numpy(), x=x[:, 0].numpy())
            assert total == pytest.approx(mass, abs=5e-4)

    def test_looking_can_be_left_out(self):
        p = ContinuousBernoulli(validate=False)(torch.zeros(1, 2))
        assert p.log_prob(torch.full((1, 2), 2.0)).isfinite().all()
        with pytest.raises(ValueError, match="x has shape"):
            p.log_prob(torch.zeros(1, 1))

    def test_whole_numbers_are_refused(self):
        with pytest.raises(ValueError, match=r"x has dtype torch\.uint8; wanted real floating-point"):
            ContinuousBernoulli()(torch.zeros(1, 2)).log_prob(torch.ones(1, 2, dtype=torch.uint8))


# --- discretised logistic ---------------------------------------------------------------------------


def all_levels(levels, dtype=DOUBLE):
    return torch.arange(levels).to(dtype).unsqueeze(-1) / (levels - 1)  # one image of one pixel each


class TestDiscretizedLogistic:
    @pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
    @pytest.mark.parametrize("scale", [1e-4, 1e-3, 0.004, 0.1, 1.0, 100.0])
    @pytest.mark.parametrize("mean", [-1e4, -0.3, 0.0, 0.5, 0.50196, 0.999, 1.0, 1e4])
    def test_256_levels_sum_to_one(self, mean, scale, dtype):
        p = DiscretizedLogistic(scale=scale)(torch.tensor([mean], dtype=dtype))
        log_p = p.log_prob(all_levels(256, dtype))
        assert not log_p.isnan().any()
        assert (log_p <= 0).all()
        total = log_p.to(DOUBLE).exp().sum().item()
        assert total == pytest.approx(1.0, abs=1e-12 if dtype == DOUBLE else 2e-6)

    @pytest.mark.parametrize("levels", [2, 3, 17, 1024])
    def test_other_numbers_of_levels_sum_to_one(self, levels):
        p = DiscretizedLogistic(scale=0.07, levels=levels)(torch.tensor([0.93], dtype=DOUBLE))
        assert p.log_prob(all_levels(levels)).exp().sum().item() == pytest.approx(1.0, abs=1e-12)

    def test_agrees_with_scipy(self):
        mean, scale, top = 0.4, 0.05, 255
        got = DiscretizedLogistic(scale=scale)(torch.tensor([mean], dtype=DOUBLE)).log_prob(all_levels(256))
        cdf = scipy.stats.logistic(mean, scale).cdf
        j = np.arange(256)
        upper = np.where(j == top, 1.0, cdf((j + 0.5) / top))
        lower = np.where(j == 0, 0.0, cdf((j - 0.5) / top))
        np.testing.assert_allclose(got.exp(), upper - lower, atol=1e-15, rtol=1e-10)

    def test_the_ends_take_the_tails(self):
        # a mean at white: half of the logistic lies beyond it
        p = DiscretizedLogistic(scale=0.1)(torch.tensor([1.0], dtype=DOUBLE))
        beyond = scipy.stats.logistic(1.0, 0.1).sf(1 - 0.5 / 255)
        assert p.log_prob(torch.ones(1, 1, dtype=DOUBLE)).exp().item() == pytest.approx(beyond, rel=1e-12)
        assert beyond > 0.5

    def test_far_levels_keep_their_slope(self):
        # the difference of two sigmoids would be 0 here: its logarithm falls by 1 / scale per unit
        p = DiscretizedLogistic(scale=1e-3)(torch.tensor([0.0], dtype=DOUBLE))
        log_p = p.log_prob(all_levels(256))[100:200]
        assert log_p.isfinite().all()
        torch.testing.assert_close(log_p.diff(), torch.full((99,), -1000 / 255, dtype=DOUBLE))

    @pytest.mark.parametrize(("mean", "scale"), [(0.3, 1e-3), (0.999, 0.02), (-1.0, 0.02), (0.3, 10.0)])
    def test_three_hundred_and_fifty_digits(self, mean, scale):
        # F(b) - F(a) as it is written, with digits enough to cancel from
        with decimal.localcontext(prec=350):
            for level in (0, 1, 77, 254, 255):
                edges = [
                    (decimal.Decimal(level + half) / 255 - decimal.Decimal(mean)) / decimal.Decimal(scale)
                    for half in (-0.5, 0.5)
                ]
                below = [1 / (1 + (-edge).exp()) for edge in edges]
                exact = (1 if level == 255 else below[1]) - (0 if level == 0 else below[0])
                p = DiscretizedLogistic(scale=scale)(torch.tensor([mean], dtype=DOUBLE))
                value = p.log_prob(torch.tensor([[level]])).item()
                assert value == pytest.approx(float(exact.ln()), rel=1e-11, abs=1e-12)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_256_levels_sum_to_one_for_a_mean_of_half_precision(self, dtype):
        # what a network puts out under autocast; bfloat16 has no 128.5, the edge of a bin
        p = DiscretizedLogistic(scale=0.02)(torch.tensor([0.7], dtype=dtype))
        for x in (torch.arange(256, dtype=torch.uint8).unsqueeze(-1), all_levels(256, torch.float32)):
            assert p.log_prob(x).double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)
        assert p.log_prob(p.sample((20,))).isfinite().all()  # its samples are levels, too

    def test_a_narrow_bin_is_the_density_times_its_width(self):
        p = DiscretizedLogistic(scale=100.0)(torch.tensor([0.5], dtype=DOUBLE))
        value = p.log_prob(torch.tensor([[100 / 255]], dtype=DOUBLE)).item()
        density = scipy.stats.logistic(0.5, 100).logpdf(100 / 255)
        assert value == pytest.approx(density - math.log(255), rel=1e-9)

    def test_mean_and_variance_are_sums_over_levels(self):
        means = torch.tensor([-0.5, 0.02, 0.5, 1.0], dtype=DOUBLE)
        p = DiscretizedLogistic(scale=0.2, levels=9)(means)
        one_by_one = [DiscretizedLogistic(scale=0.2, levels=9)(m.unsqueeze(0)) for m in means]
        table = torch.stack([q.log_prob(all_levels(9)) for q in one_by_one], -1).exp()  # (9, 4)
        mean = (table * all_levels(9)).sum(0)
        torch.testing.assert_close(p.mean, mean, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(
            p.variance, (table * (all_levels(9) - mean) ** 2).sum(0), rtol=1e-11, atol=0
        )

    def test_samples_follow_the_table(self):
        n = 50_000
        p = DiscretizedLogistic(scale=0.2, levels=9)(torch.tensor([0.15], dtype=DOUBLE))
        draws = p.sample((n,))[:, 0]
        wanted = p.log_prob(all_levels(9)).exp()
        counts = torch.bincount((draws * 8).round().long(), minlength=9)
        assert scipy.stats.chisquare(counts, n * wanted).pvalue > 1e-4
        assert scipy.stats.chisquare(counts, n * wanted.flip(0)).pvalue < 1e-8  # power
        assert torch.equal(draws, (draws * 8).round() / 8)

    def test_whole_levels_and_floats_are_the_same_image(self):
        p = DiscretizedLogistic(scale=0.1)(torch.rand(4, 6))
        levels = torch.randint(0, 256, (4, 6))
        wanted = p.log_prob(levels / 255)
        for dtype in (torch.uint8, torch.int32, torch.int64):
            torch.testing.assert_close(p.log_prob(levels.to(dtype)), wanted)
        divided_in_float32 = (levels / 255).double()
        torch.testing.assert_close(p.log_prob(divided_in_float32).float(), wanted)
        with pytest.raises(ValueError, match=r"x holds 24 levels out of range, such as 300; .* 0 to 255"):
            p.log_prob(torch.full((4, 6), 300))

    def test_a_pixel_between_two_levels_is_refused(self):
        with pytest.raises(ValueError, match=r"none of the 17 levels, such as 0\.3; .* 1/16 from 0 to 1"):
            DiscretizedLogistic(levels=17)(torch.zeros(1, 1)).log_prob(torch.tensor([[0.3]]))
        free = DiscretizedLogistic(levels=17, validate=False)(torch.zeros(1, 1))
        assert free.log_prob(torch.tensor([[0.3]])).isfinite().all()

    @settings(max_examples=30)
    @given(st.floats(1e-4, 100), st.floats(-1e4, 1e4))
    def test_gradients_are_finite_in_float32(self, scale, mean):
        likelihood = DiscretizedLogistic(scale=scale * 1.01, learned=True, min_scale=scale * 0.5)
        made = torch.full((1, 3), mean).requires_grad_()
        value = likelihood(made).log_prob(torch.tensor([[0.0, 100 / 255, 1.0]]))
        value.sum().backward()
        assert value.isfinite().all()
        assert made.grad.isfinite().all()
        assert likelihood.log_scale.grad.isfinite()

    @pytest.mark.parametrize("scale", [0.0011, 0.2, 5.0])
    def test_a_learned_scale_starts_where_it_was_asked_to_and_stays_above_its_floor(self, scale):
        likelihood = DiscretizedLogistic(scale=scale, learned=True, min_scale=1e-3)
        assert likelihood.scale.item() == pytest.approx(scale, rel=1e-5)
        likelihood.log_scale.data.fill_(-1000.0)
        assert likelihood.scale.item() == pytest.approx(1e-3)
        assert list(DiscretizedLogistic(scale=scale).parameters()) == []
        assert DiscretizedLogistic(scale=scale).scale.item() == scale  # a fixed one, to the last digit

    def test_the_learned_scale_has_the_gradient_of_finite_differences(self):
        likelihood = DiscretizedLogistic(scale=0.1, learned=True, levels=LEVELS).double()
        made, x = torch.rand(3, 4, dtype=DOUBLE), grey(3, 4)
        (slope,) = torch.autograd.grad(likelihood(made).log_prob(x).sum(), likelihood.log_scale)
        ends = []
        for step in (1e-6, -2e-6):
            likelihood.log_scale.data.add_(step)
            ends.append(likelihood(made).log_prob(x).sum().item())
        assert slope.item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"scale": 0.0}, r"scale is 0\.0; wanted a finite number greater than 0"),
            ({"scale": 1e-4, "learned": True}, r"scale is 0\.0001; .* above its floor, min_scale"),
            ({"learned": True, "min_scale": -1.0}, r"min_scale is -1\.0"),
            ({"min_scale": 0.0}, r"min_scale is 0\.0"),
            ({"levels": 1}, "levels is 1; wanted an integer of at least 2"),
            ({"levels": 0}, "levels is 0"),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            DiscretizedLogistic(**arguments)


# --- categorical ------------------------------------------------------------------------------------


class TestCategorical:
    def test_agrees_with_exact_fractions(self):
        # two pixels, three levels; the logits are logarithms of these weights, pixel by pixel
        weights = [[Fraction(1), Fraction(2), Fraction(5)], [Fraction(7), Fraction(1, 2), Fraction(3)]]
        logits = torch.tensor([[math.log(w) for row in weights for w in row]], dtype=DOUBLE)
        p = Categorical(levels=3)(logits)
        for i, j in itertools.product(range(3), repeat=2):
            exact = weights[0][i] / sum(weights[0]) * weights[1][j] / sum(weights[1])
            got = p.log_prob(torch.tensor([[i, j]], dtype=DOUBLE) / 2).exp().item()
            assert got == pytest.approx(float(exact), rel=1e-14)
            assert p.log_prob(torch.tensor([[i, j]])).exp().item() == pytest.approx(float(exact), rel=1e-14)

    def test_all_images_together_have_probability_one(self):
        images = torch.tensor(list(itertools.product(range(4), repeat=3)), dtype=DOUBLE) / 3
        p = Categorical(levels=4)(3 * torch.randn(12, dtype=DOUBLE))
        assert p.log_prob(images).exp().sum().item() == pytest.approx(1.0, abs=1e-14)

    def test_256_levels_sum_to_one_for_extreme_logits(self):
        logits = torch.zeros(256)
        logits[3], logits[7] = 1e4, -1e4
        log_p = Categorical()(logits).log_prob(all_levels(256, torch.float32))
        assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-6)
        assert log_p[7].item() == pytest.approx(-2e4)

    def test_mean_and_variance_are_sums_over_levels(self):
        logits = torch.randn(5, dtype=DOUBLE)
        p = Categorical(levels=5)(logits)
        table = scipy.stats.rv_discrete(values=(np.arange(5), torch.softmax(logits, 0).numpy()))
        assert p.mean.item() == pytest.approx(table.mean() / 4, rel=1e-12)
        assert p.variance.item() == pytest.approx(table.var() / 16, rel=1e-10)

    def test_samples_follow_the_table(self):
        p = Categorical(levels=5)(torch.tensor([0.0, 1.0, -1.0, 0.5, 2.0]))
        counts = torch.bincount((p.sample((20_000,))[:, 0] * 4).round().long(), minlength=5)
        wanted = p.log_prob(all_levels(5, torch.float32)).exp().double()
        assert scipy.stats.chisquare(counts, 20_000 * wanted / wanted.sum()).pvalue > 1e-4
        assert p.sample((0,)).shape == (0, 1)

    def test_a_level_may_be_impossible_but_not_all_of_them(self):
        p = Categorical(levels=2)(torch.tensor([0.5, -math.inf]))
        assert p.log_prob(torch.tensor([[0], [1]])).tolist() == [0.0, -math.inf]
        with pytest.raises(ValueError, match=r"logits holds 1 pixels with .* minus infinity at every level"):
            Categorical(levels=2)(torch.full((2,), -math.inf))

    def test_refuses(self):
        with pytest.raises(ValueError, match=r"logits has shape \(2, 7\); .* a multiple of levels = 4"):
            Categorical(levels=4)(torch.zeros(2, 7))
        with pytest.raises(ValueError, match="levels is 1; wanted an integer of at least 2"):
            Categorical(levels=1)
        with pytest.raises(ValueError, match=r"x holds 1 levels out of range, such as -1; wanted .* 0 to 3"):
            Categorical(levels=4)(torch.zeros(2, 8)).log_prob(torch.tensor([[0, -1], [3, 0]]))


# --- the best shared variance -----------------------------------------------------------------------


class TestOptimalVariance:
    def test_no_other_variance_gives_a_higher_likelihood(self):
        x, mean = torch.randn(7, 5, dtype=DOUBLE), torch.randn(7, 5, dtype=DOUBLE)
        best = optimal_variance(x, mean)
        assert best.shape == ()
        values = {
            factor: Gaussian(std=math.sqrt(best.item() * factor))(mean).log_prob(x).mean().item()
            for factor in (0.5, 0.99, 1.0, 1.01, 2.0)
        }
        assert max(values, key=values.get) == 1.0
        assert values[1.0] == pytest.approx(-2.5 * math.log(2 * math.pi * math.e * best.item()), rel=1e-12)

    def test_agrees_with_numpy_over_draws_too(self):
        x, mean = torch.randn(4, 3, dtype=DOUBLE), torch.randn(6, 4, 3, dtype=DOUBLE)
        wanted = np.mean([np.mean((x.numpy() - m) ** 2) for m in mean.numpy()])
        assert optimal_variance(x, mean).item() == pytest.approx(wanted, rel=1e-13)

    def test_gradients_flow(self):
        x = torch.randn(4, 3, dtype=DOUBLE)
        mean = torch.randn(4, 3, dtype=DOUBLE, requires_grad=True)
        assert torch.autograd.gradcheck(lambda m: optimal_variance(x, m), mean)

    @pytest.mark.usefixtures("unchecked")
    def test_refuses(self):
        x = torch.zeros(4, 3)
        for wrong in (torch.zeros(4, 1), torch.zeros(3), torch.zeros(1, 3), torch.zeros(0, 4, 3)):
            with pytest.raises(ValueError, match=r"mean has shape .*; wanted that of x, \(4, 3\)"):
                optimal_variance(x, wrong)
        with pytest.raises(ValueError, match="mean squared error of mean and x is 0; wanted"):
            optimal_variance(x, x)
        with pytest.raises(ValueError, match="is nan"):
            optimal_variance(x, x * math.nan)
        with pytest.raises(ValueError, match="x has dtype"):
            optimal_variance(x.long(), x)
