"""Results -> figures: each function prepares the numbers that `plots` draws, one Plot a task.

    from reports.figures import FIGURES
    for plot in FIGURES["forest"](results):
        plot.save("figures")

A figure that the data cannot give (nothing finished, one method) is an empty list.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from results import Results, compare, curves, neighbours, scores, stats, tables, trials
from results.neighbours import Dimension
from results.records import BUDGET_AXES

from . import plots
from .lift import lift
from .plots import Plot


def forest(results: Results, split: str | None = None, control: str | None = None) -> list[Plot]:
    """Paired differences of accuracy against the control, best first."""
    control = control or results.control
    pairs = compare.against(results.methods, control) if control else []
    choice = neighbours.primary(results, split=split)
    made = compare.table(compare.family(results, pairs, choice=choice))
    made = made[made["difference"].notna()]
    how = neighbours.words(results, choice)
    parts = []
    for task, rows in made.groupby("task"):
        rows = rows.sort_values("difference", ascending=False)
        rows = rows.rename(columns={"a": "method", "difference": "effect"})
        rows["n"] = rows[["seeds_a", "seeds_b"]].min(axis=1)
        delta, words = float(rows["delta"].iloc[0]), _words(results, "forest", task)
        words["metric"] += f", {how}"
        rows = rows.drop(columns="mde").rename(columns={"mde_adjusted": "mde"})
        rows = rows[["method", "effect", "low", "high", "mde", "p_adjusted", "verdict", "n"]]
        parts.append(plots.forest(rows, str(control), delta=delta, **words))
    return parts


def specifications(results: Results, control: str | None = None) -> list[Plot]:
    """One figure a comparison: its difference in every way to measure it that is no other
    question, sorted, with the matrix of choices."""
    pairs = compare.against(results.methods, control) if control else None
    parts = []
    for c in compare.family(results, pairs):
        if not c.neighbours:
            continue
        first = {"dimension": "primary", "verdict": c.primary}
        rows = [first | _measured(results, c)]
        rows += [
            {"dimension": n.dimension, "verdict": n.verdict} | _measured(results, n)
            for n in c.neighbours
        ]
        name = _name(results, f"specifications-{_slug(c.a)}-{_slug(c.b)}", c.task)
        told = f"depends on the {' and '.join(c.depends_on)}" if c.depends_on else c.verdict
        drawn = plots.specifications(
            pd.DataFrame(rows), (c.a, c.b), delta=c.delta, name=name, verdict=told
        )
        parts.append(drawn)
    return parts


def _measured(results: Results, one: compare.Comparison | compare.Neighbour) -> dict[str, object]:
    """A row of the specification curve: its numbers, and every choice in words."""
    kinds: list[Dimension] = ["decoding", "metric", "checker reading", "checkpoint", "equal cost"]
    words = {kind: neighbours.words(results, one.choice, kind) for kind in kinds}
    numbers = {"difference": one.difference, "low": one.interval.low, "high": one.interval.high}
    return {**numbers, "p_adjusted": one.p_adjusted, **words}


def convergence(results: Results, axis: str = "updates", split: str | None = None) -> list[Plot]:
    """Accuracy against one axis of the budget, nothing smoothed; seconds apart by machine."""
    results = results.by_machine if axis == "seconds" else results
    parts = []
    last = scores.metric_scores(results, split=split)
    for task, points in curves.points(results, split).groupby("task", observed=True):
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
                **_finals(last[last["task"] == task], points),
                **_words(results, f"convergence-{axis}", task),
            )
        )
    return parts


def _finals(last: pd.DataFrame, points: pd.DataFrame) -> dict[str, Any]:
    """The accuracy of the tables, where it is of more questions than the curve, and why."""
    asked = last.groupby("run", observed=True)["question_id"].nunique().max()
    shared = points["questions"].max()
    if asked <= shared:
        return {}
    means = scores.seed_scores(last).groupby("method", observed=True)["score"].mean()
    why = (
        f"Lines: the {shared:.0f} questions of every evaluation. Hollow marks and numbers: all"
        f" {asked} questions after the last update, as in the tables."
    )
    return {"finals": means.rename("value").reset_index().astype({"method": "str"}), "why": why}


def cost(results: Results, axis: str = "flops", split: str | None = None) -> list[Plot]:
    """Final accuracy against what the run cost on one axis, with the interval of both. Nothing
    where all methods cost the same: the forest shows all that there is to see then."""
    results = results.by_machine if axis == "seconds" else results
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
        spent_on = [row["x"] for row in rows]
        if max(spent_on) > 0 and (len(rows) == 1 or max(spent_on) > 1.01 * min(spent_on)):
            words = _words(results, f"cost-{axis}", task)
            parts.append(plots.cost(pd.DataFrame(rows), axis, **words))
    return parts


def variance(results: Results, split: str | None = None) -> list[Plot]:
    """Where the variance of each reported mean comes from."""
    frame = tables.variance_table(results, split).frame
    frame = frame[frame["error"].notna()]
    return [
        plots.variance(rows.drop(columns="task"), name=_name(results, "variance", task))
        for task, rows in frame.groupby("task")
    ]


def passk(results: Results, split: str | None = None) -> list[Plot]:
    """pass@k of the sampled answers of the last evaluation, for k = 1, 2, 4, ... K."""
    split = split or scores.headline_split(results)
    frame = scores.question_scores(results, split)
    most = int(frame["samples"].min()) if len(frame) else 0
    ks = sorted({*(2**i for i in range(12) if 2**i < most), *([most] if most else [])})
    if len(ks) < 2:
        return []
    by_k = [scores.seed_scores(scores.pass_scores(frame, k)).assign(k=k) for k in ks]
    return [
        plots.pass_curves(_intervals(own, ["method", "k"]), name=_name(results, "passk", task))
        for task, own in pd.concat(by_k).groupby("task", observed=True)
    ]


def win_matrix(results: Results, split: str | None = None) -> list[Plot]:
    """Probability of improvement between every two methods, over all tasks."""
    frame = tables.win_table(results, split).frame
    mean = frame[[*frame["method"]]].astype(float).mean(axis=1).dropna()
    frame = frame.loc[mean.sort_values(ascending=False, kind="stable").index]
    frame = frame[["method", *frame["method"]]]
    return [plots.wins(frame)] if len(frame) > 1 else []


def profile(results: Results, split: str | None = None) -> list[Plot]:
    """Performance profiles over all tasks, of the methods that have 15 cells."""
    by_seed = scores.seed_scores(scores.metric_scores(results, split=split))
    levels, parts = np.linspace(0, 1, 101), []
    for method, own in by_seed.groupby("method", observed=True):
        cells = [task["score"] for _, task in own.groupby("task", observed=True)]
        if len(own) >= stats.PROFILE_CELLS:
            above = zip(levels, *stats.performance_profile(cells, levels), strict=True)
            rows = pd.DataFrame(above, columns=["accuracy", "value", "low", "high"])
            parts.append(rows.assign(method=str(method)))
    return [plots.profile(pd.concat(parts, ignore_index=True))] if parts else []


def against_split(results: Results, other: str = "train", split: str | None = None) -> list[Plot]:
    """Accuracy on another split against the headline's, paired by run."""
    split = split or scores.headline_split(results)
    there = results.tally.splits
    if other not in there or other == split:
        return []
    parts = []
    x = scores.seed_scores(scores.metric_scores(results, None, split))
    y = scores.seed_scores(scores.metric_scores(results, None, other))
    for task in sorted({str(t) for t in x["task"]}):
        across, up = (
            _intervals(f[f["task"] == task], ["method"]).set_index("method") for f in (x, y)
        )
        both = across.rename(columns={"value": "x", "low": "x_low", "high": "x_high"}).join(
            up.rename(columns={"value": "y", "low": "y_low", "high": "y_high"}).drop(columns="n")
        )
        if len(both):
            name = _name(results, f"{other}-against-{split}", task)
            parts.append(plots.against(both.reset_index(), split, other, name=name))
    return parts


