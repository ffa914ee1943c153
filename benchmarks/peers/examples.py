"""The loop of pytorch/examples (`vae/main.py`), and its pattern carried over to the IWAE.

torchvision's MNIST class makes a PIL image of each digit and ToTensor a tensor of that; the decoder
puts out probabilities; Adam is torch's default; the loss goes to the host in every step.
"""

import math
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.torchvision_shim import import_torchvision
from benchmarks.rounds import Contestant
from benchmarks.workloads import LEARNING_RATE, Workload

__all__ = ["ExamplesLoop", "ReplicatingLoop", "torchvision_mnist"]


def torchvision_mnist(images: Tensor):
    """torchvision's own MNIST class over these images, bytes (n, 784), with ToTensor."""
    datasets, transforms = import_torchvision("datasets"), import_torchvision("transforms")
    pixels = images.numpy()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "MNIST", "raw")
        raw.mkdir(parents=True)
        for part in ("train", "t10k"):
            head = np.array([0x803, len(pixels), 28, 28], ">i4").tobytes()
            Path(raw, f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
            head = np.array([0x801, len(pixels)], ">i4").tobytes()
            Path(raw, f"{part}-labels-idx1-ubyte").write_bytes(head + bytes(len(pixels)))
        return datasets.MNIST(folder, train=True, transform=transforms.ToTensor())


class ExamplesLoop(Contestant):
    name = "pytorch/examples loop"

    def __init__(self, workload: Workload, grey: Tensor):
        self.workload = workload
        self.networks = workload.networks()
        pixels = (workload.binary(grey) * 255).to(torch.uint8)
        self.loader = DataLoader(torchvision_mnist(pixels), batch_size=workload.batch, shuffle=True)
        self.adam = torch.optim.Adam(self.networks.parameters(), lr=LEARNING_RATE)

    def turn(self) -> int:
        total = 0.0
        for images, _ in self.loader:
            self.adam.zero_grad()
            x = images.view(-1, 784)
            mean, log_var = self.networks.encoder(x).chunk(2, -1)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
            probabilities = torch.sigmoid(self.networks.decoder(z))
            cross_entropy = F.binary_cross_entropy(probabilities, x, reduction="sum")
            kl = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
            loss = cross_entropy + kl
            loss.backward()
            total += loss.item()
            self.adam.step()
        return self.workload.images


class ReplicatingLoop(Contestant):
    """How ports of Burda et al. to PyTorch do it: x is replicated k times before the encoder."""

    name = "PyTorch port of IWAE"

    def __init__(self, workload: Workload, grey: Tensor):
        self.workload = workload
        self.networks = workload.networks()
        data = TensorDataset(workload.binary(grey))
        self.loader = DataLoader(data, batch_size=workload.batch, shuffle=True)
        self.adam = torch.optim.Adam(self.networks.parameters(), lr=LEARNING_RATE)

    def turn(self) -> int:
        k, total = self.workload.samples, 0.0
        for (greys,) in self.loader:
            batch = torch.bernoulli(greys)
            x = batch.unsqueeze(1).repeat(1, k, 1)  # (batch, k, pixels)
            mean, log_var = self.networks.encoder(x).chunk(2, -1)
            std = torch.exp(0.5 * log_var)
            noise = torch.randn_like(std)
            z = mean + std * noise
            probabilities = torch.sigmoid(self.networks.decoder(z))
            log_p_x = -F.binary_cross_entropy(probabilities, x, reduction="none").sum(-1)
            log_p_z = torch.sum(-0.5 * z**2, -1)
            log_q_z = torch.sum(-0.5 * noise**2 - torch.log(std), -1)
            log_w = log_p_x + log_p_z - log_q_z  # (batch, k)
            loss = -torch.mean(torch.logsumexp(log_w, 1) - math.log(k))
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
            total += loss.item()
        return self.workload.images
