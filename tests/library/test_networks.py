"""Builders and initialisation."""

import copy
import math

import pytest
import torch
from torch import nn

from vae_lib.laboratory import LinearGaussianModel
from vae_lib.likelihoods import Bernoulli, Gaussian
from vae_lib.models import VAE
from vae_lib.networks import (
    Decoder,
    Encoder,
    GaussianEncoder,
    bounded_log_var,
    conv_vae,
    linear_gaussian_model,
    linear_vae,
    mlp,
    mlp_vae,
    set_output_bias,
)
from vae_lib.posteriors import Diagonal

# --- bounded_log_var --------------------------------------------------------------------------------


def test_bounded_log_var_is_the_identity_inside():
    raw = torch.linspace(-6, 6, 1001, requires_grad=True)
    value = bounded_log_var(raw)
    value.sum().backward()
    assert torch.equal(value, raw)
    assert torch.equal(raw.grad, torch.ones(1001))


@pytest.mark.parametrize("size", [1e4, 1e20, 3e38])
def test_bounded_log_var_is_finite_and_keeps_a_gradient_far_outside(size):
    raw = torch.tensor([-size, size], requires_grad=True)  # float32
    value = bounded_log_var(raw)
    value.sum().backward()
    assert value.dtype == torch.float32
    std = torch.exp(0.5 * value)
    assert torch.isfinite(std).all()
    assert (std > 0).all()
    assert (raw.grad > 0).all()


def test_bounded_log_var_grows_and_is_smooth_at_the_edge():
    raw = torch.linspace(-50, 50, 20_001, dtype=torch.float64)
    value = bounded_log_var(raw)
    slope = value.diff() / raw.diff()
    assert (slope > 0).all()
    assert slope.diff().abs().max() < 0.006  # a hard clamp jumps by 1
    assert torch.allclose(value, -bounded_log_var(-raw))


def test_bounded_log_var_gradient_matches_finite_differences():
    raw = torch.tensor([-300.0, -6.5, -5.9, 0.0, 5.9, 7.0, 1000.0], dtype=torch.float64)
    torch.autograd.gradcheck(bounded_log_var, raw.requires_grad_())


def test_bounded_log_var_does_not_hide_nan():
    assert bounded_log_var(torch.tensor([math.nan])).isnan().all()


def test_an_encoder_that_went_too_far_comes_back():
    encoder = GaussianEncoder(nn.Linear(1, 2), latent=1)
    with torch.no_grad():
        encoder.network.bias.copy_(torch.tensor([0.0, 1e4]))
    encoder(torch.zeros(1, 1)).stddev.log().sum().backward()
    assert encoder.network.bias.grad[1] > 0


# --- builders ---------------------------------------------------------------------------------------


def test_mlp_layers_and_initialisation():
    network = mlp(7, (5, 4), 3, activation="gelu")
    assert [type(layer) for layer in network] == [
        nn.Linear,
        nn.GELU,
        nn.Linear,
        nn.GELU,
        nn.Linear,
    ]
    assert network(torch.zeros(2, 9, 7)).shape == (2, 9, 3)
    big = mlp(300, (), 500)[0]
    assert torch.equal(big.bias, torch.zeros(500))
    # Glorot's uniform has this standard deviation.
    assert big.weight.std().item() == pytest.approx((2 / 800) ** 0.5, rel=0.02)
    assert isinstance(mlp(2, (2,), 2, activation=nn.SiLU)[1], nn.SiLU)


def test_mlp_vae_mirrors_its_hidden_layers():
    model = mlp_vae(64, 3, hidden=(32, 16))
    sizes = [layer.out_features for layer in model.decoder.network if isinstance(layer, nn.Linear)]
    assert sizes == [16, 32, 64]
    sizes = [layer.out_features for layer in model.encoder.network if isinstance(layer, nn.Linear)]
    assert sizes == [32, 16, 6]
    assert model.encode(torch.zeros(5, 64)).event_shape == (3,)


@pytest.mark.parametrize("network", [nn.Identity(), nn.Sequential()], ids=str)
def test_gaussian_encoder_splits_means_and_log_variances(network):
    encoder = GaussianEncoder(network, latent=2)
    posterior = encoder(torch.tensor([[0.3, -1.0, 2.0, -4.0]]))
    assert torch.equal(posterior.mean, torch.tensor([[0.3, -1.0]]))
    assert torch.allclose(posterior.variance, torch.tensor([[2.0, -4.0]]).exp())


