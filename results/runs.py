"""Runs on disk -> DataFrames, read when first asked for.

`results.load` gives these tables; scores, curves and comparisons are computed from them. A torn
last line, an unfinished run or a broken file is no error: it is left out and stands in `.problems`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from .records import EVAL_COLUMNS, LEDGER_COLUMNS, SCHEMA_VERSION
from .tally import WITHOUT_TEXTS, Tally, Unreadable, count, read_table, take

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

KEYS = ("suite", "task", "method", "seed", "run")
# what may differ between runs of one treatment
INCIDENTAL = ("seed", "method", "micro_tokens", "checkpoint", "keep_rollouts", "track")
MARGIN = 0.02  # of equivalence, where suite.json names none


class SchemaError(ValueError):
    """The files were written by another version of the schema."""


class Problem(NamedTuple):
    run: str  # folder name
    what: str

    def __str__(self) -> str:
        return f"{self.run}: {self.what}"


@dataclass(frozen=True)
class Run:
    """One run's folder and the label under which it is counted."""

    folder: Path
    record: dict[str, Any]  # run.json
    done: dict[str, Any] | None  # DONE
    suite: str
    method: str

    @property
    def status(self) -> str:
        return self.done["status"] if self.done else "unfinished"

    @property
    def keys(self) -> dict[str, Any]:
        return {"suite": self.suite, "task": self.record["task"], "method": self.method,
                "seed": int(self.record["seed"]), "run": self.record["id"]}  # fmt: skip

    @property
    def settings(self) -> str:
        """Eight hex digits of what makes two runs of one label the same treatment, the seed
        apart."""
        known = ("objective", "fields", "source", "budget", "grader", "data")
        parts = {k: self.record.get(k) for k in known}
        config = self.record.get("config") or {}
        parts["config"] = {k: v for k, v in config.items() if k not in INCIDENTAL}
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[
            :8
        ]


class Plan(NamedTuple):
    """What suite.json says about how its methods are to be compared."""

    methods: tuple[str, ...] = ()  # in order
    control: str | None = None
    margin: float | None = None  # of equivalence


