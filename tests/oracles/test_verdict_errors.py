"""How often is a verdict wrong? The whole rule is simulated: a family with Holm, neighbours that
are correlated with the primary, runs that fail, and the confidence set of the best.

Each bound leaves three standard errors of the simulation.
"""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy import stats as sp
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from results import stats
from results.decide import Alternative, Contrast, Settled, settle
from results.neighbours import Choice, Dimension
from results.pairing import Paired

DELTA = 0.02
# As `quick` has them: two other decodings, majority vote, the strict reading, the selected
# checkpoint, equal cost on three axes
AROUND: list[Dimension] = [
    "decoding", "decoding", "metric", "checker reading", "checkpoint", "equal cost", "equal cost",
    "equal cost",
]  # fmt: skip
CHOICE = Choice("avg", "sampled", "test")
NO_INTERVAL = stats.Interval(0, 0, 0, 0, df=0, kind="")


@dataclass(frozen=True)
class Grid:
    """Suites of methods against one control; the true effects, primary and neighbours alike."""

    seeds: int = 5
    methods: int = 11
    effect: float = 0.0
    spread: float = 0.01  # sd of the paired differences
    alike: float = 0.7  # correlation of a neighbour with the primary

    def suite(self, rng: np.random.Generator) -> list[Settled]:
        shared = rng.normal(0, self.spread, (self.seeds, 1, 1))  # the control's own noise
        own = rng.normal(0, self.spread, (self.seeds, self.methods, 1))
        primary = (own - shared) / math.sqrt(2)
        noise = rng.normal(0, self.spread, (self.seeds, self.methods, len(AROUND)))
        near = self.alike * primary + math.sqrt(1 - self.alike**2) * noise
        contrasts, measured = [], []
        for m in range(self.methods):
            d = stats.paired_difference(primary[:, m, 0] + self.effect, delta=DELTA)
            found = Paired(d, NO_INTERVAL, questions=100, notes=())
            contrasts.append(Contrast("task", (f"m{m}", "control"), found))
            tested = (stats.paired_difference(x + self.effect, delta=DELTA) for x in near[:, m].T)
            measured.append(
                [Alternative(k, CHOICE, k, d) for k, d in zip(AROUND, tested, strict=True)]
            )
        return settle(contrasts, measured, self.methods, delta=DELTA)


def verdicts(grid: Grid, suites: int, seed: int = 0) -> tuple[float, Counter[str]]:
    """Share of suites with a better, worse or depends; and how often each verdict was given."""
    rng, wrong, counts = np.random.default_rng(seed), 0, Counter()
    for _ in range(suites):
        found = [one.verdict for one in grid.suite(rng)]
        wrong += any(v in ("better", "worse", "depends") for v in found)
        counts.update(found)
    return wrong / suites, counts


def bound(suites: int) -> float:
    return 0.05 + 3 * math.sqrt(0.05 * 0.95 / suites)


@pytest.mark.parametrize(
    "grid",
    [Grid(), Grid(seeds=3, methods=4), Grid(methods=4, alike=0.0), Grid(methods=4, spread=0.004)],
    ids=["as quick", "three seeds", "unrelated neighbours", "small spread"],
)
def test_a_false_verdict_is_rare_where_nothing_differs(grid: Grid) -> None:
    wrong, counts = verdicts(grid, 60)
    assert wrong <= bound(60), counts


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", [0.003, 0.03])
@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_a_false_verdict_is_rare_on_the_whole_grid(seeds: int, spread: float, alike: float) -> None:
    grid = Grid(seeds=seeds, methods=6, spread=spread, alike=alike)
    wrong, counts = verdicts(grid, 400, seed=seeds)
    assert wrong <= bound(400), counts


def test_a_difference_that_is_there_everywhere_is_found_and_seldom_depends() -> None:
    _, counts = verdicts(Grid(effect=0.06), 20)
    total = counts.total()
    assert counts["better"] / total > 0.9
    assert counts["depends"] + counts["worse"] == 0


