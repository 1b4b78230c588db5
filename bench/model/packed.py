"""A lean way through models of Llama's shape: the same mathematics as transformers' modules.

All real tokens of a batch, each prompt once, stand side by side in one packed matrix, so padding
costs nothing but in attention, whose rows go in blocks of similar length. The norms' weights are
multiplied into the matrices behind them, and the halves of queries and keys are interleaved, so
that a rotation is one complex product. A test holds all this equal to `policy.Backbone`;
docs/speed.md has what each part gained.

Shape suffixes: M packed tokens, P prompts of L tokens, N rows, D model width; H query heads,
J key heads, C = H + 2 J heads in all, K head width; a block has B rows of S queries and U keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from . import lora
from .linear import linear, whole
from .rows import Rows, sent

GROW = 16  # tokens, or an eighth, by which full buffers grow while sampling: more thins out caches
SMALL = 128 * 128  # queries times keys of a row up to which attention is plain matrix products
LEAST = 16  # rows of a block, unless fewer are left


@dataclass(frozen=True)
class Weights:
    """A layer's matrices; norms' weights multiplied in, queries and keys interleaved."""

    qkv: Tensor
    bias: Tensor | None  # of qkv
    out: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass
class FastCache:
    """Keys and values (N, J, capacity, K) of the tokens so far, for each layer."""

    layers: list[tuple[Tensor, Tensor]]
    weights: list[Weights]
    used: int
    position_N: Tensor  # of the next token
    gap_first: int  # column from which on some prompt has ended already
    gap_NX: Tensor  # additive mask from there to the longest prompt's end

    def chosen(self, layers: list[tuple[Tensor, Tensor]], row_N: Tensor) -> FastCache:
        position_N, gap_NX = self.position_N[row_N], self.gap_NX[row_N]
        return FastCache(layers, self.weights, self.used, position_N, self.gap_first, gap_NX)


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

    def __init__(self, model: Any, adapters: bool = True):
        """`adapters`: those of an adapted model are added to its weights, else left out."""
        self.model, self.adapters = model, adapters
        config = model.config
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps * config.hidden_size  # of a sum of squares, not of a mean
        self._turns: Tensor | None = None

    def hidden(self, rows: Rows) -> Tensor:
        """Hidden states (tokens, D) from which the response tokens are predicted, row by row."""
        packing = Packing(rows, self.heads, self.kv_heads, self.model.device)
        return self._forward(packing, self._weights())[0].index_select(0, packing.predict)

    def prefill(self, ids_PL: Tensor, mask_PL: Tensor) -> tuple[Tensor, FastCache]:
        """Hidden state of each prompt's last token, shape (P, D), and the prompts' cache; the
        arguments are on the host."""
        none = torch.zeros(0, 0, dtype=torch.int64)
        rows = Rows(ids_PL, mask_PL, none.flatten(), none, none.bool(), none.flatten())
        device = self.model.device
        packing, weights = Packing(rows, self.heads, self.kv_heads, device), self._weights()
        states, layers = self._forward(packing, weights)
        state_PD = states[: len(ids_PL)]
        length_P, used = packing.length_P, packing.blocks[0].key_BU.shape[1]
        first = int(length_P.min())
        ended_PX = sent(torch.arange(first, used) >= length_P[:, None], device)
        gap_PX = state_PD.new_zeros(ended_PX.shape).masked_fill(ended_PX, -torch.inf)
        return state_PD, FastCache(layers, weights, used, sent(length_P, device), first, gap_PX)

    def expand(self, cache: FastCache, prompt_N: Tensor) -> FastCache:
        """A row for each of the given prompts, with room for further tokens."""

        def rows(part: Tensor) -> Tensor:
            J, L, K = part.shape[1:]
            out = part.new_empty(len(prompt_N), J, L + GROW, K)
            out[:, :, :L] = part.index_select(0, prompt_N)
            return out

        return cache.chosen([(rows(key), rows(value)) for key, value in cache.layers], prompt_N)

    def keep(self, cache: FastCache, row_N: Tensor) -> FastCache:
        """The given rows, where row_N[n] is n or a later one: these are moved in place."""
        to = (row_N != torch.arange(len(row_N), device=row_N.device)).nonzero()[:, 0]
        source = row_N[to]
        for part in (part for layer in cache.layers for part in layer):
            part.index_copy_(0, to, part.index_select(0, source))
        layers = [(key[: len(row_N)], value[: len(row_N)]) for key, value in cache.layers]
        return cache.chosen(layers, row_N)

    def step(self, ids_N: Tensor, cache: FastCache) -> Tensor:
        """Hidden states (N, D) of one further token a row, without a graph; the cache grows."""
        N, U = len(ids_N), cache.used + 1
        H, J, K = self.heads, self.kv_heads, self.head_dim
        if cache.layers[0][0].shape[2] < U:
            room = (0, 0, 0, max(GROW, U // 8))
            for i, (key, value) in enumerate(cache.layers):  # one by one, so that no two sets stand
                cache.layers[i] = F.pad(key, room), F.pad(value, room)
        x_ND = self.model.model.embed_tokens(ids_N)
        turn = self._turn(cache.position_N, x_ND)
        cache.position_N = cache.position_N + 1
        cache.used = U
        for w, (key, value) in zip(cache.weights, cache.layers, strict=True):
            heads = linear(_unit(x_ND, self.eps)[0], w.qkv, w.bias).view(N, -1, K)
            turned = _turned(heads[:, : H + J], turn)
            key[:, :, U - 1], value[:, :, U - 1] = turned[:, H:], heads[:, H + J :]
            query = turned[:, :H].reshape(N * J, -1, K)
            scores = torch.bmm(query, key.flatten(0, 1)[:, :U].transpose(1, 2))
            if cache.gap_NX.shape[1]:
                end = cache.gap_first + cache.gap_NX.shape[1]
                scores.view(N, H, U)[:, :, cache.gap_first : end] += cache.gap_NX[:, None]
            mixed = torch.bmm(scores.softmax(-1), value.flatten(0, 1)[:, :U])
            x_ND = linear(mixed.view(N, H * K), w.out).add_(x_ND)
            gate, up = linear(_unit(x_ND, self.eps)[0], w.gate_up).chunk(2, -1)
            x_ND = linear(F.silu(gate).mul_(up), w.down).add_(x_ND)
        return _unit(x_ND, self.eps)[0] * self._scaled(self.model.model.norm)

    def _forward(
        self, packing: Packing, weights: list[Weights]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
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
        return _Unit.apply(x_MD, self.eps) * self._scaled(self.model.model.norm), layers

    def _weights(self) -> list[Weights]:
        K, turned = self.head_dim, self.heads + self.kv_heads
        halves = torch.arange(K).view(2, -1).t().flatten()  # 0, K / 2, 1, K / 2 + 1, ...
        order = torch.arange((turned + self.kv_heads) * K).view(-1, K)
        order = torch.cat([order[:turned, halves], order[turned:]]).flatten()
        order = sent(order, self.model.device)
        out = []
        for layer in self.model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            parts = (attention.q_proj, attention.k_proj, attention.v_proj)
            qkv = torch.cat([self._weight(p) for p in parts]).index_select(0, order)
            bias = None
            if parts[0].bias is not None:
                bias = torch.cat([p.bias for p in parts]).index_select(0, order)
            gate_up = torch.cat([self._weight(mlp.gate_proj), self._weight(mlp.up_proj)])
            out.append(
                Weights(
                    qkv * self._scaled(layer.input_layernorm),
                    bias,
                    self._weight(attention.o_proj),
                    gate_up * self._scaled(layer.post_attention_layernorm),
                    self._weight(mlp.down_proj),
                )
            )
        return out

    def _weight(self, layer: Any) -> Tensor:
        return lora.weight(layer, self.adapters)

    def _scaled(self, norm: Any) -> Tensor:
        """A norm's weight, for vectors of length 1."""
        return norm.weight * norm.weight.shape[0] ** 0.5

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


