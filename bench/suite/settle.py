"""Seeds until it is settled: the runs of a suite, a seed at a time where a verdict is missing.

Every look is a suite of its own, given to the grid, which skips what is done. The looks are taken
in the same order on the same seeds whenever they are made, so a killed suite goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import results
from bench.config import ConfigError, Suite
from bench.core.files import write_atomic
from results.records import SequentialRecord, SettledRow
from results.sequential import judge
from results.stats import ALPHA, FIRST, PRIOR

from .grid import RunState

Runner = Callable[[Suite], list[RunState]]


def design(suite: Suite, max_seeds: int) -> SequentialRecord:
    """What is fixed before the first run. Raises ConfigError: no control, or nothing to compare."""
    methods = [*dict.fromkeys(run.method for run in suite.runs if run.method != suite.control)]
    if suite.control is None or not methods:
        raise ConfigError(
            '--until-verdict compares every other method with a control: set control = "NAME" in'
            " the recipe and keep it, and another, among the methods"
        )
    if max_seeds < FIRST:
        raise ConfigError(f"--max-seeds {max_seeds}: at least {FIRST}, which the first look takes")
    return SequentialRecord(
        control=suite.control, methods=methods, margin=suite.margin, alpha=ALPHA, prior=PRIOR,
        max_seeds=max_seeds,
    )  # fmt: skip


def settle(
    suite: Suite, folder: Path, plan: SequentialRecord, run: Runner
) -> tuple[SequentialRecord, list[RunState]]:
    """Add seeds until every comparison is settled or has them all; writes `sequential.json`
    before the first run and after every look. Ends early where a run failed or is busy.

    Args:
        suite: one run of each method is enough; their seeds do not matter.
        run: makes what is missing of a suite in `folder`.
    """
    by_method = {one.method: one for one in suite.runs}
    seeds = dict.fromkeys(by_method, 0)
    settled: dict[str, SettledRow] = {}
    now, states = plan.model_copy(update={"rows": [], "runs": 0}), []
    for count in range(FIRST, plan.max_seeds + 1):
        still = [m for m in plan.methods if m not in settled]
        seeds |= dict.fromkeys([plan.control, *still], count)
        wanted = tuple(
            by_method[m].model_copy(update={"seed": s})
            for s in range(count) for m in by_method if s < seeds[m]
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / plan.file, now.text())
        states = run(suite.model_copy(update={"runs": wanted}))
        if any(state.status not in ("finished", "diverged") for state in states):
            return now, states
        loaded = results.load([folder / one.name for one in wanted])
        found = {row.method: row for row in judge(loaded, plan, still, count)}
        settled |= {m: row for m, row in found.items() if row.verdict != "undetermined"}
        rows = [settled.get(m) or found[m] for m in plan.methods]
        now = now.model_copy(update={"rows": rows, "runs": len(wanted)})
        write_atomic(folder / plan.file, now.text())
        if len(settled) == len(plan.methods):
            break
    return now, states
