"""Every bound of every laboratory model against its exact ln p, without any sampling.

A model with one latent becomes a list of nodes: the values of z, or the points of a trapezoid rule.
The library's bound is evaluated at **all** k-tuples of nodes and averaged with their probabilities, so
what comes out is the expectation itself. ln p and the gaps come from closed forms.
"""

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import log_ndtr, rel_entr

from vae_lib.bounds import (
    ciwae,
    cubo,
    effective_sample_size,
    elbo,
    eubo,
    iwae_bound,
    iwae_eubo,
    miwae_bound,
    piwae,
    sandwich,
)
from vae_lib.divergences import kl_multivariate_gaussian
from vae_lib.laboratory import (
    BernoulliMixture,
    DiscreteLatentModel,
    LinearGaussianModel,
    QuantileModel,
    Ring,
    SmallestVAE,
    grid_log_evidence,
)


@dataclass
class Nodes:
    """One x of one model: log-weights at the nodes, and what is known without them."""

    log_w: torch.Tensor  # (nodes,)
    q: torch.Tensor  # (nodes,), the probabilities of the nodes under the encoder
    posterior: torch.Tensor  # (nodes,)
    log_evidence: float
    kl: float  # KL(q || posterior)
    reverse_kl: float
    tolerance: float
    most: int = 2  # samples that can be enumerated

    def mean(self, function, *sources: str) -> torch.Tensor:
        """The exact mean of function(tuples (k, nodes**k)) over samples from `sources`, one each."""
        k = len(sources)
        tuples = torch.cartesian_prod(*[torch.arange(len(self.log_w))] * k).view(-1, k).T
        probability = torch.ones(tuples.shape[1], dtype=torch.float64)
        for row, source in zip(tuples, sources, strict=True):
            probability = probability * getattr(self, source)[row]
        return (probability * function(self.log_w[tuples])).sum()


def by_enumeration(joint: np.ndarray, q: np.ndarray, log_evidence: float) -> Nodes:
    """A latent of few values: joint probabilities p(x, z) of one x, computed by the caller."""
    posterior = joint / joint.sum()
    return Nodes(
        log_w=torch.tensor(np.log(joint / q)),
        q=torch.tensor(q),
        posterior=torch.tensor(posterior),
        log_evidence=log_evidence,
        kl=rel_entr(q, posterior).sum(),
        reverse_kl=rel_entr(posterior, q).sum(),
        tolerance=1e-12,
    )


def discrete(x: int) -> Nodes:
    model = DiscreteLatentModel([0.2, 0.5, 0.3], [[0.7, 0.1, 0.2], [0.2, 0.7, 0.1], [0.05, 0.05, 0.9]])
    joint = np.array([0.2, 0.5, 0.3]) * model.likelihood[:, x].numpy()
    return by_enumeration(joint, np.array([0.5, 0.3, 0.2]), model.log_evidence(torch.tensor([x])).item())


def mixture() -> Nodes:
    theta = np.array([[0.9, 0.2, 0.6, 0.1], [0.3, 0.7, 0.5, 0.8], [0.5, 0.5, 0.1, 0.4], [0.2, 0.9, 0.9, 0.3]])
    x = np.array([1, 0, 0, 1])
    model = BernoulliMixture([0.1, 0.4, 0.2, 0.3], theta.tolist())
    joint = np.array([0.1, 0.4, 0.2, 0.3]) * np.where(x == 1, theta, 1 - theta).prod(1)
    log_evidence = model.log_evidence(torch.tensor(x[None])).item()
    return by_enumeration(joint, np.array([0.25, 0.15, 0.4, 0.2]), log_evidence)


def on_a_grid(log_likelihood, mean, variance, log_evidence, nodes=181):
    """Encoder N(mean, variance) against a model with one latent: nodes, and ln p(x, z) at them."""
    z = torch.linspace(-9.0, 9.0, nodes, dtype=torch.float64)
    step = 18.0 / (nodes - 1)
    log_q = -0.5 * (z - mean) ** 2 / variance - 0.5 * math.log(2 * math.pi * variance)
    log_joint = log_likelihood(z.unsqueeze(1)) - 0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    return log_joint - log_q, log_q.exp() * step, (log_joint - log_evidence).exp() * step


