"""Convolutional networks for images of any size, flat at both doors."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_lib import _require
from vae_lib.networks.perceptron import activation_of, glorot, linear_layers

__all__ = ["PixelBias", "Rows", "conv_decoder_network", "conv_encoder_network"]

_KERNEL, _STRIDE, _PADDING = 3, 2, 1


class Rows(nn.Sequential):
    """Layers in a row for `(..., values)`: convolutions know one leading axis, models have several.

    Example:
        >>> Rows(nn.Unflatten(1, (1, 2, 3)), nn.Flatten())(torch.zeros(7, 5, 6)).shape
        torch.Size([7, 5, 6])
    """

    def forward(self, x: Float[Tensor, "*batch values"]) -> Float[Tensor, "*batch outputs"]:
        out = super().forward(x.reshape(-1, x.shape[-1]))  # (k * batch, outputs)
        return out.reshape(*x.shape[:-1], out.shape[-1])


class PixelBias(nn.Module):
    """A number for every output, added to it: what an average picture looks like.

    A convolution adds the same number everywhere; with this layer at the end of a decoder,
    `set_output_bias` can start it at the mean of the data.

    Example:
        >>> PixelBias(3)(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(self, outputs: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Float[Tensor, "*batch outputs"]) -> Float[Tensor, "*batch outputs"]:
        return x + self.bias


class _Images(nn.Unflatten):
    """From rows, channel by channel, to images (batch, channels, height, width).

    Convolutions are quickest where the channels of a pixel lie side by side, so that is how the images
    are laid out. With one channel the two layouts are the same numbers in the same order, and torch must
    be told which of them is meant.
    """

    def forward(self, x: Tensor) -> Tensor:
        channels, height, width = self.unflattened_size
        if channels == 1:
            return x.unflatten(1, (height, width, 1)).movedim(-1, 1)
        return super().forward(x).contiguous(memory_format=torch.channels_last)


class _FlatPixels(nn.Module):
    """From images to rows, pixel by pixel.

    Flattened in this order images whose channels lie side by side need no copy; `nn.Flatten` would take
    them apart channel by channel.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1).flatten(1)  # (batch, height * width * channels)


class _Pixels(nn.Module):
    """The way back: from rows, pixel by pixel, to images whose channels lie side by side."""

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        self.size = (height, width, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, self.size).movedim(-1, 1)  # (batch, channels, height, width)

    def extra_repr(self) -> str:
        return "height={}, width={}, channels={}".format(*self.size)


def _side_by_side(network: Rows) -> Rows:
    """The network with the weights of its convolutions in the layout of the images."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


class _PixelByPixel(nn.Module):
    """From (batch, channels * depth, height, width) to `depth` numbers for each pixel in turn."""

    def __init__(self, depth: int):
        super().__init__()
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.depth)).movedim(2, -1).flatten(1)  # (batch, pixels * depth)


