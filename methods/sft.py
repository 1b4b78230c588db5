"""Supervised fine-tuning on the task's reference answers."""

from __future__ import annotations

from typing import Literal

from . import reduce
from .base import GOLD, Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import register


class Likelihood(Method):
    """Base: the negative log-likelihood of the rows that `targets` picks.

        loss = sum over target tokens of -lp_t / number of target tokens     (token_mean)

    or, with `reduction="sequence_mean"`, the mean over target rows of their token means. Only
    targets count in the denominator.
    """

    unbounded = "from above only: the surprise at a target has no limit; the loss is never negative"

    reduction: Literal["token_mean", "sequence_mean"] = "token_mean"

    def targets(self, rollout: Rollout):
        """bool [N]: the rows to imitate."""
        raise NotImplementedError

    def signal(self, rollout: Rollout) -> Signal:
        return Signal(None, None, self.targets(rollout))

    def weight(self, logp_NT):
        """[N, T]: a factor of each token's likelihood; 1 here, DFT's is another."""
        return 1.0

    def loss(self, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        live_NT = reduce.live(rollout, signal)
        logp_NT = reduce.keep(leaves.logp_NT, live_NT)
        value = reduce.aggregate(
            -self.weight(logp_NT) * logp_NT,
            rollout.mask_NT,
            self.targets(rollout),
            self.reduction,
            rollout.max_tokens,
        )
        return Loss(value, {"nll": reduce.mean_live(-logp_NT, live_NT)})


@register("sft")
class SFT(Likelihood):
    """Supervised fine-tuning: maximum likelihood of the reference answers.

        loss = -sum_{gold rows, t} lp_t / number of gold tokens

    Rows that the policy sampled are ignored. `reduction` is open in most papers: the mean over all
    tokens of the batch is what is done in practice (TRL, Hugging Face) and the default.
    """

    def needs(self) -> Needs:
        return Needs(source="demonstrations", sources=("demonstrations",), gold=True)

    def targets(self, rollout: Rollout):
        return rollout.kind_N == GOLD
