"""Suites that become one: the union of two recipes in one folder, and folders of several machines.

A run is its id, a hash of everything that determines it, so equal ids are one run. Nothing that is
there is ever overwritten.
"""

import filecmp
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.config import ConfigError, Suite
from bench.core.files import write_atomic
from results.folders import read_run, run_folders

FILE = "suite.json"
STEADY = ("control", "margin", "primary")  # what is declared before the first run


def stored(folder: Path) -> Suite | None:
    """The suite of a folder; None where there is none, or one that cannot be read."""
    try:
        return Suite.model_validate_json((folder / FILE).read_text())
    except (OSError, ValueError):  # pydantic's is a ValueError
        return None


def union(first: Suite | None, second: Suite) -> Suite:
    """The runs of both, the first one's before. What verdicts are about stays as it was declared
    before the first run.

    Raises:
        ConfigError: the second declares another control, margin or primary specification.
    """
    if first is None:
        return second
    for key in STEADY:
        old, new = getattr(first, key), getattr(second, key)
        if old != new and None not in (old, new):
            raise ConfigError(
                f"{key} = {_shown(new)}, but the suite in this folder declares {_shown(old)}:"
                " that is settled before the first run; use another --out"
            )
    runs = {run.name: run for run in (*first.runs, *second.runs)}
    control = first.control or second.control
    return second.model_copy(update={"runs": (*runs.values(),), "control": control})


def _shown(value: object) -> str:
    dump = getattr(value, "model_dump", None)
    return str(dump(exclude_defaults=True) if dump else value)


@dataclass
class Merged:
    """What became of the runs of several folders."""

    copied: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)  # already, with the same answers
    conflicts: list[str] = field(default_factory=list)  # already, with others: left where they are


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Copy the runs of suites (say, of two machines) into one folder, whose suite.json becomes
    their union. Of equal ids the first folder's stays; another content of the same id is a conflict
    that is named and not copied. A run that is finished replaces nothing either.

    Raises:
        ConfigError: a folder holds no runs, or they declare different comparisons.
        OSError: `out` cannot be written to.
    """
    found = Merged()
    suite = stored(out)
    for folder in folders:
        if not (runs := run_folders(folder)):
            raise ConfigError(f"{folder}: no runs here")
        if own := stored(folder):
            suite = union(suite, own) if suite else own
        for run in runs:
            _bring(run, out / run.name, found)
    if suite:
        write_atomic(out / FILE, json.dumps(suite.model_dump(mode="json"), indent=1))
    return found


def _bring(run: Path, target: Path, found: Merged) -> None:
    """Copy a run's folder whole, or not at all."""
    if target.exists():
        (found.there if same(run, target) else found.conflicts).append(str(run))
        return
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copytree(run, partial)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    found.copied.append(run.name)


def same(a: Path, b: Path) -> bool:
    """Whether two folders of one run id hold the same settings, end and answers; when and where it
    ran may differ."""
    runs = [read_run(folder)[0] for folder in (a, b)]
    if None in runs or len({(run.settings, run.status) for run in runs if run}) > 1:
        return False
    files = [folder / "evals.parquet" for folder in (a, b)]
    there = [file.is_file() for file in files]
    return filecmp.cmp(*files, shallow=False) if all(there) else there[0] == there[1]
