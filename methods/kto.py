"""KTO: Kahneman-Tversky Optimization."""

from collections.abc import Mapping

import torch
from pydantic import Field

from . import reduce
from .base import MISMATCHED, Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import register
from .search import Between, Range


@register("kto")
class KTO(Method):
    """KTO: right answers above, wrong ones below a reference point, without pairs.

        D    = sum_t (lp_t - lp_ref_t)
        z0   = sg(max(0, mean over mismatched rows of D)), an estimate of beta-free KL(pi || ref)
        loss = mean_i  desirable * (1 - sigmoid(beta * (D_i - z0)))      right
                       undesirable * (1 - sigmoid(beta * (z0 - D_i)))    wrong

    https://arxiv.org/abs/2402.01306. A mismatched row holds an answer of another prompt. z0 is of
    the minibatch, as in the authors' code and TRL; those rows need a forward pass, no gradient.
    The paper asks for weights with desirable * n_right / (undesirable * n_wrong) from 1 to 4/3.
    `desirable` None, the default, sets that ratio to 1 in each rollout batch.
    """

    paper = "https://arxiv.org/abs/2402.01306"
    stop_gradients = "the reference point z0"
    coupled = "the reference point z0 is a mean over the mismatched rows of the whole minibatch"

    beta: float = Field(0.1, gt=0)
    desirable: float | None = Field(None, ge=0)  # None: balanced
    undesirable: float = Field(1.0, ge=0)

    def search(self) -> Mapping[str, Range]:
        return {"beta": Between(0.01, 1, "a decade to each side of the paper's 0.1")}

    def needs(self) -> Needs:
        return Needs(source="replay", reference=True, mismatched=True, learns_from=("verdict",))

    def signal(self, rollout: Rollout) -> Signal:
        samples_N, right_N = reduce.samples(rollout), rollout.correct_N
        desirable = self.desirable
        if desirable is None:
            wrong, right = (samples_N & ~right_N).sum(), (samples_N & right_N).sum()
            desirable = self.undesirable * reduce.ratio_of(wrong.to(rollout.reward_N), right)
        weight_N = torch.where(right_N, desirable, self.undesirable).to(rollout.reward_N)
        return Signal(
            reduce.per_token(weight_N, rollout.mask_NT),
            None,
            samples_N | (rollout.kind_N == MISMATCHED),
        )

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        assert signal.advantage_NT is not None
        live_NT = reduce.live(rollout, signal)
        ratio_N = reduce.log_ratio(leaves.logp_NT, rollout.ref_logp_NT, live_NT).sum(-1)
        strange_N, samples_N = rollout.kind_N == MISMATCHED, reduce.samples(rollout)
        z0 = reduce.ratio_of(reduce.keep(ratio_N, strange_N).sum(), strange_N.sum())
        z0 = reduce.stop(z0.clamp(min=0))
        gap_N = torch.where(rollout.correct_N, ratio_N - z0, z0 - ratio_N)
        weight_N = reduce.per_row(signal.advantage_NT)
        # 1 - sigmoid(x) = sigmoid(-x), without cancellation
        loss_N = reduce.keep(weight_N * torch.sigmoid(-self.beta * gap_N), samples_N)
        return Loss(reduce.ratio_of(loss_N.sum(), samples_N.sum()), {"z0": z0.detach()})
