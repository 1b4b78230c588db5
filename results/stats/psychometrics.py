"""Can these questions tell methods apart? Classical test theory, with methods or runs in the place
of the persons and questions in the place of the items.

Terms as in Crocker & Algina, Introduction to Classical and Modern Test Theory (1986). Shape
suffixes: P persons, Q questions, M methods.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as sp

from .inference import Floats
from .summaries import pass_at_k

CEILING, FLOOR = 0.9, 0.1  # above or below it, scores have little room to differ
SPLITS = 500  # random halves of the questions


def in_the_middle(score_Q: ArrayLike) -> float:
    """Share of questions whose difficulty (mean score over persons) lies strictly between FLOOR and
    CEILING; NaN without questions. Only these can contribute much to a difference."""
    x = np.asarray(score_Q, float)
    return float(((x > FLOOR) & (x < CEILING)).mean()) if x.size else math.nan


def discrimination(score_PQ: ArrayLike) -> Floats:
    """Item-rest correlation of each question, shape Q: Pearson's correlation of its score with the
    mean of all other questions (the corrected item-total correlation; Henrysson, Psychometrika 28,
    1963). Above 0.2 is usual for a question that is worth its place. NaN where all persons score
    alike on it, or on the others."""
    x = np.asarray(score_PQ, float)
    persons, questions = x.shape
    if persons < 3 or questions < 2:
        return np.full(questions, math.nan)
    rest = (x.sum(1, keepdims=True) - x) / (questions - 1)
    return _correlation(x - x.mean(0), rest - rest.mean(0))


def _correlation(a: Floats, b: Floats) -> Floats:
    """Of columns that have mean 0."""
    size = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.where(size > 1e-12, (a * b).sum(0) / np.maximum(size, 1e-12), math.nan)


def spearman_brown(correlation: float, times: float = 2.0) -> float:
    """Reliability of a test `times` as long as the two whose scores correlate so (Spearman 1910,
    Brown 1910)."""
    return times * correlation / (1 + (times - 1) * correlation)


def split_half(score_MQ: ArrayLike, splits: int = SPLITS, seed: int = 0) -> float:
    """Reliability of the ranking of methods over questions: Spearman's rank correlation of the
    methods' means on two halves of the questions, mean over random halves, stepped up to the full
    length by Spearman and Brown's formula. Seeds are fixed: it says what other questions would
    change, not what other runs would. NaN for fewer than three methods or four questions."""
    x = np.asarray(score_MQ, float)
    methods, questions = x.shape
    if methods < 3 or questions < 4:
        return math.nan
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(questions), (splits, 1)), axis=1)
    half = questions // 2
    first, second = np.zeros((2, splits, questions))
    np.put_along_axis(first, order[:, :half], 1.0 / half, axis=1)
    np.put_along_axis(second, order[:, half : 2 * half], 1.0 / half, axis=1)
    a, b = (sp.rankdata(np.round(w @ x.T, 12), axis=1).T for w in (first, second))
    found = _correlation(a - a.mean(0), b - b.mean(0))
    mean = float(np.nanmean(found)) if np.isfinite(found).any() else math.nan
    return spearman_brown(mean) if mean > -1 else -1.0


class Agreement(NamedTuple):
    """How two scores rank the same methods."""

    tau: float  # Kendall's tau-a: pairs ranked alike minus pairs ranked against each other, a pair
    pairs: int


def rank_agreement(
    a_M: ArrayLike, b_M: ArrayLike, counted_MM: ArrayLike | None = None
) -> Agreement:
    """Kendall's tau-a (Biometrika 30, 1938) over all pairs of methods, or over those that count,
    e.g. whose difference is significant; a tie counts neither way. NaN without a pair."""
    a, b = np.asarray(a_M, float), np.asarray(b_M, float)
    one, two = np.triu_indices(len(a), 1)
    if counted_MM is not None:
        counts = np.asarray(counted_MM, bool)[one, two]
        one, two = one[counts], two[counts]
    alike = np.sign(a[one] - a[two]) * np.sign(b[one] - b[two])
    return Agreement(float(alike.mean()) if len(alike) else math.nan, len(alike))


def seen(correct_Q: ArrayLike, samples_Q: ArrayLike, group: int) -> float:
    """Share of prompts on which at least one of `group` samples is right, 1 - (1 - p)^G: what a
    reward of the outcome can tell an objective. The unbiased pass@G where each question has G
    samples; else with one p for all questions, an upper bound (by Jensen's inequality, the more
    the questions differ the higher). NaN without questions."""
    correct, samples = np.asarray(correct_Q, float), np.asarray(samples_Q, float)
    if not samples.sum() > 0:
        return math.nan
    if samples.min() >= group:
        return float(pass_at_k(correct, samples, group).mean())
    return float(1 - (1 - correct.sum() / samples.sum()) ** group)
