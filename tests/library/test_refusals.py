"""What is no count, no positive number or no tensor of floats is refused everywhere, by its name."""

import math

import pytest
import torch

from vae_lib import bounds, data, divergences, evaluation, gradients, laboratory, likelihoods
from vae_lib.builders import conditional_mlp_vae, hierarchical_mlp_vae, vq_mlp_vae
from vae_lib.laboratory.ans import whole_frequencies
from vae_lib.models import VQVAE, AutoEncoder
from vae_lib.networks import conv_vae, linear_vae, mlp_vae
from vae_lib.posteriors import Diagonal, Flow, FullCovariance
from vae_lib.priors import MixturePrior, StandardNormal, VampPrior

X = torch.eye(6)
CODES = {"mean": torch.zeros(2), "log_var": torch.zeros(2)}
MODEL = mlp_vae(6, 2, hidden=(3,), seed=0)
CONDITIONAL = conditional_mlp_vae(6, 3, 2, hidden=(3,), seed=0)
HIERARCHY = hierarchical_mlp_vae(6, latents=(2, 2), hidden=((3,), (3,)), seed=0)
LINEAR = laboratory.LinearGaussianModel(torch.ones(6, 2), torch.zeros(6), 0.3)
MIXTURE = laboratory.BernoulliMixture([0.5, 0.5], [[0.1], [0.9]])
DISCRETE = laboratory.DiscreteLatentModel([0.5, 0.5], [[0.25, 0.75], [0.5, 0.5]])


def log_joint(z):
    return -z.square().sum(-1)


COUNTS = [
    ("levels", lambda n: likelihoods.Categorical(n)),
    ("levels", lambda n: likelihoods.DiscretizedLogistic(levels=n)),
    ("dims", lambda n: likelihoods.bits_per_dim(torch.zeros(1), n)),
    ("n", LINEAR.sample),
    ("n", LINEAR.sample_joint),
    ("latent_dim", lambda n: laboratory.LinearGaussianModel.fit(X, n)),
    ("n", MIXTURE.sample),
    ("components", lambda n: laboratory.BernoulliMixture.fit(X, n)),
    ("steps", lambda n: laboratory.BernoulliMixture.fit(X, 2, steps=n)),
    ("n", laboratory.Ring().sample),
    ("precision", lambda n: laboratory.BitsBackCoder(DISCRETE, torch.full((2, 2), 0.5), n)),
    ("total", lambda n: whole_frequencies(torch.tensor([0.5, 0.5]), n)),
    ("k", lambda n: DISCRETE.iwae_bound(torch.full((1, 2), 0.5), torch.tensor([0]), n)),
    ("latent_dim", lambda n: laboratory.samples_needed(n, 0.5, 0.1)),
    ("latent", Diagonal),
    ("latent", FullCovariance),
    ("latent", Flow),
    ("transforms", lambda n: Flow(2, transforms=n)),
    ("latent", StandardNormal),
    ("latent", MixturePrior),
    ("components", lambda n: MixturePrior(2, n)),
    ("pseudo_inputs", lambda n: VampPrior(MODEL.encoder, n, 6)),
    ("pixels", lambda n: VampPrior(MODEL.encoder, 3, n)),
    ("pixels", lambda n: mlp_vae(n, 2)),
    ("latent", lambda n: mlp_vae(6, n)),
    ("pixels", lambda n: linear_vae(n, 2)),
    ("latent", lambda n: linear_vae(6, n)),
    ("latent", lambda n: conv_vae((6, 6), n)),
    ("conditions", lambda n: conditional_mlp_vae(6, n, 2)),
    ("entries", lambda n: VQVAE(MODEL.encoder, MODEL.decoder, n, 2)),
    ("size", lambda n: VQVAE(MODEL.encoder, MODEL.decoder, 3, n)),
    ("slots", lambda n: vq_mlp_vae(6, slots=n)),
    ("k", lambda n: MODEL.log_weights(X, n)),
    ("k", lambda n: MODEL.elbo(X, n)),
    ("n", MODEL.sample),
    ("k", lambda n: HIERARCHY.log_weights(X, n)),
    ("k", lambda n: CONDITIONAL.log_weights(X, X[:, :3], n)),
    ("k", lambda n: AutoEncoder(MODEL.encoder, MODEL.decoder).loss_terms(X, n)),
    ("n", lambda n: gradients.pathwise(log_joint, **CODES, n=n)),
    ("n", lambda n: gradients.score_function(log_joint, **CODES, n=n)),
    ("k", lambda n: gradients.dreg(log_joint, **CODES, n=2, k=n)),
    ("k", lambda n: gradients.vimco(log_joint, **CODES, n=2, k=n)),
    ("k", lambda n: evaluation.log_likelihood(MODEL, X, n)),
    ("chunk", lambda n: evaluation.log_likelihood(MODEL, X, 5, chunk=n)),
    ("chunk", lambda n: evaluation.convergence(MODEL, X, (1,), chunk=n)),
    ("k", lambda n: evaluation.elbo_surgery(MODEL, X, n)),
    ("steps", lambda n: evaluation.inference_gaps(MODEL, X, 5, steps=n)),
    ("samples", lambda n: evaluation.inference_gaps(MODEL, X, 5, samples=n)),
    ("chains", lambda n: evaluation.ais(MODEL, X, n)),
    ("temperatures", lambda n: evaluation.ais(MODEL, X, 2, n)),
    ("leapfrogs", lambda n: evaluation.ais(MODEL, X, 2, 2, leapfrogs=n)),
    ("n", lambda n: evaluation.sandwich(MODEL, n)),
    ("n", data.sample_ring),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "call"), COUNTS)
