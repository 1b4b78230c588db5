"""The contract between a task and the harness: what is asked, and how an answer is graded."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


def content_id(*parts: str) -> str:
    """Sixteen hex digits of the content: ids are hashes, never positions."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Example:
    """One question. `gold` is the final answer; `solution` is the reference answer text (a
    demonstration), None where the task has none or holds it back."""

    id: str
    prompt: str
    gold: str
    solution: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)  # subject, level, steps, ...


@dataclass(frozen=True)
class Grade:
    """How one response was graded."""

    correct: bool  # the task's headline reading (flexible extraction)
    strict: bool  # the task's official protocol
    status: str  # ok | wrong | unparsable_answer | unparsable_gold | timeout | limit
    how: str  # which rule decided
    extracted: str | None  # the answer found in the response
    format_ok: bool  # the response gives its answer in the form that was asked for
    reward: float | None = None  # of a judge or reward model; None: 1 if correct, else 0


class TaskError(ValueError):
    """Data of a task is missing or broken; the message holds path and line, and what is allowed."""


class Task(BaseModel, ABC):
    """Splits of examples and a grader. Subclasses declare their options as pydantic fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    splits: ClassVar[tuple[str, ...]] = ("train", "validation", "test")  # disjoint by content
    headline: ClassVar[str] = "test"
    grader_version: ClassVar[str] = "1"
    max_tokens: ClassVar[int] = 512  # default generation limit
    gold_reward: ClassVar[float] = 1.0  # of a reference answer: the largest that a sample can earn
    stop: ClassVar[tuple[str, ...]] = ()  # strings that end a response, besides the end token
    # The tokenizer of a toy model built for the task: the regex whose matches are the tokens (each
    # one in `vocabulary()`), or None for a byte-level BPE trained on the corpus.
    word_pattern: ClassVar[str | None] = None

    # Of a toy model built for the task: fields of [model.pretrain] that differ from its defaults.
    pretrain: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def examples(self, split: str) -> Sequence[Example]:
        """All examples of a split in a fixed order. Raises TaskError with path and line."""

    def broken(self, split: str) -> Sequence[str]:
        """Rows of the split's data that are left out: a line each, `path:line: reason`."""
        return ()

    @abstractmethod
    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]: ...

    def behaviour(self, example: Example, response: str) -> str | None:
        """What a response does, for `evenbench check`: "guess" if it shows no work, "right" if the
        step that matters is right in its work, else a word of the task's own (misconception, ...);
        None: the task does not say."""
        return None

    def declared(self, example: Example) -> float | None:
        """Of the corpus' worked answers to such a question, the share whose behaviour is "right":
        what a base model that has learnt the corpus shows. None: the task does not say."""
        return None

    @abstractmethod
    def corpus(self, seed: int) -> Iterator[tuple[str, str]]:
        """Endless (prompt, response) texts that pretrain a toy model built for the task, and its
        tokenizer. Never test data."""

    def vocabulary(self) -> tuple[str, ...]:
        """Every token that `word_pattern` can find in this task's texts, in a fixed order."""
        return ()

    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """Hashes of the data that results depend on, by split or file; they enter run.json."""


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
