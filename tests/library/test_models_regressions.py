"""The field's usual errors, each with the number that tells the right code from the wrong one.

Every test is named after the error. It computes the wrong value too, by hand, and sees that it is far
from what the library says: so the test cannot pass on both.
"""

import math

import pytest
import torch
from scipy.stats import logistic, multivariate_normal, norm
from torch.distributions import Independent, Normal

from vae_lib.bounds import elbo
from vae_lib.laboratory import LinearGaussianModel
from vae_lib.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian
from vae_lib.models import VAE, HierarchicalVAE, StandardNormal
from vae_lib.networks import Decoder, Encoder, GaussianEncoder, mlp
from vae_lib.posteriors import Diagonal

DOUBLE = torch.float64
PIXELS, LATENT = 7, 2


class _Fixed(torch.nn.Module):
    """A network that puts out the same row whatever it is given."""

    def __init__(self, row):
        super().__init__()
        self.row = torch.nn.Parameter(torch.as_tensor(row, dtype=DOUBLE))

    def forward(self, x):
        return self.row.expand(*x.shape[:-1], -1) + 0 * x.sum(-1, keepdim=True)


@pytest.fixture
def model():
    """q(z|x) = N((.5, -1), diag(e^-1.2, e^.8)) for every x; p(x|z) = N(W z, .09 I)."""
    encoder = GaussianEncoder(_Fixed([0.5, -1.0, -1.2, 0.8]), LATENT)
    network = torch.nn.Linear(LATENT, PIXELS, bias=False).double()
    return VAE(encoder, Decoder(network, Gaussian(std=0.3))).double()


@pytest.fixture
def x():
    return torch.randn(4, PIXELS, dtype=DOUBLE)


def test_misplaced_parenthesis_in_the_gaussian(model):
    # (log_var + (x - mean)^2) / variance, for log_var + (x - mean)^2 / variance
    u = torch.linspace(-40, 40, 16001, dtype=DOUBLE)
    for log_var in (-2.0, 0.7, 2.0):
        std = math.exp(0.5 * log_var)
        p = Gaussian(std=std)(torch.zeros(1, dtype=DOUBLE))
        right = torch.trapezoid(p.log_prob(u[:, None]).exp(), u)
        wrong = torch.exp(-0.5 * (math.log(2 * math.pi) + (log_var + u**2) / math.exp(log_var)))
        assert right.item() == pytest.approx(1.0, abs=1e-9)
        assert abs(torch.trapezoid(wrong, u).item() - 1) > 0.1
    # the same in the posterior and the prior of the model, over two latents
    grid = torch.linspace(-14, 14, 401, dtype=DOUBLE)
    z = torch.cartesian_prod(grid, grid)
    for density in (model.encode(torch.zeros(1, PIXELS, dtype=DOUBLE)).expand((1,)), model.prior):
        table = density.log_prob(z.unsqueeze(1)).exp().reshape(401, 401)
        assert torch.trapezoid(torch.trapezoid(table, grid), grid).item() == pytest.approx(1.0, abs=1e-9)


def test_two_pi_constant_with_the_dimension_of_the_latent(model, x):
    z = torch.zeros(4, LATENT, dtype=DOUBLE)
    value = model.decode(z).log_prob(x)
    wanted = torch.as_tensor(norm(0, 0.3).logpdf(x).sum(-1))
    torch.testing.assert_close(value, wanted, rtol=1e-12, atol=0)
    assert (PIXELS - LATENT) * 0.5 * math.log(2 * math.pi) > 4  # what the error would add
    # and the constants of the latents are those of the latents: alone, where nothing cancels
    assert model.prior.log_prob(z)[0].item() == pytest.approx(-math.log(2 * math.pi), rel=1e-12)
    at_mean = model.encode(x).log_prob(model.encode(x).mean)
    assert at_mean[0].item() == pytest.approx(-math.log(2 * math.pi) - 0.5 * (-1.2 + 0.8), rel=1e-12)


def test_mean_over_pixels_against_sum_over_latents(model, x):
    # twice the pixels is twice the reconstruction, twice the latents is twice the rate
    wide = VAE(
        GaussianEncoder(_Fixed([0.5, -1.0, 0.5, -1.0, -1.2, 0.8, -1.2, 0.8]), 2 * LATENT),
        Decoder(torch.nn.Linear(2 * LATENT, 2 * PIXELS, bias=False), Gaussian(std=0.3)),
    ).double()
    with torch.no_grad():
        wide.decoder.network.weight.zero_()
        model.decoder.network.weight.zero_()
    small, large = model.loss_terms(x), wide.loss_terms(x.repeat(1, 2))
    for one, two in zip(small, large, strict=True):
        torch.testing.assert_close(two, 2 * one)
        assert one.abs().min() > 0.1


