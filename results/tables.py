"""The tables of a report. Each function takes loaded runs and gives one Table.

A table never crashes for want of data: what cannot be said is a dash, and a note says why.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import compare, curves, papers, scores, stats
from .records import BUDGET_AXES
from .render import Cell, Column, Kind, Table, si
from .stats import ALPHA

if TYPE_CHECKING:
    from .runs import Runs

__all__ = ["TABLES", "Cell", "Column", "Table", "main_table"]

COSTS: dict[str, tuple[Kind, str]] = {
    "samples": ("si", "responses generated or reference answers consumed"),
    "tokens": ("si", "tokens generated and trained"),
    "flops": ("si", "algorithmic, without evaluation"),
    "seconds": ("number", "without evaluation and storing"),
}


def main_table(
    results: Runs,
    split: str | None = None,
    control: str | None = None,
    delta: float | None = None,
    alpha: float = ALPHA,
) -> Table:
    """A row per task and method, best first: avg@K, greedy, area under the curve, cost, and the
    difference to the control with its minimum detectable effect and verdict."""
    split = split or scores.headline_split(results)
    control = control or results.control
    delta = results.margin if delta is None else delta
    metric = scores.headline_metric(results)
    main = scores.metric_scores(results, metric, split)
    greedy = scores.seed_scores(scores.metric_scores(results, "greedy", split))
    area = curves.efficiency(results, split=split)
    costs = last_costs(results)
    pairs = compare.against(results.methods, control) if control else []
    made = compare.family(results, pairs, metric, split, delta=delta, alpha=alpha)
    versus = {(c.task, c.a): c for c in made}
    rows, best = [], {}
    for task in _tasks(results):
        best[task] = compare.best_group(results, metric, split, task, alpha=alpha)
        for method in results.methods:
            x = scores.matrix(main, method, task)
            runs = results.runs[(results.runs["task"] == task) & (results.runs["method"] == method)]
            if runs.empty:
                continue
            accuracy = stats.seed_interval(x.mean(axis=1), alpha)
            wide = stats.two_way_interval(x.dropna(axis=1).to_numpy(), alpha)
            seen = x.notna().sum(axis=1)
            plain = stats.seed_interval(_of(greedy, task, method)["score"], alpha)
            auc = stats.seed_interval(_of(area, task, method)["auc"], alpha)
            spent = _of(costs, task, method)[[*COSTS]].mean()
            row = {
                "task": task, "method": method, "accuracy": accuracy.mean, "half": accuracy.half,
                "low": accuracy.low, "high": accuracy.high, "wide_low": wide.low,
                "wide_high": wide.high, "best": method in best[task][1],
                "greedy": plain.mean, "greedy_half": plain.half, "auc": auc.mean,
                "auc_half": auc.half, **spent, "seeds": len(x),
                "questions": int(seen.max()) if len(x) else 0,
                "questions_least": int(seen.min()) if len(x) else 0,
                "diverged": int((runs["status"] == "diverged").sum()),
                "unfinished": int((runs["status"] == "unfinished").sum()),
            }  # fmt: skip
            c = versus.get((task, method))
            row |= {
                "difference": c.difference.estimate if c else None,
                "difference_half": (c.difference.high - c.difference.low) / 2 if c else None,
                "p": c.difference.p if c else None, "p_holm": c.p_holm if c else None,
                "p_equivalent_holm": c.p_equivalent_holm if c else None,
                "mde": c.difference.mde if c else None,
                "verdict": c.verdict if c else "control" if method == control else None,
            }  # fmt: skip
            rows.append(row)
    frame = pd.DataFrame(rows, columns=None if rows else ["task", "method", *_MAIN])
    frame = frame.sort_values(["task", "accuracy"], ascending=[True, False], ignore_index=True)
    k = _samples(main)
    sampled = Column(
        "accuracy", f"avg@{k} %", "percent", "half", "best", "mean over sampled answers"
    )
    one = Column("greedy", "greedy %", "percent", "greedy_half", "", "one greedy answer a question")
    accuracies = (sampled, one) if metric == "avg" else (replace(one, bold="best"),)
    columns = (
        *_task_column(results),
        Column("method", "Method"),
        *accuracies,
        Column("auc", "AUC %", "percent", "auc_half", about="mean accuracy over the common budget",
               wide=True),
        *_cost_columns(),
        Column("difference", f"vs {control}", "points", "difference_half", "", "points"),
        Column("mde", "MDE", "percent", "", "", "smallest difference found with power 0.8, points"),
        Column("verdict", "verdict"),
    )  # fmt: skip
    notes = [
        *_footnote(results, frame, split, metric, k, alpha),
        *_bold_note(best),
        *_verdict_note(control, made, delta),
        *_start_note(results, split),
        *run_notes(results),
    ]
    return Table("main", f"Accuracy on {split}", frame, columns, tuple(notes))


def _cost_columns() -> list[Column]:
    return [
        Column(c, axis_word(c), kind, about=about, wide=True) for c, (kind, about) in COSTS.items()
    ]


def axis_word(axis: str) -> str:
    """As a reader knows it."""
    return "FLOPs" if axis == "flops" else axis


_MAIN = (
    "accuracy", "half", "low", "high", "wide_low", "wide_high", "best", "greedy", "greedy_half",
    "auc", "auc_half", *COSTS, "seeds", "questions", "questions_least", "diverged", "unfinished",
    "difference", "difference_half", "p", "p_holm", "p_equivalent_holm", "mde", "verdict",
)  # fmt: skip


def comparison_table(
    results: Runs, split: str | None = None, metric: str | None = None,
    control: str | None = None, pairs: list[tuple[str, str]] | None = None,
    delta: float | None = None,
) -> Table:  # fmt: skip
    """Each comparison with both intervals, raw and adjusted p, MDE and verdict; by default of every
    method with the control."""
    control = control or results.control
    if pairs is None:
        pairs = compare.against(results.methods, control) if control else []
    delta = results.margin if delta is None else delta
    metric = metric or scores.headline_metric(results)
    made = compare.family(results, pairs, metric, split, delta=delta)
    columns = (
        *_task_column(results),
        Column("a", "a"),
        Column("b", "b"),
        Column("difference", "a − b", "points", "half", "", "over seeds, these questions"),
        Column("wide_half", "±, new questions", "percent", "", "", "over seeds and questions"),
        Column("p", "p", "p", wide=True),
        Column("p_holm", "p (Holm)", "p"),
        Column("p_equivalent_holm", "p equivalent", "p", about="TOST, Holm", wide=True),
        Column("mde", "MDE", "percent"),
        Column("verdict", "verdict"),
        Column("design", "t test", wide=True),
        Column("seeds_a", "S", "count", wide=True),
    )
    notes = _verdict_note(None, made, delta)
    for note in dict.fromkeys(c.note for c in made if c.note):
        which = [f"{c.a} vs {c.b}" for c in made if c.note == note]
        notes.append(f"{', '.join(which)}: {note}.")
    title = f"Differences in {metric}, points"
    return Table("comparisons", title, compare.table(made), columns, tuple(notes))


def pass_table(results: Runs, split: str | None = None) -> Table:
    """pass@k for k = 1, 2, 4, ... up to K, maj@K, all from the sampled answers of the last
    evaluation."""
    split = split or scores.headline_split(results)
    frame = scores.question_scores(results, split)
    k_max = int(frame["samples"].max()) if len(frame) else 0
    ks = [k for k in (2**i for i in range(12)) if k < k_max] + ([k_max] if k_max else [])
    by_metric = {f"pass@{k}": scores.seed_scores(scores.pass_scores(frame, k)) for k in ks}
    if k_max > 1:
        by_metric[f"maj@{k_max}"] = scores.seed_scores(scores.majority_scores(results, split))
    return _seed_table(
        results, "passk", f"pass@k on {split}", by_metric,
        (f"pass@k is unbiased from K = {k_max} samples a question, temperature and decoding as"
         " evaluated; ± over seeds.",),
    )  # fmt: skip


def selection_table(results: Runs, split: str | None = None) -> Table:
    """Last, selected (best on validation) and oracle-best evaluation, apart."""
    split = split or scores.headline_split(results)
    validated = "validation" in results.tally.splits
    kinds: tuple[scores.At, ...] = (
        ("last", "selected", "oracle") if validated else ("last", "oracle")
    )
    decoding = scores.decoding_of(scores.headline_metric(results))
    chosen = {
        kind: scores.question_scores(results, split, decoding, at=kind, common=True)
        for kind in kinds
    }
    by_kind = {kind: scores.seed_scores(frame) for kind, frame in chosen.items()}
    count = chosen["last"]["question_id"].nunique()
    notes = [
        f"On the {count} questions of every evaluation.",
        "oracle: the evaluation that is best on this very split; an upper bound, never a result.",
    ]
    if not validated:
        notes.append("No validation split was evaluated, so none could be selected on it.")
    return _seed_table(
        results, "selection", f"Which evaluation counts, {split}", by_kind, tuple(notes)
    )


def generalisation_table(results: Runs, split: str | None = None) -> Table:
    """Gap of each other split to the headline split, same checker, paired by seed."""
    split = split or scores.headline_split(results)
    others = sorted(results.tally.splits - {split})
    base = scores.seed_scores(scores.metric_scores(results, None, split))
    gaps = {split: base}
    notes = [
        "Differences of accuracy in points, paired by seed; ± over seeds. train − test above 0 is"
        " overfitting."
    ]
    for other in others:
        there = scores.seed_scores(scores.metric_scores(results, None, other))
        both = there.merge(base, on=scores.GROUP, suffixes=("", "_base"))
        gaps[f"{other} − {split}"] = both.assign(score=both["score"] - both["score_base"])
        missing = {
            f"{r.method} s{r.seed}" for r in base.itertuples() if r.run not in set(there["run"])
        }
        if missing:  # it ended before the evaluation that has this split
            notes.append(f"Not evaluated on {other}: {', '.join(sorted(missing))}.")
    signed = tuple(k for k in gaps if k != split)
    return _seed_table(results, "generalisation", "Generalisation", gaps, tuple(notes), signed)


def efficiency_table(results: Runs, axis: str | None = None, split: str | None = None) -> Table:
    """Area under the curve and cost to the thresholds, right-censored at the common budget."""
    axis = axis or curves.budget_axis(results)
    runs = curves.efficiency(results, axis, split)
    rows = []
    for (task, method), group in runs.groupby(["task", "method"], observed=True):
        auc = stats.seed_interval(group["auc"])
        row = {"task": task, "method": method, "auc": auc.mean, "auc_half": auc.half}
        for name in ("50", "90"):
            level, until = group[f"threshold_{name}"].iloc[0], group["until"].iloc[0]
            cost, reached = group[f"cost_{name}"], group[f"reached_{name}"].astype(bool)
            known = level == level
            row[f"threshold_{name}"] = level
            row[f"cost_{name}"] = stats.restricted_mean(cost, reached, until) if known else None
            row[f"reached_{name}"] = reached.mean() if known else None
        rows.append(row)
    keys = ["task", "method", "auc", "auc_half"]
    keys += [f"{n}_{s}" for s in ("50", "90") for n in ("threshold", "cost", "reached")]
    frame = pd.DataFrame(rows, columns=keys)
    kind = "number" if axis in ("updates", "seconds") else "si"
    columns = (
        *_task_column(results),
        Column("method", "Method"),
        Column("auc", "AUC %", "percent", "auc_half"),
        Column("cost_50", f"{axis_word(axis)} to 50 %", kind),
        Column("reached_50", "reached %", "percent"),
        Column("cost_90", f"{axis_word(axis)} to 90 %", kind),
        Column("reached_90", "reached %", "percent"),
    )
    notes = [
        "On the questions of every evaluation. AUC: mean accuracy up to the largest cost that all"
        " finished runs reached. Thresholds: start + 50 % and + 90 % of the best method's gain."
        " Cost: restricted mean over seeds, a run that never gets there counts with the whole"
        " budget (right-censored)."
    ]
    for task, group in runs.groupby("task", observed=True):
        levels = [f"{100 * group[f'threshold_{n}'].iloc[0]:.1f} %" for n in ("50", "90")]
        if "nan %" in levels:
            notes.append(f"{task}: no method improved on the start, so there are no thresholds.")
        else:
            until = group["until"].iloc[0]
            common = f"{axis_word(axis)} up to {si(until)}"
            notes.append(f"{task}: thresholds {levels[0]} and {levels[1]}, {common}.")
    title = f"Efficiency in {axis_word(axis)}"
    return Table(f"efficiency-{axis}", title, frame, columns, tuple(notes))


def axes_table(results: Runs, split: str | None = None) -> Table:
    """Accuracy and rank at equal cost on every axis of the ledger."""
    long = curves.at_common_cost(results, split)
    frame = pd.DataFrame({"task": [], "method": []})
    axes = [a for a in BUDGET_AXES if a in set(long["axis"])]
    if axes:
        wide = long.assign(half=(long["high"] - long["low"]) / 2).pivot_table(
            index=["task", "method"], columns="axis", values=["mean", "half", "rank"],
            observed=True, dropna=False,
        )  # fmt: skip
        wide = wide.dropna(how="all")
        wide.columns = [f"{axis}_{what}" for what, axis in wide.columns]
        frame = wide.reset_index()
        for axis in axes:
            for what in ("mean", "half", "rank"):  # pivot_table leaves out what is NaN throughout
                frame[f"{axis}_{what}"] = frame.get(f"{axis}_{what}", np.nan)
    columns = [*_task_column(results), Column("method", "Method")]
    for axis in axes:
        columns.append(Column(f"{axis}_mean", f"{axis_word(axis)} %", "percent", f"{axis}_half"))
        columns.append(Column(f"{axis}_rank", "rank", "count"))
    notes = [
        "Accuracy at the largest cost that all finished runs reached on that axis, on the questions"
        " of every evaluation; ± over seeds."
    ]
    flips = _flips(long)
    notes.append(f"The ranking differs between axes: {flips}." if flips else "All axes rank alike.")
    return Table(
        "axes", "Accuracy at equal cost", frame, tuple(columns), tuple(notes if axes else ())
    )


def _flips(long: pd.DataFrame) -> str:
    """Which axes rank the methods how, where they do not all agree."""
    parts = []
    for task, group in long.groupby("task", observed=True):
        by_order: dict[str, list[str]] = {}
        for axis, at in group.groupby("axis", sort=False):
            order = " > ".join(map(str, at.sort_values("rank")["method"]))
            by_order.setdefault(order, []).append(axis_word(str(axis)))
        if len(by_order) > 1:
            orders = "; ".join(f"{', '.join(axes)}: {order}" for order, axes in by_order.items())
            parts.append(f"{task}: {orders}" if long["task"].nunique() > 1 else orders)
    return "; ".join(parts)


def cost_table(results: Runs) -> Table:
    """What a run cost in the end, every entry of the ledger, mean over seeds."""
    costs = last_costs(results)
    entries = [c for c in costs if c not in (*scores.GROUP, "suite", "step")]
    frame = costs.groupby(["task", "method"], observed=True)[entries].mean().reset_index()
    shown = [c for c in entries if (frame[c] > 0).any()]
    columns = [*_task_column(results), Column("method", "Method")]
    columns += [
        Column(c, c.replace("_", " "), "number" if "seconds" in c else "si", wide=True)
        for c in shown
    ]
    note = "Means over the runs that count; evaluation, storing, recomputing are in no total."
    return Table("costs", "What a run costs", frame, tuple(columns), (note,))


def variance_table(results: Runs, split: str | None = None) -> Table:
    """Where the variance of one sampled answer comes from."""
    split = split or scores.headline_split(results)
    parts = ("seed", "question", "decoding", "residual")
    rows = []
    for task in _tasks(results):
        for method in results.methods:
            cube = scores.sample_cube(results, method, split, task)
            row: dict[str, object] = {"task": task, "method": method, "seeds": cube.shape[0]}
            if cube.shape[0] > 1 and cube.shape[1] > 1:
                found = np.array(stats.variance_components(cube))
                row["total"] = total = np.nansum(found)
                row |= dict(zip(parts, found / (total or np.nan), strict=True))
            rows.append(row)
    frame = pd.DataFrame(rows, columns=["task", "method", "seeds", *parts, "total"])
    columns = (
        *_task_column(results),
        Column("method", "Method"),
        *(Column(p, f"{p} %", "percent") for p in parts),
    )
    note = "Shares of the variance of one sampled answer's score; residual: seed × question."
    return Table("variance", f"Where the variance comes from, {split}", frame, columns, (note,))


def drift_table(results: Runs, split: str | None = None) -> Table:
    """What else changed between the first and the last evaluation: length, truncation, format; and
    KL, entropy and an engine's drift at the end of training where the runs log them."""
    split = split or scores.headline_split(results)
    kept = [c for c in ("tokens", "finished", "format_ok") if c in results.tally.columns]
    decoding = scores.decoding_of(scores.headline_metric(results))
    answers = scores.end_rows(results, split, decoding)
    by_step = answers.groupby([*scores.GROUP, "step"], observed=True)[kept].mean().reset_index()
    ends = by_step.sort_values("step").groupby(scores.GROUP, observed=True)
    first = ends.first().groupby(["task", "method"], observed=True)[kept].mean()
    last = ends.last().groupby(["task", "method"], observed=True)[kept].mean()
    frame = first.add_suffix("_start").join(last.add_suffix("_end"))
    monitors = [
        c for c in results.steps if c == "entropy" or c.endswith("kl") or c.startswith("sampler_")
    ]
    logged = results.steps.sort_values("step").groupby(scores.GROUP, observed=True)[monitors]
    for suffix, rows in (("_start", logged.first()), ("_end", logged.last())) if monitors else ():
        by_method = rows.groupby(["task", "method"], observed=True).mean()
        frame = frame.join(by_method.add_suffix(suffix))
    columns = [*_task_column(results), Column("method", "Method")]
    for column in kept:
        kind = "number" if column == "tokens" else "percent"
        label = {"tokens": "length", "finished": "ended %", "format_ok": "format %"}[column]
        columns.append(Column(f"{column}_start", f"{label}, start", kind))
        columns.append(Column(f"{column}_end", "end", kind))
    for m in monitors:
        columns.append(
            Column(f"{m}_start", f"{m.replace('_', ' ').replace('kl', 'KL')}, start", "number")
        )
        columns.append(Column(f"{m}_end", "end", "number"))
    note = (
        f"The {decoding} answers of the first and the last evaluation, to the questions of all;"
        + " KL, entropy and drift as logged at the first and the last update." * bool(monitors)
    )
    return Table(
        "drift", f"What else changed, {split}", frame.reset_index(), tuple(columns), (note,)
    )


