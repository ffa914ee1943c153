"""What is made lies where the arguments lie, in their precision: no default of torch decides.

No GPU is needed. While the default device is "meta", which has shapes but no numbers, a tensor that is made
without a device is lost, and the sum in which it stands fails or is lost with it. While the default type
is float64, a tensor that is made without a type changes the precision, and with it the numbers.
"""

from dataclasses import fields, is_dataclass

import pytest
import torch
from torch import Tensor

from vae_lib import bounds, divergences, evaluation, gradients, laboratory, likelihoods
from vae_lib.builders import hierarchical_mlp_vae
from vae_lib.data import binarize
from vae_lib.networks import conv_vae, mlp_vae
from vae_lib.posteriors import Diagonal, Flow, FullCovariance


def numbers(*shape):
    generator = torch.Generator("cpu").manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, device="cpu", dtype=torch.float32)


def asked(law):
    """What a distribution answers."""
    x = law.sample()
    return [law.log_prob(x), law.sample((2,)), law.mean, x]


def posterior(head):
    return lambda: asked(head(numbers(3, head.features)))


def methods(model, *names):
    return lambda: [getattr(model, name)(X) for name in names] + [model.sample(2)]


LOG_W, GROUPS = numbers(4, 3), numbers(2, 4, 3)
X = (numbers(3, 6) > 0).float()
GREY = torch.arange(18, dtype=torch.uint8).view(3, 6)
CHOICES, SYMBOLS = numbers(2, 3).softmax(-1), torch.arange(2)
CODES = {"mean": numbers(2), "log_var": numbers(1, 2)[0]}
LINEAR = laboratory.LinearGaussianModel(numbers(6, 2), numbers(6), 0.3)
DISCRETE = laboratory.DiscreteLatentModel(CHOICES[0], numbers(3, 4).softmax(-1))
MIXTURE = laboratory.BernoulliMixture(CHOICES[0], numbers(3, 6).sigmoid())
VAE = mlp_vae(6, 2, hidden=(5,), seed=0)
HIERARCHY = hierarchical_mlp_vae(6, latents=(3, 2), hidden=((5,), (4,)), seed=0)
CONVOLUTIONS = conv_vae((6, 6), 2, filters=(3,), seed=0)
PATHWISE = (gradients.pathwise, gradients.pathwise_analytic_kl, gradients.sticking_the_landing)
HEADS = {"diagonal": Diagonal(2), "full covariance": FullCovariance(2), "flow": Flow(2, hidden=(4,))}
PIXELS = {
    "Bernoulli": likelihoods.Bernoulli(),
    "continuous Bernoulli": likelihoods.ContinuousBernoulli(),
    "discretised logistic": likelihoods.DiscretizedLogistic(0.2, learned=True, levels=17),
    "Gaussian": likelihoods.Gaussian(0.5, learned=True),
    "categorical": likelihoods.Categorical(3),
}


def log_joint(z):
    return -0.5 * (z.square() + (1.5 - z).square()).sum(-1)


def log_joint_of_choices(z):
    return (z * z.new_tensor([0.3, -1.0, 2.0])).sum((-1, -2))


CASES = {
    "bounds": lambda: [
        bounds.elbo(LOG_W), bounds.iwae_bound(LOG_W), bounds.cubo(LOG_W), bounds.sandwich(LOG_W, LOG_W + 1),
        bounds.effective_sample_size(LOG_W), bounds.iwae_surrogate(LOG_W), bounds.dreg_surrogate(LOG_W),
        bounds.miwae_bound(GROUPS), bounds.piwae(GROUPS), bounds.ciwae(GROUPS, 0.3),
        bounds.free_bits(LOG_W.exp(), 0.5),
    ],
    "divergences": lambda: [
        divergences.kl_categorical(CHOICES[0], CHOICES[1]),
        divergences.kl_diagonal_gaussian(mean=LOG_W, log_var=LOG_W),
        divergences.kl_multivariate_gaussian(
            mean_q=numbers(2), cov_q=HEADS["full covariance"](numbers(5)).covariance_matrix,
            mean_p=numbers(2), cov_p=HEADS["full covariance"](numbers(5)).covariance_matrix,
        ),
        divergences.kl_monte_carlo(LOG_W, LOG_W + 1),
    ],
    **{name: lambda p=p: asked(p(numbers(3, 6))) for name, p in PIXELS.items()},
    **{name: posterior(head) for name, head in HEADS.items()},
    "linear Gaussian": lambda: [
        LINEAR.log_evidence(X), LINEAR.posterior(X).mean, LINEAR.elbo(X, *LINEAR.best_encoder()),
        LINEAR.gap(), LINEAR.sample_joint(3), laboratory.LinearGaussianModel.fit(numbers(20, 6), 2).weight,
        laboratory.LinearGaussianModel(numbers(6, 2), numbers(6), 0.3).variance,
    ],
    "discrete": lambda: [
        DISCRETE.log_evidence(SYMBOLS), DISCRETE.posterior(SYMBOLS), DISCRETE.iwae_bound(CHOICES, SYMBOLS, 2),
    ],
    "Bernoulli mixture": lambda: [MIXTURE.log_evidence(X), MIXTURE.posterior(X), MIXTURE.exact_encoder()],
    "waterfilling": lambda: laboratory.waterfill(X[0], 0.5),
    "grids": lambda: [
        laboratory.grid_elbo_surgery(numbers(3, 2), numbers(3, 2).exp()),
        laboratory.grid_log_evidence(lambda x, z: -(x.mT - z).square(), X[:, :1], latent_dim=1),
    ],
    **{f.__name__: lambda f=f: f(log_joint, **CODES, n=5) for f in PATHWISE},
    **{f.__name__: lambda f=f: f(log_joint, **CODES, n=5, k=3) for f in (gradients.dreg, gradients.vimco)},
    "score_function": lambda: [
        gradients.score_function(log_joint, **CODES, n=5, baseline="leave_one_out"),
        gradients.score_function(log_joint_of_choices, logits=CHOICES, n=5),
    ],
    "choices": lambda: [
        gradients.vimco(log_joint_of_choices, logits=CHOICES, n=5, k=3),
        gradients.gumbel_softmax(log_joint_of_choices, logits=CHOICES, n=5, temperature=0.5),
    ],
    "VAE": methods(VAE, "elbo", "log_weights", "reconstruct"),
    "hierarchy": methods(HIERARCHY, "elbo", "log_weights"),
    "convolutions": lambda: CONVOLUTIONS.elbo(X.repeat(1, 6)),
    "evaluation": lambda: [
        evaluation.log_likelihood(VAE, X, 5), evaluation.active_units(VAE, X),
        evaluation.elbo_surgery(VAE, X, 2), evaluation.inference_gaps(VAE, X, 5, steps=1),
    ],
    "binarize": lambda: binarize(GREY, levels=18),
}  # fmt: skip


def tensors(result):
    """Every tensor in it, in order."""
    if isinstance(result, Tensor):
        return [result]
    if is_dataclass(result):
        result = [getattr(result, field.name) for field in fields(result)]
    return [t for part in result for t in tensors(part)] if isinstance(result, (list, tuple)) else []


def run(name):
    torch.default_generator.manual_seed(1)
    return tensors(CASES[name]())


@pytest.mark.parametrize("name", CASES)
def test_no_default_decides(name):
    plain = run(name)
    try:
        torch.set_default_dtype(torch.float64)
        in_double = run(name)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        elsewhere = run(name)
    for other in (in_double, elsewhere):
        torch.testing.assert_close(other, plain, rtol=0, atol=0, equal_nan=True)
