"""The policy: a causal language model with its tokenizer, and log-probs of token rows.

A backbone encodes each prompt once: for scoring (`hidden`) its keys and values stay in the autograd
graph, for sampling (`prefill`, `expand`, then `step` after `step`) they are repeated for its rows.
`Backbone` does so with any Hugging Face causal LM; `bench.fast` has a leaner one for Llama shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache

from .rows import Rows

LOGIT_CHUNK = 1 << 24  # logits held at once (numbers, not bytes): 64 MiB in float32


@dataclass
class Cache:
    """Keys and values of the tokens so far, for each row, and where the next token stands."""

    layers: Any
    mask_NL: Tensor  # bool
    position_N: Tensor  # int64, of the next token


class Backbone:
    """Hidden states of any Hugging Face causal LM that takes a DynamicCache."""

    def __init__(self, model: Any):
        self.model = model

    def prefill(self, ids_PL: Tensor, mask_PL: Tensor) -> tuple[Tensor, Cache]:
        """Hidden state of each prompt's last token, shape (P, D), and the prompts' cache."""
        position_PL = (mask_PL.cumsum(-1) - 1).clamp(min=0)
        out = self.model.base_model(
            input_ids=ids_PL,
            attention_mask=mask_PL.long(),
            position_ids=position_PL,
            past_key_values=DynamicCache(config=self.model.config),
            use_cache=True,
        )
        cache = Cache(out.past_key_values, mask_PL, mask_PL.sum(-1))
        return out.last_hidden_state[:, -1], cache

    def expand(self, cache: Cache, prompt_N: Tensor) -> Cache:
        """A row for each of the given prompts. The argument is used up."""
        cache.layers.batch_select_indices(prompt_N)
        return Cache(cache.layers, cache.mask_NL[prompt_N], cache.position_N[prompt_N])

    keep = expand  # the given rows

    def step(self, ids_N: Tensor, cache: Cache) -> Tensor:
        """Hidden states (N, D) of one further token a row; the cache grows by it in place."""
        every_N1 = torch.ones_like(ids_N, dtype=torch.bool)[:, None]
        return self._extend(ids_N[:, None], every_N1, cache)[:, 0]

    def hidden(self, rows: Rows) -> Tensor:
        """Hidden states (tokens, D) from which the response tokens are predicted, row by row: the
        prompt's last token for the first one, the token before for the others."""
        first_PD, cache = self.prefill(rows.prompt_PL, rows.prompt_mask_PL)
        states_NTD = first_PD[rows.prompt_N][:, None]
        if rows.response_NT.shape[1] > 1:
            cache = self.expand(cache, rows.prompt_N)
            rest_NTD = self._extend(rows.response_NT[:, :-1], rows.mask_NT[:, :-1], cache)
            states_NTD = torch.cat([states_NTD, rest_NTD], 1)
        return states_NTD[rows.mask_NT]

    def _extend(self, ids_NS: Tensor, mask_NS: Tensor, cache: Cache) -> Tensor:
        """Hidden states (N, S, D) of further tokens; the cache grows by them in place."""
        cache.mask_NL = torch.cat([cache.mask_NL, mask_NS], -1)
        position_NS = cache.position_N[:, None] + (mask_NS.cumsum(-1) - 1).clamp(min=0)
        out = self.model.base_model(
            input_ids=ids_NS,
            attention_mask=cache.mask_NL.long(),
            position_ids=position_NS,
            past_key_values=cache.layers,
            use_cache=True,
        )
        cache.position_N = cache.position_N + mask_NS.sum(-1)
        return out.last_hidden_state


