"""Where the tokens of a batch stand side by side, without padding, for the packed forward.

Shape suffixes: M packed tokens, P prompts of L tokens, N rows of T response tokens; H query heads,
J key heads, K head width; a block has B rows of S queries and U keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from .linear import whole
from .rows import Rows, sent

SMALL = 128 * 128  # queries times keys of a row up to which attention is plain matrix products
LEAST = 16  # rows of a block, unless fewer are left


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
        self.ids, self.position = (sent(F.pad(part, more), device) for part in (ids, position))
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
        return Block(at_PL, at_PL, real_PL, real_PL, visible=causal.tril()[None])

    def _response_block(self, row_B: Tensor, prompt_B: Tensor) -> Block:
        at_BL, real_BL = self._tokens(self.start_P[prompt_B], self.length_P[prompt_B])
        at_BS, real_BS = self._tokens(self.start_N[row_B], self.length_N[row_B])
        S, L = at_BS.shape[1], at_BL.shape[1]
        seen = real_BL[:1] if bool(real_BL.all()) else real_BL
        visible = torch.ones(len(seen), S, L + S, dtype=torch.bool, device=self.device).tril(L)
        visible[:, :, :L] = sent(seen, self.device)[:, None]
        at_BU, real_BU = torch.cat([at_BL, at_BS], 1), torch.cat([real_BL, real_BS], 1)
        return Block(at_BS, at_BU, real_BS, real_BU, visible=visible)

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
        query, key = _rows(queries, H, H + J, 0), _rows(keys, J, H + J, H)
        value = _rows(keys, J, H + 2 * J, H + J)
        return tuple(sent(part, self.device) for part in (query, key, value))

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
