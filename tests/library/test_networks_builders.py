"""What every model of every builder must be able to do, whatever its posterior and its prior."""

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from vae_lib.bounds import iwae_bound
from vae_lib.laboratory import grid_log_evidence
from vae_lib.likelihoods import Bernoulli, Categorical, ContinuousBernoulli, DiscretizedLogistic
from vae_lib.models import VAE
from vae_lib.networks import Encoder, GaussianEncoder, conv_vae, mlp_vae
from vae_lib.posteriors import (
    Diagonal,
    DiagonalNormal,
    Flow,
    FlowPosterior,
    FullCovariance,
    FullCovarianceNormal,
    Mixture,
)

PIXELS, LATENT, BATCH = 20, 2, 5
BUILDERS = {
    "mlp": lambda **options: mlp_vae(PIXELS, LATENT, hidden=(9,), **options),
    "conv": lambda **options: conv_vae((5, 4), LATENT, filters=(3, 4), hidden=(6,), **options),
}
POSTERIORS = ["diagonal", "full", "maf", "iaf"]
PRIORS = ["standard", "mixture", "vamp"]
CHOICES = [(b, q, p) for b in BUILDERS for q in POSTERIORS for p in PRIORS]
every_choice = pytest.mark.parametrize(("builder", "posterior", "prior"), CHOICES)


def built(builder, posterior, prior, seed=0):
    model = BUILDERS[builder](posterior=posterior, prior=prior, components=3, seed=seed).double()
    return model, torch.bernoulli(torch.full((BATCH, PIXELS), 0.4, dtype=torch.float64))


@pytest.fixture
def same_noise(monkeypatch):
    """Every example gets the same noise, whichever batch it comes in and whatever draws it."""
    rows = torch.randn(6, LATENT, dtype=torch.float64)

    def draw(shape, dtype=None, device=None):
        k, *batch, latent = shape
        return rows[:k].to(dtype).reshape(k, *[1] * len(batch), latent).expand(shape)

    monkeypatch.setattr("torch.distributions.normal._standard_normal", draw)
    monkeypatch.setattr("torch.distributions.multivariate_normal._standard_normal", draw)


@every_choice
def test_one_value_per_example(builder, posterior, prior):
    model, x = built(builder, posterior, prior)
    assert model.elbo(x, k=2, analytic_kl=False).shape == (BATCH,)
    assert model.log_weights(x, k=4).shape == (4, BATCH)
    assert model.log_weights(x, k=4, detach_posterior=True).shape == (4, BATCH)
    assert model.sample(3).shape == (3, PIXELS)
    assert model.reconstruct(x).shape == (BATCH, PIXELS)
    assert model.elbo(x.expand(3, BATCH, PIXELS), analytic_kl=False).shape == (3, BATCH)
    assert model.log_likelihood(x, torch.zeros(7, LATENT, dtype=torch.float64)).shape == (7, BATCH)


@every_choice
@pytest.mark.usefixtures("same_noise")
def test_singletons_and_permutations(builder, posterior, prior):
    model, x = built(builder, posterior, prior)
    values = model.elbo(x, k=3, analytic_kl=False)
    order = torch.tensor([4, 2, 0, 3, 1])
    assert len(values.detach().unique()) == BATCH
    assert torch.allclose(model.elbo(x[order], k=3, analytic_kl=False), values[order], atol=1e-10)
    alone = torch.cat([model.elbo(row, k=3, analytic_kl=False) for row in x.split(1)])
    assert torch.allclose(alone, values, atol=1e-10)
    # the same noise, so both ways to the bound give the same number
    assert torch.allclose(model.log_weights(x, k=3).mean(0), values, atol=1e-10)


@every_choice
def test_gradients_reach_every_parameter(builder, posterior, prior):
    model, x = built(builder, posterior, prior)
    model.elbo(x, k=8, analytic_kl=False).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_choice
def test_float64_copies_and_saved_weights(builder, posterior, prior):
    model, x = built(builder, posterior, prior)
    other, _ = built(builder, posterior, prior, seed=1)
    assert model.elbo(x, analytic_kl=False).dtype == torch.float64

    def value(model, seed=3):
        torch.manual_seed(seed)
        return model.elbo(x, k=2, analytic_kl=False)

    assert not torch.allclose(value(other), value(model))
    other.load_state_dict(model.state_dict())
    assert torch.equal(value(other), value(model))
    twin = copy.deepcopy(model)
    assert torch.equal(value(twin), value(model))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    assert torch.equal(value(twin), value(other))  # a copy shares nothing with the original
    assert model.float().elbo(x.float(), analytic_kl=False).dtype == torch.float32


