r"""From a network's output to a distribution over the data.

Each likelihood is a small module: call it with what the decoder computed, and you get a
distribution of x whose event is the whole image, (pixels,). Its `log_prob` therefore sums over
pixels and returns one value per example, in nats::

    log_p = likelihood(network(z)).log_prob(x)      # z (k, batch, latent) -> (k, batch)

========================  ===============================  ============================
module                    pixels                           the network puts out
========================  ===============================  ============================
`Bernoulli`               0 or 1                           logits, (..., pixels)
`ContinuousBernoulli`     real, from 0 to 1                logits, (..., pixels)
`Gaussian`                real                             means, (..., pixels)
`DiscretizedLogistic`     levels from 0 to 1               means, (..., pixels)
`Categorical`             levels from 0 to 1               logits, (..., pixels * levels)
========================  ===============================  ============================

The first three cannot be compared with each other in nats: black and white pixels have
probabilities, real ones have densities. The last two give probabilities to grey levels.

`optimal_variance` is the variance that a learned Gaussian moves towards, and `bits_per_dim` puts
numbers from differently scaled data on one scale.

A distribution refuses data it gives no probability to: grey pixels under a Bernoulli, a pixel that
is no level or lies outside [0, 1], NaN, an image of another size.

A likelihood of your own is any module that does the same. If it needs several numbers for each pixel,
give it the attribute `depth`, how many: the builders then make the network as wide.
"""

from vae_lib.likelihoods.bernoulli import Bernoulli
from vae_lib.likelihoods.bits import bits_per_dim
from vae_lib.likelihoods.categorical import Categorical
from vae_lib.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vae_lib.likelihoods.discretized_logistic import DiscretizedLogistic
from vae_lib.likelihoods.gaussian import Gaussian, optimal_variance

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "bits_per_dim",
    "optimal_variance",
]
