"""Any file or hub data set with a question and an answer in each row: AIME, AMC, OlympiadBench, ...

The recipe says where they stand; docs/tasks.md has entries for these three.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from . import register
from .base import Example, Grade, TaskError, file_hash
from .files import (
    BOXED,
    HASHES,
    BadRow,
    DataRow,
    FileTask,
    boxed_grade,
    file_rows,
    hashes_grade,
    hub_rows,
    number_field,
    readable_gold,
    text_field,
)


class _Splits:
    """Of the class, every split that there can be; of a task, those that it has data for."""

    def __get__(self, task: Jsonl | None, owner: type[Jsonl]) -> tuple[str, ...]:
        if task is None:
            return ("train", "validation", "test")
        return (("train", "validation") if task.train else ()) + (("test",) if task.test else ())


@register("jsonl")
class Jsonl(FileTask):
    """Any .jsonl, .jsonl.gz or .parquet file, or hub data set, by the names of its columns."""

    train: str | None = None
    """A file, absolute or in the data folder (else in the working folder); with `hub`, a split."""
    test: str | None = None
    question: str = "question"
    answer: str = "answer"
    r"""A column of final answers (text, numbers or lists of one), not of worked solutions."""
    solution: str | None = None
    """A column of worked solutions, which serve as demonstrations."""
    keep: tuple[str, ...] = ()
    """Columns that go into each example's meta."""
    kind: Literal["math", "number"] = "math"
    """number: a gold answer that is no number makes its row a broken one."""
    style: Literal["boxed", "hashes"] = "boxed"
    prompt: str = ""
    """Empty: the template of the style."""

    splits: ClassVar[Any] = _Splits()
    files: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _template(cls, given: dict[str, Any]) -> dict[str, Any]:
        template = HASHES if given.get("style") == "hashes" else BOXED
        return {**given, "prompt": given.get("prompt") or template}

    @model_validator(mode="after")
    def _some_data(self) -> Jsonl:
        if not (self.train or self.test):
            raise ValueError("name the data: train, test or both")
        return self

    def rows(self, data_split: str) -> Iterable[DataRow]:
        where = self.train if data_split == "train" else self.test
        assert where is not None  # it would not be among the splits
        if self.hub:
            return hub_rows(self.hub, where, self.revision, name=self.hub_config)
        path = self._path(where)
        if not path.is_file():
            raise TaskError(f"no file {path}, which the field {data_split!r} names")
        return file_rows(path)

    def _path(self, name: str) -> Path:
        return (self.data_dir or Path()) / name  # an absolute name stays what it is

    def fingerprint(self) -> dict[str, str]:
        if self.hub:
            return super().fingerprint()
        return {name: file_hash(self._path(name)) for name in (self.train, self.test) if name}

    def question_of(self, row: dict[str, Any]) -> str:
        return text_field(row, self.question)

    def answer_of(self, row: dict[str, Any]) -> str:
        value = row.get(self.answer)
        if isinstance(value, list):  # OlympiadBench
            if len(value) != 1:
                raise BadRow(f"field {self.answer!r} holds {len(value)} answers, not one")
            value = value[0]
        row = {**row, self.answer: value}
        if self.kind == "number" or not isinstance(value, str | None):
            return number_field(row, self.answer)
        text = text_field(row, self.answer)
        formula = re.fullmatch(r"\s*\$([^$]+)\$\s*", text)  # OlympiadBench: `$\frac12$`
        return readable_gold(formula[1] if formula else text)

    def solution_of(self, row: dict[str, Any]) -> str | None:
        return text_field(row, self.solution) if self.solution else None

    def meta_of(self, row: dict[str, Any]) -> dict[str, Any]:
        return {name: row.get(name) for name in self.keep}

    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]:
        if self.style == "hashes":
            return [hashes_grade(response, example.gold, self.checker) for response in responses]
        number = self.kind == "number"
        return [boxed_grade(r, example.gold, self.checker, number) for r in responses]
