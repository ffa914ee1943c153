"""grid_log_evidence: against closed forms, adaptive quadrature and total probability."""

import math

import numpy as np
import pytest
import scipy.integrate
import torch

from vae_lib.laboratory import LinearGaussianModel, grid, grid_log_evidence

VARIANCE = 0.02


def linear(pixels: int, latent: int, variance: float) -> LinearGaussianModel:
    rng = np.random.default_rng(latent)
    weight = torch.tensor(rng.normal(size=(pixels, latent)) * [1.0, 0.4][:latent])
    return LinearGaussianModel(weight, torch.tensor(rng.normal(size=pixels)), variance)


def mlp(latent: int):
    """A tanh network latent-8-2, as a plain function of z (..., latent)."""
    rng = np.random.default_rng(3)
    first = torch.tensor(rng.normal(size=(8, latent)))
    shift = torch.tensor(rng.normal(size=8))
    second = torch.tensor(0.6 * rng.normal(size=(2, 8)))
    return lambda z: torch.tanh(z @ first.T + shift) @ second.T


def gaussian_log_likelihood(decoder, variance):
    def log_likelihood(x, z):
        error = x - decoder(z).unsqueeze(1)  # (rows, batch, D)
        return -0.5 * (error.square().sum(-1) / variance + 2 * math.log(2 * math.pi * variance))

    return log_likelihood


@pytest.mark.parametrize(("latent", "points"), [(1, 801), (2, 201)])
def test_a_linear_decoder_agrees_with_the_closed_form(latent, points):
    model = linear(5, latent, 0.3)
    x = model.sample(20)
    value = grid_log_evidence(model.log_likelihood, x, latent_dim=latent, points=points)
    assert value.shape == (20,)
    assert (value - model.log_evidence(x)).abs().max() < 1e-11


def test_a_network_agrees_with_adaptive_quadrature():
    decoder = mlp(1)
    x = torch.tensor([[0.3, -0.5], [1.0, 0.2], [-0.9, 0.9]], dtype=torch.float64)
    value = grid_log_evidence(gaussian_log_likelihood(decoder, VARIANCE), x, latent_dim=1)

    def density(z, row):
        mean = decoder(torch.tensor([[z]], dtype=torch.float64))[0].numpy()
        error = ((row - mean) ** 2).sum()
        return math.exp(-error / (2 * VARIANCE) - z * z / 2) / math.sqrt(2 * math.pi)

    for row, got in zip(x.numpy(), value, strict=True):
        total = sum(
            scipy.integrate.quad(density, a, a + 1.0, args=(row,), epsrel=1e-11, epsabs=0)[0]
            for a in np.arange(-8.0, 8.0)
        )
        assert got.item() == pytest.approx(math.log(total) - math.log(2 * math.pi * VARIANCE), abs=1e-8)


def test_a_network_of_two_latents_agrees_with_sampling():
    decoder = mlp(2)
    x = torch.tensor([[0.3, -0.5], [1.0, 0.2]], dtype=torch.float64)
    log_likelihood = gaussian_log_likelihood(decoder, 0.3)
    value = grid_log_evidence(log_likelihood, x, latent_dim=2, points=161)
    weights = log_likelihood(x, torch.randn(200_000, 2, dtype=torch.float64)).exp()
    error = weights.std(0) / math.sqrt(200_000)
    assert ((weights.mean(0) - value.exp()).abs() < 5 * error).all()
    assert (error / value.exp()).max() < 0.01
    finer = grid_log_evidence(log_likelihood, x, latent_dim=2, points=321)
    assert (value - finer).abs().max() < 1e-9


def test_the_density_of_a_network_integrates_to_one():
    u = torch.linspace(-4.5, 4.5, 121, dtype=torch.float64)
    x = torch.cartesian_prod(u, u)
    log_likelihood = gaussian_log_likelihood(mlp(1), VARIANCE)
    density = grid_log_evidence(log_likelihood, x, latent_dim=1, points=161).exp().view(121, 121)
    total = torch.trapezoid(torch.trapezoid(density, u), u)
    assert total.item() == pytest.approx(1.0, abs=1e-7)


def test_the_error_is_the_one_the_documentation_states():
    # posterior width s: the factor is off by at most 2 exp(-2 pi^2 s^2 / h^2)
    one = torch.ones(1, 1, dtype=torch.float64)
    model = LinearGaussianModel(one, 0 * one[0], 0.0025)
    x = torch.linspace(-2, 2, 41, dtype=torch.float64).unsqueeze(-1)
    width = model.posterior(x).stddev[0].item()
    for ratio in (1.0, 1.3, 2.0):  # spacing in units of the posterior's width
        points = round(16 / (ratio * width)) + 1
        spacing = 16 / (points - 1)
        value = grid_log_evidence(model.log_likelihood, x, latent_dim=1, points=points)
        error = (value - model.log_evidence(x)).abs().max().item()
        stated = 2 * math.exp(-2 * math.pi**2 * width**2 / spacing**2)
        assert 0.3 * stated < error < 1.05 * stated + 1e-12