class Runs:
    """The runs of one or many suites. Immutable: `rename`, `merge` and `query` return new ones."""

    def __init__(
        self, runs: Iterable[Run], problems: Iterable[Problem] = (), plans: Iterable[Plan] = ()
    ):
        unique: dict[str, Run] = {}
        for run in runs:
            unique.setdefault(run.keys["run"], run)  # one id, one result
        self._runs, clashes = _separate([*unique.values()])
        self._problems = [*dict.fromkeys([*problems, *clashes])]
        self._plans = tuple(plans)
        self._read_problems: dict[str, list[Problem]] = {}
        self.remembered: dict[tuple[Any, ...], Any] = {}  # see results.memory

    @classmethod
    def read(cls, path: str | Path | Iterable[str | Path]) -> Self:
        """The runs in one or many suites, runs, or folders of suites.

        Raises:
            FileNotFoundError: a path does not exist, or holds no run.
            SchemaError: a run was written by another version of the schema.
        """
        paths = [Path(path)] if isinstance(path, str | Path) else [Path(p) for p in path]
        runs: list[Run] = []
        problems: list[Problem] = []
        plans: list[Plan] = []
        for place in paths:
            if not place.is_dir():
                raise FileNotFoundError(f"no folder {place}")
            folders = _run_folders(place)
            if not folders and not (place / "suite.json").is_file():
                raise FileNotFoundError(f"no run in {place} or in folders of it: expected run.json")
            plans += [_read_plan(suite) for suite in sorted({f.parent for f in folders} | {place})]
            for folder in folders:
                run, found = _read_run(folder)
                problems += found
                runs += [run] if run else []
        return cls(runs, problems, plans)

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        states = [run.status for run in self._runs]
        count = ", ".join(
            f"{states.count(s)} {s}" for s in ("finished", "diverged", "unfinished") if s in states
        )
        methods = ", ".join(self.methods) or "none"
        return f"{type(self).__name__}({len(self)} runs: {count or 'none'}; methods {methods})"

    @property
    def methods(self) -> list[str]:
        """Labels, in the order in which the suites declare them, others after by name."""
        there = {run.method for run in self._runs}
        declared = [m for plan in self._plans for m in plan.methods if m in there]
        return [*dict.fromkeys([*declared, *sorted(there)])]

    @property
    def control(self) -> str | None:
        """What the others are compared with: as the suites say, else grpo, else the first."""
        methods = self.methods
        for name in [*(plan.control for plan in self._plans), "grpo", *methods]:
            if name in methods:
                return name
        return None

    @property
    def margin(self) -> float:
        """Margin of equivalence in shares of 1: the smallest that a suite declares, else 0.02."""
        return min((p.margin for p in self._plans if p.margin), default=MARGIN)

    @property
    def problems(self) -> list[Problem]:
        """What could not be read or is not finished. Complete once every table has been read."""
        late = [p for found in self._read_problems.values() for p in found]
        return [*dict.fromkeys([*self._problems, *late])]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row per run: KEYS, status (finished | diverged | unfinished), reason, last_step
        (updates done, of a finished or diverged run), wall_seconds, objective, source,
        budget_axis, budget, grader, data (hash over all its data hashes), settings (hash; equal
        in all seeds of a method), fields and config (dicts), warnings, path."""
        import pandas as pd

        rows = [_run_row(run) for run in self._runs]
        columns = [*_run_row(_EXAMPLE)]
        return self._categorise(pd.DataFrame(rows, columns=columns))

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

    def rename(self, labels: Mapping[str, str]) -> Self:
        """Other labels for methods, e.g. `{"grpo": "GRPO, lr 3e-4"}`; KeyError for an unknown
        one."""
        unknown = set(labels) - set(self.methods)
        if unknown:
            raise KeyError(
                f"no method {', '.join(sorted(unknown))}; there are {', '.join(self.methods)}"
            )
        runs = [_relabel(run, labels.get(run.method, run.method)) for run in self._runs]
        plans = [
            Plan(
                tuple(labels.get(m, m) for m in plan.methods),
                labels.get(plan.control or "", plan.control),
                plan.margin,
            )
            for plan in self._plans
        ]
        return type(self)(runs, self._problems, plans)

    def merge(self, other: Runs) -> Self:
        """Both together. A run that stands in both counts once; a label that means different
        settings in the two gets its suite's name added, and `.problems` says so."""
        problems = [*self._problems, *other._problems]
        return type(self)([*self._runs, *other._runs], problems, [*self._plans, *other._plans])

    def query(self, expression: str) -> Self:
        """The runs for which a pandas expression over `.runs` holds, e.g. `"method != 'sft' and
        seed < 3"`."""
        kept = set(self.runs.query(expression).run)
        runs = [run for run in self._runs if run.record["id"] in kept]
        gone = {run.folder.name for run in self._runs} - {run.folder.name for run in runs}
        return type(self)(runs, [p for p in self._problems if p.run not in gone], self._plans)

    @cached_property
    def _step_lines(self) -> pd.DataFrame:
        import pandas as pd

        found: list[Problem] = []
        frames = []
        for run in self._runs:
            rows, problems = _read_steps(run.folder)
            found += problems
            if rows:
                frame = pd.DataFrame(rows).drop_duplicates(
                    "step", keep="last"
                )  # a resumed run may repeat some
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
        import pandas as pd
        import pyarrow as pa

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
        import pandas as pd

        methods = frame["method"].astype("str")
        frame["method"] = pd.Categorical(methods, categories=self.methods)
        for column in ("suite", "task", "run"):
            frame[column] = frame[column].astype("category")
        return frame


def _run_folders(place: Path) -> list[Path]:
    """Folders of runs in a run, a suite or a folder of suites; a run is known by its files."""
    marks = ("run.json", "steps.jsonl", "evals.parquet", "error.txt")
    found = {f.parent for depth in ("", "*/", "*/*/") for m in marks for f in place.glob(depth + m)}
    return sorted(found)