def checker_table(results: Runs, split: str | None = None) -> Table:
    """The same answers under the headline reading and under the task's official protocol."""
    split = split or scores.headline_split(results)
    readings: dict[str, scores.Reading] = {"headline": "correct", "official": "strict"}
    by_reading = {
        name: scores.seed_scores(scores.metric_scores(results, None, split, reading))
        for name, reading in readings.items() if reading in results.tally.columns
    }  # fmt: skip
    notes = ["The same sampled answers under two readings of the checker; ± over seeds."]
    means: list[Any] = [
        one.groupby(["task", "method"], observed=True)["score"].mean().mul(100).to_dict()
        for one in by_reading.values()
    ]
    if len(means) == 2 and len(results.methods) > 1:
        m, n = means
        turned = [
            f"{a[1]} and {b[1]} ({m[a] - m[b]:+.2f} and {n[a] - n[b]:+.2f} points)"
            for a, b in itertools.combinations(sorted(m, key=m.get, reverse=True), 2)
            if a[0] == b[0] and (m[a] - m[b]) * (n[a] - n[b]) < 0
        ]
        alike = "Both rank the methods alike."
        notes.append(f"They rank differently: {', '.join(turned)}." if turned else alike)
    return _seed_table(results, "checker", f"Two readings, {split}", by_reading, tuple(notes))


