"""Every public formula of the core says what it computes and shows it once."""

import inspect

import pytest

import vae_lib.bounds
import vae_lib.divergences
import vae_lib.evaluation
import vae_lib.gradients
import vae_lib.laboratory
import vae_lib.likelihoods
import vae_lib.models
import vae_lib.posteriors
import vae_lib.priors

CORE = [vae_lib.bounds, vae_lib.divergences, vae_lib.likelihoods, vae_lib.laboratory, vae_lib.gradients]
CORE += [vae_lib.posteriors, vae_lib.priors, vae_lib.models, vae_lib.evaluation]


def public_objects():
    """Every name in __all__, and every public method that the class itself writes down."""
    for module in CORE:
        for name in module.__all__:
            thing = getattr(module, name)
            yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing):
                for method, value in vars(thing).items():
                    written = inspect.isfunction(value) or isinstance(value, (property, classmethod))
                    if written and not method.startswith("_"):
                        yield f"{module.__name__}.{name}.{method}", getattr(thing, method)


# shown by their classes (the module is called, not its forward) or made by NamedTuple and nn.Module
SHOWN_ELSEWHERE = ("forward", "extra_repr")
OBJECTS = [(n, o) for n, o in public_objects() if not n.endswith(SHOWN_ELSEWHERE)]


@pytest.mark.parametrize(("name", "thing"), OBJECTS, ids=[name for name, _ in OBJECTS])
def test_has_a_summary_and_a_doctest(name, thing):
    docstring = inspect.getdoc(thing)
    assert docstring, f"{name} has no docstring"
    summary = docstring.splitlines()[0]
    assert summary.endswith((".", ";", ",")), f"{name}: {summary!r}"
    assert ">>> " in docstring, f"{name} has no example"


IN_READING_ORDER = [vae_lib.laboratory, vae_lib.models]
# torch.distributions names these methods, or they pass x on to the networks: no refusals of their own
WITHOUT_REFUSALS = ("vae_lib.posteriors.", "vae_lib.models.AutoEncoder.")
FORMULAS = [(n, o) for n, o in OBJECTS if inspect.isfunction(o) and not n.startswith(WITHOUT_REFUSALS)]


@pytest.mark.parametrize(("name", "thing"), FORMULAS, ids=[n for n, _ in FORMULAS])
def test_says_what_it_refuses(name, thing):
    assert "Raises:" in inspect.getdoc(thing) or not inspect.signature(thing).parameters.keys() - {"self"}, (
        f"{name} does not say what it refuses"
    )


def test_all_is_complete_and_sorted():
    for module in CORE:
        assert sorted(module.__all__) == module.__all__ or module in IN_READING_ORDER
        for name in module.__all__:
            assert hasattr(module, name)
    assert len(OBJECTS) > 25
