"""What a step lowers: the loss of a batch, and the sums that the history needs."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vae_lib.bounds import beta_elbo, free_bits, iwae_bound
from vae_lib.training.config import TrainConfig
from vae_lib.training.pruning import pruned_iwae

__all__ = ["Objective", "make_objective", "terms"]

# (x (batch, pixels), beta) -> the loss, one number, the mean over the batch in nats; and the sums over
# the batch of `terms(config)`, detached
Objective = Callable[[Tensor, float | Tensor], tuple[Tensor, Tensor]]


def terms(config: TrainConfig) -> tuple[str, ...]:
    """The names of the sums that an objective returns, in their order.

    Example:
        >>> terms(TrainConfig()), terms(TrainConfig(objective="iwae"))
        (('reconstruction', 'rate'), ('reconstruction', 'rate', 'bound'))
    """
    two = ("reconstruction", "rate")
    return two if config.objective == "elbo" else (*two, "bound")


def make_objective(model: Any, config: TrainConfig) -> Objective:
    r"""The loss that the settings ask for, as a function of a batch and of beta.

    ==========  ========================================================  =============================
    objective   loss of a batch                                           gradient
    ==========  ========================================================  =============================
    "elbo"      − mean of (reconstruction − beta · rate)                  its own
    "iwae"      − mean of :math:`L_k`                                     its own
    "dreg"      − mean of :math:`L_k`                                     doubly reparametrised in the
                                                                          encoder, its own elsewhere
    ==========  ========================================================  =============================

    In every case the value of the loss is the (negative) bound itself; no surrogate is ever computed, so
    none can be reported. With `free_bits` the rate is :math:`\sum_j \max(\lambda, \text{mean rate of
    latent } j)`.

    Args:
        model: For "elbo" a module with `loss_terms(x, k=...)` that returns two tensors (batch,); for
            the others a module with `draw(x, k)`, such as `VAE` and `HierarchicalVAE`.
        config: The settings.

    Raises:
        ValueError: If the model cannot be trained by this objective.

    Book: chapter 8 (the loss contract), chapter 9 (tighter is not always better). Source: Burda et
    al. (2016), section 3; Tucker et al. (2019) for "dreg"; Kingma et al. (2016), C.8, for free bits.

    Example:
        >>> from vae_lib.networks import mlp_vae
        >>> objective = make_objective(mlp_vae(8, 2, seed=0), TrainConfig())
        >>> loss, sums = objective(torch.eye(8), 1.0)
        >>> loss.shape, sums.shape, sums.requires_grad
        (torch.Size([]), torch.Size([2]), False)
    """
    if config.objective == "elbo":
        return _free_bits(model, config) if config.free_bits else _elbo(model, config)
    if not hasattr(model, "draw"):
        raise ValueError(
            f"objective is {config.objective!r}, but a {type(model).__name__} has no method `draw`; wanted "
            "a VAE, a HierarchicalVAE, or objective 'elbo'"
        )
    if config.prune:
        return lambda x, beta: pruned_iwae(model, x, config.samples, config.prune)
    return _dreg(model, config) if config.objective == "dreg" else _iwae(model, config)


def _elbo(model: Any, config: TrainConfig) -> Objective:
    arguments = _arguments(model, config)

    def objective(x: Tensor, beta: float | Tensor) -> tuple[Tensor, Tensor]:
        terms = model.loss_terms(x, k=config.samples, **arguments)
        if not isinstance(terms, tuple | list) or len(terms) != 2:
            raise ValueError(
                f"model.loss_terms returned a {type(terms).__name__}; wanted the reconstruction and the "
                "rate, two tensors (batch,)"
            )
        reconstruction, rate = terms
        for name, term in (("reconstruction", reconstruction), ("rate", rate)):
            if term.shape != (len(x),):
                raise ValueError(
                    f"the {name} of model.loss_terms has shape {tuple(term.shape)}; wanted one value "
                    f"per example, ({len(x)},)"
                )
        loss = -beta_elbo(reconstruction, rate, beta).mean()
        return loss, _sums(reconstruction, rate)

    return objective


def _free_bits(model: Any, config: TrainConfig) -> Objective:
    arguments = _arguments(model, config) | {"by_latent": True}

    def objective(x: Tensor, beta: float | Tensor) -> tuple[Tensor, Tensor]:
        reconstruction, rate = model.loss_terms(x, k=config.samples, **arguments)  # rate (batch, latent)
        loss = beta * free_bits(rate, config.free_bits).sum() - reconstruction.mean()
        return loss, _sums(reconstruction, rate)

    return objective


def _iwae(model: Any, config: TrainConfig) -> Objective:
    def objective(x: Tensor, beta: float | Tensor) -> tuple[Tensor, Tensor]:
        draw = model.draw(x, config.samples)
        bound = iwae_bound(draw.log_weights)  # (batch,)
        return -bound.mean(), _sums(draw.log_likelihood.mean(0), draw.log_ratio.mean(0), bound)

    return objective


def _dreg(model: Any, config: TrainConfig) -> Objective:
    def objective(x: Tensor, beta: float | Tensor) -> tuple[Tensor, Tensor]:
        draw = model.draw(x, config.samples, detach_posterior=True)
        weights = draw.log_weights.detach().softmax(0).unsqueeze(-1)  # (k, batch, 1)
        bound = iwae_bound(draw.log_weights)  # (batch,)
        # The gradient of the bound meets every log-weight with its normalised weight. What goes on through
        # the draws, to the encoder, is weighted once more; the decoder's own gradient is left as it is.
        for z in draw.latents:
            if z.requires_grad:
                z.register_hook(lambda gradient: gradient * weights)
        return -bound.mean(), _sums(draw.log_likelihood.mean(0), draw.log_ratio.mean(0), bound)

    return objective


def _sums(*per_example: Tensor) -> Tensor:
    return torch.stack([term.detach().sum() for term in per_example])


def _arguments(model: Any, config: TrainConfig) -> dict[str, Any]:
    """What to tell `loss_terms` besides x and k; a model that cannot be told so is refused."""
    known = inspect.signature(model.loss_terms).parameters
    wanted: dict[str, Any] = {} if config.analytic_kl is None else {"analytic_kl": config.analytic_kl}
    for setting, argument, asked in (
        ("analytic_kl", "analytic_kl", config.analytic_kl is not None),
        ("free_bits", "by_latent", config.free_bits > 0),
    ):
        if asked and argument not in known:
            raise ValueError(
                f"{setting} is {getattr(config, setting)!r}, but loss_terms of a {type(model).__name__} does "
                f"not take {argument}; wanted a VAE or a HierarchicalVAE"
            )
    return wanted
