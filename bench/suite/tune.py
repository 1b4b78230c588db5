"""Learning rates from equal trials: every method gets the same grid, budget and seeds. Trials are
scored on validation questions (a slice of train), never on test, and their log is kept."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.config import RunConfig, Suite
from bench.core.files import write_atomic
from bench.record.store import RunFolder

from .grid import RunState

SEED = 1000  # trials use seeds that no reported run uses
Runner = Callable[[Suite, Path], list[RunState]]


def trials(suite: Suite, rates: Sequence[float], seeds: int) -> Suite:
    """A suite of `len(rates) * seeds` trials a method, evaluated on validation questions alone."""
    questions = {"curve": {"validation": 0}, "final": {"validation": 0}, "train_questions": 0}
    plan = suite.runs[0].eval.model_copy(update={**questions, "points": 1})
    runs: list[RunConfig] = []
    for run in {r.method: r for r in suite.runs}.values():
        for rate in rates:
            optimizer = run.optimizer.model_copy(update={"lr": rate})
            update = {"method": f"{run.method}@lr={rate:g}", "optimizer": optimizer, "eval": plan}
            trial = run.model_copy(update={**update, "checkpoint": "none"})
            runs += [trial.model_copy(update={"seed": SEED + k}) for k in range(seeds)]
    changed = {"name": f"{suite.name}-tune", "runs": tuple(runs), "control": None}
    return suite.model_copy(update=changed)


def collect(suite: Suite, folder: Path) -> pd.DataFrame:
    """One row per finished trial: method, lr, seed, score (avg@K on validation), greedy, status."""
    rows: list[dict[str, Any]] = []
    for run in suite.runs:
        path = folder / run.name
        if done := RunFolder(path).done:
            evals: Any = pd.read_parquet(path / "evals.parquet")
            last = evals[evals["step"] == evals["step"].max()]
            score = last.groupby("decoding", observed=True)["correct"].mean()
            label, budget = run.method.partition("@")[0], f"{run.budget.amount:g} {run.budget.axis}"
            trial = {"method": label, "lr": run.optimizer.lr, "seed": run.seed}
            trial["score"], trial["greedy"] = score.reindex(["sampled", "greedy"]).tolist()
            trial |= {"status": done.status, "run": run.name, "budget": budget}
            rows.append({**trial, "split": "validation"})
    return pd.DataFrame(rows)


def best(log: pd.DataFrame) -> pd.DataFrame:
    """The learning rate of the highest mean score: one row per method; ties go to the smaller."""
    scores: Any = log.groupby(["method", "lr"], sort=True)["score"]
    mean = scores.mean().reset_index()
    return mean.loc[mean.groupby("method")["score"].idxmax()].reset_index(drop=True)


def tune(
    suite: Suite, rates: Sequence[float], seeds: int, out: Path, *, run: Runner
) -> pd.DataFrame:
    """Make the trials in `out` with `run`, and write `out/trials.jsonl`. Returns its rows."""
    grid = trials(suite, rates, seeds)
    run(grid, out)
    log = collect(grid, out)
    lines = [json.dumps(row) + "\n" for row in log.to_dict("records")]
    write_atomic(out / "trials.jsonl", "".join(lines))
    return log
