"""Naive reward-weighted likelihood, the baseline that RIFT argues against."""

from pydantic import Field
from torch import Tensor

from .base import Rollout
from .likelihood import VerdictLikelihood
from .registry import register


@register("naive")
class Naive(VerdictLikelihood):
    """Naive reward weighting: the log-likelihood times the reward, which may be negative.

        loss = -mean(r * lp)

    RIFT's definition 3.1 (https://arxiv.org/abs/2601.09253): unbounded below, since a wrong
    answer's -r log pi falls to minus infinity as its probability goes to 0. The rewards are RIFT's.
    """

    paper = "https://arxiv.org/abs/2601.09253"
    unbounded = "from below: a wrong answer's loss falls with its log-likelihood without limit"

    negative_reward: float = Field(-0.2, le=0)

    def penalty(self, logp_NT: Tensor, rollout: Rollout, wrong_NT: Tensor) -> Tensor:
        return self.row(logp_NT, rollout.mask_NT)
