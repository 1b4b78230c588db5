"""CISPO: Clipped Importance Sampling weight Policy Optimization."""

from pydantic import Field
from torch import Tensor

from . import reduce
from .registry import register
from .surrogate import GroupAdvantage, Metrics


@register("cispo")
class CISPO(GroupAdvantage):
    """CISPO: clip the importance weight, not the update, so that every token keeps a gradient.

        loss = sum_{i,t} -sg(min(rho, 1 + epsilon_high)) * A_i * lp / tokens

    https://arxiv.org/abs/2506.13585 tunes epsilon_high without printing it and uses no lower bound.
    The default makes the cap 5, what ScaleRL (https://arxiv.org/abs/2510.13786) and TRL recommend;
    TRL reads its number as the cap itself: `absolute_cap=True`.
    """

    paper = "https://arxiv.org/abs/2506.13585"
    stop_gradients = "the clipped importance weight"

    epsilon_high: float = Field(4.0, gt=0)
    absolute_cap: bool = False
    aggregation: reduce.Aggregation = "token_mean"

    def warnings(self, updates_per_rollout: int) -> list[str]:
        if updates_per_rollout > 1:
            return []
        return [
            "CISPO with one update per rollout batch: every ratio is 1 at that update, the cap "
            "never acts, and the gradient is GRPO's with a token mean. Use several minibatches per "
            "rollout to compare them."
        ]

    def terms(
        self, logp_NT: Tensor, ratio_NT: Tensor, advantage_NT: Tensor, live_NT: Tensor
    ) -> tuple[Tensor, Metrics]:
        cap = self.epsilon_high + (0 if self.absolute_cap else 1)
        weight_NT = reduce.stop(ratio_NT.clamp(max=cap))
        return -weight_NT * advantage_NT * logp_NT, {
            "clip_fraction": reduce.mean_live((ratio_NT > cap).to(ratio_NT.dtype), live_NT),
            "ratio": reduce.mean_live(ratio_NT, live_NT),
        }
