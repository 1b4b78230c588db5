"""Samples of another engine than the trainer: how far its log-probs are off, and what to do.

The engine's kernels and precision give each token a slightly other probability than the trainer's
do, so that an on-policy sample is not quite on-policy. Truncated importance sampling (Ionides 2008;
for this mismatch https://fengyao.notion.site/off-policy-rl) weighs each token of an answer, or the
answer as a whole, with

    min(limit, exp(lp_old - lp_sampler))

where lp_old is the trainer's log-prob under the weights that sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from bench.config import Correct
from methods import SAMPLE, Method, Rollout, Signal, reduce


@dataclass(frozen=True)
class Correction:
    """Applied just before the loss. Only objectives with `Method.weighted` are corrected: their
    loss is linear in a positive factor on each token's advantage."""

    how: Correct
    limit: float

    def __call__(
        self, old_NT: torch.Tensor, rollout: Rollout, signal: Signal, weighted: bool
    ) -> tuple[Signal, dict[str, torch.Tensor]]:
        """The signal with weighted advantages, and metrics over the trained samples: mean and
        largest |lp_old - lp_sampler| of a token, mean weight. Tokens whose log-prob the engine did
        not tell (NaN) count as equal."""
        assert rollout.sampler_logp_NT is not None
        drawn_N = signal.trained_N & (rollout.kind_N == SAMPLE)
        drawn_NT = rollout.mask_NT & drawn_N[:, None]
        gap_NT = reduce.keep(old_NT - rollout.sampler_logp_NT, drawn_NT).nan_to_num()
        metrics = {
            "sampler_drift": reduce.mean_live(gap_NT.abs(), drawn_NT),
            "sampler_drift_max": gap_NT.abs().max().detach(),
        }
        if self.how == "none" or not weighted or signal.advantage_NT is None:
            return signal, metrics
        if self.how == "sequence_truncate":
            gap_NT = gap_NT.sum(-1, keepdim=True).expand_as(gap_NT)
        weight_NT = gap_NT.exp().clamp(max=self.limit)
        metrics["sampler_weight"] = reduce.mean_live(weight_NT, drawn_NT)
        return replace(signal, advantage_NT=signal.advantage_NT * weight_NT), metrics

    def warnings(self, methods: Sequence[Method]) -> list[str]:
        """About objectives that train on the engine's samples and cannot be corrected."""
        left = [type(m).__name__ for m in methods if not m.weighted]
        if self.how == "none" or not left:
            return []
        why = "no weight per token, so the engine's samples are not corrected"
        return [f"{', '.join(left)}: {why}"]
