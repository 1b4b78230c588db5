"""Do the intervals cover, and do the tests keep their level? Simulations with fixed seeds.

Each bound leaves three standard errors of the simulation; the comments give the error.
"""

# scipy's annotations hide what its results hold
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as sp

from results import stats


def covered(low: float, high: float, truth: float) -> bool:
    return low <= truth <= high


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_seed_interval_covers(seeds: int) -> None:
    rng = np.random.default_rng(1)
    draws = rng.normal(0.5, 0.02, (4000, seeds))
    intervals = (stats.seed_interval(x) for x in draws)
    share = np.mean([covered(i.low, i.high, 0.5) for i in intervals])
    assert share == pytest.approx(0.95, abs=0.0105)  # 0.0034


@pytest.mark.parametrize(("seeds", "expected"), [(3, 0.75), (5, 0.84), (10, 0.90)])
def test_percentile_bootstrap_does_not_cover_at_few_seeds(seeds: int, expected: float) -> None:
    """Why the headline interval is Student's t; the note of the aggregate table quotes these."""
    rng = np.random.default_rng(2)
    hits = []
    for draw in rng.normal(0.5, 0.02, (2000, seeds)):
        got = stats.aggregate([draw], draws=400, seed=int(rng.integers(1 << 31)))["mean"]
        hits.append(covered(got.low, got.high, 0.5))
    assert np.mean(hits) == pytest.approx(expected, abs=0.03)  # 0.0097 at 0.75


def answers(rng: np.random.Generator, seeds: int, questions: int, gain: float = 0.0) -> np.ndarray:
    """Scores of one method with random seeds and random questions, mean 0.5 + gain."""
    seed = rng.normal(0, 0.02, (seeds, 1))
    question = rng.normal(0, 0.3, (1, questions))
    return 0.5 + gain + seed + question + rng.normal(0, 0.3, (seeds, questions))


def test_two_way_interval_covers_new_questions_and_new_seeds_and_simpler_ones_do_not() -> None:
    rng = np.random.default_rng(3)
    two_way, independent, by_question = [], [], []
    for _ in range(3000):
        x = answers(rng, 5, 200)
        got = stats.two_way_interval(x)
        two_way.append(covered(got.low, got.high, 0.5))
        flat, clusters = stats.seed_interval(x.ravel()), stats.seed_interval(x.mean(0))
        independent.append(covered(flat.low, flat.high, 0.5))
        by_question.append(covered(clusters.low, clusters.high, 0.5))
    assert np.mean(two_way) == pytest.approx(0.95, abs=0.02)  # 0.004, and it is approximate
    assert np.mean(independent) < 0.80
    assert np.mean(by_question) < np.mean(two_way) - 0.01


def test_two_way_interval_covers_with_thirty_hard_questions() -> None:
    """Binary answers, two thirds of the questions nearly hopeless: no case for Wilson's interval,
    which knows no seeds."""
    rng, inside = np.random.default_rng(5), []

    def chance(seed: np.ndarray, question: np.ndarray) -> np.ndarray:
        cell = rng.normal(0, 0.4, np.broadcast_shapes(seed.shape, question.shape))
        return 1 / (1 + np.exp(-(-2 + 2 * question + 0.15 * seed + cell)))

    truth = chance(rng.normal(size=400_000), rng.normal(size=400_000)).mean()
    for _ in range(2000):
        p = chance(rng.normal(size=(5, 1)), rng.normal(size=(1, 30)))
        got = stats.two_way_interval(rng.binomial(8, p) / 8)
        inside.append(covered(got.low, got.high, truth))
    assert np.mean(inside) == pytest.approx(0.945, abs=0.02)


def test_seed_interval_is_not_for_new_questions() -> None:
    rng = np.random.default_rng(4)
    hits = []
    for _ in range(1000):
        got = stats.seed_interval(answers(rng, 5, 200).mean(1))
        hits.append(covered(got.low, got.high, 0.5))
    assert np.mean(hits) < 0.85


def test_two_way_difference_of_unequal_seeds_covers() -> None:
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(2000):
        question = rng.normal(0, 0.3, 150)
        taste = rng.normal(0, 0.15, 150)  # questions that suit a
        a = 0.53 + rng.normal(0, 0.02, (3, 1)) + question + taste + rng.normal(0, 0.3, (3, 150))
        b = 0.50 + rng.normal(0, 0.03, (6, 1)) + question + rng.normal(0, 0.3, (6, 150))
        got = stats.two_way_welch(a, b)
        hits.append(covered(got.low, got.high, 0.03))
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)  # 0.005


