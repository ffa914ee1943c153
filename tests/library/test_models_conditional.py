"""The conditional VAE against conditional Gaussians in closed form and against the grid."""

import math

import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn
from torch.distributions import Independent, Normal

from vae_lib.bounds import iwae_bound
from vae_lib.builders import conditional_mlp_vae
from vae_lib.laboratory import grid_log_evidence
from vae_lib.likelihoods import Categorical, Gaussian
from vae_lib.models import VAE, Concatenated, ConditionalVAE, Joined, StandardNormal
from vae_lib.training import TrainConfig, fit

DOUBLE = torch.float64
PIXELS, CONDITIONS, VARIANCE = 3, 2, 0.3


class _Linear(nn.Module):
    """N(A first + B y, variance I): linear in both of its inputs."""

    def __init__(self, first, condition, variance, latent=None):
        super().__init__()
        self.first, self.condition = nn.Parameter(first), nn.Parameter(condition)
        self.std = nn.Parameter(torch.as_tensor(variance, dtype=DOUBLE).sqrt())
        if latent is not None:
            self.latent = latent

    def forward(self, first, y):
        mean = first @ self.first.T + y @ self.condition.T
        return Independent(Normal(mean, self.std.expand_as(mean)), 1)


class _LinearPrior(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, y):
        mean = y @ self.weight.T
        return Independent(Normal(mean, torch.ones_like(mean)), 1)


@pytest.fixture
def linear():
    """x = W z + A y + noise with z|y ~ N(B y, 1), z one number; and its exact posterior."""
    w = torch.randn(PIXELS, 1, dtype=DOUBLE)
    a = torch.randn(PIXELS, CONDITIONS, dtype=DOUBLE)
    b = torch.randn(1, CONDITIONS, dtype=DOUBLE)
    precision = (w.T @ w).item() / VARIANCE + 1
    # posterior mean: (W'(x - A y) / variance + B y) / precision
    encoder = _Linear(
        w.T / VARIANCE / precision, (b - w.T @ a / VARIANCE) / precision, 1 / precision, latent=1
    )
    model = ConditionalVAE(encoder, _Linear(w, a, VARIANCE), _LinearPrior(b))
    covariance = w @ w.T + VARIANCE * torch.eye(PIXELS, dtype=DOUBLE)
    y = torch.randn(6, CONDITIONS, dtype=DOUBLE)
    x = torch.randn(6, PIXELS, dtype=DOUBLE)
    means = y @ (a + w @ b).T
    exact = torch.tensor(
        [multivariate_normal(m, covariance).logpdf(row) for m, row in zip(means, x, strict=True)]
    )
    return model, x, y, exact, means, covariance


@pytest.fixture
def network():
    """A Bernoulli model with one latent, weights far from zero."""
    model = conditional_mlp_vae(6, conditions=3, latent=1, hidden=(8,), conditional_prior=False, seed=1)
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0).add_(0.1)
    x = torch.bernoulli(torch.full((7, 6), 0.4, dtype=DOUBLE))
    return model, x, torch.eye(3, dtype=DOUBLE)[[0, 1, 2, 0, 1, 2, 0]]


def test_with_the_exact_posterior_every_weight_is_the_conditional_evidence(linear):
    model, x, y, exact, _, _ = linear
    log_w = model.log_weights(x, y, k=40)
    assert log_w.shape == (40, 6)
    torch.testing.assert_close(log_w, exact.expand(40, -1), rtol=1e-10, atol=1e-10)


def test_elbo_plus_gap_is_the_conditional_evidence(linear):
    # with another q, ln p(x|y) - ELBO = KL(q || posterior), here by hand between two Gaussians
    model, x, y, exact, _, _ = linear
    posterior = model.encode(x, y)
    mean, variance = posterior.mean.detach(), posterior.variance.detach()
    with torch.no_grad():
        model.encoder.first.mul_(0.7)
        model.encoder.std.mul_(1.4)
    q = model.encode(x, y)
    gap = 0.5 * (q.variance / variance + (q.mean - mean) ** 2 / variance - 1)
    gap = gap - 0.5 * (q.variance / variance).log()
    with torch.no_grad():
        for analytic_kl in (True, False):
            draws = model.elbo(x.expand(20_000, 6, 3), y.expand(20_000, 6, 2), analytic_kl=analytic_kl)
            error = draws.mean(0) + gap.squeeze(-1) - exact
            standard_error = draws.std(0) / 20_000**0.5
            assert (error.abs() < 5 * standard_error).all()
            assert (gap.squeeze(-1) > 10 * standard_error).all()  # power


