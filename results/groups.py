"""Questions in groups, by what their task says of each: GSM8K's steps, MATH's level, skills' rung.

A run stores it with its last evaluation (`meta` of results.records.EvalRow); runs of earlier
versions did not, and then there is no group.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy import stats as sp

from . import scores
from .memoise import remembered
from .tally import Unreadable, read_table

if TYPE_CHECKING:
    from .runs import Results

MOST = 12  # groups of a field; one with more, as a number that is in each question, gives none
Meta = Mapping[str, Any]


@remembered
def metas(results: Results) -> dict[tuple[str, str], dict[str, Any]]:
    """(task, question id) -> what the task says of the question."""
    asked: dict[int, set[str]] = {}
    for c in results.tally.counts:
        asked.setdefault(c.run, set()).update(results.tally.questions[q] for q in c.questions_Q)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for place, (task, path) in enumerate(results.runs[["task", "path"]].itertuples(index=False)):
        if all((str(task), q) in found for q in asked.get(place, ())):
            continue  # an earlier run has told of them all
        try:
            table = read_table(Path(path) / "evals.parquet", ["question_id", "meta"])
        except Unreadable:
            continue  # it is among the problems
        if "meta" in table.column_names:
            rows: Any = table.to_pandas().dropna().drop_duplicates("question_id")
            told = zip(rows["question_id"].astype(str), rows["meta"], strict=True)
            found |= {(str(task), q): json.loads(text) for q, text in told}
    return found


def fields(metas: Iterable[Meta]) -> list[str]:
    """The fields that put questions into 2 to MOST groups, in the order in which the task names
    them."""
    values: dict[str, set[Hashable]] = {}
    for meta in metas:
        for name, value in meta.items():
            if value is not None and isinstance(value, Hashable):
                values.setdefault(name, set()).add(value)
    return [name for name, there in values.items() if 2 <= len(there) <= MOST]


def of_task(results: Results, task: str) -> dict[str, dict[str, Any]]:
    """Question id -> what the task says of it."""
    return {q: meta for (of, q), meta in metas(results).items() if of == task}


def grouped(frame: pd.DataFrame, metas: Mapping[str, Meta], field: str) -> pd.DataFrame:
    """The rows of a frame with `question_id` that belong to a group, with `group`."""
    found = {q: value for q, meta in metas.items() if (value := meta.get(field)) is not None}
    group = frame["question_id"].astype("object").map(found)
    return frame[group.notna()].assign(group=group[group.notna()])


def group_scores(
    results: Results, task: str, field: str, split: str | None = None, *,
    decoding: str | None = None, at: scores.At = "last",
) -> pd.DataFrame:  # fmt: skip
    """`scores.question_scores` of one task with the `group` of each question."""
    split = split or scores.headline_split(results)
    decoding = decoding or scores.decoding_of(scores.headline_metric(results))
    frame = scores.question_scores(results, split, decoding, at=at)
    return grouped(frame[frame["task"] == task], of_task(results, task), field)


def ordered(start: Mapping[Any, float]) -> list[Any]:
    """Groups in an order for reading, given the start's accuracy in each (NaN: unknown). Numbers,
    also in words such as "50 %" or "Level 3", in their natural order, beginning at the end at which
    the start is better; others by the start's accuracy, best first."""
    numbers = {group: _number(group) for group in start}
    known = {g: n for g, n in numbers.items() if n is not None}
    if len(known) < len(start):
        return sorted(start, key=lambda g: (-start[g] if start[g] == start[g] else 1.0, str(g)))
    pairs = [(n, start[g]) for g, n in known.items() if start[g] == start[g]]
    rising = len(pairs) > 1 and sp.kendalltau(*zip(*pairs, strict=True)).statistic > 0
    return sorted(known, key=lambda g: known[g], reverse=bool(rising))


def _number(group: object) -> float | None:
    """The only number in it."""
    if isinstance(group, int | float):
        return float(group)
    found = re.findall(r"-?\d+(?:\.\d+)?", str(group))
    return float(found[0]) if len(found) == 1 else None
