"""The gradient matrix: every estimator on every model whose gradient is known exactly.

Bias is a z-score, noise a ratio of variances. The exact gradients are central differences of exact
bounds: the trapezoid rule over all k-tuples of nodes for one Gaussian latent, the closed form (k = 1) or
all pairs of nodes (k = 2) for two, enumeration for discrete latents. None of them is differentiated by
autograd or sampled.
"""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from vae_lib.gradients import (
    dreg,
    gumbel_softmax,
    iwae_pathwise,
    pathwise,
    pathwise_analytic_kl,
    score_function,
    sticking_the_landing,
    vimco,
)
from vae_lib.laboratory import DiscreteLatentModel, LinearGaussianModel

N = 100_000
H = 1e-4  # of the central differences
LN_2PI = math.log(2 * math.pi)


def double(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@dataclass
class Model:
    """ln p(x, z) of one x, the parameters of one q, and the exact bound L_k as a function of them."""

    log_likelihood: Callable  # z (rows, ...) -> (rows,), in torch
    log_prior: Callable
    q: dict[str, np.ndarray]
    bound: Callable  # (k, **q) -> float

    def log_joint(self, z):
        return self.log_likelihood(z) + self.log_prior(z)

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        return {name: double(value) for name, value in self.q.items()}

    def exact(self, k: int) -> dict[str, np.ndarray]:
        found = {}
        for name, value in self.q.items():
            found[name] = np.zeros_like(value)
            for place in np.ndindex(value.shape):
                ends = []
                for step in (H, -H):
                    moved = value.copy()
                    moved[place] += step
                    ends.append(self.bound(k, **self.q | {name: moved}))
                found[name][place] = (ends[0] - ends[1]) / (2 * H)
        return found


def mean_over_tuples(log_w: np.ndarray, mass: np.ndarray, k: int) -> float:
    """E ln mean(w) over all k-tuples of nodes, one axis per sample."""
    total, probability = log_w, mass
    for _ in range(k - 1):
        total = np.logaddexp(total[..., None], log_w)
        probability = probability[..., None] * mass
    return float((probability * (total - math.log(k))).sum())


def standard_normal(z):
    return -0.5 * (z**2 + LN_2PI).sum(-1)


def one_latent(log_likelihood, mean: float, log_var: float) -> Model:
    """One Gaussian latent: `log_likelihood` in NumPy and torch alike, of z (rows,)."""

    def bound(k, mean, log_var):
        u = np.linspace(-8.0, 8.0, {1: 401, 2: 201, 3: 71}[k])
        mass = np.exp(-0.5 * (u**2 + LN_2PI)) * (u[1] - u[0])
        z = mean[0] + math.exp(log_var[0] / 2) * u
        log_q = -0.5 * (u**2 + LN_2PI + log_var[0])
        return mean_over_tuples(log_likelihood(z, np) - 0.5 * (z**2 + LN_2PI) - log_q, mass, k)

    return Model(
        lambda z: log_likelihood(z.squeeze(-1), torch),
        standard_normal,
        {"mean": np.array([mean]), "log_var": np.array([log_var])},
        bound,
    )


def linear_likelihood(z, backend):
    return -0.5 * ((1.5 - z) / 0.5) ** 2 - math.log(0.5) - 0.5 * LN_2PI


def curved_likelihood(z, backend):
    first, second = 0.6 - backend.tanh(2 * z), -0.2 - backend.sin(z)
    return -0.5 * (first**2 + second**2) / 0.3 - math.log(0.3) - LN_2PI


def two_latents() -> Model:
    """Correlated posterior, diagonal q; the ELBO is in closed form, L_2 is a sum over pairs of nodes."""
    model = LinearGaussianModel(double([[1.0, 0.6], [0.2, -0.8], [0.5, 0.9]]), double([0.1, -0.2, 0.0]), 0.5)
    x = double([[1.0, -0.5, 0.8]])
    y = (x - model.bias)[0]

    line = np.linspace(-6.0, 6.0, 21)
    noise = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)  # (441, 2)
    mass = np.exp(-0.5 * (noise**2 + LN_2PI).sum(-1)) * (line[1] - line[0]) ** 2

    def bound(k, mean, log_var):
        if k > 1:
            z = mean + np.exp(log_var / 2) * noise
            error = y.numpy() - z @ model.weight.numpy().T
            log_likelihood = -0.5 * (error**2 / 0.5 + math.log(0.5) + LN_2PI).sum(-1)
            log_ratio = -0.5 * (z**2 - noise**2 - log_var).sum(-1)  # prior to q
            return mean_over_tuples(log_likelihood + log_ratio, mass, k)
        encoder = torch.outer(double(mean), y) / y.square().sum()  # the encoder that maps y to mean
        return model.elbo(x, encoder, double(log_var).exp()).item()

    def log_likelihood(z):
        return torch.distributions.Normal(z @ model.weight.T + model.bias, 0.5**0.5).log_prob(x).sum(-1)

    q = {"mean": np.array([0.3, 0.5]), "log_var": np.array([-0.5, -1.2])}
    return Model(log_likelihood, standard_normal, q, bound)


