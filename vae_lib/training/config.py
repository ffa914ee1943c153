"""The settings of a training run."""

from dataclasses import dataclass
from numbers import Real

from vae_lib import _require
from vae_lib.training.optimisers import OPTIMISERS
from vae_lib.training.surroundings import check_device

__all__ = ["TrainConfig"]

_CHOICES = {
    "objective": ("elbo", "iwae", "dreg"),
    "optimiser": tuple(OPTIMISERS),
    "schedule": ("constant", "cosine", "burda"),
    "precision": ("float32", "bf16"),
}


@dataclass(frozen=True)
class TrainConfig:
    r"""Everything that `fit` must know besides the model and the data.

    Args:
        epochs: The number of passes over the data.
        batch_size: Examples per step. The last batch of an epoch may be shorter.
        learning_rate: The step size at the start.
        schedule: "constant"; "cosine", which lowers the step size to zero along half a cosine over the
            whole run; or "burda", eight stages of 1, 3, 9, ..., 2187 parts of the run: see
            `vae_lib.training.schedules`.
        seed: Seed of the order of the examples and of the noise.
        beta: The weight of the rate in the loss, reconstruction − `beta` · rate.
        samples: The number of draws from the posterior per example and step, k.
        device: "auto" (a CUDA GPU where there is one, else the CPU), "cpu", "cuda" or "cuda:n".
        threads: How many CPU threads to compute with; None keeps torch's own setting. One is as fast
            for the small networks of this course, far faster where other programs are running, and
            gives the same curve whatever the number of cores.
        progress: Whether to show a progress bar. While the book is built (VAE_BOOK_BUILD=1) there
            is none, because a page cannot move it.
        objective: What is maximised: "elbo"; "iwae", the importance-weighted bound :math:`L_k` with
            k = `samples`; or "dreg", the same bound with the doubly reparametrised gradient.
        analytic_kl: Whether the rate of the ELBO is the KL in closed form, or with False an average
            over the draws. None takes the closed form where there is one.
        beta_warmup: Epochs over which the weight of the rate rises along a line from 0 to `beta`.
        free_bits: The nats that each latent may spend without paying: its rate, averaged over the
            minibatch, counts at least that much.
        prune: For "iwae" with many samples: draws whose normalised weight is at most this number
            are left out of the gradient, which then costs less memory. 0 leaves out nothing.
        binarise: Whether the data are grey and every step draws zeros and ones from them, grey level =
            probability. Validation data are drawn once and stay the same.
        levels: The number of grey levels of data that are whole numbers (uint8): 256, or 2 if they
            are only 0 and 1. Such data stay bytes and are divided by levels − 1 batch by batch.
        optimiser: "adam"; "burda", the one behind the published numbers of Burda et al.; or, for an
            ablation, "burda-no-sum", "-ones", "-momentum" or "-delay", which lacks one of its details:
            see `vae_lib.training.optimisers`.
        clip_norm: The longest gradient (of the mean loss of a batch) that is followed; a longer one
            is shortened to it. None lets every gradient pass.
        precision: "float32", or "bf16" for networks that multiply in bfloat16 while log-weights,
            losses and parameters stay float32. Quicker on a GPU with large batches; on a CPU without
            bfloat16 units several times slower.
        shards: How many parts a batch is cut into, each with noise of its own; None is one for each
            process. With the same number, one process draws the same curve as many. See
            `vae_lib.training.processes`.
        compile: Whether to compile the whole step into one function: 1.3 to 2 times as fast, after 10 to
            60 seconds of compiling. It needs a C++ compiler. See `vae_lib.training.compiled`.
        patience: Stop when the validation bound has not risen for so many epochs; None never does.

    Raises:
        ValueError: If a field is out of range or two do not go together; the message names it.

    Book: chapter 8 (training), chapter 12 (two models).

    Example:
        >>> TrainConfig(epochs=5, progress=False).batch_size
        128
        >>> TrainConfig(epochs=0)
        Traceback (most recent call last):
        ...
        ValueError: epochs is 0; wanted an integer of at least 1
        >>> TrainConfig(objective="iwae", beta=4.0)
        Traceback (most recent call last):
        ...
        ValueError: beta is 4.0, but objective is 'iwae', a bound without a rate of its own; wanted beta 1.0
    """

    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: str = "constant"
    seed: int = 0
    beta: float = 1.0
    samples: int = 1
    device: str = "auto"
    threads: int | None = 1
    progress: bool = True
    objective: str = "elbo"
    analytic_kl: bool | None = None
    beta_warmup: int = 0
    free_bits: float = 0.0
    prune: float = 0.0
    binarise: bool = False
    levels: int = 256
    optimiser: str = "adam"
    clip_norm: float | None = None
    precision: str = "float32"
    patience: int | None = None
    shards: int | None = None
    compile: bool = False

    def __post_init__(self):
        for name, value in vars(self).items():  # NumPy's numbers cannot be written into a checkpoint
            if _require.is_integer(value):
                object.__setattr__(self, name, int(value))
            elif isinstance(value, Real) and not isinstance(value, bool):
                object.__setattr__(self, name, float(value))
        for name in ("epochs", "batch_size", "samples", "threads", "patience", "shards"):
            value = getattr(self, name)
            if value is None and name in ("threads", "patience", "shards"):
                continue
            _require.positive_integer(name, value)
        _require.positive_number("learning_rate", self.learning_rate)
        if self.clip_norm is not None:
            _require.positive_number("clip_norm", self.clip_norm)
        for name in ("beta", "free_bits", "prune"):
            _require.number_within(name, getattr(self, name), lowest=0.0)
        _require.integer_within("beta_warmup", self.beta_warmup, lowest=0)
        _require.integer_within("levels", self.levels, lowest=2, highest=256)
        _require.seed("seed", self.seed)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                wanted = ", ".join(repr(choice) for choice in choices)
                raise ValueError(f"{name} is {getattr(self, name)!r}; wanted one of {wanted}")
        for name in ("progress", "binarise", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; wanted True or False")
        if not isinstance(self.analytic_kl, bool | None):
            raise ValueError(f"analytic_kl is {self.analytic_kl!r}; wanted True, False or None")
        check_device(self.device)
        self._check_together()

    def _check_together(self) -> None:
        """Refuse settings that say nothing, or the opposite of each other."""
        if self.objective != "elbo":
            # the importance-weighted bound is a function of the log-weights alone
            for name, neutral in (
                ("beta", 1.0),
                ("beta_warmup", 0),
                ("free_bits", 0.0),
                ("analytic_kl", None),
            ):
                value = getattr(self, name)
                if value != neutral and not (name == "analytic_kl" and value is False):
                    raise ValueError(
                        f"{name} is {value!r}, but objective is {self.objective!r}, a bound without a rate "
                        f"of its own; wanted {name} {neutral!r}"
                    )
        if self.prune >= 1:
            raise ValueError(f"prune is {self.prune!r}; wanted a weight from 0 to below 1")
        if self.prune > 0 and self.objective != "iwae":
            raise ValueError(f"prune is {self.prune!r}, but objective is {self.objective!r}; wanted 'iwae'")
        if self.prune * self.samples >= 1:
            raise ValueError(
                f"prune is {self.prune!r}; wanted less than 1 / samples = {1 / self.samples:.4g}, the weight "
                f"of each of {self.samples} equal draws"
            )
        if self.prune > 0 and self.compile:
            raise ValueError(
                f"compile is True, but prune is {self.prune!r}, which makes every batch another size; wanted "
                "one of the two"
            )
        if self.beta_warmup > self.epochs:
            raise ValueError(
                f"beta_warmup is {self.beta_warmup}; wanted at most epochs, which is {self.epochs}"
            )
