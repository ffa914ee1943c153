"""ln p(x) by importance sampling: against closed forms and grids, whatever the chunks, every example once."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Independent, Normal

from vae_lib.bounds import effective_sample_size, elbo, iwae_bound
from vae_lib.evaluation import active_units, convergence, log_likelihood, mean_over_examples
from vae_lib.evaluation.running import RunningWeights
from vae_lib.laboratory import grid_log_evidence
from vae_lib.models import VAE, AutoEncoder
from vae_lib.networks import linear_gaussian_model, linear_vae, mlp_vae

pytestmark = pytest.mark.usefixtures("one_thread")


def coins(n=100, pixels=12, seed=0):
    return torch.bernoulli(torch.full((n, pixels), 0.3), generator=torch.Generator().manual_seed(seed))


def steep(pixels=12, latent=2, seed=0):
    """A VAE whose posterior is far from its prior, so that the weights scatter."""
    model = mlp_vae(pixels, latent, hidden=(8,), seed=seed)
    with torch.no_grad():
        model.decoder.network[0].weight *= 2
        model.encoder.network[-1].bias[latent:] = 0.7  # wide enough for weights with a variance
    return model


def crooked_linear(seed=0):
    """A linear VAE in float64 with an encoder that is not the best one."""
    model = linear_vae(6, 2, seed=seed).double()
    with torch.no_grad():
        model.decoder.network[0].bias += 0.3
        weight, variance = linear_gaussian_model(model).best_encoder()
        model.encoder.weight.copy_(0.8 * weight)
        model.encoder.log_var.copy_(variance.log() + 0.5)
    x = linear_gaussian_model(model).sample(90, torch.Generator().manual_seed(seed))
    return model, x


# --- the running sums ---------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.sampled_from([0.0, -1e4, 1e4, -700.0]),
    st.sampled_from([1e-3, 1.0, 30.0, 1e4]),
    st.integers(0, 10**6),
)
def test_running_sums_are_those_of_the_whole_table(sizes, centre, spread, seed):
    generator = torch.Generator().manual_seed(seed)
    log_w = centre + spread * torch.randn(sum(sizes), 5, generator=generator, dtype=torch.float64)
    sums = RunningWeights(5)
    for part in log_w.split(sizes):
        sums.add(part)
    close = {"rtol": 1e-12, "atol": 1e-12 * (1 + abs(centre))}
    assert torch.allclose(sums.log_mean(), iwae_bound(log_w), **close)
    assert torch.allclose(sums.effective_sample_size(), effective_sample_size(log_w), rtol=1e-9)
    assert torch.allclose(sums.mean_log(), elbo(log_w), **close)
    if len(log_w) > 1:
        w = np.exp((log_w - log_w.amax(0)).numpy())
        error = w.std(0, ddof=1) / w.mean(0) / len(w) ** 0.5
        # 1/ESS - 1/k loses digits where all weights are nearly equal
        assert np.allclose(sums.standard_error().numpy(), error, rtol=1e-6, atol=1e-7)
        error = log_w.std(0) / len(log_w) ** 0.5
        assert torch.allclose(sums.mean_log_standard_error(), error, rtol=1e-4, atol=1e-7 * (1 + abs(centre)))


def test_running_sums_of_weights_that_are_zero():
    sums = RunningWeights(3)
    sums.add(torch.tensor([[-math.inf, -math.inf, 0.0]]))
    sums.add(torch.tensor([[-math.inf, -5.0, -math.inf]]))
    assert sums.log_mean()[0] == -math.inf
    assert torch.allclose(sums.log_mean()[1:], torch.tensor([-5.0, 0.0]).double() - math.log(2))
    assert sums.effective_sample_size()[1:].tolist() == [1.0, 1.0]
    sums.add(torch.tensor([[0.0, math.nan, 0.0]]))
    assert sums.log_mean().isnan().tolist() == [False, True, False]
    assert sums.log_mean()[0] == pytest.approx(-math.log(3))


# --- the value ----------------------------------------------------------------------------------------


def test_linear_vae_against_its_closed_form():
    model, x = crooked_linear()
    exact = linear_gaussian_model(model)
    result = log_likelihood(model, x, k=4000)
    truth = exact.log_evidence(x)
    score = (result.value - truth) / result.standard_error
    assert score.abs().max() < 5
    # 90 independent scores: their mean square is 1 within 5 sqrt(2 / 90), or the error is not one
    assert 0.3 < score.square().mean() < 1.75
    encoder = model.encoder.weight.detach(), model.encoder.variance.detach()
    truth = exact.elbo(x, *encoder)
    score = (result.elbo - truth) / result.elbo_standard_error
    assert score.abs().max() < 5
    assert 0.3 < score.square().mean() < 1.75
    assert result.standard_error.max() < 0.2  # a wrong sign or a missing ln k would be far outside
    assert (result.effective_sample_size > 20).all()
    assert (result.effective_sample_size < 4000).all()
    gap = truth - exact.log_evidence(x)
    assert gap.abs().min() > 0.05


def test_the_exact_posterior_gives_the_exact_value():
    model = linear_vae(4, 1, seed=0).double()
    weight, variance = linear_gaussian_model(model).best_encoder()
    with torch.no_grad():
        model.encoder.weight.copy_(weight)
        model.encoder.log_var.copy_(variance.log())
    x = torch.randn(7, 4, dtype=torch.float64)
    result = log_likelihood(model, x, k=30)
    assert torch.allclose(result.value, linear_gaussian_model(model).log_evidence(x), atol=1e-12)
    assert torch.allclose(result.effective_sample_size, torch.full((7,), 30.0).double())
    assert result.standard_error.max() < 1e-6
    assert torch.allclose(result.elbo, result.value, atol=1e-12)


def test_two_latents_against_the_grid():
    model, x = steep(), coins(40)
    with torch.no_grad():
        truth = grid_log_evidence(model.log_likelihood, x, latent_dim=2, points=201)
    result = log_likelihood(model, x, k=2000)
    assert ((result.value - truth) / result.standard_error).abs().max() < 5
    assert result.standard_error.median() < 0.1
    assert ((truth - result.elbo) / result.elbo_standard_error).mean() > 10
    error = result.standard_error.square().sum().sqrt() / 40
    assert abs(result.mean.value - truth.mean()) < 5 * error
    assert error < 0.02


class Full(nn.Module):
    """An encoder whose posterior knows its own quick way to draw."""

    latent = 2

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 4)

    def forward(self, x):
        posterior = Independent(Normal(*self.linear(x).tanh().split(2, -1)), 1)
        posterior.base_dist.scale = torch.exp(posterior.base_dist.scale)

        def rsample_and_log_prob(shape):
            z = posterior.rsample(shape)
            return z, posterior.log_prob(z)

        posterior.rsample_and_log_prob = rsample_and_log_prob
        posterior.rsample_was = posterior.rsample
        return posterior


def test_a_model_of_another_make():
    class Other(nn.Module):
        """Draws and weighs for itself, as a hierarchy of layers does."""

        def __init__(self):
            super().__init__()
            self.inner = steep()
            self.asked = []

        def log_weights(self, x, k=1):
            self.asked.append(k)
            return self.inner.log_weights(x, k)

    model, x = Other(), coins(70)
    result = log_likelihood(model, x, k=120)
    assert model.asked == [50, 50, 20] * 2
    same = log_likelihood(model.inner, x, k=120)
    assert torch.allclose(result.value, same.value, atol=1e-5)


# --- memory, chunks, noise ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunks_change_nothing(dtype):
    model, x = steep().to(dtype), coins(70).to(dtype)
    wanted = log_likelihood(model, x, k=260)
    for chunk in (1, 7, 50, 60, 250, 5000):
        result = log_likelihood(model, x, k=260, chunk=chunk)
        limit = 1e-5 if dtype == torch.float32 else 1e-12
        assert (result.value - wanted.value).abs().max() < limit, chunk
        assert torch.allclose(result.effective_sample_size, wanted.effective_sample_size, rtol=10 * limit)


def watched(model):
    """The codes that the decoder sees, call by call."""
    seen = []
    model.decoder.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    return seen


@pytest.mark.parametrize(("k", "chunk"), [(1, 1), (49, None), (50, 7), (51, 30), (200, 60), (130, 1000)])
def test_every_sample_is_used_once_and_few_at_a_time(k, chunk):
    model = steep()
    seen, encoded = watched(model), []
    model.encoder.register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0])))
    log_likelihood(model, coins(150), k=k, chunk=chunk)
    assert encoded == [64, 64, 22]
    assert sum(z.shape[0] * z.shape[1] for z in seen) == k * 150
    assert max(z.shape[0] for z in seen) <= (chunk or 32)
    first = torch.cat([z for z in seen if z.shape[1] == 64])
    assert len(first.flatten(0, 1).unique(dim=0)) == k * 128  # all different


def test_a_large_k_needs_no_more_memory_than_a_small_one():
    model = steep(pixels=4, latent=1)
    for k in (100, 20_000):
        seen = watched(model)
        log_likelihood(model, coins(3, 4), k=k)
        assert max(z.numel() for z in seen) <= 50 * 3
        model.decoder.network._forward_pre_hooks.clear()


def test_more_samples_go_on_where_fewer_stopped():
    model, x = steep(), coins(5)
    seen = watched(model)
    log_likelihood(model, x, k=60, chunk=10)
    few = torch.cat(seen)
    seen.clear()
    log_likelihood(model, x, k=150, chunk=150)
    many = torch.cat(seen)
    assert torch.equal(many[:50], few[:50])


def test_earlier_examples_do_not_depend_on_later_ones():
    model, x = steep().double(), coins(200).double()
    few, many = log_likelihood(model, x[:128], k=60), log_likelihood(model, x, k=60)
    assert torch.allclose(few.value, many.value[:128], atol=1e-12)


def test_noise_comes_from_the_seed_alone():
    model, x = steep(), coins(9)
    state = torch.random.get_rng_state()
    one = log_likelihood(model, x, k=20, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(77)
    assert torch.equal(log_likelihood(model, x, k=20, seed=3).value, one.value)
    assert not torch.equal(log_likelihood(model, x, k=20, seed=4).value, one.value)
    # 128 times one example, in two blocks of equal size: every one has noise of its own
    same = log_likelihood(model, x[:1].expand(128, -1), k=20).value
    assert len(same.unique()) == 128


def test_the_model_is_left_as_it_was():
    model = steep()
    model.encoder.network.append(nn.Dropout(0.9))
    model.train()
    model.decoder.eval()
    x = coins(9)
    log_likelihood(model, x, k=5)
    assert (model.encoder.training, model.decoder.training, model.training) == (True, False, True)
    assert all(p.grad is None for p in model.parameters())
    model.eval()
    calm = log_likelihood(model, x, k=5)
    model.train()
    assert torch.equal(log_likelihood(model, x, k=5).value, calm.value)
    assert not calm.value.requires_grad


def test_one_sample_has_no_error():
    result = log_likelihood(steep(), coins(4), k=1)
    assert result.standard_error.isnan().all()
    assert result.elbo_standard_error.isnan().all()
    assert torch.equal(result.value, result.elbo)
    assert result.value.dtype == torch.float64


def test_progress_bar_only_when_asked(capfd):
    log_likelihood(steep(), coins(4), k=1)
    assert capfd.readouterr() == ("", "")
    log_likelihood(steep(), coins(4), k=1, progress=True)
    assert "4/4" in capfd.readouterr().err


# --- convergence in k ---------------------------------------------------------------------------------


def test_convergence_is_one_pass_through_the_same_samples():
    model, x = steep(), coins(70)
    seen = watched(model)
    found = convergence(model, x, (1, 50, 70, 150, 155), seed=3, chunk=20)
    assert sum(z.shape[0] * z.shape[1] for z in seen) == 155 * 70
    assert list(found) == [1, 50, 70, 150, 155]
    for k in (50, 150, 155):
        alone = log_likelihood(model, x, k, seed=3)
        for name, column in alone._asdict().items():
            assert torch.allclose(getattr(found[k], name), column, atol=1e-5, rtol=1e-4), (k, name)
    assert torch.equal(found[1].value, found[1].elbo)
    assert found[70].effective_sample_size.max() <= 70


def test_convergence_climbs_from_the_elbo_to_the_evidence():
    model, x = crooked_linear()
    found = convergence(model, x, (1, 10, 1000))
    exact = linear_gaussian_model(model)
    elbo = exact.elbo(x, model.encoder.weight.detach(), model.encoder.variance.detach())
    values = [found[k].value for k in (1, 10, 1000)]
    first, last = mean_over_examples(values[0] - elbo), mean_over_examples(values[2] - exact.log_evidence(x))
    assert abs(first.value) < 5 * first.standard_error
    assert abs(last.value) < 5 * last.standard_error
    assert last.standard_error < 0.02
    found = convergence(steep(), coins(2000), (1, 10, 1000))  # an encoder that is worse
    for few, many in ((1, 10), (10, 1000)):
        gain = mean_over_examples(found[many].value - found[few].value)
        assert gain.value > 3 * gain.standard_error


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("ks", "message"),
    [
        ((), r"ks is \(\); wanted whole numbers of at least 1, in ascending order"),
        ((0, 5), r"ks is \(0, 5\)"),
        ((5, 1), r"ks is \(5, 1\)"),
        ((5, 5), r"ks is \(5, 5\)"),
        ((1, 2.5), r"ks is \(1, 2.5\)"),
    ],
)
def test_convergence_refuses(ks, message):
    with pytest.raises(ValueError, match=message):
        convergence(steep(), coins(3), ks)
    with pytest.raises(ValueError, match="NaN"):
        convergence(steep(), coins(3) * math.nan)


# --- the mean over examples ---------------------------------------------------------------------------


def test_mean_over_examples_is_numpys():
    values = torch.randn(131)
    mean, error = mean_over_examples(values)
    assert mean.item() == pytest.approx(values.double().numpy().mean(), rel=1e-12)
    assert error.item() == pytest.approx(values.double().numpy().std(ddof=1) / 131**0.5, rel=1e-12)
    assert math.isnan(mean_over_examples(torch.ones(1)).standard_error)
    with pytest.raises(ValueError, match=r"value has shape \(0,\)"):
        mean_over_examples(torch.ones(0))


@pytest.mark.usefixtures("unchecked")
def test_a_mean_of_counts_is_refused():
    with pytest.raises(ValueError, match=r"value has dtype torch\.int64"):
        mean_over_examples(torch.arange(3))


def test_every_example_counts_once():
    model, x = steep(), coins(130)
    result = log_likelihood(model, x, k=60)
    assert len(result.value) == 130
    assert result.mean.value == pytest.approx(result.value.numpy().mean(), rel=1e-12)
    blocks = [result.value[i : i + 64].mean() for i in (0, 64, 128)]
    assert abs(torch.stack(blocks).mean() - result.mean.value) > 1e-3  # what a mean of means would give


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0; wanted an integer of at least 1"),
        ({"k": -5}, "k is -5"),
        ({"k": 2.5}, "k is 2.5"),
        ({"chunk": 0}, "chunk is 0"),
        ({"x": torch.zeros(0, 12)}, r"x has shape \(0, 12\); wanted at least one example"),
        ({"x": torch.zeros(12)}, r"x has shape \(12,\); wanted \(batch, pixels\)"),
        ({"x": torch.full((3, 12), math.nan)}, "x holds 36 values that are NaN"),
        ({"x": torch.full((3, 12), 0.5)}, "grey pixels"),
        ({"x": torch.zeros(3, 12, dtype=torch.uint8)}, "x has dtype torch.uint8"),
        ({"model": nn.Linear(12, 2)}, "model is of type Linear; wanted one with a bound"),
        ({"model": AutoEncoder(steep().encoder, steep().decoder)}, "model is of type AutoEncoder"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        log_likelihood(**({"model": steep(), "x": coins(3), "k": 10} | arguments))


def test_nan_from_the_model_is_not_averaged_away():
    class Lost(nn.Module):
        def log_weights(self, x, k=1):
            return torch.where(x[:, 0] > 0, math.nan, 0.0).expand(k, -1)

    x = torch.zeros(5, 2)
    x[2] = 1
    with pytest.raises(ValueError, match="model gives NaN for 1 of 5 examples"):
        log_likelihood(Lost(), x, k=3)


# --- active units -------------------------------------------------------------------------------------


class Planted(nn.Module):
    """Posterior means that are known numbers; the standard deviations are one."""

    latent = 4

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0, 0.11, 0.09, 0.0]))

    def forward(self, x):
        return Independent(Normal(x[:, :1] * self.scale + 5, torch.ones(len(x), 4)), 1)


def test_active_units_are_those_whose_mean_moves():
    model = VAE(Planted(), mlp_vae(3, 4, seed=0).decoder)
    x = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).repeat(1500, 1)  # variance of x: exactly 1
    result = active_units(model, x)
    assert result.count == 2
    assert result.active.tolist() == [True, True, False, False]
    assert result.variance.tolist() == pytest.approx([4.0, 0.0121, 0.0081, 0.0], abs=1e-5)
    assert active_units(model, x, threshold=0.005).count == 3
    assert active_units(model, x, threshold=10).count == 0
    # the population's variance, with N below the line
    assert active_units(model, x[:2]).variance[0].item() == pytest.approx(4.0, rel=1e-6)


def test_active_units_of_a_linear_encoder():
    model = linear_vae(6, 3, seed=0)
    x = torch.randn(400, 6) * torch.tensor([3.0, 1, 1, 1, 1, 1])
    covariance = np.cov(x.double().numpy().T, ddof=0)
    weight = model.encoder.weight.detach().double().numpy()
    assert active_units(model, x).variance.numpy() == pytest.approx(
        np.diag(weight @ covariance @ weight.T), rel=1e-5
    )


@pytest.mark.usefixtures("unchecked")
def test_active_units_refuse():
    model = steep()
    with pytest.raises(ValueError, match="at least two examples"):
        active_units(model, coins(1))
    with pytest.raises(ValueError, match="threshold is -1"):
        active_units(model, coins(3), threshold=-1)
    with pytest.raises(ValueError, match="model is of type Linear"):
        active_units(nn.Linear(12, 2), coins(3))
    with torch.no_grad():
        model.encoder.network[0].bias[0] = math.inf
        model.encoder.network[0].bias[1] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        active_units(model, coins(3))
