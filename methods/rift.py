"""RIFT: Reward-Informed Fine-Tuning."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from . import reduce
from .base import Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import register

Negative = Literal["token", "sequence", "geometric", "token_sum"]
Reduction = Literal["token_mean", "sequence_mean", "sum"]


@register("rift")
@register("rift-is", "RIFT with 1/pi_0 put back on wrong answers", importance=True)
class RIFT(Method):
    """RIFT: raise the log-probability of right answers, lower the probability of wrong ones.

        loss = -E_{r>0}[ r * log pi(y|x) ] - E_{r<0}[ r * pi(y|x) ]

    over self-generated answers of the starting model, all of them kept, with one denominator.
    The wrong answer's term is linear in the probability, so it is bounded where the naive
    -r log pi falls to minus infinity. Implemented as reported by secondary sources: the paper's
    own formulas (https://arxiv.org/abs/2601.09253) could not be read.

    The reward is the checker's verdict mapped to `positive_reward` and `negative_reward`; 0 leaves
    such rows out of the numerator only. `group_normalise` standardises the mapped rewards inside
    their group (ddof 1, + 1e-4), the alternative that the paper argues against.

    Where the text is silent:
    - `negative`, the granularity of pi(y|x). A wrong row's value is -r times
      "sequence" exp(sum lp), "geometric" exp(mean lp), "token" mean_t exp(lp), the default because
      the probability of a whole chain of thought underflows; all within [0, -r]. "token_sum"
      sum_t exp(lp) gives up that bound.
    - `reduction` of both terms: "token_mean" (sum over tokens / tokens of all rows; a row-valued
      negative counts with its row's length; "token" and "token_sum" are the same here),
      "sequence_mean" (a right row's token mean; mean over rows), "sum" (a right row's token sum;
      mean over rows). In the last two a wrong row enters with its value as listed above.
    - `importance`: lp becomes lp - lp_old in the negative term (in the positive one it would add a
      constant). The loss is then, up to a constant, minus a lower bound of the expected reward.
    """

    paper = "https://arxiv.org/abs/2601.09253"
    unbounded = "from above only: right answers enter by their log-likelihood; the loss is >= 0"

    negative: Negative = "token"
    reduction: Reduction = "token_mean"
    importance: bool = False
    positive_reward: float = Field(1.0, gt=0)
    negative_reward: float = Field(-0.2, le=0)
    group_normalise: bool = False

    def needs(self) -> Needs:
        return Needs(
            source="replay",
            old="loss" if self.importance else "no",
            group_min=2 if self.group_normalise else 1,
        )

    def signal(self, rollout: Rollout) -> Signal:
        reward_N = torch.full_like(rollout.reward_N, self.negative_reward)
        reward_N = reward_N.masked_fill(rollout.correct_N, self.positive_reward)
        samples_N = reduce.samples(rollout)
        if self.group_normalise:
            groups = reduce.Groups.of(rollout.group_N, samples_N)
            reward_N = reduce.zscore(reward_N, groups, ddof=1, eps=1e-4)
        reward_N = reduce.keep(reward_N, samples_N)
        return Signal(reduce.per_token(reward_N, rollout.mask_NT), None, reward_N != 0)

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        assert signal.advantage_NT is not None
        mask_NT, live_NT = rollout.mask_NT, reduce.live(rollout, signal)
        reward_N = reduce.per_row(signal.advantage_NT)
        right_NT, wrong_NT = (live_NT & (sign * reward_N > 0)[:, None] for sign in (1, -1))
        anchor_NT = rollout.old_logp_NT if self.importance else None
        nll_NT = -reduce.keep(leaves.logp_NT, right_NT)
        log_NT = reduce.log_ratio(leaves.logp_NT, anchor_NT, wrong_NT)
        chance_NT = reduce.keep(log_NT.exp(), wrong_NT)

        by_token = self.reduction == "token_mean"
        rise_N = nll_NT.sum(-1) if self.reduction == "sum" else reduce.token_mean(nll_NT, mask_NT)
        if self.negative == "sequence":
            fall_N = log_NT.sum(-1).exp()
        elif self.negative == "geometric":
            fall_N = reduce.token_mean(log_NT, mask_NT).exp()
        elif self.negative == "token" or by_token:
            fall_N = reduce.token_mean(chance_NT, mask_NT)
        else:
            fall_N = chance_NT.sum(-1)

        size_N = mask_NT.sum(-1) if by_token else torch.ones_like(rollout.kind_N)
        size_N = reduce.keep(size_N, reduce.samples(rollout))
        share_N = reduce.ratio_of(size_N.to(rise_N.dtype), size_N.sum())
        rise = (share_N * reward_N.clamp(min=0) * rise_N).sum()
        fall = (share_N * -reward_N.clamp(max=0) * fall_N).sum()
        metrics = {
            "nll": reduce.mean_live(nll_NT, right_NT),
            "negative_term": fall.detach(),
            "negative_probability": reduce.mean_live(chance_NT, wrong_NT),
        }
        return Loss(rise + fall, metrics)
