"""Imports go downwards: who may import whom, without circles, and nothing optional at start-up.

The source is read, not run, so that an import inside a function counts as well, and so does
`importlib.import_module("...")` with a name that stands in the code.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("methods", "tasks", "results", "bench", "reports")

# A package imports itself and what stands here; the longest matching name decides.
ALLOWED = {
    "methods": set(),
    "tasks": set(),
    "results": set(),
    "bench": {"methods", "tasks", "results"},
    "reports": {"results"},
    "reports.anatomy": {"results", "methods"},
    "reports.claims": {"results", "methods"},
    "bench.cli": set(PACKAGES),
}
# Single modules that may import another package: {(importer, imported): reason}.
EXCEPTIONS = {
    ("methods.registry", "tasks.registry"): "one registry class serves both; it knows no task",
}
# The laws judge objectives; nothing that trains one may depend on them.
MAY_IMPORT_LAWS = {"bench.tools.plugin", "reports.anatomy", "reports.anatomy.simplex"}
# The floors of bench/, lowest first: a room imports itself and the rooms below it.
FLOORS = (
    "core", "config", "model", "record", "sampling", "train", "entrants", "suite", "tools", "cli",
)  # fmt: skip
# The extras: imported only inside functions, or by modules that are imported only there.
OPTIONAL = {
    "datasets", "deepspeed", "lm_eval", "math_verify", "peft", "tensorboard", "trl", "vllm",
}  # fmt: skip


When = Literal["start", "call", "never"]  # with the module; in a function; for type checkers only


@dataclass(frozen=True)
class Import:
    by: str  # module
    of: str  # module or package, absolute
    line: int
    when: When


def modules(root: Path) -> dict[str, Path]:
    """Every module of the project by its dotted name; a package stands for its __init__.py."""
    found = {}
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(root: Path) -> list[Import]:
    """Every import in the project. `from a import b` is one of a.b where that is a module."""
    known = modules(root)
    return [
        Import(module, name, getattr(node, "lineno", 0), when)
        for module, file in known.items()
        for node, when in walk(ast.parse(file.read_text(), str(file)))
        for name in names(node, module, known)
    ]


def walk(node: ast.AST, when: When = "start") -> Iterator[tuple[ast.AST, When]]:
    """Every node below, and when it runs."""
    yield node, when
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        when = "never"
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and when == "start":
        when = "call"
    for child in ast.iter_child_nodes(node):
        yield from walk(child, when)


def names(node: ast.AST, module: str, known: dict[str, Path]) -> list[str]:
    """What a node imports; nothing where it is no import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        here = module.split(".") + (["__init__"] if known[module].stem == "__init__" else [])
        above = here[: -node.level] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        members = [f"{base}.{alias.name}" for alias in node.names]
        return [m if m in known else base for m in members]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in ("import_module", "__import__"):
            return [str(node.args[0].value)]
    return []


def floor(module: str) -> int:
    """On which floor of bench/ a module stands; -1 for others."""
    package, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    return FLOORS.index(room) if package == "bench" and room in FLOORS else -1


def forbidden(root: Path) -> list[str]:
    """The imports against the direction, as sentences."""
    wrong = [
        f"{found.by}:{found.line} imports {found.of}, a floor above its own"
        for found in imports(root)
        if floor(found.of) > floor(found.by) >= 0
    ]
    for found in imports(root):
        own, other = found.by.split(".")[0], found.of.split(".")[0]
        rules = [name for name in ALLOWED if f"{found.by}.".startswith(f"{name}.")]
        allowed = (found.by, found.of) in EXCEPTIONS
        if not allowed and other in {*PACKAGES, "tests"} - ALLOWED[max(rules, key=len)] - {own}:
            wrong.append(f"{found.by}:{found.line} imports {found.of}")
    return wrong


def circle(root: Path) -> list[str]:
    """The modules of one circle of imports, those inside functions included; else empty.

    What only a type checker reads makes no circle; the direction holds for it all the same.
    """
    graph: dict[str, set[str]] = {module: set() for module in modules(root)}
    for found in imports(root):
        if found.of in graph and found.of != found.by and found.when != "never":
            graph[found.by].add(found.of)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def optional_at_start(root: Path) -> list[str]:
    """The optional packages that are imported as soon as the command, or any package, is."""
    known = modules(root)
    at_start = [found for found in imports(root) if found.when == "start"]
    reached: set[str] = set()
    waiting = ["bench.cli", *PACKAGES]
    waiting += [m for m in known if m.startswith(("methods.", "tasks."))]  # by their registries
    while waiting:
        module = waiting.pop()
        if module in known and module not in reached:
            reached.add(module)
            waiting += [found.of for found in at_start if found.by == module]
            waiting.append(module.rpartition(".")[0])  # importing a.b runs a/__init__.py
    return [
        f"{found.by}:{found.line} imports {found.of}"
        for found in at_start
        if found.by in reached and found.of.split(".")[0] in OPTIONAL
    ]


def test_the_project_is_seen():
    assert {"methods.base", "tasks.base", "results.records"} <= set(modules(ROOT))
    seen = {(found.by, found.of) for found in imports(ROOT)}
    assert {("methods.registry", "methods.base"), ("methods.base", "torch")} <= seen


