"""CSV files: a row per answer.

| column | what |
|---|---|
| question | id or text of the question; rows of two methods pair where it is equal |
| correct | 1, 0, true or false |
| method | label of the method, or of the model where there is no seed |
| sample | optional: number of the answer among several to one question, from 0 on |
| seed | optional: seed of the training run that gave the answer, from 0 on |

Further columns are left out. Answers count as sampled (avg@K) however many there are, for a file
does not say how they were drawn.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd

from results.records import Imported

from .rows import NOTHING, Asked, Foreign, LogError, digest, whole

NEEDED = ("question", "correct", "method")
KNOWN = (*NEEDED, "sample", "seed")
MOST = {"sample": 2**15 - 1, "seed": 2**31 - 1}  # what the columns of our files hold
VERDICTS = {"1": True, "0": False, "true": True, "false": False, "1.0": True, "0.0": False}


def csv_runs(path: Path, asked: Asked = NOTHING) -> list[Foreign]:
    """A run per method and seed, in the order of the file. `asked` names the task, and the method
    or seed where the file has no such column.

    Raises:
        LogError: a missing column, a value that is not allowed, or an answer that stands twice.
    """
    origin = Imported(tool="csv", files={str(path): digest(path)})
    rows, left_out = _read(path, asked)
    found = []
    groups: Any = rows.groupby(["method", "seed"], sort=False, dropna=False)
    for (method, seed), own in groups:
        found.append(
            Foreign(
                method=str(method), seed=None if pd.isna(seed) else int(seed),
                task=asked.task or "imported", grader="csv", origin=origin, left_out=left_out,
                rows=own.drop(columns=["method", "seed"]).reset_index(drop=True),
            )
        )  # fmt: skip
    return found


def _read(path: Path, asked: Asked) -> tuple[pd.DataFrame, tuple[str, ...]]:
    given = {"method": asked.method, "seed": None if asked.seed is None else str(asked.seed)}
    given = {name: value for name, value in given.items() if value is not None}
    rows: list[dict[str, object]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            columns = _fill(rows, csv.DictReader(file, strict=True), given, path)
    except UnicodeDecodeError as error:
        raise LogError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    if not rows:
        raise LogError(f"{path}: no row below the names of the columns")
    frame = pd.DataFrame(rows).rename(columns={"question": "question_id"})
    frame = frame.assign(split="test", decoding="sampled")
    frame["status"] = ["ok" if right else "wrong" for right in frame["correct"]]
    others = [c for c in columns if c not in KNOWN]
    return frame, (f"columns left out: {', '.join(others)}",) if others else ()


def _fill(
    rows: list[dict[str, object]], reader: csv.DictReader[str], given: dict[str, str], path: Path
) -> list[str]:
    """Put every row into `rows`; returns the names of the columns."""
    seen: dict[tuple[str, ...], int] = {}
    try:
        reader.fieldnames = columns = [c.strip() for c in reader.fieldnames or ()]
        _check(path, columns, given)
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                raise LogError(f"{where}: expected {len(columns)} cells, as in line 1")
            one = _row({**row, **given}, where)
            key = tuple(str(one[k]) for k in ("question", "sample", "method", "seed"))
            if (first := seen.setdefault(key, reader.line_num)) != reader.line_num:
                raise LogError(
                    f"{where}: the same question, sample, method and seed as line {first}; "
                    "allowed: each once (a column sample numbers several answers)"
                )
            rows.append(one)
    except csv.Error as error:
        raise LogError(f"{path}:{reader.line_num}: not CSV ({error})") from None
    return columns


def _check(path: Path, columns: list[str], given: dict[str, str]) -> None:
    what = f"{path}:1: "
    if missing := [c for c in NEEDED if c not in columns and c not in given]:
        raise LogError(
            f"{what}no column {', '.join(missing)}; needed: {', '.join(NEEDED)}; optional: sample, "
            f"seed; found: {', '.join(columns) or 'none'}"
        )
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        raise LogError(f"{what}column {', '.join(twice)} stands twice")
    if both := [c for c in given if c in columns]:
        raise LogError(f"{what}the file has a column {both[0]}; leave out --{both[0]}")


def _row(row: dict[str, str], where: str) -> dict[str, object]:
    text = {name: row[name].strip() for name in KNOWN if name in row}
    for name in ("question", "method"):
        if not text[name]:
            raise LogError(f"{where}: {name} is empty")
    if (verdict := VERDICTS.get(text["correct"].lower())) is None:
        raise LogError(
            f"{where}: correct is {text['correct']!r}; allowed: 1, 0, true, false (a share of "
            "several answers needs a row for each, with a column sample)"
        )
    numbers = {n: whole(text[n], f"{where}: {n}", m) for n, m in MOST.items() if n in text}
    return {"question": text["question"], "method": text["method"], "correct": verdict,
            "sample": 0, "seed": None, **numbers}  # fmt: skip
