"""Checkpoints: a model and everything a run needs to go on from where it stood.

A checkpoint is one safetensors file (see `vae_lib.training.container`). Its tensors are the weights,
the moments of the optimiser, the random states and the curves; its JSON document says how to build
the model, with which settings and how far it was trained, and which versions wrote it.
"""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

import vae_lib.builders  # with it, every builder is known
from vae_lib.networks.recipe import BUILDERS
from vae_lib.training import container
from vae_lib.training.config import TrainConfig
from vae_lib.training.container import CheckpointError
from vae_lib.training.history import CURVES, History
from vae_lib.training.optimisers import Adam

__all__ = [
    "Checkpoint",
    "Position",
    "find_checkpoint",
    "fingerprint",
    "load_checkpoint",
    "restore",
    "save_checkpoint",
]


@dataclass
class Position:
    """Where a run stands, between two steps.

    Attributes:
        epoch: Whole epochs done.
        step: Steps done, over all epochs.
        batches: Steps done in the epoch that is under way.
        totals: The sums of the terms over the examples of that epoch so far; empty before the first.
        start: The terms of the first step of the run, per example.
        astray: How many steps in a row the loss has been absurd; see `vae_lib.training.tally`.
        order: The state of the generator that draws the order of the examples, at the start of
            that epoch.
        noise: The random states behind the noise; empty between two epochs.
        stopped: Whether the callback ended the run.

    Example:
        >>> Position().epoch
        0
    """

    epoch: int = 0
    step: int = 0
    batches: int = 0
    totals: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    astray: int = 0
    order: Tensor | None = None
    noise: dict[str, Tensor] = field(default_factory=dict)
    stopped: bool = False


_RANDOM = ("order", "noise")  # of a position: what lies among the tensors


@dataclass
class Checkpoint:
    """What a checkpoint holds, as `load_checkpoint` returns it.

    Attributes:
        path: The file it came from.
        model: The model with its trained weights, on the CPU and in eval mode.
        config: The settings of the run, or None if it was saved without.
        history: The curves so far, or None. Its `seconds` are 0: they are no property of the result,
            and without them the same run writes the same bytes.
        position: Where the run stands.
        recipe: How the model is built, {"builder": ..., "arguments": {...}}, or None.
        notes: What the caller of `save_checkpoint` or `fit` added.
        versions: The versions of Python, torch and vae_lib that wrote it.
        device: The kind of device it was trained on, "cpu" or "cuda".
        data: Fingerprints of the data it was trained and validated on.
        tensors: The weights and the moments of the optimiser as they lie in the file, by name.

    Book: chapter 12 (checkpoints).

    Example:
        >>> import tempfile
        >>> from vae_lib.networks import mlp_vae
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(f"{folder}/model.safetensors", mlp_vae(8, latent=2, seed=0))
        ...     saved = load_checkpoint(f"{folder}/model.safetensors")
        >>> saved.recipe["builder"], saved.config
        ('mlp_vae', None)
    """

    path: Path
    model: Any  # a module; None until `load_checkpoint` has built it
    config: TrainConfig | None
    history: History | None
    position: Position
    recipe: dict | None
    notes: dict
    versions: dict[str, str]
    device: str
    data: dict[str, str]
    tensors: dict[str, Shaped[Tensor, "..."]] = field(repr=False)


