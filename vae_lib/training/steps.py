"""One step of training: a batch, its loss, the gradient, and the optimiser.

A step is an object that is made once for each run and then called with the rows of a batch. Other
kinds of step may stand in for `Step` as long as they keep its contract:

    step(rows, learning_rate=..., beta=..., number=...) -> sums

- `rows` (batch,) are whole numbers on the device of the run; the last batch of an epoch may be short.
- `learning_rate` and `beta` are plain numbers that may change with every call, `number` counts the
  steps of the run from 0; it serves messages only.
- All randomness comes from torch's global generators, which the loop has set (see
  `vae_lib.training.surroundings.noise`), so that a run can go on from where these stood.
- `sums` (terms,) are the sums over the batch of the terms that the history needs, detached, on the
  device, in the order of `vae_lib.training.objectives.terms`. The loop reads or copies them before
  it calls again: a step may hand out the same memory every time.
- The parameters that change are those that the optimiser was made with, and everything that the next
  step depends on is in `optimiser.state()`, the model and the random states. So the loop can save
  between any two calls, and a step needs no state of its own.
"""

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from vae_lib.training.config import TrainConfig
from vae_lib.training.diverged import refuse_broken_parameters, refuse_broken_sums
from vae_lib.training.objectives import make_objective, terms
from vae_lib.training.optimisers import Adam
from vae_lib.training.resident import Resident

__all__ = ["Step"]


class Step:
    """The plain step: everything happens when and where you read it.

    Args:
        model: The module to train.
        data: The examples, on the device.
        config: The settings of the run.
        optimiser: What moves the parameters.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> model = mlp_vae(8, latent=2, seed=0)
        >>> data = Resident(torch.eye(8), TrainConfig(), torch.device("cpu"))
        >>> step = Step(model, data, TrainConfig(), Adam(model.named_parameters()))
        >>> step(torch.arange(4), learning_rate=1e-3, beta=1.0, number=0).shape
        torch.Size([2])
    """

    def __init__(self, model: nn.Module, data: Resident, config: TrainConfig, optimiser: Adam):
        self.model, self.data, self.config, self.optimiser = model, data, config, optimiser
        self.objective = make_objective(model, config)
        self.terms = terms(config)
        self.device = data.data.device
        self.half = config.precision == "bf16"

    def __call__(self, rows: Tensor, *, learning_rate: float, beta: float, number: int) -> Tensor:
        loss, sums = self.loss(rows, beta, number)
        self.backward(loss, rows)
        self.optimiser.step(learning_rate)
        return sums

    def loss(self, rows: Tensor, beta: float, number: int) -> tuple[Tensor, Tensor]:
        """The loss of these rows, the mean over them, and the sums; neither NaN nor infinite on the CPU."""
        try:
            loss, sums = self.forward(rows, beta)
        except ValueError as error:  # a distribution that was given NaN says so in its own words
            refuse_broken_parameters(self.model, number, error)
            raise
        if self.device.type == "cpu" and not math.isfinite(loss.item()):
            # before it spreads to the parameters; on a GPU looking would hold up every step
            refuse_broken_parameters(self.model, number)
            refuse_broken_sums(self.config, sums.tolist(), number)
        return loss, sums

    def forward(self, rows: Tensor, beta: float | Tensor) -> tuple[Tensor, Tensor]:
        """The same, whatever comes out."""
        x = self.data.batch(rows)  # (batch, pixels)
        with torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext():
            return self.objective(x, beta)

    def scale(self, rows: Tensor) -> int:
        """What the loss of these rows is multiplied by before its gradient is taken."""
        return len(rows) if self.optimiser.summed else 1

    def backward(self, loss: Tensor, rows: Tensor) -> None:
        """Give the parameters the gradient of the loss of these rows, as long as may be."""
        self.optimiser.zero_grad()
        scale = self.scale(rows)
        (loss * scale if scale != 1 else loss).backward()
        self.clip(scale)

    def clip(self, scale: int) -> None:
        """Shorten the gradients together if they are longer than `clip_norm`, for a loss of this scale."""
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.optimiser.parameters, self.config.clip_norm * scale)
