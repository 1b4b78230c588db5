"""Each statistic against scipy, statsmodels, brute force or arithmetic done by hand."""

# scipy's annotations hide what its results hold
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as sp
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from results import stats

RNG = np.random.default_rng(20260101)
A, B = RNG.normal(0.52, 0.02, 6), RNG.normal(0.50, 0.03, 6)


def test_pass_at_k_counts_the_subsets_that_hold_a_correct_sample() -> None:
    for total in range(1, 8):
        for correct in range(total + 1):
            samples = [True] * correct + [False] * (total - correct)
            for k in range(1, total + 1):
                draws = [any(draw) for draw in itertools.combinations(samples, k)]
                got = stats.pass_at_k(correct, total, k)
                assert got == pytest.approx(np.mean(draws), abs=1e-12)


def test_pass_at_k_refuses_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="pass@5"):
        stats.pass_at_k([1, 2], [4, 8], 5)


def majority_by_hand(answers: list[str | None], correct: list[bool], k: int) -> float:
    shares = []
    for draw in itertools.combinations(range(len(answers)), k):
        named = ("right" if correct[i] else answers[i] for i in draw)
        votes = Counter(a for a in named if a is not None)
        top = [a for a, n in votes.items() if n == max(votes.values())]
        shares.append(("right" in top) / len(top) if top else 0.0)
    return float(np.mean(shares))


def test_maj_at_k_is_the_mean_over_all_subsets() -> None:
    for _ in range(40):
        answers: list[str | None] = [
            None if a == "x" else str(a) for a in RNG.choice(list("abcx"), 6)
        ]
        correct = [a == "a" for a in answers]
        for k in (1, 2, 3, 5, 6):
            got = stats.maj_at_k([answers], [correct], k)
            assert got == pytest.approx([majority_by_hand(answers, correct, k)])


def test_maj_counts_all_correct_answers_as_one_candidate() -> None:
    # 1/2 and 0.5 are both right and outvote two wrong "3"s together with 0.50
    answers = ["1/2", "0.5", "0.50", "3", "3"]
    assert stats.maj_at_k([answers], [[True, True, True, False, False]]) == [1.0]


def test_maj_of_many_samples_draws_subsets_near_the_exact_value() -> None:
    answers = ["a"] * 9 + ["b"] * 7
    correct = [True] * 9 + [False] * 7
    # majority of 5 of 16 (9 right, no ties): a hypergeometric tail; 1,000 draws have error 0.015
    exact = float(sp.hypergeom(16, 9, 5).sf(2))
    assert stats.maj_at_k([answers], [correct], 5)[0] == pytest.approx(exact, abs=0.05)


def test_seed_interval_is_scipys_t_interval() -> None:
    expected = sp.ttest_1samp(A, 0).confidence_interval(0.95)
    got = stats.seed_interval(A)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))
    assert got.half == pytest.approx((expected.high - expected.low) / 2)


def test_paired_difference_is_scipys_paired_t() -> None:
    expected = sp.ttest_rel(A, B)
    interval = expected.confidence_interval(0.95)
    got = stats.paired_difference(A, B)
    assert got.p == pytest.approx(expected.pvalue)
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high))


def test_welch_difference_is_scipys() -> None:
    expected = sp.ttest_ind(A, B[:4], equal_var=False)
    interval = expected.confidence_interval(0.95)
    got = stats.welch_difference(A, B[:4])
    assert got.p == pytest.approx(expected.pvalue)
    assert got.df == pytest.approx(expected.df)
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high))


def test_equivalence_is_statsmodels_tost() -> None:
    for delta in (0.005, 0.02, 0.08):
        expected = ttost_paired(A, B, -delta, delta)[0]
        assert stats.paired_difference(A, B, delta).p_equivalent == pytest.approx(expected)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 30])
def test_mde_is_statsmodels_solve_power(seeds: int) -> None:
    effect = TTestPower().solve_power(nobs=seeds, alpha=0.05, power=0.8, alternative="two-sided")
    d = np.arange(seeds) * 0.01
    expected = effect * d.std(ddof=1)
    assert stats.paired_difference(d).mde == pytest.approx(expected, rel=1e-4)