LINEAR = LinearGaussianModel(torch.tensor([[0.9], [-0.4]]).double(), torch.zeros(2).double(), 0.5)
LINEAR_X = torch.tensor([[1.5, 0.3]], dtype=torch.float64)


def linear(mean: float, variance: float) -> Nodes:
    log_evidence = LINEAR.log_evidence(LINEAR_X).item()
    nodes = on_a_grid(lambda z: LINEAR.log_likelihood(LINEAR_X, z).squeeze(1), mean, variance, log_evidence)
    posterior = LINEAR.posterior(LINEAR_X)
    double = {"dtype": torch.float64}
    q = {"mean": torch.tensor([mean], **double), "cov": torch.tensor([[variance]], **double)}
    p = {"mean": posterior.mean[0], "cov": posterior.covariance_matrix[0]}
    kl, reverse = (
        kl_multivariate_gaussian(mean_q=a["mean"], cov_q=a["cov"], mean_p=b["mean"], cov_p=b["cov"]).item()
        for a, b in ((q, p), (p, q))
    )
    return Nodes(*nodes, log_evidence=log_evidence, kl=kl, reverse_kl=reverse, tolerance=1e-9)


def gaussian_decoder(decoder, x: list[float], variance: float, mean, width, log_evidence=None):
    """p(x|z) = N(decoder(z), variance I) for one latent, encoder N(mean, width)."""
    x = torch.tensor([x], dtype=torch.float64)

    def log_likelihood(x, z):  # z (points, 1)
        error = x - decoder(z).unsqueeze(1)
        return (-0.5 * error**2 / variance - 0.5 * math.log(2 * math.pi * variance)).sum(-1)

    if log_evidence is None:
        log_evidence = grid_log_evidence(log_likelihood, x, latent_dim=1).item()
    log_w, q, posterior = on_a_grid(lambda z: log_likelihood(x, z).squeeze(1), mean, width, log_evidence)
    return Nodes(log_w, q, posterior, log_evidence, *divergences(q, posterior), tolerance=1e-9)


def divergences(q: torch.Tensor, posterior: torch.Tensor) -> tuple[float, float]:
    return tuple(rel_entr(a.numpy(), b.numpy()).sum() for a, b in ((q, posterior), (posterior, q)))


def curved() -> Nodes:
    def decoder(z):
        return torch.cat([torch.tanh(2 * z), torch.sin(z)], dim=1)

    return gaussian_decoder(decoder, [0.6, -0.2], 0.3, 0.2, 0.8)


def smallest() -> Nodes:
    """The decoder is the best one for m = 0.8, v = 0.4; the encoder is this m and v, at x = 1."""
    log_evidence = SmallestVAE(0.5).log_evidence(0.8, 0.4).item()
    return gaussian_decoder(lambda z: torch.tanh(0.8 * z / 0.4), [1.0], 0.5, 0.8, 0.4, log_evidence)


def quantiles() -> Nodes:
    """Two bumps at plus and minus 1; the quantile function by SciPy's root finder, on the left half."""
    normal = torch.distributions.Normal(*torch.tensor([[-1.0, 1.0], [0.8, 0.8]], dtype=torch.float64))
    halves = torch.distributions.Categorical(torch.tensor([0.5, 0.5], dtype=torch.float64))
    model = QuantileModel(torch.distributions.MixtureSameFamily(halves, normal), std=0.7)
    x = torch.tensor([1.2], dtype=torch.float64)
    mean, variance = (value.item() for value in model.encoder(x))
    log_evidence = model.log_evidence(x).item()

    def log_cdf(value):
        return np.logaddexp(log_ndtr((value + 1) / 0.8), log_ndtr((value - 1) / 0.8)) - math.log(2)

    def quantile(z):  # the law is symmetric: g(z) = -g(-z)
        left = [
            brentq(lambda v, u=u: log_cdf(v) - log_ndtr(-abs(u)), -20.0, 1e-9) for u in z.flatten().tolist()
        ]
        return torch.tensor(left, dtype=torch.float64).view_as(z) * -z.sign()

    nodes = gaussian_decoder(quantile, [1.2], 0.49, mean, variance, log_evidence)
    assert model.elbo(x).item() == pytest.approx(log_evidence - nodes.kl, abs=1e-8)
    return nodes


