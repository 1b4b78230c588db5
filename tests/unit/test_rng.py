import numpy as np
from scipy import stats

from bench.core import rng


def test_a_rows_numbers_do_not_depend_on_the_other_rows():
    keys = [rng.key(0, "sample", 3, "p", g) for g in range(5)]
    whole = rng.uniforms(keys, 20)
    assert (rng.uniforms(keys[3:4], 20)[0] == whole[3]).all()
    assert (rng.uniforms(keys, 7) == whole[:, :7]).all()


def test_numbers_are_uniform_and_independent():
    u = rng.uniforms([rng.key("uniform", i) for i in range(400)], 50)
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u[:, 0], u[:, 1])[0, 1]) < 0.15
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.15


def test_keys_tell_parts_apart():
    assert rng.key("a", "bc") != rng.key("ab", "c")
    assert len({rng.key(s, "sample", t) for s in range(30) for t in range(30)}) == 900


def test_prompt_order_covers_each_epoch_once_in_any_portions():
    whole = rng.prompt_order(seed=1, count=7, start=0, size=21)
    for epoch in range(3):
        assert sorted(whole[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert whole[:7] != whole[7:14]
    pieces = [i for start in range(0, 21, 3) for i in rng.prompt_order(1, 7, start, 3)]
    assert pieces == whole
    assert rng.prompt_order(2, 7, 0, 21) != whole
