"""Two single models: the exact test against statsmodels and brute force, coverage by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from results import stats


def answers(rng: np.random.Generator, n: int, differ: float, gain: float) -> np.ndarray:
    """Differences of single answers: -1, 0 or 1."""
    odds = [(differ - gain) / 2, 1 - differ, (differ + gain) / 2]
    return rng.choice([-1.0, 0.0, 1.0], n, p=odds)


def test_with_single_answers_it_is_mcnemar():
    rng = np.random.default_rng(0)
    for n in (1, 7, 40, 300):
        a, b = rng.random(n) < 0.5, rng.random(n) < 0.65
        assert stats.sign_flips(a.astype(float) - b) == pytest.approx(stats.mcnemar(a, b).p)


def test_with_several_answers_it_is_every_flip():
    d = np.array([0.5, -0.25, 0.75, 0.5, 0.0, 0.25, 1.0, 0.5])
    flips = np.array([*itertools.product((-1, 1), repeat=len(d))]) @ d
    p = np.mean(np.abs(flips) >= abs(d.sum()) - 1e-12)
    assert stats.sign_flips(d) == pytest.approx(p)
    many = np.tile(d, 8)  # drawn flips: near the normal limit
    z = abs(many.sum()) / np.sqrt((many**2).sum())
    assert stats.sign_flips(many) == pytest.approx(2 * stats.sp.norm.sf(z), abs=0.01)


@pytest.mark.parametrize(("n", "differ", "gain"), [
    (30, 0.1, 0.0), (300, 0.05, 0.02), (30, 0.4, 0.15), (100, 0.05, 0.0), (100, 0.2, 0.05),
    (500, 0.05, 0.01),
])  # fmt: skip
def test_the_interval_covers_and_the_verdict_errs_rarely(n, differ, gain):
    rng = np.random.default_rng(1)
    found = [stats.question_difference(answers(rng, n, differ, gain)) for _ in range(1000)]
    known = [f for f in found if f.low == f.low]
    assert np.mean([f.low <= gain <= f.high for f in known]) > 0.935
    if gain == 0:
        assert np.mean([f.p < 0.05 for f in found]) < 0.05
    # equivalence within a margin that the truth just reaches
    margin = max(gain, 0.02)
    at_edge = [answers(rng, n, max(differ, margin), margin) for _ in range(1000)]
    wrong = [stats.question_difference(d, delta=margin).p_equivalent < 0.05 for d in at_edge]
    assert np.mean(wrong) < 0.06


def test_no_question_differs():
    alike = stats.question_difference(np.zeros(200))
    assert alike.p == 1 and np.isnan(alike.low) and alike.p_equivalent == 0.98**200
    assert np.isnan(stats.question_difference([0.0]).p)
    assert np.isnan(stats.question_difference([]).estimate)