def ring() -> Nodes:
    """Two latents: Gauss-Legendre in the radius, equal steps in the angle. Too many nodes for pairs."""
    x, variance = torch.tensor([[0.9, 0.6]], dtype=torch.float64), 0.05
    node, weight = np.polynomial.legendre.leggauss(60)
    radius, angle = 4.5 * (node + 1), np.arange(128) * (2 * math.pi / 128)
    cell = torch.tensor(np.outer(4.5 * weight * radius, np.full(128, 2 * math.pi / 128)).ravel())
    z = torch.tensor(
        np.stack([np.outer(radius, f(angle)).ravel() for f in (np.cos, np.sin)], axis=1)
    )  # (7680, 2)
    normal = torch.distributions.Normal
    log_joint = normal(Ring.decoder(z), variance**0.5).log_prob(x).sum(-1) + normal(0.0, 1.0).log_prob(z).sum(
        -1
    )
    log_q = normal(torch.tensor([0.9, 0.5]).double(), 0.6).log_prob(z).sum(-1)
    log_evidence = Ring().noisy_log_prob(x, variance).item()
    q, posterior = log_q.exp() * cell, (log_joint - log_evidence).exp() * cell
    return Nodes(
        log_joint - log_q, q, posterior, log_evidence, *divergences(q, posterior), tolerance=1e-8, most=1
    )


CASES = {
    "discrete, x = 0": functools.partial(discrete, 0),
    "discrete, x = 2": functools.partial(discrete, 2),
    "Bernoulli mixture": mixture,
    "linear, q wide": functools.partial(linear, 0.2, 1.1),
    "linear, q narrow": functools.partial(linear, 1.1, 0.3),
    "curved": curved,
    "smallest VAE": smallest,
    "quantile model": quantiles,
    "ring": ring,
}


@functools.cache
def nodes_of(name: str) -> Nodes:
    return CASES[name]()


@pytest.fixture(params=CASES, name="case")
def _case(request) -> Nodes:
    return nodes_of(request.param)


@pytest.fixture(params=[name for name in CASES if name != "ring"], name="pairs")
def _pairs(request) -> Nodes:
    """A case whose pairs of nodes are few enough to visit."""
    return nodes_of(request.param)


def test_the_nodes_carry_the_whole_of_q_and_of_the_posterior(case):
    assert case.q.sum().item() == pytest.approx(1.0, abs=case.tolerance)
    assert case.posterior.sum().item() == pytest.approx(1.0, abs=case.tolerance)


def test_the_gap_of_the_elbo_is_the_divergence_of_q_from_the_posterior(case):
    for k in range(1, case.most + 1):
        value = case.mean(elbo, *["q"] * k).item()
        assert case.log_evidence - value == pytest.approx(case.kl, abs=case.tolerance)
    assert case.kl > 0.01


def test_the_excess_of_the_eubo_is_the_divergence_of_the_posterior_from_q(case):
    for m in range(1, case.most + 1):
        value = case.mean(eubo, *["posterior"] * m).item()
        assert value - case.log_evidence == pytest.approx(case.reverse_kl, abs=case.tolerance)
    assert case.reverse_kl > 0.01


def test_the_whole_ladder(pairs):
    """ELBO = L_1 < L_2 < L_3 < ln p < U_3 < U_2 < U_1 = EUBO."""
    small = len(pairs.q) < 10  # three samples on a fine grid would be 14 million tuples
    counts = (1, 2, 3, 4) if small else (1, 2)
    lower = [pairs.mean(iwae_bound, *["q"] * k).item() for k in counts]
    upper = [pairs.mean(eubo, "posterior").item()] + [
        pairs.mean(lambda t: iwae_eubo(t[1:], t[:1]), "posterior", *["q"] * (k - 1)).item()
        for k in counts[1:]
    ]
    ladder = [*lower, pairs.log_evidence, *upper[::-1]]
    assert all(b - a > 1e-4 for a, b in itertools.pairwise(ladder)), ladder
    assert lower[0] == pytest.approx(pairs.log_evidence - pairs.kl, abs=pairs.tolerance)


