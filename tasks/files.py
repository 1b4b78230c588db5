"""Tasks whose questions are rows of a file or of a data set on the hub.

A row that cannot be used (no JSON, a field missing, no gold answer, an unreadable one, a question
that occurred before) is left out, counted and reported by file and line. It is never scored and
never ends a run. A missing file, or a file without one good row, is a TaskError.
"""

import gzip
import json
import logging
import math
import os
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BeforeValidator, Field, field_validator

from tasks.answers.options import resolve

from .answers import GRADER_VERSION, Options, check, grade, gsm8k_strict, math_strict
from .base import Example, Grade, Task, TaskError, content_id, file_hash
from .embedded import rng

log = logging.getLogger("evenbench.tasks")

# The prompt of the RL papers on mathematics (Qwen2.5-Math, Dr. GRPO, DAPO and others).
BOXED = "{question}\nPlease reason step by step, and put your final answer within \\boxed{}."
HASHES = "{question}\nReason step by step, and end with `#### ` and the final answer."


class BadRow(ValueError):
    """Why a row cannot be used."""


class DataRow(NamedTuple):
    where: str  # path:line, or hub id[split]:row, counted from 1
    values: dict[str, Any] | BadRow


class Loaded(NamedTuple):
    examples: list[Example]
    held_out: frozenset[str]  # ids of the validation slice
    broken: list[str]


def _by_name(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    try:
        return resolve(None, given)
    except TypeError as error:  # pydantic reports ValueError with the key's path, not TypeError
        known = ", ".join(Options.__dataclass_fields__)
        raise ValueError(f"{error}; allowed are {known}") from error


Checker = Annotated[Options, BeforeValidator(_by_name)]  # a field `checker = {units = "strict"}`


def data_dir_from_environment() -> Path | None:
    folder = os.environ.get("EVENBENCH_DATA")
    return Path(folder) if folder else None


class FileTask(Task):
    """What the tasks on files share. A subclass says where question, answer and solution stand."""

    data_dir: Path | None = Field(default_factory=data_dir_from_environment)
    """Folder with the files named in `files`; by default $EVENBENCH_DATA. None or "": the hub."""
    hub: str = ""
    hub_config: str | None = None
    revision: str | None = None
    """Commit of the hub's data set; the results depend on it, so the default pins one."""
    prompt: str = BOXED
    """`{question}` is replaced, nothing else is. It is a message: the harness puts it into the
    model's chat template, if that is asked for."""
    validation: int = Field(500, ge=0)
    """Questions held out of train, those with the smallest hash of their letters and digits: a
    question and its reprint fall on the same side, and the file's order does not matter."""
    checker: Checker = Options()
    """Conventions of the answer checker, by name."""

    files: ClassVar[dict[str, str]]  # data split: path under data_dir
    hub_splits: ClassVar[dict[str, str]] = {}  # data split: the hub's name, where it differs
    grader_version: ClassVar[str] = GRADER_VERSION

    @field_validator("data_dir", mode="before")
    @classmethod
    def _no_folder(cls, given: Any) -> Any:
        return given or None

    @field_validator("prompt")
    @classmethod
    def _asks(cls, prompt: str) -> str:
        if "{question}" not in prompt:
            raise ValueError("the template must hold {question}")
        return prompt

    @abstractmethod
    def question_of(self, row: dict[str, Any]) -> str:
        """Raises BadRow, as the three below."""

    @abstractmethod
    def answer_of(self, row: dict[str, Any]) -> str:
        """The gold answer in the form that the checker gets."""

    def solution_of(self, row: dict[str, Any]) -> str | None:
        return None

    def meta_of(self, row: dict[str, Any]) -> dict[str, Any]:
        return {}

    def rows(self, data_split: str) -> Iterable[DataRow]:
        """The raw rows of one of `files`. Raises TaskError where there are none."""
        if self.data_dir is None:
            name = self.hub_splits.get(data_split, data_split)
            return hub_rows(self.hub, name, self.revision, name=self.hub_config)
        path = self.data_dir / self.files[data_split]
        if not path.is_file():
            hub = f" (without a data folder {self.hub} is loaded from the hub)" if self.hub else ""
            known = ", ".join(self.files.values())
            raise TaskError(f"no file {path}; a data folder holds {known}{hub}")
        return file_rows(path)

    def examples(self, split: str) -> Sequence[Example]:
        loaded = self._loaded(split)
        if split not in ("train", "validation"):
            return loaded.examples
        return [e for e in loaded.examples if (e.id in loaded.held_out) == (split == "validation")]

    def broken(self, split: str) -> Sequence[str]:
        return self._loaded(split).broken

    def _loaded(self, split: str) -> Loaded:
        if split not in self.splits:
            raise TaskError(f"no split {split!r}; allowed: {', '.join(self.splits)}")
        return self._data("train" if split == "validation" else split)

    def _data(self, data_split: str) -> Loaded:
        return _load(self, data_split)  # pyright: ignore[reportArgumentType]: frozen models hash

    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]:
        return [boxed_grade(response, example.gold, self.checker) for response in responses]

    def corpus(self, seed: int) -> Iterator[tuple[str, str]]:
        """The train split's solutions (its answers, where it has none), reshuffled without end."""
        examples = list(self.examples("train"))
        draw = rng("corpus", seed)
        while True:
            for example in sorted(examples, key=lambda _: draw.random()):
                yield example.prompt, example.solution or example.gold

    def fingerprint(self) -> dict[str, str]:
        if self.data_dir is not None:
            paths = {name: self.data_dir / name for name in self.files.values()}
            return {name: file_hash(path) for name, path in paths.items() if path.is_file()}
        loaded = {split: self._data(split) for split in self.splits if split != "validation"}
        return {
            f"{self.hub}[{split}]": content_id(*(f"{e.prompt}\x1e{e.gold}" for e in data.examples))
            for split, data in loaded.items()
        }


