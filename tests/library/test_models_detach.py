"""`log_weights(detach_posterior=True)`: the same values, and the gradient without the score."""

import pytest
import torch
from torch import nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, StudentT

from vae_lib.laboratory import LinearGaussianModel
from vae_lib.likelihoods import Gaussian
from vae_lib.models import VAE, ConditionalVAE
from vae_lib.networks import Decoder, Encoder, GaussianEncoder, linear_vae, mlp
from vae_lib.posteriors import Flow, FullCovariance

PIXELS, LATENT, K = 4, 2, 3
DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _switch_as_it_was():
    """Importing zuko turns the checks of all torch distributions off; other tests need them."""
    before = Distribution._validate_args
    yield
    Distribution.set_default_validate_args(before)


class _FullEncoder(nn.Module):
    """A full-covariance Gaussian whose mean and Cholesky factor come from a network."""

    latent = LATENT

    def __init__(self):
        super().__init__()
        self.network = mlp(PIXELS, (6,), LATENT + LATENT * LATENT)

    def forward(self, x):
        mean, raw = self.network(x).split([LATENT, LATENT * LATENT], dim=-1)
        raw = raw.unflatten(-1, (LATENT, LATENT))
        factor = raw.tril(-1) + torch.diag_embed(raw.diagonal(dim1=-2, dim2=-1).exp())
        return MultivariateNormal(mean, scale_tril=factor)


class _StudentEncoder(nn.Module):
    """A posterior of another family, which has to be computed a second time."""

    latent = LATENT

    def __init__(self):
        super().__init__()
        self.network = mlp(PIXELS, (6,), 2 * LATENT)

    def forward(self, x):
        mean, raw = self.network(x).chunk(2, -1)
        return Independent(StudentT(7.0, mean, raw.exp()), 1)


class _ZukoEncoder(nn.Module):
    """A flow straight from zuko, which reads its weights when log_prob is called, not before."""

    latent = LATENT

    def __init__(self):
        super().__init__()
        import zuko

        self.flow = zuko.flows.MAF(LATENT, context=PIXELS, transforms=2, hidden_features=(8,))

    def forward(self, x):
        return self.flow(x)


def headed(posterior):
    return Encoder(mlp(PIXELS, (6,), posterior.features), posterior)


ENCODERS = {
    "diagonal": lambda: GaussianEncoder(mlp(PIXELS, (6,), 2 * LATENT), LATENT),
    "full": _FullEncoder,
    "cholesky": lambda: headed(FullCovariance(LATENT)),
    "student": _StudentEncoder,
    "maf": lambda: headed(Flow(LATENT, "maf", context=6, hidden=(8,))),
    "iaf": lambda: headed(Flow(LATENT, "iaf", context=6, hidden=(8,))),
    "zuko": _ZukoEncoder,
}


@pytest.fixture(params=ENCODERS)
def model(request):
    vae = VAE(ENCODERS[request.param](), Decoder(mlp(LATENT, (6,), PIXELS), Gaussian(std=0.5))).double()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(1.3).add_(0.05)
    return vae


@pytest.fixture
def x():
    return torch.randn(5, PIXELS, dtype=DOUBLE)


def gradients(value, parameters):
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def test_the_values_are_the_same(model, x):
    values = []
    for detach in (False, True):
        torch.manual_seed(3)
        values.append(model.log_weights(x, k=K, detach_posterior=detach))
    assert values[0].shape == (K, 5)
    torch.testing.assert_close(values[0], values[1], rtol=1e-10, atol=1e-10)


def test_the_gradient_lacks_exactly_the_score(model, x):
    # d/dphi with z(phi) free = detached gradient - d/dphi ln q at fixed z, and nothing else
    torch.manual_seed(3)
    whole = model.log_weights(x, k=K).sum()
    torch.manual_seed(3)
    detached = model.log_weights(x, k=K, detach_posterior=True).sum()
    torch.manual_seed(3)
    z = model.encode(x).rsample((K,)).detach()
    score = model.encode(x).log_prob(z).sum()
    encoder = list(model.encoder.parameters())
    for a, b, s in zip(
        gradients(detached, encoder), gradients(whole, encoder), gradients(score, encoder), strict=True
    ):
        torch.testing.assert_close(a, b + s, rtol=1e-8, atol=1e-8)
    assert max(s.abs().max() for s in gradients(score, encoder)) > 0.1  # the score is not nothing
    decoder = list(model.decoder.parameters())
    for a, b in zip(gradients(detached, decoder), gradients(whole, decoder), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_parameters_come_back_and_keep_their_gradients(model, x):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.log_weights(x, k=2, detach_posterior=True).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad
        assert torch.equal(parameter, before[name])
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.encoder.parameters())