def table() -> Model:
    """z of three values; ln p(x, z) is a table."""
    model = DiscreteLatentModel([0.2, 0.5, 0.3], [[0.7, 0.3], [0.2, 0.8], [0.05, 0.95]])
    x = torch.tensor([0])
    likelihood, prior = model.likelihood[:, 0].log(), model.prior.log()

    def bound(k, logits):
        q = np.exp(logits) / np.exp(logits).sum()
        return model.iwae_bound(double(q)[None], x, k).item()

    return Model(lambda z: z @ likelihood, lambda z: z @ prior, {"logits": np.array([0.4, -0.3, 0.8])}, bound)


def one_hot_codes(latent: int, classes: int) -> np.ndarray:
    choices = np.array(list(itertools.product(range(classes), repeat=latent)))
    return np.eye(classes)[choices]  # (classes**latent, latent, classes)


def causes() -> Model:
    """Three binary causes of one effect (a noisy or), q factorial: logits (3, 2)."""
    codes = one_hot_codes(3, 2)  # (8, 3, 2)
    effect = np.array([1.0, 2.0, 0.5])

    def log_likelihood(z):  # x = 1 unless every cause that is on fails
        fails = torch.as_tensor(effect).to(z) * z[..., 1]
        return torch.log1p(-torch.exp(-fails.sum(-1) - 0.05))

    def log_prior(z):
        return (z * double([0.7, 0.3]).log()).sum((-1, -2))

    def bound(k, logits):
        q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        mass = (codes * q).sum(-1).prod(-1)  # (8,)
        on = codes[..., 1]
        log_joint = np.log(1 - np.exp(-on @ effect - 0.05)) + np.log(np.where(on == 1, 0.3, 0.7)).sum(-1)
        return mean_over_tuples(log_joint - np.log(mass), mass, k)

    logits = np.array([[0.8, -0.7], [0.9, 0.0], [-0.6, 0.9]])
    return Model(log_likelihood, log_prior, {"logits": logits}, bound)


def two_codes() -> Model:
    """Codes +1 and -1, a Gaussian decoder; what the relaxed objective is meant for."""

    def log_likelihood(z):
        code = z @ double([1.0, -1.0])
        return -0.5 * ((0.4 - code) / 0.7) ** 2 - math.log(0.7) - 0.5 * LN_2PI

    def bound(k, logits):
        mass = np.exp(logits) / np.exp(logits).sum()
        code = np.array([1.0, -1.0])
        log_p = -0.5 * ((0.4 - code) / 0.7) ** 2 - math.log(0.7) - 0.5 * LN_2PI - math.log(2)
        return mean_over_tuples(log_p - np.log(mass), mass, k)

    return Model(log_likelihood, lambda z: z.sum(-1) * -math.log(2), {"logits": np.array([0.9, -0.2])}, bound)


MODELS = {
    "linear": one_latent(linear_likelihood, 0.6, -0.7),
    "curved": one_latent(curved_likelihood, -0.1, -0.3),
    "two latents": two_latents(),
    "table": table(),
    "causes": causes(),
    "two codes": two_codes(),
}
GAUSSIAN, ONE_GAUSSIAN = ("linear", "curved", "two latents"), ("linear", "curved")
DISCRETE = ("table", "causes", "two codes")