def win_table(results: Runs, split: str | None = None) -> Table:
    """Probability that a run of the row's method beats a run of the column's."""
    split = split or scores.headline_split(results)
    by_seed = scores.seed_scores(scores.metric_scores(results, None, split))
    methods = [m for m in results.methods if m in set(by_seed["method"].astype("str"))]
    per_task = {
        m: [_of(by_seed, t, m)["score"].to_numpy() for t in _tasks(results)] for m in methods
    }
    rows = []
    for a in methods:
        row: dict[str, object] = {"method": a}
        for b in methods:
            pairs = [
                (x, y) for x, y in zip(per_task[a], per_task[b], strict=True) if len(x) and len(y)
            ]
            if a != b and pairs:
                found = stats.probability_of_improvement(
                    [x for x, _ in pairs], [y for _, y in pairs]
                )
                row |= {b: found.mean, f"{b}_low": found.low, f"{b}_high": found.high}
                row[f"{b}_shown"] = f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
        rows.append(row)
    keys = [f"{b}{s}" for b in methods for s in ("", "_low", "_high", "_shown")]
    frame = pd.DataFrame(rows, columns=["method", *keys])
    columns = (Column("method", "P(row > column)"), *(Column(f"{b}_shown", b) for b in methods))
    note = "Over pairs of runs, ties half, mean over tasks; 95 % intervals over seeds."
    return Table("wins", f"Probability of improvement, {split}", frame, columns, (note,))


