"""ln q(z|x) at draws from q, without the gradient of the parameters of q."""

from typing import Any

from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.func import functional_call

from vae_lib.posteriors import DiagonalNormal, FullCovarianceNormal

__all__ = ["detached_log_prob", "log_prob_with_frozen_parameters"]


def detached_log_prob(encoder: Any, x: Tensor, posterior: Distribution, z: Tensor) -> Tensor:
    """ln q(z|x) at the posterior `encoder(x)`, with the parameters of the posterior detached.

    A Gaussian is built again from its detached parameters, which costs nothing. Any other posterior
    is computed a second time, with every parameter of the encoder frozen.
    """
    twin = _detached_gaussian(posterior)
    if twin is not None:
        return twin.log_prob(z)
    return log_prob_with_frozen_parameters(encoder, x, z)


def _detached_gaussian(q: Distribution) -> Distribution | None:
    # a subclass may score z in its own way, with parameters that this function does not know
    score = type(q).log_prob
    if isinstance(q, Independent) and score in (Independent.log_prob, DiagonalNormal.log_prob):
        base = _detached_gaussian(q.base_dist)
        return None if base is None else Independent(base, q.reinterpreted_batch_ndims, validate_args=False)
    if isinstance(q, Normal) and score is Normal.log_prob:
        return Normal(q.loc.detach(), q.scale.detach(), validate_args=False)
    if isinstance(q, MultivariateNormal) and score in (
        MultivariateNormal.log_prob,
        FullCovarianceNormal.log_prob,
    ):
        return MultivariateNormal(q.loc.detach(), scale_tril=q.scale_tril.detach(), validate_args=False)
    return None


class _LogDensity(nn.Module):
    """`forward` evaluates ln q(z|x) too: the parameters of a flow are read there, not when q is made."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.encoder(x).log_prob(z)


def log_prob_with_frozen_parameters(encoder: Any, x: Tensor, z: Tensor) -> Tensor:
    """ln q(z|x) with every parameter of the encoder frozen; gradients still reach x and z."""
    if not isinstance(encoder, nn.Module) or next(encoder.parameters(), None) is None:
        raise ValueError(
            f"detach_posterior is True, but the encoder, a {type(encoder).__name__}, holds no "
            "parameters that could be frozen; wanted a torch.nn.Module with parameters, or a posterior "
            "that is an Independent(Normal) or a MultivariateNormal"
        )
    for part in encoder.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p > 0:
            raise ValueError(
                "detach_posterior is True, but the encoder draws dropout anew at every call, so its "
                "posterior cannot be evaluated twice; wanted an encoder without dropout, or in eval mode"
            )
    log_density = _LogDensity(encoder)
    frozen = {name: parameter.detach() for name, parameter in log_density.named_parameters()}
    return functional_call(log_density, frozen, (x, z))
