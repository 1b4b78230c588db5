"""TOPR: Tapered Off-Policy REINFORCE."""

from dataclasses import replace

from torch import Tensor

from . import reduce
from .base import Needs, Rollout
from .likelihood import Reduction, VerdictLikelihood
from .registry import register


@register("topr")
class TOPR(VerdictLikelihood):
    """TOPR: likelihood of right answers; wrong ones by REINFORCE, tapered by a truncated ratio.

        loss = mean_i -w_i * R_i * sum_t lp_t,   w = 1 for R >= 0, sg(clip(pi/mu, 0, 1)) for R < 0

    pi/mu is the ratio of the whole answer to the policy that sampled it. A wrong answer that has
    become unlikely is left alone, which is what keeps off-policy learning from it stable.
    https://arxiv.org/abs/2503.14286; R = +1 / -1. Token sums per answer, as printed (`reduction`).
    """

    paper = "https://arxiv.org/abs/2503.14286"
    unbounded = "from above only: right answers enter by their log-likelihood"
    stop_gradients = "the truncated ratio of wrong answers"

    reduction: Reduction = "sum"

    def needs(self) -> Needs:
        return replace(super().needs(), old="loss")

    def penalty(self, logp_NT: Tensor, rollout: Rollout, wrong_NT: Tensor) -> Tensor:
        log_ratio_NT = reduce.log_ratio(logp_NT, rollout.old_logp_NT, wrong_NT)
        weight_N = reduce.stop(log_ratio_NT.sum(-1).clamp(max=0).exp())
        return weight_N * self.row(logp_NT, rollout.mask_NT)
