"""What a run has spent, on every axis; a row of it stands in each step (results/records.py)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bench.core import memory
from bench.model.rows import Rows


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
            not output.requires_grad,
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


@dataclass
class Ledger:
    """Cumulative counts under the names of results.records.LEDGER_COLUMNS."""

    updates: int = 0
    prompts: int = 0
    samples: int = 0
    tokens_prompt: int = 0
    tokens_sampled: int = 0
    tokens_scored: int = 0
    tokens_reference: int = 0
    tokens_critic: int = 0
    tokens_trained: int = 0
    verifier_calls: int = 0
    flops_sample: float = 0.0
    flops_score: float = 0.0
    flops_reference: float = 0.0
    flops_critic: float = 0.0
    flops_train: float = 0.0
    flops_recomputed: float = 0.0
    flops_evaluate: float = 0.0
    seconds_sample: float = 0.0
    seconds_grade: float = 0.0
    seconds_score: float = 0.0
    seconds_train: float = 0.0
    seconds_evaluate: float = 0.0
    seconds_store: float = 0.0
    empty_updates: int = 0
    peak_memory_bytes: int = 0

    @property
    def tokens(self) -> int:
        return self.tokens_sampled + self.tokens_trained

    @property
    def flops(self) -> float:
        return (
            self.flops_sample
            + self.flops_score
            + self.flops_reference
            + self.flops_critic
            + self.flops_train
        )

    @property
    def seconds(self) -> float:
        return self.seconds_sample + self.seconds_grade + self.seconds_score + self.seconds_train

    def spent(self, axis: str) -> float:
        return float(getattr(self, axis))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase: sample, grade, score, train, evaluate or store. Phases do not nest."""
        start = time.perf_counter()
        yield
        key = f"seconds_{name}"
        setattr(self, key, getattr(self, key) + time.perf_counter() - start)

    def row(self) -> dict[str, float]:
        self.peak_memory_bytes = max(self.peak_memory_bytes, peak_memory())
        counts = asdict(self)
        return {**counts, "tokens": self.tokens, "flops": self.flops, "seconds": self.seconds}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Ledger:
        return cls(**{k: v for k, v in row.items() if k not in ("tokens", "flops", "seconds")})


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
