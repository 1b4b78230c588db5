"""The laws can fail: every operator of every objective, broken one at a time, is noticed.

Noticed means that the objective leaves its equation (tests/laws/equations.py), raises, or gives a
row a forward pass for nothing, on some of a few rollouts.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types

import pytest

import methods
from methods import reduce
from methods.laws.rules import wasted

from . import factory, mutants
from .test_equations import ROLLOUTS, disagreement

# functions that feed metrics only (tested by name in test_zoo.py) or the config check
WITHOUT = frozenset(
    {"mean_live", "explained_variance", "mean_of_groups", "number", "correlation", "shares"}
    | {"warnings", "needs", "search"}
)
# (function, part of the line, change): why nothing can notice
EQUIVALENT = {
    ("GRAO.signal", "Groups.of", "BitOr -> BitAnd"): "feeds a metric, held by test_grao",
    ("GRAO.signal", "skipped_N.to", "Add -> Sub"): "only avoids 0/0 on rows that are then zeroed",
    ("NFT.loss", "clamp(0.02, 0.98)", "0.98 -> 1.98"): "needs 51 samples a prompt, see test_zoo",
    ("turns", "index_N * 2", "2 -> 3"): "any factor above 1 keeps the keys apart",
    ("turns", "stable=", "True -> False"): "short sorts are stable on a CPU in any case",
    ("PairMethod.loss", "0 * score_N", "Add -> Sub"): "plus or minus nothing",
    ("PairMethod.loss", "margin_M =", "Sub -> Add"): "feeds a metric, held by test_zoo",
    ("zscore", "flat_N =", "BitOr -> BitAnd"): "callers mask the rows that do not count again",
    ("GroupAdvantage.signal", "varied_N =", "BitAnd -> BitOr"): "the loss masks them again",
}
MODULES = [
    m.name
    for m in pkgutil.iter_modules(methods.__path__)
    if not m.ispkg and m.name not in ("base", "registry", "search")
]


def names_in(function: object) -> set[str]:
    inner = getattr(function, "__func__", function)
    return set(inner.__code__.co_names) if isinstance(inner, types.FunctionType) else set()


def used_by(cls: type) -> set[str]:
    """Names that the class's own and inherited functions use, and these functions of `reduce`."""
    found: set[str] = set()
    for ancestor in cls.__mro__:
        if ancestor.__module__.startswith("methods."):
            for value in vars(ancestor).values():
                found |= names_in(value)
    while True:
        more = set().union(*(names_in(getattr(reduce, n, None)) for n in found)) | found
        if more == found:
            return found
        found = more


def concerned(mutant: mutants.Mutant) -> list[tuple[str, dict]]:
    """The cases whose objective can reach the mutated function."""
    cases = factory.cases()
    owner = getattr(importlib.import_module(mutant.module), mutant.path[0])
    if inspect.isclass(owner) and issubclass(owner, methods.Method):
        return [c for c in cases if issubclass(methods.entry(c[0]).cls, owner)]
    if mutant.module == "methods.pairs":
        return [c for c in cases if methods.get(c[0]).needs().pairs]
    return [c for c in cases if mutant.path[-1] in used_by(methods.entry(c[0]).cls)] or cases


def noticed(mutant: mutants.Mutant) -> bool:
    with mutants.in_place(mutant):
        for name, extra in concerned(mutant):
            try:
                method = methods.get(name, **extra)
                if any(disagreement(name, method, options) > 1e-9 for options in ROLLOUTS):
                    return True
                if wasted(method):
                    return True
            except Exception:  # whatever a broken operator brings about: it was noticed
                return True
    return False


def excuse(mutant: mutants.Mutant) -> tuple[str, str, str] | None:
    where = ".".join(mutant.path)
    return next(
        (e for e in EQUIVALENT if e[0] == where and e[1] in mutant.text and e[2] == mutant.change),
        None,
    )


@pytest.mark.parametrize("module", MODULES)
def test_every_mutant_is_noticed(module):
    unnoticed = []
    for mutant in mutants.mutants(f"methods.{module}", WITHOUT):
        allowed = excuse(mutant) is not None
        if not noticed(mutant):
            if not allowed:
                unnoticed.append(f"{mutant.line}: {mutant.text}   [{mutant.change}]")
        else:
            assert not allowed, f"needs no excuse any more: {mutant.text} [{mutant.change}]"
    assert not unnoticed, "\n".join(unnoticed)


def test_every_objective_is_mutated():
    """No objective is passed over: each has mutants in its own class or one it inherits from."""
    mutated = {
        m.path[0] for module in MODULES for m in mutants.mutants(f"methods.{module}", WITHOUT)
    }
    for name in methods.names():
        own = [c.__name__ for c in methods.entry(name).cls.__mro__ if c.__name__ in mutated]
        assert own, name
