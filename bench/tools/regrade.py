"""Stored responses graded again, by another version of the grader or with other options of the
task, without sampling.

A run keeps the responses of its last evaluation and, with `keep_rollouts`, those that it was
trained on; only these can be regraded. The new verdicts are written to files of their own
(`evals-regraded.parquet`, `rollouts-regraded.parquet`). The run was trained on the old rewards, so
regrading corrects its measurement but not its training.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

import results
import tasks
from bench.config import ConfigError, explaining
from bench.core.files import replacing
from results.records import EVAL_COLUMNS
from tasks import Example, Task

VERDICT = ("correct", "strict", "status", "format_ok", "extracted")
WRITTEN = {"evals": "evals-regraded.parquet", "rollouts": "rollouts-regraded.parquet"}
SHARES = ("old", "new", "strict_old", "strict_new")  # columns of `Regraded.changes`
METADATA = b"evenbench.grader"  # key in the written files: JSON of version, options, evenbench


@dataclass(frozen=True)
class Regraded:
    """`responses` has a row per stored response: run, method, seed, file (evals | rollouts), split
    ("rollouts" for training samples), decoding, question_id, sample, prompt, gold, response, and
    both verdicts (`correct_old`, `correct`, `strict_old`, `strict`, `extracted_old`, ...)."""

    responses: pd.DataFrame
    graders: dict[str, tuple[str, str]]  # run: version before and now
    options: dict[str, Any]  # what was asked for
    written: list[Path]
    problems: list[str]  # what could not be regraded, and why

    @property
    def flipped(self) -> pd.DataFrame:
        frame: Any = self.responses
        return frame[frame["correct"] != frame["correct_old"]]

    @property
    def changes(self) -> pd.DataFrame:
        """A row per run, split and decoding: run, split, decoding, rows, old and new (accuracy),
        gained (wrong before, right now), lost (the reverse), strict_old, strict_new."""
        frame: Any = self.responses
        gained = frame["correct"] & ~frame["correct_old"]
        lost = frame["correct_old"] & ~frame["correct"]
        keys = [frame[k] for k in ("run", "split", "decoding")]
        groups = frame.assign(gained=gained, lost=lost).groupby(keys, sort=False, observed=True)
        return groups.agg(
            rows=("correct", "size"),
            old=("correct_old", "mean"),
            new=("correct", "mean"),
            gained=("gained", "sum"),
            lost=("lost", "sum"),
            strict_old=("strict_old", "mean"),
            strict_new=("strict", "mean"),
        ).reset_index()


def regrade(
    runs: str | Path | Iterable[str | Path],
    options: Mapping[str, Any] | None = None,
    write: bool = True,
) -> Regraded:
    """Grade the stored responses of runs or suites again, by this version's grader.

    `options` replace fields of the run's task; nested ones are merged, e.g.
    `{"checker": {"units": "strict"}}`. The grader gets each question's id, prompt and gold answer
    as they were stored.

    Raises FileNotFoundError: no such folder, or no run in it; ConfigError: the task is not known,
    or does not take the options.
    """
    loaded = results.load(runs)
    problems = [str(p) for p in loaded.problems]
    graders: dict[str, tuple[str, str]] = {}
    seen: dict[str, dict[Any, Any]] = {}  # by task: runs often hold equal responses
    parts: list[pd.DataFrame] = []
    written: list[Path] = []
    for row in loaded.runs.to_dict("records"):
        run, folder = str(row["run"]), Path(row["path"])
        if "task" not in row["config"]:  # rows of another tool, which grades by its own rules
            continue
        task = _task(row["config"]["task"], options or {}, run)
        stored: Any = _stored(folder, task.splits)
        if not len(stored):
            problems.append(f"{run}: no stored responses")
            continue
        known = stored.dropna(subset=["prompt", "gold"])
        if len(known) < len(stored):
            problems.append(f"{run}: {len(stored) - len(known)} responses without prompt or gold")
        grades = seen.setdefault(f"{row['task']} {task.model_dump_json()}", {})
        graded = _grade(task, known, grades)
        if write:
            written += _write(folder, graded, task)
        for column in ("seed", "method", "run"):
            graded.insert(0, column, row[column])
        graders[run] = (str(row["grader"]), task.grader_version)
        parts.append(graded)
    responses = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return Regraded(responses, graders, dict(options or {}), written=written, problems=problems)


def _task(spec: Mapping[str, Any], options: Mapping[str, Any], run: str) -> Task:
    with explaining(f"{run}: task"):
        if "checker" in options and "checker" not in type(tasks.get(**spec)).model_fields:
            asked = ", ".join(options["checker"])
            raise ConfigError(f"{run}: {spec['name']} has no options of the checker: {asked}")
        return tasks.get(**_merged(spec, options))


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    inner = {k: v for k, v in new.items() if isinstance(v, Mapping) and k in old}
    nested = {k: _merged(old[k], v) for k, v in inner.items() if isinstance(old[k], Mapping)}
    return {**old, **new, **nested}


def _stored(folder: Path, splits: Sequence[str]) -> pd.DataFrame:
    """Every stored response to the task's questions: EVAL_COLUMNS and `file`."""
    found: list[Any] = []
    if (folder / "evals.parquet").is_file():
        evals: Any = pd.read_parquet(folder / "evals.parquet")
        evals = evals[evals["response"].notna() & evals["split"].isin(splits)].copy()
        # only one row of each question holds its prompt and gold answer
        told = evals.groupby(["split", "question_id"], observed=True)[["prompt", "gold"]]
        evals[["prompt", "gold"]] = told.transform("first")
        found.append(evals.assign(file="evals"))
    for path in sorted((folder / "rollouts").glob("step-*.parquet")):
        samples: Any = pd.read_parquet(path)
        samples = samples[samples["kind"] == 0]  # without reference answers
        samples = samples.assign(step=int(path.stem.removeprefix("step-")))
        found.append(samples.assign(split="rollouts", decoding="sampled", file="rollouts"))
    found = [f.astype({"split": "str", "decoding": "str"}) for f in found if len(f)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _grade(task: Task, frame: Any, seen: dict[Any, Any]) -> pd.DataFrame:
    """The frame with the new verdicts, the old ones as `*_old`."""
    new: dict[Any, dict[str, Any]] = {}
    for question, part in frame.groupby(["question_id", "prompt", "gold"]):
        fresh = [r for r in dict.fromkeys(part["response"]) if (*question, r) not in seen]
        for response, grade in zip(fresh, task.grade(Example(*question), fresh), strict=True):
            seen[*question, response] = asdict(grade)
        new.update((i, seen[*question, response]) for i, response in part["response"].items())
    old = {column: f"{column}_old" for column in VERDICT}
    graded = pd.DataFrame.from_dict(new, orient="index", columns=[*VERDICT, "how"])
    return frame.rename(columns=old).join(graded)


def _write(folder: Path, rows: Any, task: Task) -> list[Path]:
    """Write the new verdicts to files with the columns of the run's own."""
    packages = {"evenbench": version("evenbench")}
    options = task.model_dump(mode="json")
    grader = {"version": task.grader_version, "options": options, "packages": packages}
    written = []
    for file, part in rows.groupby("file"):
        there = [c for c in EVAL_COLUMNS if c in part]  # an earlier run lacks the later ones
        known = [c for c in there if part[c].notna().any()]  # rows of rollouts have fewer
        columns = there if file == "evals" else known
        table = pa.Table.from_pandas(part[columns], preserve_index=False)
        notes = {**(table.schema.metadata or {}), METADATA: json.dumps(grader)}
        written.append(folder / WRITTEN[file])
        with replacing(written[-1]) as partial:
            pq.write_table(table.replace_schema_metadata(notes), partial, compression="zstd")
    return written


def tables(found: Regraded, examples: int = 10) -> list[Table]:
    """For the terminal: changes by run and split, then single answers whose verdict changed."""
    if not len(found.responses):
        return []
    changes: Any = found.changes
    shown = changes[(changes["gained"] > 0) | (changes["lost"] > 0)]
    versions = " and ".join(sorted({f"{old} -> {new}" for old, new in found.graders.values()}))
    asked = "; ".join(f"{k} = {v}" for k, v in found.options.items())
    title = f"Grader {versions}{'; ' + asked if asked else ''}: verdicts that changed"
    look: Any = {"box": SIMPLE_HEAD, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(title=escape(title), title_justify="left", **look)
    table.add_column("split, decoding")
    for heading in ("rows", "old %", "new %", "gained", "lost", "strict %", "new %"):
        table.add_column(heading, justify="right")
    for run, rows in shown.groupby("run", sort=False):
        table.add_row(escape(str(run)))
        for row in rows.to_dict("records"):
            table.add_row(*_cells(f"  {row['split']}, {row['decoding']}", row))
    table.add_section()
    counts = changes[["rows", "gained", "lost"]].sum()
    shares = found.responses[["correct_old", "correct", "strict_old", "strict"]].mean()
    total = counts.to_dict() | dict(zip(SHARES, shares, strict=True))
    table.add_row(*_cells(f"all; {len(changes) - len(shown)} without change", total))
    flipped: Any = found.flipped.drop_duplicates(["question_id", "response"])
    return [table, *([_examples(flipped, examples)] if len(flipped) and examples else [])]


def _cells(title: str, row: Mapping[str, Any]) -> list[str]:
    old, new, *strict = [f"{100 * row[k]:.1f}" for k in SHARES]
    return [title, str(row["rows"]), old, new, str(row["gained"]), str(row["lost"]), *strict]


def _examples(flipped: Any, count: int) -> Table:
    # shows both directions, if both occur
    order = flipped.groupby("correct").cumcount().sort_values(kind="stable").index
    table = Table(title=f"{min(count, len(flipped))} of {len(flipped)} answers", show_lines=True)
    for heading in ("question", "gold", "response", "before", "now", "rule"):
        table.add_column(heading, overflow="fold")
    for row in flipped.loc[order[:count]].to_dict("records"):
        said = [_said(row[f"correct{when}"], row[f"extracted{when}"]) for when in ("_old", "")]
        cells = (row["prompt"][-200:], row["gold"], row["response"][-400:], *said, row["how"])
        table.add_row(*map(escape, map(str, cells)))
    return table


def _said(correct: bool, extracted: Any) -> str:
    found = "" if pd.isna(extracted) else f": {extracted}"  # unknown in rows of rollouts
    return f"{'right' if correct else 'wrong'}{found}"
