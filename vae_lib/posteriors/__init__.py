r"""From a network's output to a distribution over the latents: the mirror of `vae_lib.likelihoods`.

Each posterior is a small module, the head of an encoder. It says how many numbers it needs for
each example (`features`), and turns them into :math:`q_\phi(z|x)`, whose event is (latent,)::

    posterior = FullCovariance(latent=2)
    network = mlp(64, (128,), posterior.features)
    q = posterior(network(x))                       # x (batch, 64) -> one Gaussian per example
    z, log_q = q.rsample((k,)), q.log_prob(z)       # (k, batch, latent), (k, batch)

====================  =======================================  ============================
module                :math:`q_\phi(z|x)`                      features
====================  =======================================  ============================
`Diagonal`            Gaussian, latents independent            2 latent
`FullCovariance`      Gaussian, any covariance                 2 latent + pairs of latents
`Flow`                a Gaussian, bent by a flow (from zuko)   its context, which you choose
====================  =======================================  ============================

`aggregate_posterior` is the `Mixture` of the posteriors of all examples. `bounded_log_var` keeps the
log-variances of all three usable. `DiagonalNormal`, `FullCovarianceNormal` and
`FlowPosterior` are what the three return.
"""

from vae_lib.posteriors.aggregate import Mixture, aggregate_posterior
from vae_lib.posteriors.diagonal import Diagonal, DiagonalNormal
from vae_lib.posteriors.flow import Flow, FlowPosterior
from vae_lib.posteriors.full_covariance import FullCovariance, FullCovarianceNormal
from vae_lib.posteriors.log_var import bounded_log_var

__all__ = [
    "Diagonal",
    "DiagonalNormal",
    "Flow",
    "FlowPosterior",
    "FullCovariance",
    "FullCovarianceNormal",
    "Mixture",
    "aggregate_posterior",
    "bounded_log_var",
]
