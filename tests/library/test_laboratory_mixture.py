"""BernoulliMixture: against exact fractions, all images of six pixels, and a rising likelihood."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib.laboratory import BernoulliMixture, DiscreteLatentModel

SEEDS = st.integers(0, 10**6)


def random_model(seed: int, components: int = 3, pixels: int = 6) -> BernoulliMixture:
    rng = np.random.default_rng(seed)
    weights = torch.tensor(rng.dirichlet(np.ones(components)))
    return BernoulliMixture(weights, torch.tensor(rng.uniform(0.02, 0.98, (components, pixels))))


def every_image(pixels: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0, 1], repeat=pixels)))


def test_exact_fractions():
    weights = [Fraction(1, 4), Fraction(3, 4)]
    theta = [[Fraction(1, 2), Fraction(1, 8), Fraction(0)], [Fraction(3, 8), Fraction(1), Fraction(1, 4)]]
    model = BernoulliMixture([float(w) for w in weights], [[float(t) for t in row] for row in theta])
    x = every_image(3)
    joint = [
        [w * math.prod(t if bit else 1 - t for t, bit in zip(row, image, strict=True))
         for w, row in zip(weights, theta, strict=True)]
        for image in x.tolist()
    ]  # fmt: skip
    np.testing.assert_allclose(model.log_joint(x).exp(), np.array(joint, float), rtol=1e-14)
    np.testing.assert_allclose(model.log_evidence(x).exp(), [float(sum(row)) for row in joint], rtol=1e-14)
    possible = [i for i, row in enumerate(joint) if sum(row)]
    assert len(possible) == 6  # image 001 and 101 need the second component, whose second pixel is 1
    posterior = [[float(j / sum(joint[i])) for j in joint[i]] for i in possible]
    np.testing.assert_allclose(model.posterior(x[possible]), posterior, rtol=1e-14)
    for i in set(range(8)) - set(possible):
        assert model.log_evidence(x)[i] == -math.inf
        with pytest.raises(ValueError, match=r"x holds an image of probability 0 \(row 1\)"):
            model.posterior(x[[possible[0], i, possible[1]]])


@settings(max_examples=25)
@given(SEEDS, st.integers(1, 5), st.integers(1, 7))
def test_a_linear_softmax_encoder_is_the_exact_posterior(seed, components, pixels):
    # teaching.md 6.2: all 64 images, the probabilities sum to one and max |ELBO - ln p| = 4e-15
    model = random_model(seed, components, pixels)
    x = every_image(pixels)
    assert abs(model.log_evidence(x).exp().sum().item() - 1) < 1e-13
    weight, bias = model.exact_encoder()
    assert weight.shape == (components, pixels)
    assert bias.shape == (components,)
    logits = x.to(torch.float64) @ weight.T + bias
    q = torch.softmax(logits, -1)
    assert (q - model.posterior(x)).abs().max() < 1e-13
    assert (logits - model.log_joint(x)).abs().max() < 1e-12
    # the oracle for the bound is the table model over all 2**D symbols
    likelihood = (model.log_joint(x) - model.weights.log()).exp().T
    table, symbols = DiscreteLatentModel(model.weights, likelihood), torch.arange(2**pixels)
    assert (table.elbo(q / q.sum(-1, keepdim=True), symbols) - model.log_evidence(x)).abs().max() < 1e-12
    assert (table.log_evidence(symbols) - model.log_evidence(x)).abs().max() < 1e-12


def test_another_linear_encoder_leaves_a_gap():
    model, x = random_model(3), every_image(6)
    weight, bias = model.exact_encoder()
    q = torch.softmax(x.to(torch.float64) @ (1.2 * weight).T + bias, -1)
    elbo = (q * (model.log_joint(x) - q.log())).sum(-1)
    assert (model.log_evidence(x) - elbo).max() > 0.01


def test_samples_follow_the_joint():
    model, n = random_model(5, components=2, pixels=3), 40_000
    k, x = model.sample(n)
    assert k.shape == (n,)
    assert x.shape == (n, 3)
    assert x.dtype == torch.float64
    code = (k * 8 + (x @ torch.tensor([4.0, 2.0, 1.0]).double()).long()).bincount(minlength=16)
    expected = model.log_joint(every_image(3)).exp().T.reshape(-1)
    error = (expected * (1 - expected) / n).sqrt()
    assert ((code / n - expected).abs() < 5 * error).all()
    # power: with the weights or the prototypes exchanged, some cell is more than 10 errors away
    other = BernoulliMixture(model.weights, model.probabilities.flip(0))
    wrong = other.log_joint(every_image(3)).exp().T.reshape(-1)
    assert ((wrong - expected).abs() > 10 * error).any()
    first, second = (torch.cat(model.sample(9, torch.Generator().manual_seed(1))[1:]) for _ in range(2))
    assert (first == second).all()


class TestFit:
    def test_the_likelihood_never_falls_and_ends_at_a_fixed_point(self):
        _, x = random_model(8, components=3, pixels=8).sample(400)
        values = []
        for steps in (1, 2, 3, 5, 10, 40, 400):
            model = BernoulliMixture.fit(x, 3, steps=steps, generator=torch.Generator().manual_seed(2))
            values.append(model.log_evidence(x).sum().item())
        assert all(b >= a - 1e-9 for a, b in itertools.pairwise(values))
        assert values[-1] - values[0] > 10
        # stationary: the gradient in every free direction is zero
        weights, theta = model.weights.clone().requires_grad_(), model.probabilities.clone().requires_grad_()
        BernoulliMixture(weights, theta).log_evidence(x).sum().backward()
        inside = (model.probabilities > 1e-3) & (model.probabilities < 1 - 1e-3)
        assert theta.grad[inside].abs().max() < 0.05
        assert (weights.grad - 400).abs().max() < 0.05  # Lagrange: all equal, to N

    def test_one_component_is_the_average_image(self):
        x = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=torch.uint8)
        model = BernoulliMixture.fit(x, 1)
        assert model.probabilities.tolist() == [[0.75, 0.75]]
        assert model.weights.tolist() == [1.0]

    def test_two_clear_prototypes_are_found(self):
        truth = BernoulliMixture([0.3, 0.7], [[0.95] * 10 + [0.05] * 10, [0.1] * 10 + [0.9] * 10])
        _, x = truth.sample(4000)
        model = BernoulliMixture.fit(x, 2, generator=torch.Generator().manual_seed(0))
        order = model.weights.argsort()
        error = (truth.probabilities * (1 - truth.probabilities) / (4000 * truth.weights[:, None])).sqrt()
        assert ((model.probabilities[order] - truth.probabilities).abs() < 5 * error).all()
        assert (model.weights[order] - truth.weights).abs().max() < 5 * math.sqrt(0.21 / 4000)

    def test_more_components_than_images(self):
        x = torch.tensor([[1, 0, 1], [0, 1, 0]])
        model = BernoulliMixture.fit(x, 5, steps=500)
        assert model.log_evidence(x).exp().sum().item() == pytest.approx(1.0, abs=1e-6)  # learned by heart
        assert model.log_evidence(x).exp()[0].item() == pytest.approx(0.5, abs=1e-6)


def test_one_value_per_example_whatever_its_neighbours_and_type():
    model = random_model(1)
    x = every_image(6)[torch.randperm(64)[:9]]
    order = torch.randperm(9)
    for method in (model.log_evidence, model.posterior, model.log_joint):
        torch.testing.assert_close(method(x[order]), method(x)[order], rtol=1e-14, atol=1e-15)
        torch.testing.assert_close(torch.cat([method(row) for row in x.split(1)]), method(x))
        for other in (x.float(), x.double(), x.bool(), x.to(torch.uint8)):
            assert (method(other) == method(x)).all()
    assert model.log_evidence(x[:0]).shape == (0,)
    assert repr(model) == "BernoulliMixture(K=3, D=6)"


def test_gradients_of_certain_pixels():
    theta = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 0.5]], dtype=torch.float64, requires_grad=True)
    model = BernoulliMixture(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), theta)
    model.log_evidence(torch.tensor([[1, 0]])).sum().backward()
    # p(1, 0) = 0.5 a (1 - b) + 0.3 c (1 - d) = 0.575; the third component cannot make this image
    expected = torch.tensor([[0.5, -0.5], [0.15, -0.15], [0.0, 0.0]], dtype=torch.float64) / 0.575
    assert (theta.grad - expected).abs().max() < 1e-15


def test_many_pixels_do_not_underflow():
    model = random_model(2, pixels=5000)
    _, x = model.sample(3)
    assert (model.log_evidence(x) < -1000).all()
    assert model.posterior(x).sum(-1).tolist() == pytest.approx([1.0] * 3)
    single = BernoulliMixture(model.weights.float(), model.probabilities.float())
    torch.testing.assert_close(single.log_evidence(x), model.log_evidence(x).float(), rtol=1e-5, atol=0)


@pytest.mark.usefixtures("unchecked")
class TestRefusals:
    @pytest.mark.parametrize(
        ("weights", "probabilities", "message"),
        [
            ([0.5, 0.6], [[0.5], [0.5]], r"weights holds a row that sums to 1\.1"),
            ([0.5, 0.5], [[0.5]], r"probabilities has shape \(1, 1\); wanted \(K, D\) with K = 2"),
            ([[1.0]], [[0.5]], r"weights has shape \(1, 1\); wanted \(K,\)"),
            ([1.0], [[1.5]], r"probabilities holds 1\.5; wanted all within \[0, 1\]"),
            ([1.0], [[-0.5]], r"probabilities holds -0\.5"),
            ([1.0], [[math.nan]], "probabilities holds 1 value that is NaN"),
            ([1.0], [[]], r"probabilities has shape \(1, 0\); wanted at least one pixel"),
            (torch.ones(1), torch.ones(1, 1).double(), "probabilities has dtype torch.float64; wanted that"),
        ],
    )
    def test_models(self, weights, probabilities, message):
        with pytest.raises(ValueError, match=message):
            BernoulliMixture(weights, probabilities)

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (torch.full((1, 6), 0.5), r"x holds 6 pixels that are not 0 or 1, such as 0\.5"),
            (torch.full((1, 6), 2), "such as 2; wanted binary images"),
            (torch.full((1, 6), math.nan), "x holds 6 pixels that are not 0 or 1, such as nan"),
            (torch.zeros(1, 5), r"x has shape \(1, 5\); wanted \(batch, D\) with D = 6"),
            (torch.zeros(6), r"x has shape \(6,\)"),
        ],
    )
    def test_images(self, x, message):
        model = random_model(0)
        for method in (model.log_joint, model.log_evidence, model.posterior):
            with pytest.raises(ValueError, match=message):
                method(x)

    def test_certain_pixels_have_no_linear_encoder(self):
        with pytest.raises(ValueError, match="probabilities holds 2 that are 0 or 1; wanted all strictly"):
            BernoulliMixture([1.0], [[0.0, 1.0, 0.5]]).exact_encoder()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"components": 0}, "components is 0; wanted an integer"),
            ({"steps": 0}, "steps is 0"),
            ({"x": torch.zeros(0, 3)}, r"x has shape \(0, 3\); wanted at least one example"),
            ({"x": torch.zeros(3)}, r"x has shape \(3,\); wanted \(N, D\)"),
            ({"x": torch.full((2, 2), 0.1)}, "pixels that are not 0 or 1"),
        ],
    )
    def test_fits(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            BernoulliMixture.fit(**({"x": torch.zeros(2, 2), "components": 1} | arguments))

    def test_counts(self):
        with pytest.raises(ValueError, match="n is 0"):
            random_model(0).sample(0)
