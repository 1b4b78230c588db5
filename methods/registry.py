"""Names of objectives. One file plus `@register("name")` makes a method known."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from .base import Method

M = TypeVar("M", bound=type[Method])


@dataclass(frozen=True)
class Entry:
    cls: type[Method]
    preset: dict[str, Any]  # fields that make the variant; overridden by the caller's
    about: str  # one line


_entries: dict[str, Entry] = {}


def register(name: str, about: str = "", **preset: Any) -> Callable[[M], M]:
    """Class decorator: make `cls(**preset)` known as `name`; it may be stacked for variants."""

    def add(cls: M) -> M:
        if name in _entries:
            raise ValueError(
                f"method {name!r} is registered already, by {_entries[name].cls.__qualname__}"
            )
        cls(**preset)  # a variant that cannot be built must fail here, not in a run
        _entries[name] = Entry(cls, preset, about or _first_line(cls))
        return cls

    return add


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


@cache
def _load_all() -> None:
    package = importlib.import_module(__package__ or "methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    for point in entry_points(group="evenbench.methods"):
        cls = point.load()
        known = _entries.get(point.name)  # by @register in the module itself
        if known is None or known.cls is not cls:
            register(point.name)(cls)


def names() -> list[str]:
    _load_all()
    return sorted(_entries)


def entry(name: str) -> Entry:
    """The registry's entry. `name` may also be `path/to/file.py:Class`, an unregistered plug-in.

    Raises:
        KeyError: no such method; the message names the nearest.
    """
    if ".py:" in name:
        return _from_file(name)
    _load_all()
    if name not in _entries:
        near = difflib.get_close_matches(name, _entries, n=3, cutoff=0.4)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"known: {', '.join(sorted(_entries))}"
        )
        raise KeyError(f"unknown method {name!r}; {hint}")
    return _entries[name]


def get(name: str, **fields: Any) -> Method:
    """Build a method, e.g. `get("gift", stats_grad="detached")`. Raises ValidationError."""
    found = entry(name)
    return found.cls(**{**found.preset, **fields})


@cache
def _from_file(reference: str) -> Entry:
    file, _, attribute = reference.rpartition(":")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise KeyError(f"method {reference!r}: no file {path}")
    name = f"evenbench_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pydantic looks up the file's annotations
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else 1
        told = f"method {reference!r}: {path}:{line}: {type(error).__name__}: {error}"
        raise KeyError(told) from error
    cls = getattr(module, attribute, None)
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        types = {k: v for k, v in vars(module).items() if isinstance(v, type) and v is not Method}
        known = ", ".join(k for k, v in types.items() if issubclass(v, Method)) or "none"
        raise KeyError(
            f"method {reference!r}: {attribute!r} is no Method in {path}; there: {known}"
        )
    return Entry(cls, {}, _first_line(cls))
