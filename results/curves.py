"""Accuracy along a run, against any axis of the ledger.

    points = curves.points(results)             # a row per run and evaluation, with its costs
    curves.mean_curve(points, "tokens")         # mean and 95 % band over seeds
    curves.efficiency(results)                  # area under the curve, cost to thresholds

Nothing is smoothed. The k-th evaluations of a method's seeds are averaged: they stand at the same
share of the budget. A run that ended early (it diverged) stays at its last value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import scores, stats
from .memoise import remembered
from .records import BUDGET_AXES
from .scores import GROUP

if TYPE_CHECKING:
    from .runs import Results

SHARES = (0.5, 0.9)  # of the best gain: the thresholds


@remembered
def points(
    results: Results,
    split: str | None = None,
    decoding: str | None = None,
    reading: scores.Reading = "correct",
) -> pd.DataFrame:
    """A row per run that counts and evaluation: GROUP, status, index (0, 1, ...), step, score,
    carried, and the cumulative cost on every budget axis (0 before the first update)."""
    split = split or scores.headline_split(results)
    decoding = decoding or scores.decoding_of(scores.headline_metric(results))
    frame = scores.run_scores(results, split, decoding, reading)
    frame["index"] = frame.groupby("run", observed=True).cumcount()
    costs = [c for c in BUDGET_AXES if c in results.ledger]
    ledger = results.ledger[["run", "step", *costs]].sort_values("step")
    ledger["run"] = ledger["run"].astype(frame["run"].dtype)  # some runs may have no step
    frame = pd.merge_asof(
        frame.sort_values("step").astype({"step": "int64"}),
        ledger.astype({"step": "int64"}),
        on="step",
        by="run",
    )
    start = frame["step"] == 0
    for axis in BUDGET_AXES:
        known = frame[axis].astype(float) if axis in frame else np.nan
        frame[axis] = np.where(start, 0.0, known)
    frame["carried"] = False
    status = results.runs.set_index(results.runs["run"].astype("str"))["status"]
    frame["status"] = frame["run"].astype("str").map(status)
    columns = [*GROUP, "status", "index", "step", "score", "carried", "questions", *BUDGET_AXES]
    return frame[columns].sort_values([*GROUP, "index"], ignore_index=True)


def carry(points: pd.DataFrame) -> pd.DataFrame:
    """Points with the runs that ended early continued at their last value, to the last evaluation
    of their method; the cost of a continued point is the mean of the seeds that got there."""
    parts = [points]
    for _, method in points.groupby(["task", "method"], observed=True):
        last = int(method["index"].max())
        costs = method.groupby("index")[[*BUDGET_AXES, "step"]].mean()
        for _, run in method.groupby("run", observed=True):
            end = run.iloc[-1]
            missing = range(int(end["index"]) + 1, last + 1)
            rows = [{**end, **costs.loc[i], "index": i, "carried": True} for i in missing]
            parts += [pd.DataFrame(rows).astype(points.dtypes, errors="ignore")] if rows else []
    together = pd.concat(parts, ignore_index=True)
    for column in ("task", "method", "run"):
        together[column] = together[column].astype(points[column].dtype)
    return together.sort_values([*GROUP, "index"], ignore_index=True)


def mean_curve(
    points: pd.DataFrame, axis: str = "updates", alpha: float = stats.ALPHA
) -> pd.DataFrame:
    """task, method, index, x, mean, low, high (Student t over seeds, pointwise; NaN with one seed),
    seeds, carried (how many of them had ended)."""
    if axis not in BUDGET_AXES:
        raise ValueError(f"no axis {axis!r}; there are {', '.join(BUDGET_AXES)}")
    rows = []
    for key, at in carry(points).groupby(["task", "method", "index"], observed=True):
        interval, carried = stats.seed_interval(at["score"], alpha), int(at["carried"].sum())
        rows.append([*key, at[axis].mean(), *interval[:3], len(at), carried])
    columns = ["task", "method", "index", "x", "mean", "low", "high", "seeds", "carried"]
    return pd.DataFrame(rows, columns=columns)


def budget_axis(results: Results) -> str:
    """The axis that ends the runs; updates where they do not agree."""
    axes = results.runs["budget_axis"].dropna().unique()
    return str(axes[0]) if len(axes) == 1 and axes[0] in BUDGET_AXES else "updates"


def common_budget(points: pd.DataFrame, axis: str) -> float:
    """Of one task: the largest cost that all finished runs (all, where none is) reached, or NaN."""
    finished = points[points["status"] == "finished"]
    ends = (points if finished.empty else finished).groupby("run", observed=True)[axis].max()
    return float(ends.min()) if len(ends) else float("nan")


def thresholds(points: pd.DataFrame) -> dict[float, float]:
    """Share of the best gain -> accuracy, for one task: start (mean of all runs before the first
    update) + share x (best method's mean at its end - start). NaN where nothing improved."""
    start = points[points["step"] == 0]["score"].mean()
    ends = points.groupby(["method", "run"], observed=True)["score"].last()
    best = ends.groupby("method", observed=True).mean().max()
    gain = best - start if best > start else float("nan")
    return {share: float(start + share * gain) for share in SHARES}


@remembered
def efficiency(
    results: Results, axis: str | None = None, split: str | None = None, decoding: str | None = None
) -> pd.DataFrame:
    """A row per run: GROUP, axis, until (the common budget), auc (mean accuracy up to it), and per
    threshold: threshold_50, cost_50 (until where it was never reached), reached_50; and _90."""
    axis = axis or budget_axis(results)
    everything = points(results, split, decoding)
    rows = []
    for _, task in everything.groupby("task", observed=True):
        until, levels = common_budget(task, axis), thresholds(task)
        for key, run in task.groupby(GROUP, observed=True):
            row = dict(zip(GROUP, key, strict=True)) | {"axis": axis, "until": until}
            row["auc"] = stats.normalised_auc(run[axis], run["score"], until)
            for share, level in levels.items():
                name = f"{100 * share:.0f}"
                cost, reached = stats.time_to_threshold(run[axis], run["score"], level, until)
                row |= {f"threshold_{name}": level, f"cost_{name}": cost}
                row[f"reached_{name}"] = reached
            rows.append(row)
    names = [f"{n}_{100 * s:.0f}" for s in SHARES for n in ("threshold", "cost", "reached")]
    frame = pd.DataFrame(rows, columns=[*GROUP, "axis", "until", "auc", *names])
    for column in ("task", "method", "run"):
        frame[column] = frame[column].astype(results.runs[column].dtype)
    return frame


def at_common(points: pd.DataFrame, axis: str) -> pd.DataFrame:
    """A row per run: GROUP, until (its task's common budget), score there (interpolated)."""
    rows, names = [], ["task", "method", "run", "seed"]
    for _, task in points.groupby("task", observed=True):
        until = common_budget(task, axis)
        for key, run in task.groupby(names, observed=True):
            rows.append([*key, until, np.interp(until, run[axis], run["score"])])
    frame = pd.DataFrame(rows, columns=[*names, "until", "score"])
    return frame.astype({name: points[name].dtype for name in names})


@remembered
def at_common_cost(
    results: Results, split: str | None = None, decoding: str | None = None
) -> pd.DataFrame:
    """Accuracy at the largest cost that all methods reached, on every budget axis: task, axis,
    until, method, seeds, mean, low, high, rank. Rankings may flip between axes. Linear between
    evaluations."""
    rows = []
    for task, here in points(results, split, decoding).groupby("task", observed=True):
        several = results.by_machine is not results  # whose seconds are not comparable
        for axis in (a for a in BUDGET_AXES if not (several and a == "seconds")):
            at = at_common(here, axis)
            for method, runs in at[at["until"] > 0].groupby("method", observed=True):
                until, interval = runs["until"].iloc[0], stats.seed_interval(runs["score"])
                rows.append([task, axis, until, method, len(runs), *interval[:3]])
    columns = ["task", "axis", "until", "method", "seeds", "mean", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["rank"] = frame.groupby(["task", "axis"], observed=True)["mean"].rank(ascending=False)
    return frame
