"""DiscreteLatentModel: against exact fractions, itertools and SciPy."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib import bounds
from vae_lib.laboratory import DiscreteLatentModel

SEEDS = st.integers(0, 10**6)


def random_case(seed: int, latents: int, symbols: int):
    """A model, every symbol once, and one random encoder row for each."""
    rng = np.random.default_rng(seed)
    prior = torch.tensor(rng.dirichlet(np.ones(latents)))
    likelihood = torch.tensor(rng.dirichlet(np.ones(symbols), size=latents))
    q = torch.tensor(rng.dirichlet(np.ones(latents), size=symbols))
    return DiscreteLatentModel(prior, likelihood), torch.arange(symbols), q


def enumerated_iwae(q: list[float], w: list[float], k: int) -> float:
    """E ln mean(w), one tuple after another."""
    return math.fsum(
        math.prod(q[z] for z in tuple_) * math.log(math.fsum(w[z] for z in tuple_) / k)
        for tuple_ in itertools.product(range(len(q)), repeat=k)
        if all(q[z] > 0 for z in tuple_)
    )


def test_evidence_and_posterior_in_exact_fractions():
    prior = [Fraction(1, 6), Fraction(1, 3), Fraction(1, 2)]
    likelihood = [
        [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4), Fraction(0)],
        [Fraction(1, 8), Fraction(1, 8), Fraction(1, 4), Fraction(1, 2)],
        [Fraction(0), Fraction(1, 5), Fraction(3, 5), Fraction(1, 5)],
    ]
    model = DiscreteLatentModel([float(p) for p in prior], [[float(p) for p in row] for row in likelihood])
    x = torch.tensor([3, 0, 2, 1, 0])
    evidence = [sum(p * row[s] for p, row in zip(prior, likelihood, strict=True)) for s in x]
    posterior = [
        [float(p * row[s] / e) for p, row in zip(prior, likelihood, strict=True)]
        for s, e in zip(x, evidence, strict=True)
    ]
    np.testing.assert_allclose(model.log_evidence(x).exp(), [float(e) for e in evidence], 1e-15)
    np.testing.assert_allclose(model.posterior(x), posterior, rtol=1e-15)
    np.testing.assert_allclose(
        model.log_joint(x).exp(), model.posterior(x) * model.log_evidence(x).exp()[:, None], 1e-14
    )


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 6), st.integers(1, 8))
def test_the_two_gaps_are_the_two_divergences(seed, latents, symbols):
    model, x, q = random_case(seed, latents, symbols)
    log_evidence, posterior = model.log_evidence(x), model.posterior(x).numpy()
    assert abs(log_evidence.exp().sum().item() - 1) < 1e-12
    assert np.abs(posterior.sum(-1) - 1).max() < 1e-12
    below = torch.tensor(scipy.special.rel_entr(q.numpy(), posterior).sum(-1))
    above = torch.tensor(scipy.special.rel_entr(posterior, q.numpy()).sum(-1))
    assert (log_evidence - model.elbo(q, x) - below).abs().max() < 1e-12
    assert (model.eubo(q, x) - log_evidence - above).abs().max() < 1e-12
    assert (model.kl_to_posterior(q, x) - below).abs().max() < 1e-12
    exact = torch.tensor(posterior)
    assert (model.elbo(exact, x) - log_evidence).abs().max() < 1e-12
    assert (model.eubo(exact, x) - log_evidence).abs().max() < 1e-12


@settings(max_examples=20)
@given(SEEDS, st.integers(2, 4), st.integers(1, 4))
def test_elbo_below_iwae_below_evidence_below_eubo(seed, latents, symbols):
    model, x, q = random_case(seed, latents, symbols)
    ladder = [model.elbo(q, x)]
    ladder += [model.iwae_bound(q, x, k) for k in range(1, 7)]
    ladder += [model.log_evidence(x), model.eubo(q, x)]
    assert (ladder[0] - ladder[1]).abs().max() < 1e-12  # L_1 is the ELBO
    for lower, upper in itertools.pairwise(ladder[1:]):
        assert (lower < upper).all()


@settings(max_examples=15)
@given(SEEDS, st.integers(1, 4), st.integers(1, 5))
def test_iwae_agrees_with_one_tuple_after_another(seed, latents, k):
    model, x, q = random_case(seed, latents, 3)
    w = (model.log_joint(x) - q.log()).exp()
    expected = [enumerated_iwae(a.tolist(), b.tolist(), k) for a, b in zip(q, w, strict=True)]
    expected = torch.tensor(expected, dtype=torch.float64)
    assert (model.iwae_bound(q, x, k) - expected).abs().max() < 1e-12


def test_the_published_ladder():
    # computed before this library existed, by other code: research/teaching.md 6.1
    rng = np.random.default_rng(0)
    prior, likelihood = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(7), size=5)
    q = torch.tensor(rng.dirichlet(np.ones(5))).unsqueeze(0)
    model, x = DiscreteLatentModel(torch.tensor(prior), torch.tensor(likelihood)), torch.tensor([0])
    ladder = [model.iwae_bound(q, x, k).item() for k in range(1, 7)]
    assert ladder == pytest.approx([-3.40799, -2.52811, -2.23672, -2.09783, -2.01442, -1.95784], abs=1e-5)
    assert model.log_evidence(x).item() == pytest.approx(-1.69222, abs=5e-6)


def test_the_slip_of_the_note_is_not_a_bound():
    # q(z) where q(z|x) belongs: a "lower bound" of +0.4105 on a log-probability of -0.6931
    model = DiscreteLatentModel([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]])
    x, q = torch.tensor([0, 1]), torch.tensor([[0.99, 0.01], [0.01, 0.99]], dtype=torch.float64)
    aggregate = (model.log_evidence(x).exp().unsqueeze(-1) * q).sum(0)
    slip = (aggregate * (model.log_joint(x) - q.log())).sum(-1)
    assert model.log_evidence(x)[0].item() == pytest.approx(-math.log(2), abs=1e-15)
    assert round(model.elbo(q, x)[0].item(), 4) == -0.7645
    assert round(slip[0].item(), 4) == 0.4105


@settings(max_examples=20)
@given(SEEDS, st.integers(1, 6))
def test_one_value_per_example_whatever_its_neighbours(seed, batch):
    model, _, _ = random_case(seed, 3, 5)
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.integers(0, 5, batch))  # repeated symbols, other encoders
    q = torch.tensor(rng.dirichlet(np.ones(3), size=batch))
    order = rng.permutation(batch)
    for method in (model.elbo, model.eubo, model.kl_to_posterior):
        value = method(q, x)
        assert value.shape == (batch,)
        torch.testing.assert_close(method(q[order], x[order]), value[order], rtol=0, atol=0)
        alone = torch.cat([method(q[i : i + 1], x[i : i + 1]) for i in range(batch)])
        torch.testing.assert_close(alone, value, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(
        model.iwae_bound(q[order], x[order], 3), model.iwae_bound(q, x, 3)[order], rtol=0, atol=0
    )


def test_zeros():
    model = DiscreteLatentModel([0.5, 0.5, 0.0], [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]])
    x = torch.tensor([0, 1])
    q = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    assert (model.log_evidence(x) - model.elbo(q, x) - model.kl_to_posterior(q, x)).abs().max() < 1e-15
    assert model.elbo(q, x)[1].item() == pytest.approx(math.log(0.25))  # the posterior
    assert model.eubo(q, x)[1].item() == pytest.approx(math.log(0.25))
    w = (model.log_joint(x)[0] - q[0].log()).exp().nan_to_num(0.0, posinf=0.0).tolist()
    assert model.iwae_bound(q, x, 3)[0].item() == pytest.approx(
        enumerated_iwae(q[0].tolist(), w, 3), abs=1e-14
    )
    # an encoder that proposes what cannot have produced x has no finite lower bound ...
    wrong = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]], dtype=torch.float64)
    assert model.elbo(wrong, x)[1].item() == -math.inf
    assert model.iwae_bound(wrong, x, 4)[1].item() == -math.inf
    assert model.kl_to_posterior(wrong, x)[1].item() == math.inf
    # ... and one that leaves out part of the posterior no finite upper bound
    narrow = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    assert model.eubo(narrow, x)[0].item() == math.inf
    assert model.elbo(narrow, x).isfinite().all()


def test_a_symbol_that_cannot_occur():
    model = DiscreteLatentModel([0.5, 0.5], [[1.0, 0.0], [1.0, 0.0]])
    assert model.log_evidence(torch.tensor([1])).item() == -math.inf
    with pytest.raises(ValueError, match="x holds the symbol 1, whose probability is 0"):
        model.posterior(torch.tensor([0, 1]))


def test_samples_follow_the_joint():
    model, _, _ = random_case(5, 3, 4)
    n = 40_000
    z, x = model.sample(n)
    assert z.shape == x.shape == (n,)
    counts = torch.bincount(z * 4 + x, minlength=12).double().view(3, 4)
    expected = model.prior.unsqueeze(-1) * model.likelihood
    error = (expected * (1 - expected) / n).sqrt()
    assert ((counts / n - expected).abs() < 5 * error).all()
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    first, second = (torch.stack(model.sample(50, g)) for g in generators)
    assert (first == second).all()


def test_own_samples_sandwich_the_evidence():
    # z drawn with x is a posterior sample, so the model bounds its own data from above
    model, symbols, q = random_case(6, 4, 5)
    z, x = model.sample(20_000)
    log_w = (model.log_joint(symbols) - q.log())[x, z].unsqueeze(0)
    upper = bounds.eubo(log_w)
    exact = (model.log_evidence(symbols).exp() * model.eubo(q, symbols)).sum()
    assert (upper.mean() - exact).abs() < 5 * upper.std() / math.sqrt(20_000)


def test_lists_become_float64_and_tensors_keep_their_precision():
    assert DiscreteLatentModel([0.5, 0.5], [[1.0], [1.0]]).prior.dtype == torch.float64
    single = DiscreteLatentModel(torch.tensor([0.5, 0.5]), torch.tensor([[0.5, 0.5], [0.2, 0.8]]))
    assert single.log_evidence(torch.tensor([0])).dtype == torch.float32
    assert repr(single) == "DiscreteLatentModel(K=2, M=2)"


def test_an_empty_batch():
    model, _, _ = random_case(0, 3, 4)
    x, q = torch.tensor([], dtype=torch.long), torch.zeros(0, 3, dtype=torch.float64)
    for value in (model.log_evidence(x), model.elbo(q, x)):
        assert value.shape == (0,)


def test_products_below_the_smallest_number_keep_the_order():
    # in float32 the product 1e-30 * 1e-30 is zero, and ln p(x) is not
    for dtype in (torch.float32, torch.float64):
        likelihood = torch.tensor([[1.0, 1e-30], [1.0, 0.0]], dtype=dtype)
        model = DiscreteLatentModel(torch.tensor([1e-30, 1.0], dtype=dtype), likelihood)
        x, q = torch.tensor([1]), torch.tensor([[1.0, 0.0]], dtype=dtype)
        assert model.log_evidence(x).item() == pytest.approx(-60 * math.log(10), rel=1e-6)
        assert model.posterior(x).tolist() == [[1.0, 0.0]]
        assert model.elbo(q, x) == model.log_evidence(x) == model.eubo(q, x) == model.iwae_bound(q, x, 3)


def test_gradients_survive_a_softmax_that_rounds_to_zero():
    logits = torch.tensor([[0.0, -1000.0, 1.0]], dtype=torch.float64, requires_grad=True)
    model, x, _ = random_case(1, 3, 1)
    smaller = DiscreteLatentModel(model.prior[[0, 2]] / model.prior[[0, 2]].sum(), torch.ones(2, 1).double())
    for value in (model.elbo, model.kl_to_posterior, lambda q, x: model.iwae_bound(q, x, 2)):
        (gradient,) = torch.autograd.grad(value(logits.softmax(-1), x).sum(), logits)
        assert gradient.isfinite().all()
        assert gradient[0, 1] == 0
    # as if the state that is never proposed did not exist
    (expected,) = torch.autograd.grad(smaller.elbo(logits[:, [0, 2]].softmax(-1), x).sum(), logits)
    (gradient,) = torch.autograd.grad(model.elbo(logits.softmax(-1), x).sum(), logits)
    assert (gradient - expected).abs().max() < 1e-12


@pytest.mark.usefixtures("unchecked")
class TestRefusals:
    @pytest.mark.parametrize(
        ("prior", "likelihood", "message"),
        [
            ([0.5, 0.6], [[1.0], [1.0]], r"prior holds a row that sums to 1\.1"),
            ([0.5, 0.5], [[0.5, 0.5], [0.5, 0.4]], r"likelihood holds a row that sums to 0\.9"),
            ([0.5, 0.5], [[1.0]], r"likelihood has shape \(1, 1\); wanted \(K, M\) with K = 2"),
            ([[0.5, 0.5]], [[1.0]], r"prior has shape \(1, 2\); wanted \(K,\)"),
            ([0.5, 0.5], [1.0, 1.0], r"likelihood has shape \(2,\)"),
            ([math.nan, 0.5], [[1.0], [1.0]], "prior holds 1 value that is NaN"),
            ([1.5, -0.5], [[1.0], [1.0]], r"prior holds the probability -0\.5"),
            ([0.5, 0.5], [[1.0], [0.5, 0.5]], "likelihood is .*; wanted numbers"),
            ("ab", [[1.0], [1.0]], "prior is 'ab'; wanted numbers"),
            ([0.5, 0.5], torch.ones(2, 1), "likelihood has dtype torch.float32; wanted that of prior"),
            # the columns sum to one, not the rows: a table given the wrong way round
            ([0.5, 0.5], [[0.9, 0.3], [0.1, 0.7]], r"likelihood holds a row that sums to"),
        ],
    )
    def test_models(self, prior, likelihood, message):
        with pytest.raises(ValueError, match=message):
            DiscreteLatentModel(prior, likelihood)

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (torch.tensor([4]), "x holds symbols from 4 to 4; wanted 0 to 3"),
            (torch.tensor([-1, 2]), "x holds symbols from -1 to 2"),
            (torch.tensor([0.0]), "x has dtype torch.float32; wanted torch.int64"),
            ([0, 1], r"x is of type list; wanted a torch\.Tensor"),
            (torch.tensor(1), r"x has shape \(\); wanted \(batch,\)"),
            (torch.tensor([[1]]), r"x has shape \(1, 1\)"),
        ],
    )
    def test_symbols(self, x, message):
        model, _, _ = random_case(0, 3, 4)
        for method in (model.log_evidence, model.posterior, model.log_joint):
            with pytest.raises(ValueError, match=message):
                method(x)

    @pytest.mark.parametrize(
        ("q", "message"),
        [
            (torch.full((1, 3), 1 / 3), r"q has shape \(1, 3\); wanted \(batch, K\) = \(2, 3\)"),
            (torch.full((3,), 1 / 3), r"q has shape \(3,\)"),
            (torch.full((2, 3), 0.3), r"q holds a row that sums to 0\.9"),
            (torch.full((2, 3), math.nan), "q holds 6 values that are NaN"),
        ],
    )
    def test_encoders(self, q, message):
        model, _, _ = random_case(0, 3, 4)
        x = torch.tensor([0, 1])
        calls = [model.elbo, model.eubo, model.kl_to_posterior]
        for method in [*calls, lambda q, x: model.iwae_bound(q, x, 2)]:
            with pytest.raises(ValueError, match=message):
                method(q, x)

    def test_counts(self):
        model, x, q = random_case(0, 3, 4)
        for k in (0, -1, 1.5, True):
            with pytest.raises(ValueError, match=f"k is {k}; wanted an integer of at least 1"):
                model.iwae_bound(q, x, k)
        for k in (14, 10**9):
            with pytest.raises(ValueError, match=rf"k is {k}, which makes 3\*\*{k} tuples; wanted at most 2"):
                model.iwae_bound(q, x, k)
        model, x, q = random_case(0, 1, 4)  # one state: one tuple, however many samples
        assert (model.iwae_bound(q, x, 10**9) - model.log_evidence(x)).abs().max() < 1e-15
        with pytest.raises(ValueError, match="n is 0"):
            model.sample(0)
