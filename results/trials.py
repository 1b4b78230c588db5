"""The trials that chose a suite's settings: what tuning changed, and how much hangs on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from . import stats

if TYPE_CHECKING:
    from .runs import Results

TRIALS_FILE = "trials.jsonl"
DEFAULTS = -1  # number of the trial with the recipe's own settings, beside the random ones
COLUMNS = ("method", "trial", "seed", "score", "setting", "edges")


def trials(results: Results) -> pd.DataFrame:
    """The log of trials in a suite's folder, or in the folder SUITE-tune beside it; empty where
    there is none.

    Returns:
        A row per trial and seed: COLUMNS and more; `score` is the share of right sampled answers
        to validation questions, `setting` and `edges` are by name.
    """
    suites = {Path(p).parent for p in results.runs["path"]}
    files = [f / TRIALS_FILE for s in sorted(suites) for f in (s, s.with_name(f"{s.name}-tune"))]
    logs = [pd.read_json(f, lines=True) for f in dict.fromkeys(files) if f.is_file()]
    log = pd.concat(logs, ignore_index=True) if logs else pd.DataFrame(columns=[*COLUMNS])
    if "trial" not in log:  # a grid of learning rates, as earlier versions wrote it
        log["trial"] = log.groupby("method")["lr"].rank("dense").astype(int)
        log["setting"] = [{"lr": lr} for lr in log["lr"]]
        log["edges"] = [{} for _ in log.index]
    return log[log["method"].isin(results.methods)].reset_index(drop=True)


def settings(log: pd.DataFrame) -> pd.DataFrame:
    """A row per method and random trial: method, trial, score (mean over its seeds), error (its
    standard error, NaN of one seed), seeds, setting, edges."""
    rows = []
    for (method, trial), own in log[log["trial"] != DEFAULTS].groupby(["method", "trial"]):
        score, n = own["score"], len(own)
        error = float(score.std(ddof=1)) / np.sqrt(n) if n > 1 else float("nan")
        first = own.iloc[0]
        rows.append({
            "method": str(method), "trial": int(trial), "score": float(score.mean()),
            "error": error, "seeds": n, "setting": first["setting"], "edges": first["edges"],
        })  # fmt: skip
    names = ["method", "trial", "score", "error", "seeds", "setting", "edges"]
    return pd.DataFrame(rows, columns=names)


def own_settings(log: pd.DataFrame) -> pd.Series:
    """Mean score of each method with the recipe's own settings, before tuning."""
    return log[log["trial"] == DEFAULTS].groupby("method")["score"].mean()


def expected_best(log: pd.DataFrame) -> pd.DataFrame:
    """method, trials, value: the expected best score of the first n random trials."""
    rows = [
        {"method": method, "trials": n, "value": best}
        for method, own in settings(log).groupby("method")
        for n, best in enumerate(stats.expected_best(own["score"]), 1)
    ]
    return pd.DataFrame(rows, columns=["method", "trials", "value"])


def near_best(made: pd.DataFrame, method: str) -> pd.DataFrame:
    """Rows of `settings` of a method: the best one, and those within one standard error of it."""
    own = made[made["method"] == method]
    if own.empty:
        return own
    best = own.loc[own["score"].idxmax()]
    error = best["error"] if best["error"] == best["error"] else 0.0
    return own[own["score"] >= best["score"] - error]


class Survival(NamedTuple):
    """In how many pairs of near-best settings a difference keeps its sign on validation."""

    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.kept}/{self.of}" if self.of else ""


def survival(made: pd.DataFrame, a: str, b: str, sign: float) -> Survival:
    """How often a differs from b in the direction of `sign` when each takes any setting within one
    standard error of its best on validation questions. `made` is of `settings`."""
    left, right = (near_best(made, method)["score"].to_numpy() for method in (a, b))
    gaps = np.subtract.outer(left, right)
    return Survival(int((np.sign(gaps) == np.sign(sign)).sum()), gaps.size)
