"""The clipped surrogate that PPO, GRPO and their many relatives share."""

from __future__ import annotations

from pydantic import Field

from . import reduce
from .base import Leaves, Loss, Method, Needs, Rollout, Signal


class ClippedSurrogate(Method):
    """Base: the clipped policy-gradient loss of given advantages, and a KL penalty in the loss.

        rho_t = exp(lp_t - lp_old_t)
        loss  = AGG( -min(rho_t * A_t, clip(rho_t, 1 - clip, 1 + clip_high) * A_t) + kl * KL_t )

    AGG is `aggregation` (see `reduce.aggregate`); its denominator counts every sampled row, also
    those whose advantage is 0 and which therefore get no forward pass. KL_t is the estimate
    `kl_estimator` of KL(policy || reference) at token t. Subclasses give `signal`.
    """

    unbounded = "where kl > 0: k3 grows as ref / pi, k2 as its squared logarithm"

    clip: float = Field(0.2, gt=0, lt=1)
    clip_high: float | None = Field(None, gt=0)  # None: as clip
    aggregation: reduce.Aggregation = "sequence_mean"
    kl: float = Field(0.0, ge=0)
    kl_estimator: reduce.Estimator = "k3"

    def needs(self) -> Needs:
        return Needs(old="loss", reference=self.kl > 0, group_min=2)

    def trained(self, rollout: Rollout, advantage_N):
        """Rows with anything to learn from: a KL penalty pulls on every sample."""
        return reduce.samples(rollout) & ((advantage_N != 0) | (self.kl > 0))

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        assert signal.advantage_NT is not None
        live_NT = reduce.live(rollout, signal)
        advantage_NT = reduce.keep(signal.advantage_NT, live_NT)
        ratio_NT = reduce.log_ratio(leaves.logp_NT, rollout.old_logp_NT, live_NT).exp()
        high = self.clip if self.clip_high is None else self.clip_high
        free_NT = ratio_NT * advantage_NT
        cut_NT = ratio_NT.clamp(1 - self.clip, 1 + high) * advantage_NT
        loss_NT = -free_NT.minimum(cut_NT)
        metrics = {
            "clip_fraction": reduce.mean_live((cut_NT < free_NT).to(ratio_NT.dtype), live_NT),
            "ratio": reduce.mean_live(ratio_NT, live_NT),
        }
        if self.kl > 0:
            delta_NT = reduce.log_ratio(leaves.logp_NT, rollout.ref_logp_NT, live_NT)
            loss_NT = loss_NT + self.kl * reduce.kl(delta_NT, self.kl_estimator)
            metrics["kl"] = reduce.mean_live(reduce.kl(delta_NT, "k3"), live_NT)
        value = reduce.aggregate(
            loss_NT, rollout.mask_NT, reduce.samples(rollout), self.aggregation, rollout.max_tokens
        )
        return Loss(value, metrics)
