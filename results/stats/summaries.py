"""Many answers, runs or trials in one number, and where their variance comes from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy import stats as sp

from .inference import ALPHA, Floats, Interval, root

PROFILE_CELLS = 15  # task x seed cells that a performance profile needs


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
    questions = zip(answers_QK, correct_QK, strict=True)
    return np.array([_majority(answers, right, subsets) for answers, right in questions])


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
    """Variances of one answer's score, or of a mean (`of_the_mean`)."""

    seed: float
    question: float
    decoding: float  # between samples of one question of one run
    residual: float  # seed x question: some runs are better at some questions

    def of_the_mean(self, seeds: int, questions: int, samples: int) -> Components:
        """Variances of the mean over so many seeds, questions and samples of each: their sum is the
        variance V_seed + V_question - V_cell of `two_way_interval`, before its bounds."""
        cells = seeds * questions
        return Components(
            self.seed / seeds, self.question / questions,
            decoding=self.decoding / (cells * samples), residual=self.residual / cells,
        )  # fmt: skip


def variance_components(x_SQK: ArrayLike) -> Components:
    """Crossed random effects by the method of moments (expected mean squares), negatives set to 0.
    K = 1 cannot tell decoding from residual: decoding is NaN and the residual holds both."""
    x = np.asarray(x_SQK, float)
    seeds, questions, samples = x.shape
    cells = x.mean(2)
    decoding = x.var(axis=2, ddof=1).mean() if samples > 1 else math.nan
    rest = cells - cells.mean(1, keepdims=True) - cells.mean(0) + cells.mean()
    inner = (rest**2).sum() / ((seeds - 1) * (questions - 1))
    seed = max(float(cells.mean(1).var(ddof=1) - inner / questions), 0)
    question = max(float(cells.mean(0).var(ddof=1) - inner / seeds), 0)
    residual = max(float(inner - (decoding / samples if samples > 1 else 0)), 0)
    return Components(seed, question, float(decoding), residual)


def iqm(x: ArrayLike) -> Floats:
    """Interquartile mean, over the last axis: of the middle half of all values."""
    return sp.trim_mean(np.asarray(x, float), 0.25, axis=-1)


def optimality_gap(x: ArrayLike, target: float = 1.0) -> Floats:
    """Mean shortfall from `target` over the last axis; what lies above counts as at it."""
    return np.maximum(target - np.asarray(x, float), 0).mean(-1)


AGGREGATES: dict[str, Callable[[Floats], Floats]] = {
    "iqm": iqm,
    "median": partial(np.median, axis=-1),
    "mean": partial(np.mean, axis=-1),
    "optimality_gap": optimality_gap,
}


def aggregate(
    scores: Sequence[ArrayLike], draws: int = 2000, alpha: float = ALPHA, seed: int = 0
) -> dict[str, Interval]:
    """IQM, median, mean and optimality gap over all task x seed cells, one array of seeds a task.

    Stratified percentile bootstrap: seeds are redrawn within each task (Agarwal et al., arXiv
    2108.13264). Percentile intervals are too narrow for few seeds: secondary below 10.
    """
    everything, redrawn = _redrawn(scores, draws, seed)
    kind, found = f"seeds, stratified bootstrap, {draws} draws", {}
    for name, function in AGGREGATES.items():
        drawn = function(redrawn)
        low, high = map(float, np.quantile(drawn, [alpha / 2, 1 - alpha / 2]))
        mean, se = float(function(everything)), float(drawn.std(ddof=1))
        found[name] = Interval(mean, low, high, se, df=math.nan, kind=kind)
    return found


def _redrawn(scores: Sequence[ArrayLike], draws: int, seed: int) -> tuple[Floats, Floats]:
    """All cells, and draws x cells with the seeds of each task drawn anew."""
    tasks = [np.asarray(s, float) for s in scores]
    rng = np.random.default_rng(seed)
    drawn = [t[rng.integers(0, len(t), (draws, len(t)))] for t in tasks]
    return np.concatenate(tasks), np.concatenate(drawn, axis=1)


def performance_profile(
    scores: Sequence[ArrayLike], thresholds: ArrayLike, draws: int = 2000, alpha: float = ALPHA
) -> tuple[Floats, Floats, Floats]:
    """Share of task x seed cells above each threshold, with a pointwise stratified bootstrap band.

    Raises:
        ValueError: fewer than 15 cells, where a profile is a staircase of noise.
    """
    cells = sum(map(len, scores))
    if cells < PROFILE_CELLS:
        needed = f"about {PROFILE_CELLS} task x seed cells"
        raise ValueError(f"a performance profile needs {needed}; there are {cells}")
    tau = np.asarray(thresholds, float)
    everything, drawn = _redrawn(scores, draws, seed=0)
    shares = np.stack([(drawn > t).mean(1) for t in tau], axis=1)
    low, high = np.quantile(shares, [alpha / 2, 1 - alpha / 2], axis=0)
    return (everything[:, None] > tau).mean(0), low, high


