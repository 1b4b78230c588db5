"""UNA: Unified Alignment through a generalized implicit reward; GIFT's parent."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import register
from .search import Between, Range


@register("una")
class UNA(Method):
    """UNA: fit the implicit reward, squashed, to the explicit one, answer by answer.

        s_theta = sigmoid(beta * sum_t (lp_t - lp_ref_t))
        loss    = mean_i (s_theta - s_i)^2            or the cross-entropy, for binary feedback

    https://arxiv.org/abs/2408.15339: DPO's implicit reward with the partition function and its
    constant set to 0. `feedback` says what s is:
    "binary" / "binary_bce"  the checker's verdict, 0 or 1; squared error or cross-entropy
    "score"                  the task's reward, held in [0, 1]
    "reward"                 sigmoid of the task's reward (a reward model's, the online setting)
    beta: 0.01 is the paper's for binary feedback, 0.03 for scores. Its pairwise form is DPO.
    """

    paper = "https://arxiv.org/abs/2408.15339"

    beta: float = Field(0.01, gt=0)
    feedback: Literal["binary", "binary_bce", "score", "reward"] = "binary"

    def search(self) -> Mapping[str, Range]:
        return {"beta": Between(0.01, 5, "from the paper's to the largest of DPO's")}

    def needs(self) -> Needs:
        judged = "reward" if self.feedback in ("score", "reward") else "verdict"
        return Needs(source="replay", reference=True, learns_from=(judged,))

    def signal(self, rollout: Rollout) -> Signal:
        return Signal(None, None, reduce.samples(rollout))

    def target(self, rollout: Rollout) -> Tensor:
        """[N]: s, in [0, 1]."""
        if self.feedback == "score":
            return rollout.reward_N.clamp(0, 1)
        if self.feedback == "reward":
            return rollout.reward_N.sigmoid()
        return rollout.correct_N.to(rollout.reward_N.dtype)

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        live_NT, samples_N = reduce.live(rollout, signal), reduce.samples(rollout)
        ratio_NT = reduce.log_ratio(leaves.logp_NT, rollout.ref_logp_NT, live_NT)
        logit_N, target_N = self.beta * ratio_NT.sum(-1), self.target(rollout)
        if self.feedback == "binary_bce":
            bce = torch.nn.functional.binary_cross_entropy_with_logits
            loss_N = bce(logit_N, target_N, reduction="none")
        else:
            loss_N = (logit_N.sigmoid() - target_N).square()
        return Loss(
            reduce.ratio_of(reduce.keep(loss_N, samples_N).sum(), samples_N.sum()),
            {"implicit_score": reduce.mean_live(logit_N.sigmoid(), samples_N)},
        )
