"""GSM-Hard: GSM8K's test questions with large numbers (PAL, arXiv:2211.10435; MIT licence).

For evaluation only: 1,319 rows, `input` and `target`, locally `eval/gsm_hard.jsonl`. The targets
are floats that a program computed, 303 of them no whole numbers (some make no sense in the story:
the numbers were replaced blindly).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from tasks.answers.protocols import math_answer

from . import register
from .base import Example, Grade
from .files import BadRow, FileTask, boxed_grade, number_field, number_gold, text_field


@register("gsm_hard")
class GSMHard(FileTask):
    """GSM8K's test questions with large numbers; evaluation only."""

    hub: str = "reasoning-machines/gsm-hard"

    splits: ClassVar[tuple[str, ...]] = ("test",)
    files: ClassVar[dict[str, str]] = {"test": "eval/gsm_hard.jsonl"}
    hub_splits: ClassVar[dict[str, str]] = {"test": "train"}

    def question_of(self, row: dict[str, Any]) -> str:
        return text_field(row, "input")

    def answer_of(self, row: dict[str, Any]) -> str:
        return number_field(row, "target")

    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]:
        """strict: the boxed number is within 0.001 of the target, as PAL scores."""
        return [
            replace(
                boxed_grade(response, example.gold, self.checker),
                strict=_within(math_answer(response), float(example.gold)),
            )
            for response in responses
        ]


def _within(answer: str | None, target: float) -> bool:
    try:
        return abs(float(number_gold(answer or "")) - target) < 1e-3
    except BadRow:
        return False
