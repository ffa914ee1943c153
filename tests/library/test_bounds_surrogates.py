"""Surrogates: their gradients against finite differences of the exact L_k; their values are no bound."""

import math

import numpy as np
import pytest
import torch

from vae_lib.bounds import dreg_surrogate, effective_sample_size, iwae_bound, iwae_surrogate

X, NOISE = 1.5, 0.5  # p(x|z) = N(x; w z, 0.25), q = N(m, exp(log_var)); away from the optimum
POINT = {"w": 1.3, "m": 0.5, "log_var": -0.4}


def log_weights(*, n: int, k: int, seed: int, stop: bool, parameters: dict[str, torch.Tensor]):
    """Log-weights (k, n) of one x and the sample z; with `stop`, q's parameters do not reach ln q."""
    noise = torch.randn(k, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return log_weights_at(noise, stop=stop, parameters=parameters)


def log_weights_at(noise: torch.Tensor, *, stop: bool, parameters: dict[str, torch.Tensor]):
    w, m, log_var = parameters["w"], parameters["m"], parameters["log_var"]
    z = m + (0.5 * log_var).exp() * noise
    if stop:
        m, log_var = m.detach(), log_var.detach()
    normal = torch.distributions.Normal
    log_joint = normal(w * z, NOISE).log_prob(torch.tensor(X)) + normal(0.0, 1.0).log_prob(z)
    return log_joint - normal(m, (0.5 * log_var).exp()).log_prob(z), z


def rows(n: int) -> dict[str, torch.Tensor]:
    """One copy of each parameter per column: the gradient of a sum is then one gradient per column."""
    return {
        name: torch.full((n,), value, dtype=torch.float64, requires_grad=True)
        for name, value in POINT.items()
    }


def exact_bound(w: float, m: float, log_var: float) -> float:
    """L_2 by the trapezoid rule on pairs: E ln (w_1 + w_2) / 2, NumPy throughout."""
    u = np.linspace(-8.5, 8.5, 401)
    mass = np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi) * (u[1] - u[0])
    z = m + math.exp(log_var / 2) * u
    log_q = -0.5 * u**2 - 0.5 * log_var - 0.5 * math.log(2 * math.pi)
    log_p = -0.5 * ((X - w * z) / NOISE) ** 2 - math.log(NOISE) - 0.5 * z**2 - math.log(2 * math.pi)
    log_w = log_p - log_q
    return float(mass @ (np.logaddexp(log_w[:, None], log_w[None, :]) - math.log(2)) @ mass)


def exact_gradient() -> dict[str, float]:
    h = 1e-4
    return {
        name: (exact_bound(**POINT | {name: value + h}) - exact_bound(**POINT | {name: value - h})) / (2 * h)
        for name, value in POINT.items()
    }


EXACT = exact_gradient()


def scores(values: torch.Tensor, exact: float) -> float:
    return ((values.mean() - exact) / (values.std() / math.sqrt(len(values)))).item()


def gradients(surrogate, names, *, stop: bool, n: int = 200_000, seed: int = 0) -> dict[str, torch.Tensor]:
    parameters = rows(n)
    log_w, _ = log_weights(n=n, k=2, seed=seed, stop=stop, parameters=parameters)
    found = torch.autograd.grad(surrogate(log_w).sum(), [parameters[name] for name in names])
    return dict(zip(names, found, strict=True))


def test_the_gradient_is_that_of_the_bound_and_the_value_is_not():
    log_w = torch.tensor(np.random.default_rng(0).normal(-80.0, 3.0, (50, 200))).requires_grad_()
    (surrogate,) = torch.autograd.grad(iwae_surrogate(log_w).sum(), log_w)
    (bound,) = torch.autograd.grad(iwae_bound(log_w).sum(), log_w)
    torch.testing.assert_close(surrogate, bound, rtol=1e-11, atol=1e-14)
    excess = (iwae_surrogate(log_w) - iwae_bound(log_w)).detach()
    # ln k minus the entropy of the weights: the "bound" that published codes report
    weights = (log_w.detach() + 80).exp()
    weights = weights / weights.sum(0)
    expected = math.log(50) + torch.special.xlogy(weights, weights).sum(0)
    torch.testing.assert_close(excess, expected, rtol=1e-9, atol=1e-9)
    assert excess.mean() > 1.5
    assert (excess > 0).all()
    assert (dreg_surrogate(log_w) - iwae_bound(log_w)).abs().min() > 1.0


def test_value_by_hand():
    log_w = torch.tensor([[1.0], [3.0]], dtype=torch.float64).log()
    assert iwae_surrogate(log_w).item() == pytest.approx(0.75 * math.log(3))
    assert dreg_surrogate(log_w).item() == pytest.approx(0.5625 * math.log(3))


