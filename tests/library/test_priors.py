"""Priors against SciPy and the trapezoid rule, and how they live inside a model."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Independent, Normal, kl_divergence
from torch.func import functional_call

import vae_lib.models
from vae_lib.models import VAE
from vae_lib.networks import mlp_vae
from vae_lib.posteriors import Diagonal, aggregate_posterior
from vae_lib.priors import MixturePrior, StandardNormal, VampPrior

F64 = {"dtype": torch.float64}
PIXELS, LATENT, K = 6, 2, 4


@pytest.fixture
def vamp():
    """A model with a VampPrior, in float64 and away from its start, and seven images."""
    model = mlp_vae(PIXELS, LATENT, hidden=(8,), prior="vamp", components=K, seed=1).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5).add_(0.1)
    return model, torch.bernoulli(torch.full((7, PIXELS), 0.4, **F64))


def plane(half_width: float, points: int) -> tuple[torch.Tensor, float]:
    line = torch.linspace(-half_width, half_width, points, **F64)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


def mixture_by_hand(mean, std, weights, z) -> np.ndarray:
    """ln of a mixture of diagonal Gaussians: densities first, then their weighted sum."""
    densities = scipy.stats.norm(mean, std).pdf(z[..., None, :]).prod(-1)  # (..., components)
    return np.log((densities * weights).sum(-1))


# --- the standard normal ------------------------------------------------------------------------------


def test_standard_normal_against_scipy():
    prior = StandardNormal(3).double()
    z = torch.randn(4, 5, 3, **F64)
    wanted = scipy.stats.multivariate_normal(np.zeros(3), np.eye(3)).logpdf(z.numpy())
    assert np.abs(prior().log_prob(z).numpy() - wanted).max() < 1e-12
    assert prior().event_shape == (3,)
    assert prior().sample((2,)).dtype == torch.float64
    assert not prior.state_dict()
    assert not list(prior.parameters())


def test_kl_from_the_standard_normal_is_that_of_torch():
    """Also where the log-variance is bent."""
    features = torch.tensor([[0.3, -2.0, 0.0, -1.0], [0.0, 5.0, 9.0, -30.0]], **F64)
    q = Diagonal(2)(features.requires_grad_())
    plain = Independent(Normal(torch.zeros(2, **F64), 1.0), 1)
    ours, torchs = (kl_divergence(q, p) for p in (StandardNormal(2).double()(), plain))
    assert torch.allclose(ours, torchs, rtol=1e-12)
    gradients = [torch.autograd.grad(kl.sum(), features, retain_graph=True)[0] for kl in (ours, torchs)]
    assert torch.allclose(*gradients, rtol=1e-12)


def test_there_is_one_standard_normal():
    assert vae_lib.models.StandardNormal is StandardNormal
    assert isinstance(mlp_vae(4, 1).prior_source, StandardNormal)


# --- the mixture --------------------------------------------------------------------------------------


def test_mixture_prior_against_scipy():
    prior = MixturePrior(LATENT, components=3).double()
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.2, -1.0, 0.9], **F64))
        prior.gaussians[:, LATENT:] = torch.tensor([[0.5, -1.0], [-2.0, 0.3], [1.0, 0.0]], **F64)
    z = 2 * torch.randn(4, 5, LATENT, **F64)
    features = prior.gaussians.detach().numpy()
    weights = np.exp([0.2, -1.0, 0.9]) / np.exp([0.2, -1.0, 0.9]).sum()
    with torch.no_grad():
        wanted = mixture_by_hand(features[:, :LATENT], np.exp(features[:, LATENT:] / 2), weights, z.numpy())
        assert np.abs(prior().log_prob(z).numpy() - wanted).max() < 1e-12
        nodes, volume = plane(14.0, 281)
        assert abs(prior().log_prob(nodes).exp().sum() * volume - 1) < 1e-9


def test_mixture_prior_starts_with_different_members_and_equal_weights():
    prior = MixturePrior(LATENT, components=5)
    assert len(prior.gaussians[:, 0].unique()) == 5
    assert torch.allclose(prior().log_weights.exp(), torch.full((5,), 0.2))
    assert torch.equal(prior().components.variance, torch.ones(5, LATENT))
    # different members get different gradients, so they part
    prior().log_prob(torch.randn(20, LATENT)).mean().backward()
    assert len(prior.gaussians.grad[:, 0].unique()) == 5


def test_mixture_prior_of_one_is_a_gaussian():
    prior = MixturePrior(1, components=1).double()
    mean = prior.gaussians.detach()[0, 0].item()
    z = torch.linspace(-3, 3, 7, **F64).unsqueeze(-1)
    wanted = scipy.stats.norm(mean, 1).logpdf(z.squeeze(-1).numpy())
    assert np.abs(prior().log_prob(z).detach().numpy() - wanted).max() < 1e-12


def test_mixture_prior_learns_two_lumps():
    """Maximum likelihood on ½N(−3, ½²) + ½N(3, ½²): its entropy is ln 2 + ½ ln(2πe/4), nearly."""
    prior = MixturePrior(1, components=2).double()
    z = torch.cat([torch.randn(300, 1, **F64) * 0.5 - 3, torch.randn(300, 1, **F64) * 0.5 + 3])
    optimiser = torch.optim.Adam(prior.parameters(), lr=0.1)
    for _ in range(80):
        optimiser.zero_grad()
        loss = -prior().log_prob(z).mean()
        loss.backward()
        optimiser.step()
    entropy = math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.25)
    assert loss.item() == pytest.approx(entropy, abs=0.1)
    assert sorted(prior().components.mean.flatten().tolist()) == pytest.approx([-3, 3], abs=0.15)
    assert -StandardNormal(1).double()().log_prob(z).mean() > entropy + 3


# --- the VampPrior ------------------------------------------------------------------------------------


def test_vamp_prior_is_the_mixture_of_its_posteriors(vamp):
    model, _ = vamp
    prior = model.prior_source
    z = 2 * torch.randn(3, 5, LATENT, **F64)
    with torch.no_grad():
        pseudo_inputs = 1 / (1 + np.exp(-prior.raw.numpy()))
        q = model.encode(torch.as_tensor(pseudo_inputs))
        wanted = mixture_by_hand(q.mean.numpy(), q.stddev.numpy(), np.full(K, 1 / K), z.numpy())
        assert np.abs(prior.pseudo_inputs.numpy() - pseudo_inputs).max() < 1e-14
        assert np.abs(model.prior.log_prob(z).numpy() - wanted).max() < 1e-11
        nodes, volume = plane(14.0, 281)
        assert abs(model.prior.log_prob(nodes).exp().sum() * volume - 1) < 1e-9


@pytest.mark.parametrize("posterior", ["diagonal", "full", "iaf"])
def test_vamp_prior_at_the_data_is_their_aggregate_posterior(posterior):
    model = mlp_vae(PIXELS, LATENT, posterior=posterior, prior="vamp", components=7, seed=0).double()
    x = torch.rand(7, PIXELS, **F64)
    model.prior_source.start_at(x)
    z = torch.randn(9, LATENT, **F64)
    with torch.no_grad():
        seen = model.prior_source.pseudo_inputs
        wanted = aggregate_posterior(model.encode(seen)).log_prob(z)
        assert torch.equal(model.prior.log_prob(z), wanted)


def test_the_aggregate_posterior_is_the_best_prior(vamp):
    """E over data of KL(q(z|x) || p) is smallest at p = q(z); by the trapezoid rule."""
    model, x = vamp
    with torch.no_grad():
        q = model.encode(x)
        nodes, volume = plane(14.0, 281)
        log_q = q.log_prob(nodes.unsqueeze(1))  # (points, batch)

        def rate(prior):
            return ((log_q.exp() * (log_q - prior.log_prob(nodes).unsqueeze(1))).sum(0) * volume).mean()

        best = rate(aggregate_posterior(q))
        assert best < rate(StandardNormal(LATENT).double()()) - 0.01
        assert best < rate(model.prior)
        # its rate is the mutual information of x and z, at most ln N
        assert 0 < best < math.log(len(x))
        near = VampPrior(model.encoder, len(x), PIXELS, data=x).double()
        near.start_at(x)
        assert best - 1e-9 < rate(near()) < rate(model.prior)


def test_start_at_the_data():
    x = torch.tensor([[0.0, 1.0, 0.25], [0.5, 1.0, 0.0]])
    model = mlp_vae(3, 1, seed=0)
    prior = VampPrior(model.encoder, 2, 3, data=x)
    assert torch.allclose(prior.pseudo_inputs, 0.01 + 0.98 * x, atol=1e-6)
    assert prior.raw.requires_grad
    assert torch.isfinite(prior.raw).all()
    assert VampPrior(model.encoder, 2, 3).pseudo_inputs.min() >= 0


def test_pseudo_inputs_stay_pixels_and_keep_their_gradient():
    model = mlp_vae(3, 1, prior="vamp", components=2, seed=0)
    prior = model.prior_source
    with torch.no_grad():
        prior.raw.copy_(torch.tensor([[-15.0, 0.0, 15.0], [8.0, -8.0, 1.0]]))
    assert prior.pseudo_inputs.min() >= 0
    assert prior.pseudo_inputs.max() <= 1
    model.prior.log_prob(torch.ones(4, 1)).sum().backward()
    assert (prior.raw.grad != 0).all()  # a hard clamp would have left none outside


def test_the_encoder_is_counted_and_saved_once(vamp):
    model, _ = vamp
    plain = mlp_vae(PIXELS, LATENT, hidden=(8,))
    count = sum(p.numel() for p in model.parameters())
    assert count == sum(p.numel() for p in plain.parameters()) + K * PIXELS
    assert set(model.state_dict()) == {*plain.state_dict(), "prior_source.raw"}
    assert len(list(model.modules())) == len(list(plain.modules()))
    storages = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    assert len(storages) == len(model.state_dict())  # what safetensors asks for


def test_state_dict_loads_and_brings_the_prior_along(vamp):
    model, x = vamp
    other = mlp_vae(PIXELS, LATENT, hidden=(8,), prior="vamp", components=K, seed=9).double()
    z = torch.randn(5, LATENT, **F64)
    assert not torch.allclose(other.prior.log_prob(z), model.prior.log_prob(z))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file))
    assert torch.equal(other.prior.log_prob(z), model.prior.log_prob(z))
    assert torch.equal(other.encode(x).mean, model.encode(x).mean)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_the_model_borrows_its_own_encoder(vamp, copied):
    model, _ = vamp
    z = torch.randn(5, LATENT, **F64)
    before = model.prior.log_prob(z)
    twin = copied(model)
    assert torch.equal(twin.prior.log_prob(z), before)
    with torch.no_grad():
        for parameter in twin.encoder.parameters():
            parameter.add_(0.3)
    assert torch.equal(model.prior.log_prob(z), before)
    assert not torch.allclose(twin.prior.log_prob(z), before)
    assert twin.prior_source._borrowed[0] is twin.encoder


def test_the_prior_moves_with_the_model(vamp):
    model, _ = vamp
    single = copy.deepcopy(model).float()
    assert single.prior.log_prob(torch.zeros(1, LATENT)).dtype == torch.float32
    assert single.prior.sample().dtype == torch.float32
    # replaced parameters reach the prior's borrowed encoder too
    z = torch.zeros(1, LATENT, **F64)

    class AtZ(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self):
            return self.model.prior.log_prob(z)

    shifted = {name: p + 0.3 for name, p in AtZ().named_parameters() if ".encoder." in name}
    assert not torch.allclose(functional_call(AtZ(), shifted, ()), AtZ()())


def test_gradients_reach_encoder_and_pseudo_inputs_through_the_prior(vamp):
    model, _ = vamp
    model.prior.log_prob(torch.randn(5, LATENT, **F64)).sum().backward()
    assert (model.prior_source.raw.grad != 0).all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    assert all(p.grad is None for p in model.decoder.parameters())


def test_a_vamp_prior_can_be_trained(vamp):
    model, x = vamp
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    start = model.prior_source.raw.detach().clone()
    losses = []
    for _ in range(80):
        optimiser.zero_grad()
        loss = -model.elbo(x, k=4, analytic_kl=False).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 0.5
    assert (model.prior_source.raw - start).abs().max() > 0.1


def test_a_model_with_a_learned_prior_samples_from_it():
    model = mlp_vae(PIXELS, 1, prior=MixturePrior(1, components=2), seed=0)
    with torch.no_grad():
        model.prior_source.gaussians.copy_(torch.tensor([[50.0, 0.0], [50.0, 0.0]]))
    assert (model.prior.sample((100,)) > 40).all()
    assert model.sample(3).shape == (3, PIXELS)
    assert isinstance(model, VAE)


# --- bad input ----------------------------------------------------------------------------------------


def a_vamp(pseudo_inputs=2, pixels=3, data=None):
    return VampPrior(mlp_vae(3, 1).encoder, pseudo_inputs, pixels, data=data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StandardNormal(0), "latent is 0"),
        (lambda: MixturePrior(0), "latent is 0"),
        (lambda: MixturePrior(2, components=0), "components is 0"),
        (lambda: a_vamp(pseudo_inputs=0), "pseudo_inputs is 0"),
        (lambda: a_vamp(pixels=0), "pixels is 0"),
        (
            lambda: a_vamp(data=torch.zeros(5, 3)),
            r"data has shape \(5, 3\); wanted \(2, 3\): one example for each pseudo-input",
        ),
        (lambda: a_vamp(data=torch.full((2, 3), math.nan)), "data holds 6 values"),
        (lambda: a_vamp(data=torch.full((2, 3), 16.0)), r"data lies in \[16, 16\]; wanted it within"),
        (lambda: a_vamp(data=torch.full((2, 3), -0.1)), r"data lies in \[-0.1, -0.1\]"),
        (lambda: MixturePrior(2)().log_prob(torch.zeros(3, 1)), r"z has shape \(3, 1\)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_representations():
    assert "components=10" in repr(MixturePrior(2))
    assert "pseudo_inputs=2, pixels=3" in repr(a_vamp())
