"""Refusals that the models share.

On the way where nothing is wrong only shapes and types are looked at: to look at values, a GPU would have
to be waited for in every step. Where a network of the reader or a distribution of torch fails, its complaint
is about its own insides; then there is time to find out which argument was at fault, and to name that one.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints

from vae_lib import _require

__all__ = [
    "TROUBLE",
    "blaming_x",
    "called",
    "check_event",
    "check_images",
    "check_makers",
    "look",
    "one_by_one",
    "per_example",
    "scored",
]

Method = TypeVar("Method", bound=Callable[..., Any])

TROUBLE = (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError)
_SIZES = re.compile(r"size|shape|dimension|dtype")  # torch's complaints about tensors that do not fit
_WANTED: dict[Any, str] = {
    constraints.boolean: "every pixel to be 0 or 1",
    constraints.unit_interval: "every pixel within [0, 1]",
}


def check_images(x: Tensor) -> None:
    """Refuse x without a batch axis, without an example, or of whole numbers."""
    _require.floating("x", x)
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; wanted (batch, pixels), with at least one example and one pixel"
        )


def look(name: str, value: Tensor) -> None:
    """Refuse what no network can read: no tensor, whole numbers, NaN and infinities."""
    _require.floating(name, value)
    _require.finite(name, value)


def blaming_x(method: Method) -> Method:
    """Where the method fails although x alone is at fault, let it say so."""

    @functools.wraps(method)
    def blaming(self: nn.Module, x: Tensor, *arguments: Any, **named: Any) -> Any:
        try:
            return method(self, x, *arguments, **named)
        except TROUBLE as error:
            trouble = error
        look("x", x)
        raise trouble

    return cast(Method, blaming)


def check_makers(**makers: Any) -> None:
    """Refuse an encoder or a decoder that cannot be called."""
    for name, maker in makers.items():
        if not callable(maker):
            raise ValueError(f"{name} is {maker!r}; wanted a module that returns a distribution when called")


def check_event(maker: str, made: Any, event: str) -> Distribution:
    """Refuse what is no distribution, and one whose log_prob would not be one number per example."""
    if not isinstance(made, Distribution):
        raise ValueError(
            f"{maker} returned a {type(made).__name__}; wanted a torch.distributions.Distribution with event "
            f"shape ({event},), such as Independent(Normal(mean, std), 1)"
        )
    if len(made.event_shape) != 1:
        raise ValueError(
            f"{maker} returned a distribution with event shape {tuple(made.event_shape)}; wanted "
            f"({event},), as torch.distributions.Independent(..., 1) makes it"
        )
    return made


def one_by_one(distribution: Distribution) -> Distribution:
    """The same distribution, with each latent an event of its own; only where they are independent."""
    if not isinstance(distribution, Independent) or distribution.reinterpreted_batch_ndims != 1:
        raise ValueError(
            f"by_latent is True, but a {type(distribution).__name__} has no rate for each latent: they "
            "are not independent; wanted a diagonal posterior and a diagonal prior"
        )
    return distribution.base_dist


def called(maker: str, module: Any, name: str, value: Tensor) -> Any:
    """What the module makes of the value; if it fails because of the value, the value is named."""
    try:
        return module(value)
    except TROUBLE as error:
        trouble = error
    look(name, value)
    if getattr(module, "conditioned", False) and isinstance(trouble, ValueError):
        raise trouble  # it has looked at value and condition together
    _check_fit(maker, module, name, value)
    if type(trouble) is RuntimeError and _SIZES.search(str(trouble)):
        said = str(trouble).strip().splitlines()[0]
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}; wanted what the {maker} can read, which says: {said}"
        ) from trouble
    raise trouble


def _check_fit(maker: str, module: Any, name: str, value: Tensor) -> None:
    if not isinstance(module, nn.Module):
        return
    owners = (part for part in module.modules() if next(part.parameters(recurse=False), None) is not None)
    first = next(owners, None)
    if first is None:
        return
    parameter = next(first.parameters(recurse=False))
    if value.dtype != parameter.dtype:
        raise ValueError(
            f"{name} has dtype {value.dtype}; wanted {parameter.dtype}, the precision of the {maker}"
        )
    if value.device != parameter.device:
        raise ValueError(f"{name} is on {value.device}; wanted {parameter.device}, where the {maker} is")
    reads = None if getattr(module, "conditioned", False) else getattr(first, "in_features", None)
    if reads is not None and value.shape[-1:] != (reads,):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}; wanted (..., {reads}), what the first layer of the "
            f"{maker} reads"
        )


def scored(likelihood: Distribution, x: Tensor) -> Tensor:
    """ln p(x|z); if it fails because of x, x is named."""
    if likelihood.event_shape != x.shape[-1:]:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; wanted (..., {likelihood.event_shape[0]}), as many pixels as the "
            "decoder returns"
        )
    try:
        return likelihood.log_prob(x)
    except TROUBLE as error:
        trouble = error
    look("x", x)
    if not str(trouble).startswith("x "):  # the likelihoods of vae_lib say themselves what is wrong with x
        _check_support(likelihood, x)
    raise trouble


def _check_support(likelihood: Distribution, x: Tensor) -> None:
    support: Any = likelihood.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is None or support.event_dim > 0:
        return
    outside = ~support.check(x)
    if outside.shape == x.shape and bool(outside.any()):
        raise ValueError(
            f"x holds {int(outside.sum())} pixels that the likelihood gives no probability to, such as "
            f"{x[outside][0].item():.6g}; wanted {_WANTED.get(support, f'numbers in its support, {support}')}"
        )


def per_example(maker: str, log_density: Tensor, wanted: torch.Size) -> Tensor:
    """Refuse a log-density of another shape, which broadcasting would let through."""
    if log_density.shape != wanted:
        raise ValueError(
            f"{maker} returned a distribution whose log_prob has shape {tuple(log_density.shape)}; wanted "
            f"{tuple(wanted)}, one number for each draw and example"
        )
    return log_density
