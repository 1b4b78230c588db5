"""PSR, NSR and W-REINFORCE: learning from right answers, from wrong ones, from both."""

from dataclasses import replace

import torch
from pydantic import Field

from . import reduce
from .base import Needs, Rollout, Signal
from .registry import register
from .surrogate import ClippedSurrogate


@register("psr", "Positive sample reinforcement: A = +1 on right answers only", negative=0.0)
@register("nsr", "Negative sample reinforcement: A = -1 on wrong answers only", positive=0.0)
@register("w-reinforce", "Weighted REINFORCE: A = +0.1 on right, -1 on wrong", positive=0.1)
class WeightedReinforce(ClippedSurrogate):
    """The verdict as advantage, its two signs weighted apart.

        A = +positive where the answer is right, -negative where it is wrong
        loss = sum_{i,t} -min(rho * A, clip(rho) * A) / tokens

    https://arxiv.org/abs/2506.01347, whose code clips as PPO (0.2) and takes the token mean. The
    tokens of all answers are counted, also of those that a variant does not train on.
    """

    paper = "https://arxiv.org/abs/2506.01347"

    positive: float = Field(1.0, ge=0)
    negative: float = Field(1.0, ge=0)
    aggregation: reduce.Aggregation = "token_mean"

    def needs(self) -> Needs:
        return replace(super().needs(), group_min=1, learns_from=("verdict",))

    def signal(self, rollout: Rollout) -> Signal:
        advantage_N = torch.full_like(rollout.reward_N, -self.negative)
        advantage_N = advantage_N.masked_fill(rollout.correct_N, self.positive)
        advantage_N = reduce.keep(advantage_N, reduce.samples(rollout))
        return Signal(
            reduce.per_token(advantage_N, rollout.mask_NT), None, self.trained(rollout, advantage_N)
        )