def test_holm_is_statsmodels_and_leaves_out_what_was_not_tested() -> None:
    p = np.array([0.04, 0.001, 0.2, 0.03, 0.03])
    assert stats.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_gap = stats.holm([0.04, np.nan, 0.03])
    assert with_gap[[0, 2]] == pytest.approx(multipletests([0.04, 0.03], method="holm")[1])
    assert np.isnan(with_gap[1])


def test_wilson_is_statsmodels() -> None:
    for successes, total in ((0, 30), (7, 30), (30, 30), (433, 1319)):
        expected = proportion_confint(successes, total, method="wilson")
        got = stats.wilson(successes, total)
        assert (got.low, got.high) == pytest.approx(expected, abs=1e-12)


def test_question_interval_of_independent_samples_is_wilson_with_t_for_z() -> None:
    x = np.array([[1.0], [0.0], [1.0], [1.0], [0.0]])
    factor = (sp.norm.ppf(0.975) / sp.t.ppf(0.975, 4)) ** 2
    expected = stats.wilson(0.6 * 5 * factor, 5 * factor)
    assert stats.question_interval(x)[:3] == pytest.approx(expected[:3])


def test_identical_samples_of_a_question_count_once() -> None:
    x = RNG.random(40) < 0.4
    once = stats.question_interval(x[:, None])
    copied = stats.question_interval(np.repeat(x[:, None], 8, axis=1))
    assert copied[:4] == pytest.approx(once[:4])


