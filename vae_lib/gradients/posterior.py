r"""q(z), once for each sample: how one backward pass gives a gradient per sample.

Row i of the copies is a parameter of its own and touches sample i only. So the derivative of the
sum over all samples, with respect to row i, is the gradient of sample i alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vae_lib import _require

__all__ = [
    "CategoricalCopies",
    "CategoricalGradient",
    "GaussianCopies",
    "GaussianGradient",
    "copies",
    "log_density",
]

LogDensity = Callable[[Float[Tensor, "rows *event"]], Float[Tensor, " rows"]]


class GaussianGradient(NamedTuple):
    """Gradients with respect to the parameters of a Gaussian q, one row per sample; nats per unit.

    Book: chapter 6 (reparametrisation).

    Example:
        >>> gradient = GaussianGradient(mean=torch.zeros(100, 2), log_var=torch.zeros(100, 2))
        >>> gradient.mean.var(0)                             # the noise of the estimator
        tensor([0., 0.])
    """

    mean: Float[Tensor, "n latent"]
    log_var: Float[Tensor, "n latent"]


class CategoricalGradient(NamedTuple):
    """Gradients with respect to the logits of a categorical q, one row per sample; nats per unit.

    Book: chapter 6 (discrete latents).

    Example:
        >>> CategoricalGradient(logits=torch.zeros(100, 3)).logits.mean(0)
        tensor([0., 0., 0.])
    """

    logits: Float[Tensor, "n *latent classes"]


class GaussianCopies:
    """n copies of N(mean, diag exp(log_var)); samples are (k, n, latent)."""

    def __init__(self, mean: Tensor, log_var: Tensor, n: int) -> None:
        _require.positive_integer("n", n)
        _require.floating("mean", mean)
        _require.shape("mean", mean, (None,), "(latent,): one Gaussian, not a batch of them")
        if mean.numel() == 0:
            raise ValueError("mean has shape (0,); wanted at least one latent")
        _require.shape("log_var", log_var, tuple(mean.shape), f"the shape of mean, {tuple(mean.shape)}")
        if log_var.dtype != mean.dtype:
            raise ValueError(f"log_var has dtype {log_var.dtype}; wanted that of mean, {mean.dtype}")
        _require.finite("mean", mean)
        _require.finite("log_var", log_var)
        self.mean, self.log_var = _rows(mean, n), _rows(log_var, n)  # (n, latent)

    def rsample(self, k: int, generator: torch.Generator | None) -> Tensor:
        """z = mean + std * noise, differentiable in mean and log_var."""
        _require.positive_integer("k", k)
        shape = (k, *self.mean.shape)
        noise = torch.randn(
            shape, dtype=self.mean.dtype, device=self.mean.device, generator=generator
        )  # (k, n, latent)
        return self.mean + (0.5 * self.log_var).exp() * noise

    def sample(self, k: int, generator: torch.Generator | None) -> Tensor:
        """The same z as numbers: nothing flows back through them."""
        return self.rsample(k, generator).detach()

    def log_prob(self, z: Tensor) -> Tensor:
        """ln q(z), (k, n)."""
        return _log_normal(z, self.mean, self.log_var)

    def stopped_log_prob(self, z: Tensor) -> Tensor:
        """ln q(z) with the parameters held constant: only z carries a gradient."""
        return _log_normal(z, self.mean.detach(), self.log_var.detach())

    def gradient(self, objective: Tensor) -> GaussianGradient:
        """d objective[i] / d (mean, log_var) of row i, for an objective (n,)."""
        return GaussianGradient(*torch.autograd.grad(objective.sum(), (self.mean, self.log_var)))


class CategoricalCopies:
    """n copies of independent categoricals; samples are one-hot, (k, n, *latent, classes)."""

    def __init__(self, logits: Tensor, n: int) -> None:
        _require.positive_integer("n", n)
        _require.floating("logits", logits)
        if logits.dim() not in (1, 2) or logits.numel() == 0:
            raise ValueError(
                f"logits has shape {tuple(logits.shape)}; wanted (classes,), or (latent, classes) "
                "for several independent variables"
            )
        _require.finite("logits", logits)
        self.logits = _rows(logits, n)  # (n, *latent, classes)

    def perturbed(self, k: int, generator: torch.Generator | None) -> Tensor:
        """The logits plus Gumbel noise, (k, n, *latent, classes): the largest one is a draw from q."""
        _require.positive_integer("k", k)
        waiting = torch.empty((k, *self.logits.shape), dtype=self.logits.dtype, device=self.logits.device)
        return self.logits - waiting.exponential_(generator=generator).log()

    def sample(self, k: int, generator: torch.Generator | None) -> Tensor:
        """One-hot codes as numbers: nothing flows back through them."""
        chosen = self.perturbed(k, generator).detach().argmax(-1)  # (k, n, *latent)
        return torch.nn.functional.one_hot(chosen, self.logits.shape[-1]).to(self.logits.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        """ln q(z), (k, n), summed over the independent variables."""
        return (z * self.logits.log_softmax(-1)).flatten(2).sum(-1)

    def entropy(self) -> Tensor:
        """The entropy of q, (n,), exactly."""
        log_q = self.logits.log_softmax(-1)
        return -(log_q.exp() * log_q).flatten(1).sum(-1)

    def gradient(self, objective: Tensor) -> CategoricalGradient:
        """d objective[i] / d logits of row i, for an objective (n,)."""
        return CategoricalGradient(*torch.autograd.grad(objective.sum(), (self.logits,)))


def copies(
    mean: Tensor | None, log_var: Tensor | None, logits: Tensor | None, n: int
) -> GaussianCopies | CategoricalCopies:
    """The copies of whichever q the caller described."""
    if mean is not None and log_var is not None and logits is None:
        return GaussianCopies(mean, log_var, n)
    if logits is not None and mean is None and log_var is None:
        return CategoricalCopies(logits, n)
    given = [
        name
        for name, value in (("mean", mean), ("log_var", log_var), ("logits", logits))
        if value is not None
    ]
    raise ValueError(
        f"q is given by {' and '.join(given) or 'nothing'}; wanted either mean and log_var, or logits"
    )


def log_density(name: str, function: LogDensity, z: Tensor, differentiable: bool = True) -> Tensor:
    """function(z) for z (k, n, *event), asked for one flat list of codes; returns (k, n)."""
    if not callable(function):
        raise ValueError(f"{name} is of type {type(function).__name__}; wanted a function of z")
    value = function(z.flatten(0, 1))  # (k * n,)
    wanted = z.shape[0] * z.shape[1]
    _require.shape(name + "(z)", value, (wanted,), f"({wanted},): one number for each row of z")
    _require.finite(name + "(z)", value)  # an impossible z that q proposes makes the bound -inf
    if differentiable and not value.requires_grad:
        raise ValueError(
            f"{name}(z) carries no gradient; wanted a function that torch can differentiate in z"
        )
    return value.unflatten(0, z.shape[:2])


def _rows(parameter: Tensor, n: int) -> Tensor:
    return parameter.detach().repeat(n, *[1] * parameter.dim()).requires_grad_()


def _log_normal(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    std = (0.5 * log_var).exp()
    return torch.distributions.Normal(mean, std, validate_args=False).log_prob(z).sum(-1)