def loss_shares(results: Results) -> list[Plot]:
    """What share of the loss each of its terms had, of the objectives that log it."""
    steps = results.steps
    names = [c for c in steps if c.startswith("share_")]
    logged = steps[["task", "method", "step", *names]].melt(
        ["task", "method", "step"], names, "term", "value"
    )
    logged = logged[logged["value"].notna()]
    logged["term"] = logged["term"].astype(str).str.removeprefix("share_")
    parts = []
    for (task, method), own in logged.groupby(["task", "method"], observed=True):
        values = own.groupby(["term", "step"], sort=False)["value"]
        points = values.agg(value="mean", low="min", high="max").reset_index()
        name = _name(results, f"loss-shares-{_slug(method)}", task)
        parts.append(plots.shares(points, str(method), name=name))
    return parts


def tuning(results: Results) -> list[Plot]:
    """Expected best validation score against tuning trials, where a log of trials is found."""
    points = trials.expected_best(trials.trials(results))
    return [plots.tuning(points)] if len(points) else []


FIGURES: dict[str, Callable[..., list[Plot]]] = {
    "forest": forest,
    "specifications": specifications,
    **{f"convergence-{axis}": partial(convergence, axis=axis) for axis in BUDGET_AXES},
    **{f"cost-{axis}": partial(cost, axis=axis) for axis in BUDGET_AXES},
    "lift": lift,
    "passk": passk,
    "wins": win_matrix,
    "variance": variance,
    "profile": profile,
    "train": against_split,
    "loss-shares": loss_shares,
    "tuning": tuning,
}


def draw(results: Results, name: str, by: str | None = None) -> list[Plot]:
    """The figures of one name in FIGURES, one a task; empty where the data cannot give it.

    Args:
        by: what questions are grouped by, of the figure `lift`.

    Raises:
        KeyError: no such name; the message lists them.
        ValueError: the figure has no groups of questions, or the runs have none by that field.
    """
    if name not in FIGURES:
        raise KeyError(f"no figure {name!r}; there are {', '.join(FIGURES)}")
    if by is None:
        return FIGURES[name](results)
    if name != "lift":
        raise ValueError(f"figure {name} has no groups of questions: --by is for lift")
    return lift(results, by)


def _intervals(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """by, value, low, high, n: mean score over seeds with its t interval."""
    rows = []
    for key, own in frame.groupby(by, observed=True):
        found = stats.seed_interval(own["score"])
        keys = [part if isinstance(part, int) else str(part) for part in key]
        rows.append([*keys, *found[:3], len(own)])
    return pd.DataFrame(rows, columns=[*by, "value", "low", "high", "n"])


def _points(points: pd.DataFrame, axis: str) -> pd.DataFrame:
    kept = points[["method", "seed", axis, "score"]]
    return kept.rename(columns={axis: "x", "score": "value"}).astype({"method": "str"})


def _words(results: Results, stem: str, task: object) -> dict[str, str]:
    """The stem of the files and the metric; the task is in them where there are several."""
    if results.runs["task"].nunique() > 1:
        return {"name": f"{stem}-{_slug(task)}", "metric": f"{task} accuracy"}
    return {"name": stem, "metric": "accuracy"}


def _name(results: Results, stem: str, task: object) -> str:
    return _words(results, stem, task)["name"]


def _slug(name: object) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", str(name))
