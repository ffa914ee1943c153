"""divergences: against SciPy, the trapezoid rule, affine invariance and samples."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions

from vae_lib.divergences import (
    Estimate,
    kl_categorical,
    kl_diagonal_gaussian,
    kl_monte_carlo,
    kl_multivariate_gaussian,
)

SEEDS = st.integers(0, 10**6)


def simplex(rng, *shape) -> torch.Tensor:
    return torch.tensor(rng.dirichlet(np.full(shape[-1], 0.5), size=shape[:-1]))


def trapezoid_kl(mean, std, prior_mean, prior_std) -> float:
    """KL between two Gaussians in one dimension; the grid is in units of the first one's width."""
    u = np.linspace(-12.0, 12.0, 4001)
    z = mean + std * u
    log_q = -0.5 * u**2 - np.log(std) - 0.5 * np.log(2 * np.pi)
    log_p = -0.5 * ((z - prior_mean) / prior_std) ** 2 - np.log(prior_std) - 0.5 * np.log(2 * np.pi)
    return np.trapezoid(np.exp(log_q) * (log_q - log_p), z)


class TestCategorical:
    @settings(max_examples=40)
    @given(SEEDS, st.integers(1, 6), st.integers(1, 9))
    def test_agrees_with_scipy_and_is_never_negative(self, seed, batch, classes):
        rng = np.random.default_rng(seed)
        q, p = simplex(rng, batch, classes), simplex(rng, batch, classes)
        value = kl_categorical(q, p)
        expected = scipy.special.rel_entr(q.numpy(), p.numpy()).sum(-1)
        assert value.shape == (batch,)
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
        assert (value >= -1e-15).all()
        assert (kl_categorical(q, q) == 0).all()
        order = rng.permutation(classes)
        np.testing.assert_allclose(kl_categorical(q[:, order], p[:, order]), value, rtol=1e-12, atol=1e-14)
        alone = torch.cat([kl_categorical(a, b) for a, b in zip(q.split(1), p.split(1), strict=True)])
        np.testing.assert_allclose(alone, value, rtol=1e-12, atol=1e-14)

    def test_zeros(self):
        half, one = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
        assert kl_categorical(one, half).item() == pytest.approx(math.log(2))
        assert kl_categorical(half, one).item() == math.inf
        assert kl_categorical(one, one).item() == 0.0

    def test_one_distribution_for_all_rows(self):
        rng = np.random.default_rng(0)
        q, p = simplex(rng, 4, 2, 3), simplex(rng, 3)
        torch.testing.assert_close(kl_categorical(q, p), kl_categorical(q, p.expand(4, 2, 3)))

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("q", "p", "message"),
        [
            ([[0.5, 0.5]] * 3, [[0.5, 0.5]], r"p has shape \(1, 2\); wanted the shape of q, \(3, 2"),
            ([0.5, 0.5], [[0.5, 0.5]], r"p has shape \(1, 2\)"),
            ([0.5, 0.5], [1.0], r"p has shape \(1,\)"),
            ([0.5, 0.6], [0.5, 0.5], r"q holds a row that sums to 1\.1; wanted rows that sum to 1"),
            ([0.5, 0.5], [0.2, 0.2], r"p holds a row that sums to 0\.4"),
            ([1.5, -0.5], [0.5, 0.5], r"q holds the probability -0\.5"),
            ([math.nan, 1.0], [0.5, 0.5], "q holds 1 value that is NaN"),
            ([], [], r"q has shape \(0,\); wanted at least one probability"),
        ],
    )
    def test_refuses(self, q, p, message):
        with pytest.raises(ValueError, match=message):
            kl_categorical(torch.tensor(q), torch.tensor(p))

    def test_a_probability_that_rounds_to_zero_has_no_gradient_and_not_nan(self):
        logits = torch.tensor([[0.0, 0.5, -200.0]], requires_grad=True)  # softmax is 0 in float32
        p = torch.tensor([0.2, 0.3, 0.5])
        kl_categorical(logits.softmax(-1), p).sum().backward()
        twin = logits.detach()[:, :2].double().requires_grad_()  # the same without the third
        (twin.softmax(-1) * (twin.log_softmax(-1) - p[:2].log())).sum().backward()
        torch.testing.assert_close(logits.grad[:, :2].double(), twin.grad, rtol=1e-5, atol=1e-6)
        assert logits.grad[0, 2] == 0

    def test_rows_of_a_coarser_type_do_not_sum_to_one_and_say_by_how_much(self):
        rows = torch.tensor([[0.1, 0.3, 0.6]]).double()  # rounded in float32, added in float64
        with pytest.raises(
            ValueError, match=r"q holds a row that sums to 1\.00000003725; .* within 1\.5e-08"
        ):
            kl_categorical(rows, rows)

    @pytest.mark.usefixtures("unchecked")
    def test_refuses_integers_and_lists(self):
        with pytest.raises(ValueError, match="q has dtype"):
            kl_categorical(torch.tensor([1, 0]), torch.tensor([1, 0]))
        with pytest.raises(ValueError, match=r"p is of type list; wanted a torch\.Tensor"):
            kl_categorical(torch.tensor([0.5, 0.5]), [0.5, 0.5])


