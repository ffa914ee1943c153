"""Stubs for `tools/mutation.py --stubs`: functions that answer in the right form, and nothing else.

A stub calls the function it replaces, so that it refuses what that refuses, and returns a result of the
same type and shape in which every number is zero. A test that stays green against it looks at no value.
The file is copied next to the copy of the library under the name `mutation_hollow`.
"""

import copy
import functools
import importlib
import inspect
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

ANSWERS = (
    "log_prob",
    "sample",
    "rsample",
    "rsample_and_log_prob",
    "entropy",
    "cdf",
    "mean",
    "variance",
    "stddev",
)


def zeros(result):
    """The same form with every number replaced by zero."""
    if isinstance(result, nn.Module):
        emptied = copy.deepcopy(result)
        with torch.no_grad():
            for parameter in emptied.parameters():
                parameter.zero_()
        return emptied
    if isinstance(result, Tensor):
        # times zero, not zeros: what can be differentiated stays so; NaN and infinity become zero too
        return (result * 0).nan_to_num() if result.is_floating_point() else torch.zeros_like(result)
    if isinstance(result, (bool, int, float, str)):
        return type(result)()
    if isinstance(result, Distribution):
        return _empty_object(result, ANSWERS)
    if isinstance(result, tuple):
        parts = [zeros(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    if isinstance(result, list):
        return [zeros(part) for part in result]
    if isinstance(result, dict):
        return {key: zeros(part) for key, part in result.items()}
    if hasattr(result, "__dict__") and not isinstance(result, type):
        emptied = copy.copy(result)
        for name, value in vars(result).items():
            object.__setattr__(emptied, name, zeros(value))
        return emptied
    return None


def _empty_object(thing, names):
    """A copy of an object that answers these questions with zeros."""
    kind = type(thing)
    answers = {name: _emptied(inspect.getattr_static(kind, name)) for name in names if hasattr(kind, name)}
    emptied = copy.copy(thing)
    emptied.__class__ = type(kind.__name__, (kind,), answers)
    return emptied


def _emptied(member):
    """The stub of a function, a property, a class method or a static method."""
    if isinstance(member, property):
        return property(_emptied(member.fget))
    if isinstance(member, (classmethod, staticmethod)):
        return type(member)(_emptied(member.__func__))
    if not callable(member):  # torch's lazy properties
        return property(lambda self: zeros(member.__get__(self, type(self))))

    @functools.wraps(member)
    def stub(*args, **kwargs):
        return zeros(member(*args, **kwargs))

    return stub


def empty(namespace, qualname):
    """Replace the function or the method of this name, in the module whose globals are given."""
    *owners, name = qualname.split(".")
    if not owners:
        namespace[name] = _emptied(namespace[name])
        return
    owner = namespace[owners[0]]
    setattr(owner, name, _emptied(vars(owner)[name]))


def public_functions(rooms):
    """Every public function of these rooms, and every public method or property written in their classes."""
    found, seen = [], set()
    for room in rooms:
        try:
            module = importlib.import_module(f"vae_lib.{room}")
        except ModuleNotFoundError:
            continue
        root = Path(importlib.import_module("vae_lib").__file__).parent.parent
        for name in module.__all__:
            thing = getattr(module, name)
            if not (inspect.isclass(thing) or inspect.isfunction(thing)):
                continue
            file = Path(importlib.import_module(thing.__module__).__file__).relative_to(root).as_posix()
            names = list(_methods(thing, name)) if inspect.isclass(thing) else [name] * _answers(thing)
            for qualname in names:
                if (file, qualname) not in seen:
                    seen.add((file, qualname))
                    found.append({"room": room, "file": file, "qualname": qualname})
    return found


def _answers(function):
    """Whether it returns something: otherwise there is no answer to empty."""
    return inspect.signature(function).return_annotation is not None


def _methods(kind, name):
    for method, member in vars(kind).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
        written = inspect.isfunction(function) and function.__module__ == kind.__module__
        shown = not method.startswith("_") and method not in ("extra_repr", "expand")
        if written and shown and _answers(function):
            yield f"{name}.{method}"