class Policy:
    """A model, its tokenizer and its backbone. The model stays in eval mode: no dropout, so that
    both passes of the exact backward see the same function."""

    def __init__(self, model: Any, tokenizer: Any):
        self.model = model.eval()
        self.tokenizer = tokenizer
        from .fast import LlamaBackbone

        self.backbone = LlamaBackbone(model) if LlamaBackbone.supports(model) else Backbone(model)
        eos = tokenizer.eos_token_id
        if eos is None:
            raise ValueError(f"the tokenizer of {model.name_or_path!r} has no eos token")
        self.eos_id = int(eos)
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def positions(self) -> int:
        """Tokens that the model can hold; none stated: no limit."""
        return (
            getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        )

    def parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def encode_prompt(self, text: str) -> list[int]:
        ids = list(self.tokenizer(text)["input_ids"])
        if ids and ids[-1] == self.eos_id:  # some tokenizers close what they encode
            ids.pop()
        bos = self.tokenizer.bos_token_id
        return ids or [bos if bos is not None else self.eos_id]

    def encode_response(self, text: str) -> list[int]:
        """Token ids of a whole response, closed by the end token."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return [*ids, self.eos_id]

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def decode_many(self, rows: list[list[int]]) -> list[str]:
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True)

    def logits(self, hidden_MD: Tensor) -> Tensor:
        """Next-token logits in float32 (float64 for a float64 model)."""
        logits_MV = self.model.get_output_embeddings()(hidden_MD)
        logits_MV = logits_MV if logits_MV.dtype == torch.float64 else logits_MV.float()
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return logits_MV if cap is None else cap * torch.tanh(logits_MV / cap)

    def score(self, rows: Rows, entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """Log-probs of the response tokens, and entropies (nats) if asked for; both (N, T), zero
        where masked, at each row's temperature."""
        hidden_MD = self.backbone.hidden(rows)
        target_M = rows.response_NT[rows.mask_NT]
        temperature_M = rows.temperature_N[:, None].expand_as(rows.mask_NT)[rows.mask_NT]
        logp_M, entropy_M = self._token_scores(hidden_MD, target_M, temperature_M, entropy)
        zeros_NT = logp_M.new_zeros(rows.mask_NT.shape)
        logp_NT = zeros_NT.masked_scatter(rows.mask_NT, logp_M)
        return logp_NT, zeros_NT.masked_scatter(rows.mask_NT, entropy_M) if entropy else None

    def _token_scores(
        self, hidden_MD: Tensor, target_M: Tensor, temperature_M: Tensor, entropy: bool
    ):
        """In chunks whose logits are recomputed in the backward pass, so that a large vocabulary's
        logits never stand whole in memory."""

        def chunk(hidden: Tensor, target: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
            logp_MV = (self.logits(hidden) / temperature[:, None]).log_softmax(-1)
            entropy_M = -(logp_MV.exp() * logp_MV).sum(-1) if entropy else logp_MV[:, 0]
            return logp_MV.gather(-1, target[:, None])[:, 0], entropy_M

        size = max(1, LOGIT_CHUNK // self.model.config.get_text_config().vocab_size)
        if len(hidden_MD) <= size:
            return chunk(hidden_MD, target_M, temperature_M)
        parts = [
            checkpoint(chunk, h, t, k, use_reentrant=False)
            for h, t, k in zip(
                hidden_MD.split(size), target_M.split(size), temperature_M.split(size), strict=True
            )
        ]
        return tuple(torch.cat(p) for p in zip(*parts, strict=True))


class Critic(nn.Module):
    """A separate copy of the starting model with a scalar head that starts at zero."""

    def __init__(self, model: Any):
        super().__init__()
        from .fast import LlamaBackbone

        self.model = model.eval()
        self.head = nn.Linear(model.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.head.to(model.device, model.dtype)
        self.backbone = LlamaBackbone(model) if LlamaBackbone.supports(model) else Backbone(model)

    def score(self, rows: Rows) -> Tensor:
        """Values (N, T) of the states before each response token, zero where masked."""
        value_M = self.head(self.backbone.hidden(rows))[:, 0].float()
        return value_M.new_zeros(rows.mask_NT.shape).masked_scatter(rows.mask_NT, value_M)