@cache
def _load(task: FileTask, data_split: str) -> Loaded:
    examples: dict[str, Example] = {}
    order: dict[str, str] = {}
    first: dict[str, str] = {}
    broken, total = [], 0
    for row in task.rows(data_split):
        total += 1
        try:
            if isinstance(row.values, BadRow):
                raise row.values
            question = task.question_of(row.values)
            key = content_id(question)
            if key in first:
                raise BadRow(f"the question of {first[key]} again")
            examples[key] = Example(
                id=key,
                prompt=task.prompt.replace("{question}", question),
                gold=task.answer_of(row.values),
                solution=task.solution_of(row.values),
                meta=task.meta_of(row.values),
            )
            first[key] = row.where
            order[key] = content_id(letters_and_digits(question))
        except BadRow as reason:
            broken.append(f"{row.where}: {reason}")
    if not examples:
        raise TaskError(broken[0] if broken else f"{data_split}: no rows")
    if broken:
        shown = "; ".join(broken[:3]) + ("; ..." if len(broken) > 3 else "")
        log.warning("%s: %d of %d rows left out: %s", data_split, len(broken), total, shown)
    held = sorted(order, key=order.__getitem__)[: task.validation if data_split == "train" else 0]
    if len(held) == len(order):
        raise TaskError(f"validation={task.validation} leaves none of {len(order)} training rows")
    return Loaded(list(examples.values()), frozenset(held), broken)


def letters_and_digits(text: str) -> str:
    """What is left of a text for comparison: letters and digits of any script, in lower case."""
    return re.sub(r"[\W_]+", "", text.casefold())


def text_field(row: dict[str, Any], *names: str) -> str:
    """The first of these fields that the row has, as text that is not blank. Raises BadRow."""
    name = next((name for name in names if row.get(name) is not None), None)
    if name is None:
        fields = " or ".join(map(repr, names))
        if any(name in row for name in names):
            raise BadRow(f"field {fields} is null")
        raise BadRow(f"no field {fields}; the row has {', '.join(row) or 'none'}")
    value = row[name]
    if not isinstance(value, str):
        raise BadRow(f"field {name!r} is {type(value).__name__}, not text")
    if not value.strip():
        raise BadRow(f"field {name!r} is empty")
    return value


_NUMBER = re.compile(r"-?(\d+(\.\d+)?|\.\d+)")


