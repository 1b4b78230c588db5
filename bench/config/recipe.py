"""A recipe: read from TOML, changed from the command line, resolved to the runs of a suite.

A recipe is one TOML file: a suite's names and the sections of a run. `[method.NAME]` sets fields of
the objective and may hold sections of its own (`[method.gift.optimizer]`) for that entry alone.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import methods
import tasks

from .checks import check, explain, validated
from .entrants import ENTRANTS
from .errors import ConfigError, nearest
from .plugins import plugin_code
from .sections import Run, Suite

RECIPES = Path(__file__).parents[1] / "recipes"
RUN_SECTIONS = (
    "model",
    "rollout",
    "optimizer",
    "budget",
    "eval",
    "sampler",
    "reward",
    "replay_rollouts",
    "checkpoint",
    "keep_rollouts",
    "track",
    "micro_tokens",
)
SUITE_KEYS = (
    "name",
    "methods",
    "seeds",
    "control",
    "margin",
    "about",
    "expected",
    "hardware",
    "task",
    "method",
)


def recipes() -> list[str]:
    return sorted(p.stem for p in RECIPES.glob("*.toml"))


def read_recipe(name: str) -> dict[str, Any]:
    """A packaged recipe by name, or a TOML file by path."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(f"no recipe {name!r}{nearest(name, recipes())}; a path must end in .toml")
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def override(recipe: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b.c=value` assignments. Both sides are TOML (a bare word is a string, and a name
    that holds a dot needs quotes: `method."my.py:Loss".lr=1`)."""
    recipe = json.loads(json.dumps(recipe))
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"-o {assignment!r}: expected key=value, e.g. method.gift.beta=2")
        try:
            change = tomllib.loads(f"{key} = {text}")
        except tomllib.TOMLDecodeError:
            try:
                change = tomllib.loads(f"{key} = {json.dumps(text.strip())}")
            except tomllib.TOMLDecodeError as error:
                raise ConfigError(f"-o {assignment!r}: {error}") from None
        _merge(recipe, change, assignment)
    return recipe


def _merge(node: dict[str, Any], change: Mapping[str, Any], assignment: str) -> None:
    """Follow a chain of single keys down to the value, and set it."""
    ((key, value),) = change.items()
    below = node.get(key)
    if (
        isinstance(value, dict)
        and len(value) == 1
        and f"{key}." in assignment.replace('"', "").replace(" ", "")
    ):
        if below is not None and not isinstance(below, dict):
            raise ConfigError(f"-o {assignment!r}: {key!r} is a value, not a section")
        _merge(node.setdefault(key, {}), value, assignment)
    else:
        node[key] = value


def build_suite(recipe: Mapping[str, Any], origin: str = "recipe", data: bool = True) -> Suite:
    """Check a recipe and resolve it to runs; without `data`, questions are not looked at. Raises
    ConfigError, with the key's path."""
    for key in recipe:
        if key not in RUN_SECTIONS + SUITE_KEYS:
            raise ConfigError(
                f"{origin}: unknown key {key!r}{nearest(key, RUN_SECTIONS + SUITE_KEYS)}"
            )
    labels = _methods(recipe, origin)
    for name, own in recipe.get("method", {}).items():  # others than the chosen ones may be there
        named = isinstance(own, dict) and ("objective" in own or "phases" in own)
        if name not in labels and name not in methods.names() and not named:
            raise ConfigError(
                f"{origin}: method.{name}: no such method"
                + nearest(name, [*dict.fromkeys([*labels, *methods.names()])])
            )
    seeds = recipe.get("seeds", 5)
    seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
    if (
        not seeds
        or not all(isinstance(s, int) and s >= 0 for s in seeds)
        or len(set(seeds)) != len(seeds)
    ):
        raise ConfigError(
            f"{origin}: seeds = {recipe.get('seeds')!r}: "
            "a count or a list of distinct integers >= 0"
        )
    task = _task(recipe, origin)
    runs = [_run(recipe, label, seed, task, origin) for seed in seeds for label in labels]
    for run in runs[: len(labels)]:
        check(run, origin, data)
    control = recipe.get("control")
    if control is not None and control not in labels:
        control = None  # the control is not among the chosen methods
    values = {k: recipe[k] for k in ("about", "expected", "margin", "hardware") if k in recipe}
    return validated(
        Suite,
        {"name": recipe.get("name", "suite"), "runs": runs, "control": control, **values},
        origin,
    )


def _methods(recipe: Mapping[str, Any], origin: str) -> list[str]:
    labels = recipe.get("methods")
    if isinstance(labels, str):
        labels = [part.strip() for part in labels.split(",") if part.strip()]
    if not labels or not isinstance(labels, list):
        raise ConfigError(
            f"{origin}: methods: a list of names; known: {', '.join([*methods.names(), *ENTRANTS])}"
        )
    if len(set(labels)) != len(labels):
        raise ConfigError(f"{origin}: methods: {labels} names one twice")
    return labels


def _task(recipe: Mapping[str, Any], origin: str) -> dict[str, Any]:
    task = recipe.get("task", {"name": "arithmetic"})
    task = {"name": task} if isinstance(task, str) else dict(task)
    try:
        tasks.get(**task)
    except KeyError as error:
        raise ConfigError(f"{origin}: task: {error.args[0]}") from None
    except ValidationError as error:
        raise ConfigError(explain(error, f"{origin}: task")) from None
    return task


def _run(
    recipe: Mapping[str, Any], label: str, seed: int, task: dict[str, Any], origin: str
) -> Run:
    own = dict(recipe.get("method", {}).get(label, {}))
    if not isinstance(own, dict):
        raise ConfigError(f"{origin}: method.{label}: a section of fields")
    sections = {k: recipe[k] for k in RUN_SECTIONS if k in recipe}
    for key in RUN_SECTIONS:
        if key in own:
            value = own.pop(key)
            sections[key] = {**sections.get(key, {}), **value} if isinstance(value, dict) else value
    source = own.pop("source", None)
    phases = own.pop("phases", None)
    beside = [*own, *(["source"] if source else [])]
    if phases and beside:
        raise ConfigError(
            f"{origin}: method.{label}: {', '.join(beside)} beside phases would be ignored; a "
            'phase holds its own, e.g. { method = "grpo", share = 0.5, fields = { clip = 0.1 } }'
        )
    if not phases:
        phases = [{"method": own.pop("objective", label), "fields": own, "source": source}]
    values = {"method": label, "phases": phases, "task": task, "seed": seed, **sections}
    run = validated(Run, values, f"{origin}: method.{label}")
    try:
        plugins = plugin_code([p.method for p in run.phases], run.task["name"], run.reward)
    except ConfigError as error:
        raise ConfigError(f"{origin}: method.{label}: {error}") from None
    return run.model_copy(update={"plugins": plugins})
