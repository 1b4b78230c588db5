"""SVAMP: 1,000 one-step word problems with distracting numbers (arXiv:2103.07191; MIT licence).

For evaluation only. Locally `eval/svamp.jsonl` (Body, Question, Answer); the hub's copy divides the
1,000 into train and test, which are read together, as papers on reasoning do.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from . import register
from .base import Example, Grade
from .files import FileTask, boxed_grade, number_field, text_field


@register("svamp")
class SVAMP(FileTask):
    """One-step word problems with distracting numbers; evaluation only."""

    hub: str = "ChilleD/SVAMP"
    revision: str | None = "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef"

    splits: ClassVar[tuple[str, ...]] = ("test",)
    files: ClassVar[dict[str, str]] = {"test": "eval/svamp.jsonl"}
    hub_splits: ClassVar[dict[str, str]] = {"test": "train+test"}

    def question_of(self, row: dict[str, Any]) -> str:
        return f"{text_field(row, 'Body').strip()} {text_field(row, 'Question').strip()}"

    def answer_of(self, row: dict[str, Any]) -> str:
        return number_field(row, "Answer")

    def meta_of(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"type": row.get("Type")}

    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]:
        return [boxed_grade(r, example.gold, self.checker, number=True) for r in responses]
