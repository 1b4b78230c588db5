"""What objectives that imitate share: the likelihood of chosen rows, or of all samples."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from . import reduce
from .base import Leaves, Loss, Method, Needs, Rollout, Signal

Reduction = Literal["token_mean", "sequence_mean", "sum"]


class Likelihood(Method):
    """Base: the negative log-likelihood of the rows that `targets` picks.

        loss = sum over target tokens of -weight_t * lp_t / number of target tokens   (token_mean)

    or, with `reduction="sequence_mean"`, the mean over target rows of their token means. Only
    targets count in the denominator.
    """

    unbounded = "from above only: the surprise at a target has no limit; the loss is never negative"

    reduction: Literal["token_mean", "sequence_mean"] = "token_mean"

    def targets(self, rollout: Rollout) -> Tensor:
        """bool [N]: the rows to imitate."""
        raise NotImplementedError

    def weight(self, logp_NT: Tensor) -> Tensor:
        """[N, T]: a factor of each token's term."""
        return torch.ones_like(logp_NT)

    def signal(self, rollout: Rollout) -> Signal:
        return Signal(None, None, self.targets(rollout))

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        live_NT = reduce.live(rollout, signal)
        logp_NT = reduce.keep(leaves.logp_NT, live_NT)
        value = reduce.aggregate(
            -self.weight(logp_NT) * logp_NT,
            rollout.mask_NT,
            self.targets(rollout),
            self.reduction,
            max_tokens=rollout.max_tokens,
        )
        return Loss(value, {"nll": reduce.mean_live(-logp_NT, live_NT)})


class VerdictLikelihood(Method):
    """Base: every sample, with r = `positive_reward` if it is right, else `negative_reward`.

        loss = sum_i share_i * ( r_i * nll_i  for r_i > 0,   -r_i * penalty_i  for r_i < 0 )

    `reduction`: "token_mean" (rows share by their length; nll is the row's token mean), that is
    the sum over tokens / tokens of all rows, as SFT does in practice; "sequence_mean" (rows share
    equally), "sum" (rows share equally; nll is the row's token sum). All samples count in the
    denominator, also those with r = 0. Subclasses give `penalty`.

    `group_normalise` standardises the rewards inside their group first (ddof 1, + 1e-4).
    """

    reduction: Reduction = "token_mean"
    positive_reward: float = Field(1.0, gt=0)
    negative_reward: float = Field(-1.0, le=0)
    group_normalise: bool = False

    def needs(self) -> Needs:
        return Needs(
            source="replay", group_min=2 if self.group_normalise else 1, learns_from=("verdict",)
        )

    def penalty(self, logp_NT: Tensor, rollout: Rollout, wrong_NT: Tensor) -> Tensor:
        """[N]: what a wrong row costs per unit of -r, to be lowered; `logp_NT` is 0 elsewhere."""
        raise NotImplementedError

    def anchor(self, rollout: Rollout) -> Tensor | None:
        """[N, T]: log-probs that wrong rows' are taken relative to, for variants with a ratio."""
        return None

    def row(self, x_NT: Tensor, mask_NT: Tensor) -> Tensor:
        """[N]: a row's value from its tokens' under `reduction`."""
        return x_NT.sum(-1) if self.reduction == "sum" else reduce.token_mean(x_NT, mask_NT)

    def signal(self, rollout: Rollout) -> Signal:
        samples_N = reduce.samples(rollout)
        reward_N = torch.full_like(rollout.reward_N, self.negative_reward)
        reward_N = reward_N.masked_fill(rollout.correct_N, self.positive_reward)
        if self.group_normalise:
            groups = reduce.Groups.of(rollout.group_N, samples_N)
            reward_N = reduce.zscore(reward_N, groups, ddof=1, eps=1e-4)
        reward_N = reduce.keep(reward_N, samples_N)
        return Signal(reduce.per_token(reward_N, rollout.mask_NT), None, reward_N != 0)

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        assert signal.advantage_NT is not None
        mask_NT, live_NT = rollout.mask_NT, reduce.live(rollout, signal)
        reward_N = reduce.per_row(signal.advantage_NT)
        right_NT = live_NT & (reward_N > 0)[:, None]
        wrong_NT = live_NT & (reward_N < 0)[:, None]
        nll_NT = -reduce.keep(leaves.logp_NT, right_NT)
        wrong_logp_NT = reduce.log_ratio(leaves.logp_NT, self.anchor(rollout), wrong_NT)
        penalty_N = reduce.keep(self.penalty(wrong_logp_NT, rollout, wrong_NT), wrong_NT.any(-1))

        size_N = mask_NT.sum(-1) if self.reduction == "token_mean" else torch.ones_like(reward_N)
        size_N = reduce.keep(size_N, reduce.samples(rollout)).to(reward_N.dtype)
        share_N = reduce.ratio_of(size_N, size_N.sum())
        # the first is 0 on wrong rows, the second on right ones
        rise = (share_N * reward_N * self.row(nll_NT, mask_NT)).sum()
        fall = -(share_N * reward_N * penalty_N).sum()
        metrics = {
            "nll": reduce.mean_live(nll_NT, right_NT),
            "negative_term": fall.detach(),
            "negative_probability": reduce.mean_live(wrong_logp_NT.exp(), wrong_NT),
        }
        return Loss(rise + fall, metrics)
