"""The training loop: one function to call, and the epoch it is made of.

The loop is plain on purpose and fast all the same: the data lie on the device as one tensor, a
batch is one `index_select`, and Adam is one fused call.
"""

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from tqdm.auto import tqdm

from vae_lib.training import schedules
from vae_lib.training.checkpoints import Position, fingerprint, restore
from vae_lib.training.config import TrainConfig
from vae_lib.training.container import CheckpointError
from vae_lib.training.diverged import refuse_broken_sums
from vae_lib.training.engines import make_step
from vae_lib.training.history import History
from vae_lib.training.keeper import Keeper
from vae_lib.training.objectives import make_objective, terms
from vae_lib.training.optimisers import make_optimiser
from vae_lib.training.processes import Team, together
from vae_lib.training.resident import Resident
from vae_lib.training.sharded import shards_of
from vae_lib.training.steps import Step
from vae_lib.training.surroundings import at_work, keep_the_heap, noise, noise_state, threads
from vae_lib.training.tally import Tally
from vae_lib.training.watched import check_values, unwatched

__all__ = ["fit"]

_ROWS = 1024  # draws that are scored together in a validation, unless the batches are larger


def fit(
    model: nn.Module,
    data: Float[Tensor, "n pixels"] | UInt8[Tensor, "n pixels"],
    config: TrainConfig | None = None,
    validation: Float[Tensor, "m pixels"] | UInt8[Tensor, "m pixels"] | None = None,
    on_epoch: Callable[[History], bool | None] | None = None,
    *,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    save_every: float | int = 30.0,
    notes: dict | None = None,
) -> History:
    r"""Train `model` in place by stochastic gradient ascent on a bound of ln p(x).

    Each step draws a batch :math:`B` without replacement and lowers

    .. math:: -\frac{1}{|B|} \sum_{x \in B} \left[ \text{reconstruction}(x)
              - \beta \, \text{rate}(x) \right]
              \qquad\text{or}\qquad -\frac{1}{|B|} \sum_{x \in B} \mathcal{L}_k(x),

    as `config.objective` says; see `vae_lib.training.objectives`.
    The sums over pixels and latents are inside; only examples are averaged. Epoch means weight
    every example the same, also those of a short last batch.

    The same seed gives the same curve on the same machine, with or without validation data, a
    callback or checkpoints. The order and the noise come from generators of their own: torch's
    global random state is left alone. At the end the model is back on the device it came from, in
    eval mode.

    With `checkpoint` the run keeps three files in that folder: `last.safetensors` (where it stands),
    `best.safetensors` (its epoch with the highest validation bound) and `history.jsonl`. A run that
    was killed, at whatever moment, goes on with `resume=True` and on the CPU ends with the same
    weights and the same curves, bit for bit, as if nothing had happened.

    Args:
        model: A `VAE`, or any module with `loss_terms(x, k=...)` that returns two tensors (batch,).
        data: The training examples (n, pixels): floats in the precision of the model, or bytes (uint8),
            which stay bytes. They are moved to the device once, and their values are looked at once, by
            the likelihood of the model, before the first step. Grey ones are drawn anew in every step
            if `config.binarise` says so.
        config: The settings; by default `TrainConfig()`.
        validation: Examples (m, pixels) to score after every epoch, always with the same noise; grey ones
            are drawn once.
        on_epoch: Called after each epoch with the `History` so far, the model in eval mode.
            Meanwhile the model is on the training device. Training stops early if the call returns
            True.
        checkpoint: A folder for the checkpoints; it is made if it is not there.
        resume: Whether to go on from the checkpoint in that folder. Without one the run starts from
            the beginning, so that one command serves for the first start and for every other.
        save_every: Seconds between two checkpoints; 0 saves after every step. The start and the end
            are always saved.
        notes: What else the checkpoints shall say, such as the name of the data; JSON.

    Returns:
        The `History` of the run, also of its part before the checkpoint.

    Raises:
        ValueError: If the data are empty, not finite, or no matrix, or hold a pixel that the likelihood
            refuses; if the model has no parameters, its terms are not one value per example, or it
            cannot be trained as `config` says; or if the device is not there.
        CheckpointError: If a checkpoint cannot be written (the one before stays as it is), if the
            folder holds one and `resume` is False, or if it belongs to another run.
        TrainingDiverged: If a term of the loss or a parameter is not finite, or the loss is absurd and
            stays so (see `vae_lib.training.tally`). The message names the last good checkpoint.

    Book: chapter 8 (training), chapter 12 (checkpoints). Source: Kingma and Ba (2015) for Adam.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> x = torch.eye(8).repeat(4, 1)
        >>> config = TrainConfig(epochs=30, batch_size=8, learning_rate=0.01, progress=False)
        >>> history = fit(mlp_vae(8, latent=2, seed=0), x, config)
        >>> len(history), history.elbo[-1] > history.elbo[0]
        (30, True)
    """
    config = TrainConfig() if config is None else config
    _check_arguments(model, config, on_epoch)
    with together(config.device) as team:
        keeper = None if checkpoint is None or team.rank > 0 else Keeper(checkpoint, save_every)
        if checkpoint is None and resume:
            raise ValueError("resume is True, but checkpoint is None; wanted the folder to go on from")
        return _fit(team, model, data, config, validation, on_epoch, keeper, resume, notes)


