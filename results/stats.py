"""The statistics of a comparison, as plain functions on arrays; docs/statistics.md says why each.

Shape suffixes: S seeds, Q questions, K samples of one question, T tasks, so `x_SQ` holds a score
per seed and question. Scores are shares (0..1) unless said otherwise. The seed is the replication
unit: where an interval is over questions alone its name says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special
from scipy import stats as sp

ALPHA = 0.05  # level of tests; intervals cover 1 - ALPHA
DELTA = 0.02  # margin of equivalence: two points of accuracy
POWER = 0.8  # of the minimum detectable effect
PROFILE_CELLS = 15  # task x seed cells that a performance profile needs

Floats = NDArray[np.float64]
Verdict = Literal["better", "worse", "equivalent", "undetermined"]


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


class Interval(NamedTuple):
    """An estimate with its error. NaN where the data cannot say."""

    mean: float
    low: float
    high: float
    se: float
    df: float
    kind: str  # what it is over, in words

    @property
    def half(self) -> float:
        """Half the width, the number behind `±`."""
        return (self.high - self.low) / 2


def _t_interval(mean: float, variance: float, df: float, alpha: float, kind: str) -> Interval:
    se = math.sqrt(variance) if variance >= 0 else math.nan
    half = se * sp.t.ppf(1 - alpha / 2, df) if df > 0 else math.nan
    return Interval(float(mean), float(mean - half), float(mean + half), se, df, kind)


def seed_interval(x_S: ArrayLike, alpha: float = ALPHA) -> Interval:
    """Student t over seeds: these questions, new seeds. One seed, or seeds without any spread, give
    a mean and NaN bounds: the error is unknown, not 0."""
    x = np.asarray(x_S, float)
    variance = x.var(ddof=1) / len(x) if len(x) > 1 and np.ptp(x) > 1e-12 else math.nan
    return _t_interval(x.mean() if len(x) else math.nan, variance, len(x) - 1, alpha, "seeds")


def _two_way_variances(x_SQ: Floats) -> tuple[float, float, float]:
    """Variance of the mean as seen by seeds, by questions, and what both count twice."""
    seeds, questions = x_SQ.shape
    by_seed, by_question = x_SQ.mean(1), x_SQ.mean(0)
    rest = x_SQ - by_seed[:, None] - by_question + x_SQ.mean()
    cell = (rest**2).sum() / ((seeds - 1) * (questions - 1)) / (seeds * questions)
    return by_seed.var(ddof=1) / seeds, by_question.var(ddof=1) / questions, cell


def two_way_interval(x_SQ: ArrayLike, alpha: float = ALPHA) -> Interval:
    """New questions and new seeds: variance V_seed + V_question - V_cell, Satterthwaite's df.

    Seeds and questions are crossed random effects. The seed part and the question part each hold
    the variance of single cells, so it is taken off once; the sum is never let fall below the
    larger part, which is a bound in expectation. A matrix of paired differences gives the paired
    interval.
    """
    x = np.asarray(x_SQ, float)
    seeds, questions = x.shape
    if seeds < 2 or questions < 2:
        return _t_interval(
            x.mean() if x.size else math.nan, math.nan, 0, alpha, "seeds and questions"
        )
    v_seed, v_question, v_cell = _two_way_variances(x)
    return _combine(
        x.mean(),
        [(v_seed, seeds - 1), (v_question, questions - 1)],
        [(v_cell, (seeds - 1) * (questions - 1))],
        alpha,
    )


def two_way_welch(a_SQ: ArrayLike, b_SQ: ArrayLike, alpha: float = ALPHA) -> Interval:
    """Difference of means, new questions and new seeds, where the seeds differ but the questions
    (columns) are the same."""
    a, b = np.asarray(a_SQ, float), np.asarray(b_SQ, float)
    difference = a.mean(0) - b.mean(0)
    questions = len(difference)
    if min(len(a), len(b), questions) < 2:
        mean = difference.mean() if questions else math.nan
        return _t_interval(mean, math.nan, 0, alpha, "seeds and questions")
    (seed_a, _, cell_a), (seed_b, _, cell_b) = _two_way_variances(a), _two_way_variances(b)
    plus = [
        (seed_a, len(a) - 1),
        (seed_b, len(b) - 1),
        (difference.var(ddof=1) / questions, questions - 1),
    ]
    minus = [
        (cell_a, (len(a) - 1) * (questions - 1)),
        (cell_b, (len(b) - 1) * (questions - 1)),
    ]
    return _combine(difference.mean(), plus, minus, alpha)


def _combine(
    mean: float, plus: list[tuple[float, int]], minus: list[tuple[float, int]], alpha: float
) -> Interval:
    """Satterthwaite: a sum of variance estimates (value, df) has df V^2 / sum(v^2 / df)."""
    variance = sum(v for v, _ in plus) - sum(v for v, _ in minus)
    variance = max(variance, *(v for v, _ in plus))
    spread = sum(v**2 / df for v, df in [*plus, *minus])
    df = variance**2 / spread if spread > 0 else 0.0  # no variance at all: the error is unknown
    return _t_interval(mean, variance, df, alpha, "seeds and questions")


def wilson(successes: float, total: float, alpha: float = ALPHA) -> Interval:
    """Wilson's score interval of a share; `total` need not be whole."""
    if total <= 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, math.inf, "questions")
    z, p = float(sp.norm.ppf(1 - alpha / 2)), successes / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    se = math.sqrt(p * (1 - p) / total)
    return Interval(p, max(centre - half, 0.0), min(centre + half, 1.0), se, math.inf, "questions")


