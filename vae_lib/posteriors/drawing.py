"""Draws from any posterior, with ln q at them, by the quickest way that it has."""

from torch import Tensor
from torch.distributions import Distribution

__all__ = ["drawn"]


def drawn(posterior: Distribution, k: int) -> tuple[Tensor, Tensor]:
    """z (k, batch, latent) from the posterior, and ln q(z|x) in nats, (k, batch).

    Those of `vae_lib.posteriors` know ln q from the noise. For an inverse autoregressive flow that is one
    pass; to recover the noise from z would be one for each latent.

    Example:
        >>> import torch
        >>> from vae_lib.posteriors import Diagonal
        >>> z, log_q = drawn(Diagonal(latent=2)(torch.zeros(5, 4)), k=7)
        >>> z.shape, log_q.shape
        (torch.Size([7, 5, 2]), torch.Size([7, 5]))
    """
    if hasattr(posterior, "rsample_and_log_prob"):
        return posterior.rsample_and_log_prob((k,))
    z = posterior.rsample((k,))
    return z, posterior.log_prob(z)
