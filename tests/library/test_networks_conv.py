"""The convolutional builder: sizes, the layout of flat images, and the start of its decoder."""

from itertools import chain

import pytest
import torch
from torch import nn

from vae_lib.likelihoods import Categorical
from vae_lib.networks import (
    conv_decoder_network,
    conv_encoder_network,
    conv_vae,
    set_output_bias,
)
from vae_lib.networks.convolutional import PixelBias, Rows, _PixelByPixel
from vae_lib.training.optimisers import Adam

SHAPES = [(28, 28), (28, 20), (8, 8), (105, 105), (7, 5), (1, 1), (1, 9), (13, 28), (3, 64)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_image_size(shape, channels):
    model = conv_vae(shape, 2, channels=channels, filters=(2, 3), hidden=(4,), seed=0)
    pixels = channels * shape[0] * shape[1]
    x = torch.bernoulli(torch.full((2, pixels), 0.5))
    assert model.elbo(x).shape == (2,)
    assert model.decode(torch.zeros(4, 2, 2)).mean.shape == (4, 2, pixels)
    assert model.sample(3).shape == (3, pixels)


@pytest.mark.parametrize("filters", [(3,), (3, 4), (3, 4, 5), (2, 2, 2, 2)])
@pytest.mark.parametrize("shape", [(11, 6), (16, 5)])
def test_any_depth(shape, filters):
    model = conv_vae(shape, 2, filters=filters, hidden=(), seed=0)
    x = torch.zeros(2, shape[0] * shape[1])
    assert model.elbo(x).shape == (2,)
    convolutions = [m.out_channels for m in model.encoder.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions == list(filters)
    mirrored = [m.in_channels for m in model.decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert mirrored == list(filters[::-1])


@pytest.mark.parametrize("shape", [(9, 6), (8, 7), (1, 5)])
def test_every_pixel_is_seen_and_every_pixel_is_painted(shape):
    pixels = shape[0] * shape[1]
    encoder = conv_encoder_network(shape, 4, filters=(3, 4), hidden=(8,))
    x = torch.randn(1, pixels, requires_grad=True)
    encoder(x).square().sum().backward()
    assert (x.grad != 0).all()
    decoder = conv_decoder_network(shape, 2, filters=(3, 4), hidden=(8,))
    jacobian = torch.func.jacrev(decoder)(torch.randn(2))  # (pixels, latent)
    assert (jacobian != 0).all()


def test_flat_images_are_read_row_by_row_and_channel_by_channel():
    """The first layer against the definition of a convolution, written out."""
    height, width, channels = 5, 4, 2
    network = conv_encoder_network((height, width), 3, channels=channels, filters=(3,), hidden=())
    layer = network[1]
    nn.init.normal_(layer.bias)
    x = torch.randn(1, channels * height * width)
    got = layer(network[0](x))[0].detach()  # (filters, 3, 2)
    for plane in range(3):
        for i in range(3):
            for j in range(2):
                total = layer.bias[plane].item()
                for channel in range(channels):
                    for a in range(3):
                        for b in range(3):
                            row, column = 2 * i + a - 1, 2 * j + b - 1
                            if 0 <= row < height and 0 <= column < width:
                                pixel = x[0, channel * height * width + row * width + column]
                                total += (layer.weight[plane, channel, a, b] * pixel).item()
                assert got[plane, i, j].item() == pytest.approx(total, abs=1e-5)


def test_the_decoder_paints_in_the_same_layout():
    height, width, channels = 6, 5, 3
    decoder = conv_decoder_network((height, width), 2, channels=channels, filters=(4,), hidden=())
    last = next(layer for layer in decoder if isinstance(layer, nn.ConvTranspose2d))
    with torch.no_grad():
        last.weight[:, [0, 2]] = 0  # only the middle channel is painted
        image = decoder(torch.randn(2)).reshape(channels, height * width)
    assert (image[1] != 0).all()
    assert (image[[0, 2]] == 0).all()
    # the left edge depends on the left column of the small image alone
    with torch.no_grad():
        last.weight.fill_(1.0)
        small = torch.zeros(1, 4, 3, 3)
        small[..., 0] = 1.0
        image = last(small)[0, 0]
        assert (image[:, :2] != 0).all()
        assert (image[:, 2:] == 0).all()


def test_pixel_by_pixel():
    """(batch, channels * levels, height, width) as Categorical wants it, by loops."""
    channels, levels, height, width = 2, 3, 2, 4
    x = torch.randn(5, channels * levels, height, width)
    flat = _PixelByPixel(levels)(x)
    assert flat.shape == (5, channels * height * width * levels)
    position = 0
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                for level in range(levels):
                    assert torch.equal(flat[:, position], x[:, channel * levels + level, row, column])
                    position += 1


def test_categorical_images():
    model = conv_vae((4, 5), 2, channels=2, filters=(3,), likelihood=Categorical(levels=4), seed=0)
    assert model.decoder.network[-1].bias.shape == (2 * 4 * 5 * 4,)
    with torch.no_grad():
        model.decoder.network[-1].bias.view(40, 4)[:, 2] = 50.0  # every pixel wants level 2
    assert torch.equal(model.sample(3), torch.full((3, 40), 2 / 3))


def test_leading_axes():
    network = conv_encoder_network((5, 4), 3, filters=(2,))
    x = torch.randn(7, 2, 20)
    assert torch.allclose(network(x)[3, 1], network(x[3, 1]), atol=1e-6)
    assert network(x[0, 0]).shape == (3,)
    assert network(x[:0]).shape == (0, 2, 3)
    assert Rows(nn.Linear(2, 3))(torch.zeros(4, 5, 6, 2)).shape == (4, 5, 6, 3)


def test_initialisation():
    model = conv_vae((28, 28), 2, filters=(64, 64), seed=0)
    for layer in model.modules():
        if getattr(layer, "bias", None) is not None:
            assert torch.equal(layer.bias, torch.zeros_like(layer.bias))
    second = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)][1]
    # Glorot's uniform has this standard deviation
    assert second.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_output_bias_makes_the_mean_picture(likelihood):
    x = torch.bernoulli(torch.linspace(0.05, 0.95, 42).expand(500, 42))
    model = conv_vae((7, 6), 2, filters=(3,), likelihood=likelihood, seed=0)
    set_output_bias(model, x)
    assert isinstance(model.decoder.network[-1], PixelBias)
    with torch.no_grad():
        model.decoder.network[-3].weight.zero_()
    assert torch.allclose(model.sample(3, mean=True), x.mean(0).expand(3, 42), atol=1e-6)


def test_channels_last_gives_the_same_numbers():
    model = conv_vae((9, 8), 2, channels=3, filters=(4, 6), seed=0).double()
    x = torch.bernoulli(torch.full((5, 216), 0.5, dtype=torch.float64))

    def value():
        torch.manual_seed(1)
        return model.elbo(x)

    weight = model.encoder.network[1].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    before = value()
    model.to(memory_format=torch.contiguous_format)
    assert weight.is_contiguous()
    assert torch.allclose(value(), before, atol=1e-10)


def test_no_image_is_copied_between_convolutions_and_rows():
    """The channels of a pixel lie side by side all the way, forwards and in the gradient."""
    model = conv_vae((8, 8), 2, filters=(4, 6), seed=0)
    seen = []
    for part in model.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            part.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    model.elbo(torch.rand(5, 64).round()).mean().backward()
    assert len(seen) == 4
    for images in chain(*seen):
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_fused_optimiser_minds_the_layout():
    """It goes through the memory, the reference through the indices: they meet if the layouts agree."""
    ours, theirs = (conv_vae((8, 8), 2, channels=2, filters=(4, 6), seed=0) for _ in range(2))
    mine, reference = Adam(ours.named_parameters()), torch.optim.Adam(theirs.parameters(), foreach=False)
    x = torch.rand(5, 128).round()
    for step in range(3):
        for model in (ours, theirs):
            torch.manual_seed(step)
            model.zero_grad()
            (-model.elbo(x).mean()).backward()
        mine.step(1e-3)
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_it_learns_where_the_bar_is():
    """Vertical bars at eight places: the rate pays for the place, and the picture comes back."""
    x = torch.eye(8).unsqueeze(1).expand(8, 8, 8).reshape(8, 64)
    model = conv_vae((8, 8), 2, filters=(8, 8), hidden=(32,), seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.manual_seed(0)
    for _ in range(150):
        optimiser.zero_grad()
        loss = -model.elbo(x, k=4).mean()
        loss.backward()
        optimiser.step()
    # one picture for all would cost 64 * H(1/8) = 24.1 nats
    assert loss.item() < 16
    # of eight places, guessing finds one
    assert (model.reconstruct(x).argmax(-1) % 8 == torch.arange(8)).sum() >= 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv_vae((28,), 2), r"shape is \(28,\); wanted \(height, width\)"),
        (lambda: conv_vae((28, 28, 1), 2), r"shape is \(28, 28, 1\); wanted \(height, width\)"),
        (lambda: conv_vae((28, 0), 2), "shape is 0"),
        (lambda: conv_vae((28, 28), 0), "latent is 0"),
        (lambda: conv_vae((8, 8), 2, channels=0), "channels is 0"),
        (lambda: conv_vae((8, 8), 2, filters=()), "filters is empty"),
        (lambda: conv_vae((8, 8), 2, filters=(4, 0)), "filters is 0"),
        (lambda: conv_vae((8, 8), 2, hidden=(0,)), "hidden is 0"),
        (lambda: conv_encoder_network((8, 8), 0), "outputs is 0"),
        (lambda: conv_encoder_network((8, 8), 1, hidden=(0,)), "hidden is 0"),
        (lambda: conv_encoder_network((8, 8), 1, activation="swish"), "activation is 'swish'"),
        (lambda: conv_decoder_network((8, 8), 0), "inputs is 0"),
        (lambda: conv_decoder_network((8, 8), 1, hidden=(0,)), "hidden is 0"),
        (lambda: conv_decoder_network((8, 8), 1, depth=0), "depth is 0"),
        (
            lambda: set_output_bias(conv_vae((4, 4), 2), torch.zeros(3, 15)),
            r"x has shape \(3, 15\); wanted \(batch, 16\)",
        ),
        (
            lambda: set_output_bias(conv_vae((4, 4), 2, likelihood="categorical"), torch.zeros(3, 4096)),
            "model has the likelihood Categorical",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_a_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
