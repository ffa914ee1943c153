"""The optimiser: Adam without the two seconds that `torch.optim.Adam` takes to be made."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

__all__ = ["Adam"]


class Adam:
    """Adam as one fused call for all parameters.

    `torch.optim.Adam` would do the same arithmetic, but making one imports torch's compiler, which
    takes about two seconds. A parameter that had no gradient is left alone, moments included.

    Args:
        parameters: Pairs of a name and a parameter, as `model.named_parameters()` gives them; those
            that need no gradient are left out.

    Book: chapter 8 (training). Source: Kingma and Ba (2015), arXiv 1412.6980, algorithm 1.

    Example:
        >>> parameter = nn.Parameter(torch.zeros(2))
        >>> optimiser = Adam([("bias", parameter)])
        >>> parameter.grad = torch.tensor([1.0, -4.0])
        >>> optimiser.step(learning_rate=0.25)
        >>> parameter.data
        tensor([-0.2500,  0.2500])
    """

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
        used = {i: p.grad for i, p in enumerate(self.parameters) if p.grad is not None}
        adam(
            [self.parameters[i] for i in used],
            list(used.values()),
            [self.first[i] for i in used],
            [self.second[i] for i in used],
            [],
            [self.steps[i] for i in used],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """The tensors that the next step depends on, each under the name of its parameter.

        They are the tensors themselves, not copies: to restore a state, copy into them.

        Example:
            >>> sorted(Adam([("bias", nn.Parameter(torch.zeros(2)))]).state())
            ['first.bias', 'second.bias', 'steps.bias']
        """
        kinds = {"first": self.first, "second": self.second, "steps": self.steps}
        return {
            f"{kind}.{name}": tensor
            for kind, tensors in kinds.items()
            for name, tensor in zip(self.names, tensors, strict=True)
        }
