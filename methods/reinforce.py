"""REINFORCE and RLOO: the policy gradient of whole answers."""

import torch
from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import register


@register("reinforce")
class REINFORCE(Method):
    """REINFORCE with the mean reward as baseline.

        r'   = r - kl * sum_t (lp_old_t - lp_ref_t)
        A_i  = r'_i - mean of r' over the rollout batch
        loss = mean_i -A_i * sum_t lp_t

    The usual baseline is a running mean over batches. A method here has no memory, so it is the
    present batch's mean, whose bias is 1/N of the reward's spread. `kl` penalises distance from the
    reference inside the reward. As in https://arxiv.org/abs/2402.14740; one update per rollout
    batch, since there is no ratio.
    """

    paper = "https://arxiv.org/abs/2402.14740"
    unbounded = "answers of negative advantage are pushed down by their log-likelihood"

    kl: float = Field(0.0, ge=0)

    def needs(self) -> Needs:
        penalised = self.kl > 0
        return Needs(
            old="signal" if penalised else "no", reference=penalised, max_updates_per_rollout=1
        )

    def baseline(self, reward_N: Tensor, rollout: Rollout) -> Tensor:
        """[N]: what is subtracted from each sample's reward."""
        everything_N = torch.zeros_like(rollout.group_N)
        return reduce.Groups.of(everything_N, reduce.samples(rollout)).mean(reward_N)

    def signal(self, rollout: Rollout) -> Signal:
        samples_N = reduce.samples(rollout)
        reward_N, metrics = rollout.reward_N, {}
        if self.kl > 0:
            assert rollout.old_logp_NT is not None
            delta_NT = reduce.log_ratio(
                rollout.old_logp_NT, rollout.ref_logp_NT, rollout.mask_NT & samples_N[:, None]
            )
            reward_N = reward_N - self.kl * delta_NT.sum(-1)
            metrics["kl"] = reduce.mean_live(reduce.kl(delta_NT, "k3"), rollout.mask_NT)
        advantage_N = reduce.keep(reward_N - self.baseline(reward_N, rollout), samples_N)
        return Signal(
            reduce.per_token(advantage_N, rollout.mask_NT), None, advantage_N != 0, metrics
        )

    def gain(
        self, leaves: Leaves, rollout: Rollout, live_NT: Tensor, advantage_N: Tensor
    ) -> Tensor:
        """[N]: what an answer adds to the objective."""
        return advantage_N * reduce.keep(leaves.logp_NT, live_NT).sum(-1)

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        assert signal.advantage_NT is not None
        live_NT, samples_N = reduce.live(rollout, signal), reduce.samples(rollout)
        gain_N = self.gain(leaves, rollout, live_NT, reduce.per_row(signal.advantage_NT))
        total = reduce.keep(gain_N, signal.trained_N).sum()
        return Loss(-reduce.ratio_of(total, samples_N.sum()))


@register("rloo")
class RLOO(REINFORCE):
    """RLOO: REINFORCE whose baseline is the mean reward of the prompt's other answers.

        A_i  = r'_i - mean_{j != i} r'_j;       loss = mean_i -A_i * sum_t lp_t

    https://arxiv.org/abs/2402.14740. With `clip` it becomes, as in TRL, PPO's clipped surrogate on
    the ratio of whole answers, and allows several updates per rollout batch; at the first of them
    the gradient is the same.
    """

    unbounded = "answers of negative advantage are pushed down by their log-likelihood"

    clip: float | None = Field(None, gt=0, lt=1)

    def needs(self) -> Needs:
        one = super().needs()
        old = "signal" if self.kl > 0 else "loss" if self.clip else "no"
        limit = None if self.clip else 1
        return Needs(old=old, reference=one.reference, group_min=2, max_updates_per_rollout=limit)

    def baseline(self, reward_N: Tensor, rollout: Rollout) -> Tensor:
        groups = reduce.Groups.of(rollout.group_N, reduce.samples(rollout))
        others_N = reduce.ratio_of(groups.sum(reward_N) - reward_N, groups.count() - 1)
        # equal rewards: exactly their value, so that the advantage is exactly 0
        return torch.where(groups.constant(reward_N), reward_N, others_N)

    def gain(
        self, leaves: Leaves, rollout: Rollout, live_NT: Tensor, advantage_N: Tensor
    ) -> Tensor:
        if self.clip is None:
            return super().gain(leaves, rollout, live_NT, advantage_N)
        log_N = reduce.log_ratio(leaves.logp_NT, rollout.old_logp_NT, live_NT).sum(-1)
        ratio_N = log_N.exp()
        cut_N = ratio_N.clamp(1 - self.clip, 1 + self.clip)
        return (ratio_N * advantage_N).minimum(cut_N * advantage_N)
