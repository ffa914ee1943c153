r"""The whole step as one compiled function: batch, loss, gradient and Adam in one piece of machine code.

The plain step is made of some eighty calls, and each reads and writes whole tensors. Compiled, those
that go over the same numbers become one loop: about 1.3 times the speed for large layers, 2 and more
for small ones. Only matrix products stay as they are.

It costs 10 to 60 seconds of a processor the first time, and a few seconds where torch finds the
result in its cache, so it pays for long runs alone: `TrainConfig(compile=True)`.
"""

import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vae_lib.training.config import TrainConfig
from vae_lib.training.optimisers import Adam, Burda
from vae_lib.training.recording import Graph, Operations, RecordedStep, trusting
from vae_lib.training.resident import Resident

__all__ = ["CompiledStep", "find_compiler"]


def find_compiler() -> str:
    """The C++ compiler that torch would call.

    Raises:
        ValueError: If there is none.

    Example:
        >>> os.environ["CXX"] = "no-such-compiler"
        >>> find_compiler()
        Traceback (most recent call last):
        ValueError: compile is True, but there is no C++ compiler 'no-such-compiler'; wanted g++ ...
        >>> del os.environ["CXX"]
    """
    usual = {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    name = os.environ.get("CXX", usual)
    if shutil.which(name) is None:
        raise ValueError(
            f"compile is True, but there is no C++ compiler {name!r}; wanted g++ or another one "
            "(named by the variable CXX) on this machine, or compile=False"
        )
    return name


class CompiledStep(RecordedStep):
    """The step of `Step`, compiled; made when the first whole batch arrives.

    The noise comes from the same generator in the same order as in the plain step, so that the two
    differ by rounding alone (only `torch.bernoulli` and dropout are drawn by torch's compiler in a way of
    its own: there the curves agree as those of two seeds do). The state is that of the plain optimiser: a
    checkpoint of one kind of run can be continued by the other.

    Args:
        model: The module to train.
        data: The examples, on the device.
        config: The settings of the run.
        optimiser: What holds the moments.
        graph: What captures the compiled step on a GPU.

    Raises:
        ValueError: If there is no compiler; later, if the step of this model cannot be compiled.

    Book: chapter 12 (compiled steps).
    """

    watched = False  # what the program would have to wait for cannot be compiled

    def __init__(
        self,
        model: nn.Module,
        data: Resident,
        config: TrainConfig,
        optimiser: Adam,
        graph: Graph | None = None,
    ):
        super().__init__(model, data, config, optimiser, graph)
        if self.device.type == "cpu":
            find_compiler()
        self._used: list[int] = []  # the parameters that the loss depends on
        self._taken = 0  # steps that have moved them
        moving = dict(zip(optimiser.names, optimiser.parameters, strict=True))
        others = {name: p for name, p in model.named_parameters() if name not in moving}
        self._moving = {f"model.{name}": p.detach() for name, p in moving.items()}
        self._still = {f"model.{name}": t.detach() for name, t in [*others.items(), *model.named_buffers()]}
        self._third: list[Tensor] | None = None
        self._shapes = {name: t.shape for name, t in (self._moving | self._still).items()}

    def __call__(self, rows: Tensor, *, learning_rate: float, beta: float, number: int) -> Tensor:
        first = self._body is None
        with self._compiling() if first and len(rows) == self.config.batch_size else nullcontext():
            sums = super().__call__(rows, learning_rate=learning_rate, beta=beta, number=number)
        self._taken += 1
        return sums

    def _tensors(self) -> tuple[dict, dict, list, list, list]:
        """What a step reads and changes in place: the very tensors of model and optimiser."""
        optimiser = self.optimiser
        third = optimiser.waiting if isinstance(optimiser, Burda) else optimiser.steps
        if third is not self._third:  # a plain step has put other tensors there, or it is the first time
            self._third = third
            lists = (optimiser.first, optimiser.second, third)
            first, second, last = ([_line(tensor) for tensor in tensors] for tensors in lists)
            self._all = _lined(self._moving), _lined(self._still), first, second, last
        return self._all

    def numbers(self, learning_rate: float, beta: float) -> list[float]:
        """What changes from step to step: the size of the step, the scale of the second moment, beta.

        The bias corrections are powers. In the loops of the compiled function one would be taken for
        every sixteen numbers, and they would cost more than the rest of Adam.
        """
        if isinstance(self.optimiser, Burda):
            return [self.optimiser.corrected(learning_rate), 1.0, beta]
        first, second = (1 - decay ** (self._taken + 1) for decay in self.optimiser.betas)
        return [learning_rate / first, 1 / math.sqrt(second), beta]

    def operations(self, rows: Tensor) -> Operations:
        """The step as tensor operations, compiled at their first call."""
        from torch.fx.experimental.proxy_tensor import make_fx

        # Python runs here, once and on tensors without values; what it calls is what is compiled
        record = make_fx(
            lambda *tensors: self._arithmetic(*tensors), tracing_mode="fake", _allow_non_fake_inputs=True
        )
        scalars = torch.zeros(3, dtype=self.dtype, device=self.device)
        recorded = record(*self._tensors(), rows, scalars)
        self._taken = self._steps_so_far()
        options: dict[str, Any] = {"fallback_random": True}  # torch's own noise, in its own order
        if self.device.type == "cpu":
            options["cpp_wrapper"] = True  # what happens between the loops is compiled too
        if hasattr(torch.compiler, "skip_all_guards_unsafe"):
            # nothing it was compiled for can change: the tensors stay, the number of rows was looked at, and
            # `forward` is code of this step alone, so that another run cannot be taken for this one
            options["guard_filter_fn"] = torch.compiler.skip_all_guards_unsafe
        function = torch.compile(recorded.forward, fullgraph=True, dynamic=False, options=options)

        @torch.no_grad()
        def operations(rows: Tensor, scalars: Tensor) -> Tensor:
            return function(*self._tensors(), rows, scalars)

        return operations

    def _arithmetic(
        self,
        moving: dict[str, Tensor],
        still: dict[str, Tensor],
        first: list[Tensor],
        second: list[Tensor],
        third: list[Tensor],
        rows: Tensor,
        scalars: Tensor,
    ) -> Tensor:
        """The step as a function of tensors: it changes the parameters and moments, and returns the sums."""
        size, scale, beta = scalars.unbind()
        leaves = {name: p.detach().view(self._shapes[name]).requires_grad_() for name, p in moving.items()}
        still = {name: t.view(self._shapes[name]) for name, t in still.items()}
        with torch.enable_grad():
            loss, sums = functional_call(_Loss(self.model, self.forward), leaves | still, (rows, beta))
            gradients = torch.autograd.grad(loss * self.scale(rows), list(leaves.values()), allow_unused=True)
        self._used = [i for i, gradient in enumerate(gradients) if gradient is not None]
        shrink = self._shrink([gradients[i] for i in self._used], self.scale(rows))
        (b1, b2), eps = self.optimiser.betas, self.optimiser.eps
        for i, parameter in enumerate(moving.values()):
            gradient = gradients[i]
            if gradient is not None and shrink is not None:
                gradient = gradient * shrink
            if isinstance(self.optimiser, Burda):
                gradient = torch.zeros_like(parameter) if gradient is None else gradient
                # a gradient goes into the moments one step late
                taken_in = third[i].clone() if self.optimiser.delayed else gradient
                third[i].copy_(gradient)
            elif gradient is None:
                continue
            else:
                taken_in = gradient
                third[i].add_(1)  # the count of steps
            first[i].lerp_(taken_in, 1 - b1)
            second[i].mul_(b2).add_(taken_in * taken_in * (1 - b2))
            parameter.sub_(size * first[i] / (second[i].sqrt() * scale + eps))
        return sums

    def _shrink(self, gradients: list[Tensor], scale: int) -> Tensor | None:
        """What all gradients are multiplied by, as in `torch.nn.utils.clip_grad_norm_`."""
        if self.config.clip_norm is None:
            return None
        norm = torch.nn.utils.get_total_norm(gradients)
        return (self.config.clip_norm * scale / (norm + 1e-6)).clamp(max=1.0)

    def _steps_so_far(self) -> int:
        if isinstance(self.optimiser, Burda):
            return 0  # it counts by itself
        counts = {int(self.optimiser.steps[i]) for i in self._used}
        if len(counts) > 1:
            raise ValueError(f"parameters were moved {sorted(counts)} times before, not equally often")
        return counts.pop() if counts else 0

    @contextmanager
    def _compiling(self) -> Iterator[None]:
        """What goes wrong while the step is compiled, in one line."""
        try:
            # it also undoes what torch's compiler does to all distributions of the program
            with trusting():
                yield
        except Exception as error:
            cause = getattr(error, "inner_exception", error)
            reason = str(cause).strip().split("\n")[0] or type(cause).__name__
            raise ValueError(
                f"compile is True, but the step of this {type(self.model).__name__} cannot be compiled "
                f"({reason}); wanted compile=False"
            ) from error


def _line(tensor: Tensor) -> Tensor:
    """The same memory with at least one dimension.

    torch's compiler takes a number in double precision without dimensions by its value, and what is
    written into it is lost.
    """
    return tensor if tensor.dim() else tensor.view(1)


def _lined(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: _line(tensor) for name, tensor in tensors.items()}


class _Loss(nn.Module):
    """The loss as a module, so that `functional_call` can put tensors in the place of parameters."""

    def __init__(self, model: nn.Module, function: Callable[[Tensor, Any], tuple[Tensor, Tensor]]):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, rows: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        return self.function(rows, beta)