def aggregate_table(results: Runs, split: str | None = None) -> Table:
    """IQM, median, mean and optimality gap over tasks and seeds, stratified bootstrap."""
    split = split or scores.headline_split(results)
    by_seed = scores.seed_scores(scores.metric_scores(results, None, split))
    rows, fewest = [], []
    for method in results.methods:
        groups = [_of(by_seed, task, method)["score"].to_numpy() for task in _tasks(results)]
        groups = [g for g in groups if len(g)]
        row: dict[str, object] = {"method": method, "tasks": len(groups)}
        if groups:
            fewest.append(min(len(g) for g in groups))
            for name, found in stats.aggregate(groups).items():
                row |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
                row[f"{name}_half"] = found.half
        rows.append(row)
    parts = [f"{n}{s}" for n in stats.AGGREGATES for s in ("", "_half", "_low", "_high")]
    frame = pd.DataFrame(rows, columns=["method", "tasks", *parts])
    shown = {"iqm": "IQM", "median": "median", "mean": "mean", "optimality_gap": "optimality gap"}
    columns = (
        Column("method", "Method"),
        Column("tasks", "tasks", "count"),
        *(Column(n, f"{label} %", "percent", f"{n}_half") for n, label in shown.items()),
    )
    notes = ["Over task × seed cells; ± half a 95 % stratified bootstrap interval."]
    if fewest and min(fewest) < 10:
        notes.append(
            f"Secondary: with {min(fewest)} seeds a bootstrap interval is too narrow (nominal 95 %"
            " covers about 75 % at 3 seeds, 84 % at 5, 90 % at 10)."
        )
    return Table("aggregate", f"Over all tasks, {split}", frame, columns, tuple(notes))


