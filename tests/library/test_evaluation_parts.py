"""Two gaps and two parts of the KL: against closed forms, the grid, and SciPy's optimiser."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn
from torch.distributions import Independent, Normal

from vae_lib.evaluation import elbo_surgery, inference_gaps
from vae_lib.evaluation.gaps import DRAWS_TO_CHOOSE, _start
from vae_lib.laboratory import SmallestVAE, grid_log_evidence
from vae_lib.laboratory.surgery import grid_elbo_surgery
from vae_lib.models import VAE, AutoEncoder
from vae_lib.networks import linear_gaussian_model, linear_vae, mlp_vae

pytestmark = pytest.mark.usefixtures("one_thread")


class Codes(nn.Module):
    """An encoder that returns the posteriors it is given: the first column of x says which."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = nn.Parameter(mean), nn.Parameter(std)
        self.latent = mean.shape[-1]

    def forward(self, x):
        rows = x[:, 0].long()
        return Independent(Normal(self.mean[rows], self.std[rows]), 1)


def coded(mean, std):
    """A VAE with these posteriors, and the x that belong to them."""
    model = VAE(Codes(mean, std), mlp_vae(1, mean.shape[-1], seed=0).decoder.to(mean.dtype)).to(mean.dtype)
    return model, torch.arange(float(len(mean)), dtype=mean.dtype).unsqueeze(-1)