def _read_plan(suite: Path) -> Plan:
    """Of suite.json; an empty one where there is none."""
    try:
        content = json.loads((suite / "suite.json").read_text())
        methods = dict.fromkeys(str(run["method"]) for run in content.get("runs", []))
        return Plan(tuple(methods), content.get("control"), content.get("margin"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Plan()


def _read_run(folder: Path) -> tuple[Run | None, list[Problem]]:
    name = folder.name
    try:
        record = json.loads((folder / "run.json").read_text())
        missing = [k for k in ("id", "method", "task", "seed") if k not in record]
    except FileNotFoundError:
        return None, [Problem(name, _failure(folder) or "no run.json: left out")]
    except ValueError as error:
        return None, [Problem(name, f"run.json is broken ({error}): left out")]
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:
        advice = (
            "update evenbench"
            if isinstance(version, int) and version > SCHEMA_VERSION
            else "run it again"
        )
        raise SchemaError(
            f"{folder}/run.json has schema_version {version!r};"
            f" this version reads {SCHEMA_VERSION}: {advice}"
        )
    if missing:
        return None, [Problem(name, f"run.json lacks {', '.join(missing)}: left out")]
    run = Run(
        folder, record, None, str(record.get("suite", folder.parent.name)), str(record["method"])
    )
    try:
        done = json.loads((folder / "DONE").read_text())
        if done["status"] not in ("finished", "diverged"):
            raise ValueError(f"status {done['status']!r}")
    except FileNotFoundError:
        return run, [Problem(name, _failure(folder) or "unfinished: not counted")]
    except (ValueError, KeyError, TypeError) as error:
        return run, [Problem(name, f"DONE is broken ({error}): taken as unfinished")]
    found = (
        [Problem(name, f"diverged: {done.get('reason')}")] if done["status"] == "diverged" else []
    )
    return Run(folder, record, done, run.suite, run.method), found


def _failure(folder: Path) -> str | None:
    """The last line of the traceback that ended a run without a result."""
    try:
        lines = (folder / "error.txt").read_text().strip().splitlines()
    except OSError:
        return None
    return f"failed, not counted: {lines[-1]}" if lines else None


def _separate(runs: list[Run]) -> tuple[list[Run], list[Problem]]:
    """Runs of one label and task must be one treatment: where suites differ, the label gets the
    suite's name."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.method, run.record["task"]), []).append(run)
    mixed = {
        m
        for (m, _), group in groups.items()
        if len({r.settings for r in group}) > 1 or _repeats_seed(group)
    }
    problems, apart = [], set()
    for method in sorted(mixed):
        names = [f"{method} ({s})" for s in sorted({r.suite for r in runs if r.method == method})]
        if len(names) > 1:
            apart.add(method)
            problems.append(
                Problem(
                    method, f"means different runs in different suites: shown as {', '.join(names)}"
                )
            )
        else:
            problems.append(
                Problem(
                    method,
                    "its runs differ in more than the seed, or repeat one: query or rename them",
                )
            )
    return [
        _relabel(r, f"{r.method} ({r.suite})") if r.method in apart else r for r in runs
    ], problems


def _repeats_seed(group: list[Run]) -> bool:
    seeds = [run.record["seed"] for run in group]
    return len(seeds) != len(set(seeds))


def _relabel(run: Run, method: str) -> Run:
    return Run(run.folder, run.record, run.done, run.suite, method)


def _run_row(run: Run) -> dict[str, Any]:
    record, done = run.record, run.done or {}
    axis, budget = next(iter((record.get("budget") or {}).items()), (None, None))
    return {
        **run.keys,
        "status": run.status,
        "reason": done.get("reason"),
        "last_step": done.get("step"),
        "wall_seconds": done.get("seconds"),
        "objective": record.get("objective", run.method),
        "source": record.get("source"),
        "budget_axis": axis,
        "budget": budget,
        "grader": (record.get("grader") or {}).get("version"),
        "data": hashlib.sha256(json.dumps(record.get("data"), sort_keys=True).encode()).hexdigest()[
            :12
        ],
        "settings": run.settings,
        "fields": record.get("fields") or {},
        "config": record.get("config") or {},
        "warnings": record.get("warnings") or [],
        "path": str(run.folder),
    }


_EXAMPLE = Run(Path(), {"id": "", "method": "", "task": "", "seed": 0}, None, "", "")


def _read_steps(folder: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    path = folder / "steps.jsonl"
    if not path.is_file():
        return [], [Problem(folder.name, "no steps.jsonl")]
    rows, problems = [], []
    lines = path.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            row["step"] = int(row["step"])
            rows.append(row)
        except (ValueError, KeyError, TypeError):
            where = "the last line is torn" if number == len(lines) else f"line {number} is broken"
            problems.append(Problem(folder.name, f"steps.jsonl: {where}, left out"))
    return rows, problems


def _last_rows(table: pa.Table, split: str) -> np.ndarray:
    """Places of the rows of the last step that has the split."""
    import numpy as np
    import pyarrow.compute as pc

    there = np.flatnonzero(pc.equal(table["split"].cast("string"), split).to_numpy())
    steps = table["step"].to_numpy()[there]
    return there[steps == steps.max(initial=-1)]


def _constant(value: int | str, rows: int) -> pa.Array:
    import pyarrow as pa

    if isinstance(value, int):
        return pa.repeat(pa.scalar(value, pa.int32()), rows)
    return pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([value])
    )