def tuning_table(trials: pd.DataFrame) -> Table:
    """Expected best validation score against the number of tuning trials.

    Args:
        trials: a row per trial: method, score (validation, a share of 1), and what was searched.
    """
    curves_by_method = {
        str(m): stats.expected_best(t["score"]) for m, t in trials.groupby("method", observed=True)
    }
    most = max((len(c) for c in curves_by_method.values()), default=0)
    rows = [
        {"method": m, "trials": len(c)} | {f"best_{n + 1}": c[n] for n in range(len(c))}
        for m, c in curves_by_method.items()
    ]
    keys = [f"best_{n}" for n in range(1, most + 1)]
    frame = pd.DataFrame(rows, columns=["method", "trials", *keys])
    columns = (
        Column("method", "Method"),
        Column("trials", "trials", "count"),
        *(Column(k, k.removeprefix("best_"), "percent") for k in keys),
    )
    notes = ["Mean over all subsets of the trials (unbiased), validation score in %."]
    if "lr" in trials:
        grids = {
            str(m): ", ".join(f"{lr:g}" for lr in sorted(t["lr"].unique()))
            for m, t in trials.groupby("method", observed=True)
        }
        same = len({*grids.values()}) == 1
        space = [*grids.values()][:1] if same else [f"{m} {grid}" for m, grid in grids.items()]
        notes.append(f"Search space: learning rate {'; '.join(space)}{', of all' * same}.")
    if frame["trials"].nunique() > 1:
        notes.append("The methods had unequal numbers of trials: compare at equal numbers alone.")
    title = "Expected best score against tuning trials"
    return Table("tuning", title, frame, columns, tuple(notes))


