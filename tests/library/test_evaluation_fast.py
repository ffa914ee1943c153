"""The quick ln p(x|z) of black-or-white images: the same numbers as the likelihood's own, and flat memory."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vae_lib.builders import conditional_mlp_vae
from vae_lib.evaluation import fast_bernoulli, log_likelihood
from vae_lib.models import VAE
from vae_lib.networks import Decoder, conv_vae, mlp_vae
from vae_lib.training.surroundings import HEAP


def binary(*shape, seed=0):
    return torch.bernoulli(torch.full(shape, 0.3), generator=torch.Generator().manual_seed(seed))


def sharp(pixels, latent=3, scale=1.0, dtype=torch.float32):
    """A decoder with logits of about `scale` in size."""
    model = mlp_vae(pixels, latent, hidden=(16,), seed=0).to(dtype)
    with torch.no_grad():
        model.decoder.network[-1].weight.normal_(generator=torch.Generator().manual_seed(1)).mul_(scale)
    return model.decoder


@pytest.mark.parametrize("pixels", [784, 560, 63, 12, 1])
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0, 1000.0])
def test_the_same_as_the_likelihood_in_float64(pixels, scale):
    decoder, x = sharp(pixels, scale=scale, dtype=torch.float64), binary(5, pixels).double()
    z = torch.randn(7, 5, 3, dtype=torch.float64)
    own = decoder(z).log_prob(x)
    assert own.min() < (-700 if scale == 1000 else 0)  # at 1000 the products underflow
    assert torch.allclose(fast_bernoulli.log_prob(decoder, z, x), own, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_float32_against_float64(scale):
    decoder, x, z = sharp(784, scale=scale), binary(64, 784), torch.randn(20, 64, 3)
    quick = fast_bernoulli.log_prob(decoder, z, x)
    truth = sharp(784, scale=scale).double()(z.double()).log_prob(x.double())
    own = decoder(z).log_prob(x)
    assert (quick - truth).abs().max() < 3e-4 * max(1.0, scale)
    assert (quick - truth).abs().max() < 3 * (own - truth).abs().max() + 1e-4


def test_images_as_unlikely_as_can_be():
    decoder, z = sharp(64), torch.zeros(2, 3, 3)
    with torch.no_grad():
        decoder.network[-1].weight.zero_()
        decoder.network[-1].bias.fill_(-20.0)  # eight pixels of e^-20 underflow in float32
        decoder.network[-1].bias[7] = -11.5  # and this group, e^-91, is below the normal numbers
    x = torch.zeros(3, 64)
    x[1] = 1
    x[2, 7::8] = 1
    own = decoder(z).log_prob(x)
    assert own[0, 1] < -1200
    assert torch.allclose(fast_bernoulli.log_prob(decoder, z, x), own, rtol=1e-6, atol=1e-5)
    with torch.no_grad():
        decoder.network[-1].bias.fill_(500.0)  # single pixels of probability 0
    assert torch.allclose(fast_bernoulli.log_prob(decoder, z, x), decoder(z).log_prob(x), rtol=1e-6)


def test_the_codes_and_the_decoder_are_left_alone():
    decoder, x, z = sharp(64, scale=100.0), binary(5, 64), torch.randn(7, 5, 3)
    before = [t.clone() for t in (z, x, *decoder.parameters())]
    one = fast_bernoulli.log_prob(decoder, z, x)
    assert all(torch.equal(a, b) for a, b in zip(before, (z, x, *decoder.parameters()), strict=True))
    assert torch.equal(one, fast_bernoulli.log_prob(decoder, z, x))
    assert not one.requires_grad


def test_where_it_applies():
    model = mlp_vae(64, 2, seed=0)
    assert fast_bernoulli.applies(model)

    class OwnDecode(VAE):
        def decode(self, z):
            return super().decode(-z)

    class OwnDecoder(Decoder):
        pass

    with_tail = Decoder(nn.Sequential(*model.decoder.network, nn.Identity()), model.decoder.likelihood)
    grey = mlp_vae(64, 2, likelihood="continuous_bernoulli", seed=0)
    for other in (
        nn.Linear(2, 2),
        grey,
        conv_vae((8, 8), 2, filters=(4,), seed=0),
        OwnDecode(model.encoder, model.decoder),
        VAE(model.encoder, OwnDecoder(model.decoder.network, model.decoder.likelihood)),
        VAE(model.encoder, with_tail),
        conditional_mlp_vae(64, 3, 2, seed=0).given(torch.eye(3)[:1]),
    ):
        assert not fast_bernoulli.applies(other), type(other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_paths_give_the_same_ln_p(monkeypatch, dtype):
    model, x = mlp_vae(784, 3, hidden=(16,), seed=0).to(dtype), binary(70, 784).to(dtype)
    calls = []
    own = fast_bernoulli.log_prob
    monkeypatch.setattr(fast_bernoulli, "log_prob", lambda *a: calls.append(1) or own(*a))
    quick = log_likelihood(model, x, k=60)
    assert calls
    monkeypatch.setattr(fast_bernoulli, "applies", lambda model: False)
    calls.clear()
    general = log_likelihood(model, x, k=60)
    assert not calls
    assert (quick.value - general.value).abs().max() < (3e-4 if dtype == torch.float32 else 1e-9)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.full((3, 64), 0.5), "grey pixels"),
        (torch.zeros(3, 63), "mat1 and mat2|x has shape"),
        (torch.full((3, 64), 2.0), "grey pixels"),
    ],
)
def test_what_the_likelihood_refuses(x, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        log_likelihood(mlp_vae(64, 2, seed=0), x, k=5)


# --- conditions ---------------------------------------------------------------------------------------


def test_every_example_keeps_its_condition():
    model = conditional_mlp_vae(12, 3, 2, hidden=(8,), seed=0).double()
    x, y = binary(150, 12).double(), torch.eye(3).double()[torch.arange(150) % 3]
    result = log_likelihood(model, x, k=60, y=y)
    alone = log_likelihood(model.given(y[:64]), x[:64], k=60)
    assert torch.allclose(result.value[:64], alone.value, atol=1e-12)
    for condition in range(3):  # one condition for all: the same noise, so the same number
        same = log_likelihood(model.given(torch.eye(3).double()[condition : condition + 1]), x, k=60)
        rows = torch.arange(150) % 3 == condition
        assert torch.allclose(result.value[rows], same.value[rows], atol=1e-12)
        assert (result.value - same.value)[~rows].abs().min() > 1e-6


@pytest.mark.usefixtures("unchecked")
def test_conditions_are_refused():
    model, x = conditional_mlp_vae(12, 3, 2, seed=0), binary(70, 12)
    y = torch.eye(3)[torch.arange(70) % 3]
    for arguments, message in [
        ((model, x), "y is None; wanted y"),
        ((model, x, y.long()), r"y has dtype torch\.int64"),
        ((model, x, y[:69]), r"y has shape \(69, 3\); wanted \(batch, conditions\), one row for each of 70"),
        ((model, x, y * float("nan")), "y holds 210 values that are NaN"),
        ((mlp_vae(12, 2), x, y), "model is of type VAE, but y was given"),
        ((model.given(y), x), "model is given 70 conditions, and x goes through it 64 at a time"),
    ]:
        with pytest.raises(ValueError, match=message):
            log_likelihood(*arguments[:2], k=3, y=(*arguments, None)[2])


# --- memory -------------------------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that any operation returns; the heap's own is no one's."""

    bytes = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.numel() != HEAP:
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return result


def largest_tensor(model, x, k):
    with Largest() as watch:
        log_likelihood(model, x, k)
    return watch.bytes


def test_memory_is_the_same_whatever_k():
    model, x = mlp_vae(4, 1, hidden=(4,), seed=0), binary(2, 4)
    assert largest_tensor(model, x, 20_000) == largest_tensor(model, x, 500)


def test_memory_is_the_same_whatever_the_number_of_examples():
    model = mlp_vae(784, 20, hidden=(400,), seed=0)
    few, many = largest_tensor(model, binary(64, 784), 40), largest_tensor(model, binary(320, 784), 40)
    assert few == many == 2048 * 784 * 4
    assert largest_tensor(model, binary(64, 784), 120) == few
