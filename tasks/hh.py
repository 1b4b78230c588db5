"""GRAO's task: continue a conversation so that a judge prefers it to the data's chosen answer.

Anthropic's HH data (arXiv:2204.05862, MIT licence; may be upsetting to read): the reference answer
y is the chosen one. The reward is +1, 0 or -1 as the judge ranks the response above, equal to or
below y, so `correct` is a strict win and its share is GRAO's RAS. There is no verifier: a result is
only as good as its judge, which therefore has no default and is part of the run's config.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from . import register
from .base import Example, Grade, TaskError
from .files import BadRow, DataRow, FileTask, hub_rows, text_field
from .judges import CRITERIA, load

_TURN = "\n\nAssistant:"


@register("hh")
class HH(FileTask):
    """Anthropic's helpful-harmless conversations; graded by a judge against the chosen answer."""

    subset: Literal["harmless-base", "helpful-base"] = "harmless-base"
    """The hub's folder, and the judge's criteria; local files must hold this subset."""
    judge: str = ""
    """path.py:function, reward-model:FOLDER_OR_HUB_ID or pairwise:URL#MODEL (see judges.py)."""
    reward: Literal["sign", "margin"] = "sign"
    """sign: +1, 0, -1, as in GRAO's paper. margin: the judge's own number."""
    tie: float = Field(0.0, ge=0)
    """A judge's margin of at most this much is a tie."""

    hub: str = "Anthropic/hh-rlhf"
    prompt: str = "{question}"
    files: ClassVar[dict[str, str]] = {
        "train": "hh_rlhf/train.jsonl.gz",
        "test": "hh_rlhf/test.jsonl.gz",
    }
    max_tokens: ClassVar[int] = 2048  # as in GRAO's paper
    gold_reward: ClassVar[float] = 0.0  # the reference ties with itself
    stop: ClassVar[tuple[str, ...]] = ("\n\nHuman:",)

    def rows(self, data_split: str) -> Iterable[DataRow]:
        if self.data_dir is None:
            return hub_rows(self.hub, data_split, self.revision, data_dir=self.subset)
        return super().rows(data_split)

    def question_of(self, row: dict[str, Any]) -> str:
        prompt, mark, _ = text_field(row, "chosen").rpartition(_TURN)
        if not mark:
            raise BadRow("field 'chosen' has no turn of the assistant")
        if text_field(row, "rejected").rpartition(_TURN)[0] != prompt:
            raise BadRow("chosen and rejected do not answer the same conversation")
        return prompt.lstrip("\n") + mark

    def answer_of(self, row: dict[str, Any]) -> str:
        return _last_turn(row, "chosen")

    solution_of = answer_of

    def meta_of(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"rejected": _last_turn(row, "rejected")}

    def grade(self, example: Example, responses: Sequence[str]) -> list[Grade]:
        if not self.judge:
            raise TaskError(
                "hh needs a judge: path.py:function, reward-model:FOLDER_OR_HUB_ID "
                "or pairwise:URL#MODEL"
            )
        judge = load(self.judge, CRITERIA[self.subset.removesuffix("-base")])
        scores = judge(example.prompt, responses, example.gold) if responses else []
        if len(scores) != len(responses):
            raise TaskError(f"{self.judge}: {len(scores)} scores for {len(responses)} responses")
        return [self._grade(float(s), r) for s, r in zip(scores, responses, strict=True)]

    def _grade(self, score: float, response: str) -> Grade:
        if not math.isfinite(score):  # without a verdict the reward is 0
            won, status, how, reward = False, "unparsable_answer", "no verdict", 0.0
        else:
            sign = 0 if abs(score) <= self.tie else int(math.copysign(1, score))
            won, how = sign > 0, {1: "win", 0: "tie", -1: "loss"}[sign]
            status = "ok" if won else "wrong"
            reward = float(sign) if self.reward == "sign" else score
        return Grade(won, won, status, how, extracted=response, format_ok=True, reward=reward)


def _last_turn(row: dict[str, Any], name: str) -> str:
    text = text_field(row, name).rpartition(_TURN)[2].strip()
    if not text:
        raise BadRow(f"field {name!r} ends with an empty turn")
    return text
