"""Runs under one label must be one treatment: what differs in more than the seed gets a row of its
own, and its label says in what (`gift[beta=2]`)."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .folders import INCIDENTAL, Problem, StoredRun

SHOWN = 3  # differing fields that a label names


def distinct(runs: Iterable[StoredRun]) -> tuple[list[StoredRun], list[Problem]]:
    """Each run id once. Two folders of one id with other answers are a named problem: which of them
    is right cannot be known, and the first one counts."""
    kept: dict[str, StoredRun] = {}
    problems = []
    for run in runs:
        first = kept.setdefault(run.keys["run"], run)
        if first.folder.resolve() != run.folder.resolve() and not _same_answers(first, run):
            what = f"other answers in {first.folder} and {run.folder}: the first counts"
            problems.append(Problem(run.folder.name, what))
    return [*kept.values()], problems


def _same_answers(a: StoredRun, b: StoredRun) -> bool:
    files = [run.folder / "evals.parquet" for run in (a, b)]
    there = [file.is_file() for file in files]
    return filecmp.cmp(*files, shallow=False) if all(there) else there[0] == there[1]


def separate(runs: list[StoredRun]) -> tuple[list[StoredRun], list[Problem]]:
    """The runs with labels that tell treatments apart, and what was told apart.

    Suites that mean different things by a label get their name added; inside a suite the treatment
    that was started first keeps the label, and others name the fields in which they differ.
    """
    groups: dict[tuple[str, str], list[StoredRun]] = {}
    for run in runs:
        groups.setdefault((run.method, run.record.task), []).append(run)
    labels: dict[int, str] = {}
    problems: list[Problem] = []
    for (method, _), group in groups.items():
        if not _mixed(group):
            continue
        by_suite: dict[str, list[StoredRun]] = {}
        for run in group:
            by_suite.setdefault(run.suite, []).append(run)
        if len(by_suite) > 1 and not any(map(_mixed, by_suite.values())):
            found = {id(run): f"{method} ({run.suite})" for run in group}
            names = ", ".join(sorted(set(found.values())))
            what = f"means different runs in different suites: shown as {names}"
        else:
            found = _by_field(method, group)
            names = ", ".join(sorted(set(found.values())))
            what = f"mixes settings, which are shown apart: {names}"
        labels |= found
        problems.append(Problem(method, what))
    told = [replace(run, method=labels.get(id(run), run.method)) for run in runs]
    once, repeated = _one_per_seed(told)
    return once, [*dict.fromkeys(problems), *repeated]


def _mixed(group: list[StoredRun]) -> bool:
    return len({r.settings for r in group}) > 1 or len({r.record.seed for r in group}) < len(group)


def _by_field(method: str, group: list[StoredRun]) -> dict[int, str]:
    """id(run) -> label. What was started first is what the others are compared with."""
    kinds: dict[str, list[StoredRun]] = {}
    for run in group:
        kinds.setdefault(run.settings, []).append(run)
    order = sorted(
        kinds, key=lambda k: (min(r.record.started for r in kinds[k]), -len(kinds[k]), k)
    )
    first, names = _flat(kinds[order[0]][0]), {order[0]: method}
    for kind in order[1:]:
        differs = _differences(first, _flat(kinds[kind][0]))
        name = f"{method}[{','.join(differs[:SHOWN])}{',…' * (len(differs) > SHOWN)}]"
        names[kind] = name if differs and name not in names.values() else f"{method}[{kind}]"
    return {id(run): names[kind] for kind, members in kinds.items() for run in members}


def _flat(run: StoredRun) -> dict[str, Any]:
    """Every setting by its dotted path."""
    record = run.record
    config = {k: v for k, v in record.config.items() if k not in INCIDENTAL}
    if record.fields:
        config.pop("phases", None)  # the same, unresolved
    whole = {
        "objective": record.objective, "source": record.source, "fields": record.fields,
        "checker": record.grader and record.grader.version, "data": record.data,
        "base": record.base and record.base.id, "config": config, "budget": record.budget,
        "grader": record.grader and record.grader.options,
    }  # fmt: skip
    flat: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{path}.{key}" if path else str(key), inner)
        else:
            flat[path] = value

    walk("", whole)
    return flat


def _differences(first: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """`beta=2` for each setting that differs, named by the last part of its path."""
    found: dict[str, str] = {}
    for path in [*other, *(p for p in first if p not in other)]:
        if first.get(path) != other.get(path):
            root, _, name = path.partition(".")
            name = root if root == "data" else path.rpartition(".")[2]
            found.setdefault(name, f"{name}={_shown(other.get(path))}")
    return [*found.values()]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value[:16] if isinstance(value, str) else json.dumps(value)


def _one_per_seed(runs: list[StoredRun]) -> tuple[list[StoredRun], list[Problem]]:
    """Of one treatment a seed counts once."""
    kept: dict[tuple[str, str, int], StoredRun] = {}
    problems = []
    for run in runs:
        first = kept.setdefault((run.method, run.record.task, run.record.seed), run)
        if first is not run:
            what = (
                f"repeats seed {run.record.seed} of {run.method}: left out, {first.folder} counts"
            )
            problems.append(Problem(run.folder.name, what))
    return [*kept.values()], problems
