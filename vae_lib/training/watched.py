"""The values of the data, looked at once for the whole run instead of in every step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from vae_lib.likelihoods import Bernoulli, Categorical, ContinuousBernoulli, DiscretizedLogistic, Gaussian
from vae_lib.networks.coders import width_of
from vae_lib.training.resident import Resident

__all__ = ["check_values", "unwatched"]

_KINDS = (Bernoulli, Categorical, ContinuousBernoulli, DiscretizedLogistic, Gaussian)
_ROWS = 1024  # looked at together


def _watching(model: nn.Module) -> list:
    """The likelihoods of vae_lib in the model that look at the values of x."""
    return [part for part in model.modules() if isinstance(part, _KINDS) and part.validate]


def check_values(model: Any, data: Resident, name: str = "data") -> None:
    """Refuse data that a likelihood in the model would refuse, before the first step.

    Data that every step draws anew need no look: they are 0 or 1.

    Args:
        model: The module to train.
        data: The examples.
        name: What they are called in the message.

    Raises:
        ValueError: If the model wants another number of pixels, or a pixel is none that the likelihood
            gives a probability to.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> from vae_lib.training import TrainConfig
        >>> grey = Resident(torch.full((5, 8), 0.5), TrainConfig(), torch.device("cpu"))
        >>> check_values(mlp_vae(8, 2, seed=0), grey)
        Traceback (most recent call last):
        ...
        ValueError: data holds 40 grey pixels, such as 0.5; wanted every pixel to be 0 or 1 ...
    """
    encoder = model.encoders[0] if hasattr(model, "encoders") else getattr(model, "encoder", None)
    inputs = width_of(getattr(encoder, "network", None))
    if inputs not in (None, data.pixels):
        raise ValueError(
            f"{name} has {data.pixels} columns; wanted {inputs}, as many as the encoder of the model takes"
        )
    if data.config.binarise:
        return
    pixels = data.pixels - getattr(model, "conditions", 0)  # `Joined` puts the condition behind x
    for likelihood in _watching(model):
        depth = getattr(likelihood, "depth", 1)
        zeros = torch.zeros(pixels * depth, dtype=data.dtype, device=data.data.device)
        image = likelihood(zeros)  # any parameters will do: what is looked at are the values
        for rows in torch.arange(len(data), device=data.data.device).split(_ROWS):
            try:
                image.check(data.batch(rows)[:, :pixels])
            except ValueError as error:
                raise ValueError(f"{name}{str(error).removeprefix('x')}") from None


@contextmanager
def unwatched(model: nn.Module) -> Iterator[None]:
    """Let the likelihoods of the model trust the values of x, and afterwards look at them again.

    Only the modules of vae_lib are touched: distributions of others keep whatever they validate.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> model = mlp_vae(8, 2, seed=0)
        >>> with unwatched(model):
        ...     print(model.decoder.likelihood.validate)
        False
        >>> model.decoder.likelihood.validate
        True
    """
    likelihoods = _watching(model)
    for likelihood in likelihoods:
        likelihood.validate = False
    try:
        yield
    finally:
        for likelihood in likelihoods:
            likelihood.validate = True
