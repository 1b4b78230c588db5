"""evals.parquet -> what a report asks of it, small enough for hundreds of runs.

500 runs x 200 evaluations x 500 questions are a hundred million rows. Nearly every question about
them is how many samples of a question were right at a step, so each run's file is read once and
counted. Of its first and last evaluations the rows themselves are kept, without their texts.

Shape suffixes: S evaluations (steps), Q questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .records import EVAL_COLUMNS

TEXTS = ("response", "prompt", "gold", "meta")
WITHOUT_TEXTS = [c for c in EVAL_COLUMNS if c not in TEXTS]
# no evaluation without these columns
NEEDED = ("step", "split", "question_id", "decoding", "sample", "correct")
CATEGORIES = ("split", "question_id", "decoding", "status", "extracted")


class Unreadable(Exception):
    """No file, a broken one, or one that lacks what is needed; the message is for the user."""


@dataclass(frozen=True)
class Counts:
    """All evaluations of one run on one split with one decoding."""

    run: int  # its row in `.runs`
    split: str
    decoding: str
    steps_S: np.ndarray  # ascending
    questions_Q: np.ndarray  # ascending, places in `Tally.questions`
    samples_SQ: np.ndarray  # 0 where a question was not asked; unsigned integers, as small as fits
    correct_SQ: np.ndarray  # samples that the task's headline reading calls right
    strict_SQ: np.ndarray | None  # and its official protocol; None where the file lacks it


@dataclass(frozen=True)
class Tally:
    """The evaluations of many runs, counted."""

    counts: list[Counts]
    questions: list[str]  # ids
    columns: set[str]  # of EVAL_COLUMNS without the texts, those that a file has
    ends: pd.DataFrame  # rows of `.evals`: the first and the last step of each Counts

    @property
    def splits(self) -> set[str]:
        return {c.split for c in self.counts}

    @property
    def decodings(self) -> set[str]:
        return {c.decoding for c in self.counts}

    @property
    def most_samples(self) -> int:
        """The largest number of sampled answers to a question."""
        drawn = (int(c.samples_SQ.max()) for c in self.counts if c.decoding == "sampled")
        return max(drawn, default=0)


def read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """Those of the columns that the file has; CATEGORIES as dictionaries of strings.

    Raises:
        Unreadable: the file is missing or broken, or lacks one of NEEDED.
    """
    try:
        there = pq.read_schema(path).names
        # many times as fast as to make strings of them first
        words = [c for c in CATEGORIES if c in there]
        with pq.ParquetFile(path, read_dictionary=words) as file:
            missing = [c for c in NEEDED if c not in there]
            if missing:
                raise Unreadable(f"evals.parquet lacks {', '.join(missing)}: left out")
            table = file.read([c for c in columns if c in there])
    except FileNotFoundError:
        raise Unreadable("no evals.parquet") from None
    except (OSError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise Unreadable(f"evals.parquet is broken ({what}): left out") from None
    holes = [c for c in (*NEEDED, "strict") if c in table.column_names and table[c].null_count]
    if holes:
        raise Unreadable(f"evals.parquet has rows without {', '.join(holes)}: left out")
    codes = pa.dictionary(pa.int32(), pa.string())
    for at, column in enumerate(table.column_names):
        if column in CATEGORIES and table[column].type != codes:
            strings = table[column].cast(pa.string())
            table = table.set_column(at, column, strings.dictionary_encode())
    return table.unify_dictionaries().combine_chunks()


def take(table: pa.Table, rows_N: np.ndarray) -> pa.Table:
    """Some rows, and of the dictionaries only what they use."""
    table = table.take(pa.array(rows_N))
    for at, column in enumerate(table.column_names):
        if pa.types.is_dictionary(table[column].type):
            strings = table[column].cast(pa.string())
            table = table.set_column(at, column, strings.dictionary_encode())
    return table


def count(table: pa.Table, run: int, places: dict[str, int]) -> tuple[list[Counts], np.ndarray]:
    """Counts of one run, a split and decoding each, and the rows of their first and last steps.

    Args:
        table: NEEDED, and strict where it is known.
        run: its row in `.runs`.
        places: question -> place; new questions are added.
    """
    step, correct = (table[c].to_numpy() for c in ("step", "correct"))
    strict = table["strict"].to_numpy() if "strict" in table.column_names else None
    (splits, split), (decodings, decoding), (ids, question) = (
        _codes(table[c]) for c in ("split", "decoding", "question_id")
    )
    question = np.array([places.setdefault(i, len(places)) for i in ids], int)[question]
    found, ends = [], [np.empty(0, int)]
    kind = split * len(decodings) + decoding
    for one in np.flatnonzero(np.bincount(kind)):
        rows = np.flatnonzero(kind == one)
        steps_S, s = _dense(step[rows])
        questions_Q, q = _dense(question[rows])
        shape, cell = (len(steps_S), len(questions_Q)), s * len(questions_Q) + q
        found.append(
            Counts(
                run, splits[one // len(decodings)], decodings[one % len(decodings)],
                steps_S, questions_Q=questions_Q, samples_SQ=_counted(cell, shape),
                correct_SQ=_counted(cell[correct[rows]], shape),
                strict_SQ=None if strict is None else _counted(cell[strict[rows]], shape),
            )
        )  # fmt: skip
        ends.append(rows[(s == 0) | (s == len(steps_S) - 1)])
    return found, np.sort(np.concatenate(ends))


def _codes(column: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    words = column.combine_chunks()
    return words.dictionary.to_pylist(), words.indices.to_numpy()


def _dense(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers, ascending, and each one's place among them. For natural numbers: the
    same as np.unique, without sorting."""
    there = np.bincount(x) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[x]


def _counted(cell: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    return counts.astype(np.min_scalar_type(counts.max(initial=0)))
