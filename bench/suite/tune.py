"""Equal tuning: every method gets the same number of random trials and seeds, scored on validation
questions (a slice of train), never on test. Every trial is kept.

Trial i of a method is a function of (TUNING, i) alone, so trials are independent of each other and
of the results, which the estimate of the expected best after n trials needs. Learning rates are
common random numbers: trial i has the same one for all methods.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import tomlkit
from rich import box
from rich.table import Table
from rich.text import Text

from bench.config import ConfigError, RunConfig, Suite, build_suite, resolved
from bench.core import rng
from bench.core.files import write_atomic
from bench.record.store import RunFolder
from methods import Method
from methods.search import LR, Between, Range, Value, space
from results.trials import DEFAULTS, TRIALS_FILE, own_settings, settings

from .grid import RunState

TUNING = 1  # seed of the trials' settings
SEED = 1000  # trials use seeds that no reported run uses
Space = dict[str, Range]
Setting = dict[str, Value]
Runner = Callable[[Suite, Path], list[RunState]]


def spaces(suite: Suite) -> dict[str, Space]:
    """Of each label: its name -> range; the learning rates in their own unit. What the recipe fixes
    (`tune.fixed`) is left out.

    Raises:
        ConfigError: the recipe fixes something that is not searched.
    """
    found: dict[str, Space] = {}
    for run in _first_runs(suite):
        objectives = run.build_methods()
        own = objectives[0]
        single = len(objectives) == 1
        ranges: Space = space(own) if single and isinstance(own, Method) else {"lr": LR}
        fixed = suite.tune.fixed.get(run.method, ())
        if unknown := ", ".join(name for name in fixed if name not in ranges):
            allowed = ", ".join(ranges)
            raise ConfigError(f"tune.fixed.{run.method}: {unknown} is not searched: {allowed} are")
        low, high = (factor * run.optimizer.lr for factor in suite.tune.lr)
        ranges["lr"] = Between(low, high, LR.source)
        if suite.tune.widen > 1:
            ranges = {name: _wider(r, suite.tune.widen) for name, r in ranges.items()}
        found[run.method] = {name: r for name, r in ranges.items() if name not in fixed}
    return found


def _wider(values: Range, factor: float) -> Range:
    if not isinstance(values, Between):
        return values
    return Between(values.low / factor, values.high * factor, values.source)


def untuned(recipe: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """A recipe without the settings that are searched, so that an earlier tuning is forgotten.

    Raises:
        ConfigError: something in the recipe is wrong.
    """
    content = json.loads(json.dumps(recipe))
    for label, ranges in spaces(build_suite(content, origin)).items():
        own = content.get("method", {}).get(label, {})
        for name in ranges:
            part = {"lr": "optimizer", "critic_lr": "optimizer", "minibatches": "rollout"}.get(name)
            (own if part is None else own.get(part, {})).pop(name, None)
    return content


def setting(ranges: Space, trial: int) -> Setting:
    """The settings of a trial by its number; no values for the recipe's own."""
    if trial == DEFAULTS:
        return {}
    shares = {name: rng.uniforms([rng.key(TUNING, trial, name)], 1)[0, 0] for name in ranges}
    return {name: r.at(float(shares[name])) for name, r in ranges.items()}


def trial_run(run: RunConfig, chosen: Mapping[str, Value]) -> RunConfig:
    """The run with these settings."""
    fields = dict(chosen)
    content = run.model_dump()
    if "lr" in fields:
        content["optimizer"] |= {"lr": fields.pop("lr"), "critic_lr": None}
    if "critic_lr" in fields:
        rate = float(fields.pop("critic_lr")) * content["optimizer"]["lr"]
        content["optimizer"]["critic_lr"] = rate
    if "minibatches" in fields:
        content["rollout"]["minibatches"] = fields.pop("minibatches")
    content["phases"][0]["fields"] |= fields
    return resolved(RunConfig(**content))


def trials(suite: Suite) -> Suite:
    """The suite of all trials, evaluated at their end on all validation questions."""
    questions = {"curve": {}, "final": {"validation": 0}, "train_questions": 0, "points": 1}
    runs: list[RunConfig] = []
    ranges = spaces(suite)
    for trial in (DEFAULTS, *range(suite.tune.trials)):
        for run in _first_runs(suite):
            first = run.eval.temperatures[0]
            plan = run.eval.model_copy(update={**questions, "temperature": first})
            changed = trial_run(run, setting(ranges[run.method], trial))
            update = {"method": f"{run.method}@{trial}", "eval": plan, "checkpoint": "none"}
            runs += [
                changed.model_copy(update={**update, "seed": SEED + k})
                for k in range(suite.tune.seeds)
            ]
    changed = {"name": f"{suite.name}-tune", "runs": tuple(runs), "control": None}
    return suite.model_copy(update=changed)


def collect(suite: Suite, grid: Suite, folder: Path) -> pd.DataFrame:
    """A row per finished trial and seed: method, trial, seed, score (avg@K on validation), greedy,
    status, run, budget, and `setting`, `ranges` and `edges` by name."""
    rows: list[dict[str, Any]] = []
    ranges = spaces(suite)
    for run in grid.runs:
        path = folder / run.name
        if done := RunFolder(path).done:
            evals: Any = pd.read_parquet(path / "evals.parquet")
            last = evals[evals["step"] == evals["step"].max()]
            score = last.groupby("decoding", observed=True)["correct"].mean()
            label, _, number = run.method.rpartition("@")
            chosen = setting(ranges[label], int(number))
            values = {"score": score.get("sampled"), "greedy": score.get("greedy")}
            rows.append(
                {"method": label, "trial": int(number), "seed": run.seed, **values}
                | {"status": done.status, "setting": chosen, "run": run.name}
                | {"ranges": {name: str(r) for name, r in ranges[label].items()}}
                | {"edges": {n: e for n, r in ranges[label].items() if (e := _edge(r, chosen, n))}}
                | {"budget": f"{run.budget.amount:g} {run.budget.axis}", "split": "validation"}
            )
    return pd.DataFrame(rows)


