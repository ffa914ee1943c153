"""How a model was built, noted in the model, so that a checkpoint can build it again."""

import functools
import inspect
import json
import operator
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

__all__ = ["BUILDERS", "noting_the_recipe"]

Model = TypeVar("Model", bound=nn.Module)

BUILDERS: dict[str, Callable[..., nn.Module]] = {}  # what a recipe may name


def noting_the_recipe(builder: Callable[..., Model]) -> Callable[..., Model]:
    """Let a builder set `model.recipe`, where its arguments are plain numbers, texts and lists.

    With other arguments, such as a module of your own, the model has no recipe: to load its
    checkpoint you hand over a model of the same make.
    """
    signature = inspect.signature(builder)

    @functools.wraps(builder)
    def build(*arguments, **named) -> Model:
        model: Any = builder(*arguments, **named)
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        try:
            plain = json.loads(json.dumps(dict(bound.arguments), default=_plain))  # tuples become lists
        except TypeError:
            return model
        model.recipe = {"builder": builder.__name__, "arguments": plain}
        return model

    BUILDERS[builder.__name__] = build
    return build


def _plain(number: Any) -> int:
    return operator.index(number)  # NumPy's integers; anything else is a TypeError, as json wants it
