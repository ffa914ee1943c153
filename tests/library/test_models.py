"""The models against closed forms, cubature, enumeration and finite differences."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Laplace, Normal

from vae_lib.bounds import iwae_bound
from vae_lib.divergences import kl_diagonal_gaussian
from vae_lib.laboratory import LinearGaussianModel, grid_log_evidence
from vae_lib.models import VAE, AutoEncoder, StandardNormal
from vae_lib.networks import linear_vae, mlp_vae
from vae_lib.training import TrainConfig, fit

PIXELS, LATENT = 5, 2


@pytest.fixture
def binary():
    """A VAE on binary images with weights far from zero, in float64, and seven images."""
    model = mlp_vae(6, 2, hidden=(8,), seed=1).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5).add_(0.1)
    return model, torch.bernoulli(torch.full((7, 6), 0.4, dtype=torch.float64))


@pytest.fixture
def linear():
    """A linear VAE with arbitrary weights, its exact twin, its encoder, and some data."""
    model = linear_vae(PIXELS, LATENT).double()
    weight = 0.5 * torch.randn(PIXELS, LATENT, dtype=torch.float64)
    bias = torch.randn(PIXELS, dtype=torch.float64)
    encoder_weight = 0.3 * torch.randn(LATENT, PIXELS, dtype=torch.float64)
    encoder_variance = torch.tensor([0.3, 0.8], dtype=torch.float64)
    set_weights(model, weight, bias, encoder_weight, encoder_variance)
    exact = LinearGaussianModel(weight, bias, float(model.decoder.likelihood.std.detach() ** 2))
    return model, exact, (encoder_weight, encoder_variance), exact.sample(6)


@torch.no_grad()
def set_weights(model, weight, bias, encoder_weight, encoder_variance):
    model.decoder.network[0].weight.copy_(weight)
    model.decoder.network[0].bias.copy_(bias)
    model.decoder.likelihood.log_var.fill_(math.log(0.4))
    model.encoder.weight.copy_(encoder_weight)
    model.encoder.log_var.copy_(encoder_variance.log())


@pytest.fixture
def fix_noise(monkeypatch):
    """Give every example the same noise: one row of `noise` (k, latent) per draw."""

    def fix(noise):
        def draw(shape, dtype, device):
            k, *batch, latent = shape
            assert (k, latent) == tuple(noise.shape)
            rows = noise.to(dtype).reshape(k, *[1] * len(batch), latent)
            return rows.expand(shape)

        monkeypatch.setattr("torch.distributions.normal._standard_normal", draw)

    return fix


# --- shapes ---------------------------------------------------------------------------------------


def test_everything_has_one_value_per_example(binary):
    model, x = binary
    assert model.elbo(x).shape == (7,)
    assert model.elbo(x, k=4, analytic_kl=False).shape == (7,)
    assert [term.shape for term in model.loss_terms(x, k=3)] == [(7,), (7,)]
    assert model.log_weights(x).shape == (1, 7)
    assert model.log_weights(x, k=9).shape == (9, 7)
    assert model.sample(11).shape == (11, 6)
    assert model.sample(11, mean=True).shape == (11, 6)
    assert model.reconstruct(x).shape == model.reconstruct(x, mean=False).shape == (7, 6)
    assert model.log_likelihood(x, torch.zeros(13, 2, dtype=torch.float64)).shape == (13, 7)


def test_sample_axes_come_first(binary):
    model, x = binary
    z = torch.randn(3, 4, 7, 2, dtype=torch.float64)  # two sample axes
    assert model.decode(z).batch_shape == (3, 4, 7)
    assert model.decode(z).event_shape == (6,)
    stacked = model.decode(z).log_prob(x)
    assert torch.allclose(stacked[2, 3], model.decode(z[2, 3]).log_prob(x))
    assert model.encode(x.expand(3, 7, 6)).mean.shape == (3, 7, 2)
    assert model.elbo(x.expand(3, 7, 6)).shape == (3, 7)


# --- one example does not touch another -------------------------------------------------------------


@pytest.mark.parametrize("analytic_kl", [True, False])
def test_batch_of_singletons_and_permutations(binary, fix_noise, analytic_kl):
    model, x = binary
    fix_noise(torch.randn(3, 2, dtype=torch.float64))
    options = {"k": 3, "beta": 0.7, "analytic_kl": analytic_kl}
    whole = model.elbo(x, **options)
    singles = torch.cat([model.elbo(row[None], **options) for row in x])
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    assert torch.allclose(whole, singles, rtol=1e-12)
    assert torch.allclose(model.elbo(x[order], **options), whole[order], rtol=1e-12)
    assert whole.std() > 0.01


# --- the value is the ELBO --------------------------------------------------------------------------


def test_elbo_is_linear_in_beta(binary):
    model, x = binary
    values = {}
    for beta in (0.0, 10.0):
        torch.manual_seed(5)
        values[beta] = model.elbo(x, beta=beta)
    posterior = model.encode(x)
    rate = kl_diagonal_gaussian(mean=posterior.mean, log_var=2 * posterior.stddev.log())
    assert torch.allclose(values[0.0] - values[10.0], 10 * rate, rtol=1e-10)
    assert rate.min() > 0.01


@pytest.mark.parametrize("beta", [1.0, 0.3, 4.0])
@pytest.mark.parametrize("analytic_kl", [True, False])
def test_elbo_of_the_linear_vae_is_the_closed_form(linear, fix_noise, beta, analytic_kl):
    # The integrand is quadratic in the noise, so its mean over the corners (±1, ±1) is its expectation.
    model, exact, encoder, x = linear
    fix_noise(torch.tensor(list(itertools.product([-1.0, 1.0], repeat=LATENT))))
    value = model.elbo(x, k=4, beta=beta, analytic_kl=analytic_kl)
    assert torch.allclose(value, exact.elbo(x, *encoder, beta=beta), rtol=1e-10)


@pytest.mark.parametrize("analytic_kl", [True, False])
def test_elbo_estimates_are_unbiased(linear, analytic_kl):
    model, exact, encoder, x = linear
    with torch.no_grad():
        draws = model.elbo(x.expand(20_000, *x.shape), analytic_kl=analytic_kl)
    error = draws.mean(0) - exact.elbo(x, *encoder)
    standard_error = draws.std(0) / len(draws) ** 0.5
    assert (error.abs() < 5 * standard_error).all()
    # Power: scoring z at the posterior mean would be off by this much.
    overshoot = (exact.weight.square() * encoder[1]).sum() / (2 * exact.variance)
    assert (overshoot > 10 * standard_error).all()


def test_log_weights_of_the_exact_posterior_are_the_evidence(linear):
    # With orthogonal columns the exact posterior is diagonal: every draw then gives ln p(x) itself.
    model, _, _, x = linear
    columns = torch.linalg.qr(torch.randn(PIXELS, LATENT, dtype=torch.float64)).Q
    exact = LinearGaussianModel(
        columns * torch.tensor([2.0, 1.0]),
        torch.randn(PIXELS, dtype=torch.float64),
        0.4 + 1e-6,  # the likelihood's floor adds min_std**2
    )
    set_weights(model, exact.weight, exact.bias, *exact.best_encoder())
    log_w = model.log_weights(x, k=50)
    assert torch.allclose(log_w, exact.log_evidence(x).expand(50, -1), rtol=1e-9)


def test_bounds_are_ordered_below_the_grid(binary):
    model, x = binary
    with torch.no_grad():
        evidence = grid_log_evidence(model.log_likelihood, x, latent_dim=2, points=121)
        elbo = model.log_weights(x, k=20_000)  # (20_000, batch)
        blocks = iwae_bound(elbo.reshape(20, -1)).reshape(1000, -1)  # 1000 bounds with k = 20
    elbo_error = elbo.std(0) / 20_000**0.5
    iwae_error = blocks.std(0) / 1000**0.5
    assert (elbo.mean(0) < blocks.mean(0) - 5 * (elbo_error + iwae_error)).all()
    assert (blocks.mean(0) < evidence + 5 * iwae_error).all()
    assert (evidence - elbo.mean(0) > 0.01).all()


def test_evidence_of_all_binary_images_sums_to_one(binary):
    model, _ = binary
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64)
    with torch.no_grad():
        evidence = grid_log_evidence(model.log_likelihood, every, latent_dim=2, points=121)
    assert evidence.exp().sum().item() == pytest.approx(1.0, abs=1e-9)


# --- gradients --------------------------------------------------------------------------------------


def test_gradient_reaches_the_encoder_and_matches_finite_differences(binary, fix_noise):
    model, x = binary
    fix_noise(torch.randn(2, 2, dtype=torch.float64))
    reconstruction, _ = model.loss_terms(x, k=2)
    reconstruction.mean().backward()
    weight = model.encoder.network[0].weight
    gradient = weight.grad[3, 2].item()
    step = 1e-6
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[3, 2] += sign * step
            values.append(model.loss_terms(x, k=2)[0].mean().item())
            weight[3, 2] -= sign * step
    assert gradient == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6)
    assert abs(gradient) > 1e-4
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_log_weights_are_differentiable_in_every_parameter(binary):
    model, x = binary
    iwae_bound(model.log_weights(x, k=5)).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, name


# --- the four test-time modes -----------------------------------------------------------------------


def test_encode_and_reconstruct_are_deterministic_and_elbo_is_not(binary):
    model, x = binary
    assert torch.equal(model.encode(x).mean, model.encode(x).mean)
    assert torch.equal(model.reconstruct(x), model.reconstruct(x))
    assert not torch.equal(model.elbo(x), model.elbo(x))
    assert not torch.equal(model.reconstruct(x, mean=False), model.reconstruct(x, mean=False))
    state = torch.random.get_rng_state()
    model.encode(x), model.reconstruct(x)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_reconstruct_decodes_the_posterior_mean(linear):
    model, exact, (encoder_weight, _), x = linear
    code = (x - exact.bias) @ encoder_weight.T
    assert torch.allclose(model.reconstruct(x), code @ exact.weight.T + exact.bias)


def test_a_drawn_reconstruction_has_the_noise_of_the_code_and_of_the_pixels(linear):
    model, exact, (_, encoder_variance), x = linear
    draws = model.reconstruct(x[:1].expand(20_000, -1), mean=False)
    covariance = exact.weight @ encoder_variance.diag() @ exact.weight.T
    variance = covariance.diag() + exact.variance
    assert ((draws.var(0) / variance - 1).abs() < 5 * math.sqrt(2 / 20_000)).all()
    assert (variance / exact.variance > 1.1).any()  # more than the pixels alone
    errors = (draws.mean(0) - model.reconstruct(x[:1])[0]) / (variance / 20_000).sqrt()
    assert (errors.abs() < 5).all()


@pytest.mark.parametrize("mean", [False, True])
def test_samples_have_the_covariance_of_the_model(linear, mean):
    model, exact, _, _ = linear
    n = 40_000
    wanted = exact.weight @ exact.weight.T
    if not mean:
        wanted = wanted + exact.variance * torch.eye(PIXELS, dtype=torch.float64)
    x = model.sample(n, mean=mean)
    scale = wanted.diagonal()
    covariance_error = ((scale[:, None] * scale + wanted**2) / n).sqrt()
    assert ((x.T.cov() - wanted).abs() < 5 * covariance_error).all()
    assert ((x.mean(0) - exact.bias).abs() < 5 * (scale / n).sqrt()).all()
    # The two answers are far apart: one would not pass for the other.
    assert exact.variance / covariance_error.diagonal().min() > 10


def test_samples_do_not_use_the_encoder(binary):
    model, _ = binary
    torch.manual_seed(3)
    first = model.sample(20)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.fill_(math.nan)
    torch.manual_seed(3)
    assert torch.equal(model.sample(20), first)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert not first.requires_grad


# --- priors -----------------------------------------------------------------------------------------


def test_another_prior(binary):
    model, x = binary
    prior = Independent(Normal(torch.full((2,), 1.0).double(), torch.full((2,), 2.0).double()), 1)
    other = VAE(model.encoder, model.decoder, prior)
    posterior = model.encode(x)
    wanted = kl_diagonal_gaussian(
        mean=posterior.mean,
        log_var=2 * posterior.stddev.log(),
        prior_mean=prior.mean,
        prior_log_var=2 * prior.stddev.log(),
    )
    assert torch.allclose(other.loss_terms(x)[1], wanted)
    mean = other.prior.sample((20_000,)).mean()
    assert abs(mean - 1.0) < 5 * 2.0 / 40_000**0.5


def test_a_prior_without_a_closed_form_kl(binary):
    model, x = binary
    prior = Independent(Laplace(torch.zeros(2).double(), torch.ones(2).double()), 1)
    other = VAE(model.encoder, model.decoder, prior)
    wanted = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    assert other.elbo(x, analytic_kl=False).shape == (7,)
    with pytest.raises(ValueError, match="analytic_kl=False"):
        model.__class__(_FullCovariance(), model.decoder, wanted).elbo(x, analytic_kl=True)
    correlated = VAE(_FullCovariance(), model.decoder, wanted)
    torch.manual_seed(3)
    chosen = correlated.elbo(x)
    torch.manual_seed(3)
    assert torch.equal(chosen, correlated.elbo(x, analytic_kl=False))


@pytest.mark.parametrize("options", [{"posterior": "iaf"}, {"prior": "mixture"}, {"prior": "vamp"}], ids=str)
def test_fit_trains_where_the_kl_has_no_closed_form(options):
    x = torch.bernoulli(torch.full((64, 12), 0.3), generator=torch.Generator().manual_seed(0))
    model = mlp_vae(12, 2, hidden=(16,), seed=0, **options)
    history = fit(model, x, TrainConfig(epochs=15, batch_size=16, learning_rate=0.01))
    assert history.elbo[-1] > history.elbo[0]


class _FullCovariance(nn.Module):
    """A posterior whose KL to an independent normal torch does not know."""

    latent = 2

    def forward(self, x):
        mean = x[..., :2]
        return torch.distributions.MultivariateNormal(mean, torch.eye(2, dtype=x.dtype))


def test_standard_normal_moves_with_the_model():
    prior = StandardNormal(3).double()
    assert prior().mean.dtype == torch.float64
    assert prior().event_shape == (3,)
    assert prior.state_dict() == {}


class _Forgetful(nn.Module):
    """Pixels or latents as separate events: a log-probability each instead of one per example."""

    latent = 2

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).base_dist


def test_distributions_that_would_broadcast_silently_are_refused(binary):
    model, x = binary
    for broken, culprit in (
        (VAE(_Forgetful(model.encoder), model.decoder), "encoder"),
        (VAE(model.encoder, _Forgetful(model.decoder)), "decoder"),
    ):
        for call in (broken.elbo, broken.log_weights, broken.reconstruct):
            with pytest.raises(ValueError, match=rf"{culprit} returned .* event shape \(\)"):
                call(x)
    with pytest.raises(ValueError, match="encoder returned 2 latent variables"):
        VAE(model.encoder, model.decoder, StandardNormal(1).double()).elbo(x)


def test_networks_without_a_distribution_are_refused(binary):
    """An encoder that returns two tensors, a decoder that ends in a sigmoid: what people bring along."""
    model, x = binary
    pair = VAE(lambda x: nn.Linear(6, 4).double()(x).chunk(2, -1), model.decoder, model.prior)
    means = VAE(model.encoder, nn.Sequential(model.decoder.network, nn.Sigmoid()), model.prior)
    for broken, message in ((pair, "encoder returned a tuple"), (means, "decoder returned a Tensor")):
        for call in (broken.elbo, broken.log_weights, broken.reconstruct):
            with pytest.raises(ValueError, match=rf"{message}; wanted a torch\.distributions"):
                call(x)


# --- the auto-encoder -------------------------------------------------------------------------------


def test_auto_encoder_has_no_noise_and_no_rate(binary):
    vae, x = binary
    model = AutoEncoder(vae.encoder, vae.decoder)
    assert torch.equal(model.encode(x), vae.encode(x).mean)
    assert torch.equal(model.reconstruct(x), vae.reconstruct(x))
    reconstruction, rate = model.loss_terms(x, k=3)
    assert torch.equal(reconstruction, vae.decode(vae.encode(x).mean).log_prob(x))
    assert torch.equal(rate, torch.zeros(7, dtype=torch.float64))
    plain = AutoEncoder(nn.Linear(6, 2).double(), vae.decoder)
    assert plain.encode(x).shape == (7, 2)


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(binary):
    model, x = binary
    with pytest.raises(ValueError, match="k is 0"):
        model.elbo(x, k=0)
    with pytest.raises(ValueError, match="k is 0"):
        model.log_weights(x, k=0)
    with pytest.raises(ValueError, match="n is 0"):
        model.sample(0)
    plain = AutoEncoder(model.encoder, model.decoder)
    for call in (model.elbo, model.log_weights, model.reconstruct, plain.loss_terms, plain.reconstruct):
        with pytest.raises(ValueError, match=r"x has shape \(6,\)"):
            call(x[0])
        with pytest.raises(ValueError, match=r"x has shape \(0, 6\).*at least one example"):
            call(x[:0])
        with pytest.raises(ValueError, match=r"x has dtype torch\.uint8"):
            call(x.to(torch.uint8))
        with pytest.raises(ValueError, match=r"x has shape \(7, 1\); wanted \(\.\.\., 6\)"):
            call(x[:, :1])
    with pytest.raises(ValueError, match=r"z has shape \(7, 1\); wanted \(\.\.\., 2\)"):
        model.decode(x[:, :1])
    with pytest.raises(ValueError, match="grey pixels"):
        model.elbo(x * 0.5)
    with pytest.raises(ValueError, match="NaN"):
        model.elbo(torch.full_like(x, math.nan))
    with pytest.raises(ValueError, match="encoder has no attribute `latent`"):
        VAE(nn.Linear(6, 4), model.decoder)
    with pytest.raises(ValueError, match="latent is 0"):
        StandardNormal(0)
