"""Synthetic rollouts for the laws: small, float64, awkward in every way that a real batch is.

Group ids are neither dense nor sorted, rows are shuffled, lengths differ (one-token answers
included), padding holds garbage, some prompts have no reference answer.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Literal

import torch

import methods
from methods import GOLD, MISMATCHED, SAMPLE, Leaves, Loss, Method, Rollout, Signal

Verdicts = Literal["mixed", "right", "wrong", "ties"]

# Fields whose values change an objective's form: the laws run on these as well as on the defaults.
VARIANTS: dict[str, list[dict]] = {
    "sft": [{"reduction": "sequence_mean"}],
    "rift": [
        {"negative": negative, "reduction": reduction}
        for negative in ("token", "sequence", "geometric", "token_sum")
        for reduction in ("token_mean", "sequence_mean", "sum")
        if (negative, reduction) != ("token", "token_mean")
    ]
    + [{"group_normalise": True}, {"negative_reward": 0.0}],
    "rift-is": [{"negative": "sequence"}, {"negative": "geometric"}],
    "grpo": [
        {"kl": 0.04},
        {"kl": 0.1, "kl_estimator": "k2", "std": False},
        {"kl": 0.1, "kl_estimator": "k1", "aggregation": "constant"},
        {"clip_high": 0.28, "aggregation": "token_mean"},
        {"aggregation": "sequence_sum"},
    ],
    "grao": [{"stats": "samples"}, {"imitation_floor": True}, {"alpha": 0.0}, {"lam": 0.0}],
    "ppo": [
        {"entropy_weight": 0.1, "kl": 0.1},
        {"whiten": False, "bootstrap": False, "reward_kl": 0.0, "gamma": 0.9},
    ],
    "dpo": [{"pairing": "all"}],
    "ipo": [{"average": True}],
    "orpo": [{"pairing": "all", "lam": 1.0}],
    "kto": [{"desirable": 2.0, "undesirable": 0.5}],
    "una": [{"feedback": "binary_bce"}, {"feedback": "score"}, {"feedback": "reward"}],
    "dft": [{"on": "correct", "reduction": "sequence_mean"}],
    "rft": [{"reduction": "sequence_mean"}],
    "naive": [{"reduction": "sequence_mean"}, {"reduction": "sum"}, {"group_normalise": True}],
    "unlikelihood": [{"reduction": "sum"}],
    "topr": [{"reduction": "token_mean"}],
    "reinforce": [{"kl": 0.1}],
    "rloo": [{"kl": 0.1}, {"clip": 0.2}],
    "reinforce++": [{"reward_kl": 0.0}, {"kl": 0.1}],
    "dr-grpo": [{"kl": 0.1}],
    "gspo": [{"kl": 0.1, "clip": 0.1, "clip_high": 0.3}],
    "dapo": [{"overlong_penalty": 0.0}, {"overlong_buffer": 0.6, "kl": 0.1}],
    "cispo": [{"absolute_cap": True, "epsilon_high": 1.1}, {"epsilon_high": 0.1}],
    "nft": [{"prompt_weight": "one"}, {"prompt_weight": "root"}],
    "grpo-sft": [{"sft_weight": 1.0, "kl": 0.1}],
    "grpo-gold": [{"std": False, "kl": 0.1}],
    "gift": [
        {"stats_grad": "detached"},
        {"anchor": "old"},
        {"length_exponent": 1.0, "beta": 0.5},
        {"drop_zero_variance": False, "std_floor": 0.0, "std_eps": 1e-6},
        {"std_floor": 5.0},
        {"std_floor": 0.0},
    ],
}


def cases() -> list[tuple[str, dict]]:
    """Every registered method with its defaults, then the variants."""
    named = [(name, {}) for name in methods.names()]
    return named + [(name, extra) for name, found in VARIANTS.items() for extra in found]


def label(case: tuple[str, dict]) -> str:
    return case[0] + "".join(f" {key}={value}" for key, value in case[1].items())


def rollout(
    method: Method | None = None,
    seed: int = 0,
    prompts: int = 4,
    group: int = 4,
    tokens: int = 6,
    verdicts: Verdicts = "mixed",
    one_token: bool = False,
    shuffle: bool = True,
    real_rewards: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Rollout:
    """A rollout with `prompts` groups of `group` samples, plus the gold and mismatched rows that
    `method` needs (the last prompt has no gold), and everything that any method reads.

    Rewards are the verdict, 1 or 0, or with `real_rewards` any real, unrelated to it."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
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
    if verdicts == "mixed":  # in turn, so that nearly every group holds both
        correct_N = (torch.arange(rows) + prompt_N) % 3 == 0
    elif verdicts == "right":
        correct_N = torch.ones(rows, dtype=torch.bool)
    elif verdicts == "ties":  # whole groups right or wrong: no variance inside any
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
    """Leaves near the sampling policy, as the harness hands them over: zeros on untrained rows
    (without a signal, all rows have theirs)."""
    generator = torch.Generator().manual_seed(seed)
    live_NT = r.mask_NT if signal is None else r.mask_NT & signal.trained_N[:, None]

    def noise() -> torch.Tensor:
        unit = torch.rand(r.mask_NT.shape, generator=generator, dtype=torch.float64)
        return ((2 * unit - 1) * spread).to(r.reward_N.dtype)

    assert r.old_logp_NT is not None
    assert r.old_value_NT is not None
    logp_NT = torch.where(live_NT, (r.old_logp_NT + noise()).clamp(max=-1e-3), 0.0)
    value_NT = torch.where(live_NT, r.old_value_NT + noise(), 0.0)
    entropy_NT = torch.where(live_NT, noise() + 1.0, 0.0)
    return Leaves(logp_NT, value_NT, entropy_NT)


