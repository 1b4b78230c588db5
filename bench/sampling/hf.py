"""Sampling in this process: a prompt is prefilled once a group, finished rows are compacted away,
and a row's random numbers depend on its key alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench import rng
from bench.policy import Policy
from bench.rows import Rows, pad

STOP_TAIL = 32  # tokens of a response's end in which a stop string is looked for


@dataclass(frozen=True)
class Samples:
    rows: Rows  # responses include the end token where the model gave it
    logp_NT: torch.Tensor  # as sampled, float32, zero where masked
    finished_N: torch.Tensor  # bool
    prompt_tokens: int
    sampled_tokens: int

    def response_ids(self) -> list[list[int]]:
        lengths = self.rows.lengths_N.tolist()
        return [ids[:n] for ids, n in zip(self.rows.response_NT.tolist(), lengths, strict=True)]


@torch.no_grad()
def sample(
    policy: Policy,
    prompts: Sequence[list[int]],
    group: int,
    keys_N: Sequence[int] | None,
    max_tokens: int,
    temperature: float = 1.0,
    stop: Sequence[str] = (),
    compact: float = 0.75,
) -> Samples:
    """`group` responses to each prompt (rows in prompt order), with top_p = 1 and top_k off.

    `keys_N` are 64-bit keys (bench.rng), one a row; None decodes greedily. Rows that have ended are
    dropped from the batch once fewer than the share `compact` of its rows is still running. A row
    ends with the end token or as soon as its text holds one of the `stop` strings.
    """
    P, N = len(prompts), len(prompts) * group
    device = policy.device
    longest = max(map(len, prompts), default=0)
    if longest + max_tokens > policy.positions:
        raise ValueError(
            f"a prompt of {longest} tokens and rollout.max_tokens = {max_tokens} exceed the "
            f"model's {policy.positions} positions; lower rollout.max_tokens or take another model"
        )
    prompt_N = torch.arange(P, device=device).repeat_interleave(group)
    head = pad(
        prompts, prompt_N.tolist(), [[] for _ in range(N)], [temperature] * N, policy.pad_id, device
    )
    response_NT = torch.full((N, max_tokens), policy.pad_id, device=device)
    logp_NT = torch.zeros(N, max_tokens, device=device)
    length_N = torch.zeros(N, dtype=torch.int64, device=device)
    finished_N = torch.zeros(N, dtype=torch.bool, device=device)
    noise_NT = (
        None if keys_N is None else torch.from_numpy(rng.uniforms(keys_N, max_tokens)).to(device)
    )

    backbone: Any = policy.backbone
    hidden_PD, cache = backbone.prefill(head.prompt_PL, head.prompt_mask_PL)
    hidden_AD, cache = hidden_PD[prompt_N], backbone.select(cache, prompt_N)
    active_A = torch.arange(N, device=device)  # rows in the batch
    running_A = torch.ones(N, dtype=torch.bool, device=device)  # of these, not yet ended
    for t in range(max_tokens):
        logits_AV = policy.logits(hidden_AD)
        token_A, logp_A = _choose(
            logits_AV, temperature, None if noise_NT is None else noise_NT[active_A, t]
        )
        response_NT[active_A, t] = torch.where(running_A, token_A, policy.pad_id)
        logp_NT[active_A, t] = torch.where(running_A, logp_A, 0).float()
        length_N[active_A] += running_A
        running_A = running_A & (token_A != policy.eos_id)
        if stop:
            tails = policy.decode_many(
                response_NT[active_A, max(0, t + 1 - STOP_TAIL) : t + 1].tolist()
            )
            halted_A = torch.tensor([any(s in tail for s in stop) for tail in tails], device=device)
            finished_N[active_A] |= running_A & halted_A
            running_A = running_A & ~halted_A
        left = int(running_A.sum())
        if left == 0 or t + 1 == max_tokens:
            break
        if left < compact * len(active_A):
            kept = running_A.nonzero()[:, 0]
            cache = backbone.select(cache, kept)
            active_A, token_A, running_A = active_A[kept], token_A[kept], running_A[kept]
        ones = torch.ones_like(token_A, dtype=torch.bool)[:, None]
        hidden_AD = backbone.extend(token_A[:, None], ones, cache)[:, -1]

    T = max(int(length_N.max()), 1)
    last_N = response_NT.gather(1, (length_N - 1).clamp(min=0)[:, None])[:, 0]
    rows = Rows(
        head.prompt_PL,
        head.prompt_mask_PL,
        head.prompt_N,
        response_NT[:, :T],
        torch.arange(T, device=device) < length_N[:, None],
        head.temperature_N,
    )
    return Samples(
        rows,
        logp_NT[:, :T],
        finished_N | (last_N == policy.eos_id),
        sum(map(len, prompts)),
        int(length_N.sum()),
    )


def _choose(logits_AV: torch.Tensor, temperature: float, uniform_A: torch.Tensor | None):
    """Tokens and their log-probs: the largest, or the inverse of the distribution function at u."""
    if uniform_A is None:
        logp_AV = logits_AV.log_softmax(-1)
        token_A = logits_AV.argmax(-1)
    else:
        logp_AV = (logits_AV / temperature).log_softmax(-1)
        cdf_AV = logp_AV.double().exp().cumsum(-1)
        token_A = torch.searchsorted(cdf_AV, uniform_A[:, None] * cdf_AV[:, -1:], right=True)[:, 0]
        token_A = token_A.clamp(max=logits_AV.shape[1] - 1)
    return token_A, logp_AV.gather(1, token_A[:, None])[:, 0]