def test_exp_of_log_var_used_as_std():
    # four raw numbers of the network: two means, two LOG-VARIANCES
    for encoder in (
        GaussianEncoder(_Fixed([0.5, -1.0, -1.2, 0.8]), LATENT),
        Encoder(_Fixed([0.5, -1.0, -1.2, 0.8]), Diagonal(LATENT)),
    ):
        q = encoder(torch.zeros(1, PIXELS, dtype=DOUBLE))
        wanted = torch.tensor([[math.exp(-1.2), math.exp(0.8)]], dtype=DOUBLE)
        torch.testing.assert_close(q.variance, wanted)
        draws = q.rsample((40_000,))[:, 0]
        error = wanted[0] * (2 / 40_000) ** 0.5
        assert ((draws.var(0) - wanted[0]).abs() < 5 * error).all()
        assert ((wanted[0].square() - wanted[0]).abs() > 10 * error).all()  # exp(log_var) as std
    likelihood = Gaussian(std=0.5, learned=True, min_std=1e-6).double()
    likelihood.log_var.data.fill_(-1.2)
    p = likelihood(torch.zeros(1, 1, dtype=DOUBLE))
    assert p.variance.item() == pytest.approx(math.exp(-1.2), rel=1e-10)


def test_rate_of_a_log_variance_by_integration(model, x):
    # log-std where log-variance is meant, (ln sigma)^2, a missing half: KL by the trapezoid rule
    wanted = 0.0
    for mean, log_var in ((0.5, -1.2), (-1.0, 0.8)):
        u = torch.linspace(-16, 16, 8001, dtype=DOUBLE)
        q, p = norm(mean, math.exp(0.5 * log_var)), norm(0, 1)
        integrand = torch.as_tensor(q.pdf(u) * (q.logpdf(u) - p.logpdf(u)))
        wanted += torch.trapezoid(integrand, u).item()
    _, rate = model.loss_terms(x)
    torch.testing.assert_close(rate, torch.full((4,), wanted, dtype=DOUBLE), rtol=1e-9, atol=0)


def test_sample_for_rsample(model, x):
    # without the way through z the reconstruction says nothing to the encoder
    for k, value in ((2, model.loss_terms(x, k=2)[0]), (3, model.log_weights(x, k=3))):
        (slope,) = torch.autograd.grad(value.sum(), model.encoder.network.row)
        assert (slope[:LATENT].abs() > 1e-3).all(), k
        assert (slope[LATENT:].abs() > 1e-3).all(), k
    # d/d mean of E ln p(x|z) is exact: W'(x - W mean) / variance
    weight = model.decoder.network.weight
    reconstruction = model.loss_terms(x[:1], k=20_000)[0]
    (slope,) = torch.autograd.grad(reconstruction.sum(), model.encoder.network.row)
    mean = torch.tensor([0.5, -1.0], dtype=DOUBLE)
    wanted = (weight.T @ (x[0] - weight @ mean) / 0.09).detach()
    # the noise of one draw's slope: W'W / variance times the std of z
    std = torch.tensor([math.exp(-0.6), math.exp(0.4)], dtype=DOUBLE)
    noise = ((weight.T @ weight / 0.09 * std).square().sum(-1).sqrt() / 20_000**0.5).detach()
    assert ((slope[:LATENT] - wanted).abs() < 5 * noise).all()
    assert (wanted.abs() > 10 * noise).all()
    # the log-weights, one draw at a time, against central differences with the noise held fixed
    row = model.encoder.network.row

    def log_w(row_values):
        torch.manual_seed(9)
        with torch.no_grad():
            row.copy_(row_values)
        return model.log_weights(x, k=3).sum()

    start = row.detach().clone()
    (slope,) = torch.autograd.grad(log_w(start), row)
    for i, unit in enumerate(torch.eye(2 * LATENT, dtype=DOUBLE)):
        difference = (log_w(start + 1e-6 * unit) - log_w(start - 1e-6 * unit)).item() / 2e-6
        assert slope[i].item() == pytest.approx(difference, rel=1e-6, abs=1e-6)
    # in every layer of a hierarchy
    h = HierarchicalVAE(
        [GaussianEncoder(mlp(PIXELS, (4,), 6), 3), GaussianEncoder(mlp(3, (4,), 4), 2)],
        [Decoder(mlp(3, (4,), PIXELS), Gaussian()), GaussianEncoder(mlp(2, (4,), 6), 3)],
    ).double()
    frozen = h.log_weights(x, k=2, detach_posterior=True).sum()
    for encoder in h.encoders:  # with ln q detached, only the way through the draws is left
        (slope,) = torch.autograd.grad(frozen, encoder.network[0].weight, retain_graph=True)
        assert slope.abs().max() > 1e-3


