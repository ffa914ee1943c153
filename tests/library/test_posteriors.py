"""Posteriors against SciPy, the trapezoid rule, finite differences, and the exact linear model."""

import copy
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from vae_lib.divergences import kl_multivariate_gaussian
from vae_lib.laboratory import LinearGaussianModel
from vae_lib.posteriors import (
    Diagonal,
    Flow,
    FullCovariance,
    FullCovarianceNormal,
    Mixture,
    aggregate_posterior,
    bounded_log_var,
)

F64 = {"dtype": torch.float64}
HEADS = {
    "diagonal": lambda latent: Diagonal(latent),
    "full": lambda latent: FullCovariance(latent),
    "maf": lambda latent: Flow(latent, "maf", context=6, hidden=(16,)),
    "iaf": lambda latent: Flow(latent, "iaf", context=6, hidden=(16,)),
}
FLOWS = ["maf", "iaf"]


def made(name: str, latent: int, batch: int = 3, size: float = 1.0):
    """A head in float64, features, and the posteriors that it makes of them."""
    head = HEADS[name](latent).double()
    features = size * torch.randn(batch, head.features, **F64)
    return head, features, head(features)


def grid(latent: int, half_width: float, points: int) -> tuple[torch.Tensor, float]:
    """The nodes of the trapezoid rule, (points**latent, latent), and the volume that each stands for."""
    line = torch.linspace(-half_width, half_width, points, **F64)
    return torch.cartesian_prod(*[line] * latent).reshape(-1, latent), float(line[1] - line[0]) ** latent


def integral(log_density: torch.Tensor, volume: float) -> torch.Tensor:
    return log_density.exp().sum(0) * volume  # the ends carry nothing, so their halves do not matter


# --- the log-variance ---------------------------------------------------------------------------------


def test_the_gradient_of_the_log_variance_never_vanishes():
    raw = torch.linspace(-1e4, 1e4, 200_001, requires_grad=True)  # float32
    value = bounded_log_var(raw)
    value.sum().backward()
    assert raw.grad.min() > 0.99e-4  # 1 / (1 + 1e4 - 6)
    assert raw.grad.max() == 1
    assert (value.detach().double().diff() >= 0).all()
    std = torch.exp(0.5 * value)
    assert torch.isfinite(std).all()
    assert std.min() > 4e-4
    # the slope that was promised, by differences of a copy in float64
    fine = torch.tensor([-9e3, -50.0, -7.0, 8.0, 300.0, 9e3], **F64, requires_grad=True)
    h = 1e-3
    wanted = (bounded_log_var(fine + h) - bounded_log_var(fine - h)).detach() / (2 * h)
    bounded_log_var(fine).sum().backward()
    assert torch.allclose(fine.grad, wanted, rtol=1e-6)
    assert torch.allclose(fine.grad, 1 / (fine.detach().abs() - 5), rtol=1e-12)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_any_float32_makes_a_usable_log_variance(number):
    raw = torch.tensor(number, requires_grad=True)
    value = bounded_log_var(raw)
    value.backward()
    assert raw.grad > 0
    assert 0 < torch.exp(value) < math.inf
    assert value.abs() <= raw.abs()


# --- Gaussians against SciPy --------------------------------------------------------------------------


def test_diagonal_against_scipy():
    _, features, q = made("diagonal", 3)
    z = 2 * torch.randn(7, 3, 3, **F64)
    mean, log_var = features[:, :3].numpy(), features[:, 3:].numpy()
    wanted = scipy.stats.norm(mean, np.sqrt(np.exp(log_var))).logpdf(z.numpy()).sum(-1)
    assert q.log_prob(z).shape == (7, 3)
    assert np.abs(q.log_prob(z).numpy() - wanted).max() < 1e-12
    assert np.abs(q.variance.numpy() - np.exp(log_var)).max() < 1e-12


def factor_by_hand(features: np.ndarray, latent: int) -> np.ndarray:
    """L of algorithm 2, element by element, from the order of the features in the docstring."""
    factor = np.zeros((latent, latent))
    below = iter(features[2 * latent :])
    for i in range(latent):
        for j in range(i):
            factor[i, j] = next(below)
        factor[i, i] = math.exp(features[latent + i] / 2)
    return factor


