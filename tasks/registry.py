"""Names of plug-in classes: the registry of tasks, and of methods, is one `Registry` each.

A class becomes known by `@register("name")` in a module of the package, or by an installed
package's entry point. `path/to/file.py:Class` names a class that is not registered.
"""

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
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)
C = TypeVar("C", bound=type[BaseModel])


@dataclass(frozen=True)
class Entry(Generic[T]):
    """What a name stands for: a class, and the fields that make it this variant."""

    cls: type[T]
    preset: dict[str, Any]  # the caller's fields override them
    about: str  # one line


class Registry(Generic[T]):
    """The names of the subclasses of `base` that `package` and installed packages register.

    `kind` is the word for one of them in messages. `complete` says that every field has a default,
    so that a class can be built when it is registered. The package's modules are imported when a
    name is first asked for; its subpackages are not. Installed packages announce their classes in
    the entry-point group `evenbench.<package>`.
    """

    def __init__(self, kind: str, base: type[T], package: str, complete: bool) -> None:
        self.kind, self.base, self.package, self.complete = kind, base, package, complete
        self._entries: dict[str, Entry[T]] = {}
        self._loaded = False

    def register(self, name: str, about: str = "", **preset: Any) -> Callable[[C], C]:
        """Class decorator: make `cls(**preset)` known as `name`; stack it for variants.

        `about` is one line for listings, by default the first line of the class's docstring.

        Raises:
            ValueError: the name is taken, or the class does not accept the preset.
        """

        def add(cls: C) -> C:
            if name in self._entries:
                owner = self._entries[name].cls.__qualname__
                raise ValueError(f"{self.kind} {name!r} is registered already, by {owner}")
            if unknown := ", ".join(sorted(preset.keys() - cls.model_fields.keys())):
                raise ValueError(f"{self.kind} {name!r}: {cls.__qualname__} has no field {unknown}")
            if self.complete:
                cls(**preset)  # a variant that cannot be built fails here, not in a run
            self._entries[name] = Entry(cls, preset, about or _first_line(cls))  # type: ignore[arg-type]
            return cls

        return add

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._load()
        return sorted(self._entries)

    def entry(self, name: str) -> Entry[T]:
        """The entry of a registered name or of `path/to/file.py:Class`.

        Raises:
            KeyError: there is none; the message gives the nearest names.
        """
        if ".py:" in name:
            return self._from_file(name)
        if name.endswith(".py"):
            class_name = f"My{self.base.__name__}"
            raise KeyError(f"{self.kind} {name!r}: name the class too, as in {name}:{class_name}")
        self._load()
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.4)
            known = ", ".join(sorted(self._entries))
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {known}"
            raise KeyError(f"unknown {self.kind} {name!r}; {hint}")
        return self._entries[name]

    def get(self, name: str, **fields: Any) -> T:
        """Build the named class. Raises KeyError, or ValidationError for the fields."""
        found = self.entry(name)
        return found.cls(**{**found.preset, **fields})

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.ispkg:
                importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=f"evenbench.{self.package}"):
            cls = point.load()
            known = self._entries.get(point.name)  # the module may have registered the class itself
            if known is None or known.cls is not cls:
                self.register(point.name)(cls)
        self._loaded = True

    def _from_file(self, reference: str) -> Entry[T]:
        module, name, path = load_plugin(reference)
        known = {
            key: value
            for key, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, self.base) and value is not self.base
        }
        if name not in known:
            raise KeyError(
                f"{self.kind} {reference!r}: {name!r} is no {self.base.__name__} in {path}; "
                f"found there: {', '.join(known) or 'none'}"
            )
        return Entry(known[name], {}, _first_line(known[name]))


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


class Plugin(NamedTuple):
    """A loaded `path/to/file.py:name`."""

    module: ModuleType
    name: str
    path: Path


def load_plugin(reference: str) -> Plugin:
    """Import the file of `path/to/file.py:name`; a file is imported once.

    Raises:
        KeyError: there is no such file, or it cannot be imported; the message gives the line.
    """
    file, _, name = reference.rpartition(":")
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise KeyError(f"plug-in {reference!r}: there is no file {path}")
    try:
        return Plugin(_module(path), name, path)
    except Exception as error:  # whatever the file raises is what its author must read
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else 1
        found = f"{path}:{line}: {type(error).__name__}: {error}"
        raise KeyError(f"plug-in {reference!r}: {found}") from error


@cache
def _module(path: Path) -> ModuleType:
    name = f"evenbench_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pydantic and dataclasses look up the file's annotations
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
