"""KTO: Kahneman-Tversky Optimization."""

import torch
from pydantic import Field

from . import reduce
from .base import MISMATCHED, Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import register


@register("kto")
class KTO(Method):
    """KTO: right answers above, wrong ones below a reference point, without pairs.

        D    = sum_t (lp_t - lp_ref_t)
        z0   = sg(max(0, mean over mismatched rows of D)), an estimate of beta-free KL(pi || ref)
        loss = mean_i  desirable * (1 - sigmoid(beta * (D_i - z0)))      right
                       undesirable * (1 - sigmoid(beta * (z0 - D_i)))    wrong

    https://arxiv.org/abs/2402.01306. A mismatched row holds an answer of another prompt. z0 is of
    the minibatch, as in the authors' code and TRL; those rows need a forward pass, no gradient.
    """

    paper = "https://arxiv.org/abs/2402.01306"
    stop_gradients = "the reference point z0"
    coupled = "the reference point z0 is a mean over the mismatched rows of the whole minibatch"

    beta: float = Field(0.1, gt=0)
    desirable: float = Field(1.0, ge=0)
    undesirable: float = Field(1.0, ge=0)

    def needs(self) -> Needs:
        return Needs(source="replay", reference=True, mismatched=True, learns_from=("verdict",))

    def signal(self, rollout: Rollout) -> Signal:
        return Signal(None, None, reduce.samples(rollout) | (rollout.kind_N == MISMATCHED))

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        live_NT = reduce.live(rollout, signal)
        ratio_N = reduce.log_ratio(leaves.logp_NT, rollout.ref_logp_NT, live_NT).sum(-1)
        strange_N, samples_N = rollout.kind_N == MISMATCHED, reduce.samples(rollout)
        z0 = reduce.ratio_of(reduce.keep(ratio_N, strange_N).sum(), strange_N.sum())
        z0 = reduce.stop(z0.clamp(min=0))
        gap_N = torch.where(rollout.correct_N, ratio_N - z0, z0 - ratio_N)
        weight_N = torch.full_like(gap_N, self.undesirable)
        weight_N = weight_N.masked_fill(rollout.correct_N, self.desirable)
        # 1 - sigmoid(x) = sigmoid(-x), without cancellation
        loss_N = reduce.keep(weight_N * torch.sigmoid(-self.beta * gap_N), samples_N)
        return Loss(reduce.ratio_of(loss_N.sum(), samples_N.sum()), {"z0": z0.detach()})
