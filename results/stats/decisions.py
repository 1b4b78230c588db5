"""What a verdict needs beside a t test: which rows may be the best, how rare a failure may be."""

import math
import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats as sp

from .inference import ALPHA, Difference, Interval, paired_difference, welch_difference

LEAST_SEEDS = 3  # below this no verdict is given
PLAIN = 1e-12  # differences of scores below this are rounding


def enough(d: Difference) -> bool:
    """Whether a verdict may be given: over seeds there must be three; over questions, of two single
    models, the seeds are not what is sampled."""
    return d.design == "questions" or min(d.seeds) >= LEAST_SEEDS


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
    if len(enough) < 2:
        return set()
    below = _p_below(pd.DataFrame(enough))
    if np.isnan(below[~np.eye(len(enough), dtype=bool)]).all():
        return set()
    beaten = np.nan_to_num(below, nan=1.0).min(axis=1) < level
    return {m for m, is_so in zip(enough, beaten, strict=True) if not is_so}


def _p_below(x_SM: pd.DataFrame) -> np.ndarray:
    """M x M: one-sided p of H0 that the row's method is not below the column's; paired over the
    seeds that both have, Welch's where these are fewer than three. Equal in every seed: not below;
    the same difference in every seed: its error is unknown (NaN)."""
    x = x_SM.to_numpy(float)
    gap = x[:, :, None] - x[:, None, :]
    n = (~np.isnan(gap)).sum(0)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pairs without shared seeds
        mean, se = np.nanmean(gap, axis=0), np.nanstd(gap, axis=0, ddof=1) / np.sqrt(n)
        p = sp.t.cdf(mean / se, n - 1)
    p = np.where(se > PLAIN, p, np.where(np.abs(mean) < PLAIN, 1.0, np.nan))
    for i, j in zip(*np.nonzero(n < LEAST_SEEDS), strict=True):
        d = welch_difference(x_SM.iloc[:, i].dropna(), x_SM.iloc[:, j].dropna())
        p[i, j] = sp.t.cdf(d.estimate / d.se, d.df) if d.se > PLAIN else np.nan
    return p
