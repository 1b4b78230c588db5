"""What a rollout batch is scored with before it is trained on: the policy that sampled it, the
frozen start, the critic. Computed once a batch, without a graph, and charged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from bench.config import Run
from bench.model.policy import Critic, Policy
from bench.model.rows import Rows
from bench.record.ledger import Flops, Ledger
from methods import MISMATCHED, Method, Rollout, Signal

from .backward import score, values


@dataclass(frozen=True)
class Scorer:
    run: Run
    policy: Policy
    start: Policy | None  # the frozen starting model, where something needs it
    critic: Critic | None
    flops: Flops

    def judge(
        self, rows: Rows, rollout: Rollout, method: Method, source: str, ledger: Ledger
    ) -> tuple[Rollout, Signal]:
        """The rollout with the scores that the method needs, and its signal on all rows. Rows that
        the signal leaves out are not scored; with a single update the old log-probs are those of
        its own forward pass, so there is nothing to score for them."""
        needs = method.needs()
        every_N = torch.ones(len(rows), dtype=torch.bool)
        if needs.critic:
            assert self.critic is not None
            width = rollout.mask_NT.shape[1]
            value_NT = values(self.critic, rows, width, self.run.micro_tokens)
            rollout = replace(rollout, old_value_NT=value_NT)
            ledger.tokens_critic += int(rows.mask_NT.sum())
            ledger.flops_critic += self.flops.forward(rows, head=False)
        if needs.old == "signal":  # KL in the reward: everything is scored before the signal
            rollout = self._old(rollout, rows, every_N, source, ledger)
            if needs.reference:
                rollout = self._reference(rollout, rows, every_N, ledger)
        signal = method.signal(rollout)
        if needs.old == "loss" and (self.run.rollout.updates > 1 or source != "policy"):
            rollout = self._old(rollout, rows, signal.trained_N, source, ledger)
        if needs.reference:
            which_N = signal.trained_N | (rollout.kind_N == MISMATCHED)
            rollout = self._reference(rollout, rows, which_N, ledger)
        return rollout, signal

    def _old(
        self, rollout: Rollout, rows: Rows, which_N: torch.Tensor, source: str, ledger: Ledger
    ) -> Rollout:
        """old_logp_NT: of the policy, which sampled the rows; a replay set is the start's."""
        if source == "replay":
            scored = self._reference(rollout, rows, which_N, ledger)
            return replace(scored, old_logp_NT=scored.ref_logp_NT)
        old_NT = score(self.policy, rows, which_N, rollout.mask_NT.shape[1], self.run.micro_tokens)
        ledger.tokens_scored += int(rows.mask_NT[which_N.cpu()].sum())
        ledger.flops_score += self._cost(rows, which_N)
        return replace(rollout, old_logp_NT=old_NT)

    def _reference(
        self, rollout: Rollout, rows: Rows, which_N: torch.Tensor, ledger: Ledger
    ) -> Rollout:
        if rollout.ref_logp_NT is not None:  # scored already
            return rollout
        assert self.start is not None
        ref_NT = score(self.start, rows, which_N, rollout.mask_NT.shape[1], self.run.micro_tokens)
        ledger.tokens_reference += int(rows.mask_NT[which_N.cpu()].sum())
        ledger.flops_reference += self._cost(rows, which_N)
        return replace(rollout, ref_logp_NT=ref_NT)

    def _cost(self, rows: Rows, which_N: torch.Tensor) -> float:
        return self.flops.forward(rows.select(which_N.nonzero()[:, 0])) if which_N.any() else 0.0
