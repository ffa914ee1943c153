"""Our own contestants: `fit` as a user calls it, and what it would be without the engine around it."""

from dataclasses import fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.pausing import OneEpochAtATime
from benchmarks.rounds import Contestant
from benchmarks.workloads import LEARNING_RATE, Networks, Workload
from vae_lib.bounds import iwae_bound
from vae_lib.data import binarize
from vae_lib.training import TrainConfig, fit
from vae_lib.training.optimisers import Adam

__all__ = ["BareLoop", "Fit", "PlainTorchLoop", "PrunedFit", "Unavailable"]

FOREVER = 10**6


class Unavailable(Exception):
    """Why a contestant does not take part."""


class Fit(Contestant):
    """`vae_lib.training.fit`, its start-up and its first epoch left out."""

    name = "ours: fit"

    def __init__(self, workload: Workload, grey: Tensor, device: str = "cpu", **more):
        self.workload = workload
        model = workload.model()
        self.networks = Networks.of(model)
        if workload.samples > 1:
            more["objective"] = "iwae"
        if workload.dynamic:
            more["binarise"] = True
        known = {field.name for field in fields(TrainConfig)}
        if missing := more.keys() - known:
            raise Unavailable(f"TrainConfig has no {', '.join(sorted(missing))}")
        config = TrainConfig(
            epochs=FOREVER,
            batch_size=workload.batch,
            learning_rate=LEARNING_RATE,
            samples=workload.samples,
            device=device,
            progress=False,
            **more,
        )
        data = grey if workload.dynamic else workload.binary(grey)
        self.loop = OneEpochAtATime(lambda pause: fit(model, data, config, on_epoch=lambda _: pause()))

    def turn(self) -> int:
        self.loop.epoch()
        return self.workload.images

    def close(self) -> None:
        self.loop.close()


class CompiledFit(Fit):
    name = "ours: fit, compile=True"

    def __init__(self, workload: Workload, grey: Tensor, device: str = "cpu"):
        super().__init__(workload, grey, device, compile=True)


class PrunedFit(Fit):
    name = "ours: fit, prune=1e-6"

    def __init__(self, workload: Workload, grey: Tensor, device: str = "cpu"):
        super().__init__(workload, grey, device, prune=1e-6)


class BareLoop(Contestant):
    """The same model and the same Adam in the shortest loop there is: what `fit` adds is its tax."""

    name = "bare loop, our model"

    def __init__(self, workload: Workload, grey: Tensor):
        self.workload = workload
        self.model = workload.model().train()
        parts: list[Any] = [*self.model.modules()]
        for part in parts:
            if hasattr(part, "validate"):
                part.validate = False  # nobody looks at the values of x, in the shortest loop
        self.networks = Networks.of(self.model)
        self.data = grey if workload.dynamic else workload.binary(grey)
        self.adam = Adam(self.model.named_parameters())

    def turn(self) -> int:
        samples = self.workload.samples
        for rows in torch.randperm(len(self.data)).split(self.workload.batch):
            x = self.data.index_select(0, rows)
            if self.workload.dynamic:
                x = binarize(x)
            if samples > 1:
                loss = -iwae_bound(self.model.log_weights(x, samples)).mean()
            else:
                loss = -self.model.elbo(x).mean()
            self.adam.zero_grad()
            loss.backward()
            self.adam.step(LEARNING_RATE)
        return self.workload.images


class PlainTorchLoop(Contestant):
    """The fastest loop that is easy to read, in torch alone: what all of vae_lib costs."""

    name = "plain torch loop"

    def __init__(self, workload: Workload, grey: Tensor):
        self.workload = workload
        self.networks = workload.networks()
        self.data = workload.binary(grey)
        self.adam = torch.optim.Adam(self.networks.parameters(), LEARNING_RATE, fused=True)

    def turn(self) -> int:
        for rows in torch.randperm(len(self.data)).split(self.workload.batch):
            x = self.data.index_select(0, rows)
            if self.workload.dynamic:
                x = (torch.rand_like(x) < x).float()
            self.adam.zero_grad()
            self.loss(x).backward()
            self.adam.step()
        return self.workload.images

    def loss(self, x: Tensor) -> Tensor:
        k = self.workload.samples
        mean, log_var = self.networks.encoder(x).chunk(2, -1)  # (batch, latent)
        if k == 1:
            z = torch.addcmul(mean, torch.randn_like(mean), (0.5 * log_var).exp())
            logits = self.networks.decoder(z)
            cross_entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            return (cross_entropy - 0.5 * (1 + log_var - mean.square() - log_var.exp()).sum()) / len(x)
        noise = torch.randn(k, *mean.shape)  # (k, batch, latent)
        z = torch.addcmul(mean, noise, (0.5 * log_var).exp())
        logits = self.networks.decoder(z)  # (k, batch, pixels)
        log_p = (logits * x).sum(-1) - F.softplus(logits).sum(-1)
        log_w = log_p + 0.5 * (noise.square() - z.square() + log_var).sum(-1)  # (k, batch)
        return -log_w.logsumexp(0).mean()
