"""Is one method better than another? A declared family of comparisons, each with its verdict."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import foreign, scores, sequential, stats
from .stats import ALPHA, DELTA, Difference, Interval, Verdict

if TYPE_CHECKING:
    from .runs import Results


@dataclass(frozen=True, repr=False)
class Comparison:
    """Method a against b on one task and split. Scores are shares, p of `difference` is raw."""

    a: str
    b: str
    task: str
    split: str
    metric: str
    difference: Difference  # these questions, new seeds
    wide: Interval  # new questions and new seeds
    p_holm: float
    p_equivalent_holm: float
    family: int  # comparisons that were adjusted together
    verdict: Verdict
    delta: float
    questions: int
    note: str  # what cannot be said, or "" where nothing is missing

    def __repr__(self) -> str:
        d, points = self.difference, 100.0
        place = f"{self.metric} on {self.task}/{self.split}"
        text = f"{self.a} vs {self.b}, {place}: {self.verdict}"
        if d.low == d.low:
            over = "questions" if d.design == "questions" else "seeds"
            text += (
                f"; difference {points * d.estimate:+.1f} points"
                f" [{points * d.low:+.1f}, {points * d.high:+.1f}] over {over}"
            )
            if over == "seeds":
                both = f"[{points * self.wide.low:+.1f}, {points * self.wide.high:+.1f}]"
                text += f", {both} over seeds and questions"
            text += f"; p = {d.p:.3g}"
            text += f" (Holm over {self.family}: {self.p_holm:.3g})" if self.family > 1 else ""
            text += f"; detectable from {points * d.mde:.1f} points" if d.mde == d.mde else ""
            size = f"{d.design} t, S = {' and '.join(map(str, sorted({*d.seeds})))}"
            text += f"; {size if over == 'seeds' else f'n = {self.questions} questions'}"
        elif d.estimate == d.estimate:
            text += f"; difference {points * d.estimate:+.1f} points"
        return f"{text}; {self.note}" if self.note else text

    @property
    def within_margin(self) -> bool:
        """Shown to be smaller than the margin, whatever its sign."""
        return self.p_equivalent_holm < ALPHA

    def row(self) -> dict[str, object]:
        """One row of a table."""
        d = self.difference
        return {
            "task": self.task, "split": self.split, "metric": self.metric, "a": self.a, "b": self.b,
            "difference": d.estimate, "low": d.low, "high": d.high, "half": (d.high - d.low) / 2,
            "wide_low": self.wide.low, "wide_high": self.wide.high, "wide_half": self.wide.half,
            "p": d.p, "p_holm": self.p_holm, "p_equivalent": d.p_equivalent,
            "p_equivalent_holm": self.p_equivalent_holm, "mde": d.mde, "family": self.family,
            "verdict": self.verdict, "delta": self.delta, "design": d.design,
            "seeds_a": d.seeds[0], "seeds_b": d.seeds[1], "questions": self.questions,
            "note": self.note,
        }  # fmt: skip


def against(methods: Iterable[str], control: str) -> list[tuple[str, str]]:
    """Every method against the control."""
    return [(m, control) for m in methods if m != control]


def all_pairs(methods: Iterable[str]) -> list[tuple[str, str]]:
    return list(itertools.combinations(methods, 2))


def family(
    results: Results,
    pairs: Iterable[tuple[str, str]],
    metric: str | None = None,
    split: str | None = None,
    *,
    reading: scores.Reading = "correct",
    at: scores.At = "last",
    delta: float | None = None,
    alpha: float = ALPHA,
) -> list[Comparison]:
    """Compare each pair on each task; Holm's adjustment is over all of them, for the differences
    and for the equivalence tests alike. The pairs are the declared family: pass all that you look
    at.

    Args:
        metric: avg (avg@K), greedy, pass@k, maj, maj@k; None: avg where answers were sampled.
        delta: margin of equivalence; None: the suite's.
    """
    pairs = list(pairs)
    unknown = {m for pair in pairs for m in pair} - set(results.methods)
    if unknown:
        there = ", ".join(results.methods) or "none"
        raise KeyError(f"no method {', '.join(sorted(unknown))}; there are {there}")
    split = split or scores.headline_split(results)
    metric = metric or scores.headline_metric(results)
    delta = results.margin if delta is None else delta
    declared = (scores.headline_split(results), scores.headline_metric(results), "correct", "last")
    main = (split, metric, reading, at) == declared
    frame = scores.metric_scores(results, metric, split, reading, at=at)
    tasks = [str(t) for t in sorted(results.runs["task"].unique())]
    made = [
        _pair(results, frame, (a, b), (task, split, metric), delta=delta, alpha=alpha)
        for task in tasks
        for a, b in pairs
    ]
    adjusted = stats.holm([c.difference.p for c in made])
    equivalent = stats.holm([c.difference.p_equivalent for c in made])
    tested, judged = int((adjusted == adjusted).sum()), []
    for c, p, q in zip(made, map(float, adjusted), map(float, equivalent), strict=True):
        verdict = stats.verdict(c.difference.estimate, p, q, alpha)
        # a t test does not know that seeds were added until it was settled
        if main and (row := sequential.settled(results, c.a, c.b)):
            verdict = row.verdict
        judged.append(replace(c, p_holm=p, p_equivalent_holm=q, family=tested, verdict=verdict))
    return judged


def compare(
    results: Results,
    a: str,
    b: str,
    metric: str | None = None,
    split: str | None = None,
    **options: object,
) -> Comparison:
    """One comparison, its own family. With several tasks, `query` one first, or use `family`."""
    made = family(results, [(a, b)], metric, split, **options)  # type: ignore[arg-type]
    if len(made) > 1:
        raise ValueError(
            f"the results hold the tasks {', '.join(c.task for c in made)}: choose one with"
            " .query(\"task == '...'\"), or compare them as a family"
        )
    return made[0]


def _pair(
    results: Results, frame: pd.DataFrame, pair: tuple[str, str], place: tuple[str, str, str],
    *, delta: float, alpha: float,
) -> Comparison:  # fmt: skip
    """One comparison, not yet adjusted: over seeds, or over questions where there are none."""
    found = _compare(frame, *pair, place, delta=delta, alpha=alpha)
    if not (found.questions and foreign.checkpoints(results).issuperset(pair)):
        return found
    left, right = (scores.matrix(frame, method, place[0]) for method in pair)
    both = left.columns.intersection(right.columns)
    difference, wide = foreign.between(left[both], right[both], delta, alpha)
    note = "; ".join(filter(None, (foreign.ONLY, foreign.unlike(results, *pair))))
    return replace(found, difference=difference, wide=wide, note=note)


def _compare(
    frame: pd.DataFrame, a: str, b: str, place: tuple[str, str, str], delta: float, alpha: float
) -> Comparison:
    """One comparison, not yet adjusted; its place is (task, split, metric)."""
    left, right = (scores.matrix(frame, method, place[0]) for method in (a, b))
    questions = left.columns.intersection(right.columns)
    left, right = left[questions], right[questions]
    shared = left.index.intersection(right.index)
    notes, alike = [], 0  # scores that were compared where none differs
    if len(questions) == 0:
        missing = " and ".join(m for m, x in ((a, left), (b, right)) if x.empty) or f"{a} and {b}"
        nothing = stats.paired_difference([float("nan")])
        wide, difference = stats.two_way_interval([[float("nan")]]), replace(nothing, seeds=(0, 0))
        notes = [f"no finished run of {missing} on common questions"]
    elif len(shared) >= 3 or (len(shared) >= 1 and len(left) == len(right) == len(shared)):
        dropped = len(left) + len(right) - 2 * len(shared)
        notes = [f"without a partner of the same seed, left out: {dropped}"] if dropped else []
        gaps = left.loc[shared] - right.loc[shared]  # each seed on the questions that both runs saw
        difference = stats.paired_difference(gaps.mean(axis=1), delta=delta, alpha=alpha)
        wide = stats.two_way_interval(gaps.dropna(axis=1).to_numpy(), alpha)
        if len(shared) > 1 and not gaps.fillna(0).to_numpy().any():
            alike = int(gaps.notna().to_numpy().sum())
            difference = replace(difference, p_equivalent=stats.never_apart(alike, delta))
    else:
        difference = stats.welch_difference(left.mean(axis=1), right.mean(axis=1), delta, alpha)
        seen = left.notna().all() & right.notna().all()
        wide = stats.two_way_welch(left.loc[:, seen], right.loc[:, seen], alpha)
        notes = ["seeds differ: not paired"]
    if len(questions) and min(difference.seeds) < 2:
        notes.append("one seed: its error over seeds is unknown")
        if difference.design == "paired":
            alone = stats.seed_interval(gaps.iloc[0].dropna())  # over questions
            notes.append(
                f"these two checkpoints differ by {100 * alone.mean:+.1f} ±{100 * alone.half:.1f}"
                " points over questions, which says nothing of other seeds".replace("-", "−")
            )
    elif len(questions) and difference.low != difference.low:
        notes.append(_no_spread(difference, alike, delta, alpha))
        level = np.unique(left.loc[shared])
        if alike and len(level) == 1 and level[0] in (0, 1):
            notes.append(f"these questions are too {'easy' if level[0] else 'hard'} to tell")
    nan = float("nan")
    return Comparison(
        a, b, *place, difference=difference, wide=wide, p_holm=nan, p_equivalent_holm=nan,
        family=1, verdict="undetermined", delta=delta, questions=len(questions),
        note="; ".join(notes),
    )  # fmt: skip


def _no_spread(d: Difference, alike: int, delta: float, alpha: float) -> str:
    """What can be said where a t test has no spread between seeds to work with."""
    if d.design == "welch":
        return "neither mean varies between seeds, so the error of their difference is unknown"
    if alike:
        few = stats.never_apart(alike, delta) >= alpha
        small = f", but {alike} scores are too few to show ±{100 * delta:g} points" if few else ""
        return f"all differences are exactly 0, in every seed and question, so no t test{small}"
    if abs(d.estimate) < 1e-12:
        return "the means are equal in every seed, by different answers, so the error is unknown"
    return "the difference is the same in every seed, so its error is unknown: no t test"


def table(comparisons: Iterable[Comparison]) -> pd.DataFrame:
    """A row per comparison; empty with its columns where there is none."""
    rows = [c.row() for c in comparisons]
    return pd.DataFrame(rows, columns=[*_COLUMNS] if not rows else None)


_COLUMNS = (
    "task", "split", "metric", "a", "b", "difference", "low", "high", "half", "wide_low",
    "wide_high", "wide_half", "p", "p_holm", "p_equivalent", "p_equivalent_holm", "mde", "family",
    "verdict", "delta", "design", "seeds_a", "seeds_b", "questions", "note",
)  # fmt: skip


def best_group(
    results: Results,
    metric: str | None = None,
    split: str | None = None,
    task: str | None = None,
    at: scores.At = "last",
    alpha: float = ALPHA,
) -> tuple[str | None, set[str]]:
    """(best method by its mean, the methods not significantly below it, itself among them). Holm
    over the comparisons with the best. Empty set where nothing can be tested."""  # fmt: skip
    metric = metric or scores.headline_metric(results)
    frame = scores.metric_scores(results, metric, split, at=at)
    tasks = [task] if task else sorted(frame["task"].unique())
    if frame.empty or len(tasks) != 1:
        return None, set()
    means = scores.seed_scores(frame[frame["task"] == tasks[0]])
    means = means.groupby("method", observed=True)["score"].mean()
    best = str(means.idxmax())
    others = [str(m) for m in means.index if m != best]
    place = (str(tasks[0]), split or scores.headline_split(results), metric)
    made = [_pair(results, frame, (m, best), place, delta=DELTA, alpha=alpha) for m in others]
    p = stats.holm([c.difference.p for c in made])
    if not len(p) or all(p != p):
        return best, set()
    return best, {best} | {m for m, value in zip(others, p, strict=True) if value >= alpha}
