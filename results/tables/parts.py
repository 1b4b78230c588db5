"""What the tables share: rows of a task and method, columns, a table of means over seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .. import scores, stats
from ..render import Column, ColumnKind, Table

if TYPE_CHECKING:
    from ..runs import Results

COSTS: dict[str, tuple[ColumnKind, str]] = {
    "samples": ("si", "responses generated or reference answers consumed"),
    "tokens": ("si", "tokens generated and trained"),
    "flops": ("si", "algorithmic, without evaluation"),
    "seconds": ("number", "without evaluation and storing"),
}


def axis_word(axis: str) -> str:
    """As a reader knows it."""
    return "FLOPs" if axis == "flops" else axis


def tasks(results: Results) -> list[str]:
    return sorted({str(t) for t in results.runs["task"]})


def of(frame: pd.DataFrame, task: str, method: str) -> pd.DataFrame:
    return frame[(frame["task"] == task) & (frame["method"] == method)]


def task_column(results: Results) -> tuple[Column, ...]:
    return (Column("task", "Task"),) if len(tasks(results)) > 1 else ()


def label_columns(results: Results) -> tuple[Column, ...]:
    """What a row is about: a method, on a task where there are several."""
    return (*task_column(results), Column("method", "Method"))


def seed_table(
    results: Results, name: str, title: str, by_metric: dict[str, pd.DataFrame],
    notes: Iterable[str], signed: Iterable[str] = (),
) -> Table:  # fmt: skip
    """A column per metric, each the mean over seeds with its t interval."""
    rows = []
    for task in tasks(results):
        for method in results.methods:
            row: dict[str, object] = {"task": task, "method": method}
            for metric, frame in by_metric.items():
                found = stats.seed_interval(of(frame, task, method)["score"])
                row |= {metric: found.mean, f"{metric} half": found.half}
                row |= {f"{metric} low": found.low, f"{metric} high": found.high}
                row["seeds"] = len(of(frame, task, method))
            rows.append(row)
    columns = [*label_columns(results)]
    for m in by_metric:
        header, kind = (m, "points") if m in signed else (f"{m} %", "percent")
        columns.append(Column(m, header, kind, f"{m} half"))
    keys = ["task", "method", *(f"{m}{s}" for m in by_metric for s in ("", " half"))]
    frame = pd.DataFrame(rows, columns=None if rows else keys)
    return Table(name, title, frame, tuple(columns), notes=tuple(notes))


def last_costs(results: Results) -> pd.DataFrame:
    """The last row of the ledger of each run that counts; a cost that it lacks is NaN, and so are
    seconds where the runs are of several machines."""
    ledger = results.ledger[results.ledger["run"].isin(scores.counted(results)["run"])]
    last = ledger.sort_values("step").drop_duplicates("run", keep="last")
    if results.by_machine is not results:
        last = last.assign(**{c: np.nan for c in last if c.startswith("seconds")})
    return last.reindex(columns=[*last.columns, *(c for c in COSTS if c not in last)])


def machine_note(results: Results) -> list[str]:
    """Why seconds are missing, where they are."""
    machines = sorted({str(m) for m in results.runs["hardware"].dropna()})
    if results.by_machine is results:
        return []
    apart = "they stand apart in the table efficiency-seconds and the figures of seconds"
    return [f"Seconds of different machines ({'; '.join(machines)}) are not averaged: {apart}."]