class TestDiagonalGaussian:
    @settings(max_examples=30)
    @given(SEEDS, st.integers(1, 4), st.integers(1, 3))
    def test_agrees_with_the_trapezoid_rule(self, seed, batch, latent):
        rng = np.random.default_rng(seed)
        mean, prior_mean = rng.normal(0, 2, (2, batch, latent))
        log_var, prior_log_var = rng.uniform(-5, 3, (2, batch, latent))
        value = kl_diagonal_gaussian(
            mean=torch.tensor(mean),
            log_var=torch.tensor(log_var),
            prior_mean=torch.tensor(prior_mean),
            prior_log_var=torch.tensor(prior_log_var),
        )
        columns = (mean, np.exp(log_var / 2), prior_mean, np.exp(prior_log_var / 2))
        expected = np.vectorize(trapezoid_kl)(*columns).sum(-1)
        np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-11)
        standard = kl_diagonal_gaussian(mean=torch.tensor(mean), log_var=torch.tensor(log_var))
        expected = np.vectorize(trapezoid_kl)(mean, np.exp(log_var / 2), 0.0, 1.0).sum(-1)
        np.testing.assert_allclose(standard, expected, rtol=1e-11, atol=1e-11)

    def test_values_by_hand(self):
        def kl(mean, variance):
            return kl_diagonal_gaussian(
                mean=torch.tensor([mean]), log_var=torch.tensor([math.log(variance)])
            ).item()

        assert kl(0.0, 1.0) == 0.0
        assert kl(3.0, 1.0) == pytest.approx(4.5)
        assert kl(-3.0, 1.0) == pytest.approx(4.5)
        # a variance of 4, not a standard deviation of 4
        assert kl(0.0, 4.0) == pytest.approx(0.5 * (4 - 1 - math.log(4)), rel=1e-6)

    def test_sums_over_latents_and_keeps_every_other_dimension(self):
        mean, log_var = torch.randn(2, 7, 5, 3, dtype=torch.float64)
        value = kl_diagonal_gaussian(mean=mean, log_var=log_var)
        assert value.shape == (7, 5)
        twice = kl_diagonal_gaussian(
            mean=torch.cat([mean, mean], -1), log_var=torch.cat([log_var, log_var], -1)
        )
        torch.testing.assert_close(twice, 2 * value)
        torch.testing.assert_close(
            kl_diagonal_gaussian(mean=mean[2:3, 1:2], log_var=log_var[2:3, 1:2]), value[2:3, 1:2]
        )

    def test_prior_as_number_vector_or_full_shape(self):
        mean, log_var = torch.randn(2, 3, 3, dtype=torch.float64)
        vector = torch.tensor([0.5, 0.5, 0.5], dtype=torch.float64)
        values = [
            kl_diagonal_gaussian(mean=mean, log_var=log_var, prior_mean=a, prior_log_var=a)
            for a in (0.5, vector[0], vector, vector.expand(3, 3))
        ]
        for value in values[1:]:
            torch.testing.assert_close(value, values[0], rtol=1e-14, atol=0)
        integers = kl_diagonal_gaussian(mean=mean, log_var=log_var, prior_mean=1, prior_log_var=0)
        torch.testing.assert_close(integers, kl_diagonal_gaussian(mean=mean - 1.0, log_var=log_var))

    def test_extreme_widths(self):
        log_var = torch.tensor([[-60.0], [-700.0], [0.0], [80.0]])
        value = kl_diagonal_gaussian(mean=torch.zeros(4, 1), log_var=log_var)
        assert value.tolist() == pytest.approx([29.5, 349.5, 0.0, 0.5 * math.exp(80)], rel=1e-6)
        # nearly equal distributions: log_var**2 / 4, lost by 1 + ... - 1 in the usual formula
        tiny = kl_diagonal_gaussian(mean=torch.zeros(1, 1), log_var=torch.full((1, 1), 1e-3))
        assert tiny.item() == pytest.approx(2.5e-7, rel=1e-3)

    def test_gradient_agrees_with_finite_differences(self):
        arguments = torch.randn(4, 2, 3, dtype=torch.float64).unbind(0)
        arguments = [a.clone().requires_grad_() for a in arguments]

        def kl(mean, log_var, prior_mean, prior_log_var):
            return kl_diagonal_gaussian(
                mean=mean, log_var=log_var, prior_mean=prior_mean, prior_log_var=prior_log_var
            )

        assert torch.autograd.gradcheck(kl, arguments)

    def test_nan_stays_with_its_example(self):
        mean = torch.tensor([[0.0, 0.0], [math.nan, 0.0]])
        value = kl_diagonal_gaussian(mean=mean, log_var=torch.zeros(2, 2))
        assert value.isnan().tolist() == [False, True]

    def test_arguments_are_keywords(self):
        with pytest.raises(TypeError):
            kl_diagonal_gaussian(torch.zeros(1, 1), torch.zeros(1, 1))

    def test_a_prior_too_narrow_for_a_number_is_infinitely_far(self):
        mean, log_var = torch.tensor([[0.5]]), torch.tensor([[0.0]])
        for narrow in (-1e4, torch.tensor(-1e4)):
            kl = kl_diagonal_gaussian(mean=mean, log_var=log_var, prior_log_var=narrow)
            assert kl.tolist() == [math.inf]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("log_var", [-1e4, -200.0, -92.0, 1e4])
    def test_a_gaussian_is_at_distance_zero_from_itself_at_every_width(self, dtype, log_var):
        for prior in (log_var, torch.tensor([log_var], dtype=dtype, requires_grad=True)):
            mean = torch.zeros(1, 1, dtype=dtype, requires_grad=True)
            own = torch.full((1, 1), log_var, dtype=dtype, requires_grad=True)
            kl = kl_diagonal_gaussian(mean=mean, log_var=own, prior_log_var=prior)
            leaves = [t for t in (mean, own, prior) if isinstance(t, torch.Tensor)]
            slopes = torch.autograd.grad(kl.sum(), leaves)
            assert [value.item() for value in (kl, *slopes)] == [0.0] * (1 + len(leaves))

    @pytest.mark.parametrize("std", [1e-20, 1e20])
    def test_the_unit_of_length_does_not_matter_in_float32(self, std):
        # the variance and its inverse leave float32; the shift in standard deviations is 1
        log_var = 2 * math.log(std)
        for prior in (log_var, torch.tensor([log_var])):
            kl = kl_diagonal_gaussian(
                mean=torch.tensor([std]), log_var=torch.tensor([log_var]), prior_log_var=prior
            )
            assert kl.item() == pytest.approx(0.5, rel=1e-4)

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize("name", ["log_var", "prior_mean", "prior_log_var"])
    def test_refuses_what_would_broadcast_silently(self, name):
        arguments = {"mean": torch.zeros(3, 3), "log_var": torch.zeros(3, 3)}
        arguments[name] = torch.zeros(3, 1)  # would give a plausible (3,)
        with pytest.raises(ValueError, match=rf"{name} has shape \(3, 1\); wanted .*\(3, 3\)"):
            kl_diagonal_gaussian(**arguments)

    @pytest.mark.usefixtures("unchecked")
    def test_refuses_scalars_and_integers(self):
        with pytest.raises(ValueError, match=r"mean has shape \(\)"):
            kl_diagonal_gaussian(mean=torch.tensor(0.0), log_var=torch.tensor(0.0))
        with pytest.raises(ValueError, match="mean has dtype"):
            kl_diagonal_gaussian(mean=torch.zeros(1, 1).long(), log_var=torch.zeros(1, 1))


