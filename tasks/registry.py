"""Names of tasks. One file plus `@register("name")` makes a task known, as with methods."""

from __future__ import annotations

import difflib
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
from types import ModuleType
from typing import Any, TypeVar

from .base import Task, content_id

T = TypeVar("T", bound=type[Task])


@dataclass(frozen=True)
class Entry:
    cls: type[Task]
    preset: dict[str, Any]  # fields that make the variant; overridden by the caller's
    about: str  # one line


_entries: dict[str, Entry] = {}


def register(name: str, about: str = "", **preset: Any) -> Callable[[T], T]:
    """Class decorator: make `cls(**preset)` known as `name`; it may be stacked for variants."""

    def add(cls: T) -> T:
        if name in _entries:
            owner = _entries[name].cls.__qualname__
            raise ValueError(f"task {name!r} is registered already, by {owner}")
        # A task's required fields may be missing here, so only their names are checked.
        unknown = ", ".join(sorted(preset.keys() - cls.model_fields.keys()))
        if unknown:
            raise ValueError(f"task {name!r}: {cls.__qualname__} has no field {unknown}")
        _entries[name] = Entry(cls, preset, about or _first_line(cls))
        return cls

    return add


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


@cache
def _load_all() -> None:
    package = importlib.import_module(__package__ or "tasks")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.ispkg:  # answers/ and lm_eval/ hold no tasks of ours
            importlib.import_module(f"{package.__name__}.{module.name}")
    for point in entry_points(group="evenbench.tasks"):
        cls = point.load()
        if point.name not in _entries:
            register(point.name)(cls)


def names() -> list[str]:
    _load_all()
    return sorted(_entries)


def entry(name: str) -> Entry:
    """The registry's entry. `name` may also be `path/to/file.py:Class`, an unregistered plug-in.

    Raises:
        KeyError: no such task; the message names the nearest.
    """
    if ".py:" in name:
        return _from_file(name)
    _load_all()
    if name.endswith(".py"):
        raise KeyError(f"task {name!r}: which class? {name}:MyTask")
    if name not in _entries:
        near = difflib.get_close_matches(name, _entries, n=3, cutoff=0.4)
        known = ", ".join(sorted(_entries))
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {known}"
        raise KeyError(f"unknown task {name!r}; {hint}")
    return _entries[name]


def get(name: str, **fields: Any) -> Task:
    """Build a task, e.g. `get("arithmetic", pool=512)`. Raises pydantic's ValidationError."""
    found = entry(name)
    return found.cls(**{**found.preset, **fields})


@cache
def _from_file(reference: str) -> Entry:
    module, attribute, path = load_plugin(reference)
    cls = getattr(module, attribute, None)
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        types = {k: v for k, v in vars(module).items() if isinstance(v, type) and v is not Task}
        known = ", ".join(k for k, v in types.items() if issubclass(v, Task)) or "none"
        raise KeyError(f"task {reference!r}: {attribute!r} is no Task in {path}; there: {known}")
    return Entry(cls, {}, _first_line(cls))


def load_plugin(reference: str) -> tuple[ModuleType, str, Path]:
    """The module of `path/to/file.py:name`, the name, and the file. Raises KeyError: no file, or
    none that can be imported."""
    file, _, attribute = reference.rpartition(":")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise KeyError(f"plug-in {reference!r}: no file {path}")
    return _module(path), attribute, path


@cache
def _module(path: Path) -> ModuleType:
    name = f"evenbench_plugin_{path.stem}_{content_id(str(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pydantic and dataclasses look up the file's annotations
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else 1
        told = f"plug-in {path}:{line}: {type(error).__name__}: {error}"
        raise KeyError(told) from error
    return module