def test_the_upper_bound_is_a_mean_over_the_encoder_too(pairs):
    """U_k = E_q (p^ / p) ln p^ with p^ the mean of k weights: no sample of the posterior at all."""
    for k in (1, 2):
        upper = pairs.mean(
            lambda t: iwae_eubo(t[1:], t[:1]) if len(t) > 1 else eubo(t), "posterior", *["q"] * (k - 1)
        )
        tilted = pairs.mean(lambda t: (iwae_bound(t) - pairs.log_evidence).exp() * iwae_bound(t), *["q"] * k)
        assert tilted.item() == pytest.approx(upper.item(), abs=pairs.tolerance)


def test_the_sandwich_is_its_two_slices(pairs):
    lower = pairs.mean(lambda t: sandwich(t[1:], t[:1]).lower, "posterior", "q").item()
    upper = pairs.mean(lambda t: sandwich(t[1:], t[:1]).upper, "posterior", "q").item()
    assert lower == pytest.approx(pairs.mean(elbo, "q").item(), abs=pairs.tolerance)
    assert upper == pytest.approx(
        pairs.mean(lambda t: torch.logaddexp(t[0], t[1]) - math.log(2), "posterior", "q").item(), abs=1e-12
    )
    assert lower < pairs.log_evidence < upper < pairs.log_evidence + pairs.reverse_kl


def test_cubo_bounds_only_with_the_expectation_inside_the_logarithm(pairs):
    """A table whose rows are distributed exactly as q has the expectation inside."""
    for order in (1, 1.5, 2, 4):
        inside = (pairs.q * (order * (pairs.log_w - pairs.log_evidence)).exp()).sum().log().item() / order
        if order == 1:
            assert inside == pytest.approx(0.0, abs=pairs.tolerance)
        else:
            assert inside > 1e-3
    # what can be computed from one or two samples lies below that, and here below ln p itself
    one = pairs.mean(cubo, "q").item()
    assert one == pytest.approx(pairs.log_evidence - pairs.kl, abs=pairs.tolerance)
    two = pairs.mean(cubo, "q", "q").item()
    assert one < two < pairs.log_evidence + inside


def test_cubo_of_a_table_distributed_exactly_as_q():
    case = nodes_of("discrete, x = 2")  # q = (5, 3, 2) / 10, so ten rows are the whole distribution
    rows = torch.repeat_interleave(case.log_w, torch.tensor([5, 3, 2])).unsqueeze(1)  # (10, 1)
    # order 1 is ln p; order 2 has the chi-squared divergence of the posterior from q above it
    assert cubo(rows, order=1).item() == pytest.approx(case.log_evidence, abs=1e-13)
    chi_squared = ((case.posterior - case.q) ** 2 / case.q).sum().item()
    assert cubo(rows).item() == pytest.approx(case.log_evidence + 0.5 * math.log1p(chi_squared), abs=1e-13)
    assert cubo(rows, order=2).item() == cubo(rows).item()
    orders = [cubo(rows, order=n).item() for n in (1, 1.5, 2, 3, 10)]
    assert all(a < b for a, b in itertools.pairwise(orders))
    assert orders[-1] < case.log_w.max().item()
    # KL(p || q) is at most ln(1 + chi squared): the EUBO exceeds ln p by at most twice what CUBO_2 does
    assert case.mean(eubo, "posterior").item() - case.log_evidence < 2 * (orders[2] - case.log_evidence)


def test_cubo_of_two_gaussians_in_closed_form():
    """A trapezoid table of E w**2 against the Gaussian integral done by completing the square."""
    mean, variance = 0.2, 1.1
    case, posterior = nodes_of("linear, q wide"), LINEAR.posterior(LINEAR_X)
    m, v = posterior.mean.item(), posterior.variance.item()
    precision = 1 / v - 1 / (2 * variance)
    exponent = (m - mean) ** 2 / (2 * v * variance) / precision
    log_ratio = (
        0.5 * math.log(2 * math.pi * variance)
        - math.log(2 * math.pi * v)
        + 0.5 * math.log(math.pi / precision)
        + exponent
    )
    # rows in the proportions of q, by rounding: the table's own error is then the tolerance
    counts = (case.q * 1_000_000).round().long()
    rows = torch.repeat_interleave(case.log_w, counts).unsqueeze(1)
    assert cubo(rows).item() == pytest.approx(case.log_evidence + 0.5 * log_ratio, abs=1e-4)


