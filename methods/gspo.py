"""GSPO: Group Sequence Policy Optimization."""

from pydantic import Field
from torch import Tensor

from . import reduce
from .grpo import GRPO
from .registry import register


@register("gspo")
class GSPO(GRPO):
    """GSPO: GRPO whose ratio, and therefore its clip, is of the whole answer.

        s_i  = exp(mean_t(lp_t - lp_old_t))
        loss = mean_i -min(s_i * A_i, clip(s_i, 1 - 3e-4, 1 + 4e-4) * A_i)

    https://arxiv.org/abs/2507.18071. Every token of an answer carries the answer's ratio, so the
    token mean of "sequence_mean", the default, is that ratio again.
    """

    paper = "https://arxiv.org/abs/2507.18071"

    clip: float = Field(3e-4, gt=0, lt=1)
    clip_high: float | None = Field(4e-4, gt=0)

    def warnings(self, updates_per_rollout: int) -> list[str]:
        if updates_per_rollout > 1:
            return []
        return [
            "GSPO with one update per rollout batch: every ratio is 1 at that update, the clip "
            "never acts, and the gradient is GRPO's. Use several minibatches per rollout to "
            "compare them."
        ]

    def ratio(self, log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
        mean_N = reduce.token_mean(log_ratio_NT, mask_NT)
        return mean_N.exp()[:, None].expand(mask_NT.shape)
