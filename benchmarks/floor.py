"""The floor: a training step's own matrix products, and nothing else.

Every layer multiplies once forwards and twice backwards (for its weights and for its input; the first
layer needs no gradient of the data). Convolutions count as the products they are equivalent to. Here
the products run one after the other into memory that is there already.
"""

import torch
from torch import Tensor, nn

from benchmarks.rounds import Contestant
from benchmarks.workloads import PIXELS, Workload

__all__ = ["Floor", "products"]


class Floor(Contestant):
    name = "floor: matrix products"

    def __init__(self, workload: Workload, device: str = "cpu"):
        self.workload = workload
        self.products = []
        for rows, inputs, outputs in products(workload):
            a, b = torch.rand(rows, inputs, device=device), torch.rand(inputs, outputs, device=device)
            self.products.append((a, b, torch.empty(rows, outputs, device=device)))

    @property
    def flop(self) -> int:
        """Floating-point operations in a step, a multiplication and an addition as two."""
        return sum(2 * len(a) * b.numel() for a, b, _ in self.products)

    def turn(self) -> int:
        for _ in range(self.workload.steps):
            for a, b, out in self.products:
                torch.mm(a, b, out=out)
        return self.workload.images


def products(workload: Workload) -> list[tuple[int, int, int]]:
    """(rows, inner, columns) of every product in a step."""
    seen: list[tuple[int, int, int]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        (x,) = inputs
        if isinstance(layer, nn.Linear):
            seen.append((x.numel() // layer.in_features, layer.in_features, layer.out_features))
        elif isinstance(layer, nn.Conv2d):
            patch = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
            seen.append((output.numel() // layer.out_channels, patch, layer.out_channels))
        elif isinstance(layer, nn.ConvTranspose2d):
            patch = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
            seen.append((x.numel() // layer.in_channels, layer.in_channels, patch))

    networks = workload.networks()
    for network in (networks.encoder, networks.decoder):
        for layer in network.modules():
            layer.register_forward_hook(note)
    networks.encoder(torch.zeros(workload.batch, PIXELS))
    networks.decoder(torch.zeros(workload.batch * workload.samples, workload.latent))

    every = list(seen)
    every += [(inner, rows, columns) for rows, inner, columns in seen]  # for the weights
    every += [(rows, columns, inner) for rows, inner, columns in seen[1:]]  # for the input
    return every
