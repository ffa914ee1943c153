r"""One run in many processes: on one machine or on many, started by `torchrun`.

    torchrun --nproc-per-node=2 -m vae_lib train --out runs/digits

starts the command twice. `fit` notices, lets Lightning Fabric give every process its device and connect
them (NCCL between GPUs, gloo between CPUs), and trains one model. With 8 GPUs on each of 4 machines,
on every one of the four:

    torchrun --nnodes=4 --nproc-per-node=8 --rdzv-id=vae --rdzv-backend=c10d \
        --rdzv-endpoint=FIRST_MACHINE:29500 -m vae_lib train --data mnist --batch-size 4096 --out runs/mnist

What happens:

- Every process holds all data. The order of the examples is drawn from the seed, so it is the same
  everywhere, and another one in every epoch.
- `batch_size` is the size of the whole batch. It is cut into shards, by default one for each process,
  and every shard has noise of its own, given by the seed, the step and the number of the shard. So
  **it does not matter where a shard is computed**: one process with `shards=2` and two processes
  draw the same curve.
- Gradients and sums are added up over all processes, each example counted once, also where the last
  batch is short or its shards are of unequal size.
- Process 0 alone writes checkpoints and calls `on_epoch`. Its checkpoint is what all go on from; the
  noise needs no state, because no stream of it is longer than a step.
- Whatever goes wrong in one process ends all of them with that error. That is why processes exchange
  numbers of one fixed size only: the one that fails sends a mark in the place of its gradients.
- Every process scores all validation data, and the numbers of process 0 count.

A single process pays for none of it: Lightning Fabric is imported where there are several.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from vae_lib.training.surroundings import find_device

__all__ = ["ProcessLost", "Team", "how_many", "is_first", "together"]

T = TypeVar("T")

_PATIENCE = timedelta(minutes=10)  # for the others, which may be writing a checkpoint


class ProcessLost(ConnectionError):
    """Another process of the run has died or does not answer.

    Example:
        >>> raise ProcessLost("another process of this run is gone")
        Traceback (most recent call last):
        ...
        vae_lib.training.processes.ProcessLost: another process of this run is gone
    """


class Team:
    """The processes of a run, seen from one of them; this class is the team of a single one.

    Attributes:
        rank: The number of this process, from 0.
        size: How many there are.
        device: What this process computes on.

    Example:
        >>> team = Team(torch.device("cpu"))
        >>> team.rank, team.size, team.share("mine")
        (0, 1, 'mine')
    """

    rank = 0
    size = 1

    def __init__(self, device: torch.device):
        self.device = device

    def begin(self, width: int, dtype: torch.dtype = torch.float32) -> None:
        """From here on `exchange` takes tensors of this many numbers. All processes call it together."""

    def exchange(self, numbers: Tensor) -> None:
        """Add up the numbers of all processes, in place. The last one must be 0: it is the mark of failure.

        Example:
            >>> numbers = torch.tensor([1.0, 2.0, 0.0])
            >>> Team(torch.device("cpu")).exchange(numbers)
            >>> numbers
            tensor([1., 2., 0.])
        """

    def share(self, value: T) -> T:
        """What process 0 has.

        Example:
            >>> Team(torch.device("cpu")).share({"epoch": 3})
            {'epoch': 3}
        """
        return value

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with those of process 0."""

    def insist(self, name: str, value: str) -> None:
        """Refuse a value that differs between the processes.

        Raises:
            ValueError: In all processes, if it does.
        """