def question_interval(x_QK: ArrayLike, alpha: float = ALPHA) -> Interval:
    """One checkpoint, new questions: Wilson on the effective number of answers.

    K samples of one question are not independent: with intraclass correlation r (one-way ANOVA,
    as in a beta-binomial) they are worth K / (1 + (K - 1) r) answers. Holds for few questions.
    """
    x = np.asarray(x_QK, float)
    questions, samples = x.shape
    if questions < 2:
        return Interval(
            x.mean() if x.size else math.nan, math.nan, math.nan, math.nan, 0, "questions"
        )
    correlation = 1.0
    if samples > 1:
        between = samples * x.mean(1).var(ddof=1)
        within = x.var(axis=1, ddof=1).mean()
        total = between + (samples - 1) * within
        correlation = float(np.clip((between - within) / total, 0, 1)) if total > 0 else 1.0
    effective = questions * samples / (1 + (samples - 1) * correlation)
    # t for z: the correlation is itself estimated from the questions (Korn and Graubard)
    effective *= (sp.norm.ppf(1 - alpha / 2) / sp.t.ppf(1 - alpha / 2, questions - 1)) ** 2
    return wilson(float(x.mean() * effective), float(effective), alpha)


@dataclass(frozen=True)
class Difference:
    """a minus b over seeds. NaN where the data cannot say."""

    estimate: float
    low: float  # 1 - alpha interval, not adjusted for other comparisons
    high: float
    se: float
    df: float
    p: float  # two-sided, H0: no difference
    p_equivalent: float  # TOST, H0: at least `delta` apart
    mde: float  # smallest true difference found with power 0.8
    design: Literal["paired", "welch"]
    seeds: tuple[int, int]


def paired_difference(
    a_S: ArrayLike,
    b_S: ArrayLike = 0.0,
    delta: float = DELTA,
    alpha: float = ALPHA,
    power: float = POWER,
) -> Difference:
    """Paired t over shared seeds (`a_S` may hold the differences). Differences without any spread,
    as few questions give by chance, have an unknown error: there is no interval, and p is NaN; or 1
    where all are 0, as no flip of signs changes their mean. See `never_apart`."""
    d = np.asarray(a_S, float) - np.asarray(b_S, float)
    se = d.std(ddof=1) / math.sqrt(len(d)) if len(d) > 1 else math.nan
    return _difference(d.mean(), se, len(d) - 1, delta, alpha, power, "paired", (len(d), len(d)))


