"""Two stochastic layers against linear-Gaussian hierarchies, whose ln p(x) is a Gaussian's."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from vae_lib.bounds import iwae_bound
from vae_lib.builders import hierarchical_mlp_vae
from vae_lib.laboratory import LinearGaussianModel, grid_log_evidence
from vae_lib.models import VAE, HierarchicalVAE, StandardNormal

DOUBLE = torch.float64
SIZES = [4, 3, 2]  # pixels, h_1, h_2


class _Affine(nn.Module):
    """N(weight · input + bias, covariance), with a full covariance: exact posteriors need one."""

    def __init__(self, weight, bias, covariance):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.factor = nn.Parameter(torch.linalg.cholesky(covariance))
        self.latent = len(bias)

    def forward(self, given):
        mean = given @ self.weight.T + self.bias
        return MultivariateNormal(mean, scale_tril=self.factor)


def linear_hierarchy(sizes):
    """The model, its exact posterior as encoders, and the moments of each layer: all Gaussian.

    The exact q(h_{l+1}|h_l) is the conditional of the two neighbours under the model, which needs no
    x: given h_l, the layers above know nothing more about the layers below.
    """
    decoders, encoders = [], []
    mean, covariance = torch.zeros(sizes[-1], dtype=DOUBLE), torch.eye(sizes[-1], dtype=DOUBLE)
    for below, above in pairwise(sizes):  # draw the weights from the data up, in the order of the lists
        noise = torch.rand(below, dtype=DOUBLE).add(0.3).diag()
        weight, bias = torch.randn(below, above, dtype=DOUBLE), torch.randn(below, dtype=DOUBLE)
        decoders.append(_Affine(weight, bias, noise))
    for decoder in reversed(decoders):  # moments from the top down
        weight, bias = decoder.weight.detach(), decoder.bias.detach()
        noise = decoder.factor.detach().square()  # diagonal
        cross = covariance @ weight.T  # Cov(above, below)
        below_mean = weight @ mean + bias
        below_covariance = weight @ cross + noise
        gain = torch.linalg.solve(below_covariance, cross.T).T  # E(above | below) = m + gain (h - m')
        encoders.insert(0, _Affine(gain, mean - gain @ below_mean, covariance - gain @ cross.T))
        mean, covariance = below_mean, below_covariance
    return HierarchicalVAE(encoders, decoders).double(), mean, covariance


@pytest.fixture
def linear():
    model, mean, covariance = linear_hierarchy(SIZES)
    x = 2 * torch.randn(6, SIZES[0], dtype=DOUBLE)
    exact = torch.as_tensor(multivariate_normal(mean, covariance).logpdf(x))
    return model, x, exact, mean, covariance


@pytest.fixture
def network():
    model = hierarchical_mlp_vae(6, latents=(3, 2), hidden=((8,), (5,)), seed=1).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5).add_(0.1)
    return model, torch.bernoulli(torch.full((7, 6), 0.4, dtype=DOUBLE))


@pytest.mark.parametrize("sizes", [[4, 3, 2], [5, 4, 3, 2], [4, 2]], ids=str)
@pytest.mark.parametrize("detach", [False, True])
def test_with_the_exact_posterior_every_weight_is_the_evidence(sizes, detach):
    model, mean, covariance = linear_hierarchy(sizes)
    x = 2 * torch.randn(6, sizes[0], dtype=DOUBLE)
    exact = torch.as_tensor(multivariate_normal(mean, covariance).logpdf(x))
    log_w = model.log_weights(x, k=10, detach_posterior=detach)
    assert log_w.shape == (10, 6)
    torch.testing.assert_close(log_w, exact.expand(10, -1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.elbo(x), exact, rtol=1e-9, atol=1e-9)


def test_one_factor_more_is_the_closed_form_of_the_laboratory():
    # h_1 = h_2 + noise makes x = W h_1 + noise the model with W W' times the variance of h_1
    w, variance = torch.randn(4, 1, dtype=DOUBLE), 0.5
    zero, one = torch.zeros(1, dtype=DOUBLE), torch.ones(1, 1, dtype=DOUBLE)
    bottom = _Affine(w, torch.zeros(4, dtype=DOUBLE), variance * torch.eye(4, dtype=DOUBLE))
    model = HierarchicalVAE(
        [_Affine(0.1 * w.T, zero, one), _Affine(0.5 * one, zero, 0.5 * one)],
        [bottom, _Affine(one, zero, one)],
    )
    x = torch.randn(5, 4, dtype=DOUBLE)
    exact = LinearGaussianModel(math.sqrt(2.0) * w, torch.zeros(4, dtype=DOUBLE), variance).log_evidence(x)
    with torch.no_grad():
        log_w = model.log_weights(x, k=10_000)
        blocks = iwae_bound(log_w.reshape(10, -1)).reshape(1000, -1)
    elbo_error, iwae_error = log_w.std(0) / 100, blocks.std(0) / 1000**0.5
    assert (log_w.mean(0) < blocks.mean(0) - 5 * (elbo_error + iwae_error)).all()
    assert (blocks.mean(0) < exact + 5 * iwae_error).all()
    assert (exact - log_w.mean(0) > 10 * elbo_error).all()
    # and the average weight is p(x) itself
    weights = (log_w - exact).exp()
    assert ((weights.mean(0) - 1).abs() < 5 * weights.std(0) / 100).all()


def test_the_elbo_is_below_by_the_kl_to_the_posterior(linear):
    # shift q(h_2|h_1) by a constant: the gap is then KL between two Gaussians of one covariance
    model, x, exact, _, _ = linear
    shift = torch.tensor([0.7, -0.4], dtype=DOUBLE)
    factor = model.encoders[1].factor.detach()
    gap = 0.5 * torch.linalg.solve_triangular(factor, shift.unsqueeze(-1), upper=False).square().sum()
    with torch.no_grad():
        model.encoders[1].bias.add_(shift)
        draws = model.elbo(x.expand(5000, *x.shape))
    standard_error = draws.std(0) / 5000**0.5
    assert ((draws.mean(0) + gap - exact).abs() < 5 * standard_error).all()
    assert (gap > 10 * standard_error).all()


def test_reconstruction_and_rate_are_the_two_terms(linear):
    # closed forms: E ln p(x|h_1) under q(h_1|x), and rate = reconstruction - ln p(x)
    model, x, exact, _, _ = linear
    q, decoder = model.encode(x), model.decoders[0]
    weight, noise = decoder.weight, decoder.factor.square().diagonal()
    residual = x - q.mean @ weight.T - decoder.bias
    spread = (weight @ q.covariance_matrix @ weight.T).diagonal(dim1=-2, dim2=-1)
    wanted = -0.5 * ((residual.square() + spread) / noise + (2 * math.pi * noise).log()).sum(-1)
    with torch.no_grad():
        reconstruction, rate = model.loss_terms(x, k=10_000)
        single, _ = model.loss_terms(x.expand(2000, *x.shape))
    standard_error = single.std(0) / 100
    assert ((reconstruction - wanted).abs() < 5 * standard_error).all()
    torch.testing.assert_close(reconstruction - rate, exact, rtol=1e-9, atol=1e-9)


def test_samples_have_the_moments_of_the_model(linear):
    model, _, _, mean, covariance = linear
    with torch.no_grad():
        for parameter in model.encoders.parameters():
            parameter.fill_(math.nan)
    n = 60_000
    for smooth in (False, True):
        wanted = covariance - smooth * model.decoders[0].factor.detach().square()
        x = model.sample(n, mean=smooth)
        scale = wanted.diagonal()
        error = ((scale[:, None] * scale + wanted**2) / n).sqrt()
        assert ((x.T.cov() - wanted).abs() < 5 * error).all()
        assert ((x.mean(0) - mean).abs() < 5 * (scale / n).sqrt()).all()
        assert not x.requires_grad
    # power: without the noise of the middle layer the covariance would be another one
    w1, noise = model.decoders[0].weight.detach(), model.decoders[1].factor.detach().square()
    assert ((w1 @ noise @ w1.T).diagonal() > 10 * error.diagonal()).any()


def test_bounds_are_ordered_below_the_grid():
    # one latent in each layer: ln p(x) by the trapezoid rule over both
    model = hierarchical_mlp_vae(5, latents=(1, 1), hidden=((6,), (4,)), seed=2).double()
    with torch.no_grad():
        for parameter in model.decoders.parameters():
            parameter.mul_(1.3).add_(0.1)
        for encoder in model.encoders:  # a q wider than the posterior, or its weights have no variance
            encoder.network[-1].bias[1] = 2.0
    x = torch.bernoulli(torch.full((4, 5), 0.5, dtype=DOUBLE))
    h = torch.linspace(-12, 12, 401, dtype=DOUBLE).unsqueeze(-1)  # h_1 and h_2

    with torch.no_grad():
        log_prior = model.prior.log_prob(h)  # (h_2,)
        log_middle = model.decoders[1](h.unsqueeze(1)).log_prob(h)  # (h_2, h_1)
        inner = torch.trapezoid((log_prior.unsqueeze(1) + log_middle).exp(), h[:, 0], dim=0)  # p(h_1)
        likelihood = model.decode(h.unsqueeze(1)).log_prob(x).exp()  # (h_1, batch)
        evidence = torch.trapezoid(inner.unsqueeze(-1) * likelihood, h[:, 0], dim=0).log()
        log_w = model.log_weights(x, k=20_000)
    blocks = iwae_bound(log_w.reshape(20, -1)).reshape(1000, -1)
    elbo_error, iwae_error = log_w.std(0) / 20_000**0.5, blocks.std(0) / 1000**0.5
    assert (log_w.mean(0) < blocks.mean(0) - 5 * (elbo_error + iwae_error)).all()
    assert (blocks.mean(0) < evidence + 5 * iwae_error).all()
    # the average weight is p(x) itself; a factor left out would be nats away
    weights = (log_w - evidence).exp()
    weight_error = weights.std(0) / 20_000**0.5
    assert ((weights.mean(0) - 1).abs() < 5 * weight_error).all()
    assert (weight_error < 0.05).all()


def test_one_layer_is_a_vae(network):
    deep, x = network
    vae = VAE(deep.encoders[0], deep.decoders[0], StandardNormal(3).double())
    one = HierarchicalVAE([deep.encoders[0]], [deep.decoders[0]], StandardNormal(3).double())
    torch.manual_seed(2)
    wanted = vae.log_weights(x, k=4)
    torch.manual_seed(2)
    torch.testing.assert_close(one.log_weights(x, k=4), wanted)
    with torch.no_grad():
        grid = grid_log_evidence(
            VAE(deep.encoders[1], deep.decoders[1]).double().log_likelihood,
            torch.randn(2, 3, dtype=DOUBLE), latent_dim=2, points=61,
        )  # fmt: skip
    assert grid.isfinite().all()  # the layers above the first are a VAE of h_1


def test_a_drawn_reconstruction_has_the_noise_of_the_code_and_of_the_pixels(linear):
    model, x, *_ = linear
    draws = model.reconstruct(x[:1].expand(4000, -1), mean=False)
    weight, pixels = model.decoders[0].weight.detach(), model.decoders[0].factor.detach().square().diag()
    factor = weight @ model.encoders[0].factor.detach()
    variance = factor.square().sum(-1) + pixels
    assert ((draws.var(0) / variance - 1).abs() < 5 * math.sqrt(2 / 4000)).all()
    assert (variance / pixels > 1.5).any()  # more than the pixels alone


def test_the_seed_of_the_builder_decides_the_weights():
    states = [hierarchical_mlp_vae(6, (3, 2), ((8,), (5,)), seed=seed).state_dict() for seed in (4, 4, 5)]
    weights = [name for name in states[0] if name.endswith("weight")]
    assert len(weights) == 8  # two layers each in two encoders and two decoders
    for name in weights:
        first, again, other = (state[name] for state in states)
        assert torch.equal(first, again)
        assert (first != other).all()


def test_shapes_permutations_and_test_time_modes(network):
    model, x = network
    assert model.elbo(x).shape == model.elbo(x, k=3, beta=2).shape == (7,)
    assert model.log_weights(x).shape == (1, 7)
    assert model.log_weights(x, k=9).shape == (9, 7)
    assert model.sample(11).shape == model.sample(11, mean=True).shape == (11, 6)
    assert set(model.sample(11).unique().tolist()) == {0.0, 1.0}
    assert model.encode(x).mean.shape == (7, 3)
    assert torch.equal(model.reconstruct(x), model.reconstruct(x))
    assert torch.equal(model.reconstruct(x), model.decode(model.encode(x).mean).mean)
    assert not torch.equal(model.reconstruct(x, mean=False), model.reconstruct(x, mean=False))
    assert not torch.equal(model.elbo(x), model.elbo(x))
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    torch.testing.assert_close(model.reconstruct(x[order]), model.reconstruct(x)[order])


def test_batch_of_singletons(network, monkeypatch):
    model, x = network

    def draw(shape, dtype, device):  # the same noise for every example: it depends on the latent only
        return torch.linspace(-1, 1, shape[-1], dtype=dtype).expand(shape)

    monkeypatch.setattr("torch.distributions.normal._standard_normal", draw)
    whole = model.elbo(x, k=2)
    torch.testing.assert_close(torch.cat([model.elbo(row[None], k=2) for row in x]), whole)
    assert whole.std() > 0.01


def test_elbo_is_linear_in_beta(network):
    model, x = network
    values = []
    for beta in (0, 1, 10.0):
        torch.manual_seed(5)
        values.append(model.elbo(x, beta=beta))
    torch.manual_seed(5)
    reconstruction, rate = model.loss_terms(x)
    torch.testing.assert_close(values[0], reconstruction)
    torch.testing.assert_close(values[0] - values[2], 10 * rate)
    torch.manual_seed(5)
    torch.testing.assert_close(values[1], model.log_weights(x).squeeze(0))


def test_every_parameter_learns(network):
    model, x = network
    iwae_bound(model.log_weights(x, k=5)).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_detaching_takes_away_exactly_the_score(network):
    # of both layers; the way of the gradient through h_1 into q(h_2|h_1) stays
    model, x = network
    encoder = list(model.encoders.parameters())
    grads = []
    for detach in (False, True):
        torch.manual_seed(3)
        grads.append(torch.autograd.grad(model.log_weights(x, 2, detach).sum(), encoder))
    torch.manual_seed(3)
    h_1 = model.encode(x).rsample((2,)).detach()
    h_2 = model.encoders[1](h_1).rsample().detach()
    log_q = model.encode(x).log_prob(h_1) + model.encoders[1](h_1).log_prob(h_2)
    score = torch.autograd.grad(log_q.sum(), encoder)
    for whole, detached, s in zip(*grads, score, strict=True):
        torch.testing.assert_close(detached, whole + s, rtol=1e-8, atol=1e-8)
    assert max(s.abs().max() for s in score) > 0.1


def test_detached_at_the_exact_posterior_has_no_gradient(linear):
    model, x, _, _, _ = linear
    for detach in (True, False):
        largest = 0.0
        for value in model.log_weights(x[:3], k=2, detach_posterior=detach).flatten():
            grads = torch.autograd.grad(value, list(model.encoders.parameters()), retain_graph=True)
            largest = max(largest, *(g.abs().max().item() for g in grads))
        assert largest < 1e-9 if detach else largest > 0.1


def test_burda_sizes():
    # anchors: latents 100 and 50, hidden 200, 200 and 100, 100, tanh; counted by hand
    model = hierarchical_mlp_vae(784, seed=0)

    def count(*sizes):
        return sum(a * b + b for a, b in pairwise(sizes))

    wanted = count(784, 200, 200, 2 * 100) + count(100, 100, 100, 2 * 50)
    wanted += count(50, 100, 100, 2 * 100) + count(100, 200, 200, 784)
    assert sum(p.numel() for p in model.parameters()) == wanted == 521084
    assert [e.latent for e in model.encoders] == [100, 50]
    assert isinstance(model.encoders[0].network[1], nn.Tanh)
    x = torch.bernoulli(torch.full((2, 784), 0.3))
    assert model.log_weights(x, k=2).shape == (2, 2)
    again = hierarchical_mlp_vae(784, seed=0).state_dict()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.values(), strict=True))


def test_three_layers_from_the_builder():
    model = hierarchical_mlp_vae(6, latents=(4, 3, 2), hidden=((5, 9), (), (7, 8)), seed=0)
    x = torch.bernoulli(torch.full((3, 6), 0.5))
    assert model.log_weights(x, k=2).shape == (2, 3)
    assert [m.out_features for m in model.encoders[0].network[::2]] == [5, 9, 8]
    assert [m.out_features for m in model.decoders[0].network[::2]] == [9, 5, 6]
    assert model.decoders[2].network[0].in_features == 2
    assert [m.out_features for m in model.decoders[2].network[::2]] == [8, 7, 6]
    assert model.decoders[2](torch.zeros(3, 2)).mean.shape == (3, 3)
    assert model.sample(5).shape == (5, 6)


class _TwoAxes(nn.Module):
    latent = 3

    def forward(self, x):
        return Normal(x[..., :3], 1.0)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(network):
    model, x = network
    with pytest.raises(ValueError, match="k is 0"):
        model.log_weights(x, k=0)
    with pytest.raises(ValueError, match="n is 0"):
        model.sample(0)
    for call in (model.elbo, model.log_weights, model.reconstruct):
        with pytest.raises(ValueError, match=r"x has shape \(6,\)"):
            call(x[0])
    with pytest.raises(ValueError, match="grey pixels"):
        model.elbo(x * 0.5)
    e, d = list(model.encoders), list(model.decoders)
    with pytest.raises(ValueError, match="encoders has 2 modules and decoders 1; wanted one of each"):
        HierarchicalVAE(e, d[:1])
    with pytest.raises(ValueError, match="encoders has 0 modules"):
        HierarchicalVAE([], [])
    with pytest.raises(ValueError, match=r"encoders\[0\] returned .* event shape \(\); wanted \(latent,\)"):
        HierarchicalVAE([_TwoAxes(), e[1]], d).elbo(x)
    with pytest.raises(ValueError, match=r"decoders\[1\] returned .* event shape \(\); wanted \(latent,\)"):
        HierarchicalVAE(e, [d[0], _TwoAxes()]).elbo(x)
    with pytest.raises(ValueError, match=r"encoders\[-1\] returned 2 latent variables; .* shape \(5,\)"):
        HierarchicalVAE(e, d, StandardNormal(5).double()).elbo(x)
    narrow = hierarchical_mlp_vae(6, latents=(1, 2), hidden=((8,), (5,)), seed=1).double()
    with pytest.raises(ValueError, match=r"decoders\[1\] returned 1 latent variables; wanted 3"):
        HierarchicalVAE(e, [d[0], narrow.decoders[1]]).elbo(x)
    with pytest.raises(ValueError, match="latents has 1 layers and hidden 2"):
        hierarchical_mlp_vae(6, latents=(3,))
    with pytest.raises(ValueError, match="latents is 0"):
        hierarchical_mlp_vae(6, latents=(3, 0))
    top = Independent(Normal(torch.zeros(2).double(), torch.ones(2).double()), 1)
    assert HierarchicalVAE(e, d, top).prior is top
