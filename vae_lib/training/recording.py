"""Steps that are recorded once and repeated without Python: what they share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.utils._python_dispatch import TorchDispatchMode

from vae_lib.training.config import TrainConfig
from vae_lib.training.optimisers import Adam, Burda
from vae_lib.training.resident import Resident
from vae_lib.training.steps import Step

__all__ = ["Body", "Operations", "RecordedStep", "trusting", "waits"]

# (rows (batch,), scalars (3,)) -> sums (terms,): a step that asks for nothing but tensors
Operations = Callable[[Tensor, Tensor], Tensor]
# (rows, numbers) -> sums: the same with what surrounds it
Body = Callable[[Tensor, list[float]], Tensor]
# makes a body of a recorded step's operations; see `vae_lib.training.captured`
Graph = Callable[["RecordedStep", Operations, Tensor], Body]


class RecordedStep(Step):
    """A step whose operations on tensors are recorded once; this kind has them recorded by `graph`.

    Parameters, moments and data are read and changed where they lie; the rows and three numbers are
    handed over. A short last batch would be a second shape, to be recorded a second time, so it takes the
    plain step.

    What is not finite is noticed after the step: the parameters are spoiled then, and the last checkpoint
    is not.

    Args:
        model: The module to train.
        data: The examples, on the device.
        config: The settings of the run.
        optimiser: What holds the moments.
        graph: What records the operations. Without it Python goes through them each time.
    """

    # every operation is one that a graph could not repeat if the program had to wait for its result
    watched = True

    def __init__(
        self,
        model: nn.Module,
        data: Resident,
        config: TrainConfig,
        optimiser: Adam,
        graph: Graph | None = None,
    ):
        super().__init__(model, data, config, optimiser)
        self.graph = graph
        self._body: Body | None = None

    def __call__(self, rows: Tensor, *, learning_rate: float, beta: float, number: int) -> Tensor:
        late = self.optimiser if isinstance(self.optimiser, Burda) else None
        # Burda's first step moves nothing and leaves the moments as they are: the one step unlike others
        if len(rows) != self.config.batch_size or (late is not None and late.count == 0):
            return super().__call__(rows, learning_rate=learning_rate, beta=beta, number=number)
        if self._body is None:
            self._body = self.record(rows)
        if late is not None:
            late.count += 1
        return self._body(rows, self.numbers(learning_rate, beta))

    def record(self, rows: Tensor) -> Body:
        """The body for batches like these rows."""
        operations = self.operations(rows)
        if self.graph is not None:
            return self.graph(self, operations, rows)

        def body(rows: Tensor, numbers: list[float]) -> Tensor:
            return operations(rows, torch.tensor(numbers, dtype=self.dtype, device=self.device))

        return body

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters."""
        return self.optimiser.parameters[0].dtype

    def numbers(self, learning_rate: float, beta: float) -> list[float]:
        """What changes from step to step: for the fused optimisers the step size, and beta."""
        if isinstance(self.optimiser, Burda):
            learning_rate = self.optimiser.corrected(learning_rate)
        return [learning_rate, 1.0, beta]

    def operations(self, rows: Tensor) -> Operations:
        """The step as a function of tensors: it changes parameters and moments, and returns the sums."""

        def operations(rows: Tensor, scalars: Tensor) -> Tensor:
            learning_rate, _, beta = scalars.unbind()
            with trusting():
                loss, sums = self.forward(rows, beta)
            self.backward(loss, rows)
            # torch's fused call on a GPU takes its step size in single precision, whatever the rest is
            self.optimiser.repeat(learning_rate.float() if self.device.type == "cuda" else learning_rate)
            return sums

        return operations


class Waiting(TorchDispatchMode):
    """Notes the operations whose result the program has to wait for before it can go on."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.overloadpacket.__name__
        result = function(*arguments, **(keywords or {}))
        if name in _ANSWERS or _indexed_by_a_mask(name, arguments) or _between_devices(arguments, result):
            self.names.append(name)
        return result


# a number for the program, or a result whose size depends on values
_ANSWERS = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
    "bincount",
}


def waits(function: Callable[[], object]) -> list[str]:
    """The operations in a call of the function for which a GPU would hold up the program.

    Example:
        >>> waits(lambda: torch.ones(3).sum().item())
        ['_local_scalar_dense']
        >>> waits(lambda: torch.ones(3).sum())
        []
    """
    with Waiting() as noted:
        function()
    return noted.names


def _indexed_by_a_mask(name: str, arguments: Sequence) -> bool:
    if name not in ("index", "index_put", "index_put_", "_index_put_impl_"):
        return False
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in arguments[1])


def _between_devices(arguments: Sequence, result: object) -> bool:
    tensors = [t for t in (*arguments, result) if isinstance(t, Tensor)]
    # a number on the CPU may be an operand of a GPU's operation; a tensor with dimensions may not
    return len({t.device.type for t in tensors if t.dim() > 0}) > 1


@contextmanager
def trusting() -> Iterator[None]:
    """Meanwhile the distributions of torch do not look at the values of their parameters and of x.

    The likelihoods of vae_lib do not either while `fit` trains: see `vae_lib.training.watched`.

    Example:
        >>> with trusting():
        ...     torch.distributions.Normal(torch.zeros(2), torch.full((2,), torch.nan))
        Normal(loc: torch.Size([2]), scale: torch.Size([2]))
    """
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
