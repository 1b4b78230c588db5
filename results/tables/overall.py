"""Beyond single comparisons: over all tasks, what failed, and what papers print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from .. import papers, scores, stats
from ..render import Column, Table
from .parts import of, task_column, tasks

if TYPE_CHECKING:
    from ..runs import Results


def win_table(results: Results, split: str | None = None) -> Table:
    """Probability that a run of the row's method beats a run of the column's."""
    split = split or scores.headline_split(results)
    by_seed = scores.seed_scores(scores.metric_scores(results, None, split))
    methods = [m for m in results.methods if m in set(by_seed["method"].astype("str"))]
    per_task = {m: [of(by_seed, t, m)["score"].to_numpy() for t in tasks(results)] for m in methods}
    rows = []
    for a in methods:
        row: dict[str, object] = {"method": a}
        for b in methods:
            both = zip(per_task[a], per_task[b], strict=True)
            pairs = [(x, y) for x, y in both if len(x) and len(y)]
            if a != b and pairs:
                found = stats.probability_of_improvement(*zip(*pairs, strict=True))
                row |= {b: found.mean, f"{b}_low": found.low, f"{b}_high": found.high}
                row[f"{b}_shown"] = f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
        rows.append(row)
    keys = [f"{b}{s}" for b in methods for s in ("", "_low", "_high", "_shown")]
    frame = pd.DataFrame(rows, columns=["method", *keys])
    columns = (Column("method", "P(row > column)"), *(Column(f"{b}_shown", b) for b in methods))
    note = "Over pairs of runs, ties half, mean over tasks; 95 % intervals over seeds."
    return Table("wins", f"Probability of improvement, {split}", frame, columns, notes=(note,))


def aggregate_table(results: Results, split: str | None = None) -> Table:
    """IQM, median, mean and optimality gap over tasks and seeds, stratified bootstrap."""
    split = split or scores.headline_split(results)
    by_seed = scores.seed_scores(scores.metric_scores(results, None, split))
    rows, fewest = [], []
    for method in results.methods:
        groups = [of(by_seed, task, method)["score"].to_numpy() for task in tasks(results)]
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
    notes = ["Over task × seed cells; ± is the 95 % confidence half-width (stratified bootstrap)."]
    if fewest and min(fewest) < 10:
        notes.append(
            f"Secondary: with {min(fewest)} seeds a bootstrap interval is too narrow (nominal 95 %"
            " covers about 75 % at 3 seeds, 84 % at 5, 90 % at 10)."
        )
    return Table("aggregate", f"Over all tasks, {split}", frame, columns, notes=tuple(notes))


def failures_table(results: Results) -> Table:
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
    return Table("failures", "Failures", frame, columns, notes=tuple(notes))


def published_table(results: Results, *files: str | Path) -> Table:
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
        *task_column(results),
        Column("measured", "accuracy %", "percent", "half"),
    )
    notes = [
        "Published numbers have another model, data and protocol: for orientation, no comparison."
        if len(frame) else "No published number names one of these methods."
    ]  # fmt: skip
    return Table("published", "Published and measured", frame, columns, notes=tuple(notes))


def grao_table(results: Results | None = None) -> Table:
    """GRAO's headline, recomputed from the paper's own tables; the runs do not matter."""
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
    return Table("grao-headline", "GRAO's relative improvements", frame, columns, notes=(note,))
