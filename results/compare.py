"""Is one method better than another? A declared family of comparisons, each with its verdict.

A verdict is about the primary specification. It is then held against its neighbours
(results/neighbours.py), against both values of a failed run (results/failures.py), and says what
each method was allowed to see (results/information.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from . import (
    decide,
    failures,
    foreign,
    information,
    neighbours,
    scores,
    sentences,
    sequential,
    stats,
)
from .decide import Alternative, Bounds, Contrast, Neighbour
from .information import Card
from .memoise import remembered
from .neighbours import Choice, Dimension
from .pairing import Paired, paired
from .stats import ALPHA, Difference, Interval, Verdict

if TYPE_CHECKING:
    from .runs import Results

Pair = tuple[str, str]


@dataclass(frozen=True, repr=False)
class Comparison:
    """Method a against b on one task. Scores are shares of 1."""

    a: str
    b: str
    task: str
    choice: Choice  # what was measured
    test: Difference  # these questions, new seeds
    wide: Interval  # new questions and new seeds
    questions: int
    delta: float  # margin of equivalence
    p_adjusted: float  # Holm over the declared family
    p_equivalent_adjusted: float
    mde_adjusted: float  # at the level that the family leaves to one comparison
    family: int  # comparisons of the declared family
    verdict: Verdict
    primary: Verdict  # what the primary specification says by itself
    neighbours: tuple[Neighbour, ...]
    holds: int  # neighbours with the primary's verdict: for better or worse, same sign, significant
    of: int  # neighbours
    depends_on: tuple[Dimension, ...]  # dimensions in which a neighbour contradicts the primary
    information: tuple[Card | None, Card | None]  # what a and b saw
    failures: str  # runs that diverged or collapsed, in words
    note: str  # what cannot be said, or "" where nothing is missing
    sentence: str

    @property
    def difference(self) -> float:
        return self.test.estimate

    @property
    def interval(self) -> Bounds:
        """95 %, not adjusted for other comparisons."""
        return Bounds(self.test.low, self.test.high)

    @property
    def p(self) -> float:
        """Two-sided, of no difference, not adjusted."""
        return self.test.p

    @property
    def mde(self) -> float:
        """Smallest true difference found with 80 % power, not adjusted."""
        return self.test.mde

    @property
    def metric(self) -> str:
        return self.choice.name

    @property
    def split(self) -> str:
        return self.choice.split

    def __repr__(self) -> str:
        d, points = self.test, 100.0
        text = f"{self.a} vs {self.b}, {self.metric} on {self.task}/{self.split}: {self.verdict}"
        if d.low == d.low:
            text += (
                f"; difference {points * d.estimate:+.1f} points"
                f" [{points * d.low:+.1f}, {points * d.high:+.1f}]"
            )
            if d.design == "questions":
                text += f" over {self.questions} questions"
            else:
                both = f"[{points * self.wide.low:+.1f}, {points * self.wide.high:+.1f}]"
                text += f" over seeds, {both} over seeds and questions"
            text += f"; p = {d.p:.3g}"
            text += f" (Holm over {self.family}: {self.p_adjusted:.3g})" * (self.family > 1)
            text += f"; detectable from {points * d.mde:.1f} points" if d.mde == d.mde else ""
            if d.design != "questions":
                text += f"; {d.design} t, S = {' and '.join(map(str, sorted({*d.seeds})))}"
        elif d.estimate == d.estimate:
            text += f"; difference {points * d.estimate:+.1f} points"
        return f"{text}\n{self.sentence}"

    @property
    def within_margin(self) -> bool:
        """Shown to be smaller than the margin, whatever its sign."""
        return self.p_equivalent_adjusted < ALPHA

    def row(self) -> dict[str, object]:
        """One row of a table."""
        d, a, b = self.test, *self.information
        return {
            "task": self.task, "split": self.split, "metric": self.metric,
            "decoding": self.choice.decoding, "a": self.a, "b": self.b,
            "difference": d.estimate, "low": d.low, "high": d.high, "half": (d.high - d.low) / 2,
            "wide_low": self.wide.low, "wide_high": self.wide.high, "wide_half": self.wide.half,
            "p": d.p, "p_adjusted": self.p_adjusted, "p_equivalent": d.p_equivalent,
            "p_equivalent_adjusted": self.p_equivalent_adjusted, "mde": d.mde,
            "mde_adjusted": self.mde_adjusted, "family": self.family, "verdict": self.verdict,
            "holds": self.holds, "of": self.of, "robust": robust(self),
            "depends_on": ", ".join(self.depends_on), "delta": self.delta, "design": d.design,
            "seeds_a": d.seeds[0], "seeds_b": d.seeds[1], "questions": self.questions,
            "track_a": a.track if a else "", "track_b": b.track if b else "",
            "failures": self.failures, "note": self.note, "sentence": self.sentence,
        }  # fmt: skip


def robust(c: Comparison) -> str:
    """`7 of 9`, or "" where there is no verdict or no neighbour."""
    return f"{c.holds} of {c.of}" if c.of and c.verdict != "undetermined" else ""


def against(methods: Iterable[str], control: str) -> list[Pair]:
    """Every method against the control."""
    return [(m, control) for m in methods if m != control]


def all_pairs(methods: Iterable[str]) -> list[Pair]:
    return list(itertools.combinations(methods, 2))


def declared(results: Results, control: str | None = None) -> list[Pair]:
    """The family that the recipe declares: each of its methods against the control, or every pair;
    also of those that are not there (yet)."""
    if results.primary.family == "pairs":
        return all_pairs(results.declared)
    control = control or results.control
    return against(results.declared, control) if control else []


def family(
    results: Results,
    pairs: Iterable[Pair] | None = None,
    metric: str | None = None,
    split: str | None = None,
    *,
    choice: Choice | None = None,
    delta: float | None = None,
    alpha: float = ALPHA,
) -> list[Comparison]:
    """Compare each pair on each task, by default those of the declared family that are there.
    Holm's adjustment is over the declared family where the pairs belong to it, whatever else of it
    was run; else over the pairs, so pass all that you look at.

    Args:
        metric: avg (avg@K), greedy, pass@k, maj, maj@k; None: the declared one.
        choice: all of it, in place of metric and split.
        delta: margin of equivalence; None: the suite's.
    """
    there = set(results.methods)
    planned = {frozenset(pair): pair for pair in declared(results)}
    wanted = [p for p in planned.values() if there.issuperset(p)] if pairs is None else [*pairs]
    if unknown := {m for pair in wanted for m in pair} - there:
        known = ", ".join(results.methods) or "none"
        raise KeyError(f"no method {', '.join(sorted(unknown))}; there are {known}")
    if same := next((a for a, b in wanted if a == b), None):
        raise ValueError(f"{same} cannot be compared with itself")
    inside = all(frozenset(pair) in planned for pair in wanted)
    whole = [p for p in planned.values() if there.issuperset(p)] if inside else wanted
    choice = choice or neighbours.primary(results, metric, split)
    delta = results.margin if delta is None else delta
    # of a family everything is tested, also where only a part of it is asked for
    asked = {frozenset(p): p for p in wanted}
    every = tuple(asked.get(frozenset(p), p) for p in whole)
    size = len(planned if inside else wanted)
    made = _family(results, every, choice, size=size, delta=delta, alpha=alpha)
    order = {pair: i for i, pair in enumerate(wanted)}
    kept = [c for c in made if (c.a, c.b) in order]
    return sorted(kept, key=lambda c: (c.task, order[c.a, c.b]))


def compare(
    results: Results,
    a: str,
    b: str,
    metric: str | None = None,
    split: str | None = None,
    delta: float | None = None,
) -> Comparison:
    """One comparison: of the declared family where it belongs to it, else its own family. With
    several tasks, `query` one first, or use `family`."""
    made = family(results, [(a, b)], metric, split, delta=delta)
    if len(made) > 1:
        raise ValueError(
            f"the results hold the tasks {', '.join(c.task for c in made)}: choose one with"
            " .query(\"task == '...'\"), or compare them as a family"
        )
    return made[0]


@remembered
def _family(
    results: Results, pairs: tuple[Pair, ...], choice: Choice, size: int, delta: float, alpha: float
) -> list[Comparison]:
    tasks = [str(t) for t in sorted(results.runs["task"].unique())]
    every = [
        contrast(results, t, p, choice, delta=delta, alpha=alpha) for t in tasks for p in pairs
    ]
    total = max(size * len(tasks), len(every))
    around = neighbours.around(results, choice)
    measured = [_measured(results, one, around, delta, alpha=alpha) for one in every]
    settled = decide.settle(every, measured, total, delta=delta, alpha=alpha)
    made = []
    for one, end in zip(every, settled, strict=True):
        d, notes = one.found.difference, [one.refused] if one.refused else [*one.found.notes]
        found = Comparison(
            *one.pair, one.task, choice, test=d, wide=one.found.wide,
            questions=one.found.questions, delta=delta, p_adjusted=end.p_adjusted,
            p_equivalent_adjusted=end.p_equivalent_adjusted,
            mde_adjusted=stats.mde(d.se, d.df, alpha / total) if d.mde == d.mde else d.mde,
            family=total, verdict=end.verdict, primary=end.primary, neighbours=end.neighbours,
            holds=end.holds, of=len(end.neighbours), depends_on=end.depends_on,
            information=_cards(results, one), failures=_failures(results, one),
            note="; ".join([*notes, *filter(None, [end.note])]), sentence="",
        )  # fmt: skip
        made.append(replace(found, sentence=sentences.of(results, found)))
    return made


def contrast(
    results: Results, task: str, pair: Pair, choice: Choice, *, delta: float, alpha: float = ALPHA
) -> Contrast:
    """One comparison, not yet adjusted. delta: margin of equivalence; alpha: level of tests."""
    left, right = neighbours.scored(results, choice, task, pair)
    found = _paired(results, (left, right), pair, delta=delta, alpha=alpha)
    refused = _incomparable(results, task, pair)
    row = sequential.settled(results, *pair) if choice == neighbours.primary(results) else None
    others = []
    if choice.axis == "end":
        a, b = (
            failures.at_start(results, choice, task, m)
            if len(failures.failed(results, task, m)) else None
            for m in pair
        )  # fmt: skip
        sides = [(a, right), (left, b), (a, b)]
        others = [
            paired(x, y, pair, delta, alpha=alpha).difference
            for x, y in sides if x is not None and y is not None
        ]  # fmt: skip
    verdict = row.verdict if row else None
    return Contrast(task, pair, found, tuple(others), refused=refused, sequential=verdict)


def _paired(
    results: Results, sides: tuple[pd.DataFrame, pd.DataFrame], pair: Pair, *,
    delta: float, alpha: float,
) -> Paired:  # fmt: skip
    """The difference over seeds; of two models without seeds, over questions."""
    found = paired(*sides, pair, delta, alpha=alpha)
    single = found.questions and foreign.checkpoints(results).issuperset(pair)
    return foreign.between(results, sides, pair, delta=delta, alpha=alpha) if single else found


def _incomparable(results: Results, task: str, pair: Pair) -> str:
    """Why there can be no verdict: the two were graded by different versions of the checker, asked
    other questions, or did not start from the same model."""
    runs = scores.counted(results)
    a, b = (runs[(runs["task"] == task) & (runs["method"] == m)] for m in pair)
    words = {"grader": "checker version", "data": "data set", "base": "starting model"}
    for column, what in words.items():
        left, right = ({str(v) for v in x[column].dropna()} for x in (a, b))
        if left and right and left != right:
            each = (f"{m} {', '.join(sorted(v))}" for m, v in zip(pair, (left, right), strict=True))
            return f"no verdict across {what}s: {'; '.join(each)}"
    return ""


def _measured(
    results: Results, one: Contrast, around: Sequence[tuple[Dimension, Choice]], delta: float, *,
    alpha: float,
) -> list[Alternative]:  # fmt: skip
    """The comparison under each neighbouring choice."""
    found = []
    for dimension, choice in around if one.can_be_judged else ():
        left, right = neighbours.scored(results, choice, one.task, one.pair)
        d = _paired(results, (left, right), one.pair, delta=delta, alpha=alpha).difference
        words = neighbours.words(results, choice, dimension)
        found.append(Alternative(dimension, choice, words, d))
    return found


def _cards(results: Results, one: Contrast) -> tuple[Card | None, Card | None]:
    known = information.cards(results)
    a, b = (known.get((one.task, m)) for m in one.pair)
    return a, b


def _failures(results: Results, one: Contrast) -> str:
    told = [sentences.failed(results, one.task, m) for m in one.pair]
    return "; ".join(filter(None, told))


def table(comparisons: Iterable[Comparison]) -> pd.DataFrame:
    """A row per comparison; empty with its columns where there is none."""
    rows = [c.row() for c in comparisons]
    return pd.DataFrame(rows, columns=[*_COLUMNS] if not rows else None)


_COLUMNS = (
    "task", "split", "metric", "decoding", "a", "b", "difference", "low", "high", "half",
    "wide_low", "wide_high", "wide_half", "p", "p_adjusted", "p_equivalent",
    "p_equivalent_adjusted", "mde", "mde_adjusted", "family", "verdict", "holds", "of", "robust",
    "depends_on", "delta", "design", "seeds_a", "seeds_b", "questions", "track_a", "track_b",
    "failures", "note", "sentence",
)  # fmt: skip


def best_group(
    results: Results, choice: Choice | None = None, task: str | None = None, alpha: float = ALPHA
) -> tuple[str | None, set[str]]:
    """(the method with the highest mean, the confidence set of the best). The set is empty where
    nothing can be tested; its level counts the declared methods, not those that were run."""
    choice = choice or neighbours.primary(results)
    every = neighbours.matrices(results, replace(choice, axis="end"))
    tasks = [task] if task else sorted({t for t, _ in every})
    if len(tasks) != 1:
        return None, set()
    means = {m: x.mean(axis=1) for (t, m), x in every.items() if t == tasks[0]}
    if not means:
        return None, set()
    best = max(means, key=lambda m: float(means[m].mean()))
    return best, stats.best_set(means, alpha, len(results.declared))