def test_likelihoods_by_name_and_by_module():
    assert isinstance(mlp_vae(4, 1).decoder.likelihood, Bernoulli)
    gaussian = mlp_vae(4, 1, likelihood="gaussian").decoder.likelihood
    assert isinstance(gaussian, Gaussian)
    assert gaussian.log_var.requires_grad
    mine = Gaussian(std=0.3)
    assert mlp_vae(4, 1, likelihood=mine).decoder.likelihood is mine


@pytest.mark.parametrize(
    "build", [lambda seed: mlp_vae(6, 2, seed=seed), lambda seed: linear_vae(6, 2, seed=seed)]
)
def test_seed_decides_the_weights_and_leaves_the_global_generator_alone(build):
    state = torch.random.get_rng_state()
    first, second, other = (dict(build(seed).named_parameters()) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    torch.manual_seed(3)
    assert torch.equal(
        first["encoder.weight" if "encoder.weight" in first else "encoder.network.0.weight"],
        dict(build(None).named_parameters())[
            "encoder.weight" if "encoder.weight" in first else "encoder.network.0.weight"
        ],
    )


@pytest.mark.parametrize(
    ("options", "log_q", "log_p"),
    [
        (
            {"seed": 0},
            [-3.192892481615604, -2.9529044005841376],
            [-44.98900337628635, -44.880418857709145],
        ),
        (
            {"hidden": (64, 64), "activation": "gelu", "seed": 3},
            [-2.402338591043642, -2.637238829252644],
            [-44.48831941305915, -44.24817717728235],
        ),
        (
            {"hidden": (16,), "likelihood": "gaussian", "seed": 7},
            [-3.382333664706433, -2.196985245036837],
            [-70.93909149566186, -69.62312915757312],
        ),
    ],
)
def test_a_seed_gives_the_model_it_always_gave(options, log_q, log_p):
    """Numbers of the first release, which chapter 8 was written with."""
    model = mlp_vae(64, 2, **options).double()
    x = (torch.arange(128).reshape(2, 64) % 3 == 0).double()
    z = torch.linspace(-1, 1, 4, dtype=torch.float64).reshape(2, 2)
    assert model.encode(x).log_prob(z).tolist() == pytest.approx(log_q, abs=1e-6)
    assert model.decode(z).log_prob(x).tolist() == pytest.approx(log_p, abs=1e-5)
    assert [name for name in model.state_dict() if name.startswith("encoder")] == [
        name for name, _ in model.named_parameters() if name.startswith("encoder.network.")
    ]


def test_the_network_of_burda():
    """784-200-200-50 and back, tanh: experiments.py of Burda et al. (2016), one layer of latents."""
    model = mlp_vae(784, latent=50, hidden=(200, 200))
    linear = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    assert linear == [(784, 200), (200, 200), (200, 100), (50, 200), (200, 200), (200, 784)]
    assert sum(isinstance(m, nn.Tanh) for m in model.modules()) == 4
    assert sum(p.numel() for p in model.parameters()) == 217_300 + 207_984


# --- the linear VAE -----------------------------------------------------------------------------------


def test_linear_vae_shares_its_centre():
    model = linear_vae(5, 2)
    for twin in (model, copy.deepcopy(model), linear_vae(5, 2).double()):
        assert twin.encoder.centre is twin.decoder.network[0].bias
        assert len(list(twin.parameters())) == 5  # V, d, W, μ, σ²
    other = linear_vae(5, 2)
    with torch.no_grad():
        model.encoder.centre.fill_(2.0)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.decoder.network[0].bias, torch.full((5,), 2.0))
    assert torch.equal(other.encoder(torch.full((1, 5), 2.0)).mean, torch.zeros(1, 2))


def test_linear_vae_has_one_posterior_variance_for_all():
    model = linear_vae(5, 2, seed=0)
    with torch.no_grad():
        model.encoder.log_var.copy_(torch.tensor([0.5, -1.0]))
    assert model.encoder.variance.log().tolist() == pytest.approx([0.5, -1.0], abs=1e-6)
    posterior = model.encode(torch.randn(4, 5))
    assert posterior.variance.log().tolist() == [pytest.approx([0.5, -1.0], abs=1e-6)] * 4


def test_linear_gaussian_model_is_the_decoder():
    model = linear_vae(5, 2, seed=0)
    with torch.no_grad():
        model.decoder.likelihood.log_var.fill_(-1.5)
        model.decoder.network[0].bias.copy_(torch.randn(5))
    exact = linear_gaussian_model(model)
    assert isinstance(exact, LinearGaussianModel)
    x, z = torch.randn(3, 5), torch.randn(4, 2)
    with torch.no_grad():
        wanted = model.log_likelihood(x, z)
    assert torch.allclose(exact.log_likelihood(x.double(), z.double()).float(), wanted, atol=1e-4)
    assert not exact.weight.requires_grad