@pytest.mark.parametrize("samples", [1, 8])
def test_question_interval_covers_on_thirty_questions(samples: int) -> None:
    """The size of AIME, where a normal interval would not; questions are drawn, not samples."""
    rng = np.random.default_rng(6)
    hits, normal = [], []
    for _ in range(3000):
        chance = rng.beta(0.3, 1.2, (30, 1))  # mean 0.2, most questions nearly never solved
        x = (rng.random((30, samples)) < chance).astype(float)
        got = stats.question_interval(x)
        hits.append(covered(got.low, got.high, 0.2))
        if samples > 1:
            flat = stats.wilson(x.sum(), x.size)
            normal.append(covered(flat.low, flat.high, 0.2))
    assert np.mean(hits) > 0.93  # 0.005
    if normal:
        assert np.mean(normal) < 0.75  # as if samples were questions


def test_minimum_detectable_effect_is_found_with_its_power() -> None:
    rng = np.random.default_rng(7)
    sigma, seeds = 0.02, 5
    effect = stats.mde(sigma / np.sqrt(seeds), seeds - 1)
    draws = effect + rng.normal(0, sigma, (4000, seeds))
    found = sp.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert np.mean(found) == pytest.approx(0.8, abs=0.02)  # 0.0063


def test_equivalence_is_rarely_claimed_at_the_margin() -> None:
    rng = np.random.default_rng(8)
    draws = 0.02 + rng.normal(0, 0.01, (4000, 5))
    claimed = [stats.paired_difference(d, delta=0.02).p_equivalent < 0.05 for d in draws]
    assert np.mean(claimed) <= 0.05 + 0.0105  # 0.0034


def test_null_grid_keeps_its_level_after_holm() -> None:
    """Six equal methods against one control, paired by seed: a false claim in 5 % of the suites;
    without the correction in far more."""
    rng = np.random.default_rng(9)
    corrected, raw = [], []
    for _ in range(2000):
        shared = rng.normal(0, 0.02, 5)  # what a seed does to every method
        scores = 0.5 + shared + rng.normal(0, 0.02, (7, 5))
        p = [stats.paired_difference(scores[i], scores[0]).p for i in range(1, 7)]
        raw.append(min(p) < 0.05)
        corrected.append(min(stats.holm(p)) < 0.05)
    assert np.mean(corrected) <= 0.05 + 0.015  # 0.005
    assert np.mean(raw) > 0.12


def test_null_grid_of_unequal_seeds_keeps_its_level_after_holm() -> None:
    rng = np.random.default_rng(10)
    claims = []
    for _ in range(1000):
        control = rng.normal(0.5, 0.02, 5)
        others = [rng.normal(0.5, s, n) for s, n in ((0.02, 5), (0.04, 4), (0.01, 8))]
        p = [stats.welch_difference(x, control).p for x in others]
        claims.append(min(stats.holm(p)) < 0.05)
    assert np.mean(claims) <= 0.05 + 0.021  # 0.007


def test_pairing_by_seed_and_question_finds_more() -> None:
    rng = np.random.default_rng(11)
    paired, unpaired = [], []
    for _ in range(600):
        shared = rng.normal(0, 0.03, 5)
        a, b = 0.53 + shared + rng.normal(0, 0.01, 5), 0.50 + shared + rng.normal(0, 0.01, 5)
        paired.append(stats.paired_difference(a, b).p < 0.05)
        unpaired.append(stats.welch_difference(a, b).p < 0.05)
    assert np.mean(paired) > np.mean(unpaired) + 0.3


@pytest.mark.parametrize("shift", [0.0, 1.5, 4.0])
def test_probability_of_improvement_covers_at_five_seeds(shift: float) -> None:
    rng = np.random.default_rng(12)
    truth = float(sp.norm.cdf(shift / np.sqrt(2)))
    hits = []
    for _ in range(1500):
        x, y = rng.normal(shift, 1, 5), rng.normal(0, 1, 5)
        got = stats.probability_of_improvement([x], [y])
        hits.append(covered(got.low, got.high, truth))
    assert np.mean(hits) > 0.93  # 0.006


def test_variance_components_are_unbiased() -> None:
    rng = np.random.default_rng(13)
    found = []
    for _ in range(300):
        seed = rng.normal(0, 0.3, (6, 1, 1))
        question = rng.normal(0, 0.5, (1, 40, 1))
        both = rng.normal(0, 0.4, (6, 40, 1))
        x = seed + question + both + rng.normal(0, 0.6, (6, 40, 3))
        found.append(stats.variance_components(x))
    mean = np.mean(found, axis=0)
    assert mean == pytest.approx([0.09, 0.25, 0.36, 0.16], rel=0.1)  # seed: 0.0035


def test_expected_best_is_unbiased_for_fresh_trials() -> None:
    rng = np.random.default_rng(14)
    curves = np.mean([stats.expected_best(x) for x in rng.random((4000, 6))], axis=0)
    # the best of n uniform draws is n / (n + 1) on average
    assert curves == pytest.approx([n / (n + 1) for n in range(1, 7)], abs=0.006)
