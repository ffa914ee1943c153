"""What every evaluation asks of a model and of its examples, and how it leaves the model behind."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vae_lib import _require
from vae_lib.models import ConditionalVAE

__all__ = ["EXAMPLES_AT_ONCE", "check_conditions", "check_examples", "evaluating", "refuse_nan"]

# so many share one stream of noise; the results depend on it, so it is no argument
EXAMPLES_AT_ONCE = 64


def check_examples(model: nn.Module, x: Tensor) -> None:
    """Refuse what cannot be evaluated, by name."""
    if not getattr(model, "has_elbo", True) or not hasattr(model, "log_weights"):
        raise ValueError(f"model is of type {type(model).__name__}; wanted one with a bound on ln p(x)")
    _require.floating("x", x)
    _require.shape("x", x, (None, None), "(batch, pixels)")
    if len(x) == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; wanted at least one example")
    _require.finite("x", x)


def check_conditions(model: nn.Module, x: Tensor, y: Tensor | None) -> None:
    """Refuse conditions that would not reach the examples they belong to."""
    if isinstance(model, ConditionalVAE):
        if y is None:
            raise ValueError("model is a ConditionalVAE and y is None; wanted y, (batch, conditions)")
        _require.floating("y", y)
        _require.shape("y", y, (len(x), None), f"(batch, conditions), one row for each of {len(x)} examples")
        _require.finite("y", y)
        return
    if y is not None:
        raise ValueError(f"model is of type {type(model).__name__}, but y was given; wanted a ConditionalVAE")
    fixed = getattr(getattr(model, "encoder", None), "y", None)
    if isinstance(fixed, Tensor) and len(x) > EXAMPLES_AT_ONCE and len(fixed) > 1:
        raise ValueError(
            f"model is given {len(fixed)} conditions, and x goes through it {EXAMPLES_AT_ONCE} at a time; "
            "wanted the ConditionalVAE itself, and y"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[torch.device]:
    """The model in eval mode, and afterwards as it was; gives the device it is on."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield next((p.device for p in model.parameters()), torch.device("cpu"))
    finally:
        for module, training in before.items():
            module.training = training


def refuse_nan(value: Tensor, what: str) -> None:
    """Refuse a model whose values, one per example, are not all numbers."""
    bad = int(value.isnan().sum())
    if bad:
        raise ValueError(f"model gives NaN for {bad} of {len(value)} examples; wanted {what}")
