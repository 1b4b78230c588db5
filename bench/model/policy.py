"""The policy: a causal language model with its tokenizer, and log-probs of token rows.

A backbone encodes each prompt once: for scoring (`hidden`) its keys and values stay in the autograd
graph, for sampling (`prefill`, `expand`, then `step` after `step`) they are repeated for its rows.
`Backbone` does so with any Hugging Face causal LM; `packed` has a leaner one for Llama shapes.
With activation checkpointing a prompt is encoded once a row instead: what is recomputed cannot be
shared.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer

from . import lora
from .chat import Chat
from .linear import linear
from .rows import Rows, sent

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
        """Hidden state of each prompt's last token, shape (P, D), and the prompts' cache; the
        arguments are on the host."""
        ids_PL, mask_PL = self._sent(ids_PL, mask_PL)
        position_PL = (mask_PL.cumsum(-1) - 1).clamp(min=0)
        layers = DynamicCache(config=self.model.config)
        states_PLD = self._states(ids_PL, mask_PL, position_PL, layers)
        return states_PLD[:, -1], Cache(layers, mask_PL, mask_PL.sum(-1))

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
        at_M, prompt_N, ids_NS, mask_NS = self._sent(
            rows.places_M, rows.prompt_N, rows.response_NT[:, :-1], rows.mask_NT[:, :-1]
        )
        if recomputing(self.model):
            states_NTD = self._recomputed(rows, prompt_N, ids_NS, mask_NS)
        else:
            first_PD, cache = self.prefill(rows.prompt_PL, rows.prompt_mask_PL)
            states_NTD = first_PD.index_select(0, prompt_N)[:, None]
            if ids_NS.shape[1]:
                rest_NTD = self._extend(ids_NS, mask_NS, self.expand(cache, prompt_N))
                states_NTD = torch.cat([states_NTD, rest_NTD], 1)
        return states_NTD.flatten(0, 1).index_select(0, at_M)

    def _extend(self, ids_NS: Tensor, mask_NS: Tensor, cache: Cache) -> Tensor:
        """Hidden states (N, S, D) of further tokens; the cache grows by them in place."""
        cache.mask_NL = torch.cat([cache.mask_NL, mask_NS], -1)
        position_NS = cache.position_N[:, None] + (mask_NS.cumsum(-1) - 1).clamp(min=0)
        states_NSD = self._states(ids_NS, cache.mask_NL, position_NS, cache.layers)
        cache.position_N = cache.position_N + mask_NS.sum(-1)
        return states_NSD

    def _recomputed(self, rows: Rows, prompt_N: Tensor, ids_NS: Tensor, mask_NS: Tensor) -> Tensor:
        """Hidden states (N, T, D), each row with its prompt, layers recomputed in the backward
        pass."""
        ids_PL, mask_PL = self._sent(rows.prompt_PL, rows.prompt_mask_PL)
        ids_NS = torch.cat([ids_PL.index_select(0, prompt_N), ids_NS], 1)
        mask_NS = torch.cat([mask_PL.index_select(0, prompt_N), mask_NS], 1)
        position_NS = (mask_NS.cumsum(-1) - 1).clamp(min=0)
        with _checkpointing(self.model):
            states_NSD = self._states(ids_NS, mask_NS, position_NS, None)
        return states_NSD[:, ids_PL.shape[1] - 1 :]

    def _sent(self, *parts: Tensor) -> list[Tensor]:
        return [sent(part, self.model.device) for part in parts]

    def _states(self, ids_NS: Tensor, mask_NL: Tensor, position_NS: Tensor, layers: Any) -> Tensor:
        return self.model.base_model(
            input_ids=ids_NS,
            attention_mask=mask_NL.long(),
            position_ids=position_NS,
            past_key_values=layers,
            use_cache=layers is not None,
        ).last_hidden_state


class AdapterOff(Backbone):
    """The model without its adapters; the weights are shared."""

    def _states(self, *args: Any) -> Tensor:
        with lora.off(self.model):
            return super()._states(*args)


def recompute(model: Any) -> None:
    """Turn activation checkpointing on."""
    for layer in _layers(model):
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # pyright: ignore


def recomputing(model: Any) -> bool:
    return any(layer.gradient_checkpointing for layer in _layers(model))


def _layers(model: Any) -> list[GradientCheckpointingLayer]:
    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]


@contextmanager
def _checkpointing(model: Any) -> Iterator[None]:
    """transformers checkpoints layers in training mode alone, and drops caches there. Only the
    layers' own flag is set: what is inside them, dropout above all, stays in evaluation mode."""
    layers = _layers(model)
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def backbone(model: Any, general: bool = False) -> Any:
    """The leaner way through a model where there is one; `general` refuses it."""
    plain = not (lora.adapted(model) or recomputing(model))
    return (_lean(model, general) if plain else None) or Backbone(model)


