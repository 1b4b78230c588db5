"""Psychometrics against SciPy, brute force and simulated persons and items."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

import itertools

import numpy as np
import pytest
from scipy import stats as sp

from results import stats


def test_only_questions_strictly_between_floor_and_ceiling_are_in_the_middle():
    assert stats.in_the_middle([0.0, 0.1, 0.11, 0.5, 0.89, 0.9]) == 0.5
    assert np.isnan(stats.in_the_middle([]))


def test_discrimination_is_the_correlation_with_the_rest():
    x_PQ = np.random.default_rng(0).random((8, 5))
    rest = [np.delete(x_PQ, q, axis=1).mean(1) for q in range(5)]
    expected = [sp.pearsonr(x_PQ[:, q], rest[q]).statistic for q in range(5)]
    np.testing.assert_allclose(stats.discrimination(x_PQ), expected, rtol=1e-12)


def test_a_question_on_which_all_score_alike_discriminates_nothing():
    x_PQ = np.random.default_rng(0).random((8, 4))
    x_PQ[:, 0] = 1.0
    found = stats.discrimination(x_PQ)
    assert np.isnan(found[0]) and np.isfinite(found[1:]).all()
    assert np.isnan(stats.discrimination(x_PQ[:2])).all()  # two persons correlate by +-1 always


def test_discrimination_finds_the_items_that_depend_on_ability():
    """Two-parameter logistic items with slopes 0 and 3."""
    rng = np.random.default_rng(1)
    slope_Q = np.repeat([0.0, 3.0], 40)
    chance_PQ = 1 / (1 + np.exp(-slope_Q * rng.normal(size=(60, 1))))
    found = stats.discrimination((rng.random(chance_PQ.shape) < chance_PQ).astype(float))
    assert np.nanmean(found[:40]) < 0.1 and np.nanmean(found[40:]) > 0.5


def test_spearman_brown_predicts_the_longer_test():
    """The correlation of two whole parallel tests, from that of their halves."""
    rng = np.random.default_rng(2)
    ability_P = rng.normal(size=(20_000, 1))
    tests = [ability_P + rng.normal(scale=3, size=(20_000, 8)) for _ in range(2)]
    halves = sp.pearsonr(tests[0][:, :4].mean(1), tests[0][:, 4:].mean(1)).statistic
    whole = sp.pearsonr(tests[0].mean(1), tests[1].mean(1)).statistic
    assert stats.spearman_brown(float(halves)) == pytest.approx(whole, abs=0.02)
    assert stats.spearman_brown(0.5, times=3) == pytest.approx(0.75)


def test_split_half_is_the_mean_over_the_halves_of_spearmans_correlation():
    x_MQ = np.random.default_rng(3).random((5, 6)) + np.arange(5)[:, None] / 8
    found = []
    for half in itertools.combinations(range(6), 3):
        other = [q for q in range(6) if q not in half]
        found.append(sp.spearmanr(x_MQ[:, list(half)].mean(1), x_MQ[:, other].mean(1)).statistic)
    expected = stats.spearman_brown(float(np.mean(found)))
    assert stats.split_half(x_MQ, splits=4000) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("apart", "low", "high"), [(0.0, -0.5, 0.5), (0.2, 0.95, 1.0)])
def test_split_half_is_high_where_methods_differ_and_not_where_they_do_not(apart, low, high):
    rng = np.random.default_rng(4)
    found = []
    for _ in range(20):
        chance_MQ = rng.uniform(0.2, 0.4, size=256) + apart * np.arange(3)[:, None]
        found.append(stats.split_half(rng.random(chance_MQ.shape) < chance_MQ, splits=50))
    assert low < np.mean(found) <= high


def test_a_ranking_of_two_methods_has_no_reliability():
    assert np.isnan(stats.split_half(np.eye(2, 8)))


def test_rank_agreement_is_kendalls_tau():
    rng = np.random.default_rng(5)
    a_M, b_M = rng.random(9), rng.random(9)
    tau, pairs = stats.rank_agreement(a_M, b_M)
    assert pairs == 36 and tau == pytest.approx(sp.kendalltau(a_M, b_M).statistic)


def test_rank_agreement_over_the_pairs_that_count():
    a_M, b_M = [1, 2, 3, 4], [1, 2, 4, 3]  # one pair of six is turned
    assert stats.rank_agreement(a_M, b_M) == (pytest.approx(4 / 6), 6)
    apart_MM = np.ones((4, 4), bool)
    apart_MM[2, 3] = apart_MM[3, 2] = False
    assert stats.rank_agreement(a_M, b_M, apart_MM) == (1.0, 5)
    assert stats.rank_agreement([1, 1], [1, 2]) == (0.0, 1)
    assert np.isnan(stats.rank_agreement(a_M, b_M, np.zeros((4, 4), bool)).tau)


def test_seen_is_unbiased_where_there_are_enough_samples():
    """Simulated: questions of very different p, 10 samples each, groups of 4."""
    rng = np.random.default_rng(6)
    p_Q = np.tile([0.0, 0.05, 0.6], 200)
    found = [stats.seen(rng.binomial(10, p_Q), np.full(len(p_Q), 10), 4) for _ in range(50)]
    assert np.mean(found) == pytest.approx(np.mean(1 - (1 - p_Q) ** 4), abs=0.005)


def test_seen_from_few_samples_takes_one_rate_for_all():
    assert stats.seen([1, 0], [2, 2], 8) == pytest.approx(1 - 0.75**8)
    assert stats.seen([0, 0], [2, 2], 8) == 0.0
    assert np.isnan(stats.seen([], [], 8))
