"""From the tests of a family and of its neighbours to verdicts. Plain functions of numbers, so that
their error can be simulated (tests/oracles/test_verdict_errors.py)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from . import stats
from .neighbours import Choice, Dimension
from .pairing import Paired
from .stats import ALPHA, Difference, Verdict


class Bounds(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Contrast:
    """One comparison on the way to its verdict."""

    task: str
    pair: tuple[str, str]
    found: Paired
    others: tuple[Difference, ...] = ()  # with the start in the place of failed runs
    refused: str = ""  # why there can be no verdict at all
    sequential: Verdict | None = None  # where seeds were added until it was settled

    @property
    def can_be_judged(self) -> bool:
        return not self.refused and stats.enough(self.found.difference)


class Alternative(NamedTuple):
    """The same comparison under a neighbouring choice."""

    dimension: Dimension
    choice: Choice
    words: str  # the choice, as a reader knows it
    difference: Difference


@dataclass(frozen=True)
class Neighbour:
    """A neighbour, judged; p-values are adjusted inside its dimension (Holm)."""

    dimension: Dimension
    choice: Choice
    words: str
    difference: float
    interval: Bounds
    p: float
    p_adjusted: float  # of no difference
    p_outside: float  # of a difference within the margin
    verdict: Verdict  # better, worse, equivalent or undetermined


@dataclass(frozen=True)
class Settled:
    """What a comparison comes to."""

    p_adjusted: float
    p_equivalent_adjusted: float
    primary: Verdict  # what the primary specification says by itself
    neighbours: tuple[Neighbour, ...]
    depends_on: tuple[Dimension, ...]  # dimensions in which a neighbour contradicts the primary
    note: str

    @property
    def verdict(self) -> Verdict:
        return "depends" if self.depends_on else self.primary

    @property
    def holds(self) -> int:
        """Neighbours with the primary's verdict."""
        return sum(n.verdict == self.primary for n in self.neighbours)


def settle(
    contrasts: Sequence[Contrast], measured: Sequence[Sequence[Alternative]], size: int, *,
    delta: float, alpha: float = ALPHA,
) -> list[Settled]:  # fmt: skip
    """The verdicts of a family of `size` comparisons, of which these are there.

    A primary verdict is Holm's over the family. It must hold with both values of failed runs. It
    becomes `depends` where it is significant and a neighbour is, with the opposite sign; or where
    it is equivalent and a neighbour lies significantly outside the margin.
    """
    p = [c.found.difference.p for c in contrasts]
    q = [c.found.difference.p_equivalent for c in contrasts]
    adjusted, equivalent = stats.holm(p, size), stats.holm(q, size)
    settled = []
    for i, (one, around) in enumerate(zip(contrasts, measured, strict=True)):
        d, note = one.found.difference, ""
        primary = _verdict(one, d, float(adjusted[i]), float(equivalent[i]), alpha=alpha)
        for other in one.others:
            instead = [
                float(stats.holm([*x[:i], y, *x[i + 1 :]], size)[i])
                for x, y in ((p, other.p), (q, other.p_equivalent))
            ]
            if (then := _verdict(one, other, *instead, alpha=alpha)) != primary:
                note = f"{primary} with the last evaluation of the failed runs, {then} with their"
                note, primary = f"{note} start in its place", "undetermined"
                break
        seen = judged(around, delta, alpha) if one.can_be_judged else []
        contrary = [n.dimension for n in seen if contradicts(n, primary, d.estimate, alpha)]
        settled.append(
            Settled(
                float(adjusted[i]), float(equivalent[i]), primary, neighbours=tuple(seen),
                depends_on=tuple(dict.fromkeys(contrary)), note=note,
            )
        )  # fmt: skip
    return settled


def _verdict(one: Contrast, d: Difference, p: float, q: float, *, alpha: float) -> Verdict:
    if not one.can_be_judged or not stats.enough(d):
        return "undetermined"
    if one.sequential:  # a t test does not know that one looked after every seed
        return one.sequential
    return stats.verdict(d.estimate, p, q, alpha)


def judged(measured: Sequence[Alternative], delta: float, alpha: float) -> list[Neighbour]:
    """The neighbours with at least three seeds, adjusted inside each dimension."""
    there = [
        m for m in measured
        if m.difference.estimate == m.difference.estimate
        and stats.enough(m.difference)
    ]  # fmt: skip
    made = []
    for dimension, group in itertools.groupby(there, key=lambda m: m.dimension):
        own = [*group]
        p = stats.holm([m.difference.p for m in own])
        q = stats.holm([m.difference.p_equivalent for m in own])
        outside = stats.holm([stats.p_outside(m.difference, delta) for m in own])
        for m, p_one, q_one, far in zip(own, p, q, outside, strict=True):
            d = m.difference
            made.append(
                Neighbour(
                    dimension, m.choice, m.words, d.estimate, interval=Bounds(d.low, d.high),
                    p=d.p, p_adjusted=float(p_one), p_outside=float(far),
                    verdict=stats.verdict(d.estimate, float(p_one), float(q_one), alpha),
                )
            )  # fmt: skip
    return made


def contradicts(n: Neighbour, primary: Verdict, estimate: float, alpha: float = ALPHA) -> bool:
    """The opposite sign, significantly; or, of what is equivalent, significantly outside."""
    if primary in ("better", "worse"):
        return n.p_adjusted < alpha and n.difference * estimate < 0
    return primary == "equivalent" and n.p_outside < alpha