def test_the_rule_itself_on_three_nodes():
    # half_width 1, nodes -1, 0, 1: the ends count half
    x = torch.zeros(1, 1, dtype=torch.float64)
    value = grid_log_evidence(
        lambda x, z: z.sum(-1, keepdim=True).expand(-1, 1), x, latent_dim=1, points=3, half_width=1
    )
    nodes = np.array([-1.0, 0.0, 1.0])
    expected = np.trapezoid(np.exp(nodes - nodes**2 / 2) / np.sqrt(2 * np.pi), nodes)
    assert value.exp().item() == pytest.approx(expected, rel=1e-14)
    value = grid_log_evidence(
        lambda x, z: (z[:, :1] + z[:, 1:] ** 2).expand(-1, 1),
        x,
        latent_dim=2,
        points=3,
        half_width=1,
    )
    other = np.trapezoid(np.exp(nodes**2 - nodes**2 / 2) / np.sqrt(2 * np.pi), nodes)
    assert value.exp().item() == pytest.approx(expected * other, rel=1e-14)


@pytest.mark.parametrize("latent", [1, 2])
def test_pieces_do_not_show_and_bound_the_memory(monkeypatch, latent):
    model = linear(4, latent, 0.3)
    x = model.sample(3)
    whole = grid_log_evidence(model.log_likelihood, x, latent_dim=latent, points=41)
    sizes = []

    def watched(x, z):
        sizes.append(z.shape)
        return model.log_likelihood(x, z)

    monkeypatch.setattr(grid, "NUMBERS_AT_ONCE", 7 * x.numel())
    pieces = grid_log_evidence(watched, x, latent_dim=latent, points=41)
    torch.testing.assert_close(pieces, whole, rtol=1e-13, atol=0)
    assert max(rows for rows, _ in sizes) == 7
    assert sum(rows for rows, _ in sizes) == 41**latent
    assert {columns for _, columns in sizes} == {latent}


def test_one_value_per_example_whatever_its_neighbours():
    model = linear(4, 1, 0.3)
    x = model.sample(5)
    value = grid_log_evidence(model.log_likelihood, x, latent_dim=1, points=101)
    order = torch.randperm(5)
    shuffled = grid_log_evidence(model.log_likelihood, x[order], latent_dim=1, points=101)
    torch.testing.assert_close(shuffled, value[order], rtol=1e-13, atol=0)
    alone = [grid_log_evidence(model.log_likelihood, r, latent_dim=1, points=101) for r in x.split(1)]
    torch.testing.assert_close(torch.cat(alone), value, rtol=1e-13, atol=0)


def test_evidence_far_below_the_smallest_float():
    model = linear(50, 1, 0.3)
    x = model.sample(2) + 100.0
    value = grid_log_evidence(model.log_likelihood, x, latent_dim=1, half_width=200, points=20_001)
    assert (value < -5000).all()
    torch.testing.assert_close(value, model.log_evidence(x), rtol=1e-10, atol=0)


def test_precision_images_and_gradients():
    seen = []
    weight = torch.ones(1, requires_grad=True)

    def log_likelihood(x, z):
        seen.append(z.dtype)
        return -((x.flatten(1).sum(-1) - z) ** 2) * weight

    for x, dtype in [
        (torch.zeros(2, 3, 3), torch.float32),
        (torch.zeros(2, 9).double(), torch.float64),
        (torch.zeros(2, 3, 3, dtype=torch.uint8), torch.float64),
    ]:
        value = grid_log_evidence(log_likelihood, x, latent_dim=1)
        assert seen[-1] == dtype
        assert value.dtype == torch.float64
        assert not value.requires_grad  # memory stays flat
        # E exp(-z^2) under the standard normal is 1 / sqrt(3)
        assert value.exp().tolist() == pytest.approx([1 / math.sqrt(3)] * 2, rel=1e-6)


def test_an_x_that_cannot_occur():
    value = grid_log_evidence(
        lambda x, z: torch.full((len(z), 1), -math.inf), torch.zeros(1, 1), latent_dim=1
    )
    assert value.item() == -math.inf


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 3}, "latent_dim is 3; wanted 1 or 2"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"points": 1}, "points is 1; wanted an integer of at least 2"),
        ({"points": 0}, "points is 0"),
        ({"points": 10.5}, r"points is 10\.5; wanted an integer"),
        ({"half_width": 0.0}, r"half_width is 0\.0"),
        ({"half_width": math.nan}, "half_width is nan"),
        ({"x": torch.zeros(0, 2)}, r"x has shape \(0, 2\)"),
        ({"x": torch.tensor(1.0)}, r"x has shape \(\)"),
        ({"x": torch.zeros(3, 0)}, r"x has shape \(3, 0\)"),
        ({"x": [[1.0]]}, r"x is of type list; wanted a torch\.Tensor"),
        ({"log_likelihood": lambda x, z: 0.0}, r"log_likelihood\(x, z\) is of type float"),
        (
            {"log_likelihood": lambda x, z: torch.zeros(len(x), len(z))},
            r"returned the shape \(3, 801\) for 801 rows of z and 3 of x; wanted \(rows, batch\)",
        ),
        ({"log_likelihood": lambda x, z: torch.zeros(len(z), 1)}, r"returned the shape \(801, 1\)"),
        ({"log_likelihood": lambda x, z: torch.full((len(z), 3), math.nan)}, "returned NaN"),
        ({"log_likelihood": lambda x, z: torch.full((len(z), 3), math.inf)}, r"returned NaN or \+inf"),
        ({"latent_dim": True}, "latent_dim is True"),
        ({"latent_dim": 2.0}, r"latent_dim is 2\.0"),
    ],
)
def test_refuses(arguments, message):
    defaults = {
        "log_likelihood": lambda x, z: torch.zeros(len(z), len(x)),
        "x": torch.zeros(3, 2),
        "latent_dim": 1,
    }
    with pytest.raises(ValueError, match=message):
        grid_log_evidence(**(defaults | arguments))
