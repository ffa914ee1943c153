"""Values from other routes than the formulas of the exercises: quadrature, enumeration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

__all__ = [
    "given_all_else",
    "kl_by_quadrature",
    "kl_of_rows",
    "summit",
    "tables",
    "tensor",
]


def tensor(values: object) -> torch.Tensor:
    """A float64 tensor, the kind that every check hands over."""
    return torch.as_tensor(np.asarray(values, dtype=np.float64))


def tables(rng: np.random.Generator, rows: int, columns: int, floor: float = 0.02) -> torch.Tensor:
    """Random rows that sum to one, with no entry below `floor`: (rows, columns)."""
    rest = rng.dirichlet(np.ones(columns), size=rows)
    return tensor(floor + (1.0 - floor * columns) * rest)


def kl_of_rows(q: Sequence[float], p: Sequence[float]) -> float:
    """KL(q‖p) of two lists, term by term; zero terms by their limit, infinite where p excludes q.

    Example:
        >>> round(kl_of_rows([1.0, 0.0], [0.5, 0.5]), 6)
        0.693147
    """
    terms = []
    for a, b in zip(q, p, strict=True):
        if a == 0.0:
            continue
        if b == 0.0:
            return math.inf
        terms.append(a * (math.log(a) - math.log(b)))
    return math.fsum(terms)


def kl_by_quadrature(
    mean_q: object, std_q: object, mean_p: object = 0.0, std_p: object = 1.0
) -> torch.Tensor:
    """KL of Gaussians, elementwise: E_q of the log-ratio by the trapezoid rule, in units of q's width.

    Example:
        >>> kl_by_quadrature([1.0, 0.0], [1.0, 1.0])
        tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    mean_q, std_q, mean_p, std_p = (
        np.asarray(a, dtype=np.float64)[..., None] for a in (mean_q, std_q, mean_p, std_p)
    )
    t = np.linspace(-12.0, 12.0, 241)  # the rule is exact to rounding for such smooth functions
    weight = np.exp(-0.5 * t**2) / math.sqrt(2.0 * math.pi) * (t[1] - t[0])
    log_q = -0.5 * t**2 - np.log(std_q)
    log_p = -0.5 * ((mean_q + std_q * t - mean_p) / std_p) ** 2 - np.log(std_p)
    return tensor(((log_q - log_p) * weight).sum(-1))


def given_all_else(weight: torch.Tensor, variance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Conditioning in the joint Gaussian of z and x, for z ~ N(0, I) and x|z ~ N(weight z, variance I).

    Returns the matrix of E[z|x], (latent, pixels), and the variance of each z when x and all others are
    known, (latent,): one over the diagonal of the joint precision, pixels and latents together.

    Example:
        >>> given_all_else(tensor([[1.0]]), 1.0)
        (tensor([[0.5000]], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    w = weight.numpy()
    pixels, latent = w.shape
    of_x = w @ w.T + variance * np.eye(pixels)
    joint = np.block([[np.eye(latent), w.T], [w, of_x]])
    alone = 1.0 / np.diag(np.linalg.inv(joint))[:latent]
    return tensor(np.linalg.solve(of_x, w).T), tensor(alone)


def summit(height: Callable[..., torch.Tensor], *starts: Sequence[float]) -> np.ndarray:
    """Where a smooth function of a few numbers is largest, by BFGS from several places.

    Example:
        >>> summit(lambda a, b: -((a - 1) ** 2) - (b + 2) ** 2, (0.0, 0.0)).round(6).tolist()
        [1.0, -2.0]
    """
    from scipy.optimize import minimize

    def depth(point: np.ndarray) -> tuple[float, np.ndarray]:
        leaf = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        value = -height(*leaf)
        (slope,) = torch.autograd.grad(value, leaf)
        return value.item(), slope.numpy()

    found = [minimize(depth, start, jac=True, method="BFGS", options={"gtol": 1e-9}) for start in starts]
    return min(found, key=lambda each: each.fun).x
