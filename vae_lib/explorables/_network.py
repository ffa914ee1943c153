"""The weights of a small network as JSON, for the script that draws the explorables."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["base64_bytes", "base64_floats", "layers"]

_NAMES: dict[type[nn.Module], str] = {
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.Sigmoid: "sigmoid",
    nn.SiLU: "silu",
    nn.Softplus: "softplus",
    nn.ELU: "elu",
    nn.GELU: "gelu",
}
_DO_NOTHING = (nn.Identity, nn.Dropout, nn.Flatten)


def base64_floats(values: torch.Tensor) -> str:
    """The numbers as little-endian float32, in base64.

    >>> base64_floats(torch.tensor([1.0]))
    'AACAPw=='
    """
    array = values.detach().cpu().to(torch.float32).contiguous().numpy()
    return base64.b64encode(array.astype("<f4").tobytes()).decode("ascii")


def base64_bytes(values: torch.Tensor) -> str:
    """Whole numbers from 0 to 255, one byte each, in base64.

    >>> base64_bytes(torch.tensor([0, 7, 255]))
    'AAf/'
    """
    return base64.b64encode(values.detach().cpu().numpy().astype(np.uint8).tobytes()).decode("ascii")


def _activation(module: nn.Module) -> str:
    kind = type(module)
    plain = (
        (kind is not nn.GELU or module.approximate == "none")
        and (kind is not nn.ELU or module.alpha == 1.0)
        and (kind is not nn.Softplus or module.beta == 1.0)
    )
    if kind not in _NAMES or not plain:
        known = ", ".join(k.__name__ for k in _NAMES)
        raise ValueError(f"network holds {module}; wanted Linear layers and one of {known}")
    return _NAMES[kind]


def layers(network: nn.Module) -> list[dict[str, Any]]:
    """A chain of linear layers and activations as plain JSON values.

    Args:
        network: `nn.Linear`, or an `nn.Sequential` of linear layers, each followed by at most one
            activation; as `vae_lib.networks.mlp` makes it. Sequences may be nested.

    Returns:
        One dictionary per linear layer: `shape` (outputs, inputs), `weight` and `bias` as base64 of
        little-endian float32, `activation` (a name, or None).

    Raises:
        ValueError: the network holds anything else; the message names it.

    >>> [(layer["shape"], layer["activation"]) for layer in layers(
    ...     nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 64)))]
    [([8, 2], 'tanh'), ([64, 8], None)]
    """
    chain = list(network.children()) if isinstance(network, nn.Sequential) else [network]
    found: list[dict[str, Any]] = []
    for module in chain:
        if isinstance(module, nn.Sequential):
            found += layers(module)
        elif isinstance(module, nn.Linear):
            bias = torch.zeros(module.out_features) if module.bias is None else module.bias
            found.append(
                {
                    "shape": [module.out_features, module.in_features],
                    "weight": base64_floats(module.weight),
                    "bias": base64_floats(bias),
                    "activation": None,
                }
            )
        elif isinstance(module, _DO_NOTHING):
            continue
        else:
            name = _activation(module)
            if not found or found[-1]["activation"] is not None:
                raise ValueError(f"network holds {module} where a Linear layer was wanted")
            found[-1]["activation"] = name
    if not found:
        raise ValueError(f"network holds no Linear layer, got {network}")
    return found
