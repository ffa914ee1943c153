"""What a step needs that is recorded once and repeated without Python: nobody may wait for an answer."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributions import Distribution

__all__ = ["trusting"]


@contextmanager
def trusting() -> Iterator[None]:
    """Meanwhile the distributions of torch do not look at the values of their parameters and of x.

    The likelihoods of vae_lib do not either while `fit` trains: see `vae_lib.training.watched`.

    Example:
        >>> import torch
        >>> with trusting():
        ...     torch.distributions.Normal(torch.zeros(2), torch.full((2,), torch.nan))
        Normal(loc: torch.Size([2]), scale: torch.Size([2]))
    """
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