def contrast(values: np.ndarray, *others: np.ndarray, refused: str = "") -> Contrast:
    d = stats.paired_difference(values, delta=DELTA)
    instead = tuple(stats.paired_difference(x, delta=DELTA) for x in others)
    return Contrast("t", ("a", "b"), Paired(d, NO_INTERVAL, 9, ()), instead, refused)


UP = np.array([0.07, 0.08, 0.09, 0.08, 0.07])
NEAR = np.array([0.001, -0.001, 0.002, 0.0, -0.002])


@pytest.mark.parametrize(
    ("primary", "neighbour", "verdict"),
    [
        (UP, UP, "better"),
        (UP, NEAR, "better"),  # not significant there: the primary stands
        (UP, -UP, "depends"),
        (-UP, UP, "depends"),
        (NEAR, NEAR, "equivalent"),
        (NEAR, UP, "depends"),  # significantly outside the margin
        (NEAR, NEAR + 0.015, "equivalent"),  # significant, but inside the margin
        (np.array([0.1, -0.1, 0.05, -0.06, 0.02]), UP, "undetermined"),
    ],
)
def test_when_a_verdict_depends(primary: np.ndarray, neighbour: np.ndarray, verdict: str) -> None:
    d = stats.paired_difference(neighbour, delta=DELTA)
    (found,) = settle(
        [contrast(primary)], [[Alternative("decoding", CHOICE, "", d)]], 1, delta=DELTA
    )
    assert found.verdict == verdict
    assert found.depends_on == (("decoding",) if verdict == "depends" else ())
    assert found.holds == (found.neighbours[0].verdict == found.primary)


