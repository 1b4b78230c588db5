"""Seeds until it is settled: the formula against brute force, and errors under any stopping."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate

from results import stats

SUITES = 4000
LOOKS = np.arange(stats.FIRST, 21)


def first_stops(x_RN: np.ndarray, alpha: float = 0.05) -> np.ndarray:
    """Seeds at which each row first leaves out 0; 0 where it never does. Looks after every seed."""
    n = np.arange(1, x_RN.shape[1] + 1)
    mean = x_RN.cumsum(1) / n
    squares = (x_RN**2).cumsum(1) - n * mean**2
    with np.errstate(all="ignore"):
        t = mean / np.sqrt(squares / (n - 1) / n)
        hit = stats.bayes_factor(t, n) >= 1 / alpha
    hit[:, : stats.FIRST - 1] = False
    return np.where(hit.any(1), hit.argmax(1) + 1, 0)


def nulls(rng: np.random.Generator, suites: int, seeds: int) -> dict[str, np.ndarray]:
    """Differences whose mean is 0."""
    shape = (suites, seeds)
    collapsed = rng.random(shape) < 0.1
    return {
        "normal": rng.normal(size=shape),
        "exponential": rng.exponential(size=shape) - 1,
        "log-normal": np.exp(rng.normal(size=shape)) - np.exp(0.5),
        "one run in ten collapses by 20 sd": rng.normal(size=shape) - 20 * collapsed + 2,
    }


@pytest.mark.parametrize(("n", "g"), [(2, 4.0), (5, 16.0), (9, 1.0)])
def test_the_bayes_factor_is_the_integral_over_sigma(n, g):
    d = np.random.default_rng(n).normal(0.7, 1, n)

    def evidence(covariance: np.ndarray) -> float:
        form = d @ np.linalg.inv(covariance) @ d
        inner = integrate.quad(
            lambda log_s: np.exp(-n * log_s - form / 2 * np.exp(-2 * log_s)), -15, 15, limit=500
        )[0]
        return inner / np.sqrt(np.linalg.det(covariance))

    wanted = evidence(np.eye(n) + g * np.ones((n, n))) / evidence(np.eye(n))
    t = d.mean() / d.std(ddof=1) * np.sqrt(n)
    assert stats.bayes_factor(t, n, g) == pytest.approx(wanted)


def test_the_factor_is_a_martingale():
    """Its mean under H0 stays 1: a test that stops at any fixed time is fair."""
    x = np.random.default_rng(0).normal(3, 5, (200_000, 4)) - 3
    for n in (2, 3, 4):
        part = x[:, :n]
        t = part.mean(1) / part.std(axis=1, ddof=1) * np.sqrt(n)
        # a small g: the mean of a large one rests on few suites
        assert stats.bayes_factor(t, n, 0.2).mean() == pytest.approx(1, abs=0.02)


def test_the_sequence_holds_the_means_that_are_not_rejected():
    d = np.random.default_rng(1).normal(0.3, 1, 7)
    found = stats.confidence_sequence(d, 0.01)
    for edge in (found.low, found.high):
        t = (d - edge).mean() / d.std(ddof=1) * np.sqrt(7)
        assert stats.bayes_factor(t, 7) == pytest.approx(100)
    assert np.isinf(stats.confidence_sequence(d[:2], 1e-6).high)
    assert np.isnan(stats.confidence_sequence([0.1, 0.1, 0.1]).low)


def test_normal_differences_err_rarely_however_often_one_looks():
    x = np.random.default_rng(2).normal(0, 3, (1500, 400))
    assert np.mean(first_stops(x) > 0) < 0.05
    assert np.mean(first_stops(x[:, :20]) > 0) > 0.005  # and not because it never stops


def test_other_nulls_are_as_printed():
    rng = np.random.default_rng(3)
    for name, x in nulls(rng, SUITES, 20).items():
        assert np.mean(first_stops(x) > 0) == pytest.approx(stats.NULLS[name], abs=0.025), name
    assert [*nulls(rng, 1, 3)] == [*stats.NULLS]


@pytest.mark.parametrize("effect", [0.0, 1.0, 3.0])
def test_the_sequence_covers_at_all_times_together(effect):
    x = np.random.default_rng(4).normal(effect, 1, (SUITES, 20))
    assert np.mean(first_stops(x - effect) > 0) < 0.05  # the truth is rejected at some time


def test_a_family_of_verdicts_errs_rarely_with_its_own_stopping():
    """Eleven methods equal to the control, which all differences share; the whole verdict."""
    rng, wrong, suites = np.random.default_rng(5), 0, 150
    for _ in range(suites):
        scores = rng.normal(0.5, 0.02, (12, 12))
        open_now = set(range(1, 12))
        for n in range(stats.FIRST, 13):
            said = {m: stats.settle(scores[m, :n] - scores[0, :n], 0.02, 0.05 / 11)
                    for m in open_now}  # fmt: skip
            wrong += any(one.verdict in ("better", "worse") for one in said.values())
            open_now -= {m for m, one in said.items() if one.verdict != "undetermined"}
    assert wrong / suites < 0.05


def test_equivalence_errs_rarely_where_the_truth_is_at_the_margin():
    rng, wrong = np.random.default_rng(6), 0
    for _ in range(300):
        d = rng.normal(0.02, 0.004, 15)
        wrong += any(stats.settle(d[:n], 0.02).verdict == "equivalent" for n in range(3, 16))
    assert wrong / 300 < 0.05


def test_large_effects_settle_in_few_seeds_and_small_margins_are_shown():
    rng = np.random.default_rng(7)
    stops = first_stops(rng.normal(5, 1, (SUITES, 20)), 0.05 / 8)
    assert (stops > 0).all() and 4 < stops.mean() < 6
    found = stats.settle(rng.normal(0, 0.002, 8), 0.02, 0.05 / 8)
    assert found.verdict == "equivalent" and found.seeds == 8
    assert stats.settle([0.3, 0.31]).verdict == "undetermined"  # two seeds say nothing
    assert stats.settle([0.1, 0.1, 0.1]).verdict == "undetermined"  # nor do equal ones
    assert stats.settle([-0.3, -0.31, -0.29, -0.3]).verdict == "worse"
