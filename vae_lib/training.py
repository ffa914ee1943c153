r"""The training loop: one function, one config, one history.

The loop is plain on purpose and fast all the same: the data lie on the device as one tensor, a
batch is one `index_select`, and Adam is one fused call.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adam import adam
from tqdm.auto import tqdm

from vae_lib import _require

__all__ = ["History", "TrainConfig", "TrainingDiverged", "fit"]


class TrainingDiverged(FloatingPointError):
    """Training met a number that is not finite. The message names the step and the term.

    Example:
        >>> import math
        >>> class Broken(torch.nn.Linear):
        ...     def loss_terms(self, x, k=1):
        ...         value = self(x).sum(-1)
        ...         return value, value * math.nan
        >>> fit(Broken(2, 1), torch.ones(4, 2), TrainConfig(epochs=1, progress=False))
        Traceback (most recent call last):
        ...
        vae_lib.training.TrainingDiverged: step 0: the rate is not finite; try a lower learning_rate
    """


@dataclass(frozen=True)
class TrainConfig:
    r"""Everything that `fit` must know besides the model and the data.

    Args:
        epochs: The number of passes over the data.
        batch_size: Examples per step. The last batch of an epoch may be shorter.
        learning_rate: The step size of Adam at the start.
        schedule: "constant", or "cosine", which lowers the step size to zero along half a cosine
            over the whole run.
        seed: Seed of the order of the examples and of the noise.
        beta: The weight of the rate in the loss, reconstruction − `beta` · rate.
        samples: The number of draws from the posterior per example and step.
        device: "auto" (a CUDA GPU where there is one, else the CPU), "cpu", "cuda" or "cuda:n".
        threads: How many CPU threads to compute with; None keeps torch's own setting. One is as fast
            for the small networks of this course, far faster where other programs are running, and
            gives the same curve whatever the number of cores.
        progress: Whether to show a progress bar. While the book is built (VAE_BOOK_BUILD=1) there
            is none, because a page cannot move it.

    Raises:
        ValueError: If a field is out of range; the message names it.

    Example:
        >>> TrainConfig(epochs=5, progress=False).batch_size
        128
        >>> TrainConfig(epochs=0)
        Traceback (most recent call last):
        ...
        ValueError: epochs is 0; wanted an integer of at least 1
    """

    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: str = "constant"
    seed: int = 0
    beta: float = 1.0
    samples: int = 1
    device: str = "auto"
    threads: int | None = 1
    progress: bool = True

    def __post_init__(self):
        for name in ("epochs", "batch_size", "samples"):
            _require.positive_integer(name, getattr(self, name))
        if self.threads is not None:
            _require.positive_integer("threads", self.threads)
        _require.positive_number("learning_rate", self.learning_rate)
        if not 0 <= self.beta < math.inf:
            raise ValueError(f"beta is {self.beta!r}; wanted a finite number of at least 0")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed!r}; wanted an integer from 0 to 2**63 - 1")
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule is {self.schedule!r}; wanted 'constant' or 'cosine'")
        if self.device not in ("auto", "cpu", "cuda") and not self.device.startswith("cuda:"):
            raise ValueError(f"device is {self.device!r}; wanted 'auto', 'cpu', 'cuda' or 'cuda:n'")


@dataclass
class History:
    r"""What training reports, one number per epoch, each a mean over examples in nats.

    `elbo` is always the bound itself, reconstruction − rate, whatever `beta` the loss used. It is
    averaged while the parameters change during the epoch; `validation_elbo` is taken at the end of
    it. For a model without a posterior (`AutoEncoder`) there is no bound, and both hold NaN.

    Attributes:
        config: The `TrainConfig` of the run.
        elbo: reconstruction − rate on the training examples.
        reconstruction: :math:`\mathbb{E}_q \ln p_\theta(x|z)` on the training examples.
        rate: :math:`\mathrm{KL}(q_\phi(z|x) \| p(z))` on the training examples.
        validation_elbo: The ELBO on the validation examples; empty if there were none.
        validation_reconstruction: Its first term.
        validation_rate: Its second term.
        seconds: The time that training took so far, callbacks left out.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> config = TrainConfig(epochs=2, progress=False)
        >>> history = fit(mlp_vae(8, latent=2, seed=0), torch.eye(8), config)
        >>> len(history), len(history.elbo), history.validation_elbo
        (2, 2, [])
    """

    config: TrainConfig
    elbo: list[float] = field(default_factory=list)
    reconstruction: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    validation_elbo: list[float] = field(default_factory=list)
    validation_reconstruction: list[float] = field(default_factory=list)
    validation_rate: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def __len__(self) -> int:
        """The number of epochs so far."""
        return len(self.reconstruction)

    def __repr__(self) -> str:
        text = f"History(epochs={len(self)}, seconds={self.seconds:.1f}"
        if self.reconstruction:
            text += f", elbo={self.elbo[-1]:.2f}"
        if self.validation_elbo:
            text += f", validation_elbo={self.validation_elbo[-1]:.2f}"
        return text + ")"


class _Adam:
    """Adam as one fused call for all parameters.

    `torch.optim.Adam` would do the same arithmetic, but making one imports torch's compiler, which
    takes about two seconds. Source: Kingma and Ba (2015), arXiv 1412.6980.
    """

    def __init__(self, parameters: Iterator[nn.Parameter]):
        self.parameters = [p for p in parameters if p.requires_grad]
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        used = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        adam(
            [self.parameters[i] for i in used],
            [self.parameters[i].grad for i in used],
            [self.first[i] for i in used],
            [self.second[i] for i in used],
            [],
            [self.steps[i] for i in used],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


@contextmanager
def _noise(device: torch.device, seed: int) -> Iterator[None]:
    """Draw from `seed`, and leave torch's global random state as it was."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _at_work(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Move the model to the device, and afterwards back to where it was, in eval mode."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError("model has no parameters; wanted something to train")
    home = parameter.device
    model.to(device)
    try:
        yield
    finally:
        model.to(home).eval()


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Compute with this many CPU threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _find_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device is {name!r}, but torch finds no CUDA GPU; wanted 'auto' or 'cpu' here")
    device = torch.device(name)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return device


