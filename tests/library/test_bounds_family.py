"""MIWAE, PIWAE, CIWAE, CUBO and the upper bounds: by hand, by loops over single groups, refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib.bounds import (
    ciwae,
    cubo,
    dreg_surrogate,
    elbo,
    eubo,
    iwae_bound,
    iwae_eubo,
    iwae_surrogate,
    miwae_bound,
    piwae,
    sandwich,
)

GROUPED = {
    "miwae_bound": miwae_bound,
    "theta": lambda log_w: piwae(log_w).theta,
    "phi": lambda log_w: piwae(log_w).phi,
    "ciwae": lambda log_w: ciwae(log_w, beta=0.3),
}


def weights(seed: int, *shape: int, spread: float = 2.0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(-50.0, spread, shape))


def test_values_by_hand():
    # groups (1, 3, 5) and (27, 27, 27); the second example has equal weights
    log_w = torch.tensor([[[1.0, 2], [3, 2], [5, 2]], [[27, 2], [27, 2], [27, 2]]]).double().log()
    assert log_w.shape == (2, 3, 2)
    assert miwae_bound(log_w).exp().tolist() == pytest.approx([9.0, 2.0])
    assert piwae(log_w).theta.exp().tolist() == pytest.approx([15.0, 2.0])
    assert piwae(log_w).phi.exp().tolist() == pytest.approx([9.0, 2.0])
    geometric = (15 * 27**3) ** (1 / 6)
    assert ciwae(log_w, beta=1).exp().tolist() == pytest.approx([geometric, 2.0])
    assert ciwae(log_w, beta=0).exp().tolist() == pytest.approx([9.0, 2.0])
    assert ciwae(log_w, beta=0.25).exp().tolist() == pytest.approx([geometric**0.25 * 9**0.75, 2.0])


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_groups_are_averaged_outside_and_samples_inside_the_logarithm(seed, m, k, batch):
    log_w = weights(seed, m, k, batch)  # m and k differ: an exchange of the axes shows
    groups = torch.stack([iwae_bound(group) for group in log_w])  # (m, batch)
    torch.testing.assert_close(miwae_bound(log_w), groups.mean(0), rtol=1e-13, atol=1e-12)
    torch.testing.assert_close(piwae(log_w).phi, groups.mean(0), rtol=1e-13, atol=1e-12)
    together = iwae_bound(log_w.reshape(m * k, batch))
    torch.testing.assert_close(piwae(log_w).theta, together, rtol=1e-13, atol=1e-12)
    mixed = 0.3 * log_w.mean((0, 1)) + 0.7 * groups.mean(0)
    torch.testing.assert_close(ciwae(log_w, 0.3), mixed, rtol=1e-13, atol=1e-12)
    # looser and looser: one logarithm, m of them, m k of them
    flat = elbo(log_w.flatten(0, 1))
    assert (piwae(log_w).theta >= miwae_bound(log_w) - 1e-12).all()
    assert (miwae_bound(log_w) >= ciwae(log_w, 0.3) - 1e-12).all()
    assert (ciwae(log_w, 0.3) >= flat - 1e-12).all()


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_one_value_per_example_whatever_its_neighbours(seed, m, k, batch):
    log_w = weights(seed, m, k, batch)
    rng = np.random.default_rng(seed)
    groups, samples, examples = rng.permutation(m), rng.permutation(k), rng.permutation(batch)
    for function in GROUPED.values():
        value = function(log_w)
        assert value.shape == (batch,)
        torch.testing.assert_close(function(log_w[groups][:, samples]), value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(function(log_w[..., examples]), value[examples], rtol=0, atol=0)
        alone = torch.cat([function(column) for column in log_w.split(1, dim=-1)])
        torch.testing.assert_close(alone, value, rtol=1e-12, atol=1e-12)
    log_w, posterior = weights(seed, k, batch), weights(seed + 1, m, batch)
    for function in (iwae_eubo, lambda a, b: sandwich(a, b).lower, lambda a, b: sandwich(a, b).upper):
        value = function(log_w, posterior)
        assert value.shape == (batch,)
        torch.testing.assert_close(function(log_w[samples], posterior[groups]), value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            function(log_w[:, examples], posterior[:, examples]), value[examples], rtol=0, atol=0
        )
    for function in (cubo, iwae_surrogate, dreg_surrogate):
        value = function(log_w)
        assert value.shape == (batch,)
        torch.testing.assert_close(function(log_w[samples]), value, rtol=1e-12, atol=1e-12)
        alone = torch.cat([function(column) for column in log_w.split(1, dim=1)])
        torch.testing.assert_close(alone, value, rtol=1e-12, atol=1e-12)


def test_each_posterior_sample_stands_alone_among_those_of_the_encoder():
    log_w, posterior = weights(0, 3, 4), weights(1, 5, 4)
    one_by_one = [iwae_bound(torch.cat([row.unsqueeze(0), log_w])) for row in posterior]
    torch.testing.assert_close(
        iwae_eubo(log_w, posterior), torch.stack(one_by_one).mean(0), rtol=1e-13, atol=1e-12
    )
    # two posterior samples in one sum would be another number
    assert (iwae_bound(torch.cat([posterior, log_w])) - iwae_eubo(log_w, posterior)).abs().min() > 1e-3


def test_the_phi_of_piwae_and_miwae_share_their_gradient_and_theta_is_that_of_one_large_sum():
    log_w = weights(4, 2, 3, 5).requires_grad_()
    (phi,) = torch.autograd.grad(piwae(log_w).phi.sum(), log_w)
    normalised = torch.softmax(log_w.detach(), dim=1) / 2  # within each group of three
    torch.testing.assert_close(phi, normalised, rtol=1e-12, atol=1e-14)
    (theta,) = torch.autograd.grad(piwae(log_w).theta.sum(), log_w)
    large = torch.softmax(log_w.detach().flatten(0, 1), dim=0).view_as(log_w)
    torch.testing.assert_close(theta, large, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shift", [-1e4, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neither_overflow_nor_underflow(shift, dtype):
    base = torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]], dtype=dtype)  # (k, batch)
    moved = base + shift
    tolerance = {"rtol": 0, "atol": 5e-3 if dtype == torch.float32 else 1e-8}
    for function in (cubo, lambda t: iwae_eubo(t[1:], t[:1]), lambda t: miwae_bound(t.unsqueeze(0))):
        torch.testing.assert_close(function(moved) - shift, function(base), **tolerance)


def test_nan_stays_with_its_example():
    log_w = weights(3, 2, 3, 3)
    log_w[0, 1, 1] = math.nan
    for function in GROUPED.values():
        assert function(log_w).isnan().tolist() == [False, True, False]
    table = log_w[0]
    for function in (cubo, iwae_surrogate, dreg_surrogate, lambda t: iwae_eubo(t, table[:1])):
        assert function(table).isnan().tolist() == [False, True, False]


def test_impossible_samples_count_as_weight_zero():
    log_w = torch.tensor([[0.0], [-math.inf], [-math.inf], [0.0]])
    assert cubo(log_w).item() == pytest.approx(0.5 * math.log(0.5))
    assert iwae_eubo(log_w, torch.tensor([[0.0]])).item() == pytest.approx(math.log(3 / 5))
    assert miwae_bound(log_w.view(2, 2, 1)).item() == pytest.approx(-math.log(2))
    # the ends of the mixture are the two bounds themselves, not 0 times minus infinity
    assert ciwae(log_w.view(2, 2, 1), beta=0).item() == pytest.approx(-math.log(2))
    for beta in (0, 0.5, 1):
        assert ciwae(log_w[1:3].view(1, 2, 1), beta).item() == -math.inf


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", GROUPED.values(), ids=GROUPED)
@pytest.mark.parametrize(
    ("log_w", "got"),
    [
        (torch.zeros(3, 2), r"shape \(3, 2\)"),
        (torch.zeros(1, 2, 3, 4), r"shape \(1, 2, 3, 4\)"),
        (torch.zeros(0, 2, 3), "m = 0"),
        (torch.zeros(2, 0, 3), "k = 0"),
        (torch.zeros(2, 2, 3, dtype=torch.long), "int64"),
    ],
)
def test_refuses_what_is_no_table_of_groups(function, log_w, got):
    with pytest.raises(ValueError, match=rf"log_w has .*{got}.*wanted"):
        function(log_w)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", [cubo, iwae_surrogate, dreg_surrogate, lambda t: sandwich(t, t)])
@pytest.mark.parametrize(
    ("log_w", "got"),
    [
        (torch.zeros(3), r"\(3,\)"),
        (torch.zeros(2, 3, 4), r"\(2, 3, 4\)"),
        (torch.zeros(0, 3), "k = 0"),
        (torch.zeros(2, 3, dtype=torch.long), "int64"),
    ],
)
def test_refuses_what_is_no_table_of_log_weights(function, log_w, got):
    with pytest.raises(ValueError, match=rf"log_w has .*{got}.*wanted"):
        function(log_w)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: cubo(t, order=0.5), r"order is 0\.5; wanted a finite number of at least 1"),
        (lambda t: cubo(t, order=math.inf), "order is inf"),
        (lambda t: cubo(t, order=math.nan), "order is nan"),
        (lambda t: ciwae(t.unsqueeze(0), -0.1), r"beta is -0\.1; wanted a finite number from 0 to 1"),
        (lambda t: ciwae(t.unsqueeze(0), 1.1), r"beta is 1\.1"),
        (lambda t: ciwae(t.unsqueeze(0), math.nan), "beta is nan"),
        (lambda t: ciwae(t.unsqueeze(0), t[0]), r"beta has shape \(3,\); wanted a single number"),
        (lambda t: iwae_eubo(t, t[:, :1]), r"log_w_posterior has shape \(2, 1\); wanted \(m, 3\)"),
        (lambda t: sandwich(t, t[0]), r"log_w_posterior has shape \(3,\)"),
        (lambda t: sandwich(t, t[:0]), r"log_w_posterior has .*k = 0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 3))


def test_eubo_is_what_remains_without_samples_of_the_encoder():
    posterior = weights(7, 4, 2)
    impossible = torch.full((1, 2), -math.inf, dtype=torch.float64)
    expected = eubo(posterior) - math.log(2)  # a second weight of zero halves each mean
    torch.testing.assert_close(iwae_eubo(impossible, posterior), expected, rtol=1e-13, atol=1e-13)
