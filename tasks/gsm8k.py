"""GSM8K: 7,473 and 1,319 grade-school word problems (Cobbe et al., arXiv:2110.14168; MIT licence).

Locally `gsm8k/train.jsonl` and `gsm8k/test.jsonl` with `question` and `answer`, whose last line is
`#### n`; from the hub `openai/gsm8k`.
"""

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from . import register
from .base import Example, Grade
from .files import (
    BOXED,
    HASHES,
    BadRow,
    FileTask,
    boxed_grade,
    hashes_grade,
    number_gold,
    text_field,
)

_ANNOTATION = re.compile(r"<<[^<>]*>>")
_FINAL = re.compile(r"\n?#### *(.+?)\s*$")


@register("gsm8k")
class GSM8K(FileTask):
    """Grade-school word problems with whole-number answers; from local files or the hub."""

    hub: str = "openai/gsm8k"
    hub_config: str | None = "main"
    revision: str | None = "740312add88f781978c0658806c59bc2815b9866"
    style: Literal["boxed", "hashes"] = "boxed"
    r"""How the answer is asked for, and how the reference solutions give it. boxed: as RL papers
    do, strict is the last \boxed. hashes: GSM8K's own form and protocol (its paper, lm-eval)."""
    prompt: str = ""
    """Empty: the template of the style."""
    calculator: bool = False
    """Keep the <<48/2=24>> annotations in the reference solutions."""

    files: ClassVar[dict[str, str]] = {"train": "gsm8k/train.jsonl", "test": "gsm8k/test.jsonl"}

    @model_validator(mode="before")
    @classmethod
    def _template(cls, given: dict[str, Any]) -> dict[str, Any]:
        template = HASHES if given.get("style") == "hashes" else BOXED
        return {**given, "prompt": given.get("prompt") or template}

    def question_of(self, row: dict[str, Any]) -> str:
        return text_field(row, "question")

    def answer_of(self, row: dict[str, Any]) -> str:
        return number_gold(self._final(row)[1])

    def solution_of(self, row: dict[str, Any]) -> str:
        work = self._final(row)[0]
        if not self.calculator:
            work = _ANNOTATION.sub("", work)
        answer = self.answer_of(row)
        if self.style == "hashes":
            return f"{work}\n#### {answer}"
        return f"{work}\nThe final answer is $\\boxed{{{answer}}}$."

    def meta_of(self, row: dict[str, Any]) -> dict[str, Any]:
        """steps: the calculations of the reference solution; None where it marks none."""
        return {"steps": len(_ANNOTATION.findall(row["answer"])) or None}

    def _final(self, row: dict[str, Any]) -> tuple[str, str]:
        """The reference solution's work and its final answer."""
        text = text_field(row, "answer")
        found = _FINAL.search(text)
        if found is None:
            raise BadRow("field 'answer' does not end with `#### n`")
        return text[: found.start()], found.group(1)

    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]:
        if self.style == "hashes":
            return [hashes_grade(response, example.gold, self.checker) for response in responses]
        return [boxed_grade(r, example.gold, self.checker, number=True) for r in responses]