def welch_difference(
    a: ArrayLike, b: ArrayLike, delta: float = DELTA, alpha: float = ALPHA, power: float = POWER
) -> Difference:
    """Welch's t, where the seeds of the two differ."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    estimate = a.mean() - b.mean()
    if min(len(a), len(b)) < 2:
        return _difference(estimate, math.nan, 0, delta, alpha, power, "welch", (len(a), len(b)))
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    spread = va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)
    df = (va + vb) ** 2 / spread if spread > 0 else 1.0
    return _difference(
        estimate, math.sqrt(va + vb), df, delta, alpha, power, "welch", (len(a), len(b))
    )


def _difference(
    estimate: float, se: float, df: float, delta: float, alpha: float, power: float,
    design: Literal["paired", "welch"], seeds: tuple[int, int],
) -> Difference:  # fmt: skip
    estimate, se = float(estimate), float(se)
    if not se > 1e-12:  # one seed, or no spread at all
        n, tied = math.nan, design == "paired" and se == se and abs(estimate) < 1e-12
        return Difference(estimate, n, n, se, df, 1.0 if tied else n, n, n, design, seeds)
    half = se * float(sp.t.ppf(1 - alpha / 2, df))
    p = 2 * sp.t.sf(abs(estimate) / se, df)
    p_equivalent = max(sp.t.sf((estimate + delta) / se, df), sp.t.sf((delta - estimate) / se, df))
    return Difference(
        estimate, estimate - half, estimate + half, se, df, float(p), float(p_equivalent),
        mde(se, df, alpha, power), design, seeds,
    )  # fmt: skip


def never_apart(cells: int, delta: float = DELTA) -> float:
    """`p_equivalent` where no score of any seed and question (`cells` of them) differs, so that a t
    test has no spread to work with: (1 - delta)^cells, the chance to see that if a share delta of
    the scores did differ, which a difference of means of delta needs. Few questions show nothing:
    149 cells for 2 points."""
    return (1 - delta) ** cells


def mde(se: float, df: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """Minimum detectable effect: the true difference that a two-sided t test of level alpha finds
    with the given power (non-central t)."""
    return se * _noncentrality(float(df), alpha, power) if se > 0 and df > 0 else math.nan


@lru_cache(maxsize=1024)
def _noncentrality(df: float, alpha: float, power: float) -> float:
    critical = float(sp.t.ppf(1 - alpha / 2, df))

    def missing(shift: float) -> float:  # finding it with the wrong sign adds less than 1e-6
        return float(sp.nct.sf(critical, df, shift)) - power

    return _root(missing, 1e-6, 4 * critical + 10)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.root_scalar(function, bracket=(low, high)).root)


def holm(p: ArrayLike) -> Floats:
    """Holm's adjusted p-values over one declared family. NaN (not tested) stays and counts not."""
    p = np.asarray(p, float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = (len(order) - np.arange(len(order))) * p[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def verdict(estimate: float, p: float, p_equivalent: float, alpha: float = ALPHA) -> Verdict:
    """Better or worse where the difference is significant, equivalent where it is shown to lie
    within the margin, else undetermined. Both p-values adjusted for the family by the caller. A
    difference that is significant and within the margin is called by its sign."""
    if p < alpha:
        return "better" if estimate > 0 else "worse"
    return "equivalent" if p_equivalent < alpha else "undetermined"


def smallest_permutation_p(seeds: int, paired: bool) -> float:
    """The least two-sided p that a permutation test can give with `seeds` runs a method."""
    ways = 2**seeds if paired else math.comb(2 * seeds, seeds)
    return min(2 / ways, 1.0)


def sign_flip_p(d_S: ArrayLike) -> float:
    """Exact two-sided paired permutation test of the mean (all sign flips; up to 20 seeds)."""
    d = np.asarray(d_S, float)
    if len(d) > 20:
        raise ValueError(f"{len(d)} seeds have too many sign flips; use the paired t test")
    signs = np.array(list(itertools.product([1, -1], repeat=len(d))))
    means = np.abs((signs * d).mean(1))
    return float(np.mean(means >= abs(d.mean()) - 1e-12))


class McNemar(NamedTuple):
    p: float
    only_a: int  # questions that a alone has right
    only_b: int


def mcnemar(a_Q: ArrayLike, b_Q: ArrayLike) -> McNemar:
    """Exact McNemar test of two single checkpoints on the same questions: it says nothing about the
    methods, whose replication unit is the seed."""
    from statsmodels.stats.contingency_tables import mcnemar as test

    a, b = np.asarray(a_Q, bool), np.asarray(b_Q, bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    table = [[int((a & b).sum()), only_a], [only_b, int((~a & ~b).sum())]]
    found: Any = test(table, exact=True)
    return McNemar(float(found.pvalue), only_a, only_b)


def iqm(x: ArrayLike) -> Floats:
    """Interquartile mean, over the last axis: of the middle half of all values."""
    return sp.trim_mean(np.asarray(x, float), 0.25, axis=-1)


def optimality_gap(x: ArrayLike, target: float = 1.0) -> Floats:
    """How far below `target` the runs are on average, over the last axis; above it counts as at
    it."""
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
    tasks = [np.asarray(s, float) for s in scores]
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([t[rng.integers(0, len(t), (draws, len(t)))] for t in tasks], axis=1)
    everything = np.concatenate(tasks)
    kind = f"seeds, stratified bootstrap, {draws} draws"
    return {
        name: _bootstrap(float(function(everything)), function(drawn), alpha, kind)
        for name, function in AGGREGATES.items()
    }


def _bootstrap(estimate: float, drawn: Floats, alpha: float, kind: str) -> Interval:
    low, high = np.quantile(drawn, [alpha / 2, 1 - alpha / 2])
    return Interval(estimate, float(low), float(high), float(drawn.std(ddof=1)), math.nan, kind)


def performance_profile(
    scores: Sequence[ArrayLike], thresholds: ArrayLike, draws: int = 2000, alpha: float = ALPHA
) -> tuple[Floats, Floats, Floats]:
    """Share of task x seed cells above each threshold, with a pointwise stratified bootstrap band.

    Raises:
        ValueError: fewer than 15 cells, where a profile is a staircase of noise.
    """
    tasks = [np.asarray(s, float) for s in scores]
    cells = sum(len(t) for t in tasks)
    if cells < PROFILE_CELLS:
        raise ValueError(
            f"a performance profile needs about 15 task x seed cells; there are {cells}"
        )
    tau = np.asarray(thresholds, float)
    rng = np.random.default_rng(0)
    drawn = np.concatenate([t[rng.integers(0, len(t), (draws, len(t)))] for t in tasks], axis=1)
    shares = np.stack([(drawn > t).mean(1) for t in tau], axis=1)
    low, high = np.quantile(shares, [alpha / 2, 1 - alpha / 2], axis=0)
    everything = np.concatenate(tasks)
    return (everything[:, None] > tau).mean(0), low, high


def probability_of_improvement(
    x: Sequence[ArrayLike], y: Sequence[ArrayLike], alpha: float = ALPHA
) -> Interval:
    """P(X > Y) + P(X = Y)/2 of a run of x against one of y, mean over tasks; an array of seeds a
    task.

    Newcombe's score-type interval in each task (Statistics in Medicine 25, 2006, method 5),
    combined by his square-and-add rule. Unlike a bootstrap it stays open where one method wins
    every pair, and it holds for few seeds.
    """
    pairs = [(np.asarray(a, float), np.asarray(b, float)) for a, b in zip(x, y, strict=True)]
    theta = np.array([_wins(a, b) for a, b in pairs])
    bounds = np.array(
        [_newcombe(t, len(a), len(b), alpha) for t, (a, b) in zip(theta, pairs, strict=True)]
    )
    below, above = np.sqrt(((bounds.T - theta) ** 2).sum(1)) / len(theta)
    mean = float(theta.mean())
    return Interval(
        mean, max(mean - below, 0.0), min(mean + above, 1.0), math.nan, math.inf, "seeds, Newcombe"
    )


def _wins(a: Floats, b: Floats) -> float:
    """Share of pairs that a wins, ties half."""
    return float((np.sign(a[:, None] - b) + 1).mean() / 2)


def _newcombe(theta: float, m: int, n: int, alpha: float) -> tuple[float, float]:
    z, centre = float(sp.norm.ppf(1 - alpha / 2)), (m + n) / 2 - 1

    def excess(t: float) -> float:
        variance = t * (1 - t) * (1 + centre * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)
        return (t - theta) ** 2 - z**2 * variance

    # theta itself is a root where it is 0 or 1: the other one is wanted
    low = 0.0 if theta == 0 else _root(excess, 0.0, min(theta, 1 - 1e-9))
    high = 1.0 if theta == 1 else _root(excess, max(theta, 1e-9), 1.0)
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


class Audit(NamedTuple):
    """A checker against labels."""

    accuracy: Interval
    false_negatives: Interval  # share of right answers that it refuses
    false_positives: Interval  # share of wrong answers that it accepts


def checker_audit(verdict_N: ArrayLike, label_N: ArrayLike) -> Audit:
    """How often a checker's verdicts differ from labels, with Wilson intervals."""
    said, label = np.asarray(verdict_N, bool), np.asarray(label_N, bool)
    return Audit(
        wilson((said == label).sum(), len(label)),
        wilson((~said & label).sum(), label.sum()),
        wilson((said & ~label).sum(), (~label).sum()),
    )
