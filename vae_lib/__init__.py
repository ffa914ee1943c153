"""The tested half of the course: variational auto-encoders checked against exact answers.

A room is imported when you first ask for it: `import vae_lib` alone is quick, and then
`vae_lib.bounds.elbo` is there. The rooms from the ground up, each of which uses only those above it in this
list (`tests/library/test_floors.py` holds them to it):

================================  ====================================================================
`divergences`, `bounds`           KL, and every bound on ln p(x) from one tensor of log-weights
`likelihoods`                     from a decoder's output to a distribution over images
`laboratory`                      models whose ln p(x) is known exactly
`gradients`                       the same gradient by many roads
`posteriors`, `priors`            distributions over the latents
`networks`, `models`, `builders`  encoders and decoders, the VAE and its relatives, ready-made ones
`data`                            the data sets
`training`, `evaluation`          `fit` and its checkpoints; what a trained model is worth
`cards`                           what a training claims, in a form that can be recomputed
`ledger`, `figures`, ...          what the pages of the book use, and the exercises
`commands`, `grading`             `python -m vae_lib`, and what an instructor needs
================================  ====================================================================

Example:
    >>> from vae_lib.data import load
    >>> from vae_lib.likelihoods import Bernoulli
    >>> from vae_lib.models import VAE
    >>> from vae_lib.networks import Decoder, Encoder, mlp
    >>> from vae_lib.posteriors import Diagonal
    >>> from vae_lib.training import TrainConfig, fit
    >>> posterior = Diagonal(latent=2)
    >>> encoder = Encoder(mlp(64, (32,), posterior.features), posterior)
    >>> decoder = Decoder(mlp(2, (32,), 64), Bernoulli())
    >>> model = VAE(encoder, decoder)
    >>> history = fit(model, load("digits").binarized(), TrainConfig(epochs=2, progress=False))
    >>> history.elbo[1] > history.elbo[0]
    True
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_ROOMS = (
    *("bounds", "builders", "cards", "data", "divergences", "evaluation", "exercises", "explorables"),
    *("figures", "gradients", "laboratory", "ledger", "likelihoods", "models", "networks"),
    *("posteriors", "priors", "training", "widgets"),
)


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its rooms: {', '.join(_ROOMS)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