def test_what_is_no_count_is_refused(name, call):
    for value in (0, -1, 2.5, True, "3", math.nan):
        with pytest.raises(ValueError, match=f"{name} is {value!r}; wanted "):
            call(value)


NUMBERS = [
    ("variance", lambda v: laboratory.LinearGaussianModel(torch.ones(6, 2), torch.zeros(6), v)),
    ("variance", lambda v: laboratory.Ring().noisy_log_prob(X[:, :2] + 1, v)),
    ("variance", lambda v: laboratory.Ring().ceiling(v)),
    ("variance", laboratory.SmallestVAE),
    ("variance", lambda v: laboratory.waterfill(torch.ones(2), v)),
    ("beta", lambda v: laboratory.waterfill(torch.ones(2), 1.0, v)),
    ("variance", lambda v: laboratory.collapse_growth_rate(torch.ones(2), v)),
    ("eigenvalue", lambda v: laboratory.BugZoo(v, 0.25)),
    ("std", lambda v: laboratory.QuantileModel(torch.distributions.Normal(0.0, 1.0), v)),
    ("std", lambda v: likelihoods.Gaussian(v)),
    ("scale", lambda v: likelihoods.DiscretizedLogistic(v)),
    ("scale", lambda v: likelihoods.bits_per_dim(torch.zeros(1), 2, scale=v)),
    ("commitment", lambda v: VQVAE(MODEL.encoder, MODEL.decoder, 3, 2, v)),
    ("learning_rate", lambda v: evaluation.inference_gaps(MODEL, X, 5, learning_rate=v)),
    ("temperature", lambda v: gradients.gumbel_softmax(log_joint, logits=torch.zeros(2), n=2, temperature=v)),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "call"), NUMBERS)
def test_what_is_no_positive_number_is_refused(name, call):
    for value in (0.0, -1.0, math.nan, math.inf, True, "3"):
        with pytest.raises(ValueError, match=f"{name} is {value!r}; wanted "):
            call(value)


FLOATS = [
    ("x", torch.ones(2), bounds.log_mean_exp),
    ("log_w", torch.ones(2, 3), bounds.elbo),
    ("log_w", torch.ones(2, 3), bounds.effective_sample_size),
    ("log_w", torch.ones(2, 2, 3), bounds.miwae_bound),
    ("kl", torch.ones(2, 3), lambda t: bounds.free_bits(t, 0.1)),
    ("q", torch.ones(2), lambda t: divergences.kl_categorical(t, torch.ones(2) / 2)),
    ("p", torch.ones(2), lambda t: divergences.kl_categorical(torch.ones(2) / 2, t)),
    ("mean", torch.ones(2), lambda t: divergences.kl_diagonal_gaussian(mean=t, log_var=torch.ones(2))),
    ("log_var", torch.ones(2), lambda t: divergences.kl_diagonal_gaussian(mean=torch.ones(2), log_var=t)),
    ("log_q", torch.ones(2), lambda t: divergences.kl_monte_carlo(t, torch.ones(2))),
    ("log_p", torch.ones(2), lambda t: divergences.kl_monte_carlo(torch.ones(2), t)),
    ("x", torch.ones(2, 6), lambda t: likelihoods.optimal_variance(t, X[:2])),
    ("mean", torch.ones(2, 6), lambda t: likelihoods.optimal_variance(X[:2], t)),
    ("log_prob", torch.ones(2), lambda t: likelihoods.bits_per_dim(t, 2)),
    ("logits", torch.ones(2, 6), likelihoods.Bernoulli()),
    ("mean", torch.ones(2, 6), likelihoods.Gaussian()),
    ("mean", torch.ones(3, 2), lambda t: laboratory.grid_elbo_surgery(t, torch.ones(3, 2))),
    ("std", torch.ones(3, 2), lambda t: laboratory.grid_elbo_surgery(torch.ones(3, 2), t)),
    ("x", torch.ones(3, 2), laboratory.Ring().log_prob),
    ("mean", torch.ones(2), lambda t: gradients.pathwise(log_joint, mean=t, log_var=torch.ones(2), n=2)),
    ("log_var", torch.ones(2), lambda t: gradients.pathwise(log_joint, mean=torch.ones(2), log_var=t, n=2)),
    ("x", X, MODEL.elbo),
    ("x", X, MODEL.log_weights),
    ("x", X, HIERARCHY.elbo),
    ("x", X, AutoEncoder(MODEL.encoder, MODEL.decoder).loss_terms),
    ("x", X, lambda t: evaluation.log_likelihood(MODEL, t, 3)),
    ("x", X, lambda t: evaluation.convergence(MODEL, t, (1,))),
    ("x", X, lambda t: evaluation.active_units(MODEL, t)),
    ("x", X, lambda t: evaluation.elbo_surgery(MODEL, t)),
    ("x", X, lambda t: evaluation.inference_gaps(MODEL, t)),
    ("x", X, lambda t: evaluation.ais(MODEL, t)),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "floats", "call"), FLOATS)
def test_whole_numbers_and_lists_are_refused(name, floats, call):
    with pytest.raises(ValueError, match=rf"{name} (has|holds) dtype torch\.int64"):
        call(floats.long())
    with pytest.raises(ValueError, match=rf"{name} is of type list; wanted a torch\.Tensor"):
        call(floats.tolist())
