"""What a training run reports."""

import math
from dataclasses import dataclass, field

from vae_lib.training.config import TrainConfig

__all__ = ["CURVES", "History"]

# one list of numbers each, in the order in which they are shown and stored
CURVES = (
    "elbo",
    "reconstruction",
    "rate",
    "validation_elbo",
    "validation_reconstruction",
    "validation_rate",
)


@dataclass
class History:
    r"""What training reports, one number per epoch, each a mean over examples in nats.

    `elbo` is always the bound itself, reconstruction − rate, whatever `beta` the loss used. It is
    averaged while the parameters change during the epoch; `validation_elbo` is taken at the end of
    it. For a model without a posterior (`AutoEncoder`) there is no bound, and both hold NaN.

    Attributes:
        config: The `TrainConfig` of the run.
        elbo: reconstruction − rate on the training examples.
        reconstruction: :math:`\mathbb{E}_q \ln p_\theta(x|z)` on the training examples.
        rate: :math:`\mathrm{KL}(q_\phi(z|x) \| p(z))` on the training examples.
        validation_elbo: The ELBO on the validation examples; empty if there were none.
        validation_reconstruction: Its first term.
        validation_rate: Its second term.
        seconds: The time that training took so far, callbacks left out.

    Example:
        >>> import torch
        >>> from vae_lib.networks import mlp_vae
        >>> from vae_lib.training import fit
        >>> config = TrainConfig(epochs=2, progress=False)
        >>> history = fit(mlp_vae(8, latent=2, seed=0), torch.eye(8), config)
        >>> len(history), len(history.elbo), history.validation_elbo
        (2, 2, [])
    """

    config: TrainConfig
    elbo: list[float] = field(default_factory=list)
    reconstruction: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    validation_elbo: list[float] = field(default_factory=list)
    validation_reconstruction: list[float] = field(default_factory=list)
    validation_rate: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def __len__(self) -> int:
        """The number of epochs so far."""
        return len(self.reconstruction)

    def __repr__(self) -> str:
        text = f"History(epochs={len(self)}, seconds={self.seconds:.1f}"
        if self.reconstruction:
            text += f", elbo={self.elbo[-1]:.2f}"
        if self.validation_elbo:
            text += f", validation_elbo={self.validation_elbo[-1]:.2f}"
        return text + ")"

    def latest(self) -> dict[str, float]:
        """The numbers of the last epoch that exist: no empty curve, no NaN.

        Example:
            >>> History(TrainConfig(), elbo=[-3.0], reconstruction=[-2.0], rate=[1.0]).latest()
            {'elbo': -3.0, 'reconstruction': -2.0, 'rate': 1.0}
        """
        values = {name: getattr(self, name)[-1] for name in CURVES if getattr(self, name)}
        return {name: value for name, value in values.items() if not math.isnan(value)}
