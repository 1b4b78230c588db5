"""What a run has spent, on every axis; every row of steps.jsonl holds it (results/records.py)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bench.core import memory
from bench.model.rows import Rows
from results.records import COUNTED, LedgerRow


@dataclass(frozen=True)
class Flops:
    """Analytic cost of a model's forward pass: two per multiply-accumulate; attention counted over
    the tokens that each query sees; embeddings and element-wise work left out."""

    linear: int  # weights multiplied with every token
    head: int  # weights of the output layer, where logits are taken
    attention: int  # per query token and visible key: 2 * (QK^T and AV) * layers * width
    frozen: int = 0  # of the linear weights, those that get no gradient
    head_frozen: bool = False

    @classmethod
    def of(cls, model: Any) -> Flops:
        config = model.config.get_text_config()
        output = model.get_output_embeddings().weight
        tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
        tables.add(id(output))
        matrices = [p for p in model.parameters() if p.dim() >= 2 and id(p) not in tables]
        width = config.num_attention_heads * (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        return cls(
            sum(p.numel() for p in matrices),
            output.numel(),
            4 * config.num_hidden_layers * width,
            sum(p.numel() for p in matrices if not p.requires_grad),
            head_frozen=not output.requires_grad,
        )

    def training(self, rows: Rows, head: bool = True) -> float:
        """Forward and backward, which costs twice as much, or once where a weight is frozen."""
        tokens = int(rows.prompt_mask_PL.sum()) + int(rows.mask_NT.sum())
        logits = int(rows.mask_NT.sum()) if head and self.head_frozen else 0
        return 3 * self.forward(rows, head) - 2 * self.frozen * tokens - 2 * self.head * logits

    def forward(self, rows: Rows, head: bool = True) -> float:
        """Each prompt once, each response token on top of it."""
        prompt_P = rows.prompt_mask_PL.sum(-1).double()
        length_N = rows.lengths_N.double()
        return self.forward_lengths(prompt_P, prompt_P[rows.prompt_N], length_N, head)

    def forward_lengths(
        self,
        prompt_P: torch.Tensor,
        prompt_N: torch.Tensor,
        length_N: torch.Tensor,
        head: bool = True,
    ) -> float:
        tokens = prompt_P.sum() + length_N.sum()
        seen = (prompt_P * (prompt_P + 1) / 2).sum()
        seen = seen + (length_N * prompt_N + length_N * (length_N + 1) / 2).sum()
        logits = length_N.sum() if head else 0.0
        return float(2 * self.linear * tokens + self.attention * seen + 2 * self.head * logits)


class Ledger(LedgerRow):
    """What a run has spent so far: counted here, stored as LedgerRow."""

    def spent(self, axis: str) -> float:
        return float(getattr(self, axis))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase: sample, grade, score, train, evaluate or store. Phases do not nest."""
        start = time.perf_counter()
        yield
        key = f"seconds_{name}"
        setattr(self, key, getattr(self, key) + time.perf_counter() - start)

    def now(self) -> LedgerRow:
        """A copy, with the peak of memory up to now."""
        self.peak_memory_bytes = max(self.peak_memory_bytes, peak_memory())
        return LedgerRow(**asdict(self))

    def row(self) -> dict[str, float]:
        """What it adds to a row of steps.jsonl."""
        now = self.now()
        return {name: getattr(now, name) for name in COUNTED}


def peak_memory() -> int:
    """Bytes: allocated on the GPU where one is used, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return memory.peak()


def forget_peak() -> None:
    """Watch the peak anew: a worker's next run begins."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    memory.forget_peak()