def failures_table(results: Runs) -> Table:
    """Runs that diverged, are unfinished, or could not be read whole."""
    runs = results.runs[results.runs["status"] != "finished"]
    listed = runs[["run", "method", "seed", "status", "last_step", "reason"]].astype(object)
    written = results.steps.groupby("run", observed=True)["step"].max()
    listed["last_step"] = listed["last_step"].fillna(listed["run"].map(written))
    known = {str(r) for r in runs["run"]}
    rest = [
        {"run": p.run, "status": "problem", "reason": p.what}
        for p in results.problems
        if not (p.run in known and p.what.startswith(("diverged", "unfinished")))
    ]
    frame = pd.concat([listed, pd.DataFrame(rest, columns=listed.columns)], ignore_index=True)
    columns = (
        Column("run", "run"), Column("status", "status"),
        Column("last_step", "updates", "count"), Column("reason", "what happened"),
    )  # fmt: skip
    notes = [
        "Diverged runs count with their last evaluation; unfinished ones are not counted."
        if len(frame) else "Every run finished."
    ]  # fmt: skip
    return Table("failures", "Failures", frame, columns, tuple(notes))


def published_table(results: Runs, *files: str | Path) -> Table:
    """Published numbers of the methods that were run, beside what the runs measured."""
    frame = papers.beside(results, *files)
    place = frame["table"].where(frame["table"] == "", frame["table"] + ": ") + frame["column"]
    frame = frame.assign(half=(frame["high"] - frame["low"]) / 2, place=place)
    columns = (
        Column("row", "Published row"),
        Column("place", "table: column"),
        Column("paper", "paper", wide=True),
        Column("value", "value", "plain", "uncertainty"),
        Column("method", "measured: method"),
        *_task_column(results),
        Column("measured", "accuracy %", "percent", "half"),
    )
    notes = [
        "Published numbers have another model, data and protocol: for orientation, no comparison."
        if len(frame) else "No published number names one of these methods."
    ]  # fmt: skip
    return Table("published", "Published and measured", frame, columns, tuple(notes))