def _sizes(shape: tuple[int, int], layers: int) -> list[tuple[int, int]]:
    """Height and width before and after each of the layers: halved, rounded up."""
    sizes = [shape]
    for _ in range(layers):
        height, width = sizes[-1]
        sizes.append((-(-height // _STRIDE), -(-width // _STRIDE)))
    return sizes


def check_image(shape: Sequence[int], channels: int, filters: Sequence[int]) -> tuple[int, int]:
    """Refuse what is no image size; the size as a tuple."""
    _require.positive_integers("shape", shape)
    if len(shape) != 2:
        raise ValueError(f"shape is {tuple(shape)!r}; wanted (height, width)")
    _require.positive_integer("channels", channels)
    _require.positive_integers("filters", filters)
    if not filters:
        raise ValueError("filters is empty; wanted at least one convolution")
    return shape[0], shape[1]


def conv_encoder_network(
    shape: Sequence[int],
    outputs: int,
    *,
    channels: int = 1,
    filters: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (128,),
    activation: str | Callable[[], nn.Module] = "gelu",
) -> Rows:
    r"""From flat images to `outputs` numbers: convolutions of stride 2, then linear layers.

    Each convolution halves height and width, rounding up, so any size will do.

    Args:
        shape: Height and width of the images.
        outputs: The size of the output, `(..., outputs)`.
        channels: The channels of the images; a flat image is channel by channel, row by row.
        filters: The channels after each convolution.
        hidden: The sizes of the linear layers in between; none goes straight to the outputs.
        activation: "tanh", "gelu", or a class of modules.

    Raises:
        ValueError: If a size is below 1, filters is empty, or the activation is unknown.

    Book: chapter 12 (two models).

    Example:
        >>> network = conv_encoder_network((28, 20), 4)
        >>> network(torch.zeros(7, 5, 560)).shape
        torch.Size([7, 5, 4])
    """
    shape = check_image(shape, channels, filters)
    _require.positive_integer("outputs", outputs)
    _require.positive_integers("hidden", hidden)
    activate = activation_of(activation)
    layers: list[nn.Module] = [_Images(1, (channels, *shape))]
    for planes_in, planes in pairwise((channels, *filters)):
        layers += [glorot(nn.Conv2d(planes_in, planes, _KERNEL, _STRIDE, _PADDING)), activate()]
    height, width = _sizes(shape, len(filters))[-1]
    sizes = [filters[-1] * height * width, *hidden]
    network = Rows(
        *layers,
        _FlatPixels(),
        *linear_layers(sizes, activate),
        glorot(nn.Linear(sizes[-1], outputs)),
    )
    return _side_by_side(network)


def conv_decoder_network(
    shape: Sequence[int],
    inputs: int,
    *,
    channels: int = 1,
    filters: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (128,),
    activation: str | Callable[[], nn.Module] = "gelu",
    depth: int = 1,
) -> Rows:
    r"""The mirror of `conv_encoder_network`: linear layers, then transposed convolutions.

    A transposed convolution of stride 2 makes n pixels into 2n − 1 or 2n: the encoder says which,
    because it made n out of an odd or an even number.

    Args:
        shape: Height and width of the images.
        inputs: The size of the input, `(..., inputs)`.
        channels: The channels of the images.
        filters: As for the encoder; used in reverse order.
        hidden: As for the encoder; used in reverse order.
        activation: "tanh", "gelu", or a class of modules.
        depth: How many numbers the likelihood needs for each pixel.

    Returns:
        A network from `(..., inputs)` to `(..., channels * height * width * depth)`, pixel by pixel.

    Raises:
        ValueError: If a size is below 1, filters is empty, or the activation is unknown.

    Book: chapter 12 (two models).

    Example:
        >>> network = conv_decoder_network((28, 21), 2)
        >>> network(torch.zeros(7, 5, 2)).shape
        torch.Size([7, 5, 588])
    """
    shape = check_image(shape, channels, filters)
    _require.positive_integer("inputs", inputs)
    _require.positive_integer("depth", depth)
    _require.positive_integers("hidden", hidden)
    activate = activation_of(activation)
    sizes = _sizes(shape, len(filters))[::-1]  # from the smallest up to the image
    small = (filters[-1], *sizes[0])
    layers = linear_layers([inputs, *hidden[::-1], small[0] * small[1] * small[2]], activate)
    layers.append(_Pixels(*small))
    planes = (*filters[::-1], channels * depth)
    for step, (height, width) in enumerate(sizes[1:]):
        last = step == len(filters) - 1
        layer = nn.ConvTranspose2d(
            planes[step],
            planes[step + 1],
            _KERNEL,
            _STRIDE,
            _PADDING,
            output_padding=(1 - height % 2, 1 - width % 2),  # 2n for an even size, 2n - 1 for an odd one
            bias=not last,  # the bias of the last layer is the PixelBias
        )
        layers += [glorot(layer)] if last else [glorot(layer), activate()]
    network = Rows(*layers, _PixelByPixel(depth), PixelBias(channels * shape[0] * shape[1] * depth))
    return _side_by_side(network)
