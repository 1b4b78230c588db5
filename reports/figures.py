"""Results -> figures: each function prepares the numbers that `plots` draws, one Plot a task.

    from reports.figures import FIGURES
    for plot in FIGURES["forest"](results):
        plot.save("figures")

A figure that the data cannot give (nothing finished, one method) is an empty list.
"""

# pandas annotates groupby and indexing with unions that pyright cannot narrow
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportOptionalMemberAccess=false

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from results import compare, curves, scores, stats, tables
from results.schema import BUDGET_AXES

from . import plots

if TYPE_CHECKING:
    from results import Results

    from .plots import Plot


def forest(results: Results, split: str | None = None, control: str | None = None) -> list[Plot]:
    """Paired differences of accuracy against the control, best first."""
    control = control or results.control
    pairs = compare.against(results.methods, control) if control else []
    made = compare.table(compare.family(results, pairs, split=split))
    made = made[made["difference"].notna()]
    parts = []
    for task, rows in made.groupby("task"):
        rows = rows.sort_values("difference", ascending=False).rename(
            columns={"a": "method", "difference": "effect"}
        )
        rows["n"] = rows[["seeds_a", "seeds_b"]].min(axis=1)
        parts.append(
            plots.forest(
                rows[["method", "effect", "low", "high", "mde", "p_holm", "verdict", "n"]],
                str(control),
                delta=float(rows["delta"].iloc[0]),
                name=_name(results, "forest", task),
                metric=_metric(results, task),
            )
        )
    return parts


def convergence(results: Results, axis: str = "updates", split: str | None = None) -> list[Plot]:
    """Accuracy against one axis of the budget, nothing smoothed."""
    everything = curves.points(results, split)
    parts = []
    for task, points in everything.groupby("task", observed=True):
        points = points[points[axis].notna()]
        if points.empty or not points[axis].max() > 0:
            continue
        ends = points[points["status"] == "diverged"].groupby("run", observed=True).tail(1)
        start = points.loc[points["step"] == 0, "score"].mean()
        levels = [v for v in curves.thresholds(points).values() if v == v]
        parts.append(
            plots.convergence(
                curves.mean_curve(points, axis),
                _points(points, axis),
                axis,
                start=None if start != start else float(start),
                thresholds=levels,
                diverged=_points(ends, axis),
                name=_name(results, f"convergence-{axis}", task),
                metric=_metric(results, task),
            )
        )
    return parts


def cost(results: Results, axis: str = "flops", split: str | None = None) -> list[Plot]:
    """Final accuracy against what the run cost on one axis, with the interval of both."""
    split = split or scores.headline_split(results)
    final = scores.seed_scores(scores.metric_scores(results, split=split))
    spent = tables.last_costs(results)
    if axis not in spent or final.empty:
        return []
    both = final.merge(spent[["run", axis]].assign(run=spent["run"].astype(str)), on="run")
    parts = []
    for task, runs in both[both[axis].notna()].groupby("task", observed=True):
        rows = []
        for method, own in runs.groupby("method", observed=True):
            x, y = stats.seed_interval(own[axis]), stats.seed_interval(own["score"])
            rows.append({
                "method": str(method), "x": x.mean, "x_low": x.low, "x_high": x.high,
                "value": y.mean, "low": y.low, "high": y.high, "n": len(own),
            })  # fmt: skip
        name, metric = _name(results, f"cost-{axis}", task), _metric(results, task)
        if max(row["x"] for row in rows) > 0:
            parts.append(plots.cost(pd.DataFrame(rows), axis, name=name, metric=metric))
    return parts


FIGURES: dict[str, Callable[..., list[Plot]]] = {
    "forest": forest,
    **{f"convergence-{axis}": partial(convergence, axis=axis) for axis in BUDGET_AXES},
    **{f"cost-{axis}": partial(cost, axis=axis) for axis in BUDGET_AXES},
}


def _points(points: pd.DataFrame, axis: str) -> pd.DataFrame:
    kept = points[["method", "seed", axis, "score"]]
    return kept.rename(columns={axis: "x", "score": "value"}).astype({"method": "str"})


def _several(results: Results) -> bool:
    return results.runs["task"].nunique() > 1


def _name(results: Results, stem: str, task: object) -> str:
    """The stem of the files; the task is in it where there are several."""
    return f"{stem}-{re.sub(r'[^A-Za-z0-9]+', '-', str(task))}" if _several(results) else stem


def _metric(results: Results, task: object) -> str:
    return f"{task} accuracy" if _several(results) else "accuracy"