def random_codes(n, latent, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(n, latent, generator=generator, dtype=torch.float64)
    return mean, 0.2 + 0.5 * torch.rand(n, latent, generator=generator, dtype=torch.float64)


# --- surgery ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "latent"), [(20, 1), (5, 2)])
def test_surgery_against_the_grid(n, latent):
    mean, std = random_codes(n, latent)
    truth = grid_elbo_surgery(mean, std)
    model, x = coded(mean, std)
    parts = elbo_surgery(model, x, k=2000)
    for name in ("mutual_information", "aggregate_kl"):
        value, error = getattr(parts, name)
        assert abs(value - getattr(truth, name)) < 5 * error, name
        assert error < 0.01, name
    assert parts.average_kl.value.item() == pytest.approx(truth.average_kl.item(), abs=1e-12)
    assert parts.average_kl.standard_error == 0
    assert truth.mutual_information > 0.2  # what a mixture without the own code would miss
    assert truth.aggregate_kl > 0.02


def test_the_errors_are_errors():
    mean, std = random_codes(6, 1, seed=3)
    truth = grid_elbo_surgery(mean, std)
    model, x = coded(mean, std)
    scores = []
    for seed in range(60):
        parts = elbo_surgery(model, x, k=50, seed=seed)
        for name in ("mutual_information", "aggregate_kl"):
            value, error = getattr(parts, name)
            scores.append(((value - getattr(truth, name)) / error).item())
    assert 0.4 < np.mean(np.square(scores)) < 1.7
    assert max(np.abs(scores)) < 5


def test_the_smallest_vae():
    # teaching.md 6.6, variance 0.01: rate 1.2341, aggregate KL 0.5424; information below ln 2
    m, v = SmallestVAE(0.01).optimum()
    model, x = coded(torch.stack([m, -m]).unsqueeze(-1), v.sqrt().expand(2, 1).clone())
    parts = elbo_surgery(model, x, k=20_000)
    assert parts.average_kl.value.item() == pytest.approx(1.2341, abs=1e-3)
    assert parts.average_kl.value.item() == pytest.approx(SmallestVAE(0.01).rate(m, v).item(), abs=1e-12)
    error = 5 * parts.aggregate_kl.standard_error.item()
    assert parts.aggregate_kl.value.item() == pytest.approx(0.5424, abs=error)
    assert parts.mutual_information.value.item() == pytest.approx(1.2341 - 0.5424, abs=0.005)
    assert parts.mutual_information.value < math.log(2)


def test_information_of_codes_that_are_known():
    std = torch.full((8, 1), 0.01, dtype=torch.float64)
    apart = torch.arange(8.0, dtype=torch.float64).unsqueeze(-1)
    value, error = elbo_surgery(*coded(apart, std), k=5).mutual_information
    assert value.item() == pytest.approx(math.log(8), abs=1e-12)
    assert error < 1e-9
    value, error = elbo_surgery(*coded(apart * 0, std * 0 + 1), k=5).mutual_information
    assert value.item() == pytest.approx(0, abs=1e-12)
    parts = elbo_surgery(*coded(apart * 0, std * 0 + 1), k=5)
    assert parts.aggregate_kl.value.item() == pytest.approx(0, abs=1e-12)


def test_no_draw_claims_more_than_ln_n():
    for seed in range(20):
        mean, std = random_codes(3, 2, seed)
        parts = elbo_surgery(*coded(4 * mean, 0.3 * std), k=2, seed=seed)
        assert parts.mutual_information.value <= math.log(3) + 1e-12


def test_surgery_goes_through_in_pieces(monkeypatch):
    from vae_lib.evaluation import surgery

    model, x = coded(*random_codes(20, 2))
    whole = elbo_surgery(model, x, k=7)
    monkeypatch.setattr(surgery, "NUMBERS_AT_ONCE", 100)
    pieces = elbo_surgery(model, x, k=7)
    for one, other in zip(whole, pieces, strict=True):
        assert torch.allclose(torch.stack(list(one)), torch.stack(list(other)), atol=1e-12)


def test_a_prior_without_a_closed_kl():
    class Laplace(nn.Module):
        def forward(self):
            zero = torch.zeros(1, dtype=torch.float64)
            return Independent(torch.distributions.StudentT(zero + 5, zero, zero + 1), 1)

    mean, std = random_codes(6, 1)
    model, x = coded(mean, std)
    model.prior_source = Laplace()
    parts = elbo_surgery(model, x, k=4000)
    total = parts.mutual_information.value + parts.aggregate_kl.value
    assert parts.average_kl.standard_error > 0
    assert parts.average_kl.value.item() == pytest.approx(total.item(), abs=1e-10)
    z = torch.linspace(-14, 14, 20001, dtype=torch.float64).unsqueeze(-1)
    q = Normal(mean.T, std.T).log_prob(z)  # (points, n)
    integrand = q.exp() * (q - model.prior.log_prob(z).unsqueeze(-1))
    truth = torch.trapezoid(integrand, z, dim=0).mean().item()
    assert abs(parts.average_kl.value - truth) < 5 * parts.average_kl.standard_error


def test_surgery_leaves_the_world_alone_and_refuses():
    model, x = coded(*random_codes(4, 1))
    model.train()
    state = torch.random.get_rng_state()
    one, two = elbo_surgery(model, x), elbo_surgery(model, x)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one == two
    assert model.training
    assert elbo_surgery(model, x, seed=1) != one
    with pytest.raises(ValueError, match="k is 1; wanted at least 2"):
        elbo_surgery(model, x, k=1)
    with pytest.raises(ValueError, match="k is 0"):
        elbo_surgery(model, x, k=0)
    with pytest.raises(ValueError, match="at least one example"):
        elbo_surgery(model, x[:0])


# --- gaps ---------------------------------------------------------------------------------------------


def crooked_linear():
    """A linear VAE with columns that are not orthogonal, and an encoder that is not the best one."""
    model = linear_vae(6, 2, seed=0).double()
    with torch.no_grad():
        model.decoder.network[0].weight.copy_(torch.randn(6, 2, generator=torch.Generator().manual_seed(1)))
        model.decoder.network[0].weight[:, 1] += model.decoder.network[0].weight[:, 0]
        weight, variance = linear_gaussian_model(model).best_encoder()
        model.encoder.weight.copy_(0.85 * weight)
        model.encoder.log_var.copy_(variance.log() + 0.7)
    return model, linear_gaussian_model(model).sample(12, torch.Generator().manual_seed(2))


def test_gaps_of_the_linear_vae_in_closed_form():
    model, x = crooked_linear()
    x = x[:5]
    exact = linear_gaussian_model(model)
    gaps = inference_gaps(model, x, k=4000, steps=300)
    evidence, best = exact.log_evidence(x), exact.elbo(x, *exact.best_encoder())
    encoder = exact.elbo(x, model.encoder.weight.detach(), model.encoder.variance.detach())
    assert exact.gap() > 0.2  # else nothing would be shown
    assert (best - encoder).min() > 0.1
    assert torch.allclose(gaps.log_likelihood, evidence, atol=0.001)
    approximation_error = 0.01 + 5 * gaps.approximation_standard_error
    assert ((gaps.approximation - exact.gap()).abs() < approximation_error).all()
    assert ((gaps.best_elbo - best).abs() < approximation_error).all()
    amortisation_error = 0.01 + 5 * gaps.amortisation_standard_error
    assert ((gaps.amortisation - (best - encoder)).abs() < amortisation_error).all()
    assert max(approximation_error.max(), amortisation_error.max()) < 0.25
    assert torch.allclose(gaps.approximation + gaps.amortisation, gaps.log_likelihood - gaps.elbo)


class Near(nn.Module):
    """An encoder for these examples alone, all of them at once."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std, self.latent = mean, std, 1

    def forward(self, x):
        return Independent(Normal(self.mean, self.std), 1)


def test_a_full_covariance_has_no_approximation_gap():
    model, x = crooked_linear()
    gaps = inference_gaps(model, x[:3], k=200, steps=400, family="full")
    assert gaps.approximation.abs().max() < 1e-3
    assert torch.allclose(gaps.log_likelihood, linear_gaussian_model(model).log_evidence(x[:3]), atol=1e-3)


def test_gaps_of_a_crooked_decoder_against_scipy():
    # a tanh decoder 1-8-2, as in teaching.md 6.4
    model = mlp_vae(2, 1, hidden=(8,), likelihood="gaussian", seed=0).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for i, scale in ((0, 2.0), (2, 1.0)):
            layer = model.decoder.network[i]
            layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=generator))
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator))
        model.decoder.likelihood.log_var.fill_(math.log(0.05))
        z = torch.linspace(-1.5, 1.5, 6, dtype=torch.float64).unsqueeze(-1)
        x = model.decode(z).mean + 0.1
    model.encoder = Near(z + 0.15, 0.4 + 0 * z)
    noise = torch.linspace(-8, 8, 321, dtype=torch.float64)
    weight = torch.exp(-0.5 * noise**2) / math.sqrt(2 * math.pi) * (noise[1] - noise[0])

    @torch.no_grad()
    def elbo_of(example, mean, log_std):
        z = (mean + math.exp(log_std) * noise).unsqueeze(-1)
        log_p = model.decode(z).log_prob(x[example]) + model.prior.log_prob(z)
        return float((weight * log_p).sum()) + log_std + 0.5 * math.log(2 * math.pi * math.e)

    q = model.encode(x)
    start = torch.cat([q.mean, q.stddev.log()], -1).detach().tolist()
    encoder, best = [], []
    for i in range(6):
        encoder.append(elbo_of(i, *start[i]))
        found = minimize(lambda p, i=i: -elbo_of(i, *p), start[i], method="Nelder-Mead", tol=1e-6)
        best.append(-found.fun)
    with torch.no_grad():
        evidence = grid_log_evidence(model.log_likelihood, x, latent_dim=1, points=1601)
    gaps = inference_gaps(model, x, k=4000, steps=400)
    approximation, amortisation = evidence - torch.tensor(best), torch.tensor(best) - torch.tensor(encoder)
    assert approximation.max() > 0.1
    assert amortisation.min() > 0.1
    assert ((gaps.log_likelihood - evidence).abs() < 0.1).all()
    assert ((gaps.approximation - approximation).abs() < 0.02 + 5 * gaps.approximation_standard_error).all()
    assert ((gaps.amortisation - amortisation).abs() < 0.02 + 5 * gaps.amortisation_standard_error).all()


def test_the_search_never_makes_it_worse():
    model, x = crooked_linear()
    exact = linear_gaussian_model(model)
    weight, variance = exact.best_encoder()
    with torch.no_grad():
        model.encoder.weight.copy_(weight)
        model.encoder.log_var.copy_(variance.log())
    gaps = inference_gaps(model, x, k=500, steps=3, learning_rate=30.0)  # a search that goes astray
    assert torch.allclose(gaps.amortisation, torch.zeros(12).double(), atol=1e-9)


def test_the_search_starts_at_a_flow():
    """A flow says neither its mean nor its spread: both are drawn, and the gaps are measured all the same."""
    model, x = mlp_vae(6, 2, hidden=(4,), posterior="maf", seed=0), torch.rand(5, 6).round()
    mean, std = _start(model, x)
    with torch.no_grad():
        draws = model.encode(x).sample((20_000,))
    assert ((mean - draws.mean(0)).abs() < 5 * draws.std(0) / math.sqrt(DRAWS_TO_CHOOSE)).all()
    assert ((std / draws.std(0)).log().abs() < 5 / math.sqrt(2 * DRAWS_TO_CHOOSE)).all()
    found = inference_gaps(model, x, k=200, steps=3)
    with torch.no_grad():
        evidence = grid_log_evidence(model.log_likelihood, x, latent_dim=2, points=81)
    assert torch.allclose(found.log_likelihood, evidence, atol=0.1)


def test_gaps_leave_the_model_alone():
    model, x = crooked_linear()
    model.train()
    frozen = model.encoder.log_var.requires_grad_(False)
    before = [p.clone() for p in model.parameters()]
    state = torch.random.get_rng_state()
    one = inference_gaps(model, x, k=50, steps=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one.approximation, inference_gaps(model, x, k=50, steps=5).approximation)
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == [p is not frozen for p in model.parameters()]
    assert model.training


@pytest.mark.usefixtures("unchecked")
def test_gaps_refuse():
    model, x = crooked_linear()
    for name in ("k", "steps", "samples"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            inference_gaps(model, x, **{name: 0})
    with pytest.raises(ValueError, match="family is 'flow'; wanted 'diagonal' or 'full'"):
        inference_gaps(model, x, family="flow")
    with pytest.raises(ValueError, match="learning_rate is -1"):
        inference_gaps(model, x, learning_rate=-1.0)
    with pytest.raises(ValueError, match="wanted a VAE"):
        inference_gaps(AutoEncoder(model.encoder, model.decoder), x)
    with pytest.raises(ValueError, match="NaN"):
        inference_gaps(model, x * math.nan)
