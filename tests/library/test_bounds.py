"""bounds: against decimal arithmetic, enumeration over subsets, and finite differences."""

import itertools
import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib.bounds import effective_sample_size, elbo, eubo, iwae_bound, log_mean_exp
from vae_lib.laboratory import DiscreteLatentModel

getcontext().prec = 60
BOUNDS = [elbo, iwae_bound, eubo, effective_sample_size]


def log_weights(draw_seed: int, k: int, batch: int, spread: float = 3.0) -> torch.Tensor:
    rng = np.random.default_rng(draw_seed)
    return torch.tensor(rng.normal(-80.0, spread, (k, batch)))


def decimal_log_mean_exp(values: list[float]) -> float:
    return float((sum(Decimal(v).exp() for v in values) / len(values)).ln())


@settings(max_examples=40)
@given(st.lists(st.floats(-2000, 2000), min_size=1, max_size=8))
def test_log_mean_exp_agrees_with_sixty_digits(values):
    got = log_mean_exp(torch.tensor(values, dtype=torch.float64)).item()
    assert got == pytest.approx(decimal_log_mean_exp(values), rel=1e-14, abs=1e-13)


@pytest.mark.parametrize("shift", [-1e4, -105.0, 0.0, 1e4])
def test_log_mean_exp_neither_overflows_nor_underflows_in_float32(shift):
    x = torch.tensor([0.0, 1.0, 2.0]) + shift
    assert log_mean_exp(x).item() == pytest.approx(shift + 1.3089939, rel=2e-7, abs=2e-6)


def test_log_mean_exp_of_impossible_samples():
    inf = math.inf
    x = torch.tensor([[-inf, -inf, -inf], [-inf, 0.0, inf]])
    assert log_mean_exp(x).tolist() == [-inf, pytest.approx(-math.log(2)), inf]


def test_log_mean_exp_removes_the_dimension_asked_for():
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    for dim in (-3, -2, -1, 0, 1, 2):
        expected = x.exp().mean(dim).log()
        torch.testing.assert_close(log_mean_exp(x, dim=dim), expected, rtol=1e-13, atol=1e-13)


def test_values_by_hand():
    log_w = torch.tensor([[1.0, 4.0], [3.0, 4.0]], dtype=torch.float64).log()  # weights
    assert elbo(log_w).exp().tolist() == pytest.approx([math.sqrt(3.0), 4.0])
    assert eubo(log_w).exp().tolist() == pytest.approx([math.sqrt(3.0), 4.0])
    assert iwae_bound(log_w).exp().tolist() == pytest.approx([2.0, 4.0])
    assert effective_sample_size(log_w).tolist() == pytest.approx([1.6, 2.0])


def test_iwae_is_the_bound_and_not_the_weighted_sum_of_log_weights():
    # the "loss" of several published codes: right gradient, and a value too good by up to ln k
    log_w = log_weights(0, k=50, batch=200)
    surrogate = (torch.softmax(log_w, 0) * log_w).sum(0)
    exact = torch.tensor([decimal_log_mean_exp(column) for column in log_w.T.tolist()])
    torch.testing.assert_close(iwae_bound(log_w), exact.double(), rtol=1e-6, atol=0)
    assert (surrogate - iwae_bound(log_w)).mean() > 1.5


def test_more_samples_never_loosen_the_importance_weighted_bound():
    # for any weights, the mean of L over all subsets of k - 1 samples is at most L over the k
    log_w = log_weights(1, k=6, batch=5)
    for k in range(2, 7):
        rows = log_w[:k]
        smaller = [iwae_bound(rows[list(s)]) for s in itertools.combinations(range(k), k - 1)]
        assert (torch.stack(smaller).mean(0) <= iwae_bound(rows) + 1e-13).all()
    assert (elbo(log_w) <= iwae_bound(log_w)).all()
    torch.testing.assert_close(iwae_bound(log_w[:1]), elbo(log_w[:1]), rtol=0, atol=1e-13)


