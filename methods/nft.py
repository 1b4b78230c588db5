"""NFT: Negative-aware Fine-Tuning."""

from typing import Literal

import torch
from torch import Tensor

from . import reduce
from .base import Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import register


@register("nft")
class NFT(Method):
    """NFT: imitate right answers, and through an implicit negative policy learn from wrong ones.

        R_t = exp(lp_t - lp_old_t),  q = the prompt's share of right answers, held in [.02, .98]
        right:  -log R_t             wrong:  -log max((1 - q R_t) / (1 - q), 1)
        loss = sum_{i,t} w(q) * term_t / tokens

    The old policy is the mixture q * right + (1 - q) * wrong, so the wrong answers' policy is
    implied by that of the right ones. The max is straight-through: it bounds the value, the
    gradient passes. Prompts with q = 0 or 1 carry nothing: dropped, and out of the denominator; the
    harness samples on until the batch is full of others (`needs().refill`), as the author's script.
    https://arxiv.org/abs/2505.18116. `prompt_weight` w(q): "one", "hard" 1 - q (the author's
    script, the default) or "root" sqrt((1 - q)/q), with which the first update is GRPO's.
    The author sums over tokens and divides by a constant; here by the batch's tokens. 16 updates a
    rollout batch in the author's script.
    """

    paper = "https://arxiv.org/abs/2505.18116"
    unbounded = "from above only: right answers enter by their log-likelihood"
    stop_gradients = "the straight-through max of wrong answers"

    prompt_weight: Literal["one", "hard", "root"] = "hard"

    def needs(self) -> Needs:
        return Needs(old="loss", group_min=2, learns_from=("verdict",), refill=True)

    def rate(self, rollout: Rollout, groups: reduce.Groups) -> Tensor:
        """[N]: the share of right answers of the row's prompt."""
        return groups.mean(rollout.correct_N.to(rollout.reward_N.dtype))

    def signal(self, rollout: Rollout) -> Signal:
        samples_N = reduce.samples(rollout)
        groups = reduce.Groups.of(rollout.group_N, samples_N)
        rate_N = self.rate(rollout, groups)
        dead_N = (rate_N <= 0) | (rate_N >= 1)
        return Signal(
            None,
            None,
            samples_N & ~dead_N,
            {"zero_variance_groups": groups.number(dead_N).to(rate_N.dtype)},
        )

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        live_NT = reduce.live(rollout, signal)
        log_NT = reduce.log_ratio(leaves.logp_NT, rollout.old_logp_NT, live_NT)
        right_NT = live_NT & rollout.correct_N[:, None]
        wrong_NT = live_NT & ~rollout.correct_N[:, None]
        groups = reduce.Groups.of(rollout.group_N, reduce.samples(rollout))
        q_N1 = self.rate(rollout, groups).clamp(0.02, 0.98)[:, None]
        weight_N1 = torch.ones_like(q_N1)
        if self.prompt_weight == "hard":
            weight_N1 = 1 - q_N1
        elif self.prompt_weight == "root":
            weight_N1 = ((1 - q_N1) / q_N1).sqrt()

        ratio_NT = reduce.keep(log_NT, wrong_NT).exp()
        implied_NT = (1 - q_N1 * ratio_NT) / (1 - q_N1)
        held_NT = implied_NT + reduce.stop(implied_NT.clamp(min=1) - implied_NT)
        rise_NT = reduce.keep(-log_NT, right_NT)
        fall_NT = reduce.keep(-held_NT.log(), wrong_NT)
        value = reduce.aggregate(
            weight_N1 * (rise_NT + fall_NT),
            rollout.mask_NT,
            signal.trained_N,
            "token_mean",
            max_tokens=rollout.max_tokens,
        )
        return Loss(
            value,
            {
                "ratio": reduce.mean_live(log_NT.exp(), live_NT),
                "clip_fraction": reduce.mean_live((implied_NT < 1).to(log_NT.dtype), wrong_NT),
            },
        )
