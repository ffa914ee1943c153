"""W4: ln p(x) with 5,000 importance samples, images per second of CPU time, one thread."""

import math
import sys
from collections.abc import Callable, Iterable
from functools import partial
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.memory import peaks
from benchmarks.peers.pyro_svi import pyro_pair
from benchmarks.peers.pythae_trainer import pythae_model
from benchmarks.rounds import Contestant, Goal, Report, take_turns
from benchmarks.workloads import PIXELS, WORKLOADS, Networks, mnist, synthetic
from vae_lib.evaluation import log_likelihood
from vae_lib.models import VAE
from vae_lib.training import TrainConfig, fit

__all__ = ["reports"]

OURS, FLOOR = "ours: log_likelihood", "floor: decoder's products and activation"
PYTHAE, PYTHAE_LARGE, PYRO = "pythae get_nll, its batch of 100", "pythae get_nll, batch of k", "Pyro"
GOALS = (Goal(OURS, 3.6, PYTHAE), Goal(OURS, 2.6, PYRO), Goal(OURS, 0.83, FLOOR))
MEMORY_GOAL = 150  # MiB
ROWS = 2000  # of one product in the floor

MEMORY = """
from vae_lib.evaluation import log_likelihood
from vae_lib.networks import mlp_vae
model = mlp_vae(784, 20, (400,), activation=torch.nn.ReLU, seed=0)
x = (torch.arange(25_600 * 784) % 3 == 0).float().view(-1, 784)
def call(size):
    images, k = size
    log_likelihood(model, x[:images], k)
"""
SIZES = [(64, 100), (64, 1000), (64, 20_000), (640, 1000), (25_600, 20)]  # images, samples


class Estimator(Contestant):
    """`estimate(x)` gives the mean of ln p(x) over the images it is handed in every turn."""

    def __init__(self, name: str, estimate: Callable[[Tensor], float], x: Tensor):
        self.name, self.estimate, self.x = name, estimate, x
        self.estimates: list[float] = []

    def turn(self) -> int:
        self.estimates.append(self.estimate(self.x))
        return len(self.x)


