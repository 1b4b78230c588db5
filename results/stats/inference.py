"""How far a mean may be off, and whether two differ: intervals, tests, corrections, the verdict."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy import stats as sp

ALPHA = 0.05  # level of tests; intervals cover 1 - ALPHA
DELTA = 0.02  # margin of equivalence: two points of accuracy
POWER = 0.8  # of the minimum detectable effect

Floats = NDArray[np.float64]
# depends: significant with opposite signs under two ways of measuring (results/compare.py)
Verdict = Literal["better", "worse", "equivalent", "undetermined", "depends"]


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
    return Interval(float(mean), float(mean - half), float(mean + half), se, df=df, kind=kind)


def seed_interval(x_S: ArrayLike, alpha: float = ALPHA) -> Interval:
    """Student t over seeds: these questions, new seeds. One seed, or seeds without any spread, give
    a mean and NaN bounds: the error is unknown, not 0."""
    x = np.asarray(x_S, float)
    variance = x.var(ddof=1) / len(x) if len(x) > 1 and np.ptp(x) > 1e-12 else math.nan
    return _t_interval(x.mean() if len(x) else math.nan, variance, len(x) - 1, alpha, kind="seeds")


def _two_way_parts(x_SQ: Floats) -> list[tuple[float, int]]:
    """Variance of the mean as seen by seeds, by questions, and what both count twice; with df."""
    seeds, questions = x_SQ.shape
    by_seed, by_question = x_SQ.mean(1), x_SQ.mean(0)
    rest = x_SQ - by_seed[:, None] - by_question + x_SQ.mean()
    df = (seeds - 1) * (questions - 1)
    cell = (rest**2).sum() / df / (seeds * questions)
    v_seed, v_question = by_seed.var(ddof=1) / seeds, by_question.var(ddof=1) / questions
    return [(v_seed, seeds - 1), (v_question, questions - 1), (cell, df)]


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
        mean = x.mean() if x.size else math.nan
        return _t_interval(mean, math.nan, 0, alpha, kind="seeds and questions")
    seed, question, cell = _two_way_parts(x)
    return _combine(x.mean(), [seed, question], [cell], alpha)


def two_way_welch(a_SQ: ArrayLike, b_SQ: ArrayLike, alpha: float = ALPHA) -> Interval:
    """Difference of means, new questions and new seeds, where the seeds differ but the questions
    (columns) are the same."""
    a, b = np.asarray(a_SQ, float), np.asarray(b_SQ, float)
    difference = a.mean(0) - b.mean(0)
    questions = len(difference)
    if min(len(a), len(b), questions) < 2:
        mean = difference.mean() if questions else math.nan
        return _t_interval(mean, math.nan, 0, alpha, kind="seeds and questions")
    (seed_a, _, cell_a), (seed_b, _, cell_b) = _two_way_parts(a), _two_way_parts(b)
    question = (difference.var(ddof=1) / questions, questions - 1)
    return _combine(difference.mean(), [seed_a, seed_b, question], [cell_a, cell_b], alpha)


def _combine(
    mean: float, plus: list[tuple[float, int]], minus: list[tuple[float, int]], alpha: float
) -> Interval:
    """Satterthwaite: a sum of variance estimates (value, df) has df V^2 / sum(v^2 / df)."""
    variance = sum(v for v, _ in plus) - sum(v for v, _ in minus)
    variance = max(variance, *(v for v, _ in plus))
    spread = sum(v**2 / df for v, df in [*plus, *minus])
    df = variance**2 / spread if spread > 0 else 0.0  # no variance at all: the error is unknown
    return _t_interval(mean, variance, df, alpha, kind="seeds and questions")


def wilson(successes: float, total: float, alpha: float = ALPHA) -> Interval:
    """Wilson's score interval of a share; `total` need not be whole."""
    if total <= 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, df=math.inf, kind="questions")
    z, p = float(sp.norm.ppf(1 - alpha / 2)), successes / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    se = math.sqrt(p * (1 - p) / total)
    low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    return Interval(p, low, high, se, df=math.inf, kind="questions")


def question_interval(x_QK: ArrayLike, alpha: float = ALPHA) -> Interval:
    """One checkpoint, new questions: Wilson on the effective number of answers.

    K samples of one question are not independent: with intraclass correlation r (one-way ANOVA,
    as in a beta-binomial) they are worth K / (1 + (K - 1) r) answers. Holds for few questions.
    """
    x = np.asarray(x_QK, float)
    questions, samples = x.shape
    if questions < 2:
        mean = x.mean() if x.size else math.nan
        return Interval(mean, math.nan, math.nan, math.nan, df=0, kind="questions")
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
    design: Literal["paired", "welch", "questions"]
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
    return _difference(
        d.mean(),
        se,
        len(d) - 1,
        delta,
        alpha=alpha,
        power=power,
        design="paired",
        seeds=(len(d), len(d)),
    )


def welch_difference(
    a: ArrayLike, b: ArrayLike, delta: float = DELTA, alpha: float = ALPHA, power: float = POWER
) -> Difference:
    """Welch's t, where the seeds of the two differ."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    estimate = a.mean() - b.mean()
    if min(len(a), len(b)) < 2:
        return _difference(
            estimate,
            math.nan,
            0,
            delta,
            alpha=alpha,
            power=power,
            design="welch",
            seeds=(len(a), len(b)),
        )
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    spread = va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)
    df = (va + vb) ** 2 / spread if spread > 0 else 1.0
    return _difference(
        estimate,
        math.sqrt(va + vb),
        df,
        delta,
        alpha=alpha,
        power=power,
        design="welch",
        seeds=(len(a), len(b)),
    )


def _difference(
    estimate: float, se: float, df: float, delta: float, alpha: float, power: float,
    design: Literal["paired", "welch"], seeds: tuple[int, int],
) -> Difference:  # fmt: skip
    estimate, se = float(estimate), float(se)
    if not se > 1e-12:  # one seed, or no spread at all
        tied = design == "paired" and se == se and abs(estimate) < 1e-12
        unknown = dict.fromkeys(("low", "high", "p_equivalent", "mde"), math.nan)
        p = 1.0 if tied else math.nan
        return Difference(estimate, se=se, df=df, p=p, design=design, seeds=seeds, **unknown)
    half = se * float(sp.t.ppf(1 - alpha / 2, df))
    p = 2 * sp.t.sf(abs(estimate) / se, df)
    p_equivalent = max(sp.t.sf((estimate + delta) / se, df), sp.t.sf((delta - estimate) / se, df))
    return Difference(
        estimate, estimate - half, estimate + half, se, df=df, p=float(p),
        p_equivalent=float(p_equivalent), mde=mde(se, df, alpha, power), design=design, seeds=seeds,
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

    return root(missing, 1e-6, 4 * critical + 10)


def root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.root_scalar(function, bracket=(low, high)).root)


def holm(p: ArrayLike, size: int = 0) -> Floats:
    """Holm's adjusted p-values over one declared family of `size` tests, at least those given with
    a p. NaN (not tested) stays; whether it counts is a matter of `size`."""
    p = np.asarray(p, float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = (max(size, len(order)) - np.arange(len(order))) * p[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def verdict(estimate: float, p: float, p_equivalent: float, alpha: float = ALPHA) -> Verdict:
    """Better or worse where the difference is significant, equivalent where it is shown to lie
    within the margin, else undetermined. Both p-values adjusted for the family by the caller. A
    difference that is significant and within the margin is called by its sign."""
    if p < alpha:
        return "better" if estimate > 0 else "worse"
    return "equivalent" if p_equivalent < alpha else "undetermined"


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
