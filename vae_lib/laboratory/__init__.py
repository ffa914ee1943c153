"""Models whose ln p(x) is known exactly: the place where every bound can be checked.

Models

- `DiscreteLatentModel`: a table of probabilities; everything by enumeration.
- `BernoulliMixture`: binary images from K prototypes; its exact posterior is a linear encoder.
- `LinearGaussianModel`: probabilistic PCA and the linear VAE; everything in closed form.
- `Ring`: noise bent into a circle; density, entropy and the ceiling for noisy decoders.
- `SmallestVAE`: two data points and the best decoder in closed form; collapse, blur, hole. Its best
  encoder is a `SmallestOptimum`.
- `QuantileModel`: any law on the line as a VAE; both of its errors vanish with the noise.

Instruments

- `grid_log_evidence`: ln p(x) of any decoder with one or two latents, by the trapezoid rule.
- `grid_elbo_surgery`: the KL term split into information and mismatch with the prior, an `ElboSurgery`.
- `waterfill`: what the best linear VAE keeps of each principal direction, a `WaterFilling`.
- `collapse_growth_rate`: how fast a linear VAE leaves the collapsed state, or falls back.
- `samples_needed`: what p(x) costs by sampling the prior; the wall.

Demonstrations

- `BugZoo`: nine losses, eight of them wrong, and the exact optimum of each, a `BugRow`.
- `bits_back`, `BitsBackCoder`: minus the ELBO as a length in bits, counted (a `BitsBackLength`) and
  really sent. The stack under the coder is `vae_lib.laboratory.ans`.

Plain lists and numbers become float64; a tensor keeps the precision you gave it, except where
quadrature needs float64 (the grids, the ring's noisy density, `SmallestVAE`, `QuantileModel`).
"""

from vae_lib.laboratory.bernoulli_mixture import BernoulliMixture
from vae_lib.laboratory.bits_back import BitsBackCoder, BitsBackLength, bits_back
from vae_lib.laboratory.bug_zoo import BugRow, BugZoo
from vae_lib.laboratory.collapse import collapse_growth_rate
from vae_lib.laboratory.discrete import DiscreteLatentModel
from vae_lib.laboratory.grid import grid_log_evidence
from vae_lib.laboratory.linear_gaussian import LinearGaussianModel
from vae_lib.laboratory.monte_carlo_wall import samples_needed
from vae_lib.laboratory.quantile_model import QuantileModel
from vae_lib.laboratory.ring import Ring
from vae_lib.laboratory.smallest_vae import SmallestOptimum, SmallestVAE
from vae_lib.laboratory.surgery import ElboSurgery, grid_elbo_surgery
from vae_lib.laboratory.waterfilling import WaterFilling, waterfill

__all__ = [
    "BernoulliMixture",
    "BitsBackCoder",
    "BitsBackLength",
    "BugRow",
    "BugZoo",
    "DiscreteLatentModel",
    "ElboSurgery",
    "LinearGaussianModel",
    "QuantileModel",
    "Ring",
    "SmallestOptimum",
    "SmallestVAE",
    "WaterFilling",
    "bits_back",
    "collapse_growth_rate",
    "grid_elbo_surgery",
    "grid_log_evidence",
    "samples_needed",
    "waterfill",
]