@pytest.mark.parametrize("latent", [1, 2, 4])
def test_full_covariance_against_scipy(latent):
    _, features, q = made("full", latent)
    z = 2 * torch.randn(7, 3, latent, **F64)
    log_q = q.log_prob(z)
    assert log_q.shape == (7, 3)
    for n in range(3):
        factor = factor_by_hand(features[n].numpy(), latent)
        covariance = factor @ factor.T
        wanted = scipy.stats.multivariate_normal(features[n, :latent].numpy(), covariance)
        assert np.abs(log_q[:, n].numpy() - wanted.logpdf(z[:, n].numpy())).max() < 1e-9
        assert np.abs(q.covariance_matrix[n].numpy() - covariance).max() < 1e-12
        assert torch.equal(q.mean[n], features[n, :latent])


def test_full_covariance_is_diagonal_without_its_pairs():
    features = torch.randn(3, 4, **F64)
    z = torch.randn(5, 3, 2, **F64)
    full = FullCovariance(2)(torch.cat([features, torch.zeros(3, 1, **F64)], -1))
    assert torch.allclose(full.log_prob(z), Diagonal(2)(features).log_prob(z), atol=1e-12, rtol=0)


def test_full_covariance_samples_have_its_moments():
    _, _, q = made("full", 3)
    n = 200_000
    z = q.sample((n,))  # (n, batch, latent)
    mean, covariance = q.mean, q.covariance_matrix
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    assert ((z.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
    centred = z - mean
    products = centred.unsqueeze(-1) * centred.unsqueeze(-2)  # (n, batch, latent, latent)
    error = products.std(0) / n**0.5
    assert ((products.mean(0) - covariance).abs() < 5 * error).all()
    # the test has power: without the pairs, the covariances would be zero
    off = covariance - torch.diag_embed(variance)
    assert (off.abs() / error).amax() > 50
    for b in range(3):
        for d in range(3):
            normal = scipy.stats.norm(mean[b, d], variance[b, d].sqrt())
            assert scipy.stats.kstest(z[:20_000, b, d].numpy(), normal.cdf).pvalue > 1e-4


def test_full_covariance_closes_the_gap_of_the_linear_model():
    """The posterior of probabilistic PCA is no diagonal Gaussian, unless W has orthogonal columns."""
    weight = torch.tensor([[1.0, 0.5], [0.2, 1.0], [0.7, 0.7], [0.0, -0.4]], **F64)
    exact = LinearGaussianModel(weight, torch.zeros(4, **F64), 0.5)
    x = exact.sample(6)
    posterior = exact.posterior(x)
    factor = posterior.scale_tril.expand(6, 2, 2)
    log_var = 2 * factor.diagonal(dim1=-2, dim2=-1).log()
    features = torch.cat([posterior.mean, log_var, factor[:, 1, :1]], -1)
    z, log_q = FullCovariance(2)(features).rsample_and_log_prob((50,))
    log_prior = Normal(torch.zeros(2, **F64), 1.0).log_prob(z).sum(-1)
    log_joint = log_prior + Normal(z @ weight.T, 0.5**0.5).log_prob(x).sum(-1)
    assert (log_joint - log_q - exact.log_evidence(x)).abs().max() < 1e-10  # every single draw
    assert exact.gap() > 0.05  # what the best diagonal one leaves


def test_full_covariance_kl_to_a_diagonal_prior():
    features = torch.tensor([[0.3, -0.5, -0.4, 0.6, 0.8], [-1.0, 0.2, 0.1, -1.2, -0.5]], **F64)
    q = FullCovariance(2)(features)
    mean, std = torch.tensor([0.4, -0.2], **F64), torch.tensor([1.3, 0.8], **F64)
    p = Independent(Normal(mean, std), 1)
    kl = kl_divergence(q, p)
    assert kl.shape == (2,)
    z, volume = grid(2, 14.0, 701)
    log_q = q.log_prob(z.unsqueeze(1))  # (points, 2)
    wanted = (log_q.exp() * (log_q - p.log_prob(z).unsqueeze(1))).sum(0) * volume
    assert (kl - wanted).abs().max() < 1e-9
    closed = kl_multivariate_gaussian(
        mean_q=q.mean, cov_q=q.covariance_matrix, mean_p=mean, cov_p=std.square().diag()
    )
    assert (kl - closed).abs().max() < 1e-12
    with pytest.raises(NotImplementedError):
        kl_divergence(q, Independent(torch.distributions.Laplace(mean, std), 1))


# --- every posterior ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADS)
def test_shapes_and_features(name):
    head = HEADS[name](3)
    q = head(torch.randn(2, 5, head.features))  # any number of leading axes
    assert q.batch_shape == (2, 5)
    assert q.event_shape == (3,)
    assert q.mean.shape == (2, 5, 3)
    z = q.rsample((7,))
    assert z.shape == (7, 2, 5, 3)
    assert q.log_prob(z).shape == (7, 2, 5)
    assert q.log_prob(torch.zeros(11, 1, 1, 3)).shape == (11, 2, 5)
    assert q.rsample().shape == (2, 5, 3)


def test_numbers_of_features():
    assert [Diagonal(k).features for k in (1, 2, 5)] == [2, 4, 10]
    assert [FullCovariance(k).features for k in (1, 2, 5)] == [2, 5, 20]
    assert [Flow(k).features for k in (1, 16, 20)] == [32, 32, 40]
    assert Flow(2, context=7).features == 7


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("latent", "half_width", "points"), [(1, 25.0, 2001), (2, 18.0, 361)])
def test_the_density_integrates_to_one(name, latent, half_width, points):
    head, features, _ = made(name, latent, size=0.5)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(1.5)  # bend the flows more than they are at the start
        z, volume = grid(latent, half_width, points)
        total = integral(head(features).log_prob(z.unsqueeze(1)), volume)
    assert total.shape == (3,)
    assert (total - 1).abs().max() < 1e-6


@pytest.mark.parametrize("name", HEADS)
def test_one_example_does_not_touch_another(name):
    head, features, q = made(name, 3, batch=5)
    z = torch.randn(4, 5, 3, **F64)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(head(features[order]).log_prob(z[:, order]), q.log_prob(z)[:, order], atol=1e-12)
    for n in range(5):
        alone = head(features[n : n + 1])
        assert torch.allclose(alone.log_prob(z[:, n : n + 1]), q.log_prob(z)[:, n : n + 1], atol=1e-12)
        assert torch.allclose(alone.mean, q.mean[n : n + 1], atol=1e-12)


@pytest.mark.parametrize("name", HEADS)
def test_rsample_is_differentiable_in_the_features(name):
    head, features, _ = made(name, 2)

    def draw(features):
        torch.manual_seed(1)  # the same noise each time
        return head(features).rsample((2,))

    assert torch.autograd.gradcheck(draw, features.requires_grad_())


@pytest.mark.parametrize("name", HEADS)
def test_log_prob_is_differentiable_in_features_and_codes(name):
    head, features, q = made(name, 2)
    z = q.sample((2,))
    assert torch.autograd.gradcheck(
        lambda f, z: head(f).log_prob(z), (features.requires_grad_(), z.requires_grad_())
    )


@pytest.mark.parametrize("name", HEADS)
def test_the_noise_knows_the_density(name):
    head, features, _ = made(name, 3)
    features.requires_grad_()
    wanted_for = [features, *head.parameters()]

    def total_gradient(density):
        torch.manual_seed(1)
        z, log_q = density(head(features))
        weights = torch.linspace(-1, 2, log_q.numel(), **F64).reshape(log_q.shape)
        loss = (weights * log_q).sum() + z.square().sum()
        return z, log_q, torch.autograd.grad(loss, wanted_for)

    def from_code(q):
        z = q.rsample((6,))
        return z, q.log_prob(z)

    z, log_q, gradient = total_gradient(lambda q: q.rsample_and_log_prob((6,)))
    z_too, log_q_too, gradient_too = total_gradient(from_code)
    assert torch.allclose(z, z_too, atol=1e-12)
    assert torch.allclose(log_q, log_q_too, atol=1e-10)
    for one, other in zip(gradient, gradient_too, strict=True):
        assert torch.allclose(one, other, atol=1e-8)


def test_a_diagonal_posterior_expands_like_any_other():
    _, _, q = made("diagonal", 2)
    z = torch.randn(5, 3, 2, **F64)
    assert torch.equal(q.expand((5, 3)).log_prob(z), q.log_prob(z))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("size", [1e4, -1e4, 1e-30])
def test_extreme_features_stay_finite_in_float32(name, size):
    head = HEADS[name](2)
    features = torch.full((1, head.features), size, requires_grad=True)
    q = head(features)
    z = q.rsample((100,))
    assert torch.isfinite(z).all()
    log_q = q.log_prob(z)
    assert torch.isfinite(log_q).all()
    (z.sum() + log_q.sum()).backward()
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(q.log_prob(torch.full((1, 2), 1e4))).all()


def test_full_covariance_far_outside_is_still_the_right_density():
    """At raw = ±1e4 float32 still tells L from a singular matrix, thanks to the bound on its elements."""
    features = torch.tensor([[0.0, 0.0, -1e4, -1e4, 1e4]])
    q = FullCovariance(2)(features)
    assert q.scale_tril[0, 1, 0] == pytest.approx(6 + math.log(1 + 1e4 - 6))
    z, log_q = q.rsample_and_log_prob((1000,))
    assert (q.log_prob(z) - log_q).abs().max() < 0.1
    raw = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1e4]], requires_grad=True)
    FullCovariance(2)(raw).rsample((10,)).sum().backward()
    assert raw.grad[0, 4] != 0