class DecoderFloor(Contestant):
    """The decoder's two products and the activation in between, for every sample of an image."""

    name = FLOOR

    def __init__(self, networks: Networks, k: int, images: int):
        first, _, last = list[Any](networks.decoder.children())
        self.first, self.last = first.weight.detach().t(), last.weight.detach().t()
        self.images, self.k = images, k
        self.z = torch.randn(min(ROWS, k), len(self.first))
        self.hidden = torch.empty(len(self.z), len(self.last))
        self.logits = torch.empty(len(self.z), PIXELS)

    def turn(self) -> int:
        for _ in range(self.images * self.k // len(self.z)):
            torch.mm(self.z, self.first, out=self.hidden).relu_()
            torch.mm(self.hidden, self.last, out=self.logits)
        return self.images


@torch.no_grad()
def naive(networks: Networks, k: int, x: Tensor) -> float:
    """Image by image, replicated before the encoder, with probabilities."""
    values = []
    for image in x:
        rows = image.expand(k, PIXELS).contiguous()
        mean, log_var = networks.encoder(rows).chunk(2, -1)
        q = torch.distributions.Normal(mean, torch.exp(0.5 * log_var))
        z = q.sample()
        p = torch.sigmoid(networks.decoder(z))
        log_p = -F.binary_cross_entropy(p, rows, reduction="none").sum(-1)
        log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        log_w = log_p + log_prior - q.log_prob(z).sum(-1)
        values.append(float(log_w.logsumexp(0)) - math.log(k))
    return fmean(values)


@torch.no_grad()
def with_pythae(model, k: int, batch: int, x: Tensor) -> float:
    return float(model.get_nll(x, n_samples=k, batch_size=batch))  # it has the sign of ln p


@torch.no_grad()
def with_pyro(pair, k: int, x: Tensor) -> float:
    from pyro.infer.importance import vectorized_importance_weights

    values = []
    for image in x.split(1):
        log_w, *_ = vectorized_importance_weights(*pair, image, num_samples=k, max_plate_nesting=1)
        values.append(float(log_w.logsumexp(0)) - math.log(k))
    return fmean(values)


def reports(rounds: int, tiny: bool) -> Iterable[Report]:
    """The one table of W4, and the memory of it."""
    k, many, few = (100, 4, 2) if tiny else (5000, 64, 4)
    grey = (synthetic if tiny else mnist)(200 if tiny else 10_000)
    x = (grey > 127).float()
    model, networks = trained(x, epochs=1 if tiny else 3)
    results = []

    def ours(images: Tensor) -> float:
        results.append(log_likelihood(model, images, k))
        return float(results[-1].value[:few].mean())

    torch.manual_seed(0)
    contestants: list[Contestant] = [
        Estimator(OURS, ours, x[:many]),
        Estimator("naive loop", partial(naive, networks, k), x[:few]),
        DecoderFloor(networks, k, 2 * few),
    ]
    absent: dict[str, str] = {}
    try:
        made = pythae_model(networks, WORKLOADS["W1"].latent).eval()
        contestants.append(Estimator(PYTHAE, partial(with_pythae, made, k, 100), x[:few]))
        contestants.append(Estimator(PYTHAE_LARGE, partial(with_pythae, made, k, k), x[:few]))
    except ImportError as error:
        absent |= dict.fromkeys((PYTHAE, PYTHAE_LARGE), f"not installed ({error.name})")
    try:
        pair = pyro_pair(networks, WORKLOADS["W1"].latent)
        contestants.append(Estimator(PYRO, partial(with_pyro, pair, k), x[:few]))
        import pyro

        pyro.clear_param_store()
    except ImportError as error:
        absent[PYRO] = f"not installed ({error.name})"
    rates = take_turns(contestants, rounds)

    # both estimates are random: the error of their difference, over the images
    scatter = float(results[0].standard_error[:few].square().sum().mul(2).sqrt() / few)
    yield Report(
        f"W4: ln p(x), k = {k}, decoder 20-400-784, {many} images a turn (peers {few})",
        ours=OURS,
        floor=FLOOR,
        rates=rates,
        unit="images/s",
        check=f"mean ln p(x) of {few} images, nats",
        absent=absent,
        checks=_compared(contestants, scatter),
        goals=() if tiny else GOALS,
        notes=[f"two estimates differ by {scatter:.3f} nats at one standard error", *_memory(tiny)],
    )


def trained(x: Tensor, epochs: int) -> tuple[VAE, Networks]:
    """W1's model after a few epochs, and its layers for the peers."""
    workload = WORKLOADS["W1"]
    model = workload.model()
    fit(model, x, TrainConfig(epochs=epochs, batch_size=workload.batch, device="cpu", progress=False))
    plain = workload.networks()
    plain.encoder.load_state_dict(Networks.of(model).encoder.state_dict())
    plain.decoder.load_state_dict(Networks.of(model).decoder.state_dict())
    return model, plain


def _compared(contestants: Iterable[Contestant], scatter: float) -> dict[str, str]:
    means = {one.name: fmean(one.estimates) for one in contestants if isinstance(one, Estimator)}
    shown = {}
    for name, mean in means.items():
        agrees = abs(mean - means[OURS]) <= 4 * scatter
        shown[name] = f"{mean:.3f}" if agrees else f"{mean:.3f} DIFFERS"
    return shown


def _memory(tiny: bool) -> list[str]:
    """Peak memory of ours, as the samples and the images grow; the images themselves are not counted."""
    if tiny or not sys.platform.startswith("linux"):
        return ["peak memory not measured"]
    found = peaks(MEMORY, SIZES)[1:]  # the first call loads what the others find
    verdict = "met" if max(found) <= MEMORY_GOAL else "NOT met"
    measured = zip(SIZES[1:], found, strict=True)
    shown = [f"{peak:.0f} MiB ({n:,} images, k = {k:,})" for (n, k), peak in measured]
    return [f"peak memory of ours: {', '.join(shown)}; goal ≤ {MEMORY_GOAL} MiB {verdict}"]