def test_question_interval_by_hand() -> None:
    """Three samples of three questions: 111, 110, 000. Means 1, 2/3, 0, in all 5/9.

    MSB = 3 * (16 + 1 + 25) / 81 / 2 = 7/9, MSW = (0 + 1/3 + 0) / 3 = 1/9,
    r = (7/9 - 1/9) / (7/9 + 2 * 1/9) = 2/3, so nine answers are worth 9 / (1 + 2 * 2/3) = 27/7.
    """
    got = stats.question_interval([[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    factor = (sp.norm.ppf(0.975) / sp.t.ppf(0.975, 2)) ** 2
    expected = stats.wilson(5 / 9 * 27 / 7 * factor, 27 / 7 * factor)
    assert got[:3] == pytest.approx(expected[:3])


def test_mcnemar_is_the_binomial_test_of_the_discordant_questions() -> None:
    a, b = RNG.random(300) < 0.5, RNG.random(300) < 0.4
    got = stats.mcnemar(a, b)
    assert got.only_a == sum(a & ~b)
    expected = sp.binomtest(got.only_a, got.only_a + got.only_b).pvalue
    assert got.p == pytest.approx(expected)


def test_aggregates_by_hand() -> None:
    x = [[0.0, 0.1, 0.2, 0.3], [0.4, 0.5, 0.6, 1.5]]
    got = stats.aggregate(x, draws=10)
    assert got["iqm"].mean == pytest.approx((0.2 + 0.3 + 0.4 + 0.5) / 4)
    assert got["median"].mean == pytest.approx(0.35)
    assert got["mean"].mean == pytest.approx(0.45)
    # 1.5 counts as at the target of 1: (1 + .9 + .8 + .7 + .6 + .5 + .4 + 0) / 8
    assert got["optimality_gap"].mean == pytest.approx(4.9 / 8)


def test_bootstrap_of_one_task_is_scipys_percentile_bootstrap() -> None:
    x = RNG.normal(0.5, 0.05, 12)
    expected = sp.bootstrap((x,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    got = stats.aggregate([x], draws=20_000)["mean"]
    interval = expected.confidence_interval
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high), abs=0.002)


def test_bootstrap_redraws_seeds_within_tasks() -> None:
    # two tasks far apart and without spread inside: a stratified bootstrap has no width at all
    got = stats.aggregate([[0.1] * 5, [0.9] * 5], draws=200)["mean"]
    assert (got.low, got.high) == (0.5, 0.5)


def test_probability_of_improvement_counts_pairs_and_halves_ties() -> None:
    x, y = [0.3, 0.5, 0.5], [0.4, 0.5]
    pairs = [(a > b) + 0.5 * (a == b) for a in x for b in y]
    assert stats.probability_of_improvement([x], [y]).mean == pytest.approx(np.mean(pairs))
    swapped = stats.probability_of_improvement([y], [x])
    forward = stats.probability_of_improvement([x], [y])
    assert (1 - swapped.high, 1 - swapped.low) == pytest.approx((forward.low, forward.high))


def test_probability_of_improvement_stays_open_when_all_pairs_are_won() -> None:
    got = stats.probability_of_improvement([[0.6, 0.7, 0.8]], [[0.1, 0.2, 0.3]])
    assert got.mean == got.high == 1.0
    assert 0.3 < got.low < 0.9


def test_performance_profile_counts_cells_and_refuses_few() -> None:
    tasks = [np.linspace(0, 1, 10), np.linspace(0.5, 1.5, 10)]
    share, low, high = stats.performance_profile(tasks, [0.25, 0.95])
    assert share == pytest.approx([(7 + 10) / 20, (1 + 5) / 20])
    assert np.all((low <= share) & (share <= high))
    with pytest.raises(ValueError, match="there are 10"):
        stats.performance_profile([tasks[0]], [0.5])


def test_normalised_auc_of_a_ramp_and_of_a_run_that_ended_early() -> None:
    assert stats.normalised_auc([0, 10], [0.0, 1.0], 10) == pytest.approx(0.5)
    assert stats.normalised_auc([0, 10], [0.0, 1.0], 5) == pytest.approx(0.25)
    # (0.5 * 10 + 1.0 * 10) / 20: stays at its last value
    assert stats.normalised_auc([0, 10], [0.0, 1.0], 20) == pytest.approx(0.75)


def test_time_to_threshold_interpolates_and_is_censored_at_the_budget() -> None:
    x, y = [0, 10, 20], [0.2, 0.3, 0.5]
    assert stats.time_to_threshold(x, y, 0.4, 20) == (15.0, True)
    assert stats.time_to_threshold(x, y, 0.1, 20) == (0.0, True)
    assert stats.time_to_threshold(x, y, 0.6, 20) == (20, False)
    assert stats.time_to_threshold(x, y, 0.4, 12) == (12, False)


def test_restricted_mean_is_the_mean_under_censoring_at_the_end_alone() -> None:
    times, reached = [4.0, 10.0, 6.0, 10.0], [True, False, True, False]
    assert stats.restricted_mean(times, reached, 10) == pytest.approx(7.5)


def test_restricted_mean_is_the_area_under_statsmodels_survival_curve() -> None:
    from statsmodels.duration.survfunc import SurvfuncRight

    times, reached = RNG.exponential(10, 40).round(2), RNG.random(40) < 0.7
    curve = SurvfuncRight(times, reached.astype(int))
    grid = np.concatenate([[0], curve.surv_times[curve.surv_times < 12], [12]])
    heights = np.concatenate([[1], curve.surv_prob[curve.surv_times < 12]])
    expected = float((np.diff(grid) * heights).sum())
    assert stats.restricted_mean(times, reached, 12.0) == pytest.approx(expected)


def test_expected_best_is_the_mean_over_all_subsets_of_trials() -> None:
    scores = [0.31, 0.5, 0.42, 0.42, 0.1]
    for n in range(1, 6):
        best = [max(draw) for draw in itertools.combinations(scores, n)]
        assert stats.expected_best(scores)[n - 1] == pytest.approx(np.mean(best))


def test_expected_best_of_draws_with_replacement_would_be_too_low() -> None:
    scores = np.array([0.31, 0.5, 0.42, 0.42, 0.1])
    with_replacement = np.mean([max(d) for d in itertools.product(scores, repeat=4)])
    assert stats.expected_best(scores)[3] > with_replacement + 0.01


def test_two_way_interval_by_hand() -> None:
    # seeds x questions without interaction: cells are row + column, so V_cell is 0
    x = np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]])
    v_seed, v_question = np.var([0.3, 0.4], ddof=1) / 2, np.var([0.15, 0.35, 0.55], ddof=1) / 3
    got = stats.two_way_interval(x)
    assert got.se**2 == pytest.approx(v_seed + v_question)
    assert got.df == pytest.approx((v_seed + v_question) ** 2 / (v_seed**2 + v_question**2 / 2))


