"""Models whose ln p(x) is known exactly: the place where every bound can be checked.

- `DiscreteLatentModel`: a table of probabilities; everything by enumeration.
- `LinearGaussianModel`: probabilistic PCA and the linear VAE; everything in closed form.
- `waterfill`: what the best linear VAE keeps of each principal direction.
- `grid_log_evidence`: any decoder with one or two latents, by the trapezoid rule.

Plain lists become float64; a tensor keeps the precision you gave it.
"""

from vae_lib.laboratory.discrete import DiscreteLatentModel
from vae_lib.laboratory.grid import grid_log_evidence
from vae_lib.laboratory.linear_gaussian import LinearGaussianModel
from vae_lib.laboratory.waterfilling import WaterFilling, waterfill

__all__ = [
    "DiscreteLatentModel",
    "LinearGaussianModel",
    "WaterFilling",
    "grid_log_evidence",
    "waterfill",
]
