"""Results -> figures: each function prepares the numbers that `plots` draws, one Plot a task.

    from reports.figures import FIGURES
    for plot in FIGURES["forest"](results):
        plot.save("figures")

A figure that the data cannot give (nothing finished, one method) is an empty list.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from results import Results, compare, curves, scores, stats, tables
from results.records import BUDGET_AXES

from . import plots
from .lift import lift
from .plots import Plot


def forest(results: Results, split: str | None = None, control: str | None = None) -> list[Plot]:
    """Paired differences of accuracy against the control, best first."""
    control = control or results.control
    pairs = compare.against(results.methods, control) if control else []
    made = compare.table(compare.family(results, pairs, split=split))
    made = made[made["difference"].notna()]
    parts = []
    for task, rows in made.groupby("task"):
        rows = rows.sort_values("difference", ascending=False)
        rows = rows.rename(columns={"a": "method", "difference": "effect"})
        rows["n"] = rows[["seeds_a", "seeds_b"]].min(axis=1)
        delta, words = float(rows["delta"].iloc[0]), _words(results, "forest", task)
        rows = rows[["method", "effect", "low", "high", "mde", "p_holm", "verdict", "n"]]
        parts.append(plots.forest(rows, str(control), delta=delta, **words))
    return parts


def convergence(results: Results, axis: str = "updates", split: str | None = None) -> list[Plot]:
    """Accuracy against one axis of the budget, nothing smoothed."""
    parts = []
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
                **_words(results, f"convergence-{axis}", task),
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
        if max(row["x"] for row in rows) > 0:
            words = _words(results, f"cost-{axis}", task)
            parts.append(plots.cost(pd.DataFrame(rows), axis, **words))
    return parts


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
    trials = tuning_trials(results)
    if trials.empty:
        return []
    rows = [
        {"method": str(method), "trials": n, "value": best}
        for method, own in trials.groupby("method")
        for n, best in enumerate(stats.expected_best(own["score"]), 1)
    ]
    return [plots.tuning(pd.DataFrame(rows))]


def tuning_trials(results: Results) -> pd.DataFrame:
    """The trials.jsonl of a suite's folder, or of the folder SUITE-tune beside it: method, lr,
    seed, score and more; empty where there is none."""
    suites = {Path(p).parent for p in results.runs["path"]}
    files = [f / "trials.jsonl" for s in sorted(suites) for f in (s, s.with_name(f"{s.name}-tune"))]
    logs = [pd.read_json(f, lines=True) for f in dict.fromkeys(files) if f.is_file()]
    empty = pd.DataFrame(columns=["method", "score"])
    return pd.concat(logs, ignore_index=True) if logs else empty


FIGURES: dict[str, Callable[..., list[Plot]]] = {
    "forest": forest,
    **{f"convergence-{axis}": partial(convergence, axis=axis) for axis in BUDGET_AXES},
    **{f"cost-{axis}": partial(cost, axis=axis) for axis in BUDGET_AXES},
    "lift": lift,
    "passk": passk,
    "wins": win_matrix,
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
