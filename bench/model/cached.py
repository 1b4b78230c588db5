"""Keys and values of the tokens so far, while the packed forward samples.

Many rows share those of their prompt, which is then read once for all of its rows. Few rows have
copies of it in front of their own: as long as these stay in a processor's caches, the shorter way
is faster. Tests hold both equal; docs/decisions.md has the measurement.

Shape suffixes: P prompts of L tokens, N rows; H query heads, J key heads, R = H / J, K head width.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .fused import Weights
from .rows import sent

KeysValues = list[tuple[Tensor, Tensor]]  # of each layer
GROW = 16  # tokens, or an eighth, by which full buffers grow while sampling: more thins out caches
COPIES = 1 << 23  # bytes of copied prompts up to which rows have copies


class Shelf(NamedTuple):
    """Where a batch's rows stand beside their prompts: for each key head a prompt has G places, as
    many as the prompt with the most rows needs."""

    row_S: Tensor  # at each of the P * J * G places a row's head, n * J + j; any where none is
    place_M: Tensor  # of each row's head, N * J in all

    @classmethod
    def of(cls, prompt_N: np.ndarray, prompts: int, heads: int, device: torch.device) -> "Shelf":
        count_P = np.bincount(prompt_N, minlength=prompts)
        order_N, G = prompt_N.argsort(kind="stable"), count_P.max(initial=1)
        nth_N = np.empty_like(prompt_N)
        nth_N[order_N] = np.arange(len(prompt_N)) - np.repeat(count_P.cumsum() - count_P, count_P)
        place_NJ = (prompt_N[:, None] * heads + np.arange(heads)) * G + nth_N[:, None]
        row_S = np.zeros(prompts * heads * G, np.int64)
        row_S[place_NJ] = np.arange(place_NJ.size).reshape(place_NJ.shape)
        at_M = torch.from_numpy(place_NJ.ravel())
        return cls(sent(torch.from_numpy(row_S), device), sent(at_M, device))


@dataclass
class PackedCache:
    prompts: KeysValues  # (P, J, L, K); empty where rows have copies
    weights: list[Weights]
    position_N: Tensor  # of the next token
    gap_first: int  # column from which on some prompt has ended already
    gap_PX: Tensor  # additive mask from there to the longest prompt's end; (N, X) with copies
    prompt_N: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    own: KeysValues = field(default_factory=list)  # (N, J, capacity, K)
    used: int = 0  # of the capacity
    shelf: Shelf | None = None  # None: rows have copies

    def expand(self, prompt_N: Tensor) -> None:
        """A row for each of the given prompts (on the host), with room for further tokens."""
        N, (P, J, L, K) = len(prompt_N), self.prompts[0][0].shape
        device = self.gap_PX.device
        at_N, self.prompt_N = sent(prompt_N, device), prompt_N.numpy()
        self.position_N = self.position_N.index_select(0, at_N)
        copied = N * sum(part.nbytes // P for layer in self.prompts for part in layer) <= COPIES
        self.used = L if copied else 0

        def begun(part: Tensor) -> Tensor:
            out = part.new_empty(N, J, self.used + GROW, K)
            if copied:
                out[:, :, :L] = part.index_select(0, at_N)
            return out

        self.own = [(begun(key), begun(value)) for key, value in self.prompts]
        if copied:
            self.prompts, self.gap_PX = [], self.gap_PX.index_select(0, at_N)
        else:
            self.shelf = Shelf.of(self.prompt_N, P, J, device)

    def keep(self, row_N: Tensor) -> None:
        """The given rows, where row_N[n] is n or a later one, which is moved in place."""
        to = (row_N != torch.arange(len(row_N), device=row_N.device)).nonzero()[:, 0]
        source = row_N[to]
        for part in (part for layer in self.own for part in layer):
            part.index_copy_(0, to, part.index_select(0, source))
        self.own = [(key[: len(row_N)], value[: len(row_N)]) for key, value in self.own]
        self.position_N = self.position_N[row_N]
        if self.shelf is None:
            self.gap_PX = self.gap_PX[row_N]
        else:
            self.prompt_N = self.prompt_N[row_N.cpu().numpy()]
            P, J = self.prompts[0][0].shape[:2]
            self.shelf = Shelf.of(self.prompt_N, P, J, row_N.device)

    def begin_step(self) -> Tensor:
        """Make room for another token of each row; its positions."""
        self.used += 1
        if self.own[0][0].shape[2] < self.used:
            room = (0, 0, 0, max(GROW, self.used // 8))
            for i, (key, value) in enumerate(self.own):  # one by one, so that no two sets stand
                self.own[i] = F.pad(key, room), F.pad(value, room)
        position_N, self.position_N = self.position_N, self.position_N + 1
        return position_N

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What the new tokens see, themselves included: (N * J, R, K), as their `query`; `key` and
        `value` are (N, J, K)."""
        keys, values = self.own[layer]
        keys.select(2, self.used - 1).copy_(key)
        values.select(2, self.used - 1).copy_(value)
        keys, values = (part.flatten(0, 1).narrow(1, 0, self.used) for part in (keys, values))
        scores = torch.bmm(query, keys.transpose(1, 2))
        if self.shelf is not None:
            return self._shared(layer, query, scores, values)
        self._mask(scores)
        return torch.bmm(scores.softmax(-1), values)

    def _shared(self, layer: int, query: Tensor, scores: Tensor, values: Tensor) -> Tensor:
        shelf, (key, value) = self.shelf, self.prompts[layer]
        assert shelf is not None
        P, J, L, K = key.shape
        M, R, _ = query.shape
        shelved = query.view(M, R * K).index_select(0, shelf.row_S).view(P * J, -1, K)
        of_prompt = torch.bmm(shelved, key.view(P * J, L, K).transpose(1, 2))
        self._mask(of_prompt)
        of_prompt = of_prompt.view(-1, R * L).index_select(0, shelf.place_M).view(M, R, L)
        weights = torch.cat([of_prompt, scores], 2).softmax(-1)
        shelved = weights[:, :, :L].reshape(M, R * L).index_select(0, shelf.row_S)
        mixed = torch.bmm(shelved.view(P * J, -1, L), value.view(P * J, L, K)).view(-1, R * K)
        mixed = mixed.index_select(0, shelf.place_M).view(M, R, K)
        return torch.baddbmm(mixed, weights[:, :, L:], values)

    def _mask(self, scores: Tensor) -> None:
        """Hide the places behind shorter prompts' ends."""
        if X := self.gap_PX.shape[1]:
            gaps = scores.view(len(self.gap_PX), -1, scores.shape[2])
            gaps.narrow(2, self.gap_first, X).add_(self.gap_PX[:, None])
