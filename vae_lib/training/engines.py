"""The kinds of step, and which of them a run takes."""

from torch import nn

from vae_lib.training.config import TrainConfig
from vae_lib.training.optimisers import Adam
from vae_lib.training.resident import Resident
from vae_lib.training.steps import Step

__all__ = ["make_step"]


def make_step(model: nn.Module, data: Resident, config: TrainConfig, optimiser: Adam) -> Step:
    """The kind of step that the settings ask for.

    Example:
        >>> import torch
        >>> from vae_lib.networks import mlp_vae
        >>> model = mlp_vae(8, latent=2, seed=0)
        >>> data = Resident(torch.eye(8), torch.device("cpu"))
        >>> type(make_step(model, data, TrainConfig(), Adam(model.named_parameters()))).__name__
        'Step'
    """
    if config.compile:
        # torch's compiler takes two seconds to import: only who asks for it waits for it
        from vae_lib.training.compiled import CompiledStep

        return CompiledStep(model, data, config, optimiser)
    return Step(model, data, config, optimiser)
