"""Multi-layer perceptrons, and what every network here starts from."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from vae_lib import _require

__all__ = ["activation_of", "glorot", "linear_layers", "mlp"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "gelu": nn.GELU}


def activation_of(activation: str | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A class of modules: the given one, or the one of this name."""
    if callable(activation):
        return activation
    if activation not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise ValueError(f"activation is {activation!r}; wanted one of {known}, or a class of modules")
    return _ACTIVATIONS[activation]


def glorot(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """The layer with Glorot-uniform weights and a bias of zero."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear_layers(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> list[nn.Module]:
    """Linear layers from each size to the next, each followed by an activation."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [glorot(nn.Linear(size_in, size_out)), activation()]
    return layers


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: str | Callable[[], nn.Module] = "tanh",
) -> nn.Sequential:
    """A multi-layer perceptron: linear layers with `activation` between them and none at the end.

    Weights start Glorot-uniform, biases at zero.

    Args:
        inputs: The size of the input, `(..., inputs)`.
        hidden: The sizes of the hidden layers, in order; none makes a linear map.
        outputs: The size of the output, `(..., outputs)`.
        activation: "tanh", "gelu", or a class of modules such as `torch.nn.SiLU`.

    Raises:
        ValueError: If a size is below 1 or the activation is unknown.

    Book: chapter 8 (encoder, decoder, prior). Source: Glorot and Bengio (2010), initial weights.

    Example:
        >>> mlp(64, (32,), 4)
        Sequential(
          (0): Linear(in_features=64, out_features=32, bias=True)
          (1): Tanh()
          (2): Linear(in_features=32, out_features=4, bias=True)
        )
    """
    _require.positive_integer("inputs", inputs)
    _require.positive_integer("outputs", outputs)
    _require.positive_integers("hidden", hidden)
    layers = linear_layers([inputs, *hidden, outputs], activation_of(activation))
    return nn.Sequential(*layers[:-1])
