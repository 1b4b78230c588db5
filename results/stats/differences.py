"""Whether two methods differ, and by how much: tests, their corrections, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize
from scipy import stats as sp

from .intervals import ALPHA, Floats

DELTA = 0.02  # margin of equivalence: two points of accuracy
POWER = 0.8  # of the minimum detectable effect

Verdict = Literal["better", "worse", "equivalent", "undetermined"]


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

    return root(missing, 1e-6, 4 * critical + 10)


def root(function: Callable[[float], float], low: float, high: float) -> float:
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