# name -> (estimator of (model, n, generator), k of the bound it estimates)
ESTIMATORS = {
    "pathwise": (lambda m, **o: pathwise(m.log_joint, **m.parameters, **o), 1),
    "analytic KL": (lambda m, **o: pathwise_analytic_kl(m.log_likelihood, **m.parameters, **o), 1),
    "STL": (lambda m, **o: sticking_the_landing(m.log_joint, **m.parameters, **o), 1),
    "score": (lambda m, **o: score_function(m.log_joint, **m.parameters, **o), 1),
    "score, b = -3": (lambda m, **o: score_function(m.log_joint, **m.parameters, baseline=-3, **o), 1),
    "score, leave one out": (
        lambda m, **o: score_function(m.log_joint, **m.parameters, baseline="leave_one_out", **o),
        1,
    ),
    "IWAE 2": (lambda m, **o: iwae_pathwise(m.log_joint, **m.parameters, k=2, **o), 2),
    "IWAE 3": (lambda m, **o: iwae_pathwise(m.log_joint, **m.parameters, k=3, **o), 3),
    "DReG 2": (lambda m, **o: dreg(m.log_joint, **m.parameters, k=2, **o), 2),
    "DReG 3": (lambda m, **o: dreg(m.log_joint, **m.parameters, k=3, **o), 3),
    "VIMCO 2": (lambda m, **o: vimco(m.log_joint, **m.parameters, k=2, **o), 2),
    "VIMCO 3": (lambda m, **o: vimco(m.log_joint, **m.parameters, k=3, **o), 3),
    # the biased ones
    "STL 2": (lambda m, **o: sticking_the_landing(m.log_joint, **m.parameters, k=2, **o), 2),
    "STL 3": (lambda m, **o: sticking_the_landing(m.log_joint, **m.parameters, k=3, **o), 3),
    "Gumbel, 1": (lambda m, **o: gumbel_softmax(m.log_joint, **m.parameters, temperature=1.0, **o), 1),
    "Gumbel, 5": (lambda m, **o: gumbel_softmax(m.log_joint, **m.parameters, temperature=5, **o), 1),
}
UNBIASED = [
    *itertools.product(
        ("pathwise", "analytic KL", "STL", "score", "score, b = -3", "score, leave one out"), GAUSSIAN
    ),
    *itertools.product(("IWAE 2", "DReG 2", "VIMCO 2"), GAUSSIAN),
    *itertools.product(("IWAE 3", "DReG 3", "VIMCO 3"), ONE_GAUSSIAN),
    *itertools.product(("score", "score, b = -3", "score, leave one out", "VIMCO 2", "VIMCO 3"), DISCRETE),
]
BIASED = [
    *itertools.product(("STL 2",), GAUSSIAN),
    *itertools.product(("STL 3",), ONE_GAUSSIAN),
    *itertools.product(("Gumbel, 1", "Gumbel, 5"), DISCRETE),
]


def sampled(estimator: str, model: str, n: int = N) -> dict[str, np.ndarray]:
    """(n, ...) gradients for each parameter."""
    function, _ = ESTIMATORS[estimator]
    gradient = function(MODELS[model], n=n, generator=torch.Generator().manual_seed(0))
    return {name: value.numpy() for name, value in gradient._asdict().items()}


@functools.cache
def summary(estimator: str, model: str) -> tuple[float, float]:
    """The largest |z-score| of the mean gradient, and the variance summed over the parameters."""
    exact = exact_gradient(model, ESTIMATORS[estimator][1])
    worst, variance = 0.0, 0.0
    for name, values in sampled(estimator, model).items():
        error = values.std(0, ddof=1) / math.sqrt(len(values))
        worst = max(worst, np.abs((values.mean(0) - exact[name]) / error).max())
        variance += values.var(0, ddof=1).sum()
    return float(worst), float(variance)


@functools.cache
def exact_gradient(model: str, k: int) -> dict[str, np.ndarray]:
    return MODELS[model].exact(k)


def test_no_cell_of_the_matrix_is_missing():
    anything = ("score", "VIMCO")  # the others need a z that can be reparametrised, or relaxed
    cells = set()
    for estimator, model in itertools.product(ESTIMATORS, MODELS):
        discrete = model in DISCRETE
        fits = estimator.startswith(anything) or discrete == estimator.startswith("Gumbel")
        too_many_triples = model == "two latents" and ESTIMATORS[estimator][1] == 3
        if fits and not too_many_triples:
            cells.add((estimator, model))
    assert sorted(UNBIASED + BIASED) == sorted(cells)
    assert {name.split(" ")[0].rstrip(",") for name, _ in BIASED} == {"STL", "Gumbel"}


@pytest.mark.parametrize(("estimator", "model"), UNBIASED)
def test_unbiased(estimator, model):
    assert summary(estimator, model)[0] < 5


@pytest.mark.parametrize(("estimator", "model"), BIASED)
def test_biased(estimator, model):
    assert summary(estimator, model)[0] > 10


def test_no_exact_gradient_is_zero():
    """Otherwise an estimator that returns nothing would pass: ten standard errors at the least."""
    for estimator, model in UNBIASED:
        size = max(np.abs(v).max() for v in exact_gradient(model, ESTIMATORS[estimator][1]).values())
        assert size > 10 * math.sqrt(summary(estimator, model)[1] / N), (estimator, model)


