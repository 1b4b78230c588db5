import pytest

from tasks import Example, Grade, rewards

EXAMPLE = Example("id", "prompt", "gold")
RIGHT = Grade(True, False, "ok", "", "", True)
WRONG = Grade(False, False, "wrong", "", "", False)
JUDGED = Grade(False, False, "wrong", "", "", True, reward=-1.5)


def test_named_rewards():
    values = {
        name: [rewards.load(name)(EXAMPLE, "text", g) for g in (RIGHT, WRONG, JUDGED)]
        for name in rewards.names()
    }
    coin = values.pop("random")
    assert values == {"correct": [1, 0, -1.5], "strict": [0, 0, 0], "format": [1, 0, 1]}
    assert len(set(coin)) == 1


def test_random_reward_is_a_fair_coin_and_repeats():
    coin = rewards.load("random")
    tosses = [coin(EXAMPLE, str(i), WRONG) for i in range(2000)]
    assert tosses == [coin(EXAMPLE, str(i), RIGHT) for i in range(2000)]
    assert 0.45 < sum(tosses) / 2000 < 0.55  # 4.5 standard errors
    assert coin(EXAMPLE, "\ud800", WRONG) in (0, 1)


def test_unknown_rewards_are_refused(tmp_path):
    with pytest.raises(KeyError, match="did you mean correct"):
        rewards.load("corect")
    with pytest.raises(KeyError, match="no file"):
        rewards.load(f"{tmp_path}/none.py:f")
    (tmp_path / "r.py").write_text("f = 3\n")
    with pytest.raises(KeyError, match="no function 'f'"):
        rewards.load(f"{tmp_path}/r.py:f")


@pytest.mark.parametrize("value, error", [("float('nan')", ValueError), ("'1'", TypeError)])
def test_a_plugin_must_give_finite_numbers(tmp_path, value, error):
    (tmp_path / "r.py").write_text(f"def f(example, response, grade):\n    return {value}\n")
    with pytest.raises(error, match=r"reward .*r\.py:f"):
        rewards.load(f"{tmp_path}/r.py:f")(EXAMPLE, "", RIGHT)
