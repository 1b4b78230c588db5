"""MATH: competition problems with LaTeX answers (Hendrycks et al., arXiv:2103.03874; MIT licence).

`math` is the authors' division, 7,500 train and 5,000 test. `math500` is that of "Let's Verify Step
by Step" (arXiv:2305.20050): 500 of the test problems, and the other 12,000 for training. Subject
and level (1 to 5, None where the data say "?") stand in each example's meta. Two training rows have
no answer and are left out, so 7,498 and 11,998 remain.
"""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from tasks.answers.protocols import math_answer

from . import register
from .files import BadRow, DataRow, FileTask, hub_rows, readable_gold, text_field


@register("math")
class MATH(FileTask):
    """Competition mathematics: 7,500 train, 5,000 test; LaTeX answers, subject and level."""

    hub: str = "DigitalLearningGmbH/MATH-lighteval"
    revision: str | None = "0530c78699ea5e8eb5530600900e1f328b48acad"

    files: ClassVar[dict[str, str]] = {"train": "math/train.jsonl", "test": "math/test.jsonl"}
    max_tokens: ClassVar[int] = 1024

    def question_of(self, row: dict[str, Any]) -> str:
        return text_field(row, "problem")

    def answer_of(self, row: dict[str, Any]) -> str:
        if row.get("answer") is not None:
            return readable_gold(text_field(row, "answer"))
        found = math_answer(text_field(row, "solution"))
        if not (found and found.strip()):
            raise BadRow("field 'solution' has no \\boxed answer")
        return readable_gold(found)

    def solution_of(self, row: dict[str, Any]) -> str:
        return text_field(row, "solution")

    def meta_of(self, row: dict[str, Any]) -> dict[str, Any]:
        level = str(row.get("level")).removeprefix("Level ")
        return {
            "subject": row.get("subject") or row.get("type"),
            "level": int(level) if level.isdigit() else None,
        }


@register("math500")
class MATH500(MATH):
    """MATH divided into 12,000 train and the 500 test problems of "Let's Verify Step by Step"."""

    hub_500: str = "HuggingFaceH4/MATH-500"
    revision_500: str | None = "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"

    files: ClassVar[dict[str, str]] = {
        "train": "math/train.jsonl",
        "rest": "math/test.jsonl",
        "test": "math/math500.jsonl",
    }
    hub_splits: ClassVar[dict[str, str]] = {"rest": "test"}

    def rows(self, data_split: str) -> Iterable[DataRow]:
        if data_split == "train":
            return self._twelve_thousand()
        if self.data_dir is None:
            return hub_rows(self.hub_500, "test", self.revision_500)
        return super().rows("test")

    def _twelve_thousand(self) -> Iterator[DataRow]:
        """Train and test without MATH-500's problems: the published list, and no list is needed."""
        values = (row.values for row in self.rows("test"))
        kept_apart = {v.get("problem") for v in values if isinstance(v, dict)}
        for part in ("train", "rest"):
            for row in super().rows(part):
                if isinstance(row.values, BadRow) or row.values.get("problem") not in kept_apart:
                    yield row
