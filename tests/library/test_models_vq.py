"""The VQ-VAE: nearest entries by brute force, gradients by hand, terms kept apart."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from vae_lib.builders import vq_mlp_vae
from vae_lib.likelihoods import Gaussian
from vae_lib.models import VQVAE
from vae_lib.networks import Decoder, mlp
from vae_lib.training import TrainConfig, fit

DOUBLE = torch.float64
ENTRIES, SLOTS, SIZE = 7, 3, 2


@pytest.fixture
def model():
    vq = VQVAE(
        mlp(5, (6,), SLOTS * SIZE),
        Decoder(mlp(SLOTS * SIZE, (6,), 5), Gaussian(std=0.5)),
        entries=ENTRIES,
        size=SIZE,
        commitment=0.4,
    ).double()
    vq.codebook.data = torch.randn(ENTRIES, SIZE, dtype=DOUBLE)
    return vq


@pytest.fixture
def x():
    return torch.randn(8, 5, dtype=DOUBLE)


def test_the_nearest_entry_by_brute_force(model):
    vectors = torch.randn(20, SLOTS * SIZE, dtype=DOUBLE)
    indices, entries, through = model.quantise(vectors)
    book = model.codebook.tolist()
    for row, slot in itertools.product(range(20), range(SLOTS)):
        vector = vectors[row].tolist()[slot * SIZE : (slot + 1) * SIZE]
        distances = [math.dist(vector, entry) for entry in book]
        best = distances.index(min(distances))
        assert indices[row, slot].item() == best
        assert entries[row].tolist()[slot * SIZE : (slot + 1) * SIZE] == book[best]
    assert torch.equal(entries, through)
    assert len(indices.unique()) > 3


def test_of_an_encoder_that_returns_a_distribution_the_mean_is_quantised(model, x):
    plain = copy.deepcopy(model)
    model.encoder = Decoder(plain.encoder, Gaussian(std=3.0))
    for method in ("encode", "loss_terms", "reconstruct"):
        torch.testing.assert_close(getattr(model, method)(x), getattr(plain, method)(x), rtol=0, atol=0)


def test_near_an_entry_float32_still_finds_it(model):
    # entries 1e-3 apart, far from the origin: the expanded square would see no difference
    model = model.float()
    model.codebook.data = torch.stack([1000 + 1e-3 * torch.arange(ENTRIES), torch.zeros(ENTRIES)], -1)
    row = model.codebook.detach()[[5, 0, 3]].flatten().unsqueeze(0)
    assert model.quantise(row).indices.tolist() == [[5, 0, 3]]


def test_the_gradient_passes_straight_through(model, x):
    vectors = torch.randn(4, SLOTS * SIZE, dtype=DOUBLE, requires_grad=True)
    coefficients = torch.randn(4, SLOTS * SIZE, dtype=DOUBLE)
    through = model.quantise(vectors).straight_through
    grads = torch.autograd.grad((coefficients * through).sum(), [vectors, model.codebook], allow_unused=True)
    assert torch.equal(grads[0], coefficients)
    assert grads[1] is None
    # in the model: the encoder's gradient is the decoder's at the entries, pulled back by the encoder alone
    terms = model.terms(x)
    weight = model.encoder[0].weight
    (got,) = torch.autograd.grad(terms.reconstruction.sum(), weight, retain_graph=True)
    vectors = model.encoder(x)
    entries = model.quantise(vectors).entries.detach().requires_grad_()
    (at_entries,) = torch.autograd.grad(model.decoder(entries).log_prob(x).sum(), entries)
    (wanted,) = torch.autograd.grad(vectors, weight, at_entries)
    torch.testing.assert_close(got, wanted)
    assert got.abs().max() > 1e-3


def test_every_term_trains_its_own_part(model, x):
    parts = {
        "encoder": list(model.encoder.parameters()),
        "decoder": list(model.decoder.parameters()),
        "codebook": [model.codebook],
    }
    terms = model.terms(x)
    wanted = {
        "reconstruction": {"encoder", "decoder"},
        "codebook": {"codebook"},
        "commitment": {"encoder"},
    }
    for name, trained in wanted.items():
        for part, parameters in parts.items():
            grads = torch.autograd.grad(
                getattr(terms, name).sum(), parameters, allow_unused=True, retain_graph=True
            )
            moves = any(g is not None and g.abs().max() > 0 for g in grads)
            assert moves == (part in trained), (name, part)


def test_the_gradients_of_the_two_distances(model, x):
    # d/dc ||e - c||^2 = -2 sum of (e - c) over the vectors that chose c
    vectors = model.encoder(x).detach().view(8, SLOTS, SIZE)
    terms = model.terms(x)
    (grad,) = torch.autograd.grad(terms.codebook.sum(), model.codebook, retain_graph=True)
    wanted = torch.zeros(ENTRIES, SIZE, dtype=DOUBLE)
    for row, slot in itertools.product(range(8), range(SLOTS)):
        j = model.encode(x)[row, slot]
        wanted[j] -= 2 * (vectors[row, slot] - model.codebook.detach()[j])
    torch.testing.assert_close(grad, wanted)
    assert torch.equal(terms.codebook, terms.commitment)
    chosen = model.codebook.detach()[model.encode(x)]
    torch.testing.assert_close(terms.commitment, (vectors - chosen).square().sum((1, 2)))
    torch.testing.assert_close(terms.reconstruction, model.decode(model.encode(x)).log_prob(x))


def test_loss_terms_are_the_loss_of_the_paper(model, x):
    reconstruction, penalty = model.loss_terms(x, k=3)
    terms = model.terms(x)
    assert reconstruction.shape == penalty.shape == (8,)
    assert torch.equal(reconstruction, terms.reconstruction)
    torch.testing.assert_close(penalty, 1.4 * terms.codebook)
    (encoder_grad,) = torch.autograd.grad(penalty.sum(), model.encoder[0].bias, retain_graph=True)
    (alone,) = torch.autograd.grad(terms.commitment.sum(), model.encoder[0].bias)
    torch.testing.assert_close(encoder_grad, 0.4 * alone)


def test_one_value_per_example_whatever_its_neighbours(model, x):
    whole = model.terms(x)
    order = torch.randperm(8)
    for together, permuted in zip(whole, model.terms(x[order]), strict=True):
        torch.testing.assert_close(permuted, together[order])
    for i in range(8):
        for together, alone in zip(whole, model.terms(x[i : i + 1]), strict=True):
            torch.testing.assert_close(alone[0], together[i])


def test_it_claims_no_bound_and_generates_nothing(model, x):
    assert model.has_elbo is False
    assert not hasattr(model, "elbo")
    assert not hasattr(model, "sample")
    assert torch.equal(model.reconstruct(x), model.decode(model.encode(x)).mean)
    assert model.encode(x).dtype == torch.int64
    assert not model.reconstruct(x).requires_grad


def test_perplexity(model):
    # the encoder is told which entries to take: shares 1/2, 1/4, 1/8, 1/8 by design
    model.codebook.data = torch.arange(ENTRIES, dtype=DOUBLE).unsqueeze(-1).repeat(1, SIZE)
    model.encoder = nn.Identity()

    def rows(*entries):
        return torch.tensor(entries, dtype=DOUBLE).repeat_interleave(SIZE).view(-1, SIZE)

    assert model.perplexity(rows(0, 1, 2, 3, 4, 5, 6)).item() == pytest.approx(7.0, rel=1e-12)
    assert model.perplexity(rows(2, 2, 2)).item() == pytest.approx(1.0, rel=1e-12)
    bits = 1 / 2 * 1 + 1 / 4 * 2 + 2 * (1 / 8 * 3)
    assert model.perplexity(rows(0, 0, 0, 0, 1, 1, 2, 3)).item() == pytest.approx(2**bits, rel=1e-12)
    # several slots in one example count as several
    assert model.perplexity(rows(0, 1).view(1, -1)).item() == pytest.approx(2.0, rel=1e-12)


def test_fit_trains_it_and_reports_no_elbo():
    centres = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]])
    data = centres.repeat(64, 1) + 0.05 * torch.randn(256, 3)
    model = vq_mlp_vae(3, entries=8, slots=1, size=2, hidden=(16,), likelihood=Gaussian(std=0.3), seed=0)
    config = TrainConfig(epochs=60, batch_size=64, learning_rate=1e-2, progress=False)
    history = fit(model, data, config)
    assert all(math.isnan(value) for value in history.elbo)
    assert history.reconstruction[-1] > history.reconstruction[0] + 3
    assert model.perplexity(data) > 3
    assert (model.reconstruct(data) - centres.repeat(64, 1)).abs().mean() < 0.2


def test_builder():
    first, second, third = (vq_mlp_vae(6, hidden=(8,), seed=s).state_dict() for s in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))
    assert not torch.equal(first["codebook"], third["codebook"])
    assert first["codebook"].shape == (64, 4)
    assert first["codebook"].abs().max() <= 1 / 64
    state = torch.random.get_rng_state()
    vq_mlp_vae(6, hidden=(8,), seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(model, x):
    with pytest.raises(ValueError, match=r"x has shape \(5,\); wanted \(batch, pixels\)"):
        model.encode(x[0])
    with pytest.raises(ValueError, match=r"vectors has shape \(8, 5\); .* a multiple of size = 2"):
        model.quantise(x)
    with pytest.raises(ValueError, match=r"entries is 2\.5"):
        VQVAE(model.encoder, model.decoder, entries=2.5, size=SIZE)
    with pytest.raises(ValueError, match="x holds 40 values that are NaN"):
        model.terms(x * math.nan)
    with pytest.raises(ValueError, match="vectors holds 6 values that are NaN"):
        model.quantise(torch.full((1, 6), math.nan))
    with pytest.raises(ValueError, match="k is 0"):
        model.loss_terms(x, k=0)
    with pytest.raises(ValueError, match="indices holds 7; wanted whole numbers from 0 to 6"):
        model.decode(torch.tensor([[0, 7, 1]]))
    with pytest.raises(ValueError, match="indices holds -1"):
        model.decode(torch.tensor([[0, -1, 1]]))
    with pytest.raises(ValueError, match=r"x has shape \(0, 5\); wanted .*, with at least one example"):
        model.perplexity(x[:0])
    for arguments, message in (
        ({"entries": 1}, "entries is 1; wanted an integer of at least 2"),
        ({"entries": 0}, "entries is 0"),
        ({"size": 0}, "size is 0"),
        ({"slots": 0}, "slots is 0"),
        ({"pixels": 0}, "pixels is 0"),
        ({"commitment": 0.0}, r"commitment is 0\.0"),
        ({"likelihood": "poisson"}, "likelihood is 'poisson'"),
    ):
        with pytest.raises(ValueError, match=message):
            vq_mlp_vae(**{"pixels": 6, **arguments})
