"""Token rows: prompts and responses as tensors, ready for a forward pass.

P prompts of L tokens (left-padded), N rows of T response tokens (right-padded); rows of one prompt
share its tokens, so that a forward pass can encode a prompt once a group.

They stay on the host wherever the model is: how a batch is cut and packed is decided there, and
what the device needs of it is sent ahead, so that no decision waits for the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class Rows:
    prompt_PL: torch.Tensor  # int64, left-padded
    prompt_mask_PL: torch.Tensor  # bool
    prompt_N: torch.Tensor  # int64, index into P
    response_NT: torch.Tensor  # int64, right-padded
    mask_NT: torch.Tensor  # bool
    temperature_N: torch.Tensor  # float, at which log-probs are taken

    def __len__(self) -> int:
        return self.response_NT.shape[0]

    @property
    def lengths_N(self) -> torch.Tensor:
        return self.mask_NT.sum(-1)

    @cached_property
    def places_M(self) -> torch.Tensor:
        """Where the response tokens stand among the N * T places, row by row."""
        return self.mask_NT.flatten().nonzero()[:, 0]

    def placed(self, values_M: torch.Tensor) -> torch.Tensor:
        """Values of the response tokens at their places (N, T), zero elsewhere (differentiable)."""
        N, T = self.mask_NT.shape
        at_M = sent(self.places_M, values_M.device)
        return values_M.new_zeros(N * T).index_copy(0, at_M, values_M).view(N, T)

    def select(self, rows: torch.Tensor) -> "Rows":
        """Some rows (int64 indices), with the prompts that they use and no needless padding.
        The token axis T is cut to the longest response, so the result is narrower."""
        rows = rows.cpu()
        used_P, prompt_N = torch.unique(self.prompt_N[rows], return_inverse=True)
        mask_NT = self.mask_NT[rows]
        prompt_mask_PL = self.prompt_mask_PL[used_P]
        T = max(int(mask_NT.sum(-1).max()), 1) if len(mask_NT) else 0
        L = int(prompt_mask_PL.sum(-1).max()) if len(used_P) else 0
        start = self.prompt_PL.shape[1] - L
        return Rows(
            prompt_PL=self.prompt_PL[used_P, start:],
            prompt_mask_PL=prompt_mask_PL[:, start:],
            prompt_N=prompt_N,
            response_NT=self.response_NT[rows, :T],
            mask_NT=mask_NT[:, :T],
            temperature_N=self.temperature_N[rows],
        )

    def micro_batches(self, tokens: int) -> list[torch.Tensor]:
        """Row indices in chunks of at most `tokens` padded tokens (at least one row each), by
        length so that little is padding, rows of one prompt kept side by side."""
        N = len(self)
        if N == 0:
            return []
        length_N, L = self.lengths_N, self.prompt_PL.shape[1]
        if (L + int(length_N.max())) * N <= tokens:
            return [torch.arange(N)]
        # groups in order of their longest row, then rows of a group together
        prompt_N = self.prompt_N
        longest_P = torch.zeros(int(prompt_N.max()) + 1, dtype=torch.int64)
        longest_P.scatter_reduce_(0, prompt_N, length_N, "amax")
        chunks: list[list[int]] = [[]]
        width = 0
        for n in sorted(range(N), key=lambda n: (int(longest_P[prompt_N[n]]), int(prompt_N[n]))):
            width = max(width, L + int(length_N[n]))
            if chunks[-1] and width * (len(chunks[-1]) + 1) > tokens:
                chunks.append([])
                width = L + int(length_N[n])
            chunks[-1].append(n)
        return [torch.tensor(c) for c in chunks]


def pad(
    prompts: Sequence[Sequence[int]],
    prompt_N: Sequence[int],
    responses: Sequence[Sequence[int]],
    temperature_N: Sequence[float],
    pad_id: int,
) -> Rows:
    """Lists of token ids to padded tensors."""
    L = max(map(len, prompts), default=0)
    T = max(map(len, responses), default=0)
    prompt_PL = [[pad_id] * (L - len(p)) + list(p) for p in prompts]
    response_NT = [list(r) + [pad_id] * (T - len(r)) for r in responses]
    length_P = torch.tensor([len(p) for p in prompts])
    length_N = torch.tensor([len(r) for r in responses])
    return Rows(
        prompt_PL=torch.tensor(prompt_PL, dtype=torch.int64).view(len(prompts), L),
        prompt_mask_PL=torch.arange(L) >= L - length_P[:, None],
        prompt_N=torch.tensor(prompt_N, dtype=torch.int64),
        response_NT=torch.tensor(response_NT, dtype=torch.int64).view(len(responses), T),
        mask_NT=torch.arange(T) < length_N[:, None],
        temperature_N=torch.tensor(temperature_N, dtype=torch.float32),
    )


def sent(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A host tensor on its way to the device, for which the host does not wait."""
    host = host.pin_memory() if device.type == "cuda" else host
    return host.to(device, non_blocking=True)