class _Many(Team):
    """The team of a process that has others beside it."""

    def __init__(self, fabric: Any):
        super().__init__(fabric.device)
        self.fabric = fabric
        self.rank, self.size = fabric.global_rank, fabric.world_size
        self.width, self.dtype = 1, torch.float32
        self.over = False

    def begin(self, width: int, dtype: torch.dtype = torch.float32) -> None:
        self._wait()
        self.width, self.dtype = width, dtype

    def exchange(self, numbers: Tensor) -> None:
        with _answered():
            torch.distributed.all_reduce(numbers)
        if numbers[-1].item() != 0:
            self._fail(None)

    def share(self, value: T) -> T:
        self._wait()
        with _answered():
            return self.fabric.broadcast(value)

    def spread(self, tensors: Iterable[Tensor]) -> None:
        self._wait()
        with _answered(), torch.no_grad():
            for tensor in tensors:
                copy = tensor.to(self.device, copy=True).contiguous()
                torch.distributed.broadcast(copy, 0)
                tensor.copy_(copy)

    def insist(self, name: str, value: str) -> None:
        self._wait()
        values = self._gather(value)
        if len(set(values)) > 1:
            other = next(rank for rank, theirs in enumerate(values) if theirs != values[0])
            raise ValueError(
                f"{name} is not the same in all processes: {values[0]} in process 0, {values[other]} in "
                f"process {other}; wanted the same everywhere"
            )

    def report(self, error: Exception) -> None:
        """Tell the others that this process has failed, in the exchange that they are waiting in."""
        if self.over:
            return
        numbers = self._nothing()
        numbers[-1] = 1
        with _answered():
            torch.distributed.all_reduce(numbers)
        self._fail(error)

    def _wait(self) -> None:
        self.exchange(self._nothing())

    def _nothing(self) -> Tensor:
        return torch.zeros(self.width, dtype=self.dtype, device=self.device)

    def _gather(self, value: T) -> list[T]:
        values: list[Any] = [None] * self.size
        with _answered():
            torch.distributed.all_gather_object(values, value)
        return values

    def _fail(self, error: Exception | None) -> None:
        """Hear who has failed, and fail like the first of them; a process that failed itself returns."""
        self.over = True
        told = self._gather(None if error is None else (_kind(error), " ".join(str(error).split())))
        if error is None:
            rank, (kind, message) = next((r, answer) for r, answer in enumerate(told) if answer is not None)
            raise kind(f"process {rank}: {message}")


_team: Team | None = None


@contextmanager
def together(device: str) -> Iterator[Team]:
    """The team of this process; whatever fails inside, in any process, fails in all of them.

    Inside of another `together` it is the same team.

    Args:
        device: As in `TrainConfig`.

    Raises:
        ValueError: If the device is not there, or not for as many processes.
        ImportError: If there are several processes and lightning-fabric is not installed.
        ProcessLost: If another process dies, or does not answer for ten minutes.

    Example:
        >>> with together("cpu") as team:
        ...     team.rank, team.size
        (0, 1)
    """
    global _team
    if _team is not None:
        yield _team
        return
    _team = _connect(device) if how_many() > 1 else Team(find_device(device))
    try:
        yield _team
        _team.begin(1)  # nobody leaves before all are done
    except ProcessLost:
        raise
    except Exception as error:
        if isinstance(_team, _Many):
            _team.report(error)
        raise
    finally:
        _team = None


def is_first() -> bool:
    """Whether this is process 0, the one that speaks to the user.

    Example:
        >>> is_first()
        True
    """
    return how_many() == 1 or os.environ["RANK"] == "0"


def how_many() -> int:
    """How many processes `torchrun` has started for this run; 1 without it.

    Example:
        >>> how_many()
        1
    """
    launched = torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()
    return int(os.environ["WORLD_SIZE"]) if launched else 1


def _connect(device: str) -> _Many:
    kind = _kind_of_device(device)
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ImportError as error:
        raise ImportError(
            "several processes need the package lightning-fabric; wanted it installed, or one process"
        ) from error
    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # it would greet the user from every process
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    fabric = Fabric(
        accelerator=kind,
        devices=here,
        num_nodes=how_many() // here,
        strategy=DDPStrategy(timeout=_PATIENCE),
    )
    with _answered():
        fabric.launch()
    return _Many(fabric)


def _kind_of_device(name: str) -> str:
    """ "cpu" or "cuda", with a GPU for each process of this machine."""
    if name.startswith("cuda:"):
        raise ValueError(f"device is {name!r}, one GPU for {how_many()} processes; wanted 'cuda' or 'cpu'")
    device, here = find_device(name), int(os.environ["LOCAL_WORLD_SIZE"])
    if device.type == "cuda" and torch.cuda.device_count() < here:
        raise ValueError(
            f"device is {name!r}, with {torch.cuda.device_count()} GPUs for the {here} processes of this "
            "machine; wanted a GPU for each of them, or device 'cpu'"
        )
    return device.type


@contextmanager
def _answered() -> Iterator[None]:
    """A connection that breaks is a process that is gone."""
    try:
        yield
    except RuntimeError as error:  # torch has no class of its own for all of them
        raise ProcessLost(
            "another process of this run is gone, or has not answered for "
            f"{_PATIENCE.total_seconds() / 60:.0f} minutes; its own message says why"
        ) from error


def _kind(error: Exception) -> type[Exception]:
    """The class of the error, if another process can raise it with nothing but a message."""
    known = (ValueError, FloatingPointError, OSError, ImportError)
    if type(error).__module__.startswith("vae_lib.") and isinstance(error, known):
        return type(error)
    return next((kind for kind in known if isinstance(error, kind)), RuntimeError)