def grao_audit_table() -> Table:
    """GRAO's headline, recomputed from its printed tables."""
    columns = (
        Column("baseline", "over"),
        Column("abstract", "abstract %", "plain"),
        Column("printed", "from the tables %", "plain"),
        Column("swapped", "PPO and GRPO swapped %", "plain"),
    )
    note = (
        "Mean relative gain in RAS over two models and two data sets; swapped: with the rows of PPO"
        " and GRPO exchanged for Moonlight on harmless-base."
    )
    frame = papers.grao_headline()
    return Table("grao-headline", "GRAO's relative improvements", frame, columns, (note,))


TABLES: dict[str, Callable[..., Table]] = {
    "main": main_table,
    "comparisons": comparison_table,
    "passk": pass_table,
    "selection": selection_table,
    "generalisation": generalisation_table,
    **{f"efficiency-{axis}": partial(efficiency_table, axis=axis) for axis in BUDGET_AXES},
    "axes": axes_table,
    "costs": cost_table,
    "variance": variance_table,
    "drift": drift_table,
    "checker": checker_table,
    "wins": win_table,
    "aggregate": aggregate_table,
    "failures": failures_table,
}


def last_costs(results: Runs) -> pd.DataFrame:
    """The last row of the ledger of each run that counts, with zeros where the ledger lacks a
    cost."""
    ledger = results.ledger[results.ledger["run"].isin(scores.counted(results)["run"])]
    last = ledger.sort_values("step").drop_duplicates("run", keep="last")
    return last.reindex(columns=[*last.columns, *(c for c in COSTS if c not in last)])


def _tasks(results: Runs) -> list[str]:
    return sorted({str(t) for t in results.runs["task"]})


def _of(frame: pd.DataFrame, task: str, method: str) -> pd.DataFrame:
    return frame[(frame["task"] == task) & (frame["method"] == method)]


def _task_column(results: Runs) -> tuple[Column, ...]:
    return (Column("task", "Task"),) if len(_tasks(results)) > 1 else ()


def _samples(frame: pd.DataFrame) -> int | str:
    return int(frame["samples"].max()) if len(frame) else "K"


def _seed_table(
    results: Runs, name: str, title: str, by_metric: dict[str, pd.DataFrame],
    notes: tuple[str, ...], signed: tuple[str, ...] = (),
) -> Table:  # fmt: skip
    """A column per metric, each the mean over seeds with its t interval."""
    rows = []
    for task in _tasks(results):
        for method in results.methods:
            row: dict[str, object] = {"task": task, "method": method}
            for metric, frame in by_metric.items():
                found = stats.seed_interval(_of(frame, task, method)["score"])
                row |= {metric: found.mean, f"{metric} half": found.half}
                row |= {f"{metric} low": found.low, f"{metric} high": found.high}
                row["seeds"] = len(_of(frame, task, method))
            rows.append(row)
    columns = (
        *_task_column(results),
        Column("method", "Method"),
        *(
            Column(m, f"{m} %" if m not in signed else m, "points" if m in signed else "percent",
                   f"{m} half")
            for m in by_metric
        ),
    )  # fmt: skip
    keys = ["task", "method", *(f"{m}{s}" for m in by_metric for s in ("", " half"))]
    return Table(name, title, pd.DataFrame(rows, columns=None if rows else keys), columns, notes)