def random_gaussian(rng, *leading, dim):
    root = rng.normal(size=(*leading, dim, dim))
    covariance = root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(dim)
    return torch.tensor(rng.normal(size=(*leading, dim))), torch.tensor(covariance)


class TestMultivariateGaussian:
    def test_agrees_with_the_trapezoid_rule_in_two_dimensions(self):
        rng = np.random.default_rng(0)
        for _ in range(5):
            (mean_q, cov_q), (mean_p, cov_p) = (random_gaussian(rng, dim=2) for _ in range(2))
            u = np.linspace(-9.0, 9.0, 301)
            nodes = np.stack(np.meshgrid(u, u, indexing="ij"), -1)  # in units of q
            root = np.linalg.cholesky(cov_q.numpy())
            z = mean_q.numpy() + nodes @ root.T
            log_q = scipy.stats.multivariate_normal(mean_q, cov_q).logpdf(z)
            log_p = scipy.stats.multivariate_normal(mean_p, cov_p).logpdf(z)
            terms = np.exp(log_q) * (log_q - log_p) * np.linalg.det(root)
            expected = np.trapezoid(np.trapezoid(terms, u), u)
            value = kl_multivariate_gaussian(mean_q=mean_q, cov_q=cov_q, mean_p=mean_p, cov_p=cov_p)
            assert value.item() == pytest.approx(expected, rel=1e-10)

    @settings(max_examples=20)
    @given(SEEDS, st.integers(1, 5))
    def test_affine_maps_change_nothing_and_no_value_is_negative(self, seed, dim):
        rng = np.random.default_rng(seed)
        (mean_q, cov_q), (mean_p, cov_p) = (random_gaussian(rng, 3, dim=dim) for _ in range(2))
        value = kl_multivariate_gaussian(mean_q=mean_q, cov_q=cov_q, mean_p=mean_p, cov_p=cov_p)
        assert value.shape == (3,)
        assert (value > 0).all()
        matrix = torch.tensor(rng.normal(size=(dim, dim)) + 3 * np.eye(dim))
        shift = torch.tensor(rng.normal(size=dim))
        mapped = kl_multivariate_gaussian(
            mean_q=mean_q @ matrix.T + shift,
            cov_q=matrix @ cov_q @ matrix.T,
            mean_p=mean_p @ matrix.T + shift,
            cov_p=matrix @ cov_p @ matrix.T,
        )
        torch.testing.assert_close(mapped, value, rtol=1e-7, atol=1e-9)

    def test_agrees_with_samples(self):
        rng = np.random.default_rng(1)
        (mean_q, cov_q), (mean_p, cov_p) = (random_gaussian(rng, dim=4) for _ in range(2))
        q = distributions.MultivariateNormal(mean_q, cov_q)
        p = distributions.MultivariateNormal(mean_p, cov_p)
        z = q.sample((20_000,))
        estimate = kl_monte_carlo(q.log_prob(z), p.log_prob(z))
        exact = kl_multivariate_gaussian(mean_q=mean_q, cov_q=cov_q, mean_p=mean_p, cov_p=cov_p)
        assert (estimate.value - exact).abs() < 5 * estimate.standard_error
        reverse = kl_multivariate_gaussian(mean_q=mean_p, cov_q=cov_p, mean_p=mean_q, cov_p=cov_q)
        assert (reverse - exact).abs() > 20 * estimate.standard_error  # the order is visible

    def test_reduces_to_the_diagonal_case(self):
        mean, log_var = torch.randn(2, 5, 3, dtype=torch.float64)
        full = kl_multivariate_gaussian(
            mean_q=mean,
            cov_q=torch.diag_embed(log_var.exp()),
            mean_p=torch.zeros(3, dtype=torch.float64),
            cov_p=torch.eye(3, dtype=torch.float64),
        )
        torch.testing.assert_close(
            full, kl_diagonal_gaussian(mean=mean, log_var=log_var), rtol=1e-12, atol=1e-12
        )

    def test_equal_gaussians_are_at_distance_zero(self):
        mean, cov = random_gaussian(np.random.default_rng(2), 4, dim=6)
        value = kl_multivariate_gaussian(mean_q=mean, cov_q=cov, mean_p=mean, cov_p=cov)
        assert value.abs().max() < 1e-12

    @pytest.mark.usefixtures("unchecked")
    def test_a_small_asymmetry_does_not_hide_behind_a_large_neighbour(self):
        lopsided = torch.tensor([[1.0, 0.5], [0.0, 1.0]])  # its Cholesky factor would be that of eye(2)
        arguments = {"mean_q": torch.zeros(2), "mean_p": torch.zeros(2), "cov_p": torch.eye(2)}
        with pytest.raises(ValueError, match=r"cov_q differs from its transpose by 0\.5; wanted"):
            kl_multivariate_gaussian(cov_q=torch.stack([1e10 * torch.eye(2), lopsided]), **arguments)

    def test_one_covariance_for_all(self):
        mean, cov = random_gaussian(np.random.default_rng(3), 4, dim=2)
        shared = {"cov_q": cov[0], "mean_p": mean[0], "cov_p": cov[1]}
        together = kl_multivariate_gaussian(mean_q=mean, **shared)
        alone = torch.stack([kl_multivariate_gaussian(mean_q=m, **shared) for m in mean])
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"mean_p": torch.zeros(4, 1)}, r"mean_p has shape \(4, 1\); wanted \(2,\) or \(4, 2\)"),
            ({"mean_q": torch.zeros(3, 2)}, r"mean_q has shape|cov_q has shape"),
            ({"cov_p": torch.eye(3)}, r"cov_p has shape \(3, 3\); wanted \(2, 2\) or \(4, 2, 2\)"),
            ({"cov_q": torch.tensor([[1.0, 0.5], [0.0, 1.0]])}, r"cov_q differs .* by 0\.5;"),
            ({"cov_p": torch.tensor([[1.0, 2.0], [2.0, 1.0]])}, r"cov_p has an eigenvalue -1;"),
            ({"cov_q": torch.full((2, 2), math.nan)}, "cov_q holds 4 values that are NaN"),
            ({"mean_q": torch.tensor(0.0)}, r"mean_q has shape \(\)"),
            ({"cov_p": torch.eye(2).half()}, r"cov_p has dtype torch\.float16; wanted float32 or float64"),
        ],
    )
    def test_refuses(self, change, message):
        arguments = {
            "mean_q": torch.zeros(4, 2),
            "cov_q": torch.eye(2).expand(4, 2, 2),
            "mean_p": torch.zeros(2),
            "cov_p": torch.eye(2),
        }
        with pytest.raises(ValueError, match=message):
            kl_multivariate_gaussian(**(arguments | change))


