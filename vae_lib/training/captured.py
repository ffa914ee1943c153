r"""On a CUDA GPU: the whole step captured once as a graph, and replayed.

At the batch sizes of this course a GPU computes a step in some microseconds, and Python needs hundreds
to ask for it, one kernel after the other. A graph asks for all of them at once. `fit` takes this step by
itself wherever it can: on CUDA, with one shard, for whole batches; with `compile=True` it is the compiled
step that is captured.

A graph repeats what was recorded, at the addresses where it was recorded. So

- the rows of the batch and the numbers that change are copied into tensors that never move;
- **nothing in it may wait for an answer**: no `.item()`, no look at the values of x. The data were looked
  at before the run, and sums are added up on the device (`vae_lib.training.tally`). A model that waits
  all the same is noticed in the rehearsal, and trained without a graph, with a warning;
- the noise is new at every replay: a replay takes the state of torch's generator and moves it on by as
  much as was drawn when the graph was recorded. So a run that goes on from a checkpoint draws what it
  would have drawn.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from vae_lib.training.optimisers import Burda
from vae_lib.training.recording import Body, Operations, RecordedStep, waits
from vae_lib.training.surroundings import noise, noise_state

__all__ = ["Captured", "Recorder", "capture", "cuda_graph"]

_REHEARSALS = 3  # libraries set up their workspaces in the first ones; a graph must find them there

# takes a function whose tensors never move, and returns what repeats it
Recorder = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]


def cuda_graph(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Capture what the function asks of the GPU; what comes back repeats it, and returns the same tensor.

    Nothing is computed while it is captured.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def capture(
    step: RecordedStep, operations: Operations, rows: Tensor, recorder: Recorder = cuda_graph
) -> Body:
    """The operations of the step, captured; or called one after the other, if they cannot be.

    Args:
        step: The step that they belong to.
        operations: They change parameters and moments and return the sums.
        rows: A whole batch.
        recorder: What captures; on the CPU there is nothing to be gained, but the tests have one.
    """
    captured = Captured(step, operations, rows)
    with _undone(captured.state, step.device):
        waiting = captured.rehearse()
    if waiting:
        warnings.warn(
            f"the step of this {type(step.model).__name__} waits for the GPU ({', '.join(sorted(waiting))}); "
            "it is not captured as a graph, and slower than it could be",
            stacklevel=2,
        )
        return lambda rows, numbers: operations(
            rows, torch.tensor(numbers, dtype=step.dtype, device=step.device)
        )
    captured.replay = recorder(captured.function)
    return captured


class Captured:
    """The operations of a step on tensors that never move.

    Args:
        step: The step that they belong to.
        operations: The operations.
        rows: A whole batch.
    """

    def __init__(self, step: RecordedStep, operations: Operations, rows: Tensor):
        self.step, self.operations = step, operations
        self.rows = rows.clone()
        self.scalars = torch.zeros(3, dtype=step.dtype, device=step.device)
        self.replay: Callable[[], Tensor] = self.function
        optimiser = step.optimiser
        self.waiting = optimiser.waiting if isinstance(optimiser, Burda) else None
        model = step.model
        self.state = [*model.parameters(), *model.buffers(), *optimiser.first, *optimiser.second]
        self.state += self.waiting or optimiser.steps

    def __call__(self, rows: Tensor, numbers: list[float]) -> Tensor:
        self.rows.copy_(rows)
        for scalar, number in zip(self.scalars.unbind(), numbers, strict=True):
            scalar.fill_(number)  # a kernel with the number in it: to copy a list, the GPU is waited for
        optimiser = self.step.optimiser
        if isinstance(optimiser, Burda) and self.waiting is not None:
            # a plain step in between has put other tensors there
            for here, there in zip(self.waiting, optimiser.waiting, strict=True):
                if here is not there:
                    here.copy_(there)
            optimiser.waiting = self.waiting
        return self.replay()

    def function(self) -> Tensor:
        """What is captured."""
        return self.operations(self.rows, self.scalars)

    def rehearse(self) -> set[str]:
        """Go through it a few times; the operations for which the GPU would have to be waited for."""
        self.scalars.copy_(torch.tensor([0.0, 1.0, 1.0]))
        on_cuda = self.step.device.type == "cuda"
        stream = torch.cuda.Stream(self.step.device) if on_cuda else None
        if stream is not None:  # capturing needs a stream of its own, and so do rehearsals
            stream.wait_stream(torch.cuda.current_stream(self.step.device))
        waiting: set[str] = set()
        with torch.cuda.stream(stream) if stream is not None else nullcontext():
            if self.step.watched:
                waiting |= set(waits(self.function))
            for _ in range(_REHEARSALS):
                self.function()
        if stream is not None:
            torch.cuda.current_stream(self.step.device).wait_stream(stream)
        return waiting


@contextmanager
def _undone(tensors: list[Tensor], device: torch.device) -> Iterator[None]:
    """Give the tensors and the random states the values back that they have now."""
    before = [tensor.detach().clone() for tensor in tensors]
    with noise(device, 0, noise_state(device)):
        yield
    with torch.no_grad():
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