@every_choice
def test_seed_decides_every_weight(builder, posterior, prior):
    def make(seed):
        options = {"posterior": posterior, "prior": prior, "components": 3, "seed": seed}
        return BUILDERS[builder](**options).state_dict()

    state = torch.random.get_rng_state()
    first, second, other = make(3), make(3), make(4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    torch.manual_seed(3)
    unseeded = make(None)
    assert all(torch.equal(first[name], unseeded[name]) for name in first)


@pytest.mark.parametrize("builder", BUILDERS)
def test_choices_by_name(builder):
    kinds = {
        "diagonal": DiagonalNormal,
        "full": FullCovarianceNormal,
        "maf": FlowPosterior,
        "iaf": FlowPosterior,
    }
    for name, kind in kinds.items():
        model = BUILDERS[builder](posterior=name)
        assert type(model.encode(torch.zeros(1, PIXELS))) is kind
        assert type(model.encoder) is (GaussianEncoder if name == "diagonal" else Encoder)
        assert model.encoder.latent == LATENT
    assert BUILDERS[builder](posterior="iaf").encoder.posterior.kind == "iaf"
    assert BUILDERS[builder](posterior="maf").encoder.posterior.kind == "maf"
    for name in ("mixture", "vamp"):
        model = BUILDERS[builder](prior=name, components=7)
        assert isinstance(model.prior, Mixture)
        assert model.prior.components.batch_shape == (7,)
    assert BUILDERS[builder](prior="vamp").prior_source.raw.shape == (10, PIXELS)


@pytest.mark.parametrize("builder", BUILDERS)
def test_choices_by_module(builder):
    head = Flow(LATENT, "iaf", context=5, transforms=1, hidden=(4,))
    model = BUILDERS[builder](posterior=head)
    assert model.encoder.posterior is head
    assert model.encoder.network[-1].out_features == 5
    assert BUILDERS[builder](posterior=FullCovariance(LATENT)).encoder.network[-1].out_features == 5
    assert type(BUILDERS[builder](posterior=Diagonal(LATENT)).encoder) is GaussianEncoder
    wide = Independent(Normal(torch.zeros(LATENT), 3.0), 1)
    assert BUILDERS[builder](prior=wide).prior is wide
    assert isinstance(BUILDERS[builder](prior=wide), VAE)


class PixelwiseGaussian(nn.Module):
    """A likelihood of the reader's own: a mean and a log-variance for each pixel."""

    depth = 2

    def forward(self, output):
        mean, log_var = output.unflatten(-1, (-1, 2)).unbind(-1)
        return Independent(Normal(mean, (0.5 * log_var).exp()), 1)


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_likelihood_of_ones_own_gets_as_many_numbers_as_it_asks_for(builder):
    model = BUILDERS[builder](likelihood=PixelwiseGaussian(), seed=0)
    assert model.elbo(torch.rand(BATCH, PIXELS)).shape == (BATCH,)
    # the two numbers of a pixel lie side by side
    output = model.decoder.network(torch.zeros(1, LATENT))
    assert torch.equal(model.decode(torch.zeros(1, LATENT)).mean, output[:, ::2])


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_posterior_that_only_resembles_the_diagonal_one_is_kept(builder):
    class Narrow(Diagonal):
        def forward(self, features):
            return super().forward(features - 3.0)

    head = Narrow(LATENT)
    assert BUILDERS[builder](posterior=head).encoder.posterior is head


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bernoulli", Bernoulli),
        ("continuous_bernoulli", ContinuousBernoulli),
        ("discretized_logistic", DiscretizedLogistic),
        ("categorical", Categorical),
        (Categorical(levels=3), Categorical),
    ],
)
def test_every_likelihood(builder, name, kind):
    model = BUILDERS[builder](likelihood=name, seed=0)
    assert isinstance(model.decoder.likelihood, kind)
    x = torch.bernoulli(torch.full((BATCH, PIXELS), 0.4))
    assert model.decode(torch.zeros(BATCH, LATENT)).event_shape == (PIXELS,)
    (-model.elbo(x).mean()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.sample(2).shape == (2, PIXELS)


@pytest.mark.parametrize("builder", BUILDERS)
def test_wrong_choices_are_refused(builder):
    build = BUILDERS[builder]
    for options, message in [
        ({"posterior": "planar"}, "posterior is 'planar'"),
        ({"prior": "uniform"}, "prior is 'uniform'"),
        ({"likelihood": "poisson"}, "likelihood is 'poisson'"),
        ({"activation": "swish"}, "activation is 'swish'"),
        ({"components": 0}, "components is 0"),
        ({"posterior": Diagonal(3)}, "the latter 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            build(**options)


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", PRIORS)
def test_bounds_lie_below_the_exact_evidence(posterior, prior):
    """ln p(x) by the trapezoid rule under the model's own prior; 1000-sample bounds come close."""
    model, x = built("mlp", posterior, prior)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(3.0)

        def log_likelihood(x, z):
            # grid_log_evidence weighs with the standard normal: put the model's prior in its place
            standard = Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(-1)
            return model.log_likelihood(x, z) + (model.prior.log_prob(z) - standard).unsqueeze(1)

        exact = grid_log_evidence(log_likelihood, x, latent_dim=2, points=161, half_width=9.0)
        log_w = model.log_weights(x, k=4000)
        elbo, error = log_w.mean(0), log_w.std(0) / 4000**0.5
        assert (elbo < exact + 5 * error).all()
        weights = (log_w - exact).exp()  # their mean is 1: the bound's estimate is unbiased
        assert ((weights.mean(0) - 1).abs() < 5 * weights.std(0) / 4000**0.5).all()
        assert (iwae_bound(log_w) - exact).abs().max() < 0.3
        assert (exact - elbo).max() > 1  # and the plain bound is not: the test tells them apart
