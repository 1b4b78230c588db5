"""Two single models on the same questions, where no training seeds are known.

The question is the replication unit: the target is new questions like these, the two models stay
as they are. Nothing follows for the methods that made them, whose replication unit is the seed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as sp

from .inference import ALPHA, DELTA, POWER, Difference, Floats, mde, never_apart

FLIPS = 9999  # random flips of signs, where not all can be tried


def question_difference(
    d_Q: ArrayLike, delta: float = DELTA, alpha: float = ALPHA, power: float = POWER
) -> Difference:
    """Difference of two models from their difference per question (shares, within -1..1), over new
    questions.

    p is that of `sign_flips`. The interval is Student's t after one right answer more for each side
    (Agresti and Min, Statistics in Medicine 24, 2005, for paired shares): plain t is too narrow
    where few questions differ. For the same reason the equivalence test takes the variance that a
    difference of `delta` has at least, and half a step off. `seeds` is (1, 1), `df` counts
    questions. Where no question differs there is no interval; see `never_apart`.
    """
    d = np.asarray(d_Q, float)
    n, unknown = len(d), math.nan
    estimate = float(d.mean()) if n else unknown
    p = sign_flips(d)
    if n < 2 or not d.any():
        same = never_apart(n, delta) if n > 1 else unknown
        return Difference(
            estimate, unknown, unknown, se=unknown, df=n - 1, p=p if n > 1 else unknown,
            p_equivalent=same, mde=unknown, design="questions", seeds=(1, 1),
        )  # fmt: skip
    centre, total, df = float(d.sum() / (n + 2)), n + 2, n - 1
    se = math.sqrt((float(d @ d) + 1) / total - centre**2) / math.sqrt(total)
    half = se * float(sp.t.ppf(1 - alpha / 2, df))
    step = float(np.abs(d[d != 0]).min()) / 2
    at_margin = math.sqrt(max(max(float(d @ d) / n, delta) - delta**2, 0) / n)
    p_equivalent = sp.t.sf((delta - abs(estimate) - step / n) / at_margin, df)
    return Difference(
        estimate, max(centre - half, -1.0), min(centre + half, 1.0), se=se, df=df, p=p,
        p_equivalent=float(p_equivalent), mde=mde(se, df, alpha, power), design="questions",
        seeds=(1, 1),
    )  # fmt: skip


def sign_flips(d_Q: ArrayLike) -> float:
    """Two-sided p of the hypothesis that the two models could be exchanged in each question.

    Questions without a difference do not count. Where the rest are single answers (-1 or 1) this is
    McNemar's exact test; else all flips are tried where there are at most FLIPS of them, or so many
    are drawn (fixed seed).
    """
    d: Floats = np.asarray(d_Q, float)
    d = d[d != 0]
    if not len(d):
        return 1.0
    if (np.abs(d) == 1).all():
        return float(sp.binomtest(int((d > 0).sum()), len(d)).pvalue)
    found = sp.permutation_test(
        (d,), np.sum, permutation_type="samples", vectorized=True, n_resamples=FLIPS, batch=500,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.pvalue)