def test_miwae_piwae_and_ciwae_on_every_pair(pairs):
    pair = ("q", "q")
    one, two = pairs.mean(elbo, "q").item(), pairs.mean(iwae_bound, *pair).item()

    def grouped(function, m, k):
        return pairs.mean(lambda t: function(t.unflatten(0, (m, k))), *pair).item()

    assert grouped(miwae_bound, 1, 2) == pytest.approx(two, abs=1e-12)  # one group of two: L_2
    assert grouped(miwae_bound, 2, 1) == pytest.approx(one, abs=pairs.tolerance)  # two groups of one: ELBO
    assert grouped(lambda t: piwae(t).theta, 2, 1) == pytest.approx(two, abs=1e-12)
    assert grouped(lambda t: piwae(t).phi, 2, 1) == pytest.approx(one, abs=pairs.tolerance)
    for share in (0.0, 0.3, 1.0):
        mixed = grouped(lambda t, share=share: ciwae(t, beta=share), 1, 2)
        assert mixed == pytest.approx(share * one + (1 - share) * two, abs=pairs.tolerance)
        assert mixed < pairs.log_evidence


def test_exact_posterior_closes_every_gap():
    posterior = LINEAR.posterior(LINEAR_X)
    z = posterior.sample((6,))  # (6, 1, 1)
    log_joint = LINEAR.log_likelihood(LINEAR_X, z.squeeze(1)) + torch.distributions.Normal(0.0, 1.0).log_prob(
        z
    ).squeeze(-1)
    log_w = log_joint - posterior.log_prob(z)  # (6, 1)
    exact = LINEAR.log_evidence(LINEAR_X)
    for bound in (elbo, iwae_bound, eubo, cubo):
        torch.testing.assert_close(bound(log_w), exact, rtol=0, atol=1e-12)
    for value in sandwich(log_w, log_w):
        torch.testing.assert_close(value, exact, rtol=0, atol=1e-12)
    assert effective_sample_size(log_w).item() == pytest.approx(6.0)


def test_sampled_sandwich_on_data_that_the_model_made():
    torch.manual_seed(1)
    n, k = 20_000, 10
    z = torch.randn(1, n, 1, dtype=torch.float64)
    x = z[0] @ LINEAR.weight.T + LINEAR.variance.sqrt() * torch.randn(n, 2, dtype=torch.float64)
    code = 0.4 * x[:, :1]  # a poor encoder
    q = torch.distributions.Independent(torch.distributions.Normal(code, 0.9), 1)
    standard = torch.distributions.Independent(
        torch.distributions.Normal(torch.zeros(1).double(), torch.ones(1).double()), 1
    )
    decoder_std = LINEAR.variance.sqrt()

    def log_weights(z):
        likelihood = torch.distributions.Independent(
            torch.distributions.Normal(z @ LINEAR.weight.T, decoder_std), 1
        )
        return likelihood.log_prob(x) + standard.log_prob(z) - q.log_prob(z)

    exact = LINEAR.log_evidence(x)
    log_w, log_w_posterior = log_weights(q.sample((k,))), log_weights(z)
    lower, upper = sandwich(log_w, log_w_posterior)
    for gap in (exact - lower, upper - exact, upper - lower):
        error = gap.std().item() / math.sqrt(n)
        assert gap.mean().item() > 10 * error
    # tighter than the pair without importance weights, on both sides
    assert (eubo(log_w_posterior) - upper).mean() > 10 * upper.std() / math.sqrt(n)
    assert (lower - elbo(log_w)).mean() > 10 * lower.std() / math.sqrt(n)
    # exchanged: encoder samples where posterior samples belong give no upper bound
    wrong = iwae_eubo(log_w[1:], log_w[:1])
    assert (exact - wrong).mean() > 10 * (exact - wrong).std() / math.sqrt(n)
