r"""Every bound on ln p(x) from one tensor of log-weights.

Throughout, `log_w` has shape (k, batch) and holds ln w = ln p(x, z) - ln q(z|x): row i is the i-th
sample of z for every example. The sample axis comes first; only that axis is reduced, so each
function returns one value per example, in nats.

What you get depends on where the samples came from:

========================  ==========================  ====================================
function                  samples z drawn from        on average
========================  ==========================  ====================================
`elbo`                    the encoder q(z|x)          at most ln p(x)
`iwae_bound`              the encoder q(z|x)          at most ln p(x), at least the ELBO
`eubo`                    the posterior p(z|x)        at least ln p(x)
`iwae_eubo`               one posterior, k encoder    at least ln p(x), at most the EUBO
`cubo`                    the encoder q(z|x)          a bound (upper) only as k grows
========================  ==========================  ====================================

- `sandwich`: the second and the fourth together, a `Sandwich`.
- `miwae_bound`, `piwae` (a `Piwae`), `ciwae`: m groups of k samples, `log_w` (m, k, batch); all at most
  ln p(x).
- `beta_elbo`, `free_bits`: the ELBO with another price on the rate.
- `iwae_surrogate`, `dreg_surrogate`: **no bounds**; sums to differentiate, never to report.
- `log_mean_exp`, `effective_sample_size`: the arithmetic of weights.

A NaN among the log-weights of one example makes the value of that example NaN and touches no other.
"""

from vae_lib.bounds.lower import beta_elbo, elbo, free_bits, iwae_bound
from vae_lib.bounds.multiple import Piwae, ciwae, miwae_bound, piwae
from vae_lib.bounds.surrogates import dreg_surrogate, iwae_surrogate
from vae_lib.bounds.upper import Sandwich, cubo, eubo, iwae_eubo, sandwich
from vae_lib.bounds.weights import effective_sample_size, log_mean_exp

__all__ = [
    "Piwae",
    "Sandwich",
    "beta_elbo",
    "ciwae",
    "cubo",
    "dreg_surrogate",
    "effective_sample_size",
    "elbo",
    "eubo",
    "free_bits",
    "iwae_bound",
    "iwae_eubo",
    "iwae_surrogate",
    "log_mean_exp",
    "miwae_bound",
    "piwae",
    "sandwich",
]
