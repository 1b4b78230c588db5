"""The notebook's way in: load suites, look at tables, ask for comparisons.

    r = results.load("runs/quick")
    r.runs       # a row per run
    r.steps      # a row per run and update: STEP_COLUMNS and the method's own metrics
    r.ledger     # a row per run and update: LEDGER_COLUMNS, cumulative
    r.evals      # a row per run, evaluation, question and sample: EVAL_COLUMNS without the texts
    r.responses  # the same with response, prompt and gold
    r.compare("gift", "grpo")
    r.table("main")

All tables but `runs` carry suite, task, method, seed and run, so that they join on any of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .runs import Runs

if TYPE_CHECKING:
    from .compare import Comparison
    from .render import Table


class Results(Runs):
    """The runs of one or many suites, and what can be asked of them."""

    def compare(
        self, a: str, b: str, metric: str | None = None, split: str | None = None, **options: Any
    ) -> Comparison:
        """Is a better than b? Metric: avg (avg@K), greedy, pass@k, maj@k. For several comparisons
        at once, with Holm's correction, see `results.compare.family`."""
        from .compare import compare

        return compare(self, a, b, metric, split, **options)

    def table(self, name: str = "main", **options: Any) -> Table:
        """One of `results.tables.TABLES`, by name; KeyError names them all."""
        from .tables import TABLES

        if name not in TABLES:
            raise KeyError(f"no table {name!r}; there are {', '.join(TABLES)}")
        return TABLES[name](self, **options)


def load(path: str | Path | Iterable[str | Path]) -> Results:
    """Read one or many suites, runs, or folders of suites. Tables are read on first access.

    Raises:
        FileNotFoundError: a path does not exist, or holds no run.
        SchemaError: a run was written by a newer version of evenbench.
    """
    return Results.read(path)