def _check_data(data: Tensor, name: str) -> None:
    if not isinstance(data, Tensor):
        raise ValueError(
            f"{name} is of type {type(data).__name__}; wanted a tensor (n, pixels), such as "
            "load('digits').binarized()"
        )
    if data.ndim != 2 or len(data) == 0 or not data.is_floating_point():
        raise ValueError(
            f"{name} has shape {tuple(data.shape)} and dtype {data.dtype}; wanted (n, pixels), "
            "not empty, of floating-point numbers"
        )
    _require.finite(name, data)


def _loss_terms(model: nn.Module, x: Tensor, samples: int, step: int) -> tuple[Tensor, Tensor, list[float]]:
    """The two terms of the loss and their sums over the batch, all of them finite."""
    try:
        reconstruction, rate = model.loss_terms(x, k=samples)
    except ValueError as error:
        for name, parameter in model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise TrainingDiverged(
                    f"step {step}: the parameter {name} is not finite; try a lower learning_rate"
                ) from error
        raise
    for name, term in (("reconstruction", reconstruction), ("rate", rate)):
        if term.shape != (len(x),):
            raise ValueError(
                f"the {name} of model.loss_terms has shape {tuple(term.shape)}; wanted one value "
                f"per example, ({len(x)},)"
            )
    sums = torch.stack([reconstruction.detach().sum(), rate.detach().sum()]).tolist()
    for name, total in zip(("reconstruction", "rate"), sums, strict=True):
        if not math.isfinite(total):
            raise TrainingDiverged(f"step {step}: the {name} is not finite; try a lower learning_rate")
    return reconstruction, rate, sums


