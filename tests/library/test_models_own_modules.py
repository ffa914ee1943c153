"""Models of a reader's own modules: any torch distribution, and one clear error for each slip.

The modules of vae_lib look at what they are given. Those of a reader do not, and torch broadcasts: what is
wrong has to be seen by the models. Shapes are not checked at run time here, as in a student's notebook.
"""

import math
import traceback

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as D
from torch import nn

from vae_lib.builders import conditional_mlp_vae, vq_mlp_vae
from vae_lib.evaluation import ais, elbo_surgery, inference_gaps, log_likelihood
from vae_lib.models import VAE, VQVAE, AutoEncoder, ConditionalVAE, HierarchicalVAE
from vae_lib.networks import mlp_vae
from vae_lib.posteriors import Diagonal, Flow, FullCovariance, aggregate_posterior
from vae_lib.priors import StandardNormal

pytestmark = pytest.mark.usefixtures("unchecked", "one_thread")
ONE = torch.ones((), dtype=torch.float64)


def rows(mean, std=ONE, law=D.Normal):
    """Independent numbers in a row."""
    return D.Independent(law(mean, std), 1)


class Own(nn.Module):
    """A linear layer, and any function of what it puts out."""

    def __init__(self, inputs, outputs, make, latent=2):
        super().__init__()
        self.latent = latent
        self.layer = nn.Linear(inputs, outputs, dtype=torch.float64)
        self.make = make

    def forward(self, value):
        return self.make(self.layer(value))


def encoder(make=rows):
    return Own(3, 2, make)


def binary(make=lambda logits: D.Independent(D.Bernoulli(logits=logits), 1)):
    return Own(2, 3, make)


def real(make=rows):
    return Own(2, 3, make)


def prior(latent=2, *batch):
    return rows(torch.zeros(*batch, latent, dtype=torch.float64))


@pytest.fixture
def x():
    return torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]).double()


POSTERIORS = {
    "normal": rows,
    "laplace": lambda m: rows(m, law=D.Laplace),
    "full": lambda m: D.MultivariateNormal(m, scale_tril=torch.tensor([[1.0, 0.0], [0.5, 0.7]]).double()),
    "low rank": lambda m: D.LowRankMultivariateNormal(m, torch.ones_like(m)[..., None], torch.ones_like(m)),
    "flow": lambda m: D.TransformedDistribution(rows(m), [D.SigmoidTransform(), D.AffineTransform(-3, 6)]),
}
PRIORS = {
    "distribution": prior(),
    "full": D.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double() + 0.3),
    "mixture": D.MixtureSameFamily(
        D.Categorical(torch.tensor([0.3, 0.7]).double()),
        rows(torch.tensor([[-1.0, 0.0], [1.0, 2.0]]).double()),
    ),
    "function": prior,
    "none": None,
}


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("p", PRIORS)
@pytest.mark.parametrize("q", POSTERIORS)
def test_any_distribution_of_torch_makes_a_vae(x, q, p, detach):
    model = VAE(encoder(POSTERIORS[q]), binary(), PRIORS[p]).double()
    draw = model.draw(x, 5, detach_posterior=detach)
    (z,) = draw.latents
    # the terms one by one, from numpy's loops over draws and examples
    logits = model.decoder.layer(z).detach().numpy()
    log_p = -np.logaddexp(0.0, np.where(x.numpy() == 1.0, -logits, logits)).sum(-1)
    log_q = [[model.encode(x[i : i + 1]).log_prob(z[s, i]).item() for i in range(4)] for s in range(5)]
    log_prior = [[model.prior.log_prob(z[s, i]).item() for i in range(4)] for s in range(5)]
    wanted = log_p + np.array(log_prior) - np.array(log_q)
    assert np.abs(draw.log_weights.detach().numpy() - wanted).max() < 1e-9
    gradients = torch.autograd.grad(draw.log_weights.sum(), list(model.encoder.parameters()))
    assert all((gradient != 0).any() for gradient in gradients)
    assert model.sample(3).shape == model.reconstruct(x[:3], mean=False).shape == (3, 3)
    assert model.elbo(x, np.int64(2)).shape == log_likelihood(model, x, k=3).value.shape == (4,)


def test_an_own_exact_posterior_gives_the_evidence_at_every_draw(x):
    weight = torch.tensor([[1.0, 0.4], [-0.3, 0.8], [0.5, 0.5]]).double()
    small = weight.T @ weight + 0.3 * torch.eye(2).double()
    posterior = D.MultivariateNormal(torch.zeros(2).double(), precision_matrix=small / 0.3)
    q = nn.Identity()
    q.forward = lambda x: D.MultivariateNormal(x @ weight @ small.inverse(), posterior.covariance_matrix)
    model = VAE(q, lambda z: rows(z @ weight.T, ONE * 0.3**0.5), prior())
    exact = stats.multivariate_normal(np.zeros(3), (weight @ weight.T + 0.3 * torch.eye(3)).double().numpy())
    estimate = log_likelihood(model, x, k=10)
    for value in (*model.log_weights(x, 10), model.elbo(x, analytic_kl=False), estimate.value):
        assert np.allclose(value, exact.logpdf(x.numpy()), rtol=0, atol=1e-7)  # 0.3 is float32's


