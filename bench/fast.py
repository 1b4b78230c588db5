"""A lean way through models of Llama's shape: the same mathematics as transformers' modules, without
their per-call overhead, with buffers for sampling and keys and values shared inside a group.

A test holds it equal to `policy.Backbone`. Why it exists: with the embedded model (0.34 M parameters)
the modules' overhead is most of the time (docs/decisions.md has the measurement).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

GROW = 32  # tokens by which a full buffer grows while sampling


@dataclass
class KV:
    key: Tensor  # (N, H, capacity, K)
    value: Tensor
    qkv: tuple[Tensor, Tensor | None]  # the layer's fused projection
    gate_up: Tensor


@dataclass
class FastCache:
    layers: list[KV]
    mask_NL: Tensor  # bool, of the tokens so far
    position_N: Tensor
    padded: bool  # some token so far is padding


def _cat_bias(*layers: Any) -> Tensor | None:
    return None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])


class LlamaBackbone:
    @staticmethod
    def supports(model: Any) -> bool:
        """Llama and Qwen2 with plain rotary embeddings, full attention and SiLU."""
        config = model.config
        return (
            config.model_type in ("llama", "qwen2")
            and type(model).__name__ in ("LlamaForCausalLM", "Qwen2ForCausalLM")
            and config.rope_parameters.get("rope_type") == "default"
            and config.rope_parameters.get("partial_rotary_factor", 1.0) == 1.0
            and config.hidden_act == "silu"
            and not getattr(config, "mlp_bias", False)
            and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
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
        layers = []
        for layer in self.model.model.layers:
            attn, mlp = layer.self_attn, layer.mlp
            weight = torch.cat([attn.q_proj.weight, attn.k_proj.weight, attn.v_proj.weight])
            empty = weight.new_empty(len(ids_PL), self.kv_heads, 0, self.head_dim)
            bias = _cat_bias(attn.q_proj, attn.k_proj, attn.v_proj)
            gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
            layers.append(KV(empty, empty, (weight, bias), gate_up))
        start = torch.zeros(len(ids_PL), dtype=torch.int64, device=ids_PL.device)
        cache = FastCache(layers, mask_PL[:, :0], start, padded=False)
        return self.extend(ids_PL, mask_PL, cache)[:, -1], cache

    def select(self, cache: FastCache, rows: Tensor) -> FastCache:
        used = cache.mask_NL.shape[1]
        layers = [KV(c.key[rows, :, :used], c.value[rows, :, :used], c.qkv, c.gate_up) for c in cache.layers]  # fmt: skip
        return FastCache(layers, cache.mask_NL[rows], cache.position_N[rows], cache.padded)

    def extend(self, ids_NS: Tensor, mask_NS: Tensor, cache: FastCache) -> Tensor:
        """Hidden states (N, S, D) of further tokens; the cache grows by them."""
        used, S = cache.mask_NL.shape[1], ids_NS.shape[1]
        if S > 1:  # one at a time comes from the sampler, which never feeds padding
            cache.padded = cache.padded or not bool(mask_NS.all())
        cache.mask_NL = torch.cat([cache.mask_NL, mask_NS], -1)
        position_NS = cache.position_N[:, None] + (mask_NS.cumsum(-1) - 1).clamp(min=0)
        cache.position_N = cache.position_N + mask_NS.sum(-1)
        x_NSD = self.model.model.embed_tokens(ids_NS)
        rotary = self._cos_sin(position_NS, x_NSD)
        bias = self._attention_bias(cache, S, used, x_NSD.dtype)
        for layer, kv in zip(self.model.model.layers, cache.layers, strict=True):
            x_NSD = self._layer(layer, kv, x_NSD, rotary, bias, used)
        norm = self.model.model.norm.weight
        return F.rms_norm(x_NSD, norm.shape, norm, self.eps)

    def _layer(self, layer: Any, kv: KV, x: Tensor, rotary: tuple[Tensor, Tensor], bias: Tensor | None, used: int):  # fmt: skip
        N, S, _ = x.shape
        H, J, K = self.heads, self.kv_heads, self.head_dim
        weight = layer.input_layernorm.weight
        qkv = F.linear(F.rms_norm(x, weight.shape, weight, self.eps), *kv.qkv)
        qkv = qkv.view(N, S, H + 2 * J, K).transpose(1, 2)
        turned = _rotate(qkv[:, : H + J], *rotary)
        query, key, value = turned[:, :H], turned[:, H:], qkv[:, H + J :]
        key, value = self._grow(kv, key, value, used)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, is_causal=bias is None and S > 1, enable_gqa=H != J
        )
        x = x + F.linear(mixed.transpose(1, 2).reshape(N, S, H * K), layer.self_attn.o_proj.weight)
        weight = layer.post_attention_layernorm.weight
        gate, up = F.linear(F.rms_norm(x, weight.shape, weight, self.eps), kv.gate_up).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, layer.mlp.down_proj.weight)

    def _grow(self, kv: KV, key: Tensor, value: Tensor, used: int) -> tuple[Tensor, Tensor]:
        """Keys and values so far. Concatenated under autograd, written into buffers without it."""
        S = key.shape[2]
        if torch.is_grad_enabled() or S > 1:
            kv.key = torch.cat([kv.key[:, :, :used], key], 2) if used else key
            kv.value = torch.cat([kv.value[:, :, :used], value], 2) if used else value
            return kv.key, kv.value
        if kv.key.shape[2] < used + S:
            room = (*key.shape[:2], GROW, key.shape[3])
            kv.key = torch.cat([kv.key[:, :, :used], key.new_zeros(room)], 2)
            kv.value = torch.cat([kv.value[:, :, :used], value.new_zeros(room)], 2)
        kv.key[:, :, used : used + S] = key
        kv.value[:, :, used : used + S] = value
        return kv.key[:, :, : used + S], kv.value[:, :, : used + S]

    def _attention_bias(self, cache: FastCache, S: int, used: int, dtype: torch.dtype) -> Tensor | None:
        """Additive mask (N, 1, S, L); None where plain causal attention does."""
        if not cache.padded and (used == 0 or S == 1):
            return None
        allowed = cache.mask_NL[:, None, None, :]
        if S > 1:
            causal = torch.ones(S, used + S, dtype=torch.bool, device=allowed.device).tril(used)
            # a padding token sees itself, so that no row of the softmax is empty
            allowed = (allowed & causal) | torch.eye(S, used + S, dtype=torch.bool, device=allowed.device).roll(used, 1)  # fmt: skip
        bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        return bias.masked_fill_(~allowed, torch.finfo(dtype).min)

    def _cos_sin(self, position_NS: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        if self._rotary is None or self._rotary[0].dtype != like.dtype or self._rotary[0].device != like.device:  # fmt: skip
            positions = torch.arange(self.model.config.max_position_embeddings, device=like.device)
            cos, sin = self.model.model.rotary_emb(like, positions[None])
            self._rotary = cos[0], sin[0]
        cos, sin = self._rotary
        return cos[position_NS][:, None], sin[position_NS][:, None]


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin
