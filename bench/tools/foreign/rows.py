"""What every importer finds, and the folder that is made of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bench.record.store import RunFolder
from results.folders import read_run, run_folders
from results.records import EVAL_COLUMNS, DoneRecord, Grader, Imported, RunRecord
from tasks import content_id

DIGITS = 8  # of the hash at the end of a folder's name


class LogError(ValueError):
    """A log that cannot be read as it stands: path, line, what is wrong, what is allowed."""


@dataclass(frozen=True)
class Asked:
    """What the user says of a log; None where the log itself tells it."""

    method: str | None = None  # label of the method, or of the model
    seed: int | None = None  # of the training run; None: not known
    task: str | None = None


NOTHING = Asked()


@dataclass(frozen=True)
class Foreign:
    """The answers of one model or run. `rows` has EVAL_COLUMNS but `step`, as far as the log tells
    them."""

    method: str
    seed: int | None  # of the training run; None: not known
    task: str
    grader: str  # who decided what is right
    rows: pd.DataFrame
    origin: Imported
    asked: dict[str, Any] = field(default_factory=dict)  # how: shots, temperature, template
    left_out: tuple[str, ...] = ()  # what the log holds and the rows do not, and why


def write(found: Iterable[Foreign], out: Path) -> list[Path]:
    """Make a folder for each in `out`; importing the same again changes nothing.

    Raises:
        LogError: `out` holds other answers of the same method, task and seed.
    """
    found = list(found)
    named = [_name(one) for one in found]
    there = {run.record.id: run for f in run_folders(out) if (run := read_run(f)[0])}
    for i, one in enumerate(found):
        key = (one.method, one.task, one.seed or 0)
        for run in there.values():
            other = (run.record.method, run.record.task, run.record.seed)
            if other == key and run.record.id != named[i]:
                raise LogError(
                    f"{run.folder}: holds other answers of {_said(one)}; delete that folder, or "
                    "give another --out or --method"
                )
    return [_write(one, out / named[i], out.name) for i, one in enumerate(found)]


def _said(one: Foreign) -> str:
    return one.method if one.seed is None else f"{one.method}, seed {one.seed}"


def _name(one: Foreign) -> str:
    """The folder's name; its hash is of everything that was read."""
    content = [one.method, one.task, str(one.seed), *sorted(one.origin.files.values())]
    words = (re.sub(r"[^A-Za-z0-9.]+", "-", w).strip("-")[-60:] for w in (one.method, one.task))
    return f"{'-'.join(words)}-s{one.seed or 0}-{content_id(*content)[:DIGITS]}"


def _write(one: Foreign, path: Path, suite: str) -> Path:
    folder, now = RunFolder(path), datetime.now(UTC).isoformat(timespec="seconds")
    if folder.done:
        return path
    path.mkdir(parents=True, exist_ok=True)
    folder.write(
        RunRecord(
            id=path.name, suite=suite, method=one.method, task=one.task, seed=one.seed or 0,
            objective="none" if one.seed is None else one.method, started=now,
            config={"asked": one.asked} if one.asked else {}, grader=Grader(version=one.grader),
            imported=one.origin,
        )
    )  # fmt: skip
    (path / "steps.jsonl").touch()
    rows = one.rows.assign(step=0)
    folder.replace_evals(rows.loc[:, [c for c in EVAL_COLUMNS if c in rows]])
    folder.write(DoneRecord(status="finished", step=0, seconds=0.0, ended=now))
    return path


def digest(path: Path) -> str:
    """SHA-256 of a file's content. Raises LogError: it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LogError(f"{path}: {error.strerror or error}") from None


def parsed(text: str | bytes, where: str) -> dict[str, Any]:
    """A JSON object. Raises LogError, with `where` before what is wrong."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LogError(f"{where}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise LogError(f"{where}: a JSON object is expected, found {type(content).__name__}")
    return content


def whole(text: str, where: str, most: int) -> int:
    """A whole number from 0 to `most`. Raises LogError."""
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise LogError(f"{where} is {text!r}; allowed: a whole number from 0 to {most}")
    return int(text)
