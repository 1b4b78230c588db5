"""What a rollout batch is scored with before it is trained on: the policy that sampled it, the
frozen start, the critic. Computed once a batch, without a graph, and charged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.model.policy import Critic, Policy
from bench.model.rows import Rows, sent
from bench.record.ledger import Flops, Ledger
from methods import MISMATCHED, Method, Rollout

from .batch import Batch, OldLogp, ScoredBatch


@dataclass(frozen=True)
class Scorer:
    policy: Policy
    start: Policy | None  # the frozen starting model, where something needs it
    critic: Critic | None
    flops: Flops
    micro_tokens: int  # padded tokens of a micro-batch

    def scored(self, batch: Batch, method: Method, old: OldLogp, ledger: Ledger) -> ScoredBatch:
        """The batch with the scores that the method needs, and its signal on all rows. Rows that
        the signal leaves out are not scored."""
        needs, rows, rollout = method.needs(), batch.tokens, batch.rollout
        every_N = torch.ones(len(rows), dtype=torch.bool)
        if needs.critic:
            assert self.critic is not None
            rollout = replace(rollout, old_value_NT=values(self.critic, rows, self.micro_tokens))
            ledger.tokens_critic += int(rows.mask_NT.sum())
            ledger.flops_critic += self.flops.forward(rows, head=False)
        if needs.old == "signal":  # KL in the reward: everything is scored before the signal
            rollout = self._old(rows, rollout, every_N, old=old, ledger=ledger)
            if needs.reference:
                rollout = self._reference(rows, rollout, every_N, ledger)
        signal = method.signal(rollout)
        if needs.old == "loss":
            rollout = self._old(rows, rollout, signal.trained_N, old=old, ledger=ledger)
        if needs.reference:
            which_N = signal.trained_N | (rollout.kind_N == MISMATCHED)
            rollout = self._reference(rows, rollout, which_N, ledger)
        return ScoredBatch(rows, rollout, signal, old)

    def _old(
        self, rows: Rows, rollout: Rollout, which_N: Tensor, *, old: OldLogp, ledger: Ledger
    ) -> Rollout:
        if old == "start":
            rollout = self._reference(rows, rollout, which_N, ledger)
            return replace(rollout, old_logp_NT=rollout.ref_logp_NT)
        if old != "scored":  # the update's own pass gives them, or nothing reads them
            return rollout
        old_NT = score(self.policy, rows, which_N, self.micro_tokens)
        ledger.tokens_scored += int(rows.mask_NT[which_N.cpu()].sum())
        ledger.flops_score += self._cost(rows, which_N)
        return replace(rollout, old_logp_NT=old_NT)

    def _reference(self, rows: Rows, rollout: Rollout, which_N: Tensor, ledger: Ledger) -> Rollout:
        if rollout.ref_logp_NT is not None:  # scored already
            return rollout
        assert self.start is not None
        ref_NT = score(self.start, rows, which_N, self.micro_tokens)
        ledger.tokens_reference += int(rows.mask_NT[which_N.cpu()].sum())
        ledger.flops_reference += self._cost(rows, which_N)
        return replace(rollout, ref_logp_NT=ref_NT)

    def _cost(self, rows: Rows, which_N: Tensor) -> float:
        return self.flops.forward(rows.select(which_N.nonzero()[:, 0])) if which_N.any() else 0.0


@torch.no_grad()
def score(policy: Policy, rows: Rows, which_N: Tensor, micro_tokens: int) -> Tensor:
    """Log-probs [N, T] of the rows where `which_N`, zero elsewhere, without a graph."""
    parts = _parts(rows, which_N, micro_tokens, lambda part: policy.score(part)[0])
    return _placed(parts, rows, policy.device)


@torch.no_grad()
def values(critic: Critic, rows: Rows, micro_tokens: int) -> Tensor:
    """Values [N, T] of all rows, without a graph."""
    every_N = torch.ones(len(rows), dtype=torch.bool)
    parts = _parts(rows, every_N, micro_tokens, critic.score)
    return _placed(parts, rows, critic.head.weight.device)


def _parts(
    rows: Rows, which_N: Tensor, micro_tokens: int, function: Callable[[Rows], Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices of some rows, and the function's block for them, micro-batch by micro-batch."""
    at = host_indices(which_N)
    part = rows.select(at)
    for chunk in part.micro_batches(micro_tokens):
        yield at[chunk], function(part.select(chunk))


def _placed(parts: Iterator[tuple[Tensor, Tensor]], rows: Rows, device: torch.device) -> Tensor:
    """Narrower blocks at their places [N, T], zero elsewhere."""
    out = torch.zeros(rows.mask_NT.shape, device=device)
    for at, block in parts:
        out = out.to(block.dtype)
        out[sent(at, device), : block.shape[1]] = block
    return out


def host_indices(which_N: Tensor) -> Tensor:
    """Where a mask holds, on the host; the one time that an update waits for the device."""
    return which_N.nonzero()[:, 0].cpu()
