"""The packed forward of models of Llama's shape: the same mathematics as transformers' modules.

All real tokens of a batch, each prompt once, stand side by side in one matrix (`packing`), so that
padding costs nothing but in attention, whose rows go in blocks of similar length. Norms' weights
are multiplied into the matrices behind them (`fused`), and a rotation is one complex product. Tests
hold all this equal to transformers' forward; docs/speed.md says what each part gained.

Shape suffixes: M packed tokens, P prompts of L tokens, N rows, D model width; H query heads,
J key heads, C = H + 2 J heads in all, K head width.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

from . import choice
from .cached import KeysValues, PackedCache
from .fused import FusedWeights, Weights, scaled
from .linear import linear
from .packing import Packing, Places
from .rows import Rows, sent


class PackedBackbone:
    def __init__(self, model: Any, adapters: bool = True):
        """`adapters`: those of an adapted model are added to its weights, else left out."""
        self.model, self.weights = model, FusedWeights(model, adapters)
        config = model.config
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = choice.head_width(config)
        self.eps = config.rms_norm_eps * config.hidden_size  # of a sum of squares, not of a mean
        self._turns: Tensor | None = None

    def hidden(self, rows: Rows) -> Tensor:
        packing = Packing(rows, self.heads, self.kv_heads, self.model.device)
        states, _ = self._forward(packing, self.weights.layers())
        return states.index_select(0, packing.predict)

    def prefill(self, ids_PL: Tensor, mask_PL: Tensor) -> tuple[Tensor, PackedCache]:
        none_NT = torch.zeros(0, 0, dtype=torch.int64)
        none_N = none_NT.flatten()
        rows = Rows(ids_PL, mask_PL, none_N, none_NT, mask_NT=none_NT > 0, temperature_N=none_N)
        device, weights = self.model.device, self.weights.layers()
        packing = Packing(rows, self.heads, self.kv_heads, device)
        states, layers = self._forward(packing, weights)
        state_PD = states[: len(ids_PL)]
        length_P, longest = packing.length_P, packing.blocks[0].key_BU.shape[1]
        first = int(length_P.min())
        ended_PX = sent(torch.arange(first, longest) >= length_P[:, None], device)
        gap_PX = state_PD.new_zeros(ended_PX.shape).masked_fill(ended_PX, -torch.inf)
        next_P = sent(length_P, device)
        return state_PD, PackedCache(layers, weights, next_P, gap_first=first, gap_PX=gap_PX)

    def expand(self, cache: PackedCache, prompt_N: Tensor) -> PackedCache:
        cache.expand(prompt_N)
        return cache

    def keep(self, cache: PackedCache, row_N: Tensor) -> PackedCache:
        cache.keep(row_N)
        return cache

    def step(self, ids_N: Tensor, cache: PackedCache) -> Tensor:
        N, H, J, K = len(ids_N), self.heads, self.kv_heads, self.head_dim
        x_ND = self.model.model.embed_tokens(ids_N)
        turn = self._turn(cache.begin_step(), x_ND)
        for i, w in enumerate(cache.weights):
            heads = linear(_unit(x_ND, self.eps), w.qkv, w.bias).view(N, -1, K)
            turned = _turned(heads.narrow(1, 0, H + J), turn)
            query, key = turned.split((H, J), 1)
            query, value = query.reshape(N * J, -1, K), heads.narrow(1, H + J, J)
            mixed = cache.attend(i, query, key, value)
            x_ND = linear(mixed.view(N, H * K), w.out).add_(x_ND)
            gate, up = linear(_unit(x_ND, self.eps), w.gate_up).chunk(2, -1)
            x_ND = linear(F.silu(gate).mul_(up), w.down).add_(x_ND)
        return _unit(x_ND, self.eps) * scaled(self.model.model.norm)

    def _forward(self, packing: Packing, weights: list[Weights]) -> tuple[Tensor, KeysValues]:
        """States of the tokens `packing.kept`, and each layer's keys and values (P, J, L, K) of the
        prompts."""
        x_MD = self.model.model.embed_tokens(packing.ids)
        turn = self._turn(packing.position, x_MD)
        layers = []
        for i, w in enumerate(weights):
            qkv = linear(_Unit.apply(x_MD, self.eps), w.qkv, w.bias)
            query, key, value = _Spread.apply(qkv.view(len(x_MD), -1, self.head_dim), turn, packing)
            layers.append((packing.of_prompts(key), packing.of_prompts(value)))
            mixed = _attention(query, key, value, packing)
            if i + 1 < len(weights):
                mixed = _Collect.apply(mixed, packing.collect)
            else:  # from here on only where something is predicted
                mixed = _Collect.apply(mixed, packing.collect_kept)
                x_MD = x_MD.index_select(0, packing.kept)
            x_MD = x_MD + linear(mixed.view(len(x_MD), -1), w.out)
            gate_up = linear(_Unit.apply(x_MD, self.eps), w.gate_up)
            x_MD = x_MD + linear(_SwiGLU.apply(gate_up), w.down)
        return _Unit.apply(x_MD, self.eps) * scaled(self.model.model.norm), layers

    def _turn(self, position: Tensor, like: Tensor) -> Tensor:
        """Rotations (..., 1, K / 2) as complex numbers. The scale of the scores is in them, its
        root in the queries and again in the keys."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        held = self._turns
        if held is None or held.real.dtype != dtype or held.device != like.device:
            every = torch.arange(self.model.config.max_position_embeddings, device=like.device)
            with torch.no_grad():
                cos, sin = self.model.model.rotary_emb(like.to(dtype), every[None])
            held = torch.complex(cos, sin)[0, :, : self.head_dim // 2] * self.head_dim**-0.25
            self._turns = held
        return held.index_select(0, position)[:, None]


def misfit(model: Any) -> str | None:
    """Why this forward cannot take a model; None where it can."""
    if type(model) not in (LlamaForCausalLM, Qwen2ForCausalLM):
        return f"the class {type(model).__name__}"
    return choice.misfit(model.config)


def _attention(query: Tensor, key: Tensor, value: Tensor, packing: Packing) -> Tensor:
    """What the blocks' queries see, in their order; all arguments have rows of K numbers."""
    H, J, K = packing.heads, packing.kv_heads, query.shape[1]
    queries = [H * b.query_BS.numel() for b in packing.blocks]
    keys = [J * b.key_BU.numel() for b in packing.blocks]
    parts = (query.split(queries), key.split(keys), value.split(keys))
    mixed = []
    for block, mask, q, k, v in zip(packing.blocks, packing.masks(query), *parts, strict=True):
        B = len(block.query_BS)
        if block.plain:
            q, k, v = q.view(B * J, -1, K), k.view(B * J, -1, K), v.view(B * J, -1, K)
            out = torch.bmm(torch.baddbmm(mask, q, k.transpose(1, 2)).softmax(-1), v)
        else:
            q, k, v = q.view(B, H, -1, K), k.view(B, J, -1, K), v.view(B, J, -1, K)
            out = F.scaled_dot_product_attention(q, k, v, mask, scale=1.0, enable_gqa=H != J)
        mixed.append(out.reshape(-1, K))
    return torch.cat(mixed)


def _length(x: Tensor, eps: float) -> Tensor:
    """Lengths of vectors, a little more by eps."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.hypot(length, _constant(eps**0.5, length.dtype, length.device))


@lru_cache
def _constant(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Filled on the device: nothing is copied to it."""
    return torch.full((), value, dtype=dtype, device=device)


def _unit(x: Tensor, eps: float) -> Tensor:
    return x / _length(x, eps)


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """Pairs of neighbours rotated."""
    pairs = torch.view_as_complex(x.to(turn.dtype.to_real()).view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turn).view(x.shape).to(x.dtype)


class _Unit(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        length = _length(x, eps)
        y = x / length
        ctx.save_for_backward(y, length)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        y, length = ctx.saved_tensors
        along = (grad * y).sum(-1, keepdim=True)
        return torch.addcmul(grad, y, along, value=-1).div_(length), None


class _SwiGLU(Function):
    """silu(gate) * up, for gate and up side by side."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, -1)
        silu = F.silu(gate)
        ctx.save_for_backward(gate_up, silu)
        return silu * up

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        gate_up, silu = ctx.saved_tensors
        gate, up = gate_up.chunk(2, -1)
        out = torch.empty_like(gate_up)
        to_gate, to_up = out.chunk(2, -1)
        torch.mul(grad, silu, out=to_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=to_gate)
        return out


class _Spread(Function):
    """Rotated queries, rotated keys and values of the blocks, from (M, C, K)."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, turn: Tensor, packing: Packing) -> Any:
        ctx.turn, ctx.packing = turn, packing
        K = heads.shape[2]
        turned = _turned(heads[:, : packing.heads + packing.kv_heads], turn).view(-1, K)
        parts = zip((turned, turned, heads.view(-1, K)), packing.spread, strict=True)
        return tuple(part.index_select(0, at) for part, at in parts)

    @staticmethod
    def backward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Any:
        turn, packing = ctx.turn, ctx.packing
        M, K = len(turn), query.shape[1]
        query = query.index_select(0, packing.collect.pick).view(M, -1, K)
        bag, first = packing.bags
        sums = (F.embedding_bag(bag, part, first, mode="sum") for part in (key, value))
        key, value = (part.view(M, -1, K) for part in sums)
        back = turn.conj()
        return torch.cat([_turned(query, back), _turned(key, back), value], 1), None, None


class _Collect(Function):
    """Rows picked; the gradient goes back to where they came from, all else gets zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Places) -> Tensor:
        ctx.places = places
        return x.index_select(0, places.pick)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        places = ctx.places
        return grad.index_select(0, places.back).mul_(places.picked[:, None]), None