@pytest.mark.parametrize("name", HEADS)
def test_float64_deepcopy_and_state_dict(name):
    head, features, q = made(name, 2)
    z = torch.randn(4, 3, 2, **F64)
    assert q.log_prob(z).dtype == q.rsample().dtype == q.mean.dtype == torch.float64
    twin = HEADS[name](2).double()
    twin.load_state_dict(head.state_dict())
    for other in (copy.deepcopy(head), twin):
        assert torch.equal(other(features).log_prob(z), q.log_prob(z))
    assert head.float()(features.float()).log_prob(z.float()).dtype == torch.float32


# --- flows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FLOWS)
def test_flow_samples_come_from_its_density(kind):
    """Kolmogorov and Smirnov for each latent, against the marginal of the density on a grid."""
    head, features, _ = made(kind, 2, batch=1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(1.5)
        q = head(features)
        z = q.sample((20_000,))[:, 0]
        nodes, _ = grid(2, 18.0, 361)
        line = nodes[:361, 1]
        density = q.log_prob(nodes.unsqueeze(1)).exp().reshape(361, 361)
        for latent in range(2):
            marginal = torch.trapezoid(density, line, dim=1 - latent)
            cdf = torch.cat([torch.zeros(1, **F64), torch.cumulative_trapezoid(marginal, line)])

            def cumulated(value, cdf=cdf):
                return np.interp(value, line.numpy(), cdf.numpy())

            assert scipy.stats.kstest(z[:, latent].numpy(), cumulated).pvalue > 1e-3
            # it has power: shifted by a tenth of its standard deviation, the samples are refused
            shifted = (z[:, latent] + 0.1 * z[:, latent].std()).numpy()
            assert scipy.stats.kstest(shifted, cumulated).pvalue < 1e-9
        # and the two together: the average of any function is the same on the grid
        both = (nodes[:, 0] * nodes[:, 1]).tanh()
        wanted = (density.reshape(-1) * both).sum() * (line[1] - line[0]) ** 2
        values = (z[:, 0] * z[:, 1]).tanh()
        assert abs(values.mean() - wanted) < 5 * values.std() / len(z) ** 0.5


@pytest.mark.parametrize(("kind", "log_prob", "rsample", "both"), [("maf", 1, 4, 5), ("iaf", 5, 1, 1)])
def test_which_direction_is_quick(kind, log_prob, rsample, both):
    """Passes through the networks of the flow, for each transform."""
    head = Flow(4, kind, transforms=2, hidden=(8,))
    passes = []
    for transform in head.transform.transforms:
        transform.hyper.register_forward_hook(lambda *_: passes.append(1))

    def counted(call):
        passes.clear()
        value = call()
        return len(passes) / 2, value

    q = head(torch.randn(3, head.features))
    count, z = counted(q.rsample)
    assert count == rsample
    assert counted(lambda: q.log_prob(z))[0] == log_prob
    # scoring what was just drawn costs no more than the draw, and one pass for the slope
    assert counted(q.rsample_and_log_prob)[0] == both


@pytest.mark.parametrize("kind", FLOWS)
def test_flow_mean_is_close_fixed_and_differentiable(kind):
    head, features, _ = made(kind, 2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(3.0)  # far from a Gaussian
    features.requires_grad_()
    state = torch.random.get_rng_state()
    q = head(features)
    mean = q.mean
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(mean, head(features).mean)
    assert torch.autograd.grad(mean.sum(), features)[0].abs().sum() > 0
    with torch.no_grad():
        z = q.sample((40_000,))
        assert ((mean - z.mean(0)).abs() < 0.04 * z.std(0)).all()
        image_of_zero = q.to_noise.inv(torch.zeros(3, 2, **F64))
        assert ((image_of_zero - z.mean(0)).abs() > 0.15 * z.std(0)).any()  # which is not the mean


@pytest.mark.parametrize("kind", FLOWS)
def test_flow_mean_is_exact_for_one_latent(kind):
    _, _, q = made(kind, 1)
    z, volume = grid(1, 25.0, 2001)
    with torch.no_grad():
        density = q.log_prob(z.unsqueeze(1)).exp()  # (points, batch)
        assert (q.mean - (density.T @ z) * volume).abs().max() < 1e-9


@pytest.mark.parametrize("kind", FLOWS)
def test_flow_is_no_gaussian_and_listens_to_its_features(kind):
    head, features, _ = made(kind, 2, batch=1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(2.0)
        z = head(features).sample((50_000,))[:, 0]
    skew, kurtosis = scipy.stats.skew(z.numpy()), scipy.stats.kurtosis(z.numpy())
    assert max(np.abs(skew).max(), np.abs(kurtosis).max()) > 0.2
    point = torch.zeros(1, 2, **F64)
    gradient = torch.autograd.grad(head(features.requires_grad_()).log_prob(point), features)[0]
    assert (gradient != 0).all()


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("latent", [1, 2, 5])
def test_gradients_reach_every_weight_of_the_flow(kind, latent):
    head, features, _ = made(kind, latent, batch=20)
    q = head(features)
    z = q.rsample()
    (z.square().sum() + q.log_prob(z).sum()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_flow_without_zuko_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ImportError, match=r"^Flow needs the package zuko; wanted: python"):
        Flow(2)
    FullCovariance(2)  # the others do without


def test_zuko_waits_for_the_first_flow():
    script = (
        "import sys, vae_lib.posteriors, vae_lib.priors, vae_lib.networks as n\n"
        "n.mlp_vae(4, 1, posterior='full', prior='vamp'); n.conv_vae((4, 4), 1)\n"
        "assert not {'zuko', 'scipy'} & set(sys.modules), sorted(sys.modules)\n"
        "n.mlp_vae(4, 1, posterior='maf')\n"
        "assert 'zuko' in sys.modules\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr


# --- the aggregate posterior and mixtures ---------------------------------------------------------------


@pytest.fixture
def five():
    """Five diagonal posteriors over two latents, far enough apart to tell an average from a mixture."""
    features = torch.tensor(
        [
            [-2.0, 0.0, -1.0, 0.0],
            [2.0, 1.0, 0.0, -2.0],
            [0.0, 3.0, -0.5, 0.5],
            [0.5, -2.5, 0.2, -1.0],
            [-3.0, -3.0, -2.0, -2.0],
        ],
        **F64,
    )
    return features, Diagonal(2)(features)


def test_aggregate_posterior_against_scipy(five):
    features, q = five
    z = 3 * torch.randn(4, 7, 2, **F64)
    mean, std = features[:, :2].numpy(), np.exp(features[:, 2:].numpy() / 2)
    density = scipy.stats.norm(mean, std).pdf(z.numpy()[:, :, None, :]).prod(-1).mean(-1)
    log_q = aggregate_posterior(q).log_prob(z)
    assert log_q.shape == (4, 7)
    assert np.abs(log_q.numpy() - np.log(density)).max() < 1e-12


def test_aggregate_posterior_integrates_to_one_and_impostors_do_not(five):
    features, q = five
    aggregate = aggregate_posterior(q)
    assert aggregate.batch_shape == ()
    assert aggregate.event_shape == (2,)
    z, volume = grid(2, 12.0, 401)
    assert abs(integral(aggregate.log_prob(z), volume) - 1) < 1e-9
    # the mean of log-densities is smaller everywhere (Jensen), and no density
    mean_of_logs = q.log_prob(z.unsqueeze(1)).mean(1)
    assert (mean_of_logs <= aggregate.log_prob(z) + 1e-12).all()
    assert integral(mean_of_logs, volume) < 0.1
    # averaged parameters do make a density, but not that of the samples
    averaged = Diagonal(2)(features.mean(0))
    samples = aggregate.sample((20_000,))
    advantage = aggregate.log_prob(samples) - averaged.log_prob(samples)
    assert advantage.mean() > 10 * advantage.std() / len(samples) ** 0.5
    assert (averaged.log_prob(z) - aggregate.log_prob(z)).abs().max() > 1


@pytest.mark.parametrize("logits", [None, [0.3, -1.0, 0.0, 2.0, -0.5]])
def test_mixture_against_torch(five, logits):
    _, q = five
    logits = None if logits is None else torch.tensor(logits, **F64)
    mixture = Mixture(q, logits)
    weights = Categorical(logits=torch.zeros(5, **F64) if logits is None else logits)
    twin = MixtureSameFamily(weights, q)
    z = 3 * torch.randn(6, 2, **F64)
    assert torch.allclose(mixture.log_prob(z), twin.log_prob(z), atol=1e-12)
    assert torch.allclose(mixture.mean, twin.mean, atol=1e-12)
    assert torch.allclose(mixture.variance, twin.variance, atol=1e-12)
    n = 50_000
    samples = mixture.sample((n,))
    assert ((samples.mean(0) - twin.mean).abs() < 5 * (twin.variance / n).sqrt()).all()
    # one latent at a time, against the mixture of the cumulative distributions
    normals = Normal(q.mean, q.stddev)
    for latent in range(2):

        def cumulated(value, latent=latent):
            each = normals.cdf(torch.as_tensor(value)[:, None, None])[..., latent]
            return (each * weights.probs).sum(-1).numpy()

        assert scipy.stats.kstest(samples[:20_000, latent].numpy(), cumulated).pvalue > 1e-3


def test_mixture_draws_are_in_no_order(five):
    _, q = five
    for logits in (None, torch.zeros(5, **F64)):
        z = Mixture(q, logits).sample((20_000,))[:, 0]
        z = (z - z.mean()) / z.std()
        assert abs((z[1:] * z[:-1]).mean()) < 5 / len(z) ** 0.5
        assert abs(z[: len(z) // 2].mean() - z[len(z) // 2 :].mean()) < 5 * 2 / len(z) ** 0.5


def test_mixture_members_are_drawn_by_their_weights():
    far = Diagonal(1)(torch.tensor([[-100.0, 0.0], [0.0, 0.0], [100.0, 0.0]], **F64))
    weights = torch.tensor([0.2, 0.5, 0.3], **F64)
    z = Mixture(far, weights.log() + 7.0).sample((10_000,)).round(decimals=-2).squeeze(-1)
    counts = torch.stack([(z == centre).sum() for centre in (-100.0, 0.0, 100.0)])
    assert scipy.stats.chisquare(counts.numpy(), (10_000 * weights).numpy()).pvalue > 1e-3
    # different draws of one member are different numbers
    assert len(Mixture(far).sample((3000,)).unique()) == 3000


@pytest.mark.parametrize("name", HEADS)
def test_aggregate_of_any_posterior(name):
    _, _, q = made(name, 2, batch=4, size=0.5)
    aggregate = aggregate_posterior(q)
    z = torch.randn(6, 2, **F64)
    by_hand = torch.stack([q.log_prob(row.expand(4, 2)).exp().mean() for row in z]).log()
    assert torch.allclose(aggregate.log_prob(z), by_hand, atol=1e-12)
    assert aggregate.sample((3, 5)).shape == (3, 5, 2)
    assert aggregate.sample().shape == (2,)
    assert aggregate.sample((0,)).shape == (0, 2)
    assert aggregate.mean.shape == (2,)
    # one example is its own aggregate
    _, _, q = made(name, 2, batch=1)
    assert torch.allclose(aggregate_posterior(q).log_prob(z), q.log_prob(z), atol=1e-12)


def test_mixture_survives_where_densities_underflow():
    mixture = Mixture(Diagonal(2)(torch.zeros(3, 4)))  # float32
    z = torch.full((1, 2), 100.0, requires_grad=True)  # the density is e**-10000
    value = mixture.log_prob(z)
    value.sum().backward()
    assert value.item() == pytest.approx(-1e4, rel=1e-3)
    assert torch.allclose(z.grad, torch.full((1, 2), -100.0), rtol=1e-2)
    assert mixture.log_prob(torch.full((1, 2), 1e4)).item() == pytest.approx(-1e8, rel=1e-4)


def test_mixture_gradients_reach_members_and_weights(five):
    features, _ = five
    z = torch.randn(3, 2, **F64)
    logits = torch.randn(5, **F64)
    assert torch.autograd.gradcheck(
        lambda f, w: Mixture(Diagonal(2)(f), w).log_prob(z),
        (features.requires_grad_(), logits.requires_grad_()),
    )
    with pytest.raises(NotImplementedError):
        Mixture(Diagonal(2)(features)).rsample()


# --- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounded_log_var(torch.tensor([7])), "raw has dtype torch.int64"),
        (lambda: Diagonal(0), "latent is 0"),
        (lambda: FullCovariance(-1), "latent is -1"),
        (lambda: Flow(0), "latent is 0"),
        (lambda: Flow(2, "planar"), "kind is 'planar'; wanted one of 'maf', 'iaf'"),
        (lambda: Flow(2, context=0), "context is 0"),
        (lambda: Flow(2, transforms=0), "transforms is 0"),
        (lambda: Flow(2, hidden=(8, 0)), "hidden is 0"),
        (lambda: Flow(2, hidden=()), "hidden is empty"),
        (lambda: Diagonal(2)(torch.zeros(3, 5)), r"features has shape \(3, 5\); wanted \(\.\.\., 4\)"),
        (lambda: FullCovariance(2)(torch.zeros(3, 4)), r"features has shape \(3, 4\); wanted \(\.\.\., 5\)"),
        (lambda: Flow(2)(torch.zeros(3, 4)), r"features has shape \(3, 4\); wanted \(\.\.\., 32\)"),
        (lambda: Diagonal(2)(torch.zeros(3, 4, dtype=torch.long)), "features has dtype torch.int64"),
        (
            lambda: Flow(2)(torch.zeros(3, 32)).log_prob(torch.zeros(3, 1)),
            r"z has shape \(3, 1\); wanted \(\.\.\., 2\)",
        ),
        (
            lambda: Mixture(Diagonal(2)(torch.zeros(3, 4))).log_prob(torch.zeros(3, 1)),
            r"z has shape \(3, 1\); wanted \(\.\.\., 2\)",
        ),
        (
            lambda: aggregate_posterior(Diagonal(2)(torch.zeros(4))),
            r"batch shape \(\) and event shape \(2,\); wanted \(n,\) and \(latent,\)",
        ),
        (
            lambda: aggregate_posterior(Normal(torch.zeros(3), 1.0)),
            r"batch shape \(3,\) and event shape \(\); wanted \(n,\)",
        ),
        (lambda: aggregate_posterior(Diagonal(2)(torch.zeros(0, 4))), "posterior is empty"),
        (
            lambda: Mixture(Diagonal(2)(torch.zeros(3, 4)), torch.zeros(2)),
            r"logits has shape \(2,\); wanted \(3,\)",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_representations():
    assert repr(Diagonal(2)) == "Diagonal(latent=2)"
    assert repr(FullCovariance(2)) == "FullCovariance(latent=2)"
    assert "kind='iaf', features=32" in repr(Flow(2, "iaf"))
    assert isinstance(FullCovariance(2)(torch.zeros(5)).expand((3,)), FullCovarianceNormal)


def test_a_flow_leaves_the_checks_of_torch_as_they_were():
    script = (
        "import torch\n"
        "from torch.distributions import Distribution, Normal\n"
        "before = Distribution._validate_args\n"
        "from vae_lib.posteriors import Flow\n"
        "Flow(latent=2)(torch.zeros(5, 32)).rsample()\n"
        "assert Distribution._validate_args is before is True\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
