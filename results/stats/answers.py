"""What the sampled answers of one model say: pass@k, maj@k, where their variance comes from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .intervals import Floats


def pass_at_k(correct: ArrayLike, total: ArrayLike, k: int) -> Floats:
    """Chance that k of `total` samples, drawn without replacement, hold a correct one.

    `1 - C(total - correct, k) / C(total, k)`, unbiased (Chen et al., arXiv 2107.03374),
    elementwise.

    Raises:
        ValueError: k is below 1 or above the number of samples.
    """
    c, n = np.asarray(correct, float), np.asarray(total, float)
    if k < 1 or np.any(n < k):
        raise ValueError(f"pass@{k} needs 1 <= k <= samples a question; there are {n.min():.0f}")
    wrong = n - c
    # log C(wrong, k) - log C(n, k); C(wrong, k) = 0 where wrong < k
    log_ratio = (
        special.gammaln(wrong + 1)
        - special.gammaln(np.maximum(wrong - k, 0) + 1)
        - special.gammaln(n + 1)
        + special.gammaln(n - k + 1)
    )
    return np.where(wrong < k, 1.0, 1.0 - np.exp(log_ratio))


def maj_at_k(
    answers_QK: Sequence[Sequence[str | None]], correct_QK: ArrayLike, k: int | None = None
) -> Floats:
    """Chance per question that the majority of k samples is correct, shape Q.

    All correct answers are one candidate, however they are written; a sample without an answer
    (None) does not vote; a tie counts by the share of its candidates that are correct. For k
    below K the mean over all subsets of k samples, or over 1,000 drawn ones (fixed seed) where
    there are more.
    """
    correct_QK = np.asarray(correct_QK, bool)
    samples = correct_QK.shape[1]
    size = samples if k is None else k
    if not 1 <= size <= samples:
        raise ValueError(f"maj@{size} needs 1 <= k <= samples a question; there are {samples}")
    if math.comb(samples, size) <= 1000:
        subsets = np.array(list(itertools.combinations(range(samples), size)))
    else:
        subsets = np.random.default_rng(0).permuted(np.tile(np.arange(samples), (1000, 1)), axis=1)
        subsets = subsets[:, :size]
    return np.array(
        [
            _majority(answers, right, subsets)
            for answers, right in zip(answers_QK, correct_QK, strict=True)
        ]
    )


def _majority(answers: Sequence[str | None], correct: NDArray[np.bool_], subsets: NDArray) -> float:
    votes: dict[object, int] = {}  # wrong answers, numbered

    def code(answer: str | None, right: bool) -> int:
        if right:
            return 0
        missing = answer is None or answer != answer  # NaN, as pandas has it
        return -1 if missing else 1 + votes.setdefault(answer, len(votes))

    codes = np.array([code(a, bool(r)) for a, r in zip(answers, correct, strict=True)])
    counts = (codes[subsets][:, :, None] == np.arange(len(votes) + 1)).sum(1)
    top = counts.max(1, keepdims=True)
    winners = (counts == top) & (top > 0)
    return float(np.mean(winners[:, 0] / np.maximum(winners.sum(1), 1)))


class Components(NamedTuple):
    """Variances of one answer's score; shares of their sum say what more of each would buy."""

    seed: float
    question: float
    decoding: float  # between samples of one question of one run
    residual: float  # seed x question: some runs are better at some questions


def variance_components(x_SQK: ArrayLike) -> Components:
    """Crossed random effects by the method of moments (expected mean squares), negatives set to 0.
    K = 1 cannot tell decoding from residual: decoding is NaN and the residual holds both."""
    x = np.asarray(x_SQK, float)
    seeds, questions, samples = x.shape
    cells = x.mean(2)
    decoding = x.var(axis=2, ddof=1).mean() if samples > 1 else math.nan
    rest = cells - cells.mean(1, keepdims=True) - cells.mean(0) + cells.mean()
    inner = (rest**2).sum() / ((seeds - 1) * (questions - 1))
    seed = cells.mean(1).var(ddof=1) - inner / questions
    question = cells.mean(0).var(ddof=1) - inner / seeds
    residual = inner - (decoding / samples if samples > 1 else 0)
    return Components(
        max(float(seed), 0), max(float(question), 0), float(decoding), max(float(residual), 0)
    )