def test_bounds_are_ordered_below_the_grid(network):
    model, x, y = network
    with torch.no_grad():
        evidence = grid_log_evidence(model.given(y).log_likelihood, x, latent_dim=1, points=401)
        log_w = model.log_weights(x, y, k=20_000)
        blocks = iwae_bound(log_w.reshape(20, -1)).reshape(1000, -1)
    elbo_error, iwae_error = log_w.std(0) / 20_000**0.5, blocks.std(0) / 1000**0.5
    assert (log_w.mean(0) < blocks.mean(0) - 5 * (elbo_error + iwae_error)).all()
    assert (blocks.mean(0) < evidence + 5 * iwae_error).all()
    # the condition matters: with the classes moved on, the evidence is another one
    other = grid_log_evidence(model.given(y.roll(1, 1)).log_likelihood, x, latent_dim=1, points=401)
    assert ((other - evidence).abs() > 0.01).all()


@pytest.mark.parametrize("part", ["encoder", "decoder", "prior"])
def test_the_condition_reaches_every_part(part):
    model = conditional_mlp_vae(6, conditions=3, latent=2, hidden=(8,), seed=0).double()
    x = torch.bernoulli(torch.full((3, 6), 0.5, dtype=DOUBLE))
    y = torch.eye(3, dtype=DOUBLE)
    z = torch.randn(3, 2, dtype=DOUBLE)
    see = {
        "encoder": lambda y: model.encode(x, y).mean,
        "decoder": lambda y: model.decode(z, y).mean,
        "prior": lambda y: model.prior(y).mean,
    }[part]
    changed = (see(y) - see(y.roll(1, 0))).abs()
    assert (changed.max(-1).values > 1e-3).all()


def test_generating_uses_the_prior_and_never_the_encoder(linear):
    model, _, _, _, means, covariance = linear
    y = linear[2]
    with torch.no_grad():
        model.encoder.first.fill_(math.nan)
    n = 30_000
    draws = model.sample(y.repeat(n, 1)).reshape(n, 6, PIXELS)
    standard_error = (covariance.diagonal() / n).sqrt()
    assert ((draws.mean(0) - means).abs() < 5 * standard_error).all()
    covariance_error = ((covariance.diagonal().outer(covariance.diagonal()) + covariance**2) / n).sqrt()
    for row in range(6):
        assert ((draws[:, row].T.cov() - covariance).abs() < 5 * covariance_error).all()
    assert not draws.requires_grad
    # the mean of p(x|z, y) lacks the noise of the decoder
    smooth = model.sample(y.repeat(n, 1), mean=True).reshape(n, 6, PIXELS)
    lacking = draws.var(0) - smooth.var(0)
    assert ((lacking - VARIANCE).abs() < 5 * 2**0.5 * covariance_error.diagonal()).all()


def test_shapes_and_one_value_per_example(network):
    model, x, y = network
    assert model.elbo(x, y).shape == (7,)
    assert [t.shape for t in model.loss_terms(x, y, k=3)] == [(7,), (7,)]
    assert model.reconstruct(x, y).shape == model.reconstruct(x, y, mean=False).shape == (7, 6)
    assert torch.equal(model.reconstruct(x, y), model.reconstruct(x, y))
    assert model.sample(y).shape == (7, 6)
    assert set(model.sample(y).unique().tolist()) <= {0.0, 1.0}
    assert model.decode(torch.randn(4, 7, 1, dtype=DOUBLE), y).batch_shape == (4, 7)
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    for whole, permuted in (
        (model.encode(x, y).mean, model.encode(x[order], y[order]).mean),
        (model.loss_terms(x, y)[1], model.loss_terms(x[order], y[order])[1]),
        (model.reconstruct(x, y), model.reconstruct(x[order], y[order])),
    ):
        torch.testing.assert_close(permuted, whole[order])
    single = torch.cat([model.loss_terms(x[i : i + 1], y[i : i + 1])[1] for i in range(7)])
    torch.testing.assert_close(single, model.loss_terms(x, y)[1])


def test_given_shares_the_parameters_and_leaves_modes_alone(network):
    model, x, y = network
    model.encoder.eval()
    given = model.given(y)
    assert isinstance(given, VAE)
    given.log_weights(x, k=2).mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert not model.encoder.training
    assert model.decoder.training


def test_three_kinds_of_prior(network):
    model, x, y = network
    fixed = Independent(Normal(torch.ones(1, dtype=DOUBLE), torch.full((1,), 2.0, dtype=DOUBLE)), 1)
    conditional = _LinearPrior(torch.randn(1, 3, dtype=DOUBLE))
    for prior, batch in ((fixed, ()), (StandardNormal(1).double(), ()), (conditional, (7,)), (None, ())):
        other = ConditionalVAE(model.encoder, model.decoder, prior).double()
        assert other.prior(y).batch_shape == batch
        assert other.elbo(x, y).shape == (7,)
        assert other.sample(y).shape == (7, 6)
        # every row has a z of its own, also where one class is asked for many times
        many = other.sample(y[:1].expand(50, 3), mean=True)
        assert len(many[:, 0].unique()) == len(many)
    assert ConditionalVAE(model.encoder, model.decoder, fixed).prior(y) is fixed


