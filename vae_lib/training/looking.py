"""A look at the data before the run, in place of one at every step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution

from vae_lib.training.resident import Resident
from vae_lib.training.surroundings import noise

__all__ = ["look_once", "without_looking"]

_AT_ONCE = 1024


@torch.no_grad()
def look_once(model: Any, data: Resident) -> None:
    """Let the model look at every example, and refuse what it would refuse in training.

    It draws from a source of its own, so nothing changes for the run.

    Args:
        model: A module with `loss_terms(x, k=...)`.
        data: The examples.

    Raises:
        ValueError: In the words of the model, such as "x holds 3 grey pixels".

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> grey = Resident(torch.full((4, 8), 0.5), torch.device("cpu"))
        >>> look_once(mlp_vae(8, latent=2, seed=0), grey)
        Traceback (most recent call last):
        ValueError: x holds 32 grey pixels, such as 0.5; wanted every pixel to be 0 or 1 ...
    """
    device = data.data.device
    with noise(device, 0):
        for rows in torch.arange(len(data), device=device).split(_AT_ONCE):
            model.loss_terms(data.batch(rows), k=1)


@contextmanager
def without_looking(model: nn.Module) -> Iterator[None]:
    """Nobody looks at values meanwhile: neither our likelihoods nor the distributions of torch.

    A look is an answer that the program waits for. A step that is recorded once and then repeated
    has nobody who could wait.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> model = mlp_vae(8, latent=2, seed=0)
        >>> with without_looking(model):
        ...     model.decoder.likelihood.validate
        False
        >>> model.decoder.likelihood.validate
        True
    """
    lookers: list[Any] = [m for m in model.modules() if getattr(m, "validate", None) is True]
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    for module in lookers:
        module.validate = False
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
        for module in lookers:
            module.validate = True