# each: an encoder, a decoder, a prior, and what has to be said of them
SLIPS = {
    "one pixel for three": (encoder(), real(lambda m: rows(m[..., :1])), prior(), "wanted .*, 1."),
    "one posterior for all": (encoder(lambda m: rows(m[0])), real(), prior(), "encoder .* batch shape"),
    "a posterior of one": (encoder(lambda m: rows(m[:1])), real(), prior(), "encoder .* batch shape"),
    "a decoder of nothing": (encoder(), real(lambda m: rows(m[0, 0])), prior(), "decoder .* log_prob"),
    "a prior for each": (encoder(), real(), prior(2, 7), "prior has batch shape"),
    "a prior of one": (encoder(), real(), prior(2, 1), "prior has batch shape"),
    "two numbers": (encoder(lambda m: (m, m)), real(), prior(), "encoder returned a tuple; wanted"),
    "no encoder's return": (encoder(lambda m: None), real(), prior(), "encoder returned a NoneType"),
    "a tensor": (encoder(), real(lambda m: m), prior(), "decoder returned a Tensor; wanted"),
    "no rsample": (encoder(lambda m: D.OneHotCategorical(logits=m)), real(), prior(), "has no rsample"),
    "a prior's tensor": (encoder(), real(), lambda: ONE, "prior returned a Tensor; wanted"),
    "numbers apart": (encoder(), real(), D.Normal(torch.zeros(2), 1.0), "prior has event shape"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_a_part_is_refused_wherever_it_matters(x, slip):
    *parts, message = SLIPS[slip]
    model = VAE(*parts)
    calls = [model.log_weights, model.elbo, lambda x: model.loss_terms(x, analytic_kl=False)]
    if slip != "no rsample":
        calls += [lambda x: log_likelihood(model, x, k=2), lambda x: inference_gaps(model, x, k=2, steps=1)]
    if slip not in ("no rsample", "two numbers") and "encoder" not in message:
        calls.append(lambda x: ais(model, x, chains=2, temperatures=2, leapfrogs=1))
    for call in calls if "a prior" not in slip else calls[:3]:
        with pytest.raises(ValueError, match=message):
            call(x)


@pytest.mark.parametrize("batch", [(1,), (7,)])
def test_a_prior_that_is_a_batch_has_no_n_examples(batch):
    with pytest.raises(ValueError, match="prior has batch shape"):
        VAE(encoder(), real(), prior(2, *batch)).sample(3)


def test_parts_that_cannot_be_called_are_refused_at_once():
    for arguments, message in [
        ((5, real(), prior()), "encoder is 5; wanted a module"),
        ((encoder(), "decoder", prior()), "decoder is 'decoder'; wanted a module"),
        ((encoder(), real(), "standard"), "prior is 'standard'; wanted a distribution"),
        ((encoder(), real(), lambda y: prior()), "cannot be called without an argument"),
    ]:
        with pytest.raises(ValueError, match=message):
            VAE(*arguments)
    for model in (AutoEncoder, lambda e, d: VQVAE(e, d, 4, 2), ConditionalVAE):
        with pytest.raises(ValueError, match="encoder is None; wanted a module"):
            model(None, real())
    with pytest.raises(ValueError, match="encoders is a Own; wanted a list"):
        HierarchicalVAE(encoder(), [real()])


MODELS = {
    "own": lambda: VAE(encoder(), binary(), prior()),
    "mlp": lambda: mlp_vae(3, 2, (4,), seed=0).double(),
    "auto-encoder": lambda: AutoEncoder(nn.Linear(3, 2).double(), binary()),
    "layers": lambda: HierarchicalVAE([encoder(), Own(2, 2, rows)], [binary(), Own(2, 2, rows)], prior()),
    "codebook": lambda: VQVAE(nn.Linear(3, 2), Own(2, 3, binary().make), 4, 2).double(),
}
BAD = {
    "NaN": (lambda x: torch.where(x == x[0, 1], math.nan, x), "x holds [0-9]+ values that are NaN"),
    "infinite": (lambda x: x + math.inf, "x holds 12 values that are NaN or infinite"),
    "grey": (lambda x: x * 0.5, "x holds [0-9]+ .*pixels.*, such as 0.5; wanted every pixel to be 0 or 1"),
    "narrow": (lambda x: x[:, :2], r"x has shape \(4, 2\); wanted \(..., 3\)"),
    "one column": (lambda x: x[:, :1], r"x has shape \(4, 1\); wanted \(..., 3\)"),
    "float32": (lambda x: x.float(), "x has dtype torch.float32; wanted torch.float64"),
    "whole": (lambda x: x.long(), "x has dtype torch.int64"),
    "array": (lambda x: x.numpy(), "x is of type ndarray; wanted a torch.Tensor"),
    "list": (lambda x: x.tolist(), "x is of type list; wanted a torch.Tensor"),
    "none": (lambda x: None, "x is of type NoneType"),
    "empty": (lambda x: x[:0], "x has shape|at least one"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", MODELS)
def test_x_is_named_when_x_is_wrong(x, name, bad):
    model, (spoil, message) = MODELS[name](), BAD[bad]
    calls = [model.loss_terms]
    if bad != "grey":  # a grey picture can be encoded
        calls += [model.reconstruct] + ([] if bad == "empty" else [model.encode])
    for call in calls:
        with pytest.raises(ValueError, match=message) as caught:
            call(spoil(x))
        last = traceback.extract_tb(caught.value.__traceback__)[-1].filename
        assert "vae_lib" in last
        assert "\n" not in str(caught.value)
        assert caught.value.__context__ is None or caught.value.__suppress_context__


Z = {
    "NaN": (torch.full((2, 2), math.nan).double(), "z holds 4 values that are NaN"),
    "wide": (torch.zeros(2, 3).double(), r"z has shape \(2, 3\); wanted \(..., 2\)"),
    "float32": (torch.zeros(2, 2), "z has dtype torch.float32; wanted torch.float64"),
    "list": ([[0.0, 0.0]], "z is of type list"),
}


@pytest.mark.parametrize("z", Z)
@pytest.mark.parametrize("name", ["own", "mlp", "auto-encoder"])
def test_z_is_named_when_z_is_wrong(name, z):
    value, message = Z[z]
    with pytest.raises(ValueError, match=message):
        MODELS[name]().decode(value)


def test_an_error_of_the_reader_stays_his_own(x):
    def broken(m):
        raise KeyError("a typo in my own code")

    with pytest.raises(KeyError, match="my own code"):
        VAE(encoder(broken), real(), prior()).elbo(x)
    with pytest.raises(AttributeError, match="no attribute 'typo'"):
        VAE(encoder(lambda m: m.typo), real(), prior()).elbo(x)


def test_conditions_are_named_when_they_are_wrong(x):
    model, y = conditional_mlp_vae(3, 2, 2, (4,), seed=0).double(), torch.eye(2).double().repeat(2, 1)
    for bad, message in [
        (torch.cat([y, y], -1), "y has shape|y .* together"),
        (y.numpy(), "y is of type ndarray"),
        (None, "y is of type NoneType"),
        (torch.zeros(4, dtype=torch.long), "y has dtype torch.int64"),
    ]:
        for call in (model.elbo, model.encode, model.reconstruct, lambda _, y: model.sample(y)):
            with pytest.raises(ValueError, match=message):
                call(x, bad)
    with pytest.raises(ValueError, match=r"y has dtype torch\.float64; wanted torch\.float32"):
        conditional_mlp_vae(3, 2, 2, (4,), conditional_prior=False, seed=0).elbo(x.float(), y)
    with pytest.raises(ValueError, match="wanted a VAE"):
        elbo_surgery(model, x)
    exact = ais(model.given(y), x, chains=4, temperatures=4, leapfrogs=2)  # each example has its own prior
    assert exact.value.shape == (4,)


def test_a_code_is_named_when_it_is_wrong():
    model = vq_mlp_vae(3, entries=4, slots=2, size=2, seed=0)
    for bad in (torch.zeros(1, 2), [[0, 0]], torch.zeros(1, 2) == 0, None, torch.zeros(1, 3).long()):
        with pytest.raises(ValueError, match="indices"):
            model.decode(bad)
    for bad in (torch.full((1, 4), math.inf), [[0.0] * 4], torch.zeros(1, 4).long(), torch.tensor(0.0)):
        with pytest.raises(ValueError, match="vectors"):
            model.quantise(bad)


@pytest.mark.parametrize("make", [Diagonal, FullCovariance, Flow, lambda n: lambda _: StandardNormal(n)()])
def test_a_density_is_not_broadcast_over_codes_of_another_size(make):
    part = make(2)
    q = part(torch.zeros(3, getattr(part, "features", 4)))
    for shape in [(3, 1), (3, 3), (1,), (), *([(4, 2)] if q.batch_shape else [])]:
        with pytest.raises(ValueError, match="z has shape"):
            q.log_prob(torch.zeros(shape))
    assert q.log_prob(torch.zeros(7, 3, 2)).shape == (7, 3)
    assert q.log_prob(torch.zeros(1, 2)).shape in ((3,), (1,))  # one code for all, as in torch


def test_members_of_an_aggregate_are_named():
    for bad in (torch.zeros(3, 2), None, D.Normal(torch.zeros(3), 1.0)):
        with pytest.raises(ValueError, match=r"posterior (is|has)"):
            aggregate_posterior(bad)


def test_the_default_prior_has_the_precision_of_the_encoder():
    """Otherwise a model in float64 could be trained, and not sampled from."""
    made = mlp_vae(3, 2, (4,), seed=0).double()
    model = VAE(made.encoder, made.decoder)
    assert model.prior.mean.dtype == torch.float64
    assert model.sample(4).dtype == torch.float64
    assert VAE(mlp_vae(3, 2, (4,), seed=0).encoder, made.decoder).prior.mean.dtype == torch.float32
