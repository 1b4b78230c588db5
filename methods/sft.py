"""Supervised fine-tuning on the task's reference answers."""

from torch import Tensor

from .base import GOLD, Needs, Rollout
from .likelihood import Likelihood
from .registry import register


@register("sft")
class SFT(Likelihood):
    """Supervised fine-tuning: maximum likelihood of the reference answers.

        loss = -sum_{gold rows, t} lp_t / number of gold tokens

    Rows that the policy sampled are ignored. `reduction` is open in most papers: the mean over all
    tokens of the batch is what is done in practice (TRL, Hugging Face) and the default.
    """

    def needs(self) -> Needs:
        return Needs(
            source="demonstrations", sources=("demonstrations",), gold=True, learns_from=()
        )

    def targets(self, rollout: Rollout) -> Tensor:
        return rollout.kind_N == GOLD