def _lean(model: Any, general: bool, adapters: bool = True) -> Any:
    from .packed import LlamaBackbone

    fits = LlamaBackbone.supports(model) and not general
    return LlamaBackbone(model, adapters) if fits else None


class Policy:
    """A model, its tokenizer and its backbone. The model stays in eval mode: no dropout, so that
    both passes of the exact backward see the same function.

    `end_id` closes a reference answer; any of `stop_ids` (a tokenizer's, a generation config's, a
    chat template's) ends a sample, and so does any of the strings `stop`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        chat: Chat | None = None,
        stop: tuple[str, ...] = (),
        general: bool = False,
    ):
        self.model = model.eval()
        self.tokenizer, self.chat, self.stop, self.general = tokenizer, chat, stop, general
        self.backbone = backbone(model, general)
        # For sampling adapters can be added to the weights and nothing is recomputed.
        self.lean = _lean(model, general) if type(self.backbone) is Backbone else None
        eos = tokenizer.eos_token_id
        if eos is None:
            raise ValueError(f"the tokenizer of {model.name_or_path!r} has no eos token")
        turn = chat.end_id() if chat else None
        self.end_id = int(eos if turn is None else turn)
        named = getattr(model.generation_config, "eos_token_id", None)
        named = named if isinstance(named, list) else [] if named is None else [named]
        self.stop_ids = sorted({int(eos), self.end_id, *map(int, named)})
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos)

    def reference(self) -> Policy:
        """The policy as it is now, for good: with its adapters off, or a frozen copy."""
        shared = lora.adapted(self.model)
        model = self.model if shared else copy.deepcopy(self.model).requires_grad_(False)
        frozen = Policy(model, self.tokenizer, self.chat, self.stop, self.general)
        if shared:
            frozen.backbone, frozen.lean = AdapterOff(model), _lean(model, self.general, False)
        return frozen

    @property
    def drawing(self) -> Any:
        """The backbone to sample with."""
        return self.lean or self.backbone

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def positions(self) -> int:
        """Tokens that the model can hold; none stated: no limit."""
        return (
            getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        )

    def cached_rows(self, size: int, tokens: int) -> int:
        """Rows of so many tokens whose keys and values take at most `size` bytes."""
        c = self.model.config.get_text_config()
        heads = getattr(c, "num_key_value_heads", None) or c.num_attention_heads
        width = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        each = 2 * c.num_hidden_layers * heads * width * self.model.dtype.itemsize
        return size // (each * max(1, tokens))

    def parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def encode_prompt(self, text: str) -> list[int]:
        if self.chat:
            return self.chat.prompt(text)
        ids = list(self.tokenizer(text)["input_ids"])
        if ids and ids[-1] == self.tokenizer.eos_token_id:  # some tokenizers close what they encode
            ids.pop()
        bos = self.tokenizer.bos_token_id
        return ids or [bos if bos is not None else self.tokenizer.eos_token_id]

    def encode_response(self, text: str) -> list[int]:
        """Token ids of a whole response, closed by the end token."""
        if self.chat:
            return [*self.chat.answer(text), self.end_id]
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.end_id]

    def decode(self, ids: list[int]) -> str:
        return self.decode_many([ids])[0]

    def decode_many(self, rows: list[list[int]]) -> list[str]:
        """Texts to the letter: no space is tidied away."""
        return self.tokenizer.batch_decode(
            rows, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def logits(self, hidden_MD: Tensor) -> Tensor:
        """Next-token logits in float32 (float64 for a float64 model)."""
        head = self.model.get_output_embeddings()
        plain = type(head) is nn.Linear  # no adapter on it
        logits_MV = linear(hidden_MD, head.weight, head.bias) if plain else head(hidden_MD)
        logits_MV = logits_MV if logits_MV.dtype == torch.float64 else logits_MV.float()
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return logits_MV if cap is None else cap * torch.tanh(logits_MV / cap)

    def score(self, rows: Rows, entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """Log-probs of the response tokens, and entropies (nats) if asked for; both (N, T), zero
        where masked, at each row's temperature."""
        hidden_MD = self.backbone.hidden(rows)
        target_M = sent(rows.response_NT.flatten()[rows.places_M], self.device)
        temperature_M = rows.temperature_N.repeat_interleave(rows.lengths_N)
        logp_M, entropy_M = self._token_scores(
            hidden_MD, target_M, sent(temperature_M, self.device), entropy
        )
        return rows.placed(logp_M), rows.placed(entropy_M) if entropy else None

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
    """A separate copy of the starting model with a scalar head that starts at zero. It trains what
    the policy trains: all weights, or adapters of its own."""

    def __init__(self, model: Any, general: bool = False):
        super().__init__()
        self.model = model.eval()
        self.head = nn.Linear(model.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.head.to(model.device, model.dtype)
        self.backbone = backbone(model, general)

    def score(self, rows: Rows) -> Tensor:
        """Values (N, T) of the states before each response token, zero where masked."""
        return rows.placed(self.head(self.backbone.hidden(rows))[:, 0].float())
