"""Runs that failed while they ran: they diverged, or ended far below where they started. And runs
that finished but hardly trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import neighbours, scores
from .memoise import remembered
from .neighbours import Choice

if TYPE_CHECKING:
    from .runs import Results

FAR = 10.0  # times the loss of the first update (at least 1): far above its start
HALF = 0.5  # of the starting accuracy: below it a run has collapsed, if the margin is passed too


@remembered
def endings(results: Results) -> pd.DataFrame:
    """A row per run that counts: GROUP, start, end (accuracy, on the questions of every
    evaluation) and failed: "diverged", "collapsed" (below half of its start, by more than the
    margin of equivalence) or ""."""
    choice = neighbours.primary(results)
    reading = neighbours.READINGS[choice.reading]
    by_run = scores.run_scores(results, choice.split, choice.decoding, reading)
    groups = by_run.groupby("run", observed=True)
    frame = scores.counted(results)[[*scores.GROUP, "status"]].copy()
    key = frame["run"].astype("str")
    for name, found in (("start", groups.first()), ("end", groups.last())):
        values = {str(run): float(score) for run, score in found["score"].items()}
        frame[name] = key.map(values).astype(float)
    at_start = {str(run): int(step) == 0 for run, step in groups["step"].first().items()}
    frame.loc[~key.map(at_start).fillna(False).astype(bool), "start"] = np.nan
    lost = frame["start"] - frame["end"]
    fell = (frame["end"] < HALF * frame["start"]) & (lost > results.margin)
    diverged = frame["status"] == "diverged"
    frame["failed"] = np.select([diverged, fell], ["diverged", "collapsed"], "")
    return frame.drop(columns="status").reset_index(drop=True)


def failed(results: Results, task: str, method: str) -> pd.DataFrame:
    """The rows of `endings` of one method that failed."""
    frame = endings(results)
    mine = (frame["task"] == task) & (frame["method"] == method)
    return frame[mine & (frame["failed"] != "")]


def at_start(results: Results, choice: Choice, task: str, method: str) -> pd.DataFrame:
    """The method's scores with those of its failed runs replaced by what they had before the first
    update (on the questions of every evaluation): the second value of a failed run. Where the start
    was not evaluated, the last evaluation stays."""
    last = neighbours.matrices(results, choice).get((task, method), neighbours.EMPTY)
    seeds = failed(results, task, method)["seed"]
    before = neighbours.matrices(results, replace(choice, checkpoint="start"))
    start = before.get((task, method), neighbours.EMPTY)
    there = [s for s in seeds if s in start.index]
    if not there:
        return last
    kept = last.drop(index=[s for s in there if s in last.index])
    return pd.concat([kept, start.loc[there]]).sort_index()


@remembered
def flags(results: Results) -> pd.DataFrame:
    """task, method and `flags`: what a reader must know before the accuracy, in words; "" where
    all is well. Failures, rewards that never vary, updates without a gradient, a loss that blew
    up: a finished run may be all of these."""
    ends, steps = endings(results), results.steps
    kept = steps[steps["run"].isin(scores.counted(results)["run"])]
    by_run = {
        str(run): rows.sort_values("step") for run, rows in kept.groupby("run", observed=True)
    }
    graded = _graded(results)
    rows = []
    for (task, method), runs in ends.groupby(["task", "method"], observed=True):
        total = len(runs)
        own = [by_run[str(run)] for run in runs["run"] if str(run) in by_run]
        names = {str(run) for run in runs["run"]}
        counts = {
            "diverged": int((runs["failed"] == "diverged").sum()),
            "collapsed": int((runs["failed"] == "collapsed").sum()),
            "constant reward": sum(_constant(r) for r in own) if names & graded else 0,
            "most updates empty": sum(_empty(r) for r in own),
            "loss far above its start": sum(_far(r) for r in own),
        }
        told = [f"{what} ({n} of {total})" for what, n in counts.items() if n]
        rows.append([str(task), str(method), "; ".join(told)])
    return pd.DataFrame(rows, columns=["task", "method", "flags"])


def _graded(results: Results) -> set[str]:
    """Runs that asked the verifier: others have no reward that could vary."""
    ledger = results.ledger
    if "verifier_calls" not in ledger:
        return set()
    return {str(run) for run in ledger.loc[ledger["verifier_calls"] > 0, "run"].unique()}


def _constant(rows: pd.DataFrame) -> bool:
    reward = rows["reward_mean"].dropna() if "reward_mean" in rows else pd.Series(dtype=float)
    return len(reward) > 1 and float(np.ptp(reward)) < 1e-12


def _empty(rows: pd.DataFrame) -> bool:
    return "empty" in rows and float(rows["empty"].mean()) > HALF


def _far(rows: pd.DataFrame) -> bool:
    loss = rows["loss"].dropna().to_numpy(float) if "loss" in rows else np.empty(0)
    late = loss[-max(len(loss) // 5, 1) :]
    return len(loss) > 1 and float(np.median(late)) > FAR * max(abs(loss[0]), 1.0)
