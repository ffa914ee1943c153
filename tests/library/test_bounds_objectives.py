"""beta-ELBO and free bits: against the closed forms of one principal direction, and by hand."""

import math

import pytest
import torch

from vae_lib.bounds import beta_elbo, free_bits
from vae_lib.laboratory import LinearGaussianModel

EIGENVALUE, VARIANCE = 4.0, 0.25
LOG_EVIDENCE = -0.5 * math.log(2 * math.pi * EIGENVALUE) - 0.5  # the largest possible mean of ln p


def optimum() -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction and rate of the best linear VAE, averaged over data of variance 4: each (1,).

    Two data points at plus and minus 2 have this variance and no other moment matters.
    """
    weight = torch.tensor([[math.sqrt(EIGENVALUE - VARIANCE)]], dtype=torch.float64)
    model = LinearGaussianModel(weight, torch.zeros(1, dtype=torch.float64), VARIANCE)
    x = torch.tensor([[2.0], [-2.0]], dtype=torch.float64)
    encoder = model.best_encoder()
    reconstruction = model.elbo(x, *encoder, beta=0.0)
    return reconstruction.mean(0, True), (reconstruction - model.elbo(x, *encoder)).mean(0, True)


def test_numbers_of_the_course():
    """E ln p = -2.1121; beta = .5 reports -1.419, above it; beta = 2 -3.498; two free nats -2.726."""
    reconstruction, rate = optimum()
    assert rate.item() == pytest.approx(0.5 * math.log(EIGENVALUE / VARIANCE), abs=1e-12)
    assert pytest.approx(-2.1121, abs=5e-5) == LOG_EVIDENCE
    assert beta_elbo(reconstruction, rate, 1).item() == pytest.approx(LOG_EVIDENCE, abs=1e-12)
    assert beta_elbo(reconstruction, rate, 0.5).item() == pytest.approx(-1.419, abs=5e-4)
    assert beta_elbo(reconstruction, rate, 2.0).item() == pytest.approx(-3.498, abs=5e-4)
    free = reconstruction - free_bits(rate.unsqueeze(1), floor=2.0)
    assert free.item() == pytest.approx(-2.726, abs=5e-4)
    # which of them are bounds
    assert beta_elbo(reconstruction, rate, 0.5).item() > LOG_EVIDENCE
    assert beta_elbo(reconstruction, rate, 2.0).item() < LOG_EVIDENCE
    assert free.item() < LOG_EVIDENCE


@pytest.mark.parametrize("beta", [0, 0.3, 1.0, 2, 5.5])
def test_beta_elbo_is_the_closed_form_of_the_linear_vae(beta):
    torch.manual_seed(3)
    model = LinearGaussianModel(
        torch.randn(4, 2, dtype=torch.float64), torch.zeros(4, dtype=torch.float64), 0.4
    )
    x = torch.randn(6, 4, dtype=torch.float64)
    weight, variance = torch.randn(2, 4, dtype=torch.float64), torch.tensor([0.3, 1.4], dtype=torch.float64)
    q = torch.distributions.MultivariateNormal(x @ weight.T, torch.diag(variance))
    prior = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    rate = torch.distributions.kl_divergence(q, prior)
    # E ln p(x|z) of a Gaussian decoder: at the mean, minus half the trace of its spread
    at_mean = torch.distributions.Normal(q.mean @ model.weight.T, model.variance.sqrt()).log_prob(x).sum(-1)
    spread = torch.trace(model.weight @ torch.diag(variance) @ model.weight.T) / (2 * model.variance)
    value = beta_elbo(at_mean - spread, rate, beta)
    torch.testing.assert_close(value, model.elbo(x, weight, variance, beta=beta), rtol=1e-12, atol=1e-12)
    assert value.shape == (6,)


def test_free_bits_by_hand():
    kl = torch.tensor([[0.0, 4.0, 0.1], [3.0, 0.0, 0.3]], dtype=torch.float64)
    assert free_bits(kl, 1.0).tolist() == pytest.approx([1.5, 2.0, 1.0])
    assert free_bits(kl, 0).tolist() == pytest.approx([1.5, 2.0, 0.2])
    assert free_bits(kl, 10).tolist() == [10.0, 10.0, 10.0]


def test_the_maximum_is_on_the_mean_over_the_minibatch_and_not_on_each_example():
    kl = torch.tensor([[0.0], [3.0]], dtype=torch.float64)
    per_example = kl.clamp(min=1.0).mean().item()
    assert per_example == 2.0
    assert free_bits(kl, 1.0).item() == 1.5
    # nor on the sum over the groups: one group may not pay for another
    assert free_bits(torch.tensor([[5.0, 0.0]]), 2.0).tolist() == [5.0, 2.0]


def test_a_group_under_the_floor_has_no_gradient():
    kl = torch.tensor([[0.0, 4.0, 0.1], [3.0, 0.0, 0.3]], dtype=torch.float64, requires_grad=True)
    free_bits(kl, 1.0).sum().backward()
    assert kl.grad.tolist() == [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]


def test_free_bits_never_cost_less_than_the_rate():
    for seed in range(20):
        torch.manual_seed(seed)
        kl = torch.rand(8, 5, dtype=torch.float64) * 2
        order = torch.randperm(8)
        cost = free_bits(kl, 0.9)
        assert cost.shape == (5,)
        assert (cost >= kl.mean(0)).all()
        assert (cost >= 0.9).all()
        torch.testing.assert_close(free_bits(kl[order], 0.9), cost, rtol=1e-14, atol=0)
        torch.testing.assert_close(free_bits(kl[:1], 0.9), kl[0].clamp(min=0.9), rtol=0, atol=0)


def test_nan_stays_with_its_group_and_its_example():
    kl = torch.tensor([[0.0, math.nan], [1.0, 2.0]])
    assert free_bits(kl, 1.0).isnan().tolist() == [False, True]
    value = beta_elbo(torch.tensor([1.0, math.nan]), torch.tensor([1.0, 1.0]), 2.0)
    assert value.isnan().tolist() == [False, True]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: free_bits(torch.zeros(3), 1.0), r"kl has shape \(3,\); wanted \(batch, groups\)"),
        (lambda: free_bits(torch.zeros(0, 3), 1.0), r"kl has shape \(0, 3\); .*at least one row"),
        (lambda: free_bits(torch.zeros(2, 3, dtype=torch.long), 1.0), "kl has dtype"),
        (lambda: free_bits(torch.zeros(2, 3), -0.1), r"floor is -0\.1; .* of at least 0"),
        (lambda: free_bits(torch.zeros(2, 3), math.inf), "floor is inf"),
        (lambda: free_bits(torch.zeros(2, 3), math.nan), "floor is nan"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(3, 1), 1), r"rate has shape \(3, 1\); .* \(3,\)"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(1), 1), r"rate has shape \(1,\)"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(3), -1), "beta is -1; wanted .* at least 0"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(3), math.nan), "beta is nan"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(3), "4"), "beta is '4'; wanted a number"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(3), None), "beta is None; wanted a number"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(3), True), "beta is True; wanted a number"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(3), math.inf), "beta is inf"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(3), torch.ones(3)), r"beta has shape \(3,\); wanted"),
        (lambda: beta_elbo(torch.zeros(3).long(), torch.zeros(3), 1), "reconstruction has dtype"),
        (lambda: beta_elbo(torch.zeros(3), torch.zeros(3).long(), 1), "rate has dtype"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
