"""One difference between two methods, and what the data cannot say of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from . import stats
from .stats import Difference, Interval


@dataclass(frozen=True)
class Paired:
    """a minus b, before any adjustment for other comparisons."""

    difference: Difference  # these questions, new seeds
    wide: Interval  # new questions and new seeds
    questions: int
    notes: tuple[str, ...]  # what cannot be said


def paired(
    left: pd.DataFrame, right: pd.DataFrame, pair: tuple[str, str], delta: float, alpha: float
) -> Paired:
    """The difference of two matrices (seeds x questions) on their common questions: paired by seed
    where at least three are shared, or no others are there; else Welch's."""
    a, b = pair
    questions = left.columns.intersection(right.columns)
    left, right = left.loc[:, questions], right.loc[:, questions]
    shared = left.index.intersection(right.index)
    if len(questions) == 0 or left.empty or right.empty:
        missing = " and ".join(m for m, x in ((a, left), (b, right)) if x.empty) or f"{a} and {b}"
        nothing = stats.paired_difference([float("nan")])
        wide = stats.two_way_interval([[float("nan")]])
        why = f"no finished run of {missing} on common questions"
        return Paired(replace(nothing, seeds=(0, 0)), wide, 0, (why,))
    if len(shared) >= stats.LEAST_SEEDS or len(left) == len(right) == len(shared):
        return _by_seed(left, right, delta, alpha)
    difference = stats.welch_difference(left.mean(axis=1), right.mean(axis=1), delta, alpha)
    seen = left.notna().all() & right.notna().all()
    wide = stats.two_way_welch(left.loc[:, seen], right.loc[:, seen], alpha)
    notes = ["seeds differ: not paired"]
    if min(difference.seeds) < 2:
        notes.append("one seed: its error over seeds is unknown")
    elif difference.low != difference.low:
        notes.append(
            "neither mean varies between seeds, so the error of their difference is unknown"
        )
    return Paired(difference, wide, len(questions), (*notes, *_few(difference)))


def _by_seed(left: pd.DataFrame, right: pd.DataFrame, delta: float, alpha: float) -> Paired:
    shared = left.index.intersection(right.index)
    dropped = len(left) + len(right) - 2 * len(shared)
    notes = [f"without a partner of the same seed, left out: {dropped}"] if dropped else []
    gaps = left.loc[shared] - right.loc[shared]  # each seed on the questions that both runs saw
    difference = stats.paired_difference(gaps.mean(axis=1), delta=delta, alpha=alpha)
    wide = stats.two_way_interval(gaps.dropna(axis=1).to_numpy(), alpha)
    alike = 0  # scores that were compared where none differs
    if len(shared) > 1 and not gaps.fillna(0).to_numpy().any():
        alike = int(gaps.notna().to_numpy().sum())
        difference = replace(difference, p_equivalent=stats.never_apart(alike, delta))
    if len(shared) < 2:
        notes.append("one seed: its error over seeds is unknown")
        alone = stats.seed_interval(gaps.iloc[0].dropna())  # over questions
        notes.append(
            f"these two checkpoints differ by {100 * alone.mean:+.1f} ±{100 * alone.half:.1f}"
            " points over questions, which says nothing of other seeds".replace("-", "−")
        )
    elif difference.low != difference.low:
        notes.append(_no_spread(difference, alike, delta, alpha))
        level = np.unique(left.loc[shared])
        if alike and len(level) == 1 and level[0] in (0, 1):
            notes.append(f"these questions are too {'easy' if level[0] else 'hard'} to tell")
    return Paired(difference, wide, left.shape[1], (*notes, *_few(difference)))


def _few(d: Difference) -> list[str]:
    """A rule: below three seeds there is no verdict, whatever the p-value."""
    few = 1 < min(d.seeds) < stats.LEAST_SEEDS
    return [f"{min(d.seeds)} seeds: no verdict below {stats.LEAST_SEEDS}"] if few else []


def _no_spread(d: Difference, alike: int, delta: float, alpha: float) -> str:
    """What can be said where a t test has no spread between seeds to work with."""
    if alike:
        few = stats.never_apart(alike, delta) >= alpha
        small = f", but {alike} scores are too few to show ±{100 * delta:g} points" if few else ""
        return f"all differences are exactly 0, in every seed and question, so no t test{small}"
    if abs(d.estimate) < stats.PLAIN:
        return "the means are equal in every seed, by different answers, so the error is unknown"
    return "the difference is the same in every seed, so its error is unknown: no t test"
