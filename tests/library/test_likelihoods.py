"""likelihoods: against SciPy, exact fractions, sums and integrals over the whole support."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions

from vae_lib.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    bits_per_dim,
)

BOTH = [Bernoulli(), Gaussian(std=0.4), Gaussian(std=0.4, learned=True)]


def binary(*shape):
    return torch.randint(0, 2, shape).double()


class TestEveryLikelihood:
    @pytest.mark.parametrize("likelihood", BOTH, ids=str)
    def test_one_value_per_example_whatever_its_neighbours(self, likelihood):
        output, x = torch.randn(6, 5, dtype=torch.float64), binary(6, 5)
        p = likelihood(output)
        assert isinstance(p, distributions.Independent)
        assert (p.batch_shape, p.event_shape) == ((6,), (5,))
        value = p.log_prob(x)
        assert value.shape == (6,)
        order = torch.randperm(6)
        torch.testing.assert_close(likelihood(output[order]).log_prob(x[order]), value[order])
        alone = torch.cat([likelihood(output[i : i + 1]).log_prob(x[i : i + 1]) for i in range(6)])
        torch.testing.assert_close(alone, value, rtol=1e-13, atol=0)

    @pytest.mark.parametrize("likelihood", BOTH, ids=str)
    def test_pixels_are_summed_and_never_averaged(self, likelihood):
        output, x = torch.randn(3, 5, dtype=torch.float64), binary(3, 5)
        twice = likelihood(output.repeat(1, 2)).log_prob(x.repeat(1, 2))
        torch.testing.assert_close(twice, 2 * likelihood(output).log_prob(x))

    @pytest.mark.parametrize("likelihood", BOTH, ids=str)
    def test_sample_axis_first(self, likelihood):
        output, x = torch.randn(4, 6, 5, dtype=torch.float64), binary(6, 5)
        value = likelihood(output).log_prob(x)
        assert value.shape == (4, 6)
        torch.testing.assert_close(value[2], likelihood(output[2]).log_prob(x))

    @pytest.mark.parametrize("likelihood", BOTH, ids=str)
    def test_another_number_of_pixels_is_refused(self, likelihood):
        p = likelihood(torch.zeros(6, 5))
        for wrong in (torch.zeros(6, 1), torch.zeros(6, 6), torch.zeros(6)):
            with pytest.raises(ValueError, match=rf"x has shape \({wrong.shape[0]},.*wanted.* 5\)"):
                p.log_prob(wrong)

    @pytest.mark.parametrize("likelihood", BOTH, ids=str)
    def test_a_batch_that_does_not_fit_is_refused(self, likelihood):
        p = likelihood(torch.zeros(7, 6, 5))
        for fits in ((6, 5), (1, 5), (5,), (2, 7, 6, 5)):
            assert p.log_prob(torch.zeros(fits)).shape[-2:] == (7, 6)
        for wrong in (torch.zeros(4, 5), torch.zeros(2, 6, 5)):
            with pytest.raises(ValueError, match=rf"x has shape \({wrong.shape[0]}.*of shape \(7, 6\)"):
                p.log_prob(wrong)

    @pytest.mark.parametrize("likelihood", BOTH, ids=str)
    def test_nan_is_refused(self, likelihood):
        x = torch.zeros(2, 3)
        x[1, 2] = math.nan
        with pytest.raises(ValueError, match="x holds 1 NaN"):
            likelihood(torch.zeros(2, 3)).log_prob(x)
        # an infinite logit would make NaN of a pixel that it is right about
        for wrong in (math.nan, math.inf, -math.inf):
            x[1, 2] = wrong
            with pytest.raises(ValueError, match=r"(logits|mean) holds 1 value that is NaN or infinite"):
                likelihood(x)

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize("likelihood", BOTH, ids=str)
    def test_an_output_without_pixels_is_refused(self, likelihood):
        with pytest.raises(ValueError, match=r"(logits|mean) has shape \(\)"):
            likelihood(torch.tensor(0.0))
        with pytest.raises(ValueError, match=r"(logits|mean) has dtype torch.int64"):
            likelihood(torch.zeros(2, 3, dtype=torch.long))

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize("likelihood", [*BOTH, Categorical(levels=3)], ids=str)
    def test_an_array_is_refused(self, likelihood):
        with pytest.raises(ValueError, match=r"x is of type ndarray; wanted a torch\.Tensor"):
            likelihood(torch.zeros(2, 3)).log_prob(np.zeros((2, 3)))

    @pytest.mark.parametrize("likelihood", BOTH, ids=str)
    def test_expanding_keeps_the_refusals(self, likelihood):
        p = likelihood(torch.zeros(1, 3)).expand((4,))
        assert p.log_prob(torch.zeros(4, 3)).shape == (4,)
        with pytest.raises(ValueError, match="x has shape"):
            p.log_prob(torch.zeros(4, 1))

    def test_refusals_do_not_depend_on_the_global_switch_of_torch(self):
        before = distributions.Distribution._validate_args
        try:
            distributions.Distribution.set_default_validate_args(False)
            with pytest.raises(ValueError, match="grey"):
                Bernoulli()(torch.zeros(1, 2)).log_prob(torch.full((1, 2), 0.5))
        finally:
            distributions.Distribution.set_default_validate_args(before)
        assert before is True

    def test_looking_can_be_left_out_for_data_checked_before(self):
        x, output = binary(3, 4), torch.randn(3, 4, dtype=torch.float64)
        for quick, careful in [
            (Bernoulli(validate=False), Bernoulli()),
            (Gaussian(validate=False), Gaussian()),
        ]:
            torch.testing.assert_close(quick(output).log_prob(x), careful(output).log_prob(x))
            assert quick(output).log_prob(x * math.nan).isnan().all()
            with pytest.raises(ValueError, match="x has shape"):  # shapes cost nothing
                quick(output).log_prob(x[:, :1])


class TestBernoulli:
    def test_agrees_with_scipy(self):
        logits, x = torch.randn(4, 7, dtype=torch.float64), binary(4, 7)
        expected = scipy.stats.bernoulli(torch.sigmoid(logits)).logpmf(x).sum(-1)
        np.testing.assert_allclose(Bernoulli()(logits).log_prob(x), expected, rtol=1e-12)

    def test_agrees_with_exact_fractions(self):
        odds = [Fraction(1, 3), Fraction(5, 2), Fraction(9, 1)]  # logits are their logarithms
        logits = torch.tensor([[math.log(o) for o in odds]], dtype=torch.float64)
        for x in itertools.product([0, 1], repeat=3):
            exact = math.prod(o / (1 + o) if b else 1 / (1 + o) for o, b in zip(odds, x, strict=True))
            got = Bernoulli()(logits).log_prob(torch.tensor([x], dtype=torch.float64)).exp().item()
            assert got == pytest.approx(float(exact), rel=1e-14)

    def test_all_images_together_have_probability_one(self):
        images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)), dtype=torch.float64)
        p = Bernoulli()(3 * torch.randn(8, dtype=torch.float64))
        assert p.log_prob(images).exp().sum().item() == pytest.approx(1.0, abs=1e-14)
        assert (p.log_prob(images) <= 0).all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_extreme_logits(self, dtype):
        logits = torch.tensor([[-1000.0], [-20.0], [20.0], [1000.0]], dtype=dtype)
        zero, one = torch.zeros(4, 1, dtype=dtype), torch.ones(4, 1, dtype=dtype)
        small = -math.log1p(math.exp(-20.0))
        p = Bernoulli()(logits)
        assert p.log_prob(one).tolist() == pytest.approx([-1000, -20 + small, small, 0], abs=1e-8)
        assert p.log_prob(zero).tolist() == pytest.approx([0, small, -20 + small, -1000], abs=1e-8)

    def test_gradient_is_pixel_minus_probability(self):
        logits, x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), binary(3, 4)
        (gradient,) = torch.autograd.grad(Bernoulli()(logits).log_prob(x).sum(), logits)
        torch.testing.assert_close(gradient, x - torch.sigmoid(logits))

    @pytest.mark.parametrize("grey", [0.5, -1.0, 2.0, 255.0, 1e-6])
    def test_grey_pixels_are_refused_by_name(self, grey):
        x = torch.zeros(2, 3)
        x[0, 1] = grey
        with pytest.raises(ValueError, match=r"x holds 1 grey pixels, such as .*wanted .* 0 or 1"):
            Bernoulli()(torch.zeros(2, 3)).log_prob(x)

    def test_black_and_white_of_any_type(self):
        x = binary(2, 3)
        expected = Bernoulli()(torch.ones(2, 3)).log_prob(x.float())
        for dtype in (torch.uint8, torch.bool, torch.long):
            values = Bernoulli()(torch.ones(2, 3)).log_prob(x.to(dtype))
            torch.testing.assert_close(values, expected)
        grey = torch.full((2, 3), 255, dtype=torch.uint8)
        with pytest.raises(ValueError, match="x holds 6 grey pixels, such as 255"):
            Bernoulli()(torch.ones(2, 3)).log_prob(grey)

    def test_mean_and_samples(self):
        logits = torch.tensor([[-1.0, 0.0, 2.0]])
        p = Bernoulli()(logits)
        torch.testing.assert_close(p.mean, torch.sigmoid(logits))
        draws = p.sample((4000,))  # (4000, 1, 3)
        assert set(draws.unique().tolist()) == {0.0, 1.0}
        assert ((draws.mean(0) - p.mean).abs() < 5 * 0.5 / math.sqrt(4000)).all()


class TestGaussian:
    @pytest.mark.parametrize("learned", [False, True])
    def test_agrees_with_scipy(self, learned):
        mean, x = torch.randn(2, 4, 50, dtype=torch.float64)
        likelihood = Gaussian(std=0.3, learned=learned).double()
        std = likelihood.std.item() if learned else 0.3
        expected = scipy.stats.norm(mean, std).logpdf(x).sum(-1)
        np.testing.assert_allclose(likelihood(mean).log_prob(x).detach(), expected, rtol=1e-12)

    @pytest.mark.parametrize("std", [0.05, 0.7, 3.0])
    @pytest.mark.parametrize("learned", [False, True])
    def test_density_integrates_to_one(self, std, learned):
        u = torch.linspace(-10, 10, 401, dtype=torch.float64) * std
        x = torch.cartesian_prod(u, u)  # two pixels
        p = Gaussian(std=std, learned=learned).double()(torch.zeros(2, dtype=torch.float64))
        density = p.log_prob(x).exp().view(401, 401).detach()
        total = torch.trapezoid(torch.trapezoid(density, u), u)
        assert total.item() == pytest.approx(1.0, abs=1e-9)

    def test_value_by_hand(self):
        # D = 4, sigma = 0.3, squared distance 1: no factor can hide
        x, mean = torch.full((1, 4), 0.5).double(), torch.zeros(1, 4).double()
        value = Gaussian(std=0.3)(mean).log_prob(x).item()
        assert value == pytest.approx(-2 * math.log(2 * math.pi * 0.09) - 1 / 0.18, rel=1e-13)

    def test_a_fixed_std_is_exact_in_every_precision_and_is_no_parameter(self):
        likelihood = Gaussian(std=0.1)
        assert list(likelihood.parameters()) == []
        assert likelihood.log_var is None
        assert likelihood.state_dict() == {}
        for dtype in (torch.float32, torch.float64):
            p = likelihood(torch.zeros(1, 1, dtype=dtype))
            assert (p.stddev == torch.tensor(0.1, dtype=dtype)).all()
        assert likelihood.std.item() == 0.1

    @pytest.mark.parametrize("std", [0.0011, 0.1, 5.0])
    def test_a_learned_std_starts_where_it_was_asked_to(self, std):
        assert Gaussian(std=std, learned=True).std.item() == pytest.approx(std, rel=1e-6)

    def test_the_best_learned_variance_is_the_mean_squared_error(self):
        mean, x = torch.randn(2, 30, 8, dtype=torch.float64)
        likelihood = Gaussian(std=1.0, learned=True, min_std=0.01).double()
        error = (x - mean).square().mean().item()
        likelihood.log_var.data.fill_(math.log(error - 0.01**2))
        (slope,) = torch.autograd.grad(likelihood(mean).log_prob(x).sum(), likelihood.log_var)
        assert abs(slope.item()) < 1e-10
        best = likelihood(mean).log_prob(x).mean().item()
        for step in (-0.3, -0.01, 0.01, 0.3):
            likelihood.log_var.data.fill_(math.log(error - 0.01**2) + step)
            assert likelihood(mean).log_prob(x).mean().item() < best

    def test_the_floor_is_smooth(self):
        likelihood = Gaussian(std=0.5, learned=True, min_std=0.1).double()
        stds, slopes = [], []
        for log_var in (-30.0, -8.0, -4.6, -2.0, 3.0):
            likelihood.log_var.data.fill_(log_var)
            stds.append(likelihood.std.item())
            (slope,) = torch.autograd.grad(likelihood.std, likelihood.log_var)
            slopes.append(slope.item())
        assert stds == sorted(stds)
        assert stds[0] == pytest.approx(0.1, rel=1e-6)
        assert stds[-1] == pytest.approx(math.exp(1.5), rel=1e-3)
        assert min(slopes) > 0

    def test_the_floor_bounds_the_density_of_perfect_reconstructions(self):
        likelihood = Gaussian(std=0.5, learned=True, min_std=0.1)
        likelihood.log_var.data.fill_(-1000.0)
        x = torch.zeros(1, 10)
        assert likelihood(x).log_prob(x).item() == pytest.approx(-5 * math.log(2 * math.pi * 0.01), rel=1e-6)

    def test_gradients_reach_the_mean_and_the_std(self):
        mean = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
        likelihood = Gaussian(std=0.5, learned=True).double()
        likelihood(mean).log_prob(torch.zeros(2, 3).double()).sum().backward()
        torch.testing.assert_close(mean.grad, -mean.detach() / likelihood.std.detach() ** 2)
        assert likelihood.log_var.grad.abs() > 0
        draws = likelihood(mean).rsample((5,))
        assert draws.shape == (5, 2, 3)
        assert draws.requires_grad

    def test_a_learned_std_travels_with_the_state(self):
        first, second = Gaussian(std=0.5, learned=True), Gaussian(std=2.0, learned=True)
        second.load_state_dict(first.state_dict())
        assert second.std.item() == first.std.item()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"std": 0.0}, r"std is 0\.0; wanted a finite number greater than 0"),
            ({"std": -1.0}, r"std is -1\.0"),
            ({"std": math.nan}, "std is nan"),
            ({"std": math.inf}, "std is inf"),
            ({"std": 1e-3, "learned": True}, r"std is 0\.001; .* above its floor, min_std = 0\.001"),
            ({"std": 1.0, "learned": True, "min_std": 0.0}, r"min_std is 0\.0"),
            ({"std": 1.0, "min_std": -1.0}, r"min_std is -1\.0"),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            Gaussian(**arguments)


def test_representations():
    for kind in (Bernoulli, ContinuousBernoulli):
        assert repr(kind()) == f"{kind.__name__}()"
        assert repr(kind(validate=False)) == f"{kind.__name__}(validate=False)"
    assert repr(Categorical(3)) == "Categorical(levels=3)"
    assert repr(Gaussian(std=0.4)) == "Gaussian(std=0.4, learned=False)"
    logistic = DiscretizedLogistic(scale=0.25, learned=True, levels=17)
    assert repr(logistic) == "DiscretizedLogistic(scale=0.25, learned=True, levels=17)"


class TestBitsPerDim:
    @settings(max_examples=30)
    @given(st.floats(0.01, 3.0), st.integers(1, 20), st.sampled_from([2.0, 16.0, 255.0]))
    def test_scaling_the_data_changes_nothing(self, std, dims, scale):
        raw = torch.linspace(0, 5, dims, dtype=torch.float64).unsqueeze(0)
        zero = torch.zeros(1, dims, dtype=torch.float64)
        plain = Gaussian(std=std)(zero).log_prob(raw)
        scaled = Gaussian(std=std / scale)(zero).log_prob(raw / scale)
        expected = scipy.stats.norm(0, std).logpdf(raw).sum() / dims / -math.log(2)
        assert bits_per_dim(plain, dims).item() == pytest.approx(expected, rel=1e-10, abs=1e-10)
        assert bits_per_dim(scaled, dims, scale=scale).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)

    def test_uniform_bytes_cost_eight_bits(self):
        assert bits_per_dim(torch.tensor([-10 * math.log(256)]), 10).item() == pytest.approx(8.0)
        # a uniform density on [0, 1) is a density of 1: bytes divided by 256 cost 8 bits again
        assert bits_per_dim(torch.zeros(1), 10, scale=256).item() == pytest.approx(8.0)

    @pytest.mark.usefixtures("unchecked")
    def test_refuses(self):
        with pytest.raises(ValueError, match="dims is 0; wanted an integer of at least 1"):
            bits_per_dim(torch.zeros(1), 0)
        with pytest.raises(ValueError, match=r"dims is 2\.5"):
            bits_per_dim(torch.zeros(1), 2.5)
        with pytest.raises(ValueError, match=r"scale is -1\.0"):
            bits_per_dim(torch.zeros(1), 2, scale=-1.0)
        with pytest.raises(ValueError, match="log_prob has dtype"):
            bits_per_dim(torch.zeros(1).long(), 2)
