"""Two ways of giving GRPO the reference answers that GRAO uses."""

from dataclasses import replace

from pydantic import Field
from torch import Tensor

from . import reduce
from .base import GOLD, Leaves, Loss, Needs, Rollout, Signal
from .grpo import GRPO
from .registry import register


@register("grpo-gold")
class GRPOGold(GRPO):
    """GRPO whose groups hold the reference answer as one more member.

    It enters the group's mean and std, the denominator, and the surrogate with its own ratio to the
    policy before the update (its tokens were not sampled, so that is a bias, as in every method
    that mixes demonstrations in this way). A control for GRAO: the same data, none of its terms.
    """

    def needs(self) -> Needs:
        return replace(super().needs(), gold=True)

    def counted(self, rollout: Rollout) -> Tensor:
        return reduce.samples(rollout) | (rollout.kind_N == GOLD)


@register("grpo-sft")
class GRPOSFT(GRPO):
    """GRPO plus a constant share of supervised learning: what GRAO must beat to be worth its terms.

        loss = GRPO(samples) + sft_weight * mean over gold tokens of -lp

    The reference answers enter no statistic. `sft_weight` is ours and has to be tuned.
    """

    unbounded = "from above only, in the supervised term"

    sft_weight: float = Field(0.1, gt=0)

    def needs(self) -> Needs:
        return replace(super().needs(), gold=True)

    def trained(self, rollout: Rollout, advantage_N: Tensor) -> Tensor:
        return super().trained(rollout, advantage_N) | (rollout.kind_N == GOLD)

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        explore = super().loss(leaves, rollout, signal)
        gold_N = rollout.kind_N == GOLD
        gold_NT = rollout.mask_NT & gold_N[:, None]
        nll_NT = -reduce.keep(leaves.logp_NT, gold_NT)
        imitate = self.sft_weight * reduce.ratio_of(nll_NT.sum(), gold_NT.sum())
        metrics = reduce.shares(exploration=explore.value, imitation=imitate)
        metrics["nll"] = reduce.mean_live(nll_NT, gold_NT)
        return Loss(explore.value + imitate, explore.metrics | metrics)
