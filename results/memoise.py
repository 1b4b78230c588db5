"""What was computed of loaded runs is remembered with them: a report asks the same many times."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from .runs import Results

P = ParamSpec("P")
T = TypeVar("T")


def remembered(make: Callable[Concatenate[Results, P], T]) -> Callable[Concatenate[Results, P], T]:
    """A function of runs and hashable arguments that computes once per runs and arguments.

    Results are immutable, so this holds as long as they live. Every call gets a copy of its own.
    """
    signature = inspect.signature(make)

    @functools.wraps(make)
    def recalled(results: Results, *args: P.args, **options: P.kwargs) -> T:
        given = signature.bind(results, *args, **options)
        given.apply_defaults()
        key = (make.__module__, make.__qualname__, *[*given.arguments.values()][1:])
        if key not in results.remembered:
            results.remembered[key] = make(results, *args, **options)
        value: Any = results.remembered[key]
        return value.copy()

    return recalled
