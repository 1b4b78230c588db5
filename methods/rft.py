"""RFT and RAFT: supervised learning on the model's own right answers."""

from torch import Tensor

from . import reduce
from .base import Needs, Rollout
from .likelihood import Likelihood
from .registry import register


@register("rft")
class RFT(Likelihood):
    """Rejection-sampling fine-tuning: maximum likelihood of sampled answers that are right.

        loss = -sum_{right samples, t} lp_t / number of their tokens

    on answers that the starting model sampled once. https://arxiv.org/abs/2308.01825. Aggregation
    (`reduction`) matters more than most objectives: a per-sequence mean lets short correct guesses
    outweigh long solutions.
    """

    paper = "https://arxiv.org/abs/2308.01825"

    def needs(self) -> Needs:
        return Needs(source="replay", learns_from=("verdict",))

    def targets(self, rollout: Rollout) -> Tensor:
        return reduce.samples(rollout) & rollout.correct_N


@register("raft")
class RAFT(RFT):
    """Reward-ranked fine-tuning: RFT on fresh samples of the policy itself, batch after batch.

    https://arxiv.org/abs/2304.06767; the loss is RFT's, the data regime is what differs.
    """

    paper = "https://arxiv.org/abs/2304.06767"

    def needs(self) -> Needs:
        return Needs(source="policy", learns_from=("verdict",))
