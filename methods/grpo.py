"""GRPO: Group Relative Policy Optimisation."""

from __future__ import annotations

from pydantic import Field

from . import reduce
from .base import Rollout, Signal
from .registry import register
from .surrogate import ClippedSurrogate


@register("grpo")
class GRPO(ClippedSurrogate):
    """GRPO: the clipped surrogate with rewards standardised inside each prompt's group.

        A_i  = (r_i - mean r) / (std r + std_eps), the same for all tokens of answer i
        loss = mean_i mean_t( -min(rho * A, clip(rho) * A) + kl * k3(policy, reference) )

    The paper (https://arxiv.org/abs/2402.03300) has kl = 0.04; today's practice and the default
    here is 0. It leaves open the std's ddof and epsilon: 1 and 1e-4, as TRL. `std=False` subtracts
    the mean only.
    A group whose rewards are all equal has A = 0: it gets no forward pass (but for a KL penalty)
    and still counts in the denominator. Aggregation, clip and KL estimator are part of the method.
    """

    paper = "https://arxiv.org/abs/2402.03300"

    std: bool = True
    std_eps: float = Field(1e-4, ge=0)

    def signal(self, rollout: Rollout) -> Signal:
        samples_N = reduce.samples(rollout)
        groups = reduce.Groups.of(rollout.group_N, samples_N)
        constant_N = groups.constant(rollout.reward_N)
        if self.std:
            advantage_N = reduce.zscore(rollout.reward_N, groups, ddof=1, eps=self.std_eps)
        else:
            centred_N = rollout.reward_N - groups.mean(rollout.reward_N)
            advantage_N = reduce.keep(centred_N, samples_N & ~constant_N)
        return Signal(
            reduce.per_token(advantage_N, rollout.mask_NT),
            None,
            self.trained(rollout, advantage_N),
            {"zero_variance_groups": groups.number(constant_N).to(advantage_N.dtype)},
        )