class TestMonteCarlo:
    def test_value_and_error_by_numpy(self):
        log_q, log_p = torch.randn(2, 9, 4, dtype=torch.float64)
        estimate = kl_monte_carlo(log_q, log_p)
        terms = (log_q - log_p).numpy()
        assert isinstance(estimate, Estimate)
        np.testing.assert_allclose(estimate.value, terms.mean(0))
        np.testing.assert_allclose(estimate.standard_error, terms.std(0, ddof=1) / 3)

    def test_unbiased_with_an_honest_error(self):
        # 400 repetitions of 50 draws: the mean is right, and the claimed error is the true one
        q, p = distributions.Normal(1.0, 1.0), distributions.Normal(0.0, 1.0)
        z = q.sample((50, 400)).double()
        estimate = kl_monte_carlo(q.log_prob(z), p.log_prob(z))
        spread = estimate.value.std()
        assert abs(estimate.value.mean() - 0.5) < 5 * spread / math.sqrt(400)
        assert estimate.standard_error.mean() == pytest.approx(spread.item(), rel=0.2)
        # with samples of p instead it would estimate -KL(p || q) = -0.5
        assert spread / math.sqrt(400) < 0.05

    def test_single_terms_are_negative_although_the_divergence_is_not(self):
        q, p = distributions.Normal(0.5, 1.0), distributions.Normal(0.0, 1.0)
        z = q.sample((10_000,))
        terms = q.log_prob(z) - p.log_prob(z)
        exact = distributions.Normal(0.0, 1.0).cdf(torch.tensor(-0.25)).item()
        assert (terms < 0).double().mean().item() == pytest.approx(exact, abs=5 * 0.005)
        assert kl_monte_carlo(q.log_prob(z), p.log_prob(z)).value > 0

    def test_a_sample_that_is_impossible_under_p(self):
        estimate = kl_monte_carlo(torch.zeros(3), torch.tensor([0.0, -math.inf, 0.0]))
        assert estimate.value.item() == math.inf
        assert estimate.standard_error.isnan()

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("log_q", "log_p", "message"),
        [
            (torch.zeros(1), torch.zeros(1), r"log_q has shape \(1,\).*k of at least 2"),
            (torch.zeros(0, 3), torch.zeros(0, 3), "k of at least 2"),
            (torch.tensor(0.0), torch.tensor(0.0), "k of at least 2"),
            (torch.zeros(5, 5), torch.zeros(5, 1), r"log_p has shape \(5, 1\); wanted .*\(5, 5\)"),
            (torch.zeros(5, 5), torch.zeros(5), r"log_p has shape \(5,\)"),
        ],
    )
    def test_refuses(self, log_q, log_p, message):
        with pytest.raises(ValueError, match=message):
            kl_monte_carlo(log_q, log_p)
