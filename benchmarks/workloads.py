"""The training workloads: one model, one batch, one set of images for all contestants."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae_lib.data import load
from vae_lib.models import VAE
from vae_lib.networks import conv_vae, mlp_vae

__all__ = ["LEARNING_RATE", "WORKLOADS", "Networks", "Workload", "bound", "mnist", "synthetic"]

LEARNING_RATE = 1e-3
PIXELS = 784


@dataclass(frozen=True)
class Workload:
    """What is trained.

    Attributes:
        batch: Examples in a step.
        steps: Steps in a turn, which is one epoch over `batch * steps` images.
        samples: Importance samples; with 1 the loss is the ELBO.
        dynamic: Whether the pixels are drawn afresh for every batch, or are binary from the start.
    """

    name: str
    title: str
    batch: int
    steps: int
    latent: int
    hidden: tuple[int, ...] = ()
    activation: type[nn.Module] = nn.ReLU
    filters: tuple[int, ...] = ()
    samples: int = 1
    dynamic: bool = False

    @property
    def images(self) -> int:
        return self.batch * self.steps

    def model(self) -> VAE:
        """Our model; every call gives the same weights."""
        if self.filters:
            return conv_vae(
                (28, 28),
                self.latent,
                filters=self.filters,
                hidden=self.hidden,
                activation=self.activation,
                seed=0,
            )
        return mlp_vae(PIXELS, self.latent, self.hidden, activation=self.activation, seed=0)

    def networks(self) -> "Networks":
        """The same layers with the same weights, written as anybody would: for the peers."""
        ours = Networks.of(self.model())
        if self.filters:
            encoder, decoder = _plain_convolutions(self.filters, self.latent, self.activation)
        else:
            encoder = _perceptron(PIXELS, *self.hidden, 2 * self.latent, activation=self.activation)
            decoder = _perceptron(self.latent, *self.hidden[::-1], PIXELS, activation=self.activation)
        encoder.load_state_dict(ours.encoder.state_dict())
        decoder.load_state_dict(ours.decoder.state_dict())
        if self.filters:
            _channel_by_channel(encoder, decoder, self.filters[-1])
        plain, x = Networks(encoder, decoder), (torch.arange(2 * PIXELS).view(2, PIXELS) % 3 == 0).float()
        if abs(bound(plain, x, 1) - bound(ours, x, 1)) > 0.01:
            raise AssertionError(f"{self.name}: the peers' layers are not those of vae_lib")
        return plain

    def binary(self, grey: Tensor) -> Tensor:
        """What a contestant gets who is given floats: pixels of 0 and 1, or greys to draw them from."""
        return grey.float() / 255 if self.dynamic else (grey > 127).float()


@dataclass(frozen=True)
class Networks:
    """encoder: x (batch, pixels) to means and log-variances; decoder: z (..., latent) to logits."""

    encoder: nn.Module
    decoder: nn.Module

    @classmethod
    def of(cls, model: VAE) -> "Networks":
        parts: list[Any] = [model.encoder, model.decoder]
        return cls(*(part.network for part in parts))

    def parameters(self) -> list[nn.Parameter]:
        return [*self.encoder.parameters(), *self.decoder.parameters()]


def _perceptron(*sizes: int, activation: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), activation()]
    return nn.Sequential(*layers[:-1])


class _PixelBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(PIXELS))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


def _plain_convolutions(
    filters: tuple[int, ...], latent: int, activation: type[nn.Module]
) -> tuple[nn.Sequential, nn.Sequential]:
    first, second = filters
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, first, 3, 2, 1),
        activation(),
        nn.Conv2d(first, second, 3, 2, 1),
        activation(),
        nn.Flatten(),
        nn.Linear(second * 49, 2 * latent),
    )
    decoder = nn.Sequential(
        nn.Linear(latent, second * 49),
        activation(),
        nn.Unflatten(1, (second, 7, 7)),
        nn.ConvTranspose2d(second, first, 3, 2, 1, output_padding=1),
        activation(),
        nn.ConvTranspose2d(first, 1, 3, 2, 1, output_padding=1, bias=False),
        nn.Flatten(),
        _PixelBias(),
    )
    return encoder, decoder


@torch.no_grad()
def _channel_by_channel(encoder: nn.Sequential, decoder: nn.Sequential, channels: int) -> None:
    """Ours flattens images pixel by pixel, `nn.Flatten` channel by channel: the same weights in its order."""
    into = next(layer for layer in encoder if isinstance(layer, nn.Linear))
    out = [layer for layer in decoder if isinstance(layer, nn.Linear)][-1]
    order = torch.arange(into.in_features).view(-1, channels).T.flatten()
    into.weight.copy_(into.weight[:, order])
    out.weight.copy_(out.weight[order])
    out.bias.copy_(out.bias[order])


@torch.no_grad()
def bound(networks: Networks, x: Tensor, samples: int) -> float:
    """The mean bound on ln p(x), the same noise for everybody: how well these weights are trained.

    It is written without vae_lib, so that it can say whether vae_lib did what the others did.
    """
    generator = torch.Generator().manual_seed(1)
    x = x.to(networks.parameters()[0].device)
    mean, log_var = networks.encoder(x).chunk(2, -1)
    log_w = []
    for _ in range(samples):
        noise = torch.randn(mean.shape, generator=generator).to(x.device)
        z = mean + noise * (0.5 * log_var).exp()
        log_p = -F.binary_cross_entropy_with_logits(networks.decoder(z), x, reduction="none").sum(-1)
        log_w.append(log_p - 0.5 * z.square().sum(-1) + 0.5 * (noise.square() + log_var).sum(-1))
    return float((torch.stack(log_w).double().logsumexp(0) - math.log(samples)).mean())


def mnist(n: int) -> Tensor:
    """The first n training images, bytes (n, 784). Raises `DataUnavailable` where there are none."""
    images = load("mnist", download=False).images.flatten(1)
    return images.repeat(-(-n // len(images)), 1)[:n]


def synthetic(n: int) -> Tensor:
    """Random smooth pictures of MNIST's shape, bytes (n, 784)."""
    generator = torch.Generator().manual_seed(0)
    small = torch.randn(n, 1, 7, 7, generator=generator)
    large = F.interpolate(small, size=(20, 20), mode="bilinear", align_corners=False)
    grey = ((large - 0.28) * 700).clamp(0, 255).to(torch.uint8)
    return F.pad(grey, (4, 4, 4, 4)).flatten(1)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", "MLP VAE 784-400-20, batch 128", 128, 64, 20, (400,)),
        Workload(
            "W2 k=1",
            "IWAE k=1, 784-200-200-50, dynamic binarisation, batch 20",
            20,
            150,
            50,
            (200, 200),
            nn.Tanh,
            dynamic=True,
        ),
        Workload(
            "W2 k=50",
            "IWAE k=50, 784-200-200-50, dynamic binarisation, batch 20",
            20,
            20,
            50,
            (200, 200),
            nn.Tanh,
            samples=50,
            dynamic=True,
        ),
        Workload(
            "W3",
            "convolutional VAE 28 × 28, 32/64 filters of 3 × 3, stride 2, 16 latents, batch 128",
            128,
            8,
            16,
            filters=(32, 64),
        ),
    )
}