# --- the output bias ----------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_output_bias_makes_the_mean_picture(likelihood):
    x = torch.bernoulli(torch.linspace(0.05, 0.95, 9).expand(500, 9))
    model = mlp_vae(9, 2, likelihood=likelihood, seed=0)
    set_output_bias(model, x)
    with torch.no_grad():
        model.decoder.network[-1].weight.zero_()
    assert torch.allclose(model.sample(3, mean=True), x.mean(0).expand(3, 9), atol=1e-6)


def test_output_bias_stays_finite_on_constant_pixels():
    model = mlp_vae(2, 1, seed=0)
    set_output_bias(model, torch.tensor([[0.0, 1.0]]))
    with torch.no_grad():
        model.decoder.network[-1].weight.zero_()
    assert torch.allclose(model.sample(1, mean=True), torch.tensor([[0.001, 0.999]]))


# --- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounded_log_var(torch.tensor([7])), "raw has dtype torch.int64"),
        (lambda: mlp_vae(0, 2), "pixels is 0"),
        (lambda: mlp_vae(4, 0), "latent is 0"),
        (lambda: mlp_vae(4, 2, hidden=(8, 0)), "hidden is 0"),
        (lambda: mlp_vae(4, 2, likelihood="poisson"), "likelihood is 'poisson'"),
        (lambda: mlp_vae(4, 2, activation="swish"), "activation is 'swish'"),
        (lambda: mlp_vae(4, 2, components=0), "components is 0"),
        (lambda: mlp_vae(4, 2, prior="uniform"), "prior is 'uniform'; wanted 'standard', 'mixture', 'vamp'"),
        (lambda: mlp_vae(4, 2, posterior="planar"), "posterior is 'planar'; wanted 'diagonal', 'full'"),
        (lambda: mlp_vae(4, 2, posterior=Diagonal(3)), r"posterior is Diagonal\(latent=3\); .* the latter 2"),
        (lambda: mlp_vae(4, 2, posterior=nn.Linear(4, 2)), "posterior is Linear"),
        (lambda: Encoder(nn.Linear(4, 4), nn.Identity()), "posterior is of type Identity, without"),
        (lambda: linear_vae(4, 4), "latent is 4; wanted less than pixels = 4"),
        (lambda: mlp(0, (), 1), "inputs is 0"),
        (lambda: mlp(1, (), 0), "outputs is 0"),
        (lambda: GaussianEncoder(nn.Linear(4, 4), 0), "latent is 0"),
        (lambda: linear_vae(4, 2).reconstruct(torch.zeros(3, 1)), r"x has shape \(3, 1\); wanted .*4"),
        (lambda: linear_vae(4, 2).encode(torch.zeros(3, 1)), r"x has shape \(3, 1\); wanted .*4"),
        (lambda: conv_vae((2, 2), 1, filters=(2,)).encode(torch.zeros(3, 5)), r"x has shape \(3, 5\).*4"),
        (lambda: conv_vae((2, 2), 1, filters=(2,)).decode(torch.zeros(3, 2)), r"z has shape \(3, 2\).*1"),
        (lambda: linear_gaussian_model(mlp_vae(4, 2)), "the encoder GaussianEncoder"),
        (lambda: set_output_bias(mlp_vae(4, 2), torch.zeros(0, 4)), r"x has shape \(0, 4\)"),
        (lambda: set_output_bias(mlp_vae(4, 2), torch.full((3, 4), math.nan)), "x holds 12 values"),
        (lambda: set_output_bias(mlp_vae(4, 2), torch.full((3, 4), 16.0)), r"x lies in \[16, 16\]"),
        (lambda: set_output_bias(mlp_vae(4, 2), torch.zeros(3, 5)), r"wanted \(batch, 4\)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_output_bias_refuses_what_it_does_not_know():
    class Other(nn.Module):
        def forward(self, mean):
            return torch.distributions.Independent(torch.distributions.Laplace(mean, 1.0), 1)

    model = VAE(GaussianEncoder(mlp(4, (), 2), 1), Decoder(mlp(1, (), 4), Other()))
    with pytest.raises(ValueError, match="the likelihood Other"):
        set_output_bias(model, torch.zeros(3, 4))
    model = VAE(model.encoder, nn.Linear(1, 4))
    with pytest.raises(ValueError, match="the decoder Linear"):
        set_output_bias(model, torch.zeros(3, 4))