def _edge(values: Range, chosen: Setting, name: str) -> str:
    return values.edge(chosen[name]) if name in chosen else ""


class Best(NamedTuple):
    """The best trial of a method."""

    method: str
    trial: int
    score: float  # mean over seeds
    setting: Setting
    edges: dict[str, str]  # name: low or high


def best(log: pd.DataFrame) -> list[Best]:
    """The random trial of the highest mean score of each method, in the order of the log; the first
    of equal ones."""
    made: Any = settings(log).set_index("method", drop=False)
    tried = [made.loc[[method]].nlargest(1, "score").iloc[0] for method in _in_order(log, made)]
    return [Best(**{name: row[name] for name in Best._fields}) for row in tried]


def _in_order(log: pd.DataFrame, made: pd.DataFrame) -> list[str]:
    return [method for method in dict.fromkeys(log["method"]) if method in made.index]


def tune(suite: Suite, out: Path, *, run: Runner) -> pd.DataFrame:
    """Make the trials in `out` with `run`, and write `out/trials.jsonl`. Returns its rows. Trials
    that are finished are not made again."""
    grid = trials(suite)
    run(grid, out)
    log = collect(suite, grid, out)
    write_atomic(out / TRIALS_FILE, log_lines(log))
    return log


def log_lines(log: pd.DataFrame) -> str:
    return "".join(json.dumps(row) + "\n" for row in log.to_dict("records"))


def table(log: pd.DataFrame, chosen: list[Best]) -> Table:
    """What tuning changed: each method's score with the recipe's own settings and at its best."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("method", "as it stands %", "best %", "setting", "near the end of its range"):
        made.add_column(column)
    before: Any = own_settings(log)
    for found in chosen:
        own = before.get(found.method, float("nan"))
        setting = ", ".join(f"{name} {value:g}" for name, value in found.setting.items())
        edges = ", ".join(f"{name} ({end})" for name, end in found.edges.items())
        row = (found.method, f"{100 * own:.1f}", f"{100 * found.score:.1f}", setting, edges)
        made.add_row(*map(Text, row))
    return made


def bring_log(recipe: Path, suite: Suite, folder: Path) -> None:
    """Put the trials that chose a recipe's settings into the suite's folder, for its report.

    Raises:
        ConfigError: the recipe names a log that is not there, or the folder holds another one.
    """
    if suite.tune.log is None:
        return
    own = folder / TRIALS_FILE
    log = recipe.with_name(suite.tune.log)
    if not log.is_file():
        raise ConfigError(f"{recipe}: tune.log = {suite.tune.log!r}: there is no file {log}")
    text = log.read_text()
    if own.is_file() and own.read_text() != text:
        raise ConfigError(
            f"{own}: this folder holds the trials of another tuning than {log}. Choose another"
            " --out, or move that file away"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(own, text)


def check_target(target: Path, recipe: Path, suite: Suite) -> None:
    """Refuse to write over files that are neither the recipe nor its log, before any trial is made.

    Raises:
        ConfigError: such a file exists.
    """
    beside = _beside(target)
    log = recipe.with_name(suite.tune.log) if suite.tune.log else None
    for path, own in ((target, recipe), (beside, log)):
        if path.exists() and not (own and own.exists() and path.samefile(own)):
            raise ConfigError(f"--write {target}: {path} exists; choose another name, or remove it")


def _beside(target: Path) -> Path:
    return target.with_name(f"{target.stem}-{TRIALS_FILE}")


def write_tuned(target: Path, recipe: str, suite: Suite, log: pd.DataFrame) -> None:
    """Write the recipe (its TOML) with the best settings to `target`, and the trials beside it."""
    beside = _beside(target)
    write_atomic(beside, log_lines(log))
    write_atomic(target, tuned_recipe(recipe, suite, best(log), beside.name))


def tuned_recipe(recipe: str, suite: Suite, chosen: list[Best], log_name: str) -> str:
    """The TOML of a recipe with each method's best settings in its section; comments stay."""
    content: Any = tomlkit.parse(recipe)
    content.setdefault("tune", tomlkit.table())["log"] = log_name
    sections = content.setdefault("method", tomlkit.table(is_super_table=True))
    base = {run.method: run for run in _first_runs(suite)}
    for found in chosen:
        own = sections.setdefault(found.method, tomlkit.table())
        run = trial_run(base[found.method], found.setting)
        if "lr" in found.setting:
            _put(own, "optimizer", "lr", run.optimizer.lr)
        if "critic_lr" in found.setting:
            _put(own, "optimizer", "critic_lr", float(f"{run.optimizer.critic_lr:.3g}"))
        if "minibatches" in found.setting:
            _put(own, "rollout", "minibatches", run.rollout.minibatches)
        for name in found.setting.keys() - {"lr", "critic_lr", "minibatches"}:
            own[name] = found.setting[name]
    return tomlkit.dumps(content)


def _put(section: Any, part: str, key: str, value: Value) -> None:
    section.setdefault(part, tomlkit.inline_table())[key] = value


def _first_runs(suite: Suite) -> list[RunConfig]:
    return list({run.method: run for run in suite.runs}.values())
