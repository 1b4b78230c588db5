"""Hidden states of a causal language model, for scoring rows and for sampling.

A backbone encodes each prompt once. For scoring (`hidden`) its keys and values stay in the autograd
graph. For sampling (`prefill`, `expand`, then `step` after `step`) a prompt's rows share them or
have copies.
With activation checkpointing a prompt is encoded once a row instead: what is recomputed cannot be
shared.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer

from .rows import Rows, sent

C = TypeVar("C")  # the backbone's own kind of cache


class Backbone(Protocol[C]):
    """N rows of P prompts of L tokens; D is the model's width."""

    def hidden(self, rows: Rows) -> Tensor:
        """Hidden states (tokens, D) from which the response tokens are predicted, row by row: the
        prompt's last token for the first one, the token before for the others."""
        ...

    def prefill(self, ids_PL: Tensor, mask_PL: Tensor) -> tuple[Tensor, C]:
        """Hidden state of each prompt's last token, shape (P, D), and the prompts' cache; the
        arguments are on the host."""
        ...

    def expand(self, cache: C, prompt_N: Tensor, /) -> C:
        """A row for each of the given prompts (on the host). The cache given is used up."""
        ...

    def keep(self, cache: C, row_N: Tensor, /) -> C:
        """The given rows, where row_N[n] is n or a later one. The cache given is used up."""
        ...

    def step(self, ids_N: Tensor, cache: C) -> Tensor:
        """Hidden states (N, D) of one further token a row; the cache grows by it in place."""
        ...


@dataclass
class Cache:
    """Keys and values of the tokens so far, for each row, and where the next token stands."""

    layers: Any
    mask_NL: Tensor  # bool
    position_N: Tensor  # int64, of the next token


class TransformersBackbone:
    """The own forward of any Hugging Face causal LM that takes a DynamicCache."""

    def __init__(self, model: Any):
        self.model = model

    def prefill(self, ids_PL: Tensor, mask_PL: Tensor) -> tuple[Tensor, Cache]:
        ids_PL, mask_PL = self._sent(ids_PL, mask_PL)
        layers = DynamicCache(config=self.model.config)
        position_PL = (mask_PL.cumsum(-1) - 1).clamp(min=0)
        states_PLD = self._states(ids_PL, mask_PL, position_PL, layers)
        return states_PLD[:, -1], Cache(layers, mask_PL, mask_PL.sum(-1))

    def expand(self, cache: Cache, prompt_N: Tensor) -> Cache:
        return self.keep(cache, sent(prompt_N, self.model.device))

    def keep(self, cache: Cache, row_N: Tensor) -> Cache:
        cache.layers.batch_select_indices(row_N)
        return Cache(cache.layers, cache.mask_NL[row_N], cache.position_N[row_N])

    def step(self, ids_N: Tensor, cache: Cache) -> Tensor:
        every_N1 = torch.ones_like(ids_N, dtype=torch.bool)[:, None]
        return self._extend(ids_N[:, None], every_N1, cache)[:, 0]

    def hidden(self, rows: Rows) -> Tensor:
        ids_NS, mask_NS = self._sent(rows.response_NT[:, :-1], rows.mask_NT[:, :-1])
        at_M, prompt_N = self._sent(rows.places_M, rows.prompt_N)
        if recomputing(self.model):
            states_NTD = self._recomputed(rows, prompt_N, ids_NS, mask_NS)
        else:
            first_PD, cache = self.prefill(rows.prompt_PL, rows.prompt_mask_PL)
            states_NTD = first_PD.index_select(0, prompt_N)[:, None]
            if ids_NS.shape[1]:
                rest_NTD = self._extend(ids_NS, mask_NS, self.keep(cache, prompt_N))
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
        """Hidden states (N, T, D), each row with its prompt. transformers checkpoints layers in
        training mode alone, and drops caches there. Only the layers' own flag is set: what is
        inside them, dropout above all, stays in evaluation mode."""
        ids_PL, mask_PL = self._sent(rows.prompt_PL, rows.prompt_mask_PL)
        ids_NS = torch.cat([ids_PL.index_select(0, prompt_N), ids_NS], 1)
        mask_NS = torch.cat([mask_PL.index_select(0, prompt_N), mask_NS], 1)
        position_NS = (mask_NS.cumsum(-1) - 1).clamp(min=0)
        layers = _layers(self.model)
        for layer in layers:
            layer.training = True
        try:
            states_NSD = self._states(ids_NS, mask_NS, position_NS, None)
        finally:
            for layer in layers:
                layer.training = False
        return states_NSD[:, ids_PL.shape[1] - 1 :]

    def _sent(self, *parts: Tensor) -> list[Tensor]:
        return [sent(part, self.model.device) for part in parts]

    def _states(
        self, ids_NS: Tensor, mask_NL: Tensor, position_NS: Tensor, layers: DynamicCache | None
    ) -> Tensor:
        return self.model.base_model(
            input_ids=ids_NS,
            attention_mask=mask_NL.long(),
            position_ids=position_NS,
            past_key_values=layers,
            use_cache=layers is not None,
        ).last_hidden_state


class AdapterOff(TransformersBackbone):
    """The model without its adapters; the weights are shared."""

    def _states(self, *args: Any) -> Tensor:
        self.model.disable_adapters()
        try:
            return super()._states(*args)
        finally:
            self.model.enable_adapters()


def recompute(model: Any) -> None:
    """Turn activation checkpointing on."""
    for layer in _layers(model):
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # pyright: ignore


def recomputing(model: Any) -> bool:
    return any(layer.gradient_checkpointing for layer in _layers(model))


def _layers(model: Any) -> list[GradientCheckpointingLayer]:
    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