def test_a_builder_gives_every_pixel_the_numbers_that_its_likelihood_needs():
    levels = torch.randint(0, 4, (5, 6)).float() / 3
    grey = conditional_mlp_vae(6, conditions=3, latent=2, likelihood=Categorical(levels=4), seed=0)
    y = torch.eye(3)[[0, 1, 2, 0, 1]]
    assert grey.elbo(levels, y).shape == (5,)
    assert grey.reconstruct(levels, y).shape == grey.sample(y).shape == (5, 6)


def test_one_number_of_seed_one_model_and_the_sizes_of_the_builder():
    first, second, third = (
        conditional_mlp_vae(6, conditions=3, latent=2, hidden=(8,), seed=seed).state_dict()
        for seed in (4, 4, 5)
    )
    assert all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.values(), third.values(), strict=True))
    count = sum(v.numel() for v in first.values())
    # encoder (6+3)→8→4, decoder (2+3)→8→6, prior 3→8→4
    assert count == (9 * 8 + 8 + 8 * 4 + 4) + (5 * 8 + 8 + 8 * 6 + 6) + (3 * 8 + 8 + 8 * 4 + 4)
    plain = conditional_mlp_vae(6, conditions=3, latent=2, hidden=(8,), conditional_prior=False, seed=4)
    assert isinstance(plain.prior_source, StandardNormal)


def test_square_roots_have_two_answers():
    # the condition is t, x = ±sqrt(t): a regression answers 0, the conditional VAE gives both roots
    t = torch.linspace(0.25, 1.0, 64).repeat(2).unsqueeze(-1)
    x = torch.cat([torch.ones(64, 1), -torch.ones(64, 1)]) * t.sqrt()
    model = conditional_mlp_vae(1, conditions=1, latent=1, hidden=(16,), likelihood=Gaussian(std=0.2), seed=0)
    config = TrainConfig(epochs=80, batch_size=64, learning_rate=4e-2, schedule="cosine", progress=False)
    fit(Joined(model, conditions=1), torch.cat([x, t], -1), config)
    answers = model.sample(torch.full((4000, 1), 0.64), mean=True).squeeze(-1)
    assert ((answers.abs() - 0.8).abs() < 0.3).float().mean() > 0.6  # the rest lies between the roots
    assert 0.4 < (answers > 0).float().mean() < 0.6
    # E(x|t) = 0 is what least squares would say; the answers stay away from it
    assert abs(answers.mean().item()) < 0.15
    assert (answers.abs() < 0.2).float().mean() < 0.2
    # the signs tell the roots apart in the code: reconstructions are on the side of x
    assert ((model.reconstruct(x, t) * x) > 0).all()


@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(network):
    model, x, y = network
    for call in (model.elbo, model.log_weights, model.loss_terms, model.encode, model.reconstruct):
        with pytest.raises(ValueError, match=r"y has shape \(1, 3\); wanted one row for each example of x"):
            call(x, y[:1])
    with pytest.raises(ValueError, match=r"x has shape \(6,\); wanted \(batch, pixels\)"):
        model.elbo(x[0], y[0])
    for call in (model.prior, model.sample, model.given):
        with pytest.raises(ValueError, match=r"y has shape \(3,\); wanted \(batch, conditions\)"):
            call(y[0])
        with pytest.raises(ValueError, match=r"y has dtype torch\.int64"):
            call(y.long())
        with pytest.raises(ValueError, match="y holds 21 values that are NaN or infinite"):
            call(y * math.nan)
    with pytest.raises(ValueError, match="k is 0"):
        model.log_weights(x, y, k=0)
    with pytest.raises(ValueError, match="grey pixels"):
        model.elbo(x * 0.5, y)
    with pytest.raises(ValueError, match="encoder has no attribute `latent`"):
        ConditionalVAE(nn.Identity(), model.decoder)
    with pytest.raises(ValueError, match="conditions is 0"):
        Joined(model, 0)
    with pytest.raises(ValueError, match=r"rows has shape \(7, 3\); wanted \(batch, pixels \+ 3\)"):
        Joined(model, 3).loss_terms(y)
    with pytest.raises(ValueError, match="conditions is 0"):
        conditional_mlp_vae(6, conditions=0, latent=1)
    with pytest.raises(ValueError, match="encoder returned 1 latent variables"):
        ConditionalVAE(model.encoder, model.decoder, StandardNormal(2).double()).elbo(x, y)


def test_joined_rows_are_the_same_model(network):
    model, x, y = network
    torch.manual_seed(1)
    wanted = model.loss_terms(x, y, k=2)
    torch.manual_seed(1)
    got = Joined(model, conditions=3).loss_terms(torch.cat([x, y], -1), k=2)
    assert torch.equal(got[0], wanted[0])
    assert torch.equal(got[1], wanted[1])


def test_concatenated_puts_the_condition_behind_its_input():
    module = Concatenated(nn.Identity())
    z, y = torch.randn(4, 1, 2), torch.randn(3, 5)
    out = module(z, y)  # (4, 3, 7)
    assert out.shape == (4, 3, 7)
    assert torch.equal(out[2, 1], torch.cat([z[2, 0], y[1]]))