@dataclass(frozen=True)
class Block:
    """Sequences whose attention is one batch of matrix products. Padding may name any token."""

    query_BS: Tensor  # packed tokens; on the host, as all but `visible`
    key_BU: Tensor
    real_BS: Tensor  # bool: not padding
    real_BU: Tensor
    visible: Tensor  # bool (B or 1, S, U): the key may be seen; each query sees one at least

    @property
    def plain(self) -> bool:
        """Small enough for plain matrix products, which hold all scores in memory."""
        return self.visible[0].numel() <= SMALL


@dataclass(frozen=True)
class Places:
    """Rows to pick; for the way back which pick each row was, where it was one."""

    pick: Tensor
    back: Tensor
    picked: Tensor  # bool


class Packing:
    """Where each token of a batch stands: prompts one after another, then the rows' responses, each
    without its last token, from which nothing is predicted, and some tokens more, on which nothing
    depends, up to a `whole` count. Attention picks rows of (token, head) out of it, block by block.
    All is worked out on the host; `device` is where it is used."""

    def __init__(self, rows: Rows, heads: int, kv_heads: int, device: torch.device):
        self.device, self.heads, self.kv_heads = device, heads, kv_heads
        self.length_P = rows.prompt_mask_PL.sum(-1)
        self.length_N = (rows.lengths_N - 1).clamp(min=0)
        prompt_tokens = int(self.length_P.sum())
        self.start_P = self.length_P.cumsum(0) - self.length_P
        self.start_N = prompt_tokens + self.length_N.cumsum(0) - self.length_N
        column_T = torch.arange(rows.response_NT.shape[1])
        inner_NT = column_T < self.length_N[:, None]
        position_PL = rows.prompt_mask_PL.cumsum(-1) - 1
        position_NT = self.length_P[rows.prompt_N][:, None] + column_T
        ids = torch.cat([rows.prompt_PL[rows.prompt_mask_PL], rows.response_NT[inner_NT]])
        position = torch.cat([position_PL[rows.prompt_mask_PL], position_NT[inner_NT]])
        self.tokens, self.padded = len(ids), whole(len(ids))
        more = (0, self.padded - self.tokens)
        self.ids = sent(F.pad(ids, more), device)
        self.position = sent(F.pad(position, more), device)
        # the tokens from which something is predicted: the prompts' last ones, all of the responses
        end_P = self.start_P + self.length_P - 1
        kept = torch.cat([end_P, torch.arange(prompt_tokens, self.tokens)])
        self.real_kept = len(kept)
        self._kept = F.pad(kept, (0, whole(len(kept)) - len(kept)))
        self.kept = sent(self._kept, device)
        before_NT = (len(end_P) + self.start_N - prompt_tokens)[:, None] + column_T - 1
        before_NT = torch.where(column_T == 0, rows.prompt_N[:, None], before_NT)
        # which of `kept`, for each response token
        self.predict = sent(before_NT[rows.mask_NT], device)
        self.blocks = [self._prompt_block()]
        longest = self.blocks[0].key_BU.shape[1]
        for alike in _alike(self.length_N.tolist(), rows.prompt_N.tolist(), longest):
            row_B = torch.tensor(alike)
            self.blocks.append(self._response_block(row_B, rows.prompt_N[row_B]))
        self._masks: list[Tensor] = []

    def _prompt_block(self) -> Block:
        at_PL, real_PL = self._tokens(self.start_P, self.length_P)
        causal = torch.ones(at_PL.shape[1], at_PL.shape[1], dtype=torch.bool, device=self.device)
        return Block(at_PL, at_PL, real_PL, real_PL, causal.tril()[None])

    def _response_block(self, row_B: Tensor, prompt_B: Tensor) -> Block:
        at_BL, real_BL = self._tokens(self.start_P[prompt_B], self.length_P[prompt_B])
        at_BS, real_BS = self._tokens(self.start_N[row_B], self.length_N[row_B])
        S, L = at_BS.shape[1], at_BL.shape[1]
        seen = real_BL[:1] if bool(real_BL.all()) else real_BL
        visible = torch.ones(len(seen), S, L + S, dtype=torch.bool, device=self.device).tril(L)
        visible[:, :, :L] = sent(seen, self.device)[:, None]
        at_BU, real_BU = torch.cat([at_BL, at_BS], 1), torch.cat([real_BL, real_BS], 1)
        return Block(at_BS, at_BU, real_BS, real_BU, visible)

    def _tokens(self, start_B: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
        """Packed tokens (B, longest) of some sequences, and which of them are real."""
        column = torch.arange(int(length_B.max()))
        at_BS = (start_B[:, None] + column).clamp(max=self.tokens - 1)
        return at_BS, column < length_B[:, None]

    def of_prompts(self, part: Tensor) -> Tensor:
        """The prompts' share of the blocks' keys or values, shape (P, J, L, K)."""
        P, L = self.blocks[0].key_BU.shape
        return part[: P * self.kv_heads * L].view(P, self.kv_heads, L, -1)

    @cached_property
    def spread(self) -> tuple[Tensor, ...]:
        """Which rows the blocks' queries, keys and values are: the first two of (token, head of
        queries and keys), the last of (token, any head)."""
        H, J = self.heads, self.kv_heads
        queries, keys = [b.query_BS for b in self.blocks], [b.key_BU for b in self.blocks]
        rows = (
            _rows(queries, H, H + J, 0),
            _rows(keys, J, H + J, H),
            _rows(keys, J, H + 2 * J, H + J),
        )
        return tuple(sent(part, self.device) for part in rows)

    @cached_property
    def bags(self) -> tuple[Tensor, Tensor]:
        """Which of the blocks' keys each (token, key head) has become, bag after bag, and where
        each bag begins: its gradient is the bag's sum."""
        J = self.kv_heads
        row = _rows([b.key_BU for b in self.blocks], J, J, 0)
        real = _each([b.real_BU for b in self.blocks], J).nonzero()[:, 0]
        row, order = row[real].sort(stable=True)
        first = torch.searchsorted(row, torch.arange(self.padded * J))
        return sent(real[order], self.device), sent(first, self.device)

    @cached_property
    def collect(self) -> Places:
        """Where among the blocks' queries every (token, head) stands."""
        return self._places(torch.arange(self.padded), self.tokens)

    @cached_property
    def collect_kept(self) -> Places:
        return self._places(self._kept, self.real_kept)

    def _places(self, token: Tensor, count: int) -> Places:
        """Of the first `count` of the tokens; the others get any row."""
        H = self.heads
        row = _rows([b.query_BS for b in self.blocks], H, H, 0)
        real = _each([b.real_BS for b in self.blocks], H).nonzero()[:, 0]
        at = torch.zeros(self.padded * H, dtype=torch.int64)
        at[row[real]] = real
        pick = at.view(-1, H)[token].flatten()
        back, picked = torch.zeros_like(row), torch.zeros_like(row, dtype=torch.bool)
        back[pick[: count * H]] = torch.arange(count * H)
        picked[pick[: count * H]] = True
        return Places(*(sent(part, self.device) for part in (pick, back, picked)))

    def masks(self, like: Tensor) -> list[Tensor]:
        """What is added to each block's scores: (B * J or 1, H / J * S, U) for plain products,
        (B or 1, 1, S, U) otherwise."""
        if not self._masks:
            J, R = self.kv_heads, self.heads // self.kv_heads
            for block in self.blocks:
                mask = like.new_zeros(block.visible.shape).masked_fill(~block.visible, -torch.inf)
                if block.plain:
                    mask = mask.repeat(1, R, 1)
                    mask = mask.repeat_interleave(J, 0) if len(mask) > 1 else mask
                else:
                    mask = mask[:, None]
                self._masks.append(mask)
        return self._masks


def _alike(length_N: Sequence[int], prompt_N: Sequence[int], longest: int) -> Iterator[list[int]]:
    """Rows for each block: short ones by length, so that little is padding; long ones by prompt, so
    that one mask serves all rows of a block."""
    rows = sorted((n for n, length in enumerate(length_N) if length), key=lambda n: length_N[n])
    short = [n for n in rows if length_N[n] * (longest + length_N[n]) <= SMALL]
    size = max(LEAST, -(-len(short) // 4))
    yield from (short[i : i + size] for i in range(0, len(short), size))
    groups: dict[int, list[int]] = {}
    for n in rows[len(short) :]:
        groups.setdefault(prompt_N[n], []).append(n)
    yield from groups.values()


def _rows(tokens: list[Tensor], heads: int, per_token: int, first: int) -> Tensor:
    """Rows of (token, head), `per_token` for each token, in the order (block, B, head, S)."""
    head = first + torch.arange(heads)[:, None]
    return torch.cat([(at[:, None] * per_token + head).flatten() for at in tokens])


def _each(values: list[Tensor], heads: int) -> Tensor:
    """Values (B, S) repeated for every head, in the order of `_rows`."""
    return torch.cat([v[:, None].expand(-1, heads, -1).flatten() for v in values])


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


def _unit(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Vectors of length 1 (a little less by eps), and their length before."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    length = torch.hypot(length, length.new_tensor(eps**0.5))
    return x / length, length


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """Pairs of neighbours rotated."""
    pairs = torch.view_as_complex(x.to(turn.real.dtype).unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


class _Unit(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        y, length = _unit(x, eps)
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
        query, key, value = packing.spread
        return (
            turned.index_select(0, query),
            turned.index_select(0, key),
            heads.view(-1, K).index_select(0, value),
        )

    @staticmethod
    def backward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Any:
        turn, packing = ctx.turn, ctx.packing
        M, K = len(turn), query.shape[1]
        query = query.index_select(0, packing.collect.pick).view(M, -1, K)
        key, value = (
            F.embedding_bag(packing.bags[0], part, packing.bags[1], mode="sum").view(M, -1, K)
            for part in (key, value)
        )
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
