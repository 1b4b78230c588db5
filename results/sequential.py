"""Seeds until it is settled: which comparisons with the control are still open, from runs on disk.

The statistics stand in results/stats/sequential.py. A comparison in which a run diverged or
collapsed is never settled early, whatever its numbers say: it goes to the largest number of seeds,
and then the table's test of a fixed design says what can be said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from . import failures, neighbours, stats
from .records import SequentialRecord, SettledRow
from .render import Column, Table

if TYPE_CHECKING:
    from .runs import Results


def judge(
    results: Results, design: SequentialRecord, methods: Iterable[str], seeds: int
) -> list[SettledRow]:
    """The comparisons of these methods with the control, as the primary specification measures
    them, on their seeds 0 to `seeds` - 1, whatever else is there."""
    kept = results.query(f"seed < {seeds}")
    choice, ends = neighbours.primary(kept), failures.endings(kept)
    (task,) = kept.runs["task"].unique()
    bad = ends[ends["failed"] != ""]
    rows = []
    for method in methods:
        left, right = neighbours.scored(kept, choice, str(task), (method, design.control))
        gaps = (left - right).dropna(how="all").mean(axis=1).dropna()
        alpha = design.alpha / len(design.methods)
        found = stats.settle(gaps, design.margin, alpha, design.prior)
        failed = int(bad["method"].isin([method, design.control]).sum())
        rows.append(
            SettledRow(
                method=method, seeds=len(gaps), failed=failed, factor=_known(found.factor),
                verdict="undetermined" if failed else found.verdict,
                difference=_known(found.interval.mean), low=_known(found.interval.low),
                high=_known(found.interval.high),
            )
        )  # fmt: skip
    return rows


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def record(folder: Path) -> SequentialRecord | None:
    """Of a suite's folder; None where its design is a fixed one."""
    path = folder / SequentialRecord.file
    return SequentialRecord.read(path) if path.is_file() else None


def stored(results: Results) -> SequentialRecord | None:
    """The design of the suite, where it is one; of several suites none is that of all."""
    folders = {Path(path).parent for path in results.runs["path"]}
    return record(folders.pop()) if len(folders) == 1 else None


def settled(results: Results, a: str, b: str) -> SettledRow | None:
    """How the sequential test judged a against b, where it did. A failed run leaves the judgement
    to the test of a fixed design."""
    design = stored(results)
    rows = design.rows if design and b == design.control else []
    return next((row for row in rows if row.method == a and not row.failed), None)


def sequential_table(results: Results) -> Table:
    """Seeds, confidence sequence and verdict of each comparison of `run --until-verdict`."""
    if design := stored(results):
        return table(design)
    empty = pd.DataFrame(columns=["method"])
    note = "The number of seeds was fixed before the runs."
    columns = (Column("method", "Method"),)
    return Table("sequential", "Seeds until it is settled", empty, columns, notes=(note,))


def table(design: SequentialRecord) -> Table:
    """A row per comparison: seeds, confidence sequence, verdict, and what was saved."""
    frame = pd.DataFrame([row.model_dump() for row in design.rows],
                         columns=[*SettledRow.model_fields])  # fmt: skip
    frame["sequence"] = [_interval(row) for row in design.rows]
    frame["open"] = [_why(row, design) for row in design.rows]
    columns = (
        Column("method", "Method"),
        Column("seeds", "seeds", "count"),
        Column("difference", f"vs {design.control}", "points"),
        Column("sequence", "confidence sequence"),
        Column("factor", "Bayes factor", "si"),
        Column("verdict", "verdict"),
        Column("open", ""),
    )
    return Table("sequential", "Seeds until it is settled", frame, columns, notes=notes(design))


def _interval(row: SettledRow) -> str:
    if row.low is None or row.high is None:
        return "no bound yet"
    return f"[{100 * row.low:+.1f}, {100 * row.high:+.1f}]".replace("-", "−")


def _why(row: SettledRow, design: SequentialRecord) -> str:
    if row.failed:
        return f"{row.failed} failed run(s): never settled early, see the test at all seeds"
    return "open" if row.verdict == "undetermined" and row.seeds < design.max_seeds else ""


def notes(design: SequentialRecord) -> tuple[str, ...]:
    """What the design promises, what it does not, and what it saved."""
    family, fixed = len(design.methods), design.max_seeds * (len(design.methods) + 1)
    nulls = ", ".join(f"{name} {share:.2f}" for name, share in stats.NULLS.items())
    return (
        f"Seeds were added where a comparison with {design.control} was open, up to"
        f" {design.max_seeds}. The sequences cover all {family} true differences at all times"
        f" together with probability {1 - design.alpha:g} (Bonferroni), for normal differences"
        f" between seeds. Equivalent: within ±{100 * design.margin:g} points.",
        "False verdicts of one comparison, simulated at level 0.05 with up to 20 seeds:"
        f" {nulls}. Only the first is bounded.",
        f"Runs: {design.runs} of the {fixed} that {design.max_seeds} seeds for every method take;"
        f" saved: {fixed - design.runs}.",
    )
