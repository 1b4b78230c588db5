"""Runs on disk -> DataFrames, read when first asked for.

The notebook's way in: load suites, look at tables, ask for comparisons.

    r = results.load("runs/quick")
    r.runs       # a row per run
    r.steps      # a row per run and update: STEP_COLUMNS and the method's own metrics
    r.ledger     # a row per run and update: LEDGER_COLUMNS, cumulative
    r.evals      # a row per run, evaluation, question and sample: EVAL_COLUMNS without the texts
    r.responses  # the same with response, prompt, gold and meta
    r.compare("gift", "grpo")
    r.table("main")

All tables but `runs` carry suite, task, method, seed and run, so that they join on any of these.
A torn last line, an unfinished run or a broken file is no error: it is left out and stands in
`.problems`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from . import labels
from .folders import Problem, StoredRun, read_run, read_steps, read_suite, run_folders
from .records import EVAL_COLUMNS, LEDGER_COLUMNS, RunRecord, SuiteRecord
from .specification import Specification
from .tally import WITHOUT_TEXTS, Tally, Unreadable, count, read_table, take

if TYPE_CHECKING:
    from .compare import Comparison
    from .render import Table

KEYS = ("suite", "task", "method", "seed", "run")
MARGIN = 0.02  # of equivalence, where suite.json names none


class Results:
    """The runs of one or many suites. Immutable: `rename`, `merge` and `query` return new ones."""

    def __init__(
        self,
        runs: Iterable[StoredRun],
        problems: Iterable[Problem] = (),
        suites: Iterable[SuiteRecord] = (),
    ):
        once, double = labels.distinct(runs)
        self._runs, clashes = labels.separate(once)
        self._problems = [*dict.fromkeys([*problems, *double, *clashes])]
        self._suites = tuple(suites)
        self._read_problems: dict[str, list[Problem]] = {}
        self.remembered: dict[tuple[Any, ...], Any] = {}  # see results.memoise

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        states, known = [run.status for run in self._runs], ("finished", "diverged", "unfinished")
        count = ", ".join(f"{states.count(s)} {s}" for s in known if s in states)
        methods = ", ".join(self.methods) or "none"
        return f"{type(self).__name__}({len(self)} runs: {count or 'none'}; methods {methods})"

    @property
    def methods(self) -> list[str]:
        """Labels, in the order in which the suites declare them, others after by name; a setting
        of its own (`gift[beta=2]`) stands after its label."""
        planned = dict.fromkeys(r.method for suite in self._suites for r in suite.runs)
        place = {label: i for i, label in enumerate(planned)}

        def order(name: str) -> tuple[int, str]:
            stem = name if name in place else re.split(r"[\[,]", name, maxsplit=1)[0]
            return place.get(stem, len(place)), "" if name in place else name

        return sorted({run.method for run in self._runs}, key=order)

    @property
    def control(self) -> str | None:
        """What the others are compared with: as the suites say, else grpo, else the first. None
        where the declared one is not there: another one must not stand for it in silence."""
        methods = self.methods
        there = (n for n in self.planned_controls or ["grpo", *methods] if n in methods)
        return next(there, None)

    @property
    def planned_controls(self) -> list[str]:
        """The controls that the suites declare, whether they were run or not."""
        return [*dict.fromkeys(s.control for s in self._suites if s.control)]

    @property
    def margin(self) -> float:
        """Margin of equivalence in shares of 1: the smallest that a suite declares, else 0.02."""
        return min((s.margin for s in self._suites if s.margin), default=MARGIN)

    @property
    def primary(self) -> Specification:
        """What the first suite declares to be compared."""
        return self._suites[0].primary if self._suites else Specification()

    @property
    def declared(self) -> list[str]:
        """Labels that the suites plan or that were run: the family of comparisons does not depend
        on how many of them are there yet, or are looked at."""
        planned = [run.method for suite in self._suites for run in suite.runs]
        return [*dict.fromkeys([*planned, *self.methods])]

    @property
    def problems(self) -> list[Problem]:
        """What could not be read or is not finished. Complete once every table has been read."""
        late = [p for found in self._read_problems.values() for p in found]
        return [*dict.fromkeys([*self._problems, *late])]

    @property
    def provenance(self) -> list[RunRecord]:
        """What stands in the run.json of each run, in the order of `.runs`."""
        return [run.record for run in self._runs]

    @cached_property
    def by_machine(self) -> Self:
        """The same runs with the machine in the label, where they ran on several: seconds of
        different hardware are not one cost. Else these."""
        machines = {run.record.id: run.row()["hardware"] for run in self._runs}
        if len({*machines.values()}) < 2:
            return self
        names = {m: f"machine {chr(65 + i)}" for i, m in enumerate(sorted({*machines.values()}))}
        runs = [
            replace(run, method=f"{run.method}, {names[machines[run.record.id]]}")
            for run in self._runs
        ]
        told = [Problem(names[m], f"stands for {m}") for m in names]
        made = type(self)(runs, [*self._problems, *told], self._suites)
        made.__dict__["by_machine"] = made  # it is already apart
        return made

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row per run: KEYS, status (finished | diverged | unfinished), reason, last_step
        (updates done, of a finished or diverged run), wall_seconds, objective, source,
        budget_axis, budget, grader, data (hash over all its data hashes), base (id of the
        starting model), hardware, settings (hash; equal in all seeds of a method), fields and
        config (dicts), warnings, path."""
        rows = [run.row() for run in self._runs]
        return self._categorise(pd.DataFrame(rows, columns=_COLUMNS))

    @cached_property
    def steps(self) -> pd.DataFrame:
        """KEYS and every column of steps.jsonl but the ledger's, metrics of the method included."""
        frame = self._step_lines
        return frame.drop(columns=[c for c in LEDGER_COLUMNS if c in frame])

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """KEYS, step and LEDGER_COLUMNS, cumulative since the run's start (all zero at step 0,
        which stands in no row)."""
        frame = self._step_lines
        return frame[[*KEYS, "step", *(c for c in LEDGER_COLUMNS if c in frame)]]

    @cached_property
    def evals(self) -> pd.DataFrame:
        """KEYS and EVAL_COLUMNS without the texts; a row per evaluation, question and sample."""
        return self._eval_rows(WITHOUT_TEXTS)

    @cached_property
    def responses(self) -> pd.DataFrame:
        """`evals` with the texts: large, for looking at single answers."""
        return self._eval_rows([*EVAL_COLUMNS])

    def last_responses(self, split: str) -> pd.DataFrame:
        """`responses` of each run's last evaluation on a split, without holding the others."""
        return self._eval_rows([*EVAL_COLUMNS], lambda table: _last_rows(table, split))

    @cached_property
    def tally(self) -> Tally:
        """`evals`, counted: what scores are made of. Hundreds of runs fit into memory."""
        counts, places, tables = [], {}, []
        columns: set[str] = set()
        for run, table in self._eval_tables(WITHOUT_TEXTS):
            mine, ends = count(table, run, places)
            counts += mine
            columns |= {*table.column_names}
            tables.append((run, take(table, ends)))
        return Tally(counts, [*places], columns, self._together(tables, WITHOUT_TEXTS))

    def rename(self, names: Mapping[str, str]) -> Self:
        """Other labels for methods, e.g. `{"grpo": "GRPO, lr 3e-4"}`; KeyError: an unknown one."""
        unknown = set(names) - set(self.methods)
        if unknown:
            there = ", ".join(self.methods)
            raise KeyError(f"no method {', '.join(sorted(unknown))}; there are {there}")
        runs = [replace(run, method=names.get(run.method, run.method)) for run in self._runs]
        suites = [suite.renamed(names) for suite in self._suites]
        return type(self)(runs, self._problems, suites)

    def merge(self, other: Results) -> Self:
        """Both together. A run that stands in both counts once; a label that means different
        settings in the two gets its suite's name added, and `.problems` says so."""
        problems, suites = self._problems + other._problems, self._suites + other._suites
        return type(self)([*self._runs, *other._runs], problems, suites)

    def query(self, expression: str) -> Self:
        """The runs for which a pandas expression over `.runs` holds, e.g. `"method != 'sft' and
        seed < 3"`."""
        kept = set(self.runs.query(expression).run)
        runs = [run for run in self._runs if run.record.id in kept]
        gone = {run.folder.name for run in self._runs} - {run.folder.name for run in runs}
        return type(self)(runs, [p for p in self._problems if p.run not in gone], self._suites)

    def compare(
        self,
        a: str,
        b: str,
        metric: str | None = None,
        split: str | None = None,
        delta: float | None = None,
    ) -> Comparison:
        """Is a better than b? By default as the recipe declares; metric: avg (avg@K), greedy,
        pass@k, maj@k. The p-value is adjusted for the declared family where the two belong to
        it. For several others at once see `results.compare.family`."""
        from .compare import compare

        return compare(self, a, b, metric, split=split, delta=delta)

    def table(self, name: str = "main", **options: Any) -> Table:
        """One of `results.tables.TABLES`, by name; KeyError names them all."""
        from .tables import TABLES

        if name not in TABLES:
            raise KeyError(f"no table {name!r}; there are {', '.join(TABLES)}")
        return TABLES[name](self, **options)

    @cached_property
    def _step_lines(self) -> pd.DataFrame:
        found: list[Problem] = []
        frames = []
        for run in self._runs:
            rows, problems = read_steps(run.folder)
            found += problems
            if rows:
                frame = pd.DataFrame(rows)
                frame = frame.drop_duplicates("step", keep="last")  # a resumed run may repeat some
                for column, value in reversed(run.keys.items()):
                    frame.insert(0, column, value)
                frames.append(frame)
        self._read_problems["steps"] = found
        empty = pd.DataFrame(columns=[*KEYS, "step", *LEDGER_COLUMNS])
        return self._categorise(pd.concat(frames, ignore_index=True) if frames else empty)

    def _eval_tables(self, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """Row in `.runs` and evaluations of each run that has them."""
        found: list[Problem] = []
        for place, run in enumerate(self._runs):
            try:
                table = read_table(run.folder / "evals.parquet", columns)
            except Unreadable as error:
                found.append(Problem(run.folder.name, str(error)))
            else:
                yield place, table
        self._read_problems["evals"] = found

    def _eval_rows(
        self, columns: list[str], keep: Callable[[pa.Table], np.ndarray] | None = None
    ) -> pd.DataFrame:
        """Evaluations of all runs; `keep` gives the places of the rows that are wanted."""
        tables = self._eval_tables(columns)
        kept = [(run, take(table, keep(table)) if keep else table) for run, table in tables]
        return self._together(kept, columns)

    def _together(self, tables: list[tuple[int, pa.Table]], columns: list[str]) -> pd.DataFrame:
        """Tables of runs, by their rows in `.runs`, as one frame with KEYS."""
        if not tables:
            return self._categorise(pd.DataFrame(columns=[*KEYS, *columns]))
        keyed = []
        for run, table in tables:
            for at, (column, value) in enumerate(self._runs[run].keys.items()):
                table = table.add_column(at, column, _constant(value, len(table)))
            keyed.append(table)
        together = pa.concat_tables(keyed, promote_options="permissive").unify_dictionaries()
        return self._categorise(together.to_pandas())

    def _categorise(self, frame: pd.DataFrame) -> pd.DataFrame:
        methods = frame["method"].astype("str")
        frame["method"] = pd.Categorical(methods, categories=self.methods)
        for column in ("suite", "task", "run"):
            frame[column] = frame[column].astype("category")
        return frame


def load(path: str | Path | Iterable[str | Path]) -> Results:
    """Read one or many suites, runs, or folders of suites. Tables are read on first access.

    Raises:
        FileNotFoundError: a path does not exist, or holds no run.
        SchemaError: a run was written by a newer version of evenbench.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(p) for p in path]
    runs: list[StoredRun] = []
    problems: list[Problem] = []
    suites: list[SuiteRecord] = []
    for place in paths:
        if not place.is_dir():
            raise FileNotFoundError(f"no folder {place}")
        folders = run_folders(place)
        if not folders and not (place / "suite.json").is_file():
            raise FileNotFoundError(f"no run in {place} or in folders of it: expected run.json")
        suites += [read_suite(f) for f in sorted({f.parent for f in folders} | {place})]
        for folder in folders:
            run, found = read_run(folder)
            problems += found
            runs += [run] if run else []
    return Results(runs, problems, suites)


_EMPTY = RunRecord(id="", method="", task="", seed=0)
_COLUMNS = [*StoredRun(Path(), _EMPTY, done=None, suite="", method="").row()]


def _last_rows(table: pa.Table, split: str) -> np.ndarray:
    """Places of the rows of the last step that has the split."""
    there = np.flatnonzero(pc.equal(table["split"].cast("string"), split).to_numpy())
    steps = table["step"].to_numpy()[there]
    return there[steps == steps.max(initial=-1)]


def _constant(value: int | str, rows: int) -> pa.Array:
    if isinstance(value, int):
        return pa.repeat(pa.scalar(value, pa.int32()), rows)
    return pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([value])
    )
