"""The folder of a run or a suite, as far as it says what the run was and how it ended."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from .records import DoneRecord, RunRecord, SchemaError, SuiteRecord

# what may differ between runs of one treatment
INCIDENTAL = {"seed", "method", "micro_tokens", "checkpoint", "keep_rollouts", "track"}


class Problem(NamedTuple):
    run: str  # folder name
    what: str

    def __str__(self) -> str:
        return f"{self.run}: {self.what}"


@dataclass(frozen=True)
class StoredRun:
    """One run's folder and the label under which it is counted."""

    folder: Path
    record: RunRecord
    done: DoneRecord | None
    suite: str
    method: str

    @property
    def status(self) -> str:
        return self.done.status if self.done else "unfinished"

    @property
    def keys(self) -> dict[str, Any]:
        return {"suite": self.suite, "task": self.record.task, "method": self.method,
                "seed": self.record.seed, "run": self.record.id}  # fmt: skip

    @property
    def settings(self) -> str:
        """Eight hex digits: equal for runs of one treatment, whatever their seed."""
        known = {"objective", "fields", "source", "budget", "grader", "data"}
        parts = self.record.model_dump(include=known)
        parts["base"] = self.record.base and self.record.base.id
        parts["config"] = {k: v for k, v in self.record.config.items() if k not in INCIDENTAL}
        return _hash(parts, 8)

    def row(self) -> dict[str, Any]:
        """Its row of `Results.runs`."""
        record, done = self.record, self.done
        axis, budget = next(iter(record.budget.items()), (None, None))
        return {
            **self.keys,
            "status": self.status,
            "reason": done and done.reason,
            "last_step": done and done.step,
            "wall_seconds": done and done.seconds,
            "objective": record.objective or self.method,
            "source": record.source,
            "budget_axis": axis,
            "budget": budget,
            "grader": record.grader and record.grader.version,
            "data": _hash(record.data, 12) if record.data else None,
            "base": record.base and record.base.id,
            "hardware": _machine(record.hardware),
            "settings": self.settings,
            "fields": record.fields,
            "config": record.config,
            "warnings": record.warnings,
            "path": str(self.folder),
        }


def _machine(hardware: dict[str, Any]) -> str:
    """What its seconds depend on: GPU, or CPU with cores and threads."""
    if hardware.get("gpu"):
        return str(hardware["gpu"])
    cores, threads = hardware.get("cores"), hardware.get("threads")
    return f"{hardware.get('cpu', 'unknown')}, {cores} cores, {threads} threads"


def _hash(content: object, digits: int) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def run_folders(place: Path) -> list[Path]:
    """Folders of runs in a run, a suite or a folder of suites; a run is known by its files."""
    marks = ("run.json", "steps.jsonl", "evals.parquet", "error.txt")
    found = {f.parent for depth in ("", "*/", "*/*/") for m in marks for f in place.glob(depth + m)}
    return sorted(found)


def read_suite(folder: Path) -> SuiteRecord:
    """Of suite.json; an empty one where there is none. Raises SchemaError."""
    try:
        return SuiteRecord.read(folder / SuiteRecord.file)
    except SchemaError:
        raise
    except (OSError, ValueError):
        return SuiteRecord()


def read_run(folder: Path) -> tuple[StoredRun | None, list[Problem]]:
    """The run in a folder, unless its record is missing or broken, and what is wrong with it.
    Raises SchemaError."""
    name = folder.name
    try:
        record = RunRecord.read(folder / RunRecord.file)
    except FileNotFoundError:
        return None, [Problem(name, _failure(folder) or "no run.json: left out")]
    except SchemaError:
        raise
    except ValueError as error:
        return None, [Problem(name, f"run.json is broken ({error}): left out")]
    suite = record.suite or folder.parent.name
    run = StoredRun(folder, record, done=None, suite=suite, method=record.method)
    try:
        done = DoneRecord.read(folder / DoneRecord.file)
    except FileNotFoundError:
        return run, [Problem(name, _failure(folder) or "unfinished: not counted")]
    except SchemaError:
        raise
    except ValueError as error:
        return run, [Problem(name, f"DONE is broken ({error}): taken as unfinished")]
    diverged = done.status == "diverged"
    problems = [Problem(name, f"diverged: {done.reason}")] if diverged else []
    return replace(run, done=done), problems


def _failure(folder: Path) -> str | None:
    """The last line of the traceback that ended a run without a result."""
    try:
        lines = (folder / "error.txt").read_text().strip().splitlines()
    except OSError:
        return None
    return f"failed, not counted: {lines[-1]}" if lines else None


def read_steps(folder: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Rows of steps.jsonl, without the broken ones."""
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