def ratio(estimator: str, model: str, reference: str) -> float:
    return summary(estimator, model)[1] / summary(reference, model)[1]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # to pathwise = 1: analytic KL, STL, score, with a number, with leave one out
        ("linear", (0.69, 0.40, 6.4, 3.2, 3.1)),
        ("curved", (0.75, 0.70, 2.6, 0.39, 0.38)),  # here the score function, helped, is the quietest
        ("two latents", (0.63, 0.33, 6.9, 1.81, 1.38)),
    ],
)
def test_noise_of_the_elbo_gradients_as_a_ratio_to_pathwise(model, expected):
    names = ("analytic KL", "STL", "score", "score, b = -3", "score, leave one out")
    found = [ratio(name, model, "pathwise") for name in names]
    assert found == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("model", ONE_GAUSSIAN)
def test_noise_of_the_gradients_of_the_importance_weighted_bound(model):
    for k in (2, 3):
        assert ratio(f"DReG {k}", model, f"IWAE {k}") < 0.7


@pytest.mark.parametrize("model", DISCRETE)
def test_a_baseline_quiets_the_score_function(model):
    assert ratio("score, leave one out", model, "score") < 0.95


def test_signal_to_noise_of_the_encoder_falls_with_k_unless_reparametrised_twice():
    """Rainforth et al.: signal over noise goes like k**-1/2; Tucker et al.: DReG turns that round."""
    model = MODELS["linear"]

    def signal_to_noise(estimator, k):
        generator = torch.Generator().manual_seed(k)
        values = estimator(model.log_joint, **model.parameters, n=10_000, k=k, generator=generator).mean
        return (values.mean() / values.std()).abs().item()

    plain = [signal_to_noise(iwae_pathwise, k) for k in (4, 64)]
    doubly = [signal_to_noise(dreg, k) for k in (4, 64)]
    assert plain[1] < 0.4 * plain[0]  # a factor of 4 in theory
    assert doubly[1] > 1.5 * doubly[0]


@pytest.mark.parametrize("estimator", ["pathwise", "STL", "DReG 3", "VIMCO 2", "score"])
def test_one_gradient_per_sample_and_each_from_its_own_sample(estimator):
    """Samples 0..9 of a run are not changed by what log_joint returns for the other samples."""
    model, (function, k) = MODELS["linear"], ESTIMATORS[estimator]
    plain = function(model, n=20, generator=torch.Generator().manual_seed(0))

    class Disturbed:
        parameters = model.parameters

        @staticmethod
        def log_joint(z):
            factor = torch.ones(k, 20, dtype=torch.float64)
            factor[:, 10:] = 7.0
            return model.log_joint(z) * factor.flatten()

    disturbed = function(Disturbed, n=20, generator=torch.Generator().manual_seed(0))
    for one, two in zip(plain, disturbed, strict=True):
        assert one.shape == (20, 1)
        torch.testing.assert_close(one[:10], two[:10], rtol=1e-12, atol=1e-12)
        assert (one[10:] - two[10:]).abs().min() > 1e-6


def test_vimco_at_two_samples_by_hand():
    """With k = 2 the geometric mean of the others is the other weight."""
    model = MODELS["table"]
    joint = np.log(np.array([0.2, 0.5, 0.3]) * np.array([0.7, 0.2, 0.05]))
    logits = model.q["logits"]
    log_q = logits - np.log(np.exp(logits).sum())
    q = np.exp(log_q)
    log_w = joint - log_q
    possible = {}
    for a, b in itertools.product(range(3), repeat=2):
        bound = np.logaddexp(log_w[a], log_w[b]) - math.log(2)
        signal = np.array([bound - log_w[b], bound - log_w[a]])
        weight = np.exp([log_w[a], log_w[b]]) / np.exp([log_w[a], log_w[b]]).sum()
        scores = np.eye(3)[[a, b]] - q
        possible[a, b] = ((signal - weight)[:, None] * scores).sum(0)
    found = sampled("VIMCO 2", "table", n=2000)["logits"]
    values = np.stack(list(possible.values()))  # (9, 3)
    distance = np.abs(found[:, None] - values).max(-1)  # (n, 9)
    assert distance.min(1).max() < 1e-12
    # and every pair occurs about as often as it should
    pairs = np.array([q[a] * q[b] for a, b in possible])
    share = sum(pairs[i] for i in range(9) if np.abs(values[i] - values[0]).max() < 1e-12)
    count = (distance[:, 0] < 1e-12).mean()
    assert abs(count - share) < 5 * math.sqrt(share * (1 - share) / 2000)
