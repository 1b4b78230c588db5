"""What a verdict needs beside a t test: which rows may be the best, how rare a failure may be."""

import math
from collections.abc import Mapping

import pandas as pd
from scipy import stats as sp

from .inference import ALPHA, Difference, Interval, paired_difference, welch_difference

LEAST_SEEDS = 3  # below this no verdict is given
PLAIN = 1e-12  # differences of scores below this are rounding


def exact_share(hits: int, total: int, alpha: float = ALPHA) -> Interval:
    """Clopper and Pearson's exact interval of a share, e.g. of runs that fail."""
    if total == 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, df=0, kind="runs")
    found = sp.binomtest(hits, total).proportion_ci(1 - alpha, method="exact")
    p = hits / total
    se = math.sqrt(p * (1 - p) / total)
    return Interval(p, float(found.low), float(found.high), se, df=math.inf, kind="runs")


def p_outside(d: Difference, delta: float) -> float:
    """p of H0: the true difference lies within ±delta. At the margin it is exact: both tails
    count. NaN where the error is unknown."""
    if not d.se > PLAIN:
        return math.nan
    size = abs(d.estimate)
    return min(1.0, float(sum(sp.t.sf((size - s) / d.se, d.df) for s in (delta, -delta))))


def pair(a_S: pd.Series, b_S: pd.Series, delta: float, alpha: float = ALPHA) -> Difference:
    """a minus b, scores indexed by seed: paired over shared seeds where there are enough of them
    (or no others), else Welch's."""
    shared = a_S.index.intersection(b_S.index)
    if len(shared) >= LEAST_SEEDS or len(shared) == len(a_S) == len(b_S) > 0:
        return paired_difference(a_S[shared] - b_S[shared], delta=delta, alpha=alpha)
    return welch_difference(a_S, b_S, delta, alpha)


def best_set(
    scores: Mapping[str, pd.Series], alpha: float = ALPHA, rows: int | None = None
) -> set[str]:
    """Confidence set of the best: contains the method with the highest true mean with probability
    1 - alpha, whatever was picked from the data.

    A row leaves the set where a one-sided paired t test against any other row calls it worse at
    level alpha / (rows - 1) (Bonferroni over the tests that could remove the true best). Rows with
    fewer than three seeds cannot be tested and are not in it; empty where nothing can be tested.

    Args:
        scores: method -> mean score, indexed by seed.
        rows: how many methods were planned; None: as many as there are.
    """
    enough = {m: x for m, x in scores.items() if len(x) >= LEAST_SEEDS}
    level = alpha / max((rows or len(enough)) - 1, len(enough) - 1, 1)
    kept, tested = set(), False
    for method, x in enough.items():
        below = [_p_below(x, other) for name, other in enough.items() if name != method]
        tested |= any(p == p for p in below)
        if not any(p < level for p in below):
            kept.add(method)
    return kept if tested else set()


def _p_below(x_S: pd.Series, other_S: pd.Series) -> float:
    """One-sided p of H0: x is not below the other."""
    d = pair(x_S, other_S, delta=1.0)
    if not d.se > PLAIN:  # equal in every seed: not below; else its error is unknown
        return 1.0 if abs(d.estimate) < PLAIN else math.nan
    return float(sp.t.cdf(d.estimate / d.se, d.df))
