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
    "bound",
    "validation_elbo",
    "validation_reconstruction",
    "validation_rate",
    "validation_bound",
)


@dataclass
class History:
    r"""What training reports, one number per epoch, each a mean over examples in nats.

    `elbo` is always the bound itself, reconstruction − rate, whatever `beta` the loss used. It is
    averaged while the parameters change during the epoch; `validation_elbo` is taken at the end of
    it. For a model without a posterior (`AutoEncoder`) there is no bound, and both hold NaN.

    `bound` is the importance-weighted bound :math:`L_k` where that is the objective, a true bound and
    never the surrogate that some codes differentiate. The terms beside it are averages over the k
    draws. With the objective "elbo" the curve stays empty: there the ELBO is the bound.

    Attributes:
        config: The `TrainConfig` of the run.
        elbo: reconstruction − rate on the training examples.
        reconstruction: :math:`\mathbb{E}_q \ln p_\theta(x|z)` on the training examples.
        rate: :math:`\mathrm{KL}(q_\phi(z|x) \| p(z))` on the training examples.
        validation_elbo: The ELBO on the validation examples; empty if there were none.
        validation_reconstruction: Its first term.
        validation_rate: Its second term.
        bound: :math:`L_k` on the training examples; empty with the objective "elbo".
        validation_bound: :math:`L_k` on the validation examples.
        seconds: The time that training took so far, callbacks left out.

    Book: chapter 8 (training).

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
    bound: list[float] = field(default_factory=list)
    validation_bound: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def __len__(self) -> int:
        """The number of epochs so far."""
        return len(self.reconstruction)

    def __repr__(self) -> str:
        text = f"History(epochs={len(self)}, seconds={self.seconds:.1f}"
        if self.reconstruction:
            text += f", elbo={self.elbo[-1]:.2f}"
        for name in ("bound", "validation_elbo", "validation_bound"):
            if getattr(self, name):
                text += f", {name}={getattr(self, name)[-1]:.2f}"
        return text + ")"

    def latest(self) -> dict[str, float]:
        """The numbers of the last epoch that exist: no empty curve, no NaN.

        Example:
            >>> History(TrainConfig(), elbo=[-3.0], reconstruction=[-2.0], rate=[1.0]).latest()
            {'elbo': -3.0, 'reconstruction': -2.0, 'rate': 1.0}
        """
        values = {name: getattr(self, name)[-1] for name in CURVES if getattr(self, name)}
        return {name: value for name, value in values.items() if not math.isnan(value)}

    def record(self, prefix: str, means: dict[str, float], has_elbo: bool = True) -> None:
        """Add the means of one epoch to the curves.

        Args:
            prefix: Empty for training, `validation_` for validation.
            means: "reconstruction", "rate" and, if the objective has it, "bound".
            has_elbo: Whether the two terms make a bound together; otherwise the ELBO is NaN.

        Example:
            >>> history = History(TrainConfig())
            >>> history.record("", {"reconstruction": -2.0, "rate": 1.0})
            >>> history.elbo
            [-3.0]
        """
        elbo = means["reconstruction"] - means["rate"] if has_elbo else math.nan
        for name, value in {"elbo": elbo, **means}.items():
            getattr(self, prefix + name).append(value)

    def scores(self) -> list[float]:
        """What the epochs are ranked by, higher is better; empty without validation data.

        It is the validation bound: :math:`L_k` where that is the objective, else the ELBO. A model
        without a bound is ranked by its reconstruction.

        Example:
            >>> History(TrainConfig(), validation_elbo=[-3.0, -2.0]).scores()
            [-3.0, -2.0]
        """
        if self.validation_bound:
            return self.validation_bound
        if any(math.isnan(value) for value in self.validation_elbo):
            return self.validation_reconstruction
        return self.validation_elbo

    def best_epoch(self) -> int | None:
        """The number of the best epoch, the first one if several are as good; None without validation.

        Example:
            >>> History(TrainConfig(), validation_elbo=[-3.0, -2.0, -2.5]).best_epoch()
            2
        """
        scores = self.scores()
        return scores.index(max(scores)) + 1 if scores else None
