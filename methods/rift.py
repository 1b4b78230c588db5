"""RIFT: Reward-Informed Fine-Tuning."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Needs, Rollout
from .likelihood import VerdictLikelihood
from .registry import register
from .search import OneOf, Range


@register("rift")
@register("rift-is", "RIFT with 1/pi_0 put back on wrong answers", importance=True)
class RIFT(VerdictLikelihood):
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

    negative: Literal["token", "sequence", "geometric", "token_sum"] = "token"
    importance: bool = False
    negative_reward: float = Field(-0.2, le=0)

    def search(self) -> Mapping[str, Range]:
        rewards = (-0.05, -0.1, -0.2, -0.5, -1.0)
        return {"negative_reward": OneOf(rewards, "ours: the paper's value could not be read")}

    def needs(self) -> Needs:
        return replace(super().needs(), old="loss" if self.importance else "no")

    def anchor(self, rollout: Rollout) -> Tensor | None:
        return rollout.old_logp_NT if self.importance else None

    def penalty(self, logp_NT: Tensor, rollout: Rollout, wrong_NT: Tensor) -> Tensor:
        if self.negative == "sequence":
            return logp_NT.sum(-1).exp()
        if self.negative == "geometric":
            return reduce.token_mean(logp_NT, rollout.mask_NT).exp()
        chance_NT = reduce.keep(logp_NT.exp(), wrong_NT)
        if self.negative == "token_sum" and self.reduction != "token_mean":
            return chance_NT.sum(-1)
        return reduce.token_mean(chance_NT, rollout.mask_NT)
