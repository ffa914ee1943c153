"""Hamiltonian Monte Carlo: a move of z that leaves a density as it is."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["adapted", "hmc"]

WANTED_ACCEPTANCE = 0.65  # what costs least in many dimensions: Neal (2011), section 4.4
FASTER = 1.1


def hmc(
    log_density: Callable[[Tensor], Tensor], z: Tensor, step: Tensor, leapfrogs: int
) -> tuple[Tensor, Tensor]:
    r"""Move every chain once, along a trajectory of `leapfrogs` steps.

    .. math:: p \sim N(0, I), \qquad (z, p) \to (z', p'), \qquad
              P(\text{accept}) = \min\left(1, e^{\ln f(z') - |p'|^2 / 2 - \ln f(z) + |p|^2 / 2} \right)

    Without the last step the chain would follow another density than f, by the error of the leapfrogs.

    Args:
        log_density: ln f, up to a constant; from z (chains, batch, latent) to (chains, batch).
        z: Where the chains are, (chains, batch, latent).
        step: The size of a leapfrog, (batch,).
        leapfrogs: How many.

    Returns:
        Where they are now, and which of them moved, (chains, batch). No gradients are kept.

    Source: Neal (2011), section 3.

    Example:
        >>> z = torch.zeros(1000, 1, 1)
        >>> for _ in range(20):
        ...     z, moved = hmc(lambda z: -0.5 * z.square().sum(-1), z, torch.tensor([0.5]), 3)
        >>> bool((z.var() - 1).abs() < 0.3)
        True
    """
    step = step.unsqueeze(-1)  # (batch, 1)
    momentum = torch.randn_like(z)
    value, gradient = _with_gradient(log_density, z)
    energy = value - 0.5 * momentum.square().sum(-1)  # (chains, batch)
    new, momentum = z, momentum + 0.5 * step * gradient
    for i in range(leapfrogs):
        new = new + step * momentum
        value, gradient = _with_gradient(log_density, new)
        momentum = momentum + (0.5 if i == leapfrogs - 1 else 1.0) * step * gradient
    gain = value - 0.5 * momentum.square().sum(-1) - energy
    moved = torch.rand_like(gain).log() < gain  # a trajectory that ended in NaN did not move
    return torch.where(moved.unsqueeze(-1), new, z), moved


def adapted(step: Tensor, moved: Tensor) -> Tensor:
    """The step for the next move: longer where more than 65 % of the chains moved, else shorter.

    Example:
        >>> adapted(torch.ones(2), torch.tensor([[True, False], [True, False]]))
        tensor([1.1000, 0.9091])
    """
    often = moved.to(step.dtype).mean(0) > WANTED_ACCEPTANCE
    return torch.where(often, step * FASTER, step / FASTER)


def _with_gradient(log_density: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = log_density(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), gradient
