"""DAPO: Decoupled Clip and Dynamic sAmpling Policy Optimization."""

from dataclasses import replace

from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Needs, Rollout
from .grpo import GRPO
from .registry import register


@register("dapo")
class DAPO(GRPO):
    """DAPO: GRPO with a higher upper clip, a global token mean, dynamic sampling, length shaping.

        r'   = r + overlong_penalty * clip((limit - buffer - length) / buffer, -1, 0)
        A_i  = (r'_i - mean r') / (std r' + std_eps)
        loss = sum_{i,t} -min(rho * A, clip(rho, 1 - 0.2, 1 + 0.28) * A) / tokens

    with buffer = overlong_buffer * limit. Groups whose task rewards are all equal (before shaping)
    are dropped, also from the denominator; the harness samples on until the batch is full of other
    groups (`needs().refill`). https://arxiv.org/abs/2503.14476: the buffer is 4096 of 20480
    tokens, here a share so that it fits any limit. Its penalty of 1 belongs to rewards of +1 and
    -1; rewards of 1 and 0 are half as far apart, so that 0.5 weighs the same. 0 switches it off.
    """

    paper = "https://arxiv.org/abs/2503.14476"

    clip_high: float | None = Field(0.28, gt=0)
    aggregation: reduce.Aggregation = "token_mean"
    overlong_buffer: float = Field(0.2, gt=0, le=1)
    overlong_penalty: float = Field(0.5, ge=0)

    def needs(self) -> Needs:
        return replace(super().needs(), refill=True)

    def counted(self, rollout: Rollout) -> Tensor:
        samples_N = reduce.samples(rollout)
        return samples_N & ~reduce.Groups.of(rollout.group_N, samples_N).constant(rollout.reward_N)

    def reward(self, rollout: Rollout) -> Tensor:
        buffer = self.overlong_buffer * rollout.max_tokens
        length_N = rollout.mask_NT.sum(-1).to(rollout.reward_N.dtype)
        over_N = ((rollout.max_tokens - buffer - length_N) / buffer).clamp(max=0)
        return rollout.reward_N + self.overlong_penalty * over_N
