"""The optimisers: Adam without the two seconds that `torch.optim.Adam` takes to be made, and Burda's.

Both move all parameters with one fused call. Both keep everything that the next step depends on in
tensors with names, so that a checkpoint can hold it.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

__all__ = ["OPTIMISERS", "Adam", "Burda", "make_optimiser"]


class Adam:
    """Adam as one fused call for all parameters.

    `torch.optim.Adam` would do the same arithmetic, but making one imports torch's compiler, which
    takes about two seconds. A parameter that had no gradient is left alone, moments included.

    Args:
        parameters: Pairs of a name and a parameter, as `model.named_parameters()` gives them; those
            that need no gradient are left out.

    Attributes:
        summed: Whether it wants the gradient of the loss summed over the batch; False: of the mean.

    Book: chapter 8 (training). Source: Kingma and Ba (2015), arXiv 1412.6980, algorithm 1.

    Example:
        >>> parameter = nn.Parameter(torch.zeros(2))
        >>> optimiser = Adam([("bias", parameter)])
        >>> parameter.grad = torch.tensor([1.0, -4.0])
        >>> optimiser.step(learning_rate=0.25)
        >>> parameter.data
        tensor([-0.2500,  0.2500])
    """

    summed: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]):
        named = [(name, p) for name, p in parameters if p.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters = [p for _, p in named]
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients.

        Example:
            >>> parameter = nn.Parameter(torch.zeros(2))
            >>> parameter.grad = torch.ones(2)
            >>> Adam([("bias", parameter)]).zero_grad()
            >>> parameter.grad is None
            True
        """
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move every parameter that has a gradient, downhill.

        Example:
            >>> parameter = nn.Parameter(torch.zeros(1))
            >>> parameter.grad = torch.tensor([3.0])
            >>> Adam([("bias", parameter)]).step(learning_rate=0.5)
            >>> parameter.data
            tensor([-0.5000])
        """
        self._fused(self._gradients(), learning_rate)

    def _gradients(self) -> dict[int, Tensor]:
        return {i: p.grad for i, p in enumerate(self.parameters) if p.grad is not None}

    def _fused(self, gradients: dict[int, Tensor], learning_rate: float | Tensor) -> None:
        """Take the gradients into the moments, then move by the moments: one call of torch."""
        used = list(gradients)
        steps = [self.steps[i] for i in used]
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            [self.parameters[i] for i in used],
            list(gradients.values()),
            [self.first[i] for i in used],
            [self.second[i] for i in used],
            [],
            steps,
            lr=learning_rate,  # type: ignore[arg-type]  # a number or a tensor, each by an overload
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    @torch.no_grad()
    def repeat(self, learning_rate: Tensor) -> None:
        """The step of a graph: the same, with tensors that never move, and the step size in one of them.

        Example:
            >>> parameter = nn.Parameter(torch.zeros(1))
            >>> parameter.grad = torch.tensor([3.0])
            >>> Adam([("bias", parameter)]).repeat(torch.tensor(0.5))
            >>> parameter.data
            tensor([-0.5000])
        """
        self._fused(self._gradients(), learning_rate)

    def state(self) -> dict[str, Tensor]:
        """The tensors that the next step depends on, each under the name of its parameter.

        They are the tensors themselves, not copies: to restore a state, copy into them.

        Example:
            >>> sorted(Adam([("bias", nn.Parameter(torch.zeros(2)))]).state())
            ['first.bias', 'second.bias', 'steps.bias']
        """
        kinds = {"first": self.first, "second": self.second, "steps": self.steps}
        return self._named(kinds)

    def _named(self, kinds: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        return {
            f"{kind}.{name}": tensor
            for kind, tensors in kinds.items()
            for name, tensor in zip(self.names, tensors, strict=True)
        }


# what Burda's optimiser does differently, and can be asked to leave out
_TWISTS = ("sum", "ones", "momentum", "delay")


class Burda(Adam):
    r"""The optimiser behind the published numbers of Burda et al.: Adam with five twists.

    .. math:: \theta_t = \theta_{t-1} - \eta \, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \,
              \frac{m_{t-1}}{\sqrt{v_{t-1}} + \epsilon}, \qquad
              m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad
              v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2

    with :math:`m_0 = 0, v_0 = 1, \beta_1 = 0.99, \beta_2 = 0.999, \epsilon = 10^{-4}`. The paper says
    Adam with :math:`\beta_1 = 0.9` and :math:`\epsilon = 10^{-4}`; the code published with it does
    this:

    1. "sum": **The gradient is summed over the batch**, not averaged (`summed`). Adam hardly minds the
       scale of a gradient, but :math:`\epsilon` and the ones below do: :math:`10^{-4}` against a sum
       over 20 examples is :math:`5 \cdot 10^{-6}` against their mean.
    2. "ones": **Second moments start at one**, and forget it only over a thousand steps. A weight whose
       summed gradient is well below one moves slowly until then: a warm-up of its own for each weight.
    3. "momentum": :math:`\beta_1 = 0.99`. The direction is an average over a hundred steps, not ten.
    4. :math:`\epsilon` stands outside the correction of the moments' start. In torch's Adam it is
       added to :math:`\sqrt{v / (1 - \beta_2^t)}`; here, early on, it weighs up to thirty times more.
    5. "delay": **Every move uses the moments from before its own gradient.** The updates of moments and
       parameters were written side by side, and all of them read the old values. So the first step
       moves nothing, and a gradient takes effect one step late.

    The fused call of torch first takes a gradient into the moments and then moves by them. It is given
    the gradient of the step before, which is the same; the correction is put into the step size, and
    the count of torch's own correction is set to infinity, where it is 1.

    Args:
        parameters: As for `Adam`.
        without: One of the twists in quotes, to be left out: an ablation. Without "momentum"
            :math:`\beta_1` is 0.9.

    Book: chapter 12 (Burda's table). Source: `optimizers.py` of the code published with Burda et
    al. (2016).

    Example:
        >>> parameter = nn.Parameter(torch.zeros(1))
        >>> optimiser = Burda([("bias", parameter)])
        >>> for _ in range(2):
        ...     parameter.grad = torch.tensor([30.0])
        ...     optimiser.step(learning_rate=0.1)
        ...     print(round(parameter.item(), 4))
        0.0
        -0.0489
    """

    eps = 1e-4

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], without: str | None = None):
        super().__init__(parameters)
        self.summed = without != "sum"
        self.betas = (0.9 if without == "momentum" else 0.99, 0.999)
        self.delayed = without != "delay"
        start = 0.0 if without == "ones" else 1.0
        self.second = [torch.full_like(p, start) for p in self.parameters]
        self.waiting = [torch.zeros_like(p) for p in self.parameters]  # the gradients of the step before
        self.count = torch.zeros((), dtype=torch.int64)
        self.steps = [torch.full((), math.inf, device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move every parameter by the moments so far; then keep its gradient for the next step.

        Example:
            >>> parameter = nn.Parameter(torch.zeros(1))
            >>> optimiser = Burda([("bias", parameter)])
            >>> parameter.grad = torch.tensor([3.0])
            >>> optimiser.step(learning_rate=0.5)
            >>> parameter.data
            tensor([0.])
        """
        # `zero_grad` lets go of these tensors and the next backward pass makes others: no copy is needed
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        self.count += 1
        if self.count > 1 or not self.delayed:  # before there is a gradient the first moments are zero
            used = dict(enumerate(self.waiting if self.delayed else gradients))
            self._fused(used, self.corrected(learning_rate))
        self.waiting = gradients

    def corrected(self, learning_rate: float) -> float:
        """The step size with the correction of this step, the `count`-th.

        Example:
            >>> optimiser = Burda([("bias", nn.Parameter(torch.zeros(1)))])
            >>> optimiser.count += 2
            >>> round(optimiser.corrected(0.1), 4)
            0.2247
        """
        t = int(self.count)
        return learning_rate * math.sqrt(1 - self.betas[1] ** t) / (1 - self.betas[0] ** t)

    @torch.no_grad()
    def repeat(self, learning_rate: Tensor) -> None:
        """The step of a graph, with a step size that is corrected already.

        Example:
            >>> parameter = nn.Parameter(torch.zeros(1))
            >>> optimiser = Burda([("bias", parameter)])
            >>> parameter.grad = torch.tensor([3.0])
            >>> optimiser.repeat(torch.tensor(0.5))
            >>> parameter.data, optimiser.waiting
            (tensor([0.]), [tensor([3.])])
        """
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        self._fused(dict(enumerate(self.waiting if self.delayed else gradients)), learning_rate)
        for kept, gradient in zip(self.waiting, gradients, strict=True):
            kept.copy_(gradient)

    def state(self) -> dict[str, Tensor]:
        """The tensors that the next step depends on, as for `Adam`.

        Example:
            >>> sorted(Burda([("bias", nn.Parameter(torch.zeros(2)))]).state())
            ['count', 'first.bias', 'second.bias', 'waiting.bias']
        """
        kinds = {"first": self.first, "second": self.second, "waiting": self.waiting}
        return {"count": self.count, **self._named(kinds)}


OPTIMISERS: dict[str, Callable[[Iterable[tuple[str, nn.Parameter]]], Adam]] = {
    "adam": Adam,
    "burda": Burda,
    **{f"burda-no-{twist}": partial(Burda, without=twist) for twist in _TWISTS},
}


def make_optimiser(name: str, parameters: Iterable[tuple[str, nn.Parameter]]) -> Adam:
    """The optimiser of this name: "adam", "burda", or "burda-no-sum" and the like for an ablation.

    Example:
        >>> make_optimiser("burda-no-sum", nn.Linear(1, 1).named_parameters()).summed
        False
    """
    return OPTIMISERS[name](parameters)
