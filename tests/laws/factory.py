"""The cases of the laws, and rollouts that are stated by hand; the rest is in methods/laws/."""

from __future__ import annotations

import torch

import methods
from methods import GOLD, SAMPLE, Leaves, Loss, Method, Rollout
from methods.laws.rollouts import gradients, leaves, rollout, scored, select_leaves

__all__ = [
    "bandit", "cases", "gradients", "label", "leaves", "logp_gradient", "rollout", "scored",
    "select_leaves",
]  # fmt: skip

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
        {"kl": 0.04, "kl_correction": True},
        {"kl": 0.1, "kl_estimator": "k2", "std": False},
        {"kl": 0.1, "kl_estimator": "k1", "aggregation": "constant"},
        {"clip_high": 0.28, "aggregation": "token_mean"},
        {"aggregation": "sequence_sum"},
    ],
    "grao": [{"stats": "samples"}, {"imitation_floor": True}, {"alpha": 0.0}, {"lam": 0.0}],
    "ppo": [
        {"entropy_weight": 0.1, "kl": 0.1},
        {"whiten": False, "bootstrap": True, "reward_kl": 0.05, "gamma": 0.9},
    ],
    "dpo": [{"pairing": "all"}],
    "ipo": [{"average": True}],
    "orpo": [{"pairing": "all", "lam": 1.0}],
    "kto": [{"desirable": 2.0, "undesirable": 0.5}, {"undesirable": 2.0}],
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
    "gspo": [{"kl": 0.1, "kl_correction": True, "clip": 0.1, "clip_high": 0.3}],
    "dapo": [
        {"overlong_penalty": 1.0},
        {"overlong_penalty": 0.0},
        {"overlong_buffer": 0.6, "kl": 0.1},
    ],
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
