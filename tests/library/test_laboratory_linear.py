"""LinearGaussianModel and waterfill: dense algebra, exact quadrature, perturbation, optimisers."""

import math
import time
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib.divergences import kl_multivariate_gaussian
from vae_lib.laboratory import LinearGaussianModel, waterfill

SEEDS = st.integers(0, 10**6)


def random_model(seed: int, pixels: int = 6, latent: int = 3, variance: float = 0.4):
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(pixels, latent)), rng.normal(size=pixels)
    return LinearGaussianModel(torch.tensor(weight), torch.tensor(bias), variance)


def random_encoder(seed: int, pixels: int = 6, latent: int = 3):
    rng = np.random.default_rng(seed + 1)
    return (
        torch.tensor(0.3 * rng.normal(size=(latent, pixels))),
        torch.tensor(np.exp(rng.normal(size=latent))),
    )


def dense_log_evidence(model: LinearGaussianModel, x: torch.Tensor) -> np.ndarray:
    weight = model.weight.numpy()
    covariance = weight @ weight.T + model.variance.item() * np.eye(len(weight))
    return scipy.stats.multivariate_normal(model.bias.numpy(), covariance).logpdf(x.numpy())


def rotation(latent: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(torch.tensor(np.random.default_rng(seed).normal(size=(latent, latent))))[0]


class TestEvidence:
    @settings(max_examples=25)
    @given(SEEDS, st.integers(1, 9), st.integers(1, 5), st.sampled_from([1e-3, 0.4, 30.0]))
    def test_woodbury_agrees_with_dense_algebra(self, seed, pixels, latent, variance):
        model = random_model(seed, pixels, latent, variance)  # also more latents than pixels
        x = model.sample(4)
        np.testing.assert_allclose(model.log_evidence(x), dense_log_evidence(model, x), rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("variance", [1e-4, 1e-8, 1e-12])
    def test_a_small_variance_loses_no_digits(self, variance):
        # one latent, in exact fractions: C^-1 y . y = (|y|^2 - (w.y)^2 / (s + |w|^2)) / s
        weight = torch.tensor([[0.7], [-1.3], [0.4]], dtype=torch.float64)
        model = LinearGaussianModel(weight, torch.zeros(3, dtype=torch.float64), variance)
        x = model.sample(1)
        y, w = ([Fraction(number) for number in vector.tolist()] for vector in (x[0], weight[:, 0]))
        s = Fraction(variance)
        inner = sum(a * b for a, b in zip(w, y, strict=True))
        small = s + sum(a * a for a in w)
        distance = (sum(a * a for a in y) - inner**2 / small) / s
        log_det = 2 * math.log(s) + math.log(small)
        expected = -0.5 * (3 * math.log(2 * math.pi) + log_det + float(distance))
        # x itself is rounded, which is eps |x| / sigma standard deviations
        tolerance = max(1e-9, 1e-14 / math.sqrt(variance))
        assert model.log_evidence(x).item() == pytest.approx(expected, abs=tolerance)
        assert model.elbo(x, *model.best_encoder()).item() == pytest.approx(expected, abs=tolerance)

    def test_two_equal_columns_are_one_longer_column(self):
        column = torch.tensor([[0.7], [-1.3], [0.4]], dtype=torch.float64)
        for variance in (1.0, 1e-16):  # W^T W + variance I is singular in float64
            twins = LinearGaussianModel(column.expand(3, 2), torch.zeros(3, dtype=torch.float64), variance)
            single = LinearGaussianModel(column * math.sqrt(2), twins.bias, variance)
            x = single.sample(3)
            torch.testing.assert_close(twins.log_evidence(x), single.log_evidence(x), rtol=0, atol=1e-6)
            best = twins.elbo(x, *twins.best_encoder()) + twins.gap()
            torch.testing.assert_close(best, twins.log_evidence(x), rtol=0, atol=1e-6)
            both = twins.posterior(x).mean.sum(-1, keepdim=True) / math.sqrt(2)
            torch.testing.assert_close(both, single.posterior(x).mean, rtol=0, atol=1e-7)

    def test_five_hundred_pixels(self):
        model = random_model(0, pixels=500, latent=10)
        x = model.sample(200)
        started = time.perf_counter()
        value = model.log_evidence(x)
        assert time.perf_counter() - started < 1.0
        np.testing.assert_allclose(value, dense_log_evidence(model, x), rtol=0, atol=1e-9)

    def test_lists_become_float64(self):
        listed = LinearGaussianModel([[1.0], [2.0]], [0.5, 0.0], 1)
        x = torch.tensor([[0.3, -1.0]], dtype=torch.float64)
        np.testing.assert_allclose(listed.log_evidence(x), dense_log_evidence(listed, x), rtol=1e-14)
        assert waterfill([4.0, 0.1], 1).weight_squared.tolist() == [3.0, 0.0]
        assert waterfill([4.0, 0.1], 1).rate.dtype == torch.float64

    def test_density_integrates_to_one(self):
        model = random_model(1, pixels=2, latent=1)
        u = torch.linspace(-14, 14, 401, dtype=torch.float64)
        density = model.log_evidence(torch.cartesian_prod(u, u)).exp().view(401, 401)
        total = torch.trapezoid(torch.trapezoid(density, u), u)
        assert total.item() == pytest.approx(1.0, abs=1e-9)

    def test_every_posterior_sample_gives_the_evidence(self):
        # Bayes: ln p(x, z) - ln p(z|x) = ln p(x) for every z whatsoever
        model = random_model(2)
        x = model.sample(5)
        posterior = model.posterior(x)
        z = posterior.sample((20,))  # (20, 5, 3)
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        likelihood = torch.stack([model.log_likelihood(x[i : i + 1], z[:, i]) for i in range(5)], 1)
        evidence = likelihood.squeeze(-1) + prior - posterior.log_prob(z)
        assert (evidence - model.log_evidence(x)).abs().max() < 1e-11

    def test_posterior_by_conditioning_the_joint_gaussian(self):
        model = random_model(3)
        x = model.sample(4)
        weight = model.weight.numpy()
        inverse = np.linalg.inv(weight @ weight.T + 0.4 * np.eye(6))
        mean = (x - model.bias).numpy() @ inverse @ weight
        covariance = np.eye(3) - weight.T @ inverse @ weight
        np.testing.assert_allclose(model.posterior(x).mean, mean, atol=1e-12)
        np.testing.assert_allclose(
            model.posterior(x).covariance_matrix, np.broadcast_to(covariance, (4, 3, 3)), atol=1e-12
        )

    def test_log_likelihood_agrees_with_scipy(self):
        model = random_model(4)
        x, z = model.sample(5), torch.randn(7, 3, dtype=torch.float64)
        mean = (z @ model.weight.T + model.bias).numpy()[:, None]
        expected = scipy.stats.norm(mean, math.sqrt(0.4)).logpdf(x.numpy()).sum(-1)
        np.testing.assert_allclose(model.log_likelihood(x, z), expected, rtol=1e-12)

    def test_samples_have_the_covariance_of_the_model(self):
        model = random_model(5, pixels=3, latent=2)
        x = model.sample(50_000)
        expected = model.weight @ model.weight.T + 0.4 * torch.eye(3, dtype=torch.float64)
        # standard error of an entry of a Gaussian sample covariance
        diagonal = expected.diagonal()
        error = ((expected**2 + diagonal[:, None] * diagonal) / 50_000).sqrt()
        assert ((x.T.cov() - expected).abs() < 5 * error).all()
        assert ((x.mean(0) - model.bias).abs() < 5 * (diagonal / 50_000).sqrt()).all()
        generators = [torch.Generator().manual_seed(3) for _ in range(2)]
        assert (model.sample(9, generators[0]) == model.sample(9, generators[1])).all()


class TestElbo:
    def test_agrees_with_exact_quadrature_over_the_encoder(self):
        # the integrand is quadratic in z: three Gauss-Hermite nodes per latent are exact
        model, (weight, variance) = random_model(0, latent=2), random_encoder(0, latent=2)
        x = model.sample(4)
        nodes, weights = np.polynomial.hermite_e.hermegauss(3)
        weights = weights / weights.sum()
        for beta in (1.0, 0.25, 4.0):
            expected = []
            for row in x:
                mean = weight @ (row - model.bias)
                total = 0.0
                for a, wa in zip(nodes, weights, strict=True):
                    for b, wb in zip(nodes, weights, strict=True):
                        z = mean + torch.tensor([a, b]) * variance.sqrt()
                        log_q = torch.distributions.Normal(mean, variance.sqrt()).log_prob(z).sum()
                        log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()
                        log_p = model.log_likelihood(row[None], z[None])[0, 0]
                        total += wa * wb * (log_p + beta * (log_prior - log_q))
                expected.append(float(total))
            np.testing.assert_allclose(model.elbo(x, weight, variance, beta), expected, rtol=1e-12)

    @settings(max_examples=25)
    @given(SEEDS, st.integers(1, 6), st.integers(1, 4))
    def test_the_gap_is_the_divergence_from_the_posterior(self, seed, pixels, latent):
        model = random_model(seed, pixels, latent)
        weight, variance = random_encoder(seed, pixels, latent)
        x = model.sample(3)
        posterior = model.posterior(x)
        divergence = kl_multivariate_gaussian(
            mean_q=(x - model.bias) @ weight.T,
            cov_q=torch.diag(variance),
            mean_p=posterior.mean,
            cov_p=posterior.covariance_matrix,
        )
        left = model.log_evidence(x)
        right = model.elbo(x, weight, variance) + divergence
        assert ((left - right).abs() / left.abs().clamp(min=1)).max() < 1e-12

    @pytest.mark.parametrize(
        ("s", "log_p", "prior_average"),
        [
            (1.0, -1.51551, -1.91894),
            (0.5, -1.43051, -4.22579),
            (0.1, -1.41896, -98.61635),
            (0.01, -1.41894, -9996.31),
        ],
    )
    def test_the_table_of_the_prior_average(self, s, log_p, prior_average):
        # the encoder that ignores x: V = 0, d = 1 (teaching.md, E3)
        one = torch.ones(1, 1, dtype=torch.float64)
        model = LinearGaussianModel(one, 0 * one[0], s**2)
        ignorant = model.elbo(one, 0 * one, one[0]).item()
        assert model.log_evidence(one).item() == pytest.approx(log_p, abs=6e-6)
        assert ignorant == pytest.approx(prior_average, abs=6e-6 if s > 0.01 else 6e-3)

    def test_the_correct_row_of_the_bug_zoo(self):
        # teaching.md 3.0: data variance 4, noise .25 -> w**2, v, d, ELBO = ln p
        optimum = waterfill(torch.tensor([4.0], dtype=torch.float64), 0.25)
        assert optimum.weight_squared.item() == pytest.approx(3.75, abs=1e-12)
        assert optimum.encoder_variance.item() == pytest.approx(0.0625, abs=1e-12)
        zero = torch.zeros(1, dtype=torch.float64)
        model = LinearGaussianModel(optimum.weight_squared.sqrt().view(1, 1), zero, 0.25)
        weight, variance = model.best_encoder()
        assert weight.item() == pytest.approx(0.4841, abs=5e-5)
        assert variance.item() == pytest.approx(0.0625, abs=1e-12)
        x = torch.tensor([[2.0], [-2.0]], dtype=torch.float64)  # variance 4
        assert model.elbo(x, weight, variance).mean().item() == pytest.approx(-2.1121, abs=5e-5)
        assert model.log_evidence(x).mean().item() == pytest.approx(-2.1121, abs=5e-5)

    @pytest.mark.parametrize("beta", [1.0, 0.3, 3.0])
    def test_no_perturbed_encoder_is_better(self, beta):
        model = random_model(6)
        x = model.sample(500)
        weight, variance = model.best_encoder(beta)
        best = model.elbo(x, weight, variance, beta).mean()
        rng = np.random.default_rng(0)
        for i in range(300):
            size = 10.0 ** -(i % 4)
            other_weight = weight + size * torch.tensor(rng.normal(size=weight.shape))
            other_variance = variance * torch.tensor(np.exp(size * rng.normal(size=3)))
            assert model.elbo(x, other_weight, other_variance, beta).mean() < best

    def test_the_best_variances_are_not_the_marginal_ones(self):
        model = random_model(7)
        _, variance = model.best_encoder()
        marginal = model.posterior(model.bias.unsqueeze(0)).variance[0]
        assert (variance < marginal - 1e-3).all()

    def test_gradients_flow(self):
        x = random_model(8, 4, 2).sample(2)

        def mean_elbo(weight, bias, variance, encoder_weight, encoder_variance):
            model = LinearGaussianModel(weight, bias, variance)
            return model.elbo(x, encoder_weight, encoder_variance).mean() + model.gap()

        def mean_evidence(weight, bias, variance):
            return LinearGaussianModel(weight, bias, variance).log_evidence(x).mean()

        model, encoder = random_model(8, 4, 2), random_encoder(8, 4, 2)
        parameters = [model.weight, model.bias, model.variance, *encoder]
        parameters = [p.clone().requires_grad_() for p in parameters]
        assert torch.autograd.gradcheck(mean_elbo, parameters)
        assert torch.autograd.gradcheck(mean_evidence, parameters[:3])


class TestGap:
    def test_is_the_same_for_every_x(self):
        model = random_model(9)
        x = 5 * model.sample(50)
        gaps = model.log_evidence(x) - model.elbo(x, *model.best_encoder())
        assert (gaps - model.gap()).abs().max() < 1e-11

    def test_rotation_leaves_the_evidence_and_moves_the_gap(self):
        columns = torch.linalg.qr(random_model(10).weight)[0] * torch.tensor([2.0, 1.0, 0.5])
        bias = torch.zeros(6, dtype=torch.float64)
        aligned = LinearGaussianModel(columns, bias, 0.25)
        rotated = LinearGaussianModel(columns @ rotation(3), bias, 0.25)
        x = aligned.sample(30)
        assert (aligned.log_evidence(x) - rotated.log_evidence(x)).abs().max() < 1e-12
        assert aligned.gap().abs() < 1e-14
        assert rotated.gap() > 0.1
        seen = rotated.log_evidence(x) - rotated.elbo(x, *rotated.best_encoder())
        assert (seen - rotated.gap()).abs().max() < 1e-12

    @settings(max_examples=25)
    @given(SEEDS, st.integers(1, 6), st.integers(1, 5))
    def test_hadamard(self, seed, pixels, latent):
        model = random_model(seed, pixels, latent)
        small = model.weight.T.numpy() @ model.weight.numpy() + 0.4 * np.eye(latent)
        expected = 0.5 * (np.log(np.diag(small)).sum() - np.linalg.slogdet(small)[1])
        assert model.gap().item() == pytest.approx(expected, abs=1e-12)
        assert model.gap() > -1e-14


class TestFit:
    def data(self, count=300):
        return random_model(11, pixels=7, latent=3).sample(count) + 4.0

    def test_value_of_the_maximum(self):
        x = self.data()
        model = LinearGaussianModel.fit(x, latent_dim=3)
        eigenvalues = np.linalg.eigvalsh(np.cov(x.numpy().T, ddof=0))[::-1]
        variance = eigenvalues[3:].mean()
        expected = -0.5 * (7 * np.log(2 * np.pi) + np.log(eigenvalues[:3]).sum() + 4 * np.log(variance) + 7)
        assert model.variance.item() == pytest.approx(variance, rel=1e-12)
        assert model.log_evidence(x).mean().item() == pytest.approx(expected, abs=1e-11)
        assert model.gap().abs() < 1e-12  # orthogonal columns: the ELBO is tight

    def test_no_perturbation_is_better(self):
        x = self.data()
        model = LinearGaussianModel.fit(x, latent_dim=3)
        best = model.log_evidence(x).mean()
        rng = np.random.default_rng(0)
        for i in range(300):
            size = 10.0 ** -(1 + i % 3)
            other = LinearGaussianModel(
                model.weight + size * torch.tensor(rng.normal(size=(7, 3))),
                model.bias + size * torch.tensor(rng.normal(size=7)),
                model.variance * math.exp(size * rng.normal()),
            )
            assert other.log_evidence(x).mean() < best

    def test_recovers_the_model_that_made_the_data(self):
        truth = random_model(12, pixels=5, latent=2)
        model = LinearGaussianModel.fit(truth.sample(200_000), latent_dim=2)
        torch.testing.assert_close(model.bias, truth.bias, rtol=0, atol=0.05)
        torch.testing.assert_close(
            model.weight @ model.weight.T, truth.weight @ truth.weight.T, rtol=0, atol=0.05
        )
        assert model.variance.item() == pytest.approx(0.4, abs=0.01)

    def test_duplicated_and_shuffled_data_give_the_same_model(self):
        # the covariance is divided by N: with N - 1 a second copy of the data changes the answer
        x = self.data(50)
        model = LinearGaussianModel.fit(x, latent_dim=2)
        again = LinearGaussianModel.fit(torch.cat([x, x])[torch.randperm(100)], latent_dim=2)
        torch.testing.assert_close(again.weight, model.weight, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(again.variance, model.variance, rtol=1e-12, atol=0)

    def test_signs_are_settled(self):
        weight = LinearGaussianModel.fit(self.data(), latent_dim=3).weight
        largest = weight.gather(0, weight.abs().argmax(0, keepdim=True))
        assert (largest > 0).all()
        assert (weight.norm(dim=0).diff() < 0).all()  # strongest direction first

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("x", "latent_dim", "message"),
        [
            (torch.randn(9, 3), 3, "latent_dim is 3; wanted less than D = 3"),
            (torch.randn(9, 3), 0, "latent_dim is 0; wanted an integer of at least 1"),
            (torch.randn(1, 3), 1, r"x has shape \(1, 3\); wanted at least two rows"),
            (torch.randn(0, 3), 1, "at least two rows"),
            (torch.randn(9), 1, r"x has shape \(9,\); wanted \(N, D\)"),
            (torch.full((9, 3), math.nan), 1, "x holds 27 values that are NaN"),
            (torch.ones(9, 3), 1, "varies in no more than latent_dim = 1 directions"),
            (torch.outer(torch.arange(9.0), torch.ones(3)), 1, "fewer latents or more data"),
            (torch.ones(9, 3, dtype=torch.long), 1, "x has dtype torch.int64"),
        ],
    )
    def test_refuses(self, x, latent_dim, message):
        with pytest.raises(ValueError, match=message):
            LinearGaussianModel.fit(x, latent_dim)


class TestWaterfill:
    LAMBDA = torch.tensor([4.0, 1.0, 0.6, 0.2], dtype=torch.float64)
    CASES = ((0.25, 1.0), (0.75, 1.0), (0.25, 3.0), (1.5, 1.0), (0.5, 3.0), (5.0, 1.0))

    @pytest.mark.parametrize(("variance", "beta"), CASES)
    def test_agrees_with_a_numerical_optimiser(self, variance, beta):
        optimum = waterfill(self.LAMBDA, variance, beta)
        for j, eigenvalue in enumerate(self.LAMBDA.tolist()):

            def terms(parameters, eigenvalue=eigenvalue):
                w, v, d = parameters[0], parameters[1], math.exp(parameters[2])
                distortion = (1 - w * v) ** 2 * eigenvalue + w**2 * d
                rate = 0.5 * (v**2 * eigenvalue + d - 1 - math.log(d))
                return distortion, rate

            def loss(parameters):
                distortion, rate = terms(parameters)
                return distortion / (2 * variance) + beta * rate

            found = min(
                (
                    scipy.optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-9})
                    for start in ([1.0, 0.5, -1.0], [0.1, 0.1, 0.0])
                ),
                key=lambda result: result.fun,
            )
            distortion, rate = terms(found.x)
            # at the edge of collapse (eigenvalue = level) the optimum is flat: 1e-4 as in the source
            assert optimum.weight_squared[j].item() == pytest.approx(found.x[0] ** 2, abs=1e-3)
            assert optimum.rate[j].item() == pytest.approx(rate, abs=1e-4)
            assert optimum.distortion[j].item() == pytest.approx(distortion, abs=1e-4)
            assert optimum.encoder_variance[j].item() == pytest.approx(math.exp(found.x[2]), abs=1e-3)
            closed = optimum.distortion[j].item() / (2 * variance) + beta * optimum.rate[j].item()
            assert closed <= loss(found.x) + 1e-12  # the closed form is never beaten
            assert closed == pytest.approx(found.fun, abs=1e-7)

    def test_is_what_the_fitted_linear_vae_does_to_its_data(self):
        x = random_model(13, pixels=8, latent=3).sample(400)
        model = LinearGaussianModel.fit(x, latent_dim=3)
        eigenvalues = torch.linalg.eigvalsh(x.T.cov(correction=0)).flip(0)
        optimum = waterfill(eigenvalues[:3], model.variance)
        assert optimum.active.all()
        torch.testing.assert_close(model.weight.square().sum(0), optimum.weight_squared)
        weight, variance = model.best_encoder()
        torch.testing.assert_close(variance, optimum.encoder_variance)
        code = (x - model.bias) @ weight.T
        rate = 0.5 * (code.square().mean(0) + variance - 1 - variance.log())
        torch.testing.assert_close(rate, optimum.rate)
        error = ((x - model.bias) - code @ model.weight.T).square().sum(-1).mean()
        noise = (model.weight.square().sum(0) * variance).sum()
        torch.testing.assert_close(error + noise, optimum.distortion.sum() + eigenvalues[3:].sum())

    def test_active_is_strictly_above_the_water(self):
        optimum = waterfill(torch.tensor([3.0, 2.0, 1.0, 0.0]), 0.5, beta=4)
        assert optimum.active.tolist() == [True, False, False, False]
        assert optimum.weight_squared.tolist() == [1.0, 0.0, 0.0, 0.0]
        assert optimum.distortion.tolist() == [2.0, 2.0, 1.0, 0.0]
        assert optimum.rate.tolist() == [pytest.approx(0.5 * math.log(1.5)), 0.0, 0.0, 0.0]
        assert optimum.encoder_variance.tolist() == [pytest.approx(2 / 3), 1.0, 1.0, 1.0]

    @settings(max_examples=25)
    @given(SEEDS, st.integers(1, 8), st.floats(0.01, 10), st.floats(0.01, 10))
    def test_order_units_and_the_product_of_beta_and_variance(self, seed, count, variance, beta):
        rng = np.random.default_rng(seed)
        eigenvalues = torch.tensor(rng.exponential(2.0, count))
        optimum = waterfill(eigenvalues, variance, beta)
        order = rng.permutation(count)
        for whole, shuffled in zip(optimum, waterfill(eigenvalues[order], variance, beta), strict=True):
            assert (whole[order] == shuffled).all()
        for whole, product in zip(optimum, waterfill(eigenvalues, variance * beta), strict=True):
            torch.testing.assert_close(whole, product)
        assert (optimum.rate >= 0).all()
        assert (optimum.distortion <= eigenvalues).all()
        # Shannon: rate = 1/2 ln(variance / distortion)
        torch.testing.assert_close(optimum.rate, 0.5 * (eigenvalues / optimum.distortion).log())

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((torch.tensor([1.0, -0.1]), 1.0), r"eigenvalues holds -0\.1; wanted variances"),
            ((torch.tensor([math.nan]), 1.0), "eigenvalues holds 1 value that is NaN"),
            ((torch.tensor([[1.0]]), 1.0), r"eigenvalues has shape \(1, 1\)"),
            ((torch.tensor([]), 1.0), r"eigenvalues has shape \(0,\)"),
            ((torch.tensor([1]), 1.0), "eigenvalues has dtype torch.int64"),
            ((torch.tensor([1.0]), 0.0), r"variance is 0\.0; wanted a finite number"),
            ((torch.tensor([1.0]), 1.0, -1.0), r"beta is -1\.0"),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            waterfill(*arguments)

    def test_rounding_of_an_eigenvalue_routine_is_no_error(self):
        optimum = waterfill(torch.tensor([1.0, -1e-17], dtype=torch.float64), 0.5)
        assert optimum.active.tolist() == [True, False]
        assert optimum.distortion.tolist() == [0.5, 0.0]  # a squared error is never below 0