def scored(method: Method, r: Rollout, **options) -> tuple[Signal, Leaves]:
    signal = method.signal(r)
    return signal, leaves(r, signal, **options)


def gradients(
    method: Method, at: Leaves, r: Rollout, signal: Signal
) -> tuple[Loss, list[torch.Tensor]]:
    """The loss, and its gradient by each leaf (zeros for a leaf that it does not read)."""
    inputs = [getattr(at, f.name).detach().clone().requires_grad_() for f in fields(at)]
    result = method.loss(Leaves(*inputs), r, signal)
    found = torch.autograd.grad(result.value, inputs, allow_unused=True, materialize_grads=True)
    return result, list(found)


def bandit(
    reward_PG: torch.Tensor,
    gold_P: torch.Tensor | None = None,
    length_PG: torch.Tensor | None = None,
    correct_PG: torch.Tensor | None = None,
) -> Rollout:
    """Given rewards (and lengths, 1 if not given) of P prompts and G samples, in order, for laws
    that are stated by hand; `gold_P` appends a reference answer of one token with these rewards.
    Anchors are all 0, so that d = sum lp."""
    prompts, group = reward_PG.shape
    prompt_N = torch.arange(prompts).repeat_interleave(group)
    reward_N, kind_N = reward_PG.flatten().double(), torch.full_like(prompt_N, SAMPLE)
    length_N = torch.ones_like(prompt_N) if length_PG is None else length_PG.flatten()
    correct_N = (reward_PG if correct_PG is None else correct_PG).flatten() > 0
    if gold_P is not None:
        reward_N = torch.cat([reward_N, gold_P.double()])
        prompt_N = torch.cat([prompt_N, torch.arange(prompts)])
        kind_N = torch.cat([kind_N, torch.full((prompts,), GOLD)])
        length_N = torch.cat([length_N, torch.ones(prompts, dtype=torch.long)])
        correct_N = torch.cat([correct_N, torch.ones(prompts, dtype=torch.bool)])
    tokens = int(length_N.max())
    mask_NT = torch.arange(tokens)[None] < length_N[:, None]
    zeros_NT, true_N = torch.zeros(mask_NT.shape, dtype=torch.float64), torch.ones_like(correct_N)
    return Rollout(
        mask_NT, reward_N, prompt_N, kind_N, correct_N, true_N, true_N, tokens,
        old_logp_NT=zeros_NT, sampler_logp_NT=zeros_NT, ref_logp_NT=zeros_NT, old_value_NT=zeros_NT,
    )  # fmt: skip


def logp_gradient(method: Method, logp_NT: torch.Tensor, r: Rollout) -> tuple[Loss, torch.Tensor]:
    signal = method.signal(r)
    zeros = torch.zeros_like(logp_NT)
    result, found = gradients(method, Leaves(logp_NT, zeros, zeros), r, signal)
    return result, found[0]


def select_leaves(at: Leaves, rows: torch.Tensor) -> Leaves:
    return replace(at, **{f.name: getattr(at, f.name)[rows] for f in fields(at)})
