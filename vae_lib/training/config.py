"""The settings of a training run."""

import math
from dataclasses import dataclass

from vae_lib import _require

__all__ = ["TrainConfig"]


@dataclass(frozen=True)
class TrainConfig:
    r"""Everything that `fit` must know besides the model and the data.

    Args:
        epochs: The number of passes over the data.
        batch_size: Examples per step. The last batch of an epoch may be shorter.
        learning_rate: The step size of Adam at the start.
        schedule: "constant", or "cosine", which lowers the step size to zero along half a cosine
            over the whole run.
        seed: Seed of the order of the examples and of the noise.
        beta: The weight of the rate in the loss, reconstruction − `beta` · rate.
        samples: The number of draws from the posterior per example and step.
        device: "auto" (a CUDA GPU where there is one, else the CPU), "cpu", "cuda" or "cuda:n".
        threads: How many CPU threads to compute with; None keeps torch's own setting. One is as fast
            for the small networks of this course, far faster where other programs are running, and
            gives the same curve whatever the number of cores.
        shards: How many parts a batch is cut into, each with noise of its own; None is one for each
            process. With the same number, one process draws the same curve as many. See
            `vae_lib.training.processes`.
        compile: Whether to compile the whole step into one function: 1.3 to 2 times as fast, after 10 to
            60 seconds of compiling. It needs a C++ compiler. See `vae_lib.training.compiled`.
        progress: Whether to show a progress bar. While the book is built (VAE_BOOK_BUILD=1) there
            is none, because a page cannot move it.

    Raises:
        ValueError: If a field is out of range; the message names it.

    Example:
        >>> TrainConfig(epochs=5, progress=False).batch_size
        128
        >>> TrainConfig(epochs=0)
        Traceback (most recent call last):
        ...
        ValueError: epochs is 0; wanted an integer of at least 1
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
    shards: int | None = None
    compile: bool = False
    progress: bool = True

    def __post_init__(self):
        for name in ("epochs", "batch_size", "samples"):
            _require.positive_integer(name, getattr(self, name))
        for name in ("threads", "shards"):
            if getattr(self, name) is not None:
                _require.positive_integer(name, getattr(self, name))
        _require.positive_number("learning_rate", self.learning_rate)
        if not 0 <= self.beta < math.inf:
            raise ValueError(f"beta is {self.beta!r}; wanted a finite number of at least 0")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed!r}; wanted an integer from 0 to 2**63 - 1")
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule is {self.schedule!r}; wanted 'constant' or 'cosine'")
        if self.device not in ("auto", "cpu", "cuda") and not self.device.startswith("cuda:"):
            raise ValueError(f"device is {self.device!r}; wanted 'auto', 'cpu', 'cuda' or 'cuda:n'")