def test_gradient_of_iwae_is_the_normalised_weights():
    log_w = log_weights(2, k=4, batch=3).requires_grad_()
    assert torch.autograd.gradcheck(iwae_bound, log_w)
    (gradient,) = torch.autograd.grad(iwae_bound(log_w).sum(), log_w)
    weights = (log_w.detach() + 80).exp()
    torch.testing.assert_close(gradient, weights / weights.sum(0))


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 6))
def test_one_value_per_example_whatever_its_neighbours(seed, k, batch):
    log_w = log_weights(seed, k, batch)
    rng = np.random.default_rng(seed)
    samples, examples = rng.permutation(k), rng.permutation(batch)
    for function in BOUNDS:
        value = function(log_w)
        assert value.shape == (batch,)
        torch.testing.assert_close(function(log_w[samples]), value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(function(log_w[:, examples]), value[examples], rtol=0, atol=0)
        alone = torch.cat([function(column) for column in log_w.split(1, dim=1)])
        torch.testing.assert_close(alone, value, rtol=1e-12, atol=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_effective_sample_size_lies_between_one_and_k(seed, k):
    for spread in (0.0, 1.0, 500.0):
        size = effective_sample_size(log_weights(seed, k, 4, spread))
        assert (size >= 1 - 1e-12).all()
        assert (size <= k + 1e-12).all()
    assert effective_sample_size(log_weights(seed, k, 4, 0.0)).tolist() == pytest.approx([k] * 4)


def test_nan_stays_with_its_example():
    log_w = log_weights(3, k=3, batch=3)
    log_w[1, 1] = math.nan
    for function in BOUNDS:
        assert function(log_w).isnan().tolist() == [False, True, False]


def test_sampled_bounds_agree_with_the_exact_ones():
    model = DiscreteLatentModel([0.2, 0.5, 0.3], [[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])
    x = torch.tensor([0, 1])
    q = torch.tensor([[0.3, 0.4, 0.3], [0.6, 0.2, 0.2]], dtype=torch.float64)
    table = model.log_joint(x) - q.log()  # (batch, K)
    k, repeats = 3, 40_000

    def draws(probabilities):
        z = torch.multinomial(probabilities, k * repeats, replacement=True)  # (batch, k * repeats)
        return table.gather(1, z).view(2, repeats, k).permute(2, 1, 0).reshape(k, -1)

    for bound, source, exact in [
        (elbo, q, model.elbo(q, x)),
        (iwae_bound, q, model.iwae_bound(q, x, k)),
        (eubo, model.posterior(x), model.eubo(q, x)),
    ]:
        values = bound(draws(source)).view(repeats, 2)
        error = values.std(0) / math.sqrt(repeats)
        assert ((values.mean(0) - exact).abs() < 5 * error).all()
    # the power of the test: the three bounds lie far apart on this scale
    assert (model.eubo(q, x) - model.elbo(q, x)).min() > 20 * error.max()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", BOUNDS)
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
def test_log_mean_exp_refuses():
    with pytest.raises(ValueError, match=r"x has shape \(0, 2\).*at least one entry along dim 0"):
        log_mean_exp(torch.zeros(0, 2))
    with pytest.raises(ValueError, match=r"dim is 2; wanted a dimension of x"):
        log_mean_exp(torch.zeros(3, 2), dim=2)
    with pytest.raises(ValueError, match="dim is 0"):
        log_mean_exp(torch.tensor(1.0))
    for wrong in (1.0, "0", None, (0, 1)):
        with pytest.raises(ValueError, match=r"dim is .*; wanted a dimension of x"):
            log_mean_exp(torch.zeros(3, 2), dim=wrong)
    with pytest.raises(ValueError, match="x has dtype"):
        log_mean_exp(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"x is of type ndarray; wanted a torch\.Tensor"):
        log_mean_exp(np.zeros(3))


def test_the_type_checker_is_on():
    with pytest.raises(Exception, match="log_w"):
        elbo(torch.zeros(2, 3, 4))
