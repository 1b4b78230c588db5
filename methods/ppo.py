"""PPO with a critic."""

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Leaves, Loss, Needs, Rollout, Signal
from .registry import register
from .surrogate import ClippedSurrogate


@register("ppo")
class PPO(ClippedSurrogate):
    """PPO: the clipped surrogate with advantages from a learned critic, and the critic's own loss.

        R_t   = [t is the last token] * r - reward_kl * (lp_old_t - lp_ref_t)
        delta = R_t + gamma * V_{t+1} - V_t,     A_t = sum_k (gamma * gae_lambda)^k delta_{t+k}
        loss  = sum_{i,t} -min(rho * A, clip(rho) * A) / tokens
                + value_weight * sum_{i,t} max((V - G)^2, (V_clip - G)^2) / tokens
                - entropy_weight * sum_{i,t} entropy / tokens

    G = A + V_old is the return and V_clip = clip(V, V_old - value_clip, V_old + value_clip).
    https://arxiv.org/abs/1707.06347, details as in https://arxiv.org/abs/2403.17031. V_t is the
    critic's value of the state before token t. Chosen where texts differ:
    - after the last token V is 0: a verifier's reward is final, also of an answer that was cut
      off. With `bootstrap` such an answer goes on with V_t of its last token, the latest state that
      the critic valued, as in control tasks whose episodes are cut.
    - no KL penalty in the reward: the other online objectives have none either. RLHF takes 0.05
      (`reward_kl`).
    - A is whitened over all tokens of the rollout batch (`whiten`).
    - the squared error has no further factor 1/2. Both averages are over tokens.
    The critic is a separate copy of the starting model with a scalar head; its cost is counted. It
    learns at ten times the policy's rate unless a recipe says otherwise (`optimizer.critic_lr`), as
    public PPO configurations do (1e-5 beside 1e-6).
    """

    paper = "https://arxiv.org/abs/1707.06347"

    aggregation: reduce.Aggregation = "token_mean"
    reward_kl: float = Field(0.0, ge=0)
    gamma: float = Field(1.0, gt=0, le=1)
    gae_lambda: float = Field(0.95, ge=0, le=1)
    bootstrap: bool = False
    whiten: bool = True
    value_clip: float = Field(0.2, gt=0)
    value_weight: float = Field(0.5, ge=0)
    entropy_weight: float = Field(0.0, ge=0)

    def needs(self) -> Needs:
        return replace(
            super().needs(),
            old="signal",
            critic=True,
            entropy=self.entropy_weight > 0,
            reference=self.reward_kl > 0 or self.kl > 0,
            group_min=1,
        )

    def signal(self, rollout: Rollout) -> Signal:
        assert rollout.old_value_NT is not None
        assert rollout.old_logp_NT is not None
        samples_N = reduce.samples(rollout)
        mask_NT = rollout.mask_NT & samples_N[:, None]
        value_NT = reduce.keep(rollout.old_value_NT, mask_NT)
        shifted_NT = torch.cat([mask_NT[:, 1:], torch.zeros_like(mask_NT[:, :1])], dim=1)
        last_NT = mask_NT & ~shifted_NT
        reward_NT = reduce.per_token(rollout.reward_N, last_NT)
        metrics = {}
        if self.reward_kl > 0:
            delta_NT = reduce.log_ratio(rollout.old_logp_NT, rollout.ref_logp_NT, mask_NT)
            reward_NT = reward_NT - self.reward_kl * delta_NT
            metrics["kl"] = reduce.mean_live(reduce.kl(delta_NT, "k3"), mask_NT)

        next_NT = torch.cat([value_NT[:, 1:], torch.zeros_like(value_NT[:, :1])], dim=1)
        if self.bootstrap:
            cut_NT = last_NT & ~rollout.finished_N[:, None]
            next_NT = torch.where(cut_NT, value_NT, next_NT)
        error_NT = reduce.keep(reward_NT + self.gamma * next_NT - value_NT, mask_NT)
        ahead_N, columns = torch.zeros_like(rollout.reward_N), []
        for error_N in reversed(error_NT.unbind(1)):
            ahead_N = error_N + self.gamma * self.gae_lambda * ahead_N
            columns.append(ahead_N)
        advantage_NT = reduce.keep(torch.stack(columns[::-1], dim=1), mask_NT)
        return_NT = advantage_NT + value_NT
        if self.whiten:
            advantage_NT = reduce.whiten(advantage_NT, mask_NT)
        return Signal(advantage_NT, return_NT, samples_N, metrics)

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        assert leaves.value_NT is not None
        assert rollout.old_value_NT is not None
        assert signal.return_NT is not None
        policy = super().loss(leaves, rollout, signal)
        live_NT = reduce.live(rollout, signal)

        value_NT = reduce.keep(leaves.value_NT, live_NT)
        old_NT = reduce.keep(rollout.old_value_NT, live_NT)
        goal_NT = reduce.keep(signal.return_NT, live_NT)
        held_NT = old_NT + (value_NT - old_NT).clamp(-self.value_clip, self.value_clip)
        error_NT = (value_NT - goal_NT).square().maximum((held_NT - goal_NT).square())
        value_loss = self.mean(error_NT, rollout)
        total = policy.value + self.value_weight * value_loss
        metrics = {
            "value_loss": value_loss.detach(),
            "explained_variance": reduce.explained_variance(value_NT, goal_NT, live_NT),
        }
        if self.entropy_weight > 0:
            assert leaves.entropy_NT is not None
            entropy = self.mean(reduce.keep(leaves.entropy_NT, live_NT), rollout)
            total = total - self.entropy_weight * entropy
            metrics["entropy"] = entropy.detach()
        return Loss(total, policy.metrics | metrics)

    def mean(self, x_NT: Tensor, rollout: Rollout) -> Tensor:
        counted_N = self.counted(rollout)
        return reduce.aggregate(
            x_NT, rollout.mask_NT, counted_N, self.aggregation, max_tokens=rollout.max_tokens
        )
