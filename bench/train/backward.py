"""The exact gradient of any objective, whatever couples its rows, at the memory of one micro-batch.

Pass 1 takes the leaves (log-probs, values, entropies) without a graph; the objective gives
w = dL/dlogp, v = dL/dvalue, u = dL/dentropy; pass 3 runs micro-batch after micro-batch and backs
sum(w*logp) + sum(v*value) + sum(u*entropy), which by the chain rule is the gradient of L. Where all
rows fit in one micro-batch a single pass with a graph does. A test holds both equal.

Which rows are trained is asked of the device once; from there on nothing waits for it.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.model.policy import Critic, Policy
from bench.model.rows import Rows, sent
from methods import Leaves, Loss, Method

from .batch import ScoredBatch
from .correction import Correction
from .scoring import host_indices


@dataclass(frozen=True)
class Backward:
    loss: Loss
    drift: Tensor  # largest |logp of pass 1 - logp of pass 3|; 0 where one pass did
    passes: int
    has_gradient: bool  # False: nothing to train on, the loss is a constant


def leaves(policy: Policy, critic: Critic | None, rows: Rows, entropy: bool) -> Leaves:
    logp_NT, entropy_NT = policy.score(rows, entropy)
    return Leaves(logp_NT, critic.score(rows) if critic is not None else None, entropy_NT)


def _place(part: Tensor, rows: Tensor, shape: torch.Size) -> Tensor:
    """Rows of a narrower block at their places in zeros of the given shape (differentiable)."""
    padded = torch.nn.functional.pad(part, (0, shape[1] - part.shape[1]))
    return part.new_zeros(shape).index_copy(0, sent(rows, part.device), padded)


def _fields(values: Leaves) -> dict[str, Tensor]:
    return {k: v for k, v in vars(values).items() if v is not None}


def backward(
    policy: Policy,
    method: Method,
    batch: ScoredBatch,
    *,
    critic: Critic | None = None,
    micro_tokens: int,
    correction: Correction | None = None,
) -> Backward:
    """Add dL/dtheta to the gradients that the optimiser steps with.

    Rows with `trained_N` False get no forward pass. `micro_tokens` bounds the padded tokens of a
    micro-batch. A `correction` weighs the advantages of an engine's samples; the batch must then
    have old log-probs.
    """
    rollout, signal, entropy = batch.rollout, batch.signal, method.needs().entropy
    trained = host_indices(signal.trained_N)
    none = torch.zeros(())
    if len(trained) == 0:
        return Backward(Loss(none), none, 0, has_gradient=False)
    shape = rollout.mask_NT.shape
    part = batch.tokens.select(trained)
    chunks = part.micro_batches(micro_tokens)

    def objective(values: Leaves) -> Loss:
        known = rollout
        if batch.old == "own_pass":
            known = replace(rollout, old_logp_NT=values.logp_NT.detach())
        if correction is None:
            return method.loss(values, known, signal)
        assert known.old_logp_NT is not None
        weighted, metrics = correction(known.old_logp_NT, known, signal, method.weighted)
        loss = method.loss(values, known, weighted)
        return Loss(loss.value, {**loss.metrics, **metrics})

    if len(chunks) == 1:
        out = _fields(leaves(policy, critic, part, entropy))
        loss = objective(Leaves(**{k: _place(v, trained, shape) for k, v in out.items()}))
        if loss.value.requires_grad:
            loss.value.backward()
        return Backward(_detached(loss), none, 1, loss.value.requires_grad)

    first: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for chunk in chunks:
            first.append(_fields(leaves(policy, critic, part.select(chunk), entropy)))
    whole: dict[str, Any] = {
        name: sum(_place(f[name], trained[c], shape) for f, c in zip(first, chunks, strict=True))
        for name in first[0]
    }
    whole = {name: value.requires_grad_() for name, value in whole.items()}
    loss = objective(Leaves(**whole))
    if not loss.value.requires_grad:
        return Backward(_detached(loss), none, 2, has_gradient=False)
    gradients = torch.autograd.grad(loss.value, list(whole.values()), allow_unused=True)
    weights = {n: g for n, g in zip(whole, gradients, strict=True) if g is not None}
    drift = none.to(policy.device)
    for chunk, before in zip(chunks, first, strict=True):
        block = part.select(chunk)
        at, width = sent(trained[chunk], policy.device), block.mask_NT.shape[1]
        out = _fields(leaves(policy, critic, block, entropy))
        parts = [(w.index_select(0, at)[:, :width] * out[n]).sum() for n, w in weights.items()]
        torch.stack(parts).sum().backward()
        drift = drift.maximum((out["logp_NT"].detach() - before["logp_NT"]).abs().max())
    return Backward(_detached(loss), drift, 2, has_gradient=True)


def _detached(loss: Loss) -> Loss:
    return Loss(loss.value.detach(), {k: v.detach() for k, v in loss.metrics.items()})
