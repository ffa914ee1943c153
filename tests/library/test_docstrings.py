"""Every public name says what it computes, where that is derived, what it refuses, and shows it once."""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap

import pytest

import vae_lib

ROOMS = [
    importlib.import_module(f"vae_lib.{name}")
    for _, name, _ in pkgutil.iter_modules(vae_lib.__path__)
    if not name.startswith("_") and name not in ("commands", "grading")  # those have --help
]
CORE = {"bounds", "divergences", "likelihoods", "laboratory", "gradients"}
CORE |= {"posteriors", "priors", "models", "evaluation"}


def public_objects():
    """Every callable name in __all__, and every public method that the class itself writes down."""
    for module in ROOMS:
        for name in module.__all__:
            thing = getattr(module, name)
            if not callable(thing):
                continue
            yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing):
                for method, value in vars(thing).items():
                    written = inspect.isfunction(value) or isinstance(value, (property, classmethod))
                    if written and not method.startswith("_"):
                        yield f"{module.__name__}.{name}.{method}", getattr(thing, method)


ALL = list(public_objects())
# shown by their classes (the module is called, not its forward) or made by NamedTuple and nn.Module
SHOWN_ELSEWHERE = ("forward", "extra_repr")
OBJECTS = [(n, o) for n, o in ALL if not n.endswith(SHOWN_ELSEWHERE)]


def room_of(name):
    return name.split(".")[1]


@pytest.mark.parametrize(("name", "thing"), OBJECTS, ids=[name for name, _ in OBJECTS])
def test_has_a_summary_and_a_doctest(name, thing):
    docstring = inspect.getdoc(thing)
    assert docstring, f"{name} has no docstring"
    summary = docstring.splitlines()[0]
    assert summary.endswith((".", ";", ",")), f"{name}: {summary!r}"
    assert ">>> " in docstring, f"{name} has no example"


IN_READING_ORDER = {"laboratory", "models"}
# torch.distributions names these methods, or they pass x on to the networks: no refusals of their own
WITHOUT_REFUSALS = ("vae_lib.posteriors.", "vae_lib.models.AutoEncoder.")
FORMULAS = [
    (n, o)
    for n, o in OBJECTS
    if room_of(n) in CORE and inspect.isfunction(o) and not n.startswith(WITHOUT_REFUSALS)
]


@pytest.mark.parametrize(("name", "thing"), FORMULAS, ids=[n for n, _ in FORMULAS])
def test_says_what_it_refuses(name, thing):
    assert "Raises:" in inspect.getdoc(thing) or not inspect.signature(thing).parameters.keys() - {"self"}, (
        f"{name} does not say what it refuses"
    )


def tree_of(thing):
    """The syntax tree of a function, a property or a class as it stands in the file."""
    thing = thing.fget if isinstance(thing, property) else inspect.unwrap(thing)
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def raised_by(function):
    """The kinds of error that the body of a function raises, or has `_require` raise."""
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield ast.unparse(node.exc.func)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_require."):
            yield "ValueError"


def test_every_kind_of_error_that_the_code_raises_is_named():
    """An inner mistake of ours, a RuntimeError, is no promise to anybody."""
    silent = []
    for name, thing in ALL:
        tree = tree_of(thing)
        if isinstance(tree, ast.ClassDef):  # what making one refuses
            made = ("__init__", "__post_init__", "forward")
            parts = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in made]
        elif name.endswith("forward"):
            continue
        else:
            parts = [tree]
        refusals = (inspect.getdoc(thing) or "").partition("Raises:")[2]
        kinds = {kind for part in parts for kind in raised_by(part)} - {"RuntimeError", "NotImplementedError"}
        silent += [f"{name}: {kind}" for kind in kinds if kind[0].isupper() and f"{kind}:" not in refusals]
    assert silent == []


# drawing a line derives nothing; what a page is about has a section
DERIVE_NOTHING = {"figures"}


def test_every_function_and_every_class_names_its_section():
    silent = [
        name
        for name, thing in OBJECTS
        if name.count(".") == 2 and room_of(name) not in DERIVE_NOTHING
        and "Book:" not in (inspect.getdoc(thing) or "")
    ]  # fmt: skip
    assert silent == ["vae_lib.explorables.in_book_build", "vae_lib.explorables.script"]


def test_every_room_names_what_it_holds():
    """The pages of the reference show the entries in this order."""
    for module in ROOMS:
        missing = [name for name in module.__all__ if not re.search(rf"`{name}[`(]", module.__doc__)]
        assert missing == [], f"{module.__name__}: its docstring does not name {missing}"


def without_a_shape(annotation):
    """Whether an annotation has a `Tensor` that is not the first word of a jaxtyping shape."""
    shaped = {
        id(node.slice.elts[0])
        for node in ast.walk(annotation)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)
        and isinstance(node.slice.elts[-1], ast.Constant)
    }  # fmt: skip
    words = [n for n in ast.walk(annotation) if getattr(n, "id", getattr(n, "attr", "")) == "Tensor"]
    return any(id(node) not in shaped for node in words)


def annotations(tree):
    """(name, annotation) of every parameter, of what is returned, and of every field of a class."""
    if isinstance(tree, ast.ClassDef):
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
                yield ast.unparse(node.target), node.annotation
            elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
                yield from annotations(node)
        return
    for one in ast.walk(tree.args):
        if isinstance(one, ast.arg) and one.arg not in ("self", "cls"):
            yield one.arg, one.annotation
    if tree.name != "__init__":
        yield "return", tree.returns


# these compare or show whatever has numbers in it
TAKE_ANYTHING = {"ledger", "exercises", "figures"}


def test_every_tensor_in_a_signature_has_a_shape():
    bare = [
        f"{name}: {part}"
        for name, thing in ALL
        if room_of(name) not in TAKE_ANYTHING
        for part, annotation in annotations(tree_of(thing))
        if annotation is None or without_a_shape(annotation)
    ]
    assert bare == []


def test_all_is_complete_and_sorted():
    for module in ROOMS:
        if room_of(module.__name__) in CORE - IN_READING_ORDER:
            assert sorted(module.__all__) == module.__all__
        for name in module.__all__:
            assert hasattr(module, name)
    assert len(OBJECTS) > 250
