r"""Auto-encoders: plain, variational, conditional, in layers, with a codebook.

A model is made of modules that return `torch.distributions` objects, so its code reads like the
mathematics. Every bound has one value per example: pixels and latents are summed, and only the
caller averages over the batch.

=====================  ====================================================  ===================
model                  its values are                                        generates from
=====================  ====================================================  ===================
`VAE`                  bounds on ln p(x)                                     the prior
`ConditionalVAE`       bounds on ln p(x|y)                                   the prior, given y
`HierarchicalVAE`      bounds on ln p(x)                                     the top prior
`AutoEncoder`          **no bounds**                                         nothing
`VQVAE`                **no bounds**                                         nothing
=====================  ====================================================  ===================

Each has `has_elbo`, which says whether it is a bound, and `loss_terms`, which
`vae_lib.training.fit` trains. Ready models come from `vae_lib.networks` and `vae_lib.builders`.

Around them: `Draw`, what `log_weights` is made of; `StandardNormal`, the default prior; `Concatenated`
and `Joined`, which give a condition to a module of one input and to `fit`; `VQTerms` and `Quantised`,
what a `VQVAE` computes.
"""

from vae_lib.models._draw import Draw
from vae_lib.models.auto_encoder import AutoEncoder
from vae_lib.models.conditional import Concatenated, ConditionalVAE, Joined
from vae_lib.models.hierarchical import HierarchicalVAE
from vae_lib.models.vae import VAE
from vae_lib.models.vector_quantised import VQVAE, Quantised, VQTerms
from vae_lib.priors import StandardNormal

__all__ = [
    "VAE",
    "VQVAE",
    "AutoEncoder",
    "Concatenated",
    "ConditionalVAE",
    "Draw",
    "HierarchicalVAE",
    "Joined",
    "Quantised",
    "StandardNormal",
    "VQTerms",
]
