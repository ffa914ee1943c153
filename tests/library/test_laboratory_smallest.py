"""SmallestVAE and grid_elbo_surgery: the published table, SciPy's quadrature and optimiser, sampling."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib.laboratory import SmallestVAE, grid_elbo_surgery, surgery

# teaching.md 6.6: sigma², m, v, ELBO, ln p, gap, rate, KL_agg, D, P(|f| < .9)
TABLE = [
    (0.95, 0.2346, 0.9450, -1.4189, -1.4189, 0.0000, 0.0283, 0.0000, 0.9448, 1.000),
    (0.7, 0.6463, 0.5823, -1.4047, -1.3951, 0.0096, 0.2704, 0.0040, 0.5512, 0.815),
    (0.5, 0.7902, 0.3755, -1.3492, -1.3075, 0.0418, 0.4897, 0.0331, 0.2872, 0.515),
    (0.25, 0.8809, 0.2240, -1.1620, -1.0153, 0.1468, 0.7480, 0.1369, 0.0941, 0.291),
    (0.1, 0.9217, 0.1504, -0.8478, -0.5671, 0.2808, 0.9473, 0.2781, 0.0266, 0.189),
    (0.01, 0.9567, 0.0847, 0.0713, 0.5838, 0.5125, 1.2341, 0.5424, 0.0016, 0.104),
    (0.001, 0.9696, 0.0598, 1.0700, 1.7366, 0.6666, 1.4084, 0.7154, 0.0001, 0.072),
]
POINTS = st.tuples(st.floats(-1.5, 1.5), st.floats(0.05, 2.0))


def legendre(cuts, order: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre's rule on every piece between the cuts."""
    cuts = np.asarray(sorted(set(cuts)))
    x, w = np.polynomial.legendre.leggauss(order)
    half = np.diff(cuts)[:, None] / 2
    return (cuts[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()


def average(f) -> float:
    """E f(e) for a standard normal e: no trapezoid anywhere."""
    e, w = legendre(np.arange(-14, 14.1, 0.25))
    return float((w * np.exp(-e * e / 2) / math.sqrt(2 * math.pi) * f(e)).sum())


def oracle_distortion(m: float, v: float) -> float:
    return average(lambda e: (1 - np.tanh(m * (m + math.sqrt(v) * e) / v)) ** 2)


class TestSmallestVAE:
    @pytest.mark.parametrize("row", TABLE, ids=[str(row[0]) for row in TABLE])
    def test_the_published_table(self, row):
        variance, *published = row
        vae = SmallestVAE(variance)
        m, v = vae.optimum()
        elbo, log_p = vae.elbo(m, v), vae.log_evidence(m, v)
        values = [m, v, elbo, log_p, log_p - elbo, vae.rate(m, v), vae.aggregate_kl(m, v)]
        values += [vae.distortion(m, v), vae.undecided(m, v)]
        # the last two rows were printed from a coarser optimiser: four digits for the others
        tolerance = 1.01e-4 if variance > 0.05 else 8e-4
        assert [value.item() for value in values[:-1]] == pytest.approx(published[:-1], abs=tolerance)
        assert values[-1].item() == pytest.approx(published[-1], abs=1e-3)
        assert all(value.dtype == torch.float64 for value in values)

    @pytest.mark.parametrize("variance", [1.0, 1.05, 2.0])
    def test_collapse_at_the_variance_of_the_data(self, variance):
        vae = SmallestVAE(variance)
        m, v = vae.optimum()
        assert (m.item(), v.item()) == (0.0, 1.0)
        expected = -0.5 * math.log(2 * math.pi * variance) - 1 / (2 * variance)
        assert vae.elbo(m, v).item() == pytest.approx(expected, abs=1e-12)
        assert vae.log_evidence(m, v).item() == pytest.approx(expected, abs=1e-12)
        assert vae.rate(m, v).item() == vae.aggregate_kl(m, v).item() == pytest.approx(0.0, abs=1e-12)
        assert vae.undecided(m, v).item() == 1.0

    @pytest.mark.parametrize("variance", [0.9, 0.5, 0.05, 1e-3, 1e-6])
    def test_no_optimiser_does_better(self, variance):
        vae = SmallestVAE(variance)

        def loss(p):
            m, v = p[0], math.exp(p[1])
            rate = 0.5 * (m * m + v - 1 - p[1])
            return oracle_distortion(m, v) / (2 * variance) + rate

        m, v = (value.item() for value in vae.optimum())
        start = [m + 0.05, math.log(v) - 0.1]
        found = scipy.optimize.minimize(
            loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-11, "maxiter": 150}
        )
        assert loss([m, math.log(v)]) <= found.fun + 1e-11
        assert m == pytest.approx(found.x[0], abs=1e-5)
        assert math.log(v) == pytest.approx(found.x[1], abs=1e-5)

    def test_just_below_the_threshold(self):
        # near sigma² = 1 the left side of the equation is 1 - a + O(a²)
        for small in (1e-4, 1e-8):
            m, v = SmallestVAE(1 - small).optimum()
            assert (m * m / v).item() == pytest.approx(small, rel=10 * small + 1e-6)
        assert SmallestVAE(1e-30).optimum().mean.item() == pytest.approx(1.0, abs=0.01)

    @settings(max_examples=15)
    @given(POINTS)
    def test_distortion_and_elbo_against_another_quadrature(self, point):
        m, v = point
        vae, expected = SmallestVAE(0.3), oracle_distortion(m, v)
        assert vae.distortion(m, v).item() == pytest.approx(expected, abs=1e-10)
        # three terms one by one: E ln p(x|z) + E ln p(z) - E ln q(z|x), not reconstruction minus rate
        log_lik = average(
            lambda e: scipy.stats.norm.logpdf(1, np.tanh(m * (m + math.sqrt(v) * e) / v), math.sqrt(0.3))
        )
        log_prior = average(lambda e: scipy.stats.norm.logpdf(m + math.sqrt(v) * e))
        log_q = -scipy.stats.norm(m, math.sqrt(v)).entropy()
        assert vae.elbo(m, v).item() == pytest.approx(log_lik + log_prior - log_q, abs=1e-9)
        assert vae.rate(m, v).item() == pytest.approx(log_q - log_prior, abs=1e-9)
        # Nishimori: E tanh = E tanh² under its own posterior, so D = 1 - E tanh
        mean_tanh = average(lambda e: np.tanh(m * (m + math.sqrt(v) * e) / v))
        assert expected == pytest.approx(1 - mean_tanh, abs=1e-10)

    @settings(max_examples=12)
    @given(POINTS, st.sampled_from([0.5, 0.05, 0.002]))
    def test_evidence_against_another_quadrature_and_above_the_elbo(self, point, variance):
        m, v = point
        vae, s = SmallestVAE(variance), math.sqrt(variance)
        scale = v / max(abs(m), 1e-3)  # the step of the decoder
        cuts = [
            *np.arange(-40, 40.1, 0.25),
            *(c * scale for c in np.arange(-10, 10.1, 0.25) if c * scale < 40),
        ]
        z, weight = legendre(cuts)
        log_integrand = -0.5 * (z**2 + ((1 - np.tanh(m * z / v)) / s) ** 2) - math.log(2 * math.pi * s)
        expected = scipy.special.logsumexp(log_integrand, b=weight)
        assert vae.log_evidence(m, v).item() == pytest.approx(expected, abs=1e-8)
        assert vae.elbo(m, v) <= vae.log_evidence(m, v) + 1e-12

    def test_the_decoder_is_the_best_one(self):
        m, v = 0.8, 0.4
        z = torch.linspace(-3, 3, 61, dtype=torch.float64)
        plus, minus = (scipy.stats.norm(sign * m, math.sqrt(v)).pdf(z.numpy()) for sign in (1, -1))
        expected = (plus - minus) / (plus + minus)  # E[x|z] by Bayes' rule
        np.testing.assert_allclose(SmallestVAE.decoder(z, m, v), expected, atol=1e-14)

    def test_information_rate_and_hole(self):
        # rate = I(x; z) + KL_agg with I at most ln 2; the rate itself exceeds ln 2 for small sigma
        for variance in (0.5, 0.1, 0.01):
            vae = SmallestVAE(variance)
            m, v = vae.optimum()
            information = vae.rate(m, v) - vae.aggregate_kl(m, v)
            slope, noise = (m / v).item(), v.sqrt().item()

            def entropy(e, m=m, slope=slope, noise=noise):  # of x given z, from its log-odds 2 m z / v
                odds = 2 * slope * (m.item() + noise * e)
                return scipy.special.entr(scipy.special.expit([odds, -odds])).sum(0)

            entropy_given_z = average(entropy)
            assert information.item() == pytest.approx(math.log(2) - entropy_given_z, abs=1e-9)
        assert vae.rate(m, v) > math.log(2) > information
        assert vae.aggregate_kl(m, v).item() == pytest.approx(0.542, abs=5e-4)  # teaching.md no. 43

    def test_undecided_prior_samples(self):
        # teaching.md no. 28: .52, .29, .10
        shares = [SmallestVAE(s).undecided(*SmallestVAE(s).optimum()).item() for s in (0.5, 0.25, 0.01)]
        assert shares == pytest.approx([0.52, 0.29, 0.10], abs=0.005)
        z = torch.randn(100_000, dtype=torch.float64)
        m, v = SmallestVAE(0.5).optimum()
        for threshold in (0.9, 0.5):
            share = (SmallestVAE.decoder(z, m, v).abs() < threshold).double().mean()
            exact = SmallestVAE(0.5).undecided(-m, v, threshold=threshold)
            assert (share - exact).abs() < 5 * math.sqrt(0.25 / 100_000)

    def test_the_likelihood_is_unbounded(self):
        values = [SmallestVAE(s).elbo(*SmallestVAE(s).optimum()).item() for s in (1e-2, 1e-4, 1e-8)]
        assert values[0] < values[1] < values[2]
        assert values[2] > 5

    def test_shapes_mirror_and_order(self):
        vae = SmallestVAE(0.25)
        m = torch.tensor([[0.9, 0.1, -0.5], [0.0, 0.3, 1.2]])
        v = torch.tensor([[0.2, 0.9, 0.5], [1.0, 0.4, 0.1]])
        for method in (
            vae.elbo,
            vae.log_evidence,
            vae.rate,
            vae.distortion,
            vae.aggregate_kl,
            vae.undecided,
        ):
            values = method(m, v)
            assert values.shape == (2, 3)
            assert values.dtype == torch.float64
            alone = [method(a, b).item() for a, b in zip(m.flatten(), v.flatten(), strict=True)]
            assert values.flatten().tolist() == pytest.approx(alone, abs=1e-9)
            torch.testing.assert_close(method(-m, v), values, rtol=1e-10, atol=1e-12)
            assert method(m[:0], v[:0]).shape == (0, 3)
        assert repr(vae) == "SmallestVAE(variance=0.25)"

    def test_gradients_of_the_elbo_vanish_at_the_optimum(self):
        vae = SmallestVAE(0.25)
        m, v = (value.clone().requires_grad_() for value in vae.optimum())
        vae.elbo(m, v).backward()
        assert abs(m.grad.item()) < 1e-10
        assert abs(v.grad.item()) < 1e-10

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: SmallestVAE(0.0), r"variance is 0\.0"),
            (lambda: SmallestVAE(1e-200).optimum(), "variance is 1e-200; wanted at least 1e-100"),
            (lambda: SmallestVAE(1).elbo(0.0, 0.0), "var holds 0; wanted numbers greater than 0"),
            (lambda: SmallestVAE(1).rate(0.0, -1.0), "var holds -1"),
            (lambda: SmallestVAE(1).distortion(math.nan, 1.0), "mean holds 1 value that is NaN"),
            (lambda: SmallestVAE(1).elbo(0.0, math.inf), "var holds 1 value that is NaN or infinite"),
            (lambda: SmallestVAE(1).elbo(torch.zeros(2), torch.ones(3)), r"var has shape \(3,\)"),
            (lambda: SmallestVAE(1).elbo(torch.zeros(2), 1.0), r"var has .* that of mean, \(2,\)"),
            (lambda: SmallestVAE(1).log_evidence(1.0, 1e-5), "mean / var reaches 100000, so steep"),
            (lambda: SmallestVAE(1).undecided(0.5, 0.5, threshold=1.0), r"threshold is 1\.0"),
            (lambda: SmallestVAE.decoder(torch.zeros(1), 1.0, 0.0), "var holds 0"),
        ],
    )  # fmt: skip
    def test_refuses(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


def quad_surgery(mean: np.ndarray, std: np.ndarray) -> tuple[float, float]:
    """Information and aggregate KL of 1-D codes: differences of entropies, Gauss and Legendre."""
    z, w = legendre(np.arange((mean - 10 * std).min(), (mean + 10 * std).max() + 0.05, 0.05))
    log_q = scipy.stats.norm.logpdf(z[:, None], mean, std)
    log_aggregate = scipy.special.logsumexp(log_q, axis=1) - math.log(len(mean))
    density = w * np.exp(log_aggregate)
    kl = (density * (log_aggregate - scipy.stats.norm.logpdf(z))).sum()
    entropy = -(density * log_aggregate).sum()
    return entropy - scipy.stats.norm(mean, std).entropy().mean(), kl


class TestSurgery:
    def test_codes_in_float32_are_taken_at_their_word(self):
        mean, std = torch.randn(5, 2), torch.rand(5, 2) + 0.2
        parts, exact = grid_elbo_surgery(mean, std), grid_elbo_surgery(mean.double(), std.double())
        assert parts == exact

    @settings(max_examples=25)
    @given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 2))
    def test_the_identity(self, seed, codes, latent):
        rng = np.random.default_rng(seed)
        mean = torch.tensor(rng.normal(size=(codes, latent)) * 1.5)
        std = torch.tensor(rng.uniform(0.2, 1.5, (codes, latent)))
        parts = grid_elbo_surgery(mean, std)
        assert abs(parts.average_kl - parts.mutual_information - parts.aggregate_kl).item() < 1e-10
        assert -1e-12 < parts.mutual_information <= math.log(codes) + 1e-12
        assert parts.aggregate_kl > -1e-12
        normal = torch.distributions.Normal
        expected = torch.distributions.kl_divergence(normal(mean, std), normal(0.0, 1.0)).sum(-1).mean()
        assert (parts.average_kl - expected).abs() < 1e-12

    @pytest.mark.parametrize("seed", range(3))
    def test_both_parts_against_another_quadrature(self, seed):
        rng = np.random.default_rng(seed)
        mean, std = rng.normal(size=4), rng.uniform(0.1, 0.8, 4)
        parts = grid_elbo_surgery(torch.tensor(mean[:, None]), torch.tensor(std[:, None]))
        information, kl = quad_surgery(mean, std)
        assert parts.mutual_information.item() == pytest.approx(information, abs=1e-10)
        assert parts.aggregate_kl.item() == pytest.approx(kl, abs=1e-10)

    def test_two_dimensions_that_factorise(self):
        # codes on a product grid: both terms are sums over the dimensions
        a, b = torch.tensor([-1.0, 0.4, 1.1]).double(), torch.tensor([-0.7, 0.9]).double()
        parts = grid_elbo_surgery(torch.cartesian_prod(a, b), torch.full((6, 2), 0.4, dtype=torch.float64))
        one, two = (grid_elbo_surgery(m[:, None], torch.full_like(m[:, None], 0.4)) for m in (a, b))
        for whole, first, second in zip(parts, one, two, strict=True):
            assert whole.item() == pytest.approx((first + second).item(), abs=1e-10)

    def test_two_dimensions_against_sampling(self):
        rng = np.random.default_rng(7)
        mean, std = torch.tensor(rng.normal(size=(20, 2))), torch.tensor(rng.uniform(0.2, 0.7, (20, 2)))
        parts = grid_elbo_surgery(mean, std)
        n = 100_000
        which = torch.randint(20, (n,))
        z = mean[which] + std[which] * torch.randn(n, 2, dtype=torch.float64)
        log_q = torch.distributions.Normal(mean, std).log_prob(z.unsqueeze(1)).sum(-1)  # (n, 20)
        aggregate = torch.logsumexp(log_q, -1) - math.log(20)
        own = log_q[torch.arange(n), which]
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        for terms, exact in (
            (own - aggregate, parts.mutual_information),
            (aggregate - prior, parts.aggregate_kl),
        ):
            assert (terms.mean() - exact).abs() < 5 * terms.std() / math.sqrt(n)
        assert parts.mutual_information > 0.5  # power: one swapped for the other is far away
        assert (parts.mutual_information - parts.aggregate_kl).abs() > 0.3

    def test_known_ends(self):
        same = grid_elbo_surgery(torch.ones(5, 1).double(), torch.full((5, 1), 0.5).double())
        assert same.mutual_information.item() == pytest.approx(0.0, abs=1e-12)
        far = torch.arange(8.0).double().unsqueeze(-1) * 10
        apart = grid_elbo_surgery(far, torch.full((8, 1), 0.3).double())
        assert apart.mutual_information.item() == pytest.approx(math.log(8), abs=1e-9)
        standard = grid_elbo_surgery(torch.zeros(1, 2).double(), torch.ones(1, 2).double())
        assert [value.item() for value in standard] == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)

    def test_exact_posteriors_of_a_linear_model_leave_no_mismatch(self):
        # teaching.md E14: w = 1, noise 1/4, codes of many data: KL = I = .8047 and the aggregate is N(0, 1)
        x = torch.tensor(scipy.stats.norm.ppf((np.arange(1000) + 0.5) / 1000) * math.sqrt(1.25)).unsqueeze(-1)
        parts = grid_elbo_surgery(x / 1.25, torch.full_like(x, math.sqrt(0.2)))
        assert parts.average_kl.item() == pytest.approx(0.8047, abs=5e-3)
        assert parts.mutual_information.item() == pytest.approx(0.8047, abs=5e-3)
        assert parts.aggregate_kl.item() < 1e-4

    def test_pieces_order_precision_and_gradients(self, monkeypatch):
        mean, std = torch.randn(6, 2).double(), torch.rand(6, 2).double() + 0.3
        whole = grid_elbo_surgery(mean, std)
        monkeypatch.setattr(surgery, "NUMBERS_AT_ONCE", 5000)
        order = torch.randperm(6)
        for parts in (grid_elbo_surgery(mean, std), grid_elbo_surgery(mean[order], std[order])):
            for a, b in zip(whole, parts, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
        single = grid_elbo_surgery(mean.float().requires_grad_(), std.float())
        assert single.aggregate_kl.dtype == torch.float64
        assert not single.aggregate_kl.requires_grad

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("mean", "std", "message"),
        [
            (torch.zeros(3), torch.ones(3), r"mean has shape \(3,\); wanted \(N, d\)"),
            (torch.zeros(3, 3), torch.ones(3, 3), r"mean has shape \(3, 3\); wanted .* d = 1 or 2"),
            (torch.zeros(0, 1), torch.ones(0, 1), r"mean has shape \(0, 1\)"),
            (torch.zeros(3, 1), torch.ones(3), r"std has shape \(3,\); wanted the shape of mean"),
            (torch.zeros(3, 1), torch.zeros(3, 1), "std holds 0; wanted numbers greater than 0"),
            (torch.zeros(3, 1), -torch.ones(3, 1), "std holds -1"),
            (torch.full((3, 1), math.nan), torch.ones(3, 1), "mean holds 3 values"),
            (torch.zeros(3, 1), torch.full((3, 1), math.inf), "std holds 3 values"),
            (torch.zeros(3, 1).long(), torch.ones(3, 1), "mean has dtype torch.int64"),
            (torch.tensor([[0.0], [5.0]]), torch.full((2, 1), 1e-9), "std holds 1e-09, too narrow"),
            (9 * torch.eye(2), torch.full((2, 2), 1e-3), r"std holds 0\.001, too narrow"),
        ],
    )  # fmt: skip
    def test_refuses(self, mean, std, message):
        with pytest.raises(ValueError, match=message):
            grid_elbo_surgery(mean, std)