def test_at_the_exact_posterior_the_gradient_has_no_variance():
    # sticking the landing: every single draw has gradient zero; the plain estimate has not
    model = linear_vae(PIXELS, LATENT, seed=0).double()
    columns = torch.linalg.qr(torch.randn(PIXELS, LATENT, dtype=DOUBLE)).Q
    exact = LinearGaussianModel(columns * torch.tensor([2.0, 1.0]), torch.randn(PIXELS, dtype=DOUBLE), 0.4)
    weight, variance = exact.best_encoder()
    with torch.no_grad():
        model.decoder.network[0].weight.copy_(exact.weight)
        model.decoder.network[0].bias.copy_(exact.bias)
        model.decoder.likelihood.log_var.fill_(float(torch.tensor(0.4 - 1e-6, dtype=DOUBLE).log()))
        model.encoder.weight.copy_(weight)
        model.encoder.log_var.copy_(variance.log())
    x = exact.sample(6)
    encoder = [model.encoder.weight, model.encoder.log_var]
    largest = {}
    for detach in (True, False):
        log_w = model.log_weights(x, k=5, detach_posterior=detach)
        each = [gradients(value, encoder) for value in log_w.flatten()]
        largest[detach] = max(g.abs().max().item() for row in each for g in row)
    assert largest[True] < 1e-10
    assert largest[False] > 0.1


def test_a_gaussian_is_not_computed_twice(x):
    # also with dropout in its encoder, which a second call would draw anew
    for posterior in ("diagonal", "cholesky", "full"):
        encoder = ENCODERS[posterior]()
        calls = []
        encoder.network.append(nn.Dropout(0.5))
        encoder.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        vae = VAE(encoder, Decoder(mlp(LATENT, (6,), PIXELS), Gaussian())).double()
        vae.log_weights(x, k=2, detach_posterior=True)
        assert len(calls) == 1


def test_a_conditional_vae_can_be_detached(x):
    class Conditioned(nn.Module):
        latent = LATENT

        def __init__(self):
            super().__init__()
            self.inner = _StudentEncoder()

        def forward(self, x, y):
            return self.inner(x + y)

    class WithCondition(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Decoder(mlp(LATENT, (6,), PIXELS), Gaussian())

        def forward(self, z, y):
            return self.inner(z * y[..., :LATENT])

    model, y = ConditionalVAE(Conditioned(), WithCondition()).double(), torch.rand_like(x)
    torch.manual_seed(3)
    whole = model.log_weights(x, y, k=2).sum()
    torch.manual_seed(3)
    detached = model.log_weights(x, y, k=2, detach_posterior=True).sum()
    torch.manual_seed(3)
    z = model.encode(x, y).rsample((2,)).detach()
    score = model.encode(x, y).log_prob(z).sum()
    encoder = list(model.encoder.parameters())
    for a, b, s in zip(
        gradients(detached, encoder), gradients(whole, encoder), gradients(score, encoder), strict=True
    ):
        torch.testing.assert_close(a, b + s, rtol=1e-8, atol=1e-8)


def test_a_function_as_encoder_works_for_gaussians_and_is_refused_otherwise(x):
    decoder = Decoder(mlp(LATENT, (6,), PIXELS), Gaussian()).double()
    prior = Independent(Normal(torch.zeros(LATENT).double(), torch.ones(LATENT).double()), 1)
    shift = torch.zeros(LATENT, dtype=DOUBLE, requires_grad=True)

    def gaussian(x):
        return Independent(Normal(x[..., :LATENT] + shift, torch.ones_like(x[..., :LATENT])), 1)

    def student(x):
        return Independent(StudentT(7.0, x[..., :LATENT] + shift), 1)

    assert VAE(gaussian, decoder, prior).log_weights(x, k=2, detach_posterior=True).shape == (2, 5)
    with pytest.raises(ValueError, match=r"detach_posterior is True, but the encoder, a function, holds no"):
        VAE(student, decoder, prior).log_weights(x, k=2, detach_posterior=True)


def test_dropout_in_an_encoder_that_runs_twice_is_refused(x):
    encoder = _StudentEncoder()
    encoder.network.append(nn.Dropout(0.5))
    vae = VAE(encoder, Decoder(mlp(LATENT, (6,), PIXELS), Gaussian())).double()
    with pytest.raises(ValueError, match="draws dropout anew"):
        vae.log_weights(x, detach_posterior=True)
    assert vae.eval().log_weights(x, detach_posterior=True).shape == (1, 5)
