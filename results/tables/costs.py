"""What a result costs: at equal cost, to a threshold, in total."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .. import curves, scores, stats
from ..records import BUDGET_AXES
from ..render import Column, Table, si
from .parts import axis_word, label_columns, last_costs, machine_note

if TYPE_CHECKING:
    from ..runs import Results


def efficiency_table(results: Results, axis: str | None = None, split: str | None = None) -> Table:
    """Area under the curve and cost to the thresholds, right-censored at the common budget."""
    axis = axis or curves.budget_axis(results)
    results = results.by_machine if axis == "seconds" else results
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
        *label_columns(results),
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
    return Table(f"efficiency-{axis}", title, frame, columns, notes=tuple(notes))


def axes_table(results: Results, split: str | None = None) -> Table:
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
    columns = [*label_columns(results)]
    for axis in axes:
        columns.append(Column(f"{axis}_mean", f"{axis_word(axis)} %", "percent", f"{axis}_half"))
        columns.append(Column(f"{axis}_rank", "rank", "count"))
    notes = [
        "Accuracy at the largest cost that all finished runs reached on that axis, on the questions"
        " of every evaluation; ± over seeds."
    ]
    flips = _flips(long)
    notes.append(f"The ranking differs between axes: {flips}." if flips else "All axes rank alike.")
    notes = [*notes, *machine_note(results)] if axes else []
    return Table("axes", "Accuracy at equal cost", frame, tuple(columns), notes=tuple(notes))


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


def cost_table(results: Results) -> Table:
    """What a run cost in the end, every entry of the ledger, mean over seeds."""
    costs = last_costs(results)
    entries = [c for c in costs if c not in (*scores.GROUP, "suite", "step")]
    frame = costs.groupby(["task", "method"], observed=True)[entries].mean().reset_index()
    shown = [c for c in entries if (frame[c] > 0).any()]
    columns = [*label_columns(results)]
    for c in shown:
        kind = "number" if "seconds" in c else "si"
        columns.append(Column(c, c.replace("_", " "), kind, wide=True))
    notes = ["Means over the runs that count; evaluation, storing, recomputing are in no total."]
    return Table(
        "costs", "What a run costs", frame, tuple(columns), notes=(*notes, *machine_note(results))
    )