def fit(
    model: nn.Module,
    data: Float[Tensor, "n pixels"],
    config: TrainConfig | None = None,
    validation: Float[Tensor, "m pixels"] | None = None,
    on_epoch: Callable[[History], bool | None] | None = None,
) -> History:
    r"""Train `model` in place by stochastic gradient ascent on the ELBO.

    Each step draws a batch :math:`B` without replacement and lowers, with Adam,

    .. math:: -\frac{1}{|B|} \sum_{x \in B} \left[ \text{reconstruction}(x)
              - \beta \, \text{rate}(x) \right]

    The sums over pixels and latents are inside; only examples are averaged. Epoch means weight
    every example the same, also those of a short last batch.

    The same seed gives the same curve on the same machine, with or without validation data or a
    callback. The order and the noise come from generators of their own: torch's global random state
    is left alone. At the end the model is back on the device it came from, in eval mode.

    Args:
        model: A `VAE`, or any module with `loss_terms(x, k=...)` that returns two tensors (batch,).
        data: The training examples, floats (n, pixels), in the precision of the model. They are
            moved to the device once.
        config: The settings; by default `TrainConfig()`.
        validation: Examples (m, pixels) to score after every epoch, always with the same noise.
        on_epoch: Called after each epoch with the `History` so far, the model in eval mode.
            Meanwhile the model is on the training device. Training stops early if the call returns
            True.

    Returns:
        The `History` of the run.

    Raises:
        ValueError: If the data are empty, not finite, or not a float matrix; if the model has no
            parameters or its terms are not one value per example; or if the device is not there.
        TrainingDiverged: If a term of the loss or a parameter is not finite.

    Book: chapter 8 (training). Source: Kingma and Ba (2015) for Adam.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> x = torch.eye(8).repeat(4, 1)
        >>> config = TrainConfig(epochs=30, batch_size=8, learning_rate=0.01, progress=False)
        >>> history = fit(mlp_vae(8, latent=2, seed=0), x, config)
        >>> len(history), history.elbo[-1] > history.elbo[0]
        (30, True)
    """
    config = config or TrainConfig()
    device = _find_device(config.device)
    _check_data(data, "data")
    data = data.to(device)
    if validation is not None:
        _check_data(validation, "validation")
        if validation.shape[1] != data.shape[1]:
            raise ValueError(
                f"validation has {validation.shape[1]} columns; wanted {data.shape[1]}, as in data"
            )
        validation = validation.to(device)

    generator = torch.Generator().manual_seed(config.seed)
    steps_in_epoch = math.ceil(len(data) / config.batch_size)
    history = History(config)
    step = 0
    hidden = not config.progress or os.environ.get("VAE_BOOK_BUILD") == "1"
    progress = tqdm(range(config.epochs), unit="epoch", disable=hidden)
    with _at_work(model, device), _threads(config.threads), progress as bar:
        optimiser = _Adam(model.parameters())
        for _ in bar:
            start = time.perf_counter()
            order = torch.randperm(len(data), generator=generator).to(device)
            noise_seed = int(torch.randint(2**62, (), generator=generator))
            totals = [0.0, 0.0]
            model.train()
            with _noise(device, noise_seed):
                for rows in order.split(config.batch_size):
                    x = data.index_select(0, rows)
                    reconstruction, rate, sums = _loss_terms(model, x, config.samples, step)
                    loss = -(reconstruction - config.beta * rate).mean()
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step(_learning_rate(config, step, steps_in_epoch))
                    totals = [total + new for total, new in zip(totals, sums, strict=True)]
                    step += 1
            optimiser.zero_grad()
            model.eval()
            _record(history, model, [total / len(data) for total in totals], prefix="")
            if validation is not None:
                means = _evaluate(model, validation, config, step)
                _record(history, model, means, prefix="validation_")
            history.seconds += time.perf_counter() - start
            bar.set_postfix(_postfix(history), refresh=False)
            if on_epoch is not None and on_epoch(history):
                break
    return history


def _learning_rate(config: TrainConfig, step: int, steps_in_epoch: int) -> float:
    if config.schedule == "constant":
        return config.learning_rate
    done = step / (config.epochs * steps_in_epoch)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def _evaluate(model: nn.Module, data: Tensor, config: TrainConfig, step: int) -> list[float]:
    """The means of the two terms over `data`, with the same noise every time."""
    totals = [0.0, 0.0]
    with _noise(data.device, config.seed):
        for x in data.split(max(config.batch_size, 1024)):
            _, _, sums = _loss_terms(model, x, config.samples, step)
            totals = [total + new for total, new in zip(totals, sums, strict=True)]
    return [total / len(data) for total in totals]


def _record(history: History, model: nn.Module, means: list[float], prefix: str) -> None:
    reconstruction, rate = means
    elbo = reconstruction - rate if getattr(model, "has_elbo", True) else math.nan
    getattr(history, prefix + "elbo").append(elbo)
    getattr(history, prefix + "reconstruction").append(reconstruction)
    getattr(history, prefix + "rate").append(rate)


def _postfix(history: History) -> dict[str, str]:
    shown = {
        "elbo": history.elbo,
        "validation elbo": history.validation_elbo,
        "reconstruction": history.reconstruction,
        "rate": history.rate,
    }
    return {
        name: f"{values[-1]:.2f}" for name, values in shown.items() if values and not math.isnan(values[-1])
    }
