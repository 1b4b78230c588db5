"""A lean way through models of Llama's shape: the same mathematics as transformers' modules.

Linear layers, norms and rotations see only real tokens, packed side by side, so padding costs
nothing but attention; a prompt's keys and values are computed once a group; sampling writes into
buffers and attends with two plain matrix products. A test holds it equal to `policy.Backbone`;
docs/decisions.md has what each part gained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

GROW = 32  # tokens by which full buffers grow while sampling


@dataclass
class KV:
    key: Tensor  # (N, J, L, K); capacity beyond L while sampling
    value: Tensor


@dataclass
class FastCache:
    layers: list[KV]
    weights: list[tuple[Tensor, Tensor | None, Tensor]]  # fused: qkv, its bias, gate and up
    bias_NL: Tensor  # 0 where a token may be seen, else the lowest number; capacity like the keys
    used: int  # L
    position_N: Tensor  # of the next token
    padded: bool  # some token so far is padding


class LlamaBackbone:
    @staticmethod
    def supports(model: Any) -> bool:
        """Llama and Qwen2 with plain rotary embeddings, full attention and SiLU."""
        config = model.config
        return (
            type(model).__name__ in ("LlamaForCausalLM", "Qwen2ForCausalLM")
            and config.rope_parameters.get("rope_type") == "default"
            and config.rope_parameters.get("partial_rotary_factor", 1.0) == 1.0
            and config.hidden_act == "silu"
            and not getattr(config, "mlp_bias", False)
            and not (config.model_type == "llama" and config.attention_bias)  # o_proj has one too
            and set(getattr(config, "layer_types", None) or ["full_attention"])
            == {"full_attention"}
        )

    def __init__(self, model: Any):
        self.model = model
        config = model.config
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        self._rotary: tuple[Tensor, Tensor] | None = None

    def prefill(self, ids_PL: Tensor, mask_PL: Tensor) -> tuple[Tensor, FastCache]:
        """Hidden state of each prompt's last token, shape (P, D), and the prompts' cache."""
        weights = []
        for layer in self.model.model.layers:
            a, mlp = layer.self_attn, layer.mlp
            qkv = torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight])
            biased = a.q_proj.bias is not None
            bias = torch.cat([a.q_proj.bias, a.k_proj.bias, a.v_proj.bias]) if biased else None
            weights.append((qkv, bias, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])))
        P, dtype = len(ids_PL), weights[0][0].dtype
        empty = weights[0][0].new_zeros(P, self.kv_heads, 0, self.head_dim)
        layers = [KV(empty, empty) for _ in weights]
        start = torch.zeros(P, dtype=torch.int64, device=ids_PL.device)
        bias_PL = torch.zeros(P, 0, dtype=dtype, device=ids_PL.device)
        cache = FastCache(layers, weights, bias_PL, 0, start, padded=False)
        return self.extend(ids_PL, mask_PL, cache)[:, -1], cache

    def select(self, cache: FastCache, rows: Tensor) -> FastCache:
        """The cache of the given rows; rows may be repeated."""
        L, P = cache.used, len(cache.position_N)
        group, rest = divmod(len(rows), P)
        regular = torch.arange(P, device=rows.device).repeat_interleave(group)
        whole = group > 1 and rest == 0 and torch.equal(rows, regular)

        def pick(part: Tensor) -> Tensor:
            if not whole:
                return part[:, :, :L].index_select(0, rows)
            # every prompt equally often, in order: the backward pass is a sum, not a scatter
            return part[:, None, :, :L].expand(-1, group, -1, -1, -1).flatten(0, 1)

        layers = [KV(pick(kv.key), pick(kv.value)) for kv in cache.layers]
        bias_NL, position_N = cache.bias_NL[rows, :L], cache.position_N[rows]
        return FastCache(layers, cache.weights, bias_NL, L, position_N, cache.padded)

    def extend(self, ids_NS: Tensor, mask_NS: Tensor, cache: FastCache) -> Tensor:
        """Hidden states (N, S, D) of further tokens, zero where masked; the cache grows by them."""
        if ids_NS.shape[1] == 1 and not torch.is_grad_enabled():
            return self._one(ids_NS[:, 0], cache)[:, None]
        return self._many(ids_NS, mask_NS, cache)

    def _many(self, ids_NS: Tensor, mask_NS: Tensor, cache: FastCache) -> Tensor:
        """Any number of tokens, with or without a graph."""
        (N, S), L = ids_NS.shape, cache.used
        H, J, K = self.heads, self.kv_heads, self.head_dim
        at_M = mask_NS.flatten().nonzero()[:, 0]  # where in (N * S) the M real tokens stand
        cache.padded = cache.padded or len(at_M) < N * S
        position_NS = cache.position_N[:, None] + mask_NS.cumsum(-1) - 1
        cache.position_N = cache.position_N + mask_NS.sum(-1)
        x_MD = self.model.model.embed_tokens(ids_NS.flatten()[at_M])
        cos, sin = self._cos_sin(position_NS.flatten()[at_M], x_MD)
        added = torch.zeros(N, S, dtype=cache.bias_NL.dtype, device=ids_NS.device)
        cache.bias_NL = torch.cat(
            [cache.bias_NL[:, :L], added.masked_fill(~mask_NS, _lowest(added))], 1
        )
        cache.used = L + S
        causal = not cache.padded and L == 0
        bias = None if causal else self._causal_bias(cache.bias_NL, L, S)

        def spread(part_MHK: Tensor) -> Tensor:  # (M, h, K) to (N, h, S, K), zero where masked
            if len(at_M) == N * S:
                return part_MHK.view(N, S, -1, K).transpose(1, 2)
            whole = part_MHK.new_zeros(N * S, *part_MHK.shape[1:]).index_copy(0, at_M, part_MHK)
            return whole.view(N, S, -1, K).transpose(1, 2)

        for layer, kv, (qkv, qkv_bias, gate_up) in zip(
            self.model.model.layers, cache.layers, cache.weights, strict=True
        ):
            heads_MHK = F.linear(
                _norm(x_MD, layer.input_layernorm.weight, self.eps), qkv, qkv_bias
            ).view(-1, H + 2 * J, K)
            turned_MHK = _rotate(heads_MHK[:, : H + J], cos, sin)
            query, key, value = (
                spread(turned_MHK[:, :H]),
                spread(turned_MHK[:, H:]),
                spread(heads_MHK[:, H + J :]),
            )
            kv.key = torch.cat([kv.key[:, :, :L], key], 2) if L else key
            kv.value = torch.cat([kv.value[:, :, :L], value], 2) if L else value
            mixed = F.scaled_dot_product_attention(
                query, kv.key, kv.value, bias, is_causal=causal, enable_gqa=H != J
            )
            mixed_MD = mixed.transpose(1, 2).reshape(N * S, H * K)
            mixed_MD = mixed_MD if len(at_M) == N * S else mixed_MD.index_select(0, at_M)
            x_MD = self._rest(layer, gate_up, x_MD, mixed_MD)
        x_MD = _norm(x_MD, self.model.model.norm.weight, self.eps)
        return x_MD.new_zeros(N * S, x_MD.shape[1]).index_copy(0, at_M, x_MD).view(N, S, -1)

    def _one(self, ids_N: Tensor, cache: FastCache) -> Tensor:
        """One token a row, without a graph: the step of the sampler. Hidden states (N, D)."""
        N, L = len(ids_N), cache.used
        H, J, K = self.heads, self.kv_heads, self.head_dim
        if cache.bias_NL.shape[1] == L:
            cache.bias_NL = F.pad(cache.bias_NL, (0, GROW))
            for kv in cache.layers:
                kv.key, kv.value = F.pad(kv.key, (0, 0, 0, GROW)), F.pad(kv.value, (0, 0, 0, GROW))
        x_ND = self.model.model.embed_tokens(ids_N)
        cos, sin = self._cos_sin(cache.position_N, x_ND)
        cache.position_N = cache.position_N + 1
        cache.used = L + 1
        bias = cache.bias_NL[:, None, None, : L + 1] if cache.padded else None
        for layer, kv, (qkv, qkv_bias, gate_up) in zip(
            self.model.model.layers, cache.layers, cache.weights, strict=True
        ):
            heads_NHK = F.linear(
                _norm(x_ND, layer.input_layernorm.weight, self.eps), qkv, qkv_bias
            ).view(N, H + 2 * J, K)
            turned_NHK = _rotate(heads_NHK[:, : H + J], cos, sin)
            kv.key[:, :, L], kv.value[:, :, L] = turned_NHK[:, H:], heads_NHK[:, H + J :]
            query = (turned_NHK[:, :H] * K**-0.5).reshape(N, J, H // J, K)
            scores = query @ kv.key[:, :, : L + 1].transpose(2, 3)
            scores = scores if bias is None else scores + bias
            mixed_ND = (scores.softmax(-1) @ kv.value[:, :, : L + 1]).reshape(N, H * K)
            x_ND = self._rest(layer, gate_up, x_ND, mixed_ND)
        return _norm(x_ND, self.model.model.norm.weight, self.eps)

    def _rest(self, layer: Any, gate_up: Tensor, x: Tensor, mixed: Tensor) -> Tensor:
        """What follows attention in a layer."""
        x = x + F.linear(mixed, layer.self_attn.o_proj.weight)
        gate, up = F.linear(
            _norm(x, layer.post_attention_layernorm.weight, self.eps), gate_up
        ).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, layer.mlp.down_proj.weight)

    def _causal_bias(self, bias_NL: Tensor, L: int, S: int) -> Tensor:
        """Additive mask (N, 1, S, L + S). A padding token sees itself, so no softmax is empty."""
        future = torch.ones(S, L + S, dtype=torch.bool, device=bias_NL.device).triu(L + 1)
        bias = bias_NL[:, None, None, :].masked_fill(future, _lowest(bias_NL))
        itself = torch.arange(S, device=bias_NL.device)
        bias[:, :, itself, L + itself] = 0
        return bias

    def _cos_sin(self, position_M: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (M, 1, K) of the given positions."""
        if (
            self._rotary is None
            or self._rotary[0].dtype != like.dtype
            or self._rotary[0].device != like.device
        ):
            positions = torch.arange(self.model.config.max_position_embeddings, device=like.device)
            cos, sin = self.model.model.rotary_emb(like, positions[None])
            self._rotary = cos[0], sin[0]
        cos, sin = self._rotary
        return cos[position_M][:, None], sin[position_M][:, None]


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, weight.shape, weight, eps)


def _rotate(x_MHK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x_MHK.shape[-1] // 2
    return x_MHK * cos + torch.cat([-x_MHK[..., half:], x_MHK[..., :half]], -1) * sin


def _lowest(x: Tensor) -> float:
    return torch.finfo(x.dtype).min
