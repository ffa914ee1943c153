"""Values from other routes than the formulas of the exercises: quadrature, enumeration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

__all__ = [
    "kl_by_quadrature",
    "kl_of_rows",
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
