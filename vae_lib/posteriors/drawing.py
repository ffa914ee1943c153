"""Draws from any posterior, with ln q at them, by the quickest way that it has."""

from torch import Tensor
from torch.distributions import Distribution

__all__ = ["drawn", "draws"]


def draws(posterior: Distribution, k: int) -> Tensor:
    """z (k, batch, latent), through which gradients reach the posterior.

    Example:
        >>> import torch
        >>> from vae_lib.posteriors import Diagonal
        >>> draws(Diagonal(latent=2)(torch.zeros(5, 4)), k=7).shape
        torch.Size([7, 5, 2])
    """
    try:
        return posterior.rsample((k,))
    except NotImplementedError:
        raise ValueError(
            f"encoder returned a {type(posterior).__name__}, which has no rsample; wanted a distribution "
            "whose draws carry gradients, such as Independent(Normal(mean, std), 1)"
        ) from None


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
    z = draws(posterior, k)
    return z, posterior.log_prob(z)