def save_checkpoint(
    path: str | Path,
    model: nn.Module,
    *,
    config: TrainConfig | None = None,
    history: History | None = None,
    optimiser: Adam | None = None,
    position: Position | None = None,
    data: dict[str, str] | None = None,
    notes: dict | None = None,
) -> None:
    """Save a model, and what a run needs to go on, into one file.

    The file appears whole or not at all, and a file of the same name stays until the new one is
    safe on the disk. The same state makes the same bytes.

    Args:
        path: The file; by custom it ends in .safetensors. Its folder must exist.
        model: A module. One made by a builder of `vae_lib.networks` carries its `recipe` and can be
            built again by `load_checkpoint`; any other must be handed to it.
        config: The settings of the run.
        history: The curves so far.
        optimiser: The optimiser whose moments are kept.
        position: Where the run stands.
        data: Fingerprints of the data, as `fingerprint` makes them.
        notes: Anything else that JSON can hold.

    Raises:
        CheckpointError: If the file cannot be written.
        ValueError: If the recipe or the notes are not JSON.

    Book: chapter 12 (checkpoints).

    Example:
        >>> import tempfile
        >>> from vae_lib.networks import mlp_vae
        >>> model = mlp_vae(8, latent=2, seed=0)
        >>> model.recipe = {"builder": "mlp_vae", "arguments": {"pixels": 8, "latent": 2}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(f"{folder}/model.safetensors", model, notes={"data": "none"})
        ...     twin = load_checkpoint(f"{folder}/model.safetensors").model
        >>> x = torch.eye(8)
        >>> bool((twin.reconstruct(x) == model.reconstruct(x)).all())
        True
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {model!r}; wanted a torch.nn.Module")
    tensors, document = pack(
        model,
        config=config,
        history=history,
        optimiser=optimiser,
        position=position,
        data=data,
        notes=notes,
    )
    container.write(Path(path), tensors, document)


def _check_json(name: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not JSON ({error}); wanted numbers, text, lists and dicts") from None


def pack(
    model: nn.Module,
    *,
    config: TrainConfig | None = None,
    history: History | None = None,
    optimiser: Adam | None = None,
    position: Position | None = None,
    data: dict[str, str] | None = None,
    notes: dict | None = None,
) -> tuple[dict[str, Tensor], dict]:
    """The tensors and the document of a checkpoint; the weights are not copied yet."""
    for name, value in (("recipe", getattr(model, "recipe", None)), ("notes", notes)):
        _check_json(name, value)
    position = position or Position()
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if optimiser is not None:
        tensors |= {f"optimiser.{name}": tensor for name, tensor in optimiser.state().items()}
    if history is not None:
        curves = {name: torch.tensor(getattr(history, name), dtype=torch.float64) for name in CURVES}
        tensors |= {f"history.{name}": curve for name, curve in curves.items()}
    if position.order is not None:
        tensors["random.order"] = position.order
    tensors |= {f"random.noise.{name}": state for name, state in position.noise.items()}
    document = {
        "format": container.FORMAT,
        "recipe": getattr(model, "recipe", None),
        "config": None if config is None else asdict(config),
        "history": history is not None,
        "position": {name: value for name, value in vars(position).items() if name not in _RANDOM},
        "device": next((p.device.type for p in model.parameters()), "cpu"),
        "data": data or {},
        "notes": notes or {},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "vae_lib": vae_lib.__version__,
        },
    }
    return tensors, document


def load_checkpoint(path: str | Path, model: nn.Module | None = None) -> Checkpoint:
    """Load a checkpoint and build its model.

    Nothing in the file is executed: it holds numbers and JSON, and only the builders of
    `vae_lib.networks` and `vae_lib.builders` build models. Weights that were stored in float16, to
    be small, come back in float32 with the same values.

    Args:
        path: The file. For a folder that `fit` wrote, its `last.safetensors`.
        model: A module to load the weights into, in place. It is needed where the model was not
            made by a builder of `vae_lib.networks`.

    Returns:
        The `Checkpoint`, with the model in eval mode.

    Raises:
        CheckpointError: If the file is missing, truncated, altered or no checkpoint; if it was made
            by a later version; or if it holds another model.

    Book: chapter 12 (checkpoints).

    Example:
        >>> load_checkpoint("nowhere.safetensors")
        Traceback (most recent call last):
        ...
        vae_lib.training.container.CheckpointError: nowhere.safetensors could not be read: No such file...
    """
    checkpoint = read_checkpoint(path)
    checkpoint.model = _build(checkpoint) if model is None else model
    restore(checkpoint, checkpoint.model)
    if model is None and _kinds(checkpoint) == {torch.float16}:
        checkpoint.model.float()  # stored in half the bytes, computed with in full
    checkpoint.model.eval()
    return checkpoint


def find_checkpoint(path: str | Path) -> Path:
    """The file that is meant: in the folder of a run the best checkpoint, or else the last.

    Example:
        >>> find_checkpoint("model.safetensors").name
        'model.safetensors'
    """
    path = Path(path)
    best = path / "best.safetensors"
    if path.is_dir():
        return best if best.exists() else path / "last.safetensors"
    return path


def read_checkpoint(path: str | Path) -> Checkpoint:
    """What `load_checkpoint` returns, with no model built yet."""
    if not isinstance(path, str | Path):
        raise ValueError(f"path is {path!r}; wanted the name of a file")
    path = Path(path)
    if path.is_dir():
        path = path / "last.safetensors"
    tensors, document = container.read(path)
    if document.get("format") != container.FORMAT:
        raise CheckpointError(
            f"{path} has the format {document.get('format')!r}; wanted {container.FORMAT}, the one this "
            "version of vae_lib knows"
        )
    try:
        return _unpack(path, tensors, document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be used: {_one_line(error)}") from error


def restore(checkpoint: Checkpoint, model: nn.Module, optimiser: Adam | None = None) -> None:
    """Copy the weights, and the moments if there is an optimiser, into what is already there.

    Args:
        checkpoint: A loaded checkpoint.
        model: The module; it must have tensors of the same names, shapes and precisions.
        optimiser: The optimiser of the model.

    Raises:
        CheckpointError: If the checkpoint holds another model. Then nothing was changed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(f"{folder}/a.safetensors", nn.Linear(2, 1))
        ...     load_checkpoint(f"{folder}/a.safetensors", nn.Linear(3, 1))
        Traceback (most recent call last):
        ...
        vae_lib.training.container.CheckpointError: ...a.safetensors holds another model: weight is (1, 2)...
    """
    _copy(checkpoint, "model.", dict(model.state_dict()))
    if optimiser is not None:
        _copy(checkpoint, "optimiser.", optimiser.state())


def fingerprint(data: Tensor) -> str:
    """Shape, precision and SHA-256 of a tensor, to tell whether a run goes on with the same data.

    Example:
        >>> fingerprint(torch.zeros(2, 3))[:20]
        '2x3 float32 9d908ecf'
    """
    shape = "x".join(str(size) for size in data.shape)
    digest = hashlib.sha256(data.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
    return f"{shape} {str(data.dtype).removeprefix('torch.')} {digest}"


def _unpack(path: Path, tensors: dict[str, Tensor], document: dict) -> Checkpoint:
    """The parts of a checkpoint, without its model."""
    config = document["config"] and TrainConfig(**document["config"])
    history = None
    if document["history"]:
        # one of an earlier version may know fewer curves, but never lacks the terms of the ELBO
        wanted = ("elbo", "reconstruction", "rate")
        known = [name for name in CURVES if name in wanted or f"history.{name}" in tensors]
        curves: dict[str, Any] = {name: tensors[f"history.{name}"].tolist() for name in known}
        history = History(config, **curves)
    noise = {name.rsplit(".", 1)[1]: t for name, t in tensors.items() if name.startswith("random.noise.")}
    position = Position(**document["position"], order=tensors.get("random.order"), noise=noise)
    return Checkpoint(
        path=path,
        model=None,
        config=config,
        history=history,
        position=position,
        recipe=document["recipe"],
        notes=document["notes"],
        versions=document["versions"],
        device=document["device"],
        data=document["data"],
        tensors=tensors,
    )


def _build(checkpoint: Checkpoint) -> nn.Module:
    """The untrained model of the recipe, in the precision of the saved weights."""
    if checkpoint.recipe is None:
        raise CheckpointError(
            f"{checkpoint.path} does not say how its model is built; wanted "
            "load_checkpoint(path, model) with a model of the same make"
        )
    try:
        name, arguments = checkpoint.recipe["builder"], checkpoint.recipe["arguments"]
        if name not in BUILDERS:
            raise ValueError(f"vae_lib has no builder {name!r}")
        model = BUILDERS[name](**arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path} has a recipe that fails: {_one_line(error)}") from error
    kinds = _kinds(checkpoint)
    return model.to(kinds.pop()) if len(kinds) == 1 else model


def _kinds(checkpoint: Checkpoint) -> set[torch.dtype]:
    """The precisions of the saved weights."""
    weights = [t for name, t in checkpoint.tensors.items() if name.startswith("model.")]
    return {weight.dtype for weight in weights if weight.is_floating_point()}


def _copy(checkpoint: Checkpoint, prefix: str, targets: dict[str, Tensor]) -> None:
    """Copy the tensors that have this prefix into `targets`, once all of them are seen to fit."""
    saved = {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith(prefix)
    }
    another = f"{checkpoint.path} holds another model"
    for name in sorted(targets.keys() | saved.keys()):
        if name not in saved or name not in targets:
            lacking = "the checkpoint" if name not in saved else "this model"
            raise CheckpointError(f"{another}: {lacking} has no {name}")
        ours, theirs = targets[name], saved[name]
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise CheckpointError(
                f"{another}: {name} is {tuple(theirs.shape)} {theirs.dtype}; wanted "
                f"{tuple(ours.shape)} {ours.dtype}"
            )
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(saved[name])


def _one_line(error: Exception) -> str:
    text = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return " ".join(text.split())
