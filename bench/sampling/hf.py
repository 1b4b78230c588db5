"""Sampling in this process: a prompt is prefilled once a group, finished rows are compacted away,
and a row's random numbers depend on its key alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from bench.core import rng
from bench.model.linear import whole
from bench.model.policy import Policy
from bench.model.rows import Rows, pad, sent

CACHE_BYTES = 16 << 30  # of keys and values held at once; more rows wait for their turn
STOP_TAIL = 32  # tokens of a response's end in which a stop string is looked for


@dataclass(frozen=True)
class Samples:
    """On the host."""

    rows: Rows  # responses include the end token where the model gave it
    logp_NT: torch.Tensor  # as sampled, float32, zero where masked
    finished_N: torch.Tensor  # bool

    @property
    def prompt_tokens(self) -> int:
        return int(self.rows.prompt_mask_PL.sum())

    @property
    def sampled_tokens(self) -> int:
        return int(self.rows.mask_NT.sum())

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
    temperature: float | Sequence[float] = 1.0,
    stop: Sequence[str] = (),
    compact: float = 0.9,
    look: int | None = None,
) -> Samples:
    """`group` responses to each prompt (rows in prompt order), with top_p = 1 and top_k off.

    `keys_N` are 64-bit keys (bench.core.rng), one a row; without them every row is decoded
    greedily. `temperature` is one of all rows, or one of each row of a group, where 0 decodes
    greedily (its log-probs are at 1). A row ends with one of the policy's end tokens, or as soon as
    its text holds one of the `stop` strings (the policy's own included). Ended rows are dropped
    from the batch once fewer than the share `compact` of its rows is still running, which the
    device is asked every `look` tokens (None: 8, on a CPU 1).
    """
    P, N = len(prompts), len(prompts) * group
    device = policy.device
    look = look or (1 if device.type == "cpu" else 8)
    stop = (*stop, *policy.stop)
    ends_E = torch.tensor(policy.stop_ids, dtype=torch.int64, device=device)
    longest = max(map(len, prompts), default=0)
    if longest + max_tokens > policy.positions:
        raise ValueError(
            f"a prompt of {longest} tokens and rollout.max_tokens = {max_tokens} exceed the "
            f"model's {policy.positions} positions; lower rollout.max_tokens or take another model"
        )
    prompt_N = torch.arange(P).repeat_interleave(group)
    temperature_G = per_row(temperature, group)
    at_N = [t or 1.0 for t in temperature_G] * P
    head = pad(prompts, prompt_N.tolist(), [[]] * N, at_N, pad_id=policy.pad_id)
    most = policy.cached_rows(CACHE_BYTES, longest + max_tokens) // group
    if (most := max(1, most)) < P:
        parts = []
        for i in range(0, P, most):
            keys = None if keys_N is None else keys_N[i * group : (i + most) * group]
            rest = (keys, max_tokens, temperature, stop, compact, look)
            parts.append(sample(policy, prompts[i : i + most], group, *rest))
        return _joined(policy, prompts, head, parts)
    drawn_TN = torch.full((max_tokens, N), policy.pad_id, device=device)
    chance_TN = torch.ones(max_tokens, N, dtype=torch.float64, device=device)
    length_N = torch.full((N,), max_tokens, device=device)
    finished_N = torch.zeros(N, dtype=torch.bool, device=device)
    choice = _Choice.of(keys_N, temperature_G, prompts=P, length=max_tokens, device=device)

    backbone = policy.drawing
    hidden_PD, cache = backbone.prefill(head.prompt_PL, head.prompt_mask_PL)
    hidden_AD, cache = hidden_PD[sent(prompt_N, device)], backbone.expand(cache, prompt_N)
    row_A = torch.arange(N, device=device)  # rows in the batch
    running_A = torch.ones(N, dtype=torch.bool, device=device)  # of these, not yet ended
    recent: list[tuple[torch.Tensor, torch.Tensor]] = []  # drawn since the batch was last changed

    def write(end: int) -> None:
        """Write down what was drawn lately, up to the column `end`, and forget it."""
        if recent:
            tokens, chances = zip(*recent, strict=True)
            drawn_TN[end - len(recent) : end, row_A] = torch.stack(tokens)
            chance_TN[end - len(recent) : end, row_A] = torch.stack(chances)
            recent.clear()

    t = -1
    for t in range(max_tokens):
        token_A, chance_A = choice(policy.logits(hidden_AD), t)
        recent.append((token_A, chance_A))
        running_A = running_A & (token_A[:, None] != ends_E).all(-1)
        if stop:
            write(t + 1)
            tails = drawn_TN[max(0, t + 1 - STOP_TAIL) : t + 1, row_A].t().tolist()
            texts = policy.decode_many(tails)
            halted_A = torch.tensor([any(s in text for s in stop) for text in texts], device=device)
            length_N[row_A[running_A & halted_A]] = t + 1
            finished_N[row_A[running_A & halted_A]] = True
            running_A = running_A & ~halted_A
        if t + 1 == max_tokens:
            break
        if (t + 1) % look == 0:
            left = int(running_A.sum())
            if left == 0:
                break
            size = whole(left)
            if left < compact * len(row_A) and size < len(row_A):
                write(t + 1)
                kept_A = _fill(running_A, size)
                cache, row_A, token_A = backbone.keep(cache, kept_A), row_A[kept_A], token_A[kept_A]
                running_A, choice = running_A[kept_A], choice.kept(kept_A)
        hidden_AD = backbone.step(token_A, cache)
    write(t + 1)

    # a row's first end token ends it, whatever was drawn for it until it left the batch
    ended_TN = torch.isin(drawn_TN, ends_E)
    ended_N = ended_TN.any(0)
    length_N = torch.where(ended_N, (ended_TN.int().argmax(0) + 1).minimum(length_N), length_N)
    length_N = length_N.cpu()
    T = max(int(length_N.max()), 1) if N else 0
    mask_NT = torch.arange(T) < length_N[:, None]
    response_NT = drawn_TN[:T].t().cpu().masked_fill(~mask_NT, policy.pad_id)
    logp_NT = chance_TN[:T].t().cpu().masked_fill(~mask_NT, 1.0).log().float()
    rows = replace(head, response_NT=response_NT, mask_NT=mask_NT)
    return Samples(rows, logp_NT, (finished_N | ended_N).cpu())


def _joined(
    policy: Policy, prompts: Sequence[list[int]], head: Rows, parts: Sequence[Samples]
) -> Samples:
    """Parts of a batch, one after another, as one."""
    texts = [ids for part in parts for ids in part.response_ids()]
    prompt_N, temperature_N = head.prompt_N.tolist(), head.temperature_N.tolist()
    rows = pad(prompts, prompt_N, texts, temperature_N, pad_id=policy.pad_id)
    logp_M = torch.cat([part.logp_NT[part.rows.mask_NT] for part in parts])
    return Samples(rows, rows.placed(logp_M), torch.cat([part.finished_N for part in parts]))


def per_row(temperature: float | Sequence[float], group: int) -> list[float]:
    """A temperature for each row of a group. Raises ValueError where there are more or fewer."""
    every = [temperature] * group if isinstance(temperature, int | float) else temperature
    listed = [float(one) for one in every]
    if len(listed) != group:
        raise ValueError(f"{len(listed)} temperatures for groups of {group} rows")
    return listed


class Sampler:
    """Draws responses with the policy itself; `bench.sampling.vllm` asks an engine."""

    def sync(self) -> None:
        """Take over the policy's weights: called before each rollout batch and evaluation."""

    __call__ = staticmethod(sample)


@dataclass(frozen=True)
class _Choice:
    """How the rows in the batch choose their tokens."""

    temperature: float | torch.Tensor  # of all rows, or (A, 1)
    uniform_TA: torch.Tensor | None  # None: all rows are greedy
    greedy_A: torch.Tensor | None  # bool; None: where uniform_TA tells

    @classmethod
    def of(
        cls,
        keys_N: Sequence[int] | None,
        temperature_G: Sequence[float],
        *,
        prompts: int,
        length: int,
        device: torch.device,
    ) -> "_Choice":
        first, greedy_G = temperature_G[0] or 1.0, torch.tensor([t == 0 for t in temperature_G])
        at_G = torch.tensor([t or 1.0 for t in temperature_G])
        temperature = (
            first if (at_G == first).all() else sent(at_G.repeat(prompts), device)[:, None]
        )
        if keys_N is None or greedy_G.all():
            return cls(temperature, None, None)
        uniform_NT = torch.from_numpy(rng.uniforms(keys_N, length))
        uniform_TA = uniform_NT.to(device).t().contiguous()
        greedy_A = sent(greedy_G.repeat(prompts), device) if greedy_G.any() else None
        return cls(temperature, uniform_TA, greedy_A)

    def kept(self, row_A: torch.Tensor) -> "_Choice":
        one, uniform_TA, greedy_A = self.temperature, self.uniform_TA, self.greedy_A
        return _Choice(
            one[row_A] if isinstance(one, torch.Tensor) else one,
            None if uniform_TA is None else uniform_TA[:, row_A],
            None if greedy_A is None else greedy_A[row_A],
        )

    def __call__(self, logits_AV: torch.Tensor, t: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The t-th tokens and their probabilities: the largest, or the inverse of the distribution
        function at u, in float64."""
        if isinstance(self.temperature, torch.Tensor) or self.temperature != 1:
            logits_AV = logits_AV / self.temperature
        chance_AV = logits_AV.softmax(-1, dtype=torch.float64)
        if self.uniform_TA is None:
            token_A1 = logits_AV.argmax(-1, keepdim=True)
        else:
            cdf_AV = chance_AV.cumsum(-1)
            u_A1 = self.uniform_TA[t][:, None] * cdf_AV[:, -1:]
            token_A1 = torch.searchsorted(cdf_AV, u_A1, right=True)
            token_A1 = token_A1.clamp(max=logits_AV.shape[1] - 1)
            if self.greedy_A is not None:
                best_A1 = logits_AV.argmax(-1, keepdim=True)
                token_A1 = torch.where(self.greedy_A[:, None], best_A1, token_A1)
        return token_A1[:, 0], chance_AV.gather(1, token_A1)[:, 0]


def _fill(running_A: torch.Tensor, size: int) -> torch.Tensor:
    """`size` rows, the running ones among them: each at its place or, from behind, in an ended
    one's."""
    kept = torch.arange(size, device=running_A.device)
    late = running_A[size:].nonzero()[:, 0] + size
    kept[(~running_A[:size]).nonzero()[: len(late), 0]] = late
    return kept