@pytest.mark.usefixtures("unchecked")
class TestRefusals:
    @pytest.mark.parametrize(
        ("weight", "bias", "variance", "message"),
        [
            (torch.ones(3, 1), torch.zeros(1), 1.0, r"bias has shape \(1,\); wanted \(D,\) = \(3,\)"),
            (torch.ones(3), torch.zeros(3), 1.0, r"weight has shape \(3,\); wanted \(D, q\)"),
            (torch.ones(3, 0), torch.zeros(3), 1.0, "D and q of at least 1"),
            (torch.ones(3, 1), torch.zeros(3), 0.0, r"variance is 0\.0; wanted a finite number"),
            (torch.ones(3, 1), torch.zeros(3), math.nan, "variance is nan"),
            (torch.full((3, 1), math.nan), torch.zeros(3), 1.0, "weight holds 3 values"),
            (torch.ones(3, 1), torch.full((3,), math.inf), 1.0, "bias holds 3 values"),
            (torch.ones(3, 1), torch.zeros(3).double(), 1.0, "bias has dtype torch.float64"),
            (torch.ones(3, 1).long(), torch.zeros(3), 1.0, "weight has dtype torch.int64"),
            ([["a"]], torch.zeros(1), 1.0, r"weight is \[\['a'\]\]; wanted numbers"),
            ([[1.0]], torch.zeros(1), 1.0, "bias has dtype torch.float32; wanted that of weight"),
            (torch.ones(3, 1), torch.zeros(3), "narrow", "variance is 'narrow'; wanted a number"),
        ],
    )
    def test_models(self, weight, bias, variance, message):
        with pytest.raises(ValueError, match=message):
            LinearGaussianModel(weight, bias, variance)

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (torch.zeros(2, 1).double(), r"x has shape \(2, 1\); wanted \(batch, D\) with D = 6"),
            (torch.zeros(6).double(), r"x has shape \(6,\)"),
            (torch.zeros(2, 6), "x has dtype torch.float32; wanted that of the model"),
            (torch.full((2, 6), math.nan).double(), "x holds 12 values that are NaN"),
        ],
    )
    def test_data(self, x, message):
        model = random_model(0)
        z = torch.zeros(1, 3, dtype=torch.float64)
        for method in (
            model.log_evidence,
            model.posterior,
            lambda x: model.elbo(x, *model.best_encoder()),
            lambda x: model.log_likelihood(x, z),
        ):
            with pytest.raises(ValueError, match=message):
                method(x)

    def test_encoders(self):
        model, (weight, variance) = random_model(0), random_encoder(0)
        x = model.sample(2)
        with pytest.raises(ValueError, match=r"encoder_weight has shape \(6, 3\); wanted \(q, D\)"):
            model.elbo(x, weight.T, variance)
        with pytest.raises(ValueError, match=r"encoder_variance has shape \(1,\); wanted \(q,\)"):
            model.elbo(x, weight, variance[:1])
        with pytest.raises(ValueError, match="encoder_weight holds 18 values that are NaN"):
            model.elbo(x, weight * math.nan, variance)
        for bad in (0.0, -1.0, math.nan):
            with pytest.raises(ValueError, match=f"encoder_variance holds {bad:.6g}"):
                model.elbo(x, weight, torch.full_like(variance, bad))
        with pytest.raises(ValueError, match="beta is -1"):
            model.elbo(x, weight, variance, beta=-1.0)
        with pytest.raises(ValueError, match=r"beta is 0\.0"):
            model.best_encoder(beta=0.0)
        with pytest.raises(ValueError, match=r"z has shape \(4, 1\)"):
            model.log_likelihood(x, torch.zeros(4, 1).double())
        with pytest.raises(ValueError, match="n is 0"):
            model.sample(0)


def test_one_value_per_example_whatever_its_neighbours():
    model = random_model(14)
    x = model.sample(7)
    encoder = random_encoder(14)
    order = torch.randperm(7)
    for value in (model.log_evidence, lambda x: model.elbo(x, *encoder)):
        assert value(x).shape == (7,)
        torch.testing.assert_close(value(x[order]), value(x)[order], rtol=1e-13, atol=0)
        alone = torch.cat([value(row) for row in x.split(1)])
        torch.testing.assert_close(alone, value(x), rtol=1e-13, atol=0)
    assert model.log_evidence(x[:0]).shape == (0,)
    assert repr(model) == "LinearGaussianModel(D=6, q=3, variance=0.4)"
