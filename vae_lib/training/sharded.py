"""The step whose batch is cut into shards, which may lie with different processes."""

import hashlib

import torch
from torch import Tensor, nn

from vae_lib.training.config import TrainConfig
from vae_lib.training.optimisers import Adam
from vae_lib.training.processes import Team
from vae_lib.training.resident import Resident
from vae_lib.training.steps import Step

__all__ = ["ShardedStep", "shards_of"]


def shards_of(config: TrainConfig, team: Team) -> int:
    """How many shards a batch is cut into: `config.shards`, or one for each process.

    Raises:
        ValueError: If the processes cannot share them equally, or a batch has not enough examples.

    Example:
        >>> shards_of(TrainConfig(), Team(torch.device("cpu")))
        1
        >>> shards_of(TrainConfig(batch_size=3, shards=4), Team(torch.device("cpu")))
        Traceback (most recent call last):
        ValueError: batch_size is 3; wanted at least one example for each of the 4 shards
    """
    shards = config.shards or team.size
    if shards % team.size:
        raise ValueError(f"shards is {shards}; wanted a multiple of {team.size}, the number of processes")
    if config.batch_size < shards:
        raise ValueError(
            f"batch_size is {config.batch_size}; wanted at least one example for each of the {shards} shards"
        )
    return shards


class ShardedStep(Step):
    r"""The plain step, with the batch in pieces.

    .. math:: \nabla \ell(B) = \sum_s \frac{|B_s|}{|B|} \, \nabla \ell(B_s), \qquad B = \bigcup_s B_s

    A piece counts by its examples. (Free bits are the exception to the sum above: their maximum is
    then taken over each piece.) The pieces of this process are computed here; `Team.exchange` adds those
    of the others, and every process takes the same step.

    Args:
        model: The module to train.
        data: The examples, on the device.
        config: The settings of the run.
        optimiser: What moves the parameters.
        team: The processes.

    Book: chapter 12 (many processes).

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> model, team = mlp_vae(8, latent=2, seed=0), Team(torch.device("cpu"))
        >>> config = TrainConfig(shards=2)
        >>> data = Resident(torch.eye(8), config, team.device)
        >>> step = ShardedStep(model, data, config, Adam(model.named_parameters()), team)
        >>> step(torch.arange(5), learning_rate=1e-3, beta=1.0, number=0).shape
        torch.Size([2])
    """

    def __init__(self, model: nn.Module, data: Resident, config: TrainConfig, optimiser: Adam, team: Team):
        super().__init__(model, data, config, optimiser)
        self.team = team
        self.shards = shards_of(config, team)
        each = self.shards // team.size
        self.own = range(team.rank * each, (team.rank + 1) * each)
        self.sizes = [p.numel() for p in optimiser.parameters]
        # all that processes tell each other: gradients, which of them there are, sums, and no failure
        self.parts = [*self.sizes, len(self.sizes), len(self.terms), 1]
        self.dtype = optimiser.parameters[0].dtype
        team.begin(sum(self.parts), self.dtype)

    def __call__(self, rows: Tensor, *, learning_rate: float, beta: float, number: int) -> Tensor:
        pieces = rows.tensor_split(self.shards)
        parameters = self.optimiser.parameters
        # a new tensor every time: an optimiser may keep gradients until the next step
        numbers = torch.zeros(sum(self.parts), dtype=self.dtype, device=self.device)
        *gradients, used, sums, _ = numbers.split(self.parts)
        self.optimiser.zero_grad()
        scale = self.scale(rows)
        for shard in self.own:
            piece = pieces[shard]
            if len(piece):  # the last batch of an epoch may be smaller than the number of shards
                self._seed(number, shard)
                loss, piece_sums = self.loss(piece, beta, number)
                (loss * (scale * len(piece) / len(rows))).backward()
                sums += piece_sums
        for parameter, gradient, there in zip(parameters, gradients, used.unbind(), strict=True):
            if parameter.grad is not None:
                gradient.copy_(parameter.grad.view(-1))
                there.fill_(1)
        self.team.exchange(numbers)
        for parameter, gradient, there in zip(parameters, gradients, used.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter) if there else None
        self.clip(scale)
        self.optimiser.step(learning_rate)
        return sums

    def _seed(self, number: int, shard: int) -> None:
        """Noise that depends on the seed, the step and the shard, and on nothing else."""
        name = f"{self.config.seed} {number} {shard}".encode()
        seed = int.from_bytes(hashlib.blake2b(name, digest_size=7).digest(), "little")
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)