def test_two_way_variance_never_falls_below_its_larger_part() -> None:
    # equal seed means, opposite tastes: V_seed is 0 and V_cell more than V_question
    x = np.array([[0.0, 1.0, 0.4], [1.0, 0.0, 0.4]])
    v_question = np.var([0.5, 0.5, 0.4], ddof=1) / 3
    assert stats.two_way_interval(x).se ** 2 == pytest.approx(v_question)


def test_verdicts() -> None:
    assert stats.verdict(0.05, 0.01, 0.9) == "better"
    assert stats.verdict(-0.05, 0.01, 0.9) == "worse"
    assert stats.verdict(0.001, 0.6, 0.01) == "equivalent"
    assert stats.verdict(0.03, 0.3, 0.4) == "undetermined"
    assert stats.verdict(0.03, np.nan, np.nan) == "undetermined"


def test_one_seed_and_no_spread_leave_the_error_unknown() -> None:
    for d in ([0.03], [0.03, 0.03], [0.0], [0.0, 0.0, 0.0]):
        got = stats.paired_difference(d)
        assert got.estimate == pytest.approx(d[0])
        assert np.isnan([got.low, got.high, got.p_equivalent, got.mde]).all()
        assert got.p == 1 if d == [0.0] * 3 else np.isnan(got.p)
        assert np.isnan(stats.seed_interval(d).half)
    assert np.isnan(stats.welch_difference([0.5, 0.5], [0.5, 0.5, 0.5]).p)
    for x_SQ in (np.zeros((3, 9)), np.full((3, 9), 0.5)):
        assert np.isnan(stats.two_way_interval(x_SQ).half)


def test_equal_scores_bound_how_far_apart_two_methods_may_be() -> None:
    """`never_apart` is scipy's binomial test of no differing score against a share delta."""
    for cells, delta in ((5, 0.02), (149, 0.02), (2560, 0.03)):
        expected = sp.binomtest(0, cells, delta, alternative="less").pvalue
        assert stats.never_apart(cells, delta) == pytest.approx(expected)
    assert stats.never_apart(148, 0.02) > 0.05 > stats.never_apart(149, 0.02)


def test_published_accuracies_of_four_models_on_gsm8k(data_dir: Path) -> None:
    """Cobbe et al., arXiv 2110.14168: 21.7, 39.0, 34.7 and 56.3 % of 1,319 questions."""
    path = data_dir / "checker" / "model_solutions.jsonl"
    labels: dict[str, list[bool]] = {}
    with path.open() as file:
        for line in file:
            row = json.loads(line)
            labels.setdefault(row["generator"], []).append(row["correct"])
    printed = {
        "gpt3-6b_finetuning": 21.7,
        "gpt3-6b_verification": 39.0,
        "gpt3-175b_finetuning": 34.7,
        "gpt3-175b_verification": 56.3,
    }
    for model, percent in printed.items():
        found = stats.question_interval(np.array(labels[model])[:, None])
        assert round(100 * found.mean, 1) == percent
        assert len(labels[model]) == 1319
        assert found.low < percent / 100 < found.high
    both = [np.array(labels[m]) for m in ("gpt3-175b_verification", "gpt3-175b_finetuning")]
    assert stats.mcnemar(*both).p < 1e-20


def test_the_parts_of_the_reported_means_variance_add_up_to_it() -> None:
    """To the variance behind the interval for new seeds and new questions."""
    rng = np.random.default_rng(3)
    x = 0.5 + rng.normal(0, 0.1, (5, 1, 1)) + rng.normal(0, 0.3, (1, 40, 1))
    x = x + rng.normal(0, 0.2, (5, 40, 1)) + rng.normal(0, 0.4, (5, 40, 3))
    parts = stats.variance_components(x).of_the_mean(*x.shape)
    assert sum(parts) == pytest.approx(stats.two_way_interval(x.mean(2)).se ** 2)
    assert parts.decoding == pytest.approx(stats.variance_components(x).decoding / 600)