def number_gold(text: str) -> str:
    """A gold answer that must be a number: commas, a dollar sign, a final point and leading zeros
    (AIME's 025) are dropped."""
    clean = text.strip().replace(",", "").lstrip("$").rstrip(".")
    if not _NUMBER.fullmatch(clean):
        raise BadRow(f"the gold answer {text!r} is no number")
    return re.sub(r"^(-?)0+(?=\d)", r"\1", clean)


def readable_gold(text: str) -> str:
    """A gold answer that the checker can read (words count as text, so they are readable)."""
    status = check("", text).status  # an empty answer: the gold is read, and nothing is compared
    if status != "unparsable_answer":
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise BadRow(f"the checker cannot read the gold answer {shown!r} ({status})")
    return text.strip()


def number_field(row: dict[str, Any], name: str) -> str:
    """A field that holds a number, or text that is one, as text without a float's noise."""
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        text = str(value) if isinstance(value, int) else f"{Decimal(f'{value:.15g}'):f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return number_gold(text_field(row, name))


def file_rows(path: Path) -> Iterator[DataRow]:
    """Rows of a .jsonl, .jsonl.gz or .parquet file."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        try:
            rows = pyarrow.parquet.read_table(path).to_pylist()  # keeps whole numbers and gaps
        except (OSError, ValueError) as error:
            raise TaskError(f"{path}: cannot be read: {error}") from error
        yield from (DataRow(f"{path}:{i}", values) for i, values in enumerate(rows, 1))
        return
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise TaskError(f"{path}: unknown kind of file; allowed are .jsonl, .jsonl.gz and .parquet")
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield DataRow(f"{path}:{number}", _json_object(line))
    except (OSError, EOFError) as error:
        raise TaskError(f"{path}:{number + 1}: cannot be read: {error}") from error


def _json_object(line: bytes) -> dict[str, Any] | BadRow:
    try:
        value = json.loads(line)
    except ValueError as error:  # of JSON or of UTF-8
        return BadRow(f"no JSON: {error}")
    return value if isinstance(value, dict) else BadRow("no JSON object")


def hub_rows(hub: str, split: str, revision: str | None, **which: Any) -> Iterator[DataRow]:
    """Rows of a data set on the hub (or of a local folder that `datasets` can load); `which` is
    the configuration's `name` or `data_dir`."""
    if not hub:
        raise TaskError("no data: give a data folder (--data-dir or EVENBENCH_DATA)")
    try:
        import datasets
    except ImportError as error:
        raise TaskError(f"{hub}: the package `datasets` is not installed") from error
    try:
        rows = datasets.load_dataset(hub, split=split, revision=revision, **which)
    except Exception as error:  # the many ways in which a hub cannot be reached
        raise TaskError(
            f"{hub}[{split}] could not be loaded: {error}; "
            "a local folder needs no network (--data-dir or EVENBENCH_DATA)"
        ) from error
    for i, values in enumerate(rows, 1):
        yield DataRow(f"{hub}[{split}]:{i}", dict(values))


def boxed_grade(response: str, gold: str, options: Options, number: bool = False) -> Grade:
    r"""Answers asked for in a box.

    flexible (the headline): the checker's reading of the response, by equivalence. strict: the last
    \boxed as MATH's authors compare it, as strings; of a number commas are dropped, as in GSM8K.
    """
    verdict = grade(response, gold, "auto", options)
    comparable = response.replace("{,}", "").replace(",", "") if number else response
    strict = math_strict(comparable, gold)
    return Grade(verdict.correct, strict, verdict.status, verdict.how, extracted=verdict.extracted,
                 format_ok="\\boxed" in response)  # fmt: skip


def hashes_grade(response: str, gold: str, options: Options) -> Grade:
    """Answers asked for after `####`: flexible is the last number, strict GSM8K's protocol."""
    verdict = grade(response, gold, "last-number", options)
    strict = gsm8k_strict(response, gold)
    return Grade(verdict.correct, strict, verdict.status, verdict.how, extracted=verdict.extracted,
                 format_ok="#### " in response)  # fmt: skip