def _check_arguments(model: Any, config: Any, on_epoch: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {model!r}; wanted a torch.nn.Module with parameters")
    if not isinstance(config, TrainConfig):
        raise ValueError(f"config is {config!r}; wanted a TrainConfig")
    has_parameters = next(model.parameters(), None) is not None  # without, that is what is said later
    if config.objective == "elbo" and has_parameters and not callable(getattr(model, "loss_terms", None)):
        raise ValueError(
            f"model is a {type(model).__name__} without loss_terms; wanted a VAE, or a module with "
            "loss_terms(x, k) -> (reconstruction, rate)"
        )
    if on_epoch is not None and not callable(on_epoch):
        raise ValueError(f"on_epoch is {on_epoch!r}; wanted something that can be called, or None")


def _fit(
    team: Team,
    model: nn.Module,
    data: Tensor,
    config: TrainConfig,
    validation: Tensor | None,
    on_epoch: Callable[[History], bool | None] | None,
    keeper: Keeper | None,
    resume: bool,
    notes: dict | None,
) -> History:
    """What `fit` does, in each of its processes."""
    device = team.device
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    examples = Resident(data, config, device, dtype)
    held_out = None if validation is None else Resident(validation, config, device, dtype, "validation")
    _check_companions(examples, held_out, config)

    history, position = History(config), Position()
    position.order = torch.Generator().manual_seed(config.seed).get_state()
    keep_the_heap()
    with at_work(model, device), threads(config.threads):
        optimiser = make_optimiser(config.optimiser, model.named_parameters())
        step = make_step(model, examples, config, optimiser, team)
        check_values(model, examples, "data")
        if held_out is not None:
            check_values(model, held_out, "validation")
            held_out = held_out.drawn_once()
        _rehearse(model, examples, config)
        prints = {}
        if keeper is not None or team.size > 1:
            prints["training"] = fingerprint(data)
            if validation is not None:
                prints["validation"] = fingerprint(validation)
        team.insist("data", " and ".join(prints.values()))
        team.insist("config", repr(replace(config, device="auto", progress=False)))
        if keeper is not None:
            shards = shards_of(config, team)
            settled = replace(config, shards=shards if shards > 1 else None)
            keeper.begin(model=model, config=settled, optimiser=optimiser, data=prints, notes=notes)
            history, position = _start(keeper, resume, device, history, position)
        history, position = team.share((history, position))
        team.spread([*model.state_dict().values(), *optimiser.state().values()])
        with keeper.watching() if keeper is not None else nullcontext():
            _train(team, step, held_out, on_epoch, keeper, history, position)
    return history


def _train(
    team: Team,
    step: Step,
    held_out: Resident | None,
    on_epoch: Callable[[History], bool | None] | None,
    keeper: Keeper | None,
    history: History,
    position: Position,
) -> None:
    """Epoch after epoch from the position on, until the last one or until something says stop."""
    model, config = step.model, step.config
    has_elbo = getattr(model, "has_elbo", True)
    epochs = range(position.epoch, position.epoch if position.stopped else config.epochs)
    hidden = not config.progress or os.environ.get("VAE_BOOK_BUILD") == "1" or team.rank > 0
    with tqdm(epochs, initial=position.epoch, total=config.epochs, unit="epoch", disable=hidden) as bar:
        for _ in bar:
            start = time.perf_counter()
            with unwatched(model):
                history.record("", _train_epoch(step, position, keeper, history), has_elbo)
                if held_out is not None:
                    means = team.share(_evaluate(model, held_out, config, position.step))
                    history.record("validation_", means, has_elbo)
            history.seconds += time.perf_counter() - start
            bar.set_postfix(_postfix(history), refresh=False)
            if keeper is not None:
                keeper.epoch_ended(history, position)
            stopped = team.rank == 0 and on_epoch is not None and bool(on_epoch(history))
            position.stopped = team.share(stopped or _has_waited_enough(history))
            if keeper is not None and keeper.is_due():
                keeper.save(history, position)
            if position.stopped:
                break
    if keeper is not None:
        keeper.save(history, position)


def _train_epoch(step: Step, position: Position, keeper: Keeper | None, history: History) -> dict[str, float]:
    """One pass over the data, or the rest of one; the means of the terms."""
    model, data, config = step.model, step.data, step.config
    device = data.data.device
    generator = torch.Generator()
    assert position.order is not None  # fit has drawn it, or the checkpoint holds it
    generator.set_state(position.order)
    order = torch.randperm(len(data), generator=generator).to(device)
    noise_seed = int(torch.randint(2**62, (), generator=generator))
    batches = order.split(config.batch_size)
    tally = Tally(config, position, data.pixels, device)
    model.train()
    with noise(device, noise_seed, position.noise):
        for rows in batches[position.batches :]:
            learning_rate = schedules.learning_rate(config, position.step, len(batches))
            beta = schedules.beta(config, position.step, len(batches))
            sums = step(rows, learning_rate=learning_rate, beta=beta, number=position.step)
            tally.add(sums, len(rows), beta)
            position.step += 1
            position.batches += 1
            if keeper is not None and keeper.is_due():
                tally.settle()
                position.noise = noise_state(device)
                keeper.save(history, position)
        tally.settle()
    step.optimiser.zero_grad()
    model.eval()
    means = {name: total / len(data) for name, total in zip(terms(config), position.totals, strict=True)}
    position.epoch += 1
    position.batches, position.totals, position.noise = 0, [], {}
    position.order = generator.get_state()
    return means


def _start(
    keeper: Keeper, resume: bool, device: torch.device, history: History, position: Position
) -> tuple[History, Position]:
    """Go on from the checkpoint in the folder, or write the first one."""
    if not keeper.last.exists():
        keeper.rewrite_lines(history)
        keeper.save(history, position)
        return history, position
    if not resume:
        raise CheckpointError(
            f"{keeper.last} is there already; wanted resume=True to go on from it, or another folder"
        )
    earlier = keeper.earlier(device.type)
    restore(earlier, keeper.model, keeper.parts["optimiser"])
    assert earlier.history is not None  # keeper.earlier refuses a checkpoint without one
    earlier.history.config = history.config
    keeper.rewrite_lines(earlier.history)
    return earlier.history, earlier.position


def _check_companions(data: Resident, validation: Resident | None, config: TrainConfig) -> None:
    if validation is None and config.patience is not None:
        raise ValueError(
            f"patience is {config.patience}, but there are no validation data to watch; wanted some"
        )
    if validation is not None and validation.pixels != data.pixels:
        raise ValueError(f"validation has {validation.pixels} columns; wanted {data.pixels}, as in data")


@torch.no_grad()
def _rehearse(model: nn.Module, data: Resident, config: TrainConfig) -> None:
    """Let a model that cannot do what is asked of it say so before anything is written."""
    if config.analytic_kl or config.free_bits or config.prune:
        objective = make_objective(model, config)
        device = data.data.device
        with noise(device, config.seed):
            objective(data.batch(torch.arange(min(2, len(data)), device=device)), config.beta)


@torch.no_grad()
def _evaluate(model: nn.Module, data: Resident, config: TrainConfig, step: int) -> dict[str, float]:
    """The means of the terms over `data`, with the same noise every time."""
    objective = make_objective(model, replace(config, prune=0.0))
    totals = [0.0] * len(terms(config))
    device = data.data.device
    with noise(device, config.seed):
        size = max(config.batch_size, _ROWS // config.samples)
        for rows in torch.arange(len(data), device=device).split(size):
            sums = objective(data.batch(rows), config.beta)[1].tolist()
            refuse_broken_sums(config, sums, step)
            totals = [total + new for total, new in zip(totals, sums, strict=True)]
    return {name: total / len(data) for name, total in zip(terms(config), totals, strict=True)}


def _has_waited_enough(history: History) -> bool:
    """Whether the best epoch lies `patience` epochs back."""
    patience, best = history.config.patience, history.best_epoch()
    return patience is not None and best is not None and len(history) - best >= patience


def _postfix(history: History) -> dict[str, str]:
    latest = history.latest()
    shown = ("bound", "validation_bound", "elbo", "validation_elbo", "reconstruction", "rate")
    return {name.replace("_", " "): f"{latest[name]:.2f}" for name in shown if name in latest}
