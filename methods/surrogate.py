"""What policy-gradient objectives share: advantages of a group, the clip, a KL penalty."""

from collections.abc import Mapping
from typing import TypeAlias

from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Leaves, Loss, Method, Needs, Rollout, Signal

Metrics: TypeAlias = "Mapping[str, Tensor]"


class PolicyGradient(Method):
    """Base: a per-token loss of given advantages, plus a KL penalty in the loss.

        loss = AGG( term_t(lp, rho, A) + kl * KL_t ),      rho_t = exp(lp_t - lp_old_t)

    AGG is `aggregation` (see `reduce.aggregate`) and KL_t the estimate `kl_estimator` of
    KL(policy || reference) at token t; `kl_correction` multiplies it by rho_t, which makes the
    gradient that of KL(policy || reference) (DeepSeek-V3.2; TRL's default). The denominator counts
    all `counted` rows, also those whose advantage is 0 and which therefore get no forward pass.
    Subclasses give `signal` and `terms`.
    """

    weighted = True
    unbounded = "where kl > 0: k3 grows as ref / pi, k2 as its squared logarithm"

    aggregation: reduce.Aggregation = "sequence_mean"
    kl: float = Field(0.0, ge=0)
    kl_estimator: reduce.Estimator = "k3"
    kl_correction: bool = False

    def needs(self) -> Needs:
        return Needs(old="loss", reference=self.kl > 0, group_min=2)

    def counted(self, rollout: Rollout) -> Tensor:
        """bool [N]: the rows that the objective is about, and that its denominator counts."""
        return reduce.samples(rollout)

    def trained(self, rollout: Rollout, advantage_N: Tensor) -> Tensor:
        """bool [N]: rows with anything to learn from; a KL penalty pulls on every counted row."""
        return self.counted(rollout) & ((advantage_N != 0) | (self.kl > 0))

    def ratio(self, log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
        """[N, T]: the ratio of the policy to the one that sampled, per token."""
        return log_ratio_NT.exp()

    def terms(
        self, logp_NT: Tensor, ratio_NT: Tensor, advantage_NT: Tensor, live_NT: Tensor
    ) -> tuple[Tensor, Metrics]:
        """The loss per token (to be averaged) and metrics; where not live, A and lp are 0."""
        raise NotImplementedError

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        assert signal.advantage_NT is not None
        counted_N = self.counted(rollout)
        live_NT = reduce.live(rollout, signal) & counted_N[:, None]
        logp_NT = reduce.keep(leaves.logp_NT, live_NT)
        log_ratio_NT = reduce.log_ratio(leaves.logp_NT, rollout.old_logp_NT, live_NT)
        ratio_NT = self.ratio(log_ratio_NT, rollout.mask_NT)
        advantage_NT = reduce.keep(signal.advantage_NT, live_NT)
        loss_NT, found = self.terms(logp_NT, ratio_NT, advantage_NT, live_NT)
        metrics = dict(found)
        if self.kl > 0:
            delta_NT = reduce.log_ratio(leaves.logp_NT, rollout.ref_logp_NT, live_NT)
            weight_NT = self.kl * ratio_NT if self.kl_correction else self.kl
            loss_NT = loss_NT + weight_NT * reduce.kl(delta_NT, self.kl_estimator)
            metrics["kl"] = reduce.mean_live(reduce.kl(delta_NT, "k3"), live_NT)
        value = reduce.aggregate(
            loss_NT, rollout.mask_NT, counted_N, self.aggregation, max_tokens=rollout.max_tokens
        )
        return Loss(value, metrics)


class ClippedSurrogate(PolicyGradient):
    """Base: PPO's clipped surrogate.

    term_t = -min(rho_t * A_t, clip(rho_t, 1 - clip, 1 + clip_high) * A_t)
    """

    clip: float = Field(0.2, gt=0, lt=1)
    clip_high: float | None = Field(None, gt=0)  # None: as clip

    def terms(
        self, logp_NT: Tensor, ratio_NT: Tensor, advantage_NT: Tensor, live_NT: Tensor
    ) -> tuple[Tensor, Metrics]:
        high = self.clip if self.clip_high is None else self.clip_high
        free_NT = ratio_NT * advantage_NT
        cut_NT = ratio_NT.clamp(1 - self.clip, 1 + high) * advantage_NT
        return -free_NT.minimum(cut_NT), {
            "clip_fraction": reduce.mean_live((cut_NT < free_NT).to(ratio_NT.dtype), live_NT),
            "ratio": reduce.mean_live(ratio_NT, live_NT),
        }


class GroupAdvantage(PolicyGradient):
    """Base: rewards standardised (or only centred) inside each prompt's group.

    A_i = (r_i - mean r) / (std r + std_eps), the same for all tokens of answer i; ddof 1
    """

    std: bool = True
    std_eps: float = Field(1e-4, ge=0)

    def reward(self, rollout: Rollout) -> Tensor:
        """[N]: the task's reward, which a subclass may shape."""
        return rollout.reward_N

    def signal(self, rollout: Rollout) -> Signal:
        counted_N = self.counted(rollout)
        groups = reduce.Groups.of(rollout.group_N, counted_N)
        reward_N = self.reward(rollout)
        if self.std:
            advantage_N = reduce.zscore(reward_N, groups, ddof=1, eps=self.std_eps)
        else:
            varied_N = counted_N & ~groups.constant(reward_N)
            advantage_N = reduce.keep(reward_N - groups.mean(reward_N), varied_N)
        every = reduce.Groups(groups.index_N, reduce.samples(rollout))
        return Signal(
            reduce.per_token(advantage_N, rollout.mask_NT),
            None,
            self.trained(rollout, advantage_N),
            {"zero_variance_groups": every.number(every.constant(rollout.reward_N)).to(reward_N)},
        )