def test_the_weights_carry_no_gradient():
    log_w = torch.tensor([[0.3, 1.0], [-0.2, 4.0], [1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    weights = log_w.detach().exp() / log_w.detach().exp().sum(0)
    for surrogate, power in ((iwae_surrogate, 1), (dreg_surrogate, 2)):
        (gradient,) = torch.autograd.grad(surrogate(log_w).sum(), log_w)
        torch.testing.assert_close(gradient, weights**power, rtol=1e-13, atol=1e-14)
    # the squares sum to one over the effective sample size
    total = torch.autograd.grad(dreg_surrogate(log_w).sum(), log_w)[0].sum(0)
    torch.testing.assert_close(1 / total, effective_sample_size(log_w.detach()))


def test_iwae_surrogate_gives_both_gradients_of_the_bound():
    for name, values in gradients(iwae_surrogate, ("w", "m", "log_var"), stop=False).items():
        assert abs(scores(values, EXACT[name])) < 5, name


def test_dreg_gives_the_encoder_its_gradient_with_less_noise():
    plain = gradients(iwae_surrogate, ("m", "log_var"), stop=False)
    doubly = gradients(dreg_surrogate, ("m", "log_var"), stop=True)
    for name, values in doubly.items():
        assert abs(scores(values, EXACT[name])) < 5, name
        assert values.var() < 0.8 * plain[name].var(), name


@pytest.mark.parametrize("stop", [True, False])
def test_without_any_noise_the_gradients_are_exact(stop):
    """The mean over the draws as a trapezoid sum over pairs: no estimator's bias hides in five errors."""
    u = torch.linspace(-8.5, 8.5, 201, dtype=torch.float64)
    mass = torch.distributions.Normal(0.0, 1.0).log_prob(u).exp() * (u[1] - u[0])
    pairs = torch.cartesian_prod(u, u).T  # (2, nodes**2)
    parameters = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in POINT.items()
    }
    log_w, _ = log_weights_at(pairs, stop=stop, parameters=parameters)
    weight = torch.cartesian_prod(mass, mass).prod(-1)

    def gradient(surrogate, *names):
        total = (weight * surrogate(log_w)).sum()
        found = torch.autograd.grad(total, [parameters[n] for n in names], retain_graph=True)
        return [value.item() for value in found]

    encoder = ("m", "log_var")
    exact = [EXACT[name] for name in encoder]
    assert gradient(iwae_surrogate, "w") == pytest.approx([EXACT["w"]], abs=1e-6)
    right, wrong = (dreg_surrogate, iwae_surrogate) if stop else (iwae_surrogate, dreg_surrogate)
    assert gradient(right, *encoder) == pytest.approx(exact, abs=1e-6)
    assert gradient(wrong, *encoder) != pytest.approx(exact, abs=1e-2)


def test_one_forward_pass_serves_decoder_and_encoder():
    """The recipe of the docstring: dreg for the encoder, iwae_surrogate for the decoder."""
    n = 200_000
    parameters = rows(n)
    log_w, _ = log_weights(n=n, k=2, seed=5, stop=True, parameters=parameters)
    encoder = torch.autograd.grad(
        dreg_surrogate(log_w).sum(), (parameters["m"], parameters["log_var"]), retain_graph=True
    )
    (decoder,) = torch.autograd.grad(iwae_surrogate(log_w).sum(), parameters["w"])
    assert abs(scores(decoder, EXACT["w"])) < 5
    assert abs(scores(encoder[0], EXACT["m"])) < 5
    assert abs(scores(encoder[1], EXACT["log_var"])) < 5


@pytest.mark.parametrize(
    ("surrogate", "stop", "name"),
    [
        (dreg_surrogate, True, "w"),  # the decoder wants the weights, not their squares
        (dreg_surrogate, False, "log_var"),  # q must be stopped
        (iwae_surrogate, True, "m"),  # sticking the landing for k = 2
        (iwae_surrogate, True, "log_var"),
    ],
)
def test_the_conditions_of_the_docstring_matter(surrogate, stop, name):
    values = gradients(surrogate, (name,), stop=stop)[name]
    assert abs(scores(values, EXACT[name])) > 10


def test_a_hook_on_z_gives_the_same_two_gradients_in_one_pass():
    """The alternative that the docstring names, so that the two functions are not taken on trust."""
    n = 1000
    parameters = rows(n)
    log_w, z = log_weights(n=n, k=2, seed=1, stop=True, parameters=parameters)
    names = list(parameters)
    encoder = torch.autograd.grad(
        dreg_surrogate(log_w).sum(), (parameters["m"], parameters["log_var"]), retain_graph=True
    )
    decoder = torch.autograd.grad(iwae_surrogate(log_w).sum(), parameters["w"], retain_graph=True)
    weights = torch.softmax(log_w, 0).detach()
    z.register_hook(lambda gradient: weights * gradient)
    together = torch.autograd.grad(iwae_surrogate(log_w).sum(), [parameters[name] for name in names])
    for one, two in zip(together, (*decoder, *encoder), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)


def test_impossible_samples_have_neither_value_nor_gradient():
    log_w = torch.tensor([[0.0], [-math.inf], [math.log(3.0)]], dtype=torch.float64, requires_grad=True)
    for surrogate, power in ((iwae_surrogate, 1), (dreg_surrogate, 2)):
        value = surrogate(log_w)
        assert value.item() == pytest.approx(0.75**power * math.log(3))
        (gradient,) = torch.autograd.grad(value.sum(), log_w)
        assert gradient.flatten().tolist() == pytest.approx([0.25**power, 0.0, 0.75**power])


def test_all_one_sample():
    log_w = torch.tensor([[-3.0, 1e4]], requires_grad=True)
    for surrogate in (iwae_surrogate, dreg_surrogate):
        assert surrogate(log_w).tolist() == [-3.0, 1e4]
        (gradient,) = torch.autograd.grad(surrogate(log_w).sum(), log_w)
        assert gradient.tolist() == [[1.0, 1.0]]
