"""Synthetic rollouts on which the laws are tested, and gradients of an objective on them.

They are small, float64, and awkward in every way that a real batch is: group ids are neither dense
nor sorted, rows are shuffled, lengths differ (one-token answers included), padding holds garbage,
some prompts have no reference answer.
"""

from dataclasses import fields, replace
from typing import Literal, TypedDict

import torch
from torch import Tensor

from methods.base import GOLD, MISMATCHED, SAMPLE, Leaves, Loss, Method, Rollout, Signal

CorrectPattern = Literal["mixed", "right", "wrong", "ties"]  # ties: no group holds both


class RolloutOptions(TypedDict, total=False):
    """Arguments of `rollout`."""

    correct: CorrectPattern
    one_token: bool
    prompts: int
    group: int


EDGES: dict[str, RolloutOptions] = {
    "all right": {"correct": "right"},
    "all wrong": {"correct": "wrong"},
    "no group has variance": {"correct": "ties"},
    "one-token answers": {"one_token": True},
    "one prompt": {"prompts": 1},
    "one sample a prompt": {"group": 1},
}


def rollout(
    method: Method | None = None,
    seed: int = 0,
    prompts: int = 4,
    group: int = 4,
    tokens: int = 6,
    correct: CorrectPattern = "mixed",
    one_token: bool = False,
    shuffle: bool = True,
    real_rewards: bool = False,
    dtype: torch.dtype | None = None,
) -> Rollout:
    """`prompts` groups of `group` samples with everything that any method reads.

    The gold and mismatched rows that `method` needs are added; the last prompt has no gold row.
    `correct` says which samples are right. Rewards are 1 for right rows and 0 for wrong ones, or,
    with `real_rewards`, real numbers that have nothing to do with right and wrong.
    """
    dtype = dtype or torch.float64
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=dtype)

    needs = method.needs() if method else None
    kinds = [(p, SAMPLE) for p in range(prompts) for _ in range(group)]
    if needs and needs.source == "demonstrations":
        kinds = []
    if needs and needs.gold:
        kinds += [(p, GOLD) for p in range(max(prompts - 1, 1))]
    if needs and needs.mismatched:
        kinds += [(p, MISMATCHED) for p in range(prompts)]
    prompt_N, kind_N = torch.tensor(kinds).T
    rows = len(kinds)

    correct_N = torch.zeros(rows, dtype=torch.bool)
    if correct == "mixed":  # in turn, so that nearly every group holds both
        correct_N = (torch.arange(rows) + prompt_N) % 3 == 0
    elif correct == "right":
        correct_N = torch.ones(rows, dtype=torch.bool)
    elif correct == "ties":  # whole groups right or wrong: no variance inside any
        correct_N = prompt_N % 2 == 0
    correct_N = (correct_N | (kind_N == GOLD)) & (kind_N != MISMATCHED)

    length_N = torch.randint(1, tokens + 1, (rows,), generator=generator)
    length_N[0] = tokens
    if one_token:
        length_N = torch.ones_like(length_N)
    mask_NT = torch.arange(tokens)[None, :] < length_N[:, None]
    old_NT = uniform(rows, tokens, low=-2.5, high=-0.05)
    value_NT = uniform(rows, tokens, low=-0.5, high=1.0)
    reward_N = uniform(rows, low=-1.0, high=1.5) if real_rewards else correct_N.to(dtype)
    result = Rollout(
        mask_NT=mask_NT,
        reward_N=reward_N,
        group_N=torch.tensor([70, 3, 41, 12, 9, 55, 28, 1])[prompt_N],
        kind_N=kind_N,
        correct_N=correct_N,
        finished_N=length_N < tokens,
        format_ok_N=torch.rand(rows, generator=generator) < 0.7,
        max_tokens=tokens,
        progress=0.3,
        old_logp_NT=old_NT,
        sampler_logp_NT=old_NT + uniform(rows, tokens, low=-0.02, high=0.02),
        ref_logp_NT=old_NT + uniform(rows, tokens, low=-0.3, high=0.3),
        old_value_NT=value_NT,
    )
    order_N = torch.randperm(rows, generator=generator) if shuffle else torch.arange(rows)
    return result.select(order_N)


def leaves(r: Rollout, signal: Signal | None, seed: int = 1, spread: float = 0.3) -> Leaves:
    """Leaves near the sampling policy, with zeros on untrained rows as in the harness.

    Without a signal every row counts as trained.
    """
    generator = torch.Generator().manual_seed(seed)
    live_NT = r.mask_NT if signal is None else r.mask_NT & signal.trained_N[:, None]

    def noise() -> Tensor:
        unit = torch.rand(r.mask_NT.shape, generator=generator, dtype=torch.float64)
        return ((2 * unit - 1) * spread).to(r.reward_N.dtype)

    assert r.old_logp_NT is not None
    assert r.old_value_NT is not None
    logp_NT = torch.where(live_NT, (r.old_logp_NT + noise()).clamp(max=-1e-3), 0.0)
    value_NT = torch.where(live_NT, r.old_value_NT + noise(), 0.0)
    entropy_NT = torch.where(live_NT, noise() + 1.0, 0.0)
    return Leaves(logp_NT, value_NT, entropy_NT)


def scored(method: Method, r: Rollout, seed: int = 1, spread: float = 0.3) -> tuple[Signal, Leaves]:
    """The method's signal of the rollout, and `leaves` for it."""
    signal = method.signal(r)
    return signal, leaves(r, signal, seed, spread)


def gradients(method: Method, at: Leaves, r: Rollout, signal: Signal) -> tuple[Loss, list[Tensor]]:
    """The loss and its gradient with respect to each leaf (zeros for a leaf that it ignores)."""
    inputs = [getattr(at, f.name).detach().clone().requires_grad_() for f in fields(at)]
    result = method.loss(Leaves(*inputs), r, signal)
    found = torch.autograd.grad(result.value, inputs, allow_unused=True, materialize_grads=True)
    return result, list(found)


def select_leaves(at: Leaves, rows: Tensor) -> Leaves:
    return replace(at, **{f.name: getattr(at, f.name)[rows] for f in fields(at)})


def with_tied_groups(r: Rollout) -> Rollout:
    """`r` with one group all right and one all wrong: many methods skip such groups."""
    reward_N, correct_N = r.reward_N, r.correct_N
    for group, right in zip(r.group_N.unique()[:2], (True, False), strict=True):
        tied_N = (r.group_N == group) & (r.kind_N == SAMPLE)
        reward_N = reward_N.masked_fill(tied_N, float(right))
        correct_N = correct_N.masked_fill(tied_N, right)
    return replace(r, reward_N=reward_N, correct_N=correct_N)


def tensors(batch: Rollout | Signal) -> dict[str, Tensor]:
    found = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {k: v for k, v in found.items() if isinstance(v, Tensor)}
