"""A Gaussian whose latents may depend on each other."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence
from torch.distributions.kl import register_kl

from vae_lib import _require
from vae_lib._soft import softened
from vae_lib.posteriors._check import check_codes, check_features
from vae_lib.posteriors.log_var import bounded_log_var

__all__ = ["FullCovariance", "FullCovarianceNormal"]


class FullCovarianceNormal(MultivariateNormal):
    r"""torch's `MultivariateNormal`, with ln q straight from the noise and a KL to a diagonal prior.

    Book: chapter 6 (full covariance). Source: Kingma and Welling (2019), algorithm 2.

    Example:
        >>> q = FullCovarianceNormal(torch.zeros(2), scale_tril=torch.tensor([[1.0, 0.0], [3.0, 0.5]]))
        >>> q.covariance_matrix
        tensor([[1.0000, 3.0000],
                [3.0000, 9.2500]])
    """

    def log_prob(self, value: Float[Tensor, "*samples_and_batch latent"]) -> Float[Tensor, "*rest"]:
        """ln q(z) in nats, (k, batch) for z (k, batch, latent).

        Raises:
            ValueError: If z is not (..., latent), or for another batch.

        Example:
            >>> q = FullCovarianceNormal(torch.zeros(3, 2), scale_tril=torch.eye(2).expand(3, 2, 2))
            >>> q.log_prob(torch.zeros(7, 3, 2)).shape
            torch.Size([7, 3])
        """
        check_codes(value, self.event_shape[0], self.batch_shape)
        return super().log_prob(value)

    def rsample_and_log_prob(
        self,
        sample_shape: Sequence[int] = torch.Size(),
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch"]]:
        r"""Draw z and return it with :math:`\ln q(z)`, which the noise knows already.

        .. math:: z = \mu + L \varepsilon, \qquad
                  \ln q(z) = - \sum_i \left[ \tfrac12 \varepsilon_i^2 + \tfrac12 \ln 2 \pi
                  + \ln \sigma_i \right]

        No triangular system is solved, so nothing is lost where L is badly conditioned. Its
        gradient with respect to the parameters is that of `log_prob(z)` at the drawn z, but z is
        not on the way: where you need the gradient with respect to z, call `log_prob`.

        Returns:
            z, (k, batch, latent), and ln q(z) in nats, (k, batch).

        Source: Kingma and Welling (2019), algorithm 2.

        Example:
            >>> q = FullCovarianceNormal(torch.zeros(3, 2), scale_tril=torch.eye(2).expand(3, 2, 2))
            >>> z, log_q = q.rsample_and_log_prob((7,))
            >>> z.shape, torch.allclose(log_q, q.log_prob(z))
            (torch.Size([7, 3, 2]), True)
        """
        factor = self.scale_tril  # (batch, latent, latent)
        std = factor.diagonal(dim1=-2, dim2=-1)  # σ, (batch, latent)
        standard = Normal(torch.zeros_like(std), torch.ones_like(std), validate_args=False)
        noise = standard.rsample(torch.Size(sample_shape))  # ε, (k, batch, latent)
        z = self.loc + (factor @ noise.unsqueeze(-1)).squeeze(-1)
        return z, (standard.log_prob(noise) - std.log()).sum(-1)


@register_kl(FullCovarianceNormal, Independent)
def _kl_to_diagonal(q: FullCovarianceNormal, p: Independent) -> Tensor:
    # torch knows the KL of two MultivariateNormal, so the diagonal one is written as such
    if not isinstance(p.base_dist, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    prior = MultivariateNormal(p.mean, scale_tril=torch.diag_embed(p.stddev), validate_args=False)
    return kl_divergence(q, prior)


class FullCovariance(nn.Module):
    r"""A Gaussian posterior with any covariance, given by its Cholesky factor.

    .. math:: L = L_{\text{mask}} \odot L' + \operatorname{diag} \sigma, \qquad
              z = \mu + L \varepsilon, \qquad q_\phi(z|x) = \mathcal{N}(z; \mu, L L^\top)

    The mask keeps what is below the diagonal, so L is triangular with a positive diagonal: any
    features make a valid covariance, and :math:`\ln \det L = \sum_i \ln \sigma_i`.

    The features of an example are the means, the raw log-variances :math:`\ln \sigma^2`, and the
    elements of :math:`L'` below the diagonal, row by row. Log-variances go through
    `bounded_log_var`. The elements of :math:`L'` go through the same function, which leaves those
    within [-6, 6] as they are: beyond it, float32 could no longer tell q from a singular one.
    Diagonal covariances are among these, at :math:`L' = 0`.

    Args:
        latent: The number of latent variables.

    Attributes:
        features: The numbers it needs for each example, 2 latent + latent (latent − 1) / 2.

    Raises:
        ValueError: If latent is below 1. Calling it: if the features are not (..., features).

    Book: chapter 6 (full covariance). Source: Kingma and Welling (2019), section 2.5.1
    and algorithm 2, which puts :math:`\ln \sigma` where this module has :math:`\ln \sigma^2`.

    Example:
        >>> posterior = FullCovariance(latent=2)
        >>> q = posterior(torch.tensor([1.0, 2.0, 0.0, 0.0, 3.0]))
        >>> posterior.features, q.mean, q.covariance_matrix
        (5, tensor([1., 2.]), tensor([[ 1.,  3.],
                [ 3., 10.]]))
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        _require.positive_integer("latent", latent)
        self.latent = int(latent)
        self.pairs = self.latent * (self.latent - 1) // 2
        self.features = 2 * self.latent + self.pairs

    def forward(self, features: Float[Tensor, "*batch features"]) -> FullCovarianceNormal:
        check_features(
            features, self.features, "latent means, latent log-variances, and a number for each pair"
        )
        mean, raw, below = features.split([self.latent, self.latent, self.pairs], dim=-1)
        factor = torch.diag_embed(torch.exp(0.5 * bounded_log_var(raw)))  # (batch, latent, latent)
        row, column = torch.tril_indices(self.latent, self.latent, offset=-1, device=features.device)
        factor[..., row, column] = softened(below)
        return FullCovarianceNormal(mean, scale_tril=factor, validate_args=False)

    def extra_repr(self) -> str:
        return f"latent={self.latent}"