def test_imports_go_downwards():
    assert forbidden(ROOT) == []


def test_only_check_and_anatomy_import_the_laws():
    users = {
        found.by
        for found in imports(ROOT)
        if f"{found.of}.".startswith("methods.laws.") and not found.by.startswith("methods.laws")
    }
    assert users <= MAY_IMPORT_LAWS and "bench.tools.plugin" in users


def test_building_a_suite_runs_no_laws():
    code = (
        "import sys; from bench.config import build_suite, read_recipe\n"
        "build_suite({**read_recipe('smoke'), 'methods': ['dpo', 'grpo', 'sft']})\n"
        "assert not [m for m in sys.modules if m.startswith('methods.laws')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_every_room_has_a_floor():
    rooms = {path.parent.name for path in (ROOT / "bench").glob("*/__init__.py")}
    assert rooms == set(FLOORS)
    assert {path.name for path in (ROOT / "bench").glob("*.py")} == {"__init__.py"}


def test_no_circles():
    assert circle(ROOT) == []


def test_optional_packages_are_imported_where_they_are_used():
    assert optional_at_start(ROOT) == []


# The same checks on small trees that break each rule.


@pytest.fixture
def tree(tmp_path: Path):
    """A project of empty packages; `tree(module, source)` fills a module and returns the root."""

    def write(module: str, source: str) -> Path:
        file = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        return tmp_path

    for package in PACKAGES:
        write(f"{package}.__init__", "")
    return write


@pytest.mark.parametrize(
    ("module", "source", "line"),
    [
        ("methods.grpo", "import torch\nfrom tasks.base import Task", 2),
        ("methods.registry", "from tasks.base import Task", 1),
        ("methods.gift", "from tasks.registry import Registry", 1),
        ("methods.grpo", "def loss():\n    from bench import train", 2),
        ("methods.grpo", "from tests.laws import shapes", 1),
        ("tasks.answers.check", "from methods import get", 1),
        ("results.load", "import bench.store as store", 1),
        ("results.load", "import importlib\nimportlib.import_module('reports.plots')", 2),
        ("bench.train", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  import reports", 3),
        ("bench.train", "from ..reports import plots", 1),
        ("bench.climate", "from reports import plots", 1),
        ("reports.plots", "from methods import get", 1),
        ("reports.anatomy", "from bench.train import run", 1),
    ],
)
def test_an_upward_import_is_found(tree, module, source, line):
    wrong = forbidden(tree(module, source))
    assert len(wrong) == 1
    assert wrong[0].startswith(f"{module}:{line} imports ")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bench.train", "import methods\nfrom tasks.base import Task\nimport results.records"),
        ("bench.cli", "from reports import report\nfrom bench import train\nimport methods"),
        ("reports.claims", "from methods import get\nfrom results import load"),
        ("methods.registry", "from tasks.registry import Registry"),
        ("methods.gift", "from . import base\nfrom .base import Method\nfrom pathlib import Path"),
    ],
)
def test_a_downward_import_is_not(tree, module, source):
    assert forbidden(tree(module, source)) == []


def test_a_circle_is_found(tree):
    tree("bench.train", "from bench import store")
    root = tree("bench.store", "def resume():\n    from . import train")
    assert set(circle(root)) == {"bench.train", "bench.store"}


def test_an_annotation_makes_no_circle(tree):
    tree("results.load", "def compare(self):\n    from .compare import paired")
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .load import Runs"
    assert circle(tree("results.compare", source)) == []


def test_a_package_that_gathers_its_modules_is_no_circle(tree):
    tree("methods.base", "import torch")
    tree("methods.grpo", "from .base import Method")
    assert circle(tree("methods.__init__", "from .base import Method\nfrom . import grpo")) == []


def test_an_optional_import_at_start_is_found(tree):
    tree("bench.cli", "from bench import suite")
    tree("bench.suite", "from .entrants import grpo")
    tree("bench.entrants.__init__", "import peft.utils")
    root = tree("bench.entrants.grpo", "def run():\n    import trl")
    assert optional_at_start(root) == ["bench.entrants:1 imports peft.utils"]


def test_a_task_is_imported_at_start(tree):
    assert optional_at_start(tree("tasks.gsm8k", "import datasets")) != []


def test_an_optional_import_that_waits_is_not(tree):
    tree("bench.entrants", "import trl")
    root = tree("bench.cli", "def run():\n    from bench import entrants\n    import trl")
    assert optional_at_start(root) == []


def test_help_and_list_load_nothing_heavy():
    heavy = "{'torch', 'transformers', 'pandas', 'scipy', 'sympy', 'matplotlib'}"
    code = (
        "import sys; from typer.testing import CliRunner; from bench.cli import app\n"
        "def call(*words):\n"
        "    result = CliRunner().invoke(app, words); assert result.exit_code == 0, result.output\n"
        f"    return result.output, {heavy} & set(sys.modules)\n"
        "said, loaded = call('--help'); assert 'resume' in said and not loaded, loaded\n"
        "said, loaded = call('list'); assert 'gift' in said and loaded <= {'torch'}, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