def test_holm_is_inside_a_dimension_and_not_across() -> None:
    """A p of .03 alone in its dimension counts; beside another test of it, it does not."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, 5)
    x = (x - x.mean()) / x.std(ddof=1)
    down = stats.paired_difference(0.01 * (x - sp.t.isf(0.015, 4) / math.sqrt(5)), delta=DELTA)
    assert down.p == pytest.approx(0.03)
    near = Alternative("decoding", CHOICE, "", stats.paired_difference(NEAR, delta=DELTA))
    hit = Alternative("decoding", CHOICE, "", down)
    elsewhere = Alternative("metric", CHOICE, "", near.difference)
    (alone,) = settle([contrast(UP)], [[hit, elsewhere]], 1, delta=DELTA)
    (crowded,) = settle([contrast(UP)], [[hit, near]], 1, delta=DELTA)
    assert (alone.verdict, crowded.verdict) == ("depends", "better")


def test_a_verdict_must_hold_with_both_values_of_failed_runs() -> None:
    """The second value is within noise: the verdict falls. It agrees: the verdict stays."""
    noisy = np.array([0.07, 0.08, -0.4, 0.08, 0.07])
    (fallen,) = settle([contrast(UP, noisy)], [[]], 1, delta=DELTA)
    (kept,) = settle([contrast(UP, UP + 0.01)], [[]], 1, delta=DELTA)
    assert (fallen.verdict, kept.verdict) == ("undetermined", "better")
    assert fallen.note.startswith(
        "better with the last evaluation of the failed runs, undetermined"
    )


def test_no_verdict_below_three_seeds_nor_across_versions() -> None:
    few = np.array([0.05, 0.0501])
    assert stats.paired_difference(few).p < 0.001
    (two,) = settle([contrast(few)], [[]], 1, delta=DELTA)
    (refused,) = settle([contrast(UP, refused="checker")], [[]], 1, delta=DELTA)
    assert (two.verdict, refused.verdict) == ("undetermined", "undetermined")


def test_a_family_counts_what_was_planned() -> None:
    """With the p of the others unknown Holm is Bonferroni's; statsmodels agrees where all are
    there."""
    rng = np.random.default_rng(2)
    p = rng.uniform(size=6)
    assert stats.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    few = stats.holm(p[:2], 6)
    first, second = sorted(p[:2])
    assert sorted(few) == pytest.approx([min(6 * first, 1), min(max(6 * first, 5 * second), 1)])


@pytest.mark.parametrize("methods", [2, 9, 12])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_confidence_set_of_the_best_misses_it_in_at_most_five_percent(
    methods: int, seeds: int
) -> None:
    """Equal methods, so every one of them is a best: the hardest case. Each seed has noise of its
    own, which all methods share."""
    rng, missed, suites = np.random.default_rng(methods), 0, 300
    for _ in range(suites):
        x = rng.normal(0, 1, (methods, seeds)) + rng.normal(0, 1, seeds)
        found = stats.best_set({f"m{i}": pd.Series(row) for i, row in enumerate(x)})
        missed += "m0" not in found
    assert missed / suites <= bound(suites)


def test_the_confidence_set_leaves_out_what_is_below() -> None:
    rng = np.random.default_rng(5)
    level = {"low": 0.3, "top": 0.5, "same": 0.5}
    x = {m: pd.Series(v + rng.normal(0, 0.01, 5)) for m, v in level.items()}
    assert stats.best_set(x) == {"top", "same"}
    t = sp.ttest_rel(x["low"], x["top"], alternative="less").pvalue
    assert t < 0.05 / 2
    assert stats.best_set({m: s[:2] for m, s in x.items()}) == set()  # nothing can be tested
    assert stats.best_set({"only": x["top"]}) == set()
    # a level for more planned rows is stricter
    near = {"a": pd.Series([0.50, 0.51, 0.52]), "b": pd.Series([0.512, 0.520, 0.536])}
    p = sp.ttest_rel(near["a"], near["b"], alternative="less").pvalue
    assert 0.05 / 11 < p < 0.05
    assert (stats.best_set(near), stats.best_set(near, rows=12)) == ({"b"}, {"a", "b"})


@pytest.mark.parametrize(("hits", "total"), [(0, 5), (1, 5), (5, 5), (3, 17)])
def test_the_exact_interval_of_a_share_is_that_of_statsmodels(hits: int, total: int) -> None:
    found = stats.exact_share(hits, total)
    assert found[1:3] == pytest.approx(proportion_confint(hits, total, method="beta"), abs=1e-9)


@pytest.mark.parametrize("true", [0.0, 0.01, 0.02])
def test_outside_the_margin_is_rarely_claimed_inside_it(true: float) -> None:
    rng = np.random.default_rng(7)
    draws = true + rng.normal(0, 0.015, (600, 5))
    p = [stats.p_outside(stats.paired_difference(d, delta=DELTA), DELTA) for d in draws]
    assert np.mean(np.array(p) < 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    if true == DELTA:  # at the margin the test is nearly exact
        assert np.mean(np.array(p) < 0.05) > 0.02


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("level", [0.05, 0.1])
def test_intervals_of_differences_cover(seeds: int, level: float) -> None:
    """The 95 % interval of every comparison, and the 90 % one that `equivalent` prints; paired,
    and Welch's where the seeds differ."""
    rng = np.random.default_rng(seeds)
    inside = {"paired": 0, "welch": 0}
    draws = 600
    for _ in range(draws):
        shared = rng.normal(0, 0.03, seeds)
        a = 0.02 + shared + rng.normal(0, 0.01, seeds)
        b = shared + rng.normal(0, 0.01, seeds)
        c = rng.normal(0, 0.01, seeds + 2)
        apart = 0.02 + rng.normal(0, 0.02, seeds)
        for name, d in (
            ("paired", stats.paired_difference(a, b, alpha=level)),
            ("welch", stats.welch_difference(apart, c, alpha=level)),
        ):
            inside[name] += d.low <= 0.02 <= d.high
    error = 3 * math.sqrt(level * (1 - level) / draws)
    assert inside["paired"] / draws == pytest.approx(1 - level, abs=error)
    assert inside["welch"] / draws >= 1 - level - error - 0.015  # Welch's df are approximate
