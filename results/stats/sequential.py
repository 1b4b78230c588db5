"""Seeds until it is settled: a test of paired differences that may be looked at after every seed.

Differences d_1, d_2, ... of seeds are normal with mean mu and deviation sigma, both unknown. H1
says mu / sigma ~ N(0, g), H0 says mu = 0, and both have the scale-invariant prior 1 / sigma. Under
H1 and given sigma, the vector d is N(0, sigma^2 (I + g 1 1')), whose determinant is
sigma^2n (1 + n g) and whose quadratic form is (v s^2 + n mean^2 / (1 + n g)) / sigma^2, v = n - 1.
The integral over sigma of either density is proportional to
determinant^(-1/2) (quadratic form)^(-n/2), so their ratio, with t^2 = n mean^2 / s^2, is

    B_n = (1 + n g)^(-1/2) ((1 + t^2 / v) / (1 + t^2 / (v (1 + n g))))^(n/2)

(Rouder et al. 2009 with a normal prior; right-Haar priors: Hendriksen, de Heide and Grunwald 2021,
arXiv 1807.09077). B_n depends on the data through d / |d_1| alone, whose distribution under H0 has
no unknown, and is a ratio of densities of it: a martingale with mean 1. By Ville's inequality it
ever passes 1 / alpha with probability at most alpha, whatever makes one stop. All mu that are not
rejected at a time form a confidence sequence: it covers the true mean at all times together.

The bound is for normal differences; NULLS holds what was simulated with others.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .inference import ALPHA, DELTA, Floats, Interval, Verdict

PRIOR = 16.0  # g; 4 to 16 settle effects of 2 to 8 deviations soonest, and at about the same time
FIRST = 3  # seeds of the first look

# Share of single comparisons that are called better or worse though the mean difference is 0, with
# a look after each of 3 to 20 seeds at alpha .05. The first is bounded by .05, the others are not.
# That no comparison stops beside a collapsed run does not lower the last: what is false is settled
# before the first collapse is seen.
NULLS = {
    "normal": 0.02,
    "exponential": 0.12,
    "log-normal": 0.21,
    "one run in ten collapses by 20 sd": 0.53,
}


class Standing(NamedTuple):
    """Where a comparison stands after some seeds."""

    verdict: Verdict  # undetermined: still open
    interval: Interval  # of the confidence sequence; infinite or NaN where nothing can be said yet
    factor: float  # Bayes factor for a difference, against none
    seeds: int


def bayes_factor(t: ArrayLike, n: ArrayLike, g: float = PRIOR) -> Floats:
    """B_n from t statistics of n differences, elementwise."""
    t2, n = np.asarray(t, float) ** 2, np.asarray(n, float)
    v, a = n - 1, 1 + n * g
    return np.exp(-0.5 * np.log(a) + n / 2 * (np.log1p(t2 / v) - np.log1p(t2 / (v * a))))


def confidence_sequence(d_S: ArrayLike, alpha: float = ALPHA, g: float = PRIOR) -> Interval:
    """The means that B_n does not reject: mean +- s / sqrt(n) sqrt(v (c - 1) / (1 - c / (1 + n g)))
    with c = (sqrt(1 + n g) / alpha)^(2 / n); the whole line while c >= 1 + n g. NaN bounds where
    the differences have no spread, so that their error is unknown."""
    d = np.asarray(d_S, float)
    n = len(d)
    mean = float(d.mean()) if n else math.nan
    if n < 2 or np.ptp(d) <= 1e-12:
        return Interval(mean, math.nan, math.nan, math.nan, df=n - 1, kind="seeds, any time")
    se, a = float(d.std(ddof=1)) / math.sqrt(n), 1 + n * g
    c = (math.sqrt(a) / alpha) ** (2 / n)
    half = se * math.sqrt((n - 1) * (c - 1) / (1 - c / a)) if c < a else math.inf
    return Interval(mean, mean - half, mean + half, se, df=n - 1, kind="seeds, any time")


def settle(
    d_S: ArrayLike, delta: float = DELTA, alpha: float = ALPHA, g: float = PRIOR
) -> Standing:
    """The verdict on paired differences after any number of seeds, from FIRST on. Better or worse
    where the sequence leaves out 0, equivalent where it lies within the margin; a difference that
    is both is called by its sign. For m comparisons `alpha` is the family's divided by m."""
    d = np.asarray(d_S, float)
    found = confidence_sequence(d, alpha, g)
    verdict: Verdict = "undetermined"
    if len(d) >= FIRST and found.low == found.low:
        if found.low > 0 or found.high < 0:
            verdict = "better" if found.low > 0 else "worse"
        elif -delta < found.low and found.high < delta:
            verdict = "equivalent"
    factor = float(bayes_factor(found.mean / found.se, len(d), g)) if found.se > 0 else math.nan
    return Standing(verdict, found, factor=factor, seeds=len(d))
