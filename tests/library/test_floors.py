"""The house plan of the library: a module imports only from below, and never in a circle.

Imports are read from the source, so this holds for imports inside functions too.
"""

import ast
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vae_lib

ROOT = Path(vae_lib.__file__).parent

# from the ground up; rooms of one floor may use each other as long as there is no circle
FLOORS = [
    {"bounds", "divergences"},
    {"likelihoods", "laboratory", "gradients"},
    {"posteriors", "priors", "models", "networks", "builders"},
    {"data"},
    {"training", "evaluation"},
    {"cards"},
    {"ledger", "figures", "explorables", "widgets", "exercises"},
    {"commands", "grading", "__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
CELLAR = -1  # private helpers, vae_lib/_name.py: used by all, use none of the rooms
ALLOWED_BELOW_THE_TOP = {"jaxtyping", "numpy", "torch", "tqdm"}
# optional packages, imported inside a function only (test_posteriors.py checks that they wait)
ALLOWED_LAZILY = {"vae_lib.posteriors.flow": {"zuko"}}


def sources() -> dict[str, str]:
    """Every module of the library, by its dotted name."""
    modules = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ["vae_lib", *path.relative_to(ROOT).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        modules[".".join(parts)] = path.read_text(encoding="utf-8")
    return modules


def packages() -> set[str]:
    inits = ROOT.rglob("__init__.py")
    return {".".join(["vae_lib", *path.parent.relative_to(ROOT).parts]) for path in inits}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def floor_of(module: str) -> int | None:
    room = room_of(module)
    return CELLAR if room.startswith("_") and room != "__main__" else FLOOR_OF.get(room)


def imports_of(module: str, source: str, known: set[str], is_package: bool) -> set[str]:
    """The modules that `module` imports: dotted names, own ones resolved to a file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".")
                here = here[: len(here) - node.level + is_package]
                base = ".".join([*here, base] if base else here)
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                found.add(deeper if deeper in known else base)
    return found


def violations(modules: dict[str, str], inits: set[str] = frozenset()) -> list[str]:
    """What is wrong with the house plan, one line each."""
    known = set(modules)
    wrong, graph = [], {}
    for module, source in modules.items():
        imported = imports_of(module, source, known, module in inits)
        own = {name for name in imported if name.split(".")[0] == "vae_lib"}
        graph[module] = own - {module}
        floor = floor_of(module)
        if module == "vae_lib":
            continue
        if floor is None:
            wrong.append(f"{module} stands on no floor; give its room a place in FLOORS")
            continue
        for name in sorted(own):
            target = floor_of(name)
            if name == "vae_lib":
                wrong.append(f"{module} imports the whole of vae_lib")
            elif name not in known:
                wrong.append(f"{module} imports {name}, which does not exist")
            elif target is not None and target > floor:
                wrong.append(f"{module} imports {name} from a floor above")
            elif room_of(module) == "data" and target not in (CELLAR, floor):
                wrong.append(f"{module} imports {name}, but data stands apart")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        wrong.append("imports run in a circle: " + " -> ".join(error.args[1]))
    return wrong


def test_every_module_imports_only_from_below():
    assert violations(sources(), packages()) == []


def test_the_core_needs_only_the_declared_dependencies():
    modules = sources()
    allowed = ALLOWED_BELOW_THE_TOP | set(sys.stdlib_module_names) | {"vae_lib"}
    for module, source in modules.items():
        floor = floor_of(module)
        if floor is None or floor > FLOOR_OF["networks"]:
            continue
        imported = imports_of(module, source, set(modules), module in packages())
        needed = {name.split(".")[0] for name in imported}
        assert needed <= allowed | ALLOWED_LAZILY.get(module, set()), module


def test_every_room_with_shapes_in_its_signatures_is_checked_at_run_time(pytestconfig):
    *checked, checker = pytestconfig.getoption("jaxtyping_packages").split(",")
    assert checker == "beartype.beartype"
    assert set(checked) == {
        f"vae_lib.{room_of(module)}" for module, text in sources().items() if "from jaxtyping import" in text
    }


@pytest.mark.parametrize(
    ("modules", "complaint"),
    [
        ({"vae_lib.bounds": "from vae_lib.models import VAE", "vae_lib.models": ""}, "floor above"),
        ({"vae_lib.bounds": "from vae_lib import models", "vae_lib.models": ""}, "floor above"),
        ({"vae_lib.bounds": "from .models import VAE", "vae_lib.models": ""}, "floor above"),
        ({"vae_lib.bounds": "from . import models", "vae_lib.models": ""}, "floor above"),
        ({"vae_lib.bounds": "import vae_lib.models", "vae_lib.models": ""}, "floor above"),
        (
            {"vae_lib.bounds": "def f():\n    import vae_lib.models", "vae_lib.models": ""},
            "floor above",
        ),
        (
            {"vae_lib.laboratory.ring": "from ..models import VAE", "vae_lib.models": ""},
            "floor above",
        ),
        ({"vae_lib._help": "from vae_lib.bounds import elbo", "vae_lib.bounds": ""}, "floor above"),
        ({"vae_lib.data": "import vae_lib.bounds", "vae_lib.bounds": ""}, "stands apart"),
        ({"vae_lib.cellar": ""}, "stands on no floor"),
        ({"vae_lib.models": "import vae_lib"}, "the whole of vae_lib"),
        ({"vae_lib.models": "import vae_lib.nothing"}, "does not exist"),
        (
            {
                "vae_lib.models": "from vae_lib.networks import mlp_vae",
                "vae_lib.networks": "from vae_lib.models import VAE",
            },
            "circle: vae_lib.",
        ),
    ],
)
def test_the_plan_can_be_broken(modules, complaint):
    assert any(complaint in line for line in violations(modules))


def test_what_is_allowed():
    modules = {
        "vae_lib": "from vae_lib.bounds import elbo",
        "vae_lib._help": "import math",
        "vae_lib.bounds": "from vae_lib import _help\nimport torch",
        "vae_lib.laboratory": "from .ring import Ring",
        "vae_lib.laboratory.ring": "from vae_lib.bounds import elbo\nfrom ..bounds import iwae_bound",
        "vae_lib.networks": "from vae_lib.models import VAE",
        "vae_lib.models": "from vae_lib.laboratory import Ring",
    }
    assert violations(modules, {"vae_lib", "vae_lib.laboratory"}) == []


# a formula, how one writes it by hand, and the one module that does; the exercises' own references are
# written out on purpose
FORMULAS = {
    "ln of a mean of exponentials": (r"logsumexp\([^#\n]*\)[^#\n]* - math\.log\(", "vae_lib.bounds.weights"),
    "2π in a Gaussian density": (
        r"log\(2(?:\.0)? \* (?:math|np|torch)\.pi\b(?! /)|sqrt\(2(?:\.0)? \* (?:math|np|torch)\.pi"
        r"|2(?:\.0)? \* (?:math|np|torch)\.pi \* \w+\)\.log\(",
        "vae_lib._gaussian",
    ),
    "KL between diagonal Gaussians": (
        r"0\.5 \* \([^#\n]*(?:excess|expm1|exp\(\)|square\(\))[^#\n]* - [^#\n]*(?:log|delta)"
        r"[^#\n]*\)\.sum\(-1\)",
        "vae_lib._gaussian",
    ),
    "half a cosine": (r"1(?:\.0)? \+ math\.cos\(math\.pi", "vae_lib.training.schedules"),
}


def written_by_hand(pattern: str, modules: dict[str, str]) -> set[str]:
    return {
        name
        for name, source in modules.items()
        if ".exercises.catalogue" not in name and re.search(pattern, source)
    }


@pytest.mark.parametrize(("pattern", "home"), FORMULAS.values(), ids=FORMULAS)
def test_a_formula_stands_once(pattern, home):
    assert written_by_hand(pattern, sources()) == {home}


@pytest.mark.parametrize(
    ("formula", "line"),
    [
        ("ln of a mean of exponentials", "slack = torch.logsumexp(log_w, 0).mean().item() - math.log(k)"),
        ("2π in a Gaussian density", "return -0.5 * (distance + math.log(2 * math.pi) * dims)"),
        ("2π in a Gaussian density", "return (-0.5 * ((2 * math.pi * variance).log() + x)).sum()"),
        ("2π in a Gaussian density", "weight = torch.exp(-0.5 * u**2) * step / math.sqrt(2 * math.pi)"),
        (
            "KL between diagonal Gaussians",
            "return 0.5 * (mean.square() + std.square() - q.log_var - 1).sum(-1)",
        ),
        ("KL between diagonal Gaussians", "return 0.5 * (torch.expm1(delta) - delta + distance).sum(-1)"),
        ("half a cosine", "optimiser.step(rate * 0.5 * (1 + math.cos(math.pi * step / steps)))"),
    ],
)
def test_a_second_copy_would_be_seen(formula, line):
    pattern, _ = FORMULAS[formula]
    assert written_by_hand(pattern, {"vae_lib.some": line}) == {"vae_lib.some"}