def _footnote(
    results: Runs, frame: pd.DataFrame, split: str, metric: str, k: int | str, alpha: float
) -> list[str]:
    """S, n, K, kind of interval, decoding, checker version, data hash."""
    runs = scores.counted(results)
    if runs.empty:
        return ["No finished run yet: nothing can be said about accuracy."]
    level = f"{100 * (1 - alpha):g} %"
    seeds = _range(frame.loc[frame["seeds"] > 0, "seeds"])
    there = frame[frame["seeds"] > 0]
    questions = _range(pd.concat([there["questions_least"], there["questions"]]))
    answers = f"K = {k} samples each" if metric == "avg" else "one greedy answer each"
    size = f"S = {seeds} seeds, n = {questions} questions of {split}, {answers}"
    notes = [f"{size}."]
    if (frame["seeds"] > 1).any():
        notes = [
            f"± half a {level} Student-t interval over seeds, questions fixed ({size}); the CSV"
            " holds the interval for new questions too."
        ]
    alone = frame.loc[frame["seeds"] == 1, ["task", "method"]]
    if len(alone):
        halves = [_checkpoint_half(results, split, *pair) for pair in alone.itertuples(index=False)]
        notes.append(
            f"One seed of {', '.join(dict.fromkeys(alone['method']))}: how much another seed would"
            " differ is unknown, so there is no interval, test or verdict. For these checkpoints"
            f" the questions alone leave up to ±{100 * max(halves):.1f} points."
        )
    checker = ", ".join(sorted({str(g) for g in runs["grader"].dropna()})) or "unknown"
    data = ", ".join(sorted({str(d) for d in runs["data"].dropna()}))
    notes.append(f"Decoding: {_decoding(runs)}. Checker version {checker}; data {data}.")
    return notes


def _checkpoint_half(results: Runs, split: str, task: str, method: str) -> float:
    cube = scores.sample_cube(results, method, split, task)
    return stats.question_interval(cube[0]).half if cube.size else float("nan")


def _range(values: pd.Series) -> str:
    if values.empty:
        return "0"
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"


def _decoding(runs: pd.DataFrame) -> str:
    """Sampling temperature and top-p of the evaluation, where the runs' configs give them."""
    found = set()
    for config in runs["config"]:
        settings = config.get("eval") or {}
        parts = [f"{k} {settings[k]}" for k in ("temperature", "top_p", "top_k") if k in settings]
        found.add(", ".join(parts))
    settings = "; ".join(sorted(f for f in found if f))
    return f"sampled ({settings}) and greedy, apart" if settings else "sampled and greedy, apart"


def _bold_note(best: dict[str, tuple[str | None, set[str]]]) -> list[str]:
    if any(group for _, group in best.values()):
        return ["Bold: not significantly below the best (t test against the best, Holm)."]
    return ["Nothing is bold: no method can be tested against the best."] if best else []


def _verdict_note(control: str | None, made: list[compare.Comparison], delta: float) -> list[str]:
    tested = [c for c in made if c.difference.p == c.difference.p]
    if not tested:
        return ["No comparison could be tested."] if made else []
    with_t = [c for c in tested if c.difference.low == c.difference.low]
    kinds = sorted({"paired t" if c.difference.design == "paired" else "Welch's t" for c in with_t})
    kinds = kinds or ["no t test, since nothing differs,"]
    against = f" with {control}" if control else ""
    family = f"Holm over {len(tested)} comparisons" if len(tested) > 1 else "one comparison"
    return [
        f"Verdicts: {' or '.join(kinds)} over seeds, {family}{against};"
        f" equivalent means within ±{100 * delta:g} points (TOST); MDE: the difference found with"
        " power 0.8, unadjusted."
    ]


def _start_note(results: Runs, split: str) -> list[str]:
    by_run = scores.run_scores(results, split, scores.decoding_of(scores.headline_metric(results)))
    start = by_run[by_run["step"] == 0]
    if start.empty:
        return []
    means = start.groupby("task", observed=True)["score"].mean()
    values = ", ".join(
        f"{100 * v:.1f} %" + (f" ({t})" if len(means) > 1 else "") for t, v in means.items()
    )
    return [f"Before any update: {values}."]


def run_notes(results: Runs) -> list[str]:
    """Diverged, unfinished and unequal runs in words."""
    runs, notes = results.runs, []
    several = len(_tasks(results)) > 1

    def prefix(task: object) -> str:
        return f"{task} " if several else ""

    def label(run: Any) -> str:
        return f"{prefix(run.task)}{run.method} s{run.seed}"

    for status, what in (
        ("diverged", "Diverged, counted with the last evaluation"),
        ("unfinished", "Unfinished, not counted"),
    ):
        listed = [label(r) for r in runs[runs["status"] == status].itertuples()]
        notes += [f"{what}: {', '.join(listed)}."] if listed else []
    counts = scores.counted(results).groupby(["task", "method"], observed=True).size()
    if counts.nunique() > 1:
        each = ", ".join(f"{prefix(task)}{method} {n}" for (task, method), n in counts.items())
        notes.append(f"Unequal numbers of seeds: {each}.")
    return notes
