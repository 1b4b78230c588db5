"""A comparison in one or two sentences that a newcomer understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy import stats as sp

from . import failures, foreign, information, neighbours, sequential, stats
from .decide import contradicts

if TYPE_CHECKING:
    from .compare import Comparison
    from .runs import Results


def of(results: Results, c: Comparison) -> str:
    """The verdict with its decoding, size and error; what it depends on or how far it holds; what
    failed; and what each method saw, where that differs."""
    parts = [_core(results, c), _added(results, c), _reach(c), _failed(c)]
    if c.test.estimate == c.test.estimate and (seen := information.across(
        results, c.task, c.a, c.b
    )):  # fmt: skip
        parts.append(f"They did not learn from the same: {seen}.")
    return " ".join(part for part in parts if part)


def _core(results: Results, c: Comparison) -> str:
    d, how = c.test, neighbours.words(results, c.choice)
    by = f"{100 * abs(d.estimate):.1f} points"
    if d.low != d.low and c.verdict == "equivalent":
        return f"{c.a} and {c.b} are equivalent, {how}: {c.note} ({_seeds(c)})."
    if d.low != d.low or not stats.enough(d):
        return f"Cannot be judged: {c.note or 'no test is possible'}."
    holm = f" after Holm's correction over {c.family} comparisons" if c.family > 1 else ""
    chance = f"p {p_words(c.p_adjusted)}{holm}, {_seeds(c)}"
    if c.verdict == "depends":
        return _depends(results, c, chance)
    if c.verdict in ("better", "worse"):
        small = f", within the margin of ±{100 * c.delta:g} points" if c.within_margin else ""
        return f"{_start(how)}, {c.a} is {c.verdict} than {c.b} by {by}{small} ({chance})."
    if c.verdict == "equivalent":
        low, high = d.estimate - _half90(c), d.estimate + _half90(c)
        return (
            f"{c.a} and {c.b} are equivalent, {how}: the 90 % interval of the difference,"
            f" {points(low)} to {points(high)} points, lies within ±{100 * c.delta:g}"
            f" (p {p_words(c.p_equivalent_adjusted)}{holm}, {_seeds(c)})."
        )
    why = f" ({c.note})" if c.note else ""
    return (
        f"It is undetermined whether {c.a} is better or worse than {c.b}, {how}{why}; the"
        f" difference is {points(d.estimate)} points ({chance}). A true difference below"
        f" {100 * c.mde_adjusted:.1f} points is not detected reliably (80 % power)."
    )


def _depends(results: Results, c: Comparison, chance: str) -> str:
    """Better when sampled at T = 1 (+8.0), worse when decoded greedily (−8.0)."""
    told = []
    for dimension in c.depends_on:
        other = [
            f"{_direction(n.difference)} {n.words} ({points(n.difference)} points,"
            f" p {p_words(n.p_adjusted)})"
            for n in c.neighbours
            if n.dimension == dimension and contradicts(n, c.primary, c.difference)
        ]
        ours, how = (neighbours.words(results, c.choice, d) for d in ("all", dimension))
        ours = ours if how in ours else f"{how}, {ours}"
        told.append(
            f"{c.a} is {c.primary} {ours} ({points(c.test.estimate)} points, {chance}),"
            f" but {' and '.join(other)}"
        )
    what = " and ".join(c.depends_on)
    return f"Whether {c.a} is better than {c.b} depends on the {what}: {'; '.join(told)}."


def _direction(difference: float) -> str:
    return "better" if difference > 0 else "worse"


def _reach(c: Comparison) -> str:
    """In how many other ways to measure the verdict holds."""
    if not c.of or c.verdict == "undetermined":
        return ""
    what = f"{c.a} is {c.primary}" if c.verdict == "depends" else "This holds"
    return f"{what} in {c.holds} of {c.of} other ways to measure it."


def _added(results: Results, c: Comparison) -> str:
    """What stands behind a verdict that is no plain t test over seeds."""
    if c.test.design == "questions":
        return f"{_start(foreign.ONLY)}."
    row = sequential.settled(results, c.a, c.b)
    if row is None or c.choice != neighbours.primary(results):
        return ""
    if row.verdict == "undetermined":
        return f"The sequential test has not settled it after {row.seeds} seeds."
    return f"Seeds were added until a sequential test settled it, after {row.seeds}."


def _failed(c: Comparison) -> str:
    told = f"{_start(c.failures)}." if c.failures else ""
    if c.verdict == "equivalent" and min(c.test.seeds) >= stats.LEAST_SEEDS and not c.failures:
        most = stats.exact_share(0, min(c.test.seeds)).high
        told = f"No run failed, which does not exclude that up to {100 * most:.0f} % would."
    return told


def failed(results: Results, task: str, method: str) -> str:
    """`1 of 5 runs of gift diverged (95 % interval of the rate 1 to 72 %; worst: seed 2, 3.1 %)`;
    "" where none failed."""
    bad = failures.failed(results, task, method)
    if bad.empty:
        return ""
    ends = failures.endings(results)
    total = int(((ends["task"] == task) & (ends["method"] == method)).sum())
    kinds = bad["failed"].value_counts()
    each = " and ".join(f"{n} {kind}" for kind, n in kinds.items())
    rate = stats.exact_share(len(bad), total)
    worst = bad.sort_values("end").iloc[0]
    level = f", {100 * worst['end']:.1f} % at its last evaluation" if worst["end"] >= 0 else ""
    return (
        f"of {total} runs of {method}, {each} (95 % interval of the failure rate"
        f" {100 * rate.low:.0f} to {100 * rate.high:.0f} %; worst: seed {worst['seed']}{level})"
    )


def _half90(c: Comparison) -> float:
    return c.test.se * float(sp.t.ppf(0.95, c.test.df))


def _seeds(c: Comparison) -> str:
    d = c.test
    if d.design == "questions":
        return f"{c.questions} questions"
    if d.design == "welch":
        return f"{d.seeds[0]} and {d.seeds[1]} seeds, not paired"
    return f"{min(d.seeds)} seeds" if min(d.seeds) > 1 else "one seed"


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def p_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]
