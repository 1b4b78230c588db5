"""Two rules of style that a test can hold: a call says what its arguments are, and the name of a
class or of a literal type stands for one thing."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("methods", "tasks", "results", "bench", "reports")
MOST = 4  # positional arguments of a call
LIBRARIES = {"_linear_pointwise", "add_row", "warning"}  # of torch, rich and logging


def trees(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            yield str(file.relative_to(root)), ast.parse(file.read_text())


def variadic(root: Path) -> set[str]:
    """Functions that take any number of equal arguments."""
    return {
        node.name
        for _, tree in trees(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.args.vararg
    }


def long_calls(root: Path) -> list[str]:
    """Calls whose reader would have to count arguments."""
    free = variadic(root) | LIBRARIES
    return [
        f"{name}:{node.lineno} {ast.unparse(node)[:80]}"
        for name, tree in trees(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and sum(not isinstance(a, ast.Starred) for a in node.args) > MOST
        and ast.unparse(node.func).rpartition(".")[2] not in free
    ]


def shared_names(root: Path) -> dict[str, list[str]]:
    """Public classes and literal types that stand in several files."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, tree in trees(root):
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(name)
            elif isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("Literal["):
                found[ast.unparse(node.targets[0])].append(name)
    return {k: v for k, v in found.items() if len(v) > 1 and not k.startswith("_")}


def test_no_call_has_more_than_four_positional_arguments():
    assert long_calls(ROOT) == []


def test_a_name_stands_for_one_thing():
    assert shared_names(ROOT) == {}


def test_both_can_fail(tmp_path: Path):
    for package in ("methods", "tasks"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "one.py").write_text("class Same: ...\nf(1, 2, 3, 4, 5)\n")
    assert [found.partition(":")[0] for found in long_calls(tmp_path)] == [
        "methods/one.py", "tasks/one.py",
    ]  # fmt: skip
    assert shared_names(tmp_path) == {"Same": ["methods/one.py", "tasks/one.py"]}