def test_elbo_scored_at_the_mean(model, x):
    # z = mu overshoots by ½ tr(W diag(var) W') / variance: it may exceed ln p(x)
    weight = model.decoder.network.weight.detach()
    exact = LinearGaussianModel(weight, torch.zeros(PIXELS, dtype=DOUBLE), 0.09)
    mean = torch.tensor([[0.5, -1.0]], dtype=DOUBLE).expand(4, -1)
    variance = torch.tensor([math.exp(-1.2), math.exp(0.8)], dtype=DOUBLE)
    overshoot = 0.5 * (weight.square() * variance).sum() / 0.09
    with torch.no_grad():
        at_mean = model.decode(mean).log_prob(x) - model.loss_terms(x)[1]
        for analytic_kl in (True, False):
            draws = model.elbo(x.expand(20_000, 4, PIXELS), analytic_kl=analytic_kl)
            error = draws.std(0) / 20_000**0.5
            assert ((draws.mean(0) - (at_mean - overshoot)).abs() < 5 * error).all()
            assert (overshoot > 10 * error).all()
        log_w = model.log_weights(x, k=20_000)
        error = log_w.std(0) / 20_000**0.5
        assert ((elbo(log_w) - (at_mean - overshoot)).abs() < 5 * error).all()
    assert (at_mean - overshoot < exact.log_evidence(x)).all()


def test_double_sigmoid():
    # a second sigmoid confines the means to [.5, .731]; a black pixel then costs at least .693 nats
    logits = torch.tensor([[-8.0, -1.0, 0.0, 1.0, 8.0]], dtype=DOUBLE)
    decoder = Decoder(_Fixed(logits[0]), Bernoulli())
    p = decoder(torch.zeros(1, 2, dtype=DOUBLE))
    torch.testing.assert_close(p.mean, torch.as_tensor(logistic.cdf(logits)))
    black = Decoder(_Fixed([-8.0]), Bernoulli())(torch.zeros(1, 2, dtype=DOUBLE))
    assert -black.log_prob(torch.zeros(1, 1, dtype=DOUBLE)).item() == pytest.approx(math.log1p(math.exp(-8)))


def test_grey_pixels_scored_as_bernoulli():
    vae = VAE(
        GaussianEncoder(mlp(PIXELS, (4,), 2 * LATENT), LATENT),
        Decoder(mlp(LATENT, (4,), PIXELS), Bernoulli()),
    )
    grey = torch.full((3, PIXELS), 0.5)
    for call in (vae.elbo, vae.log_weights, vae.loss_terms):
        with pytest.raises(ValueError, match=r"x holds 21 grey pixels, such as 0\.5; wanted .* 0 or 1"):
            call(grey)


def test_discretised_logistic_that_loses_the_edges():
    levels = torch.arange(256, dtype=DOUBLE).unsqueeze(-1) / 255
    edges = torch.arange(257) / 255 - 0.5 / 255
    for mean in (0.0, 0.02, 1.0):
        p = DiscretizedLogistic(scale=0.05)(torch.tensor([mean], dtype=DOUBLE))
        assert p.log_prob(levels).exp().sum().item() == pytest.approx(1.0, abs=1e-12)
        without = logistic(mean, 0.05).cdf(edges[-1]) - logistic(mean, 0.05).cdf(edges[0])
        assert without < 0.7


def test_a_constant_added_in_every_dimension():
    # the density of z alone, where nothing cancels against the other term
    for latent in (1, 3, 16):
        z = torch.randn(5, latent, dtype=DOUBLE)
        wanted = torch.as_tensor(multivariate_normal([0.0] * latent).logpdf(z.numpy()))
        torch.testing.assert_close(StandardNormal(latent).double()().log_prob(z), wanted.reshape(5))


def test_a_posterior_that_would_broadcast():
    # Normal without Independent: a value for each latent, which broadcasts against one per example
    class Forgetful(torch.nn.Module):
        latent = LATENT

        def forward(self, x):
            return Normal(x[..., :LATENT], 1.0)

    vae = VAE(Forgetful(), Decoder(mlp(LATENT, (4,), PIXELS), Gaussian()))
    with pytest.raises(ValueError, match=r"event shape \(\); wanted \(latent,\), as .*Independent"):
        vae.elbo(torch.zeros(LATENT, PIXELS))
    fine = Independent(Normal(torch.zeros(3, 2), 1.0), 1)
    assert fine.event_shape == (2,)
