"""A Gaussian whose latents are independent."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from vae_lib import _require
from vae_lib.posteriors._check import check_features
from vae_lib.posteriors.log_var import bounded_log_var

__all__ = ["Diagonal"]


class Diagonal(nn.Module):
    r"""A Gaussian posterior, independent in every latent variable.

    .. math:: q_\phi(z|x) = \mathcal{N}(z; \mu, \operatorname{diag} \sigma^2), \qquad
              \ln \sigma^2 = \mathtt{bounded\_log\_var}(\text{raw})

    The features of an example are first the means, then the raw log-variances.

    Args:
        latent: The number of latent variables.

    Attributes:
        features: The numbers it needs for each example, 2 latent.

    Raises:
        ValueError: If latent is below 1. Calling it: if the features are not (..., 2 latent).

    Book: chapter 8 (encoder, decoder, prior). Source: Kingma and Welling (2014), appendix C.2.

    Example:
        >>> q = Diagonal(latent=2)(torch.tensor([[1.0, 2.0, 0.0, -4.0]]))
        >>> q.mean, q.variance.log()
        (tensor([[1., 2.]]), tensor([[ 0., -4.]]))
        >>> q.log_prob(torch.zeros(7, 1, 2)).shape
        torch.Size([7, 1])
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        _require.positive_integer("latent", latent)
        self.latent = latent
        self.features = 2 * latent

    def forward(self, features: Float[Tensor, "*batch features"]) -> Independent:
        check_features(features, self.features, "latent means, then as many log-variances")
        mean, raw = features.split(self.latent, dim=-1)  # (batch, latent) each
        std = torch.exp(0.5 * bounded_log_var(raw))
        return Independent(Normal(mean, std, validate_args=False), 1)

    def extra_repr(self) -> str:
        return f"latent={self.latent}"
