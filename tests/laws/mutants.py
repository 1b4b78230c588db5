"""One broken operator at a time, in the code of the objectives: material for a test of the laws.

A mutant is a copy of one function of `methods/` in which one operator, constant, condition or
min/max is changed. It is put in place of the original, in the running program, for a moment.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
}
NAMES = {
    "min": "max",
    "max": "min",
    "minimum": "maximum",
    "maximum": "minimum",
    "exp": "neg",
    "square": "abs",
    "sqrt": "abs",
}


@dataclass(frozen=True)
class Mutant:
    module: str
    path: tuple[str, ...]  # class and function, or function
    line: int
    text: str  # the source line
    change: str
    tree: ast.Module


def _mutations(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """(description, function that changes the node, or replaces it by what it returns)."""
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in SWAPS:
        other = SWAPS[type(node.op)]

        def swap(n):
            n.op = other()

        yield f"{type(node.op).__name__} -> {other.__name__}", swap
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        opposite = SWAPS[type(node.ops[0])]

        def flip(n):
            n.ops[0] = opposite()

        yield f"{type(node.ops[0]).__name__} -> {opposite.__name__}", flip
    literal = isinstance(node, ast.UnaryOp) and isinstance(
        node.operand, ast.Constant
    )  # -1: an axis
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert) and not literal:
        yield f"drop {type(node.op).__name__}", lambda n: n.operand
    if isinstance(node, ast.BoolOp):

        def either(n):
            n.op = ast.And() if isinstance(n.op, ast.Or) else ast.Or()

        yield "and <-> or", either
    if isinstance(node, ast.If | ast.IfExp):

        def negate(n):
            n.test = ast.UnaryOp(ast.Not(), n.test)

        yield "negate the condition", negate
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        next_value = not node.value if isinstance(node.value, bool) else node.value + 1

        def bump(n):
            n.value = next_value

        yield f"{node.value} -> {next_value}", bump
    if isinstance(node, ast.Attribute) and node.attr in NAMES:

        def rename(n):
            n.attr = NAMES[n.attr]

        yield f"{node.attr} -> {NAMES[node.attr]}", rename
    if isinstance(node, ast.keyword) and node.arg in ("min", "max"):

        def swap_bound(n):
            n.arg = "max" if n.arg == "min" else "min"

        yield f"{node.arg}= -> {NAMES[node.arg]}=", swap_bound


def _sites(tree: ast.AST, skip: tuple[type, ...]) -> Iterator[ast.AST]:
    """Nodes in source order, without dictionaries (they hold metrics), asserts and annotations."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, skip):
            continue
        if isinstance(child, ast.AnnAssign):
            continue
        yield child
        yield from _sites(child, skip)


SKIPPED = (ast.Dict, ast.Assert, ast.arguments, ast.JoinedStr)


def mutants(module_name: str, without: frozenset[str]) -> Iterator[Mutant]:
    """All mutants of a module's functions and methods, but those named in `without`."""
    module = importlib.import_module(module_name)
    source = inspect.getsource(module)
    lines = source.splitlines()
    tree = ast.parse(source)
    functions: list[tuple[tuple[str, ...], ast.FunctionDef]] = []
    for top in tree.body:
        if isinstance(top, ast.FunctionDef):
            functions.append(((top.name,), top))
        if isinstance(top, ast.ClassDef):
            for inner in top.body:
                if isinstance(inner, ast.FunctionDef):
                    functions.append(((top.name, inner.name), inner))
    for path, function in functions:
        if path[-1] in without:
            continue
        body = ast.Module(function.body, [])
        for number, node in enumerate(_sites(body, SKIPPED)):
            for which, (change, _) in enumerate(_mutations(node)):
                twin = ast.parse(source)
                found = _find(twin, path)
                target = next(
                    n
                    for i, n in enumerate(_sites(ast.Module(found.body, []), SKIPPED))
                    if i == number
                )
                edit = list(_mutations(target))[which][1]
                replaced = edit(target)
                if isinstance(replaced, ast.AST):
                    _replace(found, target, replaced)
                line = getattr(node, "lineno", 0) or getattr(node.value, "lineno", 0)  # type: ignore[attr-defined]
                yield Mutant(module_name, path, line, lines[line - 1].strip(), change, twin)


def _find(tree: ast.Module, path: tuple[str, ...]) -> ast.FunctionDef:
    body: list[Any] = tree.body
    for name in path[:-1]:
        body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == name).body
    return next(n for n in body if isinstance(n, ast.FunctionDef) and n.name == path[-1])


def _replace(root: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(root):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list):
                value[:] = [new if v is old else v for v in value]


def _code(mutant: Mutant, file: str) -> types.CodeType:
    code = compile(ast.fix_missing_locations(mutant.tree), file, "exec")
    for name in mutant.path:
        code = next(
            c for c in code.co_consts if isinstance(c, types.CodeType) and c.co_name == name
        )
    return code


@contextlib.contextmanager
def in_place(mutant: Mutant) -> Iterator[None]:
    """The mutant instead of the original, everywhere that looks the function up when it is called.

    Only the code object is exchanged, so closures (`super()`) and globals stay those of the
    original.
    """
    module = importlib.import_module(mutant.module)
    owner: Any = module
    for name in mutant.path[:-1]:
        owner = vars(owner)[name]
    function = vars(owner)[mutant.path[-1]]
    function = function.__func__ if isinstance(function, classmethod | staticmethod) else function
    original = function.__code__
    function.__code__ = _code(mutant, original.co_filename)
    try:
        yield
    finally:
        function.__code__ = original