def probability_of_improvement(
    x: Sequence[ArrayLike], y: Sequence[ArrayLike], alpha: float = ALPHA
) -> Interval:
    """P(X > Y) + P(X = Y)/2 of a run of x against one of y, mean over tasks; seeds by task.

    Newcombe's score-type interval in each task (Statistics in Medicine 25, 2006, method 5),
    combined by his square-and-add rule. Unlike a bootstrap it stays open where one method wins
    every pair, and it holds for few seeds.
    """
    pairs = [(np.asarray(a, float), np.asarray(b, float)) for a, b in zip(x, y, strict=True)]
    theta = np.array([_wins(a, b) for a, b in pairs])
    sized = [(t, len(a), len(b)) for t, (a, b) in zip(theta, pairs, strict=True)]
    bounds = np.array([_newcombe(*one, alpha) for one in sized])
    below, above = np.sqrt(((bounds.T - theta) ** 2).sum(1)) / len(theta)
    mean = float(theta.mean())
    low, high = max(mean - below, 0.0), min(mean + above, 1.0)
    return Interval(mean, low, high, math.nan, df=math.inf, kind="seeds, Newcombe")


def _wins(a: Floats, b: Floats) -> float:
    """Share of pairs that a wins, ties half."""
    return float((np.sign(a[:, None] - b) + 1).mean() / 2)


def _newcombe(theta: float, m: int, n: int, alpha: float) -> tuple[float, float]:
    z, centre = float(sp.norm.ppf(1 - alpha / 2)), (m + n) / 2 - 1

    def excess(t: float) -> float:
        variance = t * (1 - t) * (1 + centre * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        return (t - theta) ** 2 - z**2 * variance

    # theta itself is a root where it is 0 or 1: the other one is wanted
    low = 0.0 if theta == 0 else root(excess, 0.0, min(theta, 1 - 1e-9))
    high = 1.0 if theta == 1 else root(excess, max(theta, 1e-9), 1.0)
    return low, high


def normalised_auc(x: ArrayLike, y: ArrayLike, until: float) -> float:
    """Mean height of the curve from its first point to the budget `until` (trapezoids); past its
    last point a curve stays where it is, so a run that diverged counts as its last value."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if not len(x) or until <= x[0]:
        return math.nan
    grid = np.append(x[x < until], until)
    return float(np.trapezoid(np.interp(grid, x, y), grid) / (until - grid[0]))


def time_to_threshold(
    x: ArrayLike, y: ArrayLike, threshold: float, until: float
) -> tuple[float, bool]:
    """(cost at which the curve first reaches the threshold, True), linear between evaluations; or
    (until, False) where it never does: right-censored."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    above = np.flatnonzero(y >= threshold)
    if not len(above):
        return until, False
    i = above[0]
    at = x[i]
    if i > 0:
        at = x[i - 1] + (threshold - y[i - 1]) / (y[i] - y[i - 1]) * (x[i] - x[i - 1])
    return (float(at), True) if at <= until else (until, False)


def restricted_mean(times: ArrayLike, reached: ArrayLike, until: float) -> float:
    """Mean of min(time, until) under right-censoring: the area under Kaplan and Meier's curve."""
    times, reached = np.asarray(times, float), np.asarray(reached, bool)
    area, survival, last = 0.0, 1.0, 0.0
    for t in np.unique(times[reached & (times < until)]):
        area += survival * (t - last)
        survival *= 1 - np.sum(reached & (times == t)) / np.sum(times >= t)
        last = t
    return float(area + survival * (until - last))


def expected_best(scores: ArrayLike) -> Floats:
    """Expected best validation score of the first 1..N of N tuning trials in random order.

    The mean over all subsets of n trials, unbiased for n independent trials (Tang et al., arXiv
    2004.13705; drawing with replacement, as in Dodge et al. 2019, is biased low). Shape N.
    """
    ordered = np.sort(np.asarray(scores, float))
    total = len(ordered)
    rank, n = np.arange(1, total + 1)[None, :], np.arange(1, total + 1)[:, None]
    # P(the i-th smallest is the best of n) = C(i - 1, n - 1) / C(N, n)
    weight = special.comb(rank - 1, n - 1) / special.comb(total, n)
    return (weight * ordered).sum(1)
