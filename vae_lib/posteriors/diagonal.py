"""A Gaussian whose latents are independent."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from vae_lib import _require
from vae_lib._gaussian import log_density
from vae_lib.posteriors._check import check_codes, check_features
from vae_lib.posteriors.log_var import bounded_log_var

__all__ = ["Diagonal", "DiagonalNormal"]


class DiagonalNormal(Independent):
    r"""torch's `Independent(Normal(...), 1)`, with ln q straight from the noise.

    It keeps the log-variance that it was made of, so that nobody takes the logarithm of an exponential.

    Args:
        mean: :math:`\mu`, (..., latent).
        log_var: :math:`\ln \sigma^2`, (..., latent).

    Book: chapter 4 (three forms of the ELBO), chapter 8 (encoder, decoder, prior). Source: Kingma and
    Welling (2014), appendix C.2.

    Example:
        >>> DiagonalNormal(torch.zeros(5, 2), torch.zeros(5, 2)).stddev.shape
        torch.Size([5, 2])
    """

    def __init__(self, mean: Float[Tensor, "*batch latent"], log_var: Float[Tensor, "*batch latent"]) -> None:
        super().__init__(Normal(mean, torch.exp(0.5 * log_var), validate_args=False), 1)
        self.log_var = log_var

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> Independent:
        """The same distribution for more examples; a plain `Independent`, as torch wants to make it.

        Example:
            >>> DiagonalNormal(torch.zeros(2), torch.zeros(2)).expand((5,)).batch_shape
            torch.Size([5])
        """
        return Independent(self.base_dist, 1).expand(torch.Size(batch_shape))

    def log_prob(self, value: Float[Tensor, "*samples_and_batch latent"]) -> Float[Tensor, "*rest"]:
        """ln q(z) in nats, (k, batch) for z (k, batch, latent).

        Raises:
            ValueError: If z is not (..., latent), or for another batch.

        Example:
            >>> DiagonalNormal(torch.zeros(3, 2), torch.zeros(3, 2)).log_prob(torch.zeros(7, 3, 2)).shape
            torch.Size([7, 3])
        """
        check_codes(value, self.event_shape[0], self.batch_shape)
        return super().log_prob(value)

    def rsample_and_log_prob(
        self,
        sample_shape: Sequence[int] = torch.Size(),
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch"]]:
        r"""Draw z and return it with :math:`\ln q(z)`, which the noise knows already.

        .. math:: z = \mu + \sigma \varepsilon, \qquad
                  \ln q(z) = -\tfrac12 \sum_i \left[ \varepsilon_i^2 + \ln \sigma_i^2 + \ln 2 \pi \right]

        Its gradient with respect to the parameters is that of `log_prob(z)` at the drawn z, but z is
        not on the way: where you need the gradient with respect to z, call `log_prob`.

        Returns:
            z, (k, batch, latent), and ln q(z) in nats, (k, batch).

        Source: Kingma and Welling (2019), algorithm 1.

        Example:
            >>> q = DiagonalNormal(torch.zeros(3, 2), torch.ones(3, 2))
            >>> z, log_q = q.rsample_and_log_prob((7,))
            >>> z.shape, torch.allclose(log_q, q.log_prob(z))
            (torch.Size([7, 3, 2]), True)
        """
        mean, std = self.base_dist.loc, self.base_dist.scale  # (batch, latent) each
        standard = Normal(torch.zeros_like(mean), torch.ones_like(std), validate_args=False)
        noise = standard.rsample(torch.Size(sample_shape))  # ε, (k, batch, latent)
        log_q = log_density(noise.square().sum(-1), self.log_var.sum(-1), dims=mean.shape[-1])  # (k, batch)
        return mean + std * noise, log_q


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
        self.latent = int(latent)
        self.features = 2 * self.latent

    def forward(self, features: Float[Tensor, "*batch features"]) -> DiagonalNormal:
        check_features(features, self.features, "latent means, then as many log-variances")
        mean, raw = features.split(self.latent, dim=-1)  # (batch, latent) each
        return DiagonalNormal(mean, bounded_log_var(raw))

    def extra_repr(self) -> str:
        return f"latent={self.latent}"
