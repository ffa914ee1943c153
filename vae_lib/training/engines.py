"""The kinds of step, and which of them a run takes."""

from typing import Any

from torch import nn

from vae_lib.training.config import TrainConfig
from vae_lib.training.optimisers import Adam
from vae_lib.training.processes import Team
from vae_lib.training.resident import Resident
from vae_lib.training.sharded import ShardedStep, shards_of
from vae_lib.training.steps import Step

__all__ = ["make_step"]


def make_step(model: nn.Module, data: Resident, config: TrainConfig, optimiser: Adam, team: Team) -> Step:
    """The kind of step that the settings ask for.

    Example:
        >>> import torch
        >>> from vae_lib.networks import mlp_vae
        >>> model = mlp_vae(8, latent=2, seed=0)
        >>> data, team = Resident(torch.eye(8), TrainConfig(), torch.device("cpu")), Team(torch.device("cpu"))
        >>> optimiser = Adam(model.named_parameters())
        >>> type(make_step(model, data, TrainConfig(), optimiser, team)).__name__
        'Step'
        >>> type(make_step(model, data, TrainConfig(shards=2), optimiser, team)).__name__
        'ShardedStep'
    """
    shards = shards_of(config, team)
    if shards > 1 and config.compile:
        raise ValueError(f"compile is True with {shards} shards; wanted one shard, or compile=False")
    if shards > 1:
        return ShardedStep(model, data, config, optimiser, team)
    # what a run does not take it does not import either: torch's compiler alone needs two seconds
    graph: Any = None
    if data.data.device.type == "cuda" and not config.prune:  # a pruned batch is another size every time
        from vae_lib.training.captured import capture

        graph = capture
    if config.compile:
        from vae_lib.training.compiled import CompiledStep

        return CompiledStep(model, data, config, optimiser, graph)
    if graph is not None:
        from vae_lib.training.recording import RecordedStep

        return RecordedStep(model, data, config, optimiser, graph)
    return Step(model, data, config, optimiser)
