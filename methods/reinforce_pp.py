"""REINFORCE++."""

from dataclasses import replace

from pydantic import Field

from . import reduce
from .base import Needs, Rollout, Signal
from .registry import register
from .surrogate import ClippedSurrogate


@register("reinforce++")
class ReinforcePlusPlus(ClippedSurrogate):
    """REINFORCE++: no critic and no groups; advantages normalised over the whole batch.

        A_t  = r - reward_kl * sum_{s >= t} (lp_old_s - lp_ref_s),  then (A - mean) / std
        loss = sum_{i,t} -min(rho * A_t, clip(rho) * A_t) / tokens

    https://arxiv.org/abs/2501.03262. The KL to the reference sits in the reward, token by token,
    undiscounted; 0.01 is its public code's default. Mean and std are over the tokens of the batch
    (ddof 0), as in that code. `kl`, a penalty in the loss, is 0 in the paper.
    """

    paper = "https://arxiv.org/abs/2501.03262"

    aggregation: reduce.Aggregation = "token_mean"
    reward_kl: float = Field(0.01, ge=0)

    def needs(self) -> Needs:
        penalised = self.reward_kl > 0
        return replace(
            super().needs(),
            old="signal" if penalised else "loss",
            reference=penalised or self.kl > 0,
            group_min=1,
        )

    def signal(self, rollout: Rollout) -> Signal:
        samples_N = reduce.samples(rollout)
        mask_NT = rollout.mask_NT & samples_N[:, None]
        return_NT = reduce.per_token(rollout.reward_N, mask_NT)
        metrics = {}
        if self.reward_kl > 0:
            assert rollout.old_logp_NT is not None
            delta_NT = reduce.log_ratio(rollout.old_logp_NT, rollout.ref_logp_NT, mask_NT)
            to_come_NT = delta_NT.flip(-1).cumsum(-1).flip(-1)
            return_NT = return_NT - self.reward_kl * to_come_NT
            metrics["kl"] = reduce.mean_live(reduce.kl(delta_NT, "k3"), mask_NT)
        return Signal(reduce.whiten(return_NT, mask_NT, ddof=0), None, samples_N, metrics)
