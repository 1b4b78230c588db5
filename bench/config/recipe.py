"""A recipe: read from TOML, changed from the command line, resolved to the runs of a suite.

A recipe is one TOML file: a suite's names and the sections of a run. `[method.NAME]` sets fields of
the objective and may hold sections of its own (`[method.gift.optimizer]`) for that entry alone.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import methods
import tasks

from .checks import check, check_primary, explaining
from .entrants import ENTRANTS
from .errors import ConfigError, nearest
from .sections import RunConfig, Suite

RECIPES = Path(__file__).parents[1] / "recipes"
# Keys of a recipe: those that a method's own section may hold too, those of the suite, all.
MADE = ("method", "phases", "task", "seed", "plugins")  # fields of a run that are made of others
RUN_KEYS = tuple(key for key in RunConfig.model_fields if key not in MADE)
SUITE_KEYS = tuple(key for key in Suite.model_fields if key != "runs")
# A critic's learning rate in the policy's, where a recipe has none. Public configurations of PPO
# take 1e-5 beside 1e-6 (verl's examples, OpenRLHF 9e-6 beside 5e-7).
CRITIC_RATE = 10
KEYS = (*RUN_KEYS, *SUITE_KEYS, "methods", "seeds", "task", "method")


def recipe_path(name: str) -> Path:
    """Where a packaged recipe, or a recipe given by its path, stands."""
    return Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"


def recipes() -> list[str]:
    return sorted(p.stem for p in RECIPES.glob("*.toml"))


def read_recipe(name: str) -> dict[str, Any]:
    """A packaged recipe by name, or a TOML file by path."""
    path = recipe_path(name)
    if not path.is_file():
        raise ConfigError(f"no recipe {name!r}{nearest(name, recipes())}; a path must end in .toml")
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def override(recipe: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A copy of the recipe with `a.b.c=value` assignments applied. Both sides are TOML, but a bare
    word is a string; a name with a dot needs quotes: `method."my.py:Loss".lr=1`."""
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
    written = assignment.replace('"', "").replace(" ", "")
    if isinstance(value, dict) and len(value) == 1 and f"{key}." in written:
        below = node.setdefault(key, {})
        if not isinstance(below, dict):
            raise ConfigError(f"-o {assignment!r}: {key!r} is a value, not a section")
        _merge(below, value, assignment)
    else:
        node[key] = value


def build_suite(recipe: Mapping[str, Any], origin: str = "recipe", data: bool = True) -> Suite:
    """Check a recipe and resolve it to runs; without `data` the task's questions are not read.

    Raises ConfigError, with the key's path, what was found and what is allowed.
    """
    for key in recipe:
        if key not in KEYS:
            raise ConfigError(f"{origin}: unknown key {key!r}{nearest(key, KEYS)}")
    labels = _methods(recipe, origin)
    for name, own in recipe.get("method", {}).items():  # also methods that are not chosen
        named = isinstance(own, dict) and ("objective" in own or "phases" in own)
        if name not in labels and name not in methods.names() and not named:
            near = nearest(name, [*dict.fromkeys([*labels, *methods.names()])])
            raise ConfigError(f"{origin}: method.{name}: no such method{near}")
    seeds = recipe.get("seeds", 5)
    seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
    proper = seeds and all(isinstance(s, int) and s >= 0 for s in seeds)
    if not proper or len(set(seeds)) != len(seeds):
        raise ConfigError(
            f"{origin}: seeds = {recipe.get('seeds')!r}: "
            "expected a number of seeds or a list of distinct integers >= 0"
        )
    task = recipe.get("task", {"name": "arithmetic"})
    task = {"name": task} if isinstance(task, str) else dict(task)
    with explaining(f"{origin}: task"):
        tasks.get(**task)
    per_label = [_run(recipe, label, task, origin) for label in labels]
    for run in per_label:
        check(run, origin, data)
    runs = [run.model_copy(update={"seed": seed}) for seed in seeds for run in per_label]
    values = {"name": "suite", **{k: recipe[k] for k in SUITE_KEYS if k in recipe}, "runs": runs}
    if values.get("control") not in labels:
        values["control"] = None  # the control is not among the chosen methods
    with explaining(origin):
        suite = Suite(**values)
    check_primary(suite, origin)
    return suite


def resolved(run: RunConfig) -> RunConfig:
    """Settings that a recipe leaves to its task or method, written out: how a model is pretrained
    on the task's corpus, and a critic's learning rate."""
    update: dict[str, Any] = {}
    given = run.model.pretrain.model_fields_set
    own = {k: v for k, v in type(run.build_task()).pretrain.items() if k not in given}
    if own and run.model.path is None:
        pretrain = run.model.pretrain.model_copy(update=own)
        update["model"] = run.model.model_copy(update={"pretrain": pretrain})
    critic = any(method.needs().critic for method in run.build_methods())
    if critic and run.optimizer.critic_lr is None:
        rate = CRITIC_RATE * run.optimizer.lr
        update["optimizer"] = run.optimizer.model_copy(update={"critic_lr": rate})
    return run.model_copy(update=update)


def _methods(recipe: Mapping[str, Any], origin: str) -> list[str]:
    labels = recipe.get("methods")
    if isinstance(labels, str):
        labels = [part.strip() for part in labels.split(",") if part.strip()]
    if not labels or not isinstance(labels, list):
        known = ", ".join([*methods.names(), *ENTRANTS])
        raise ConfigError(f"{origin}: methods: expected a list of names; known: {known}")
    if len(set(labels)) != len(labels):
        raise ConfigError(f"{origin}: methods: {labels} names one twice")
    return labels


def _run(recipe: Mapping[str, Any], label: str, task: dict[str, Any], origin: str) -> RunConfig:
    """The run of one label, with seed 0."""
    where = f"{origin}: method.{label}"
    own = recipe.get("method", {}).get(label, {})
    if not isinstance(own, dict):
        raise ConfigError(f"{where}: expected a section of fields")
    own = dict(own)
    sections = {k: recipe[k] for k in RUN_KEYS if k in recipe}
    for key in RUN_KEYS:
        if key in own:
            value = own.pop(key)
            sections[key] = {**sections.get(key, {}), **value} if isinstance(value, dict) else value
    source, phases = own.pop("source", None), own.pop("phases", None)
    beside = [*own, *(["source"] if source else [])]
    if phases and beside:
        raise ConfigError(
            f"{where}: {', '.join(beside)} beside phases would be ignored; give "
            'them to a phase, e.g. { method = "grpo", share = 0.5, fields = { clip = 0.1 } }'
        )
    if not phases:
        phases = [{"method": own.pop("objective", label), "fields": own, "source": source}]
    values = {"method": label, "phases": phases, "task": task, "seed": 0, **sections}
    with explaining(where):
        run = resolved(RunConfig(**values))
    try:
        return run.model_copy(update={"plugins": run.plugin_code()})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
