"""What an objective cannot learn, and what it can see, in expectation: fast twins of the controls
in tests/e2e/test_ground.py. One prompt, enumerated groups, no network (methods/laws/flow.py)."""

import numpy as np
import pytest
import torch
from scipy import stats as sp

import methods
from methods.laws.flow import Bandit, expected_gradient, flow
from tasks.skills import SHARES

GROUP = 8


def bandit(reward: list[float], start: list[float]) -> Bandit:
    reward_K = torch.tensor(reward, dtype=torch.float64)
    return Bandit(reward_K, reward_K > 0, torch.tensor(start, dtype=torch.float64))


def speed(name: str, p: float) -> float:
    """Of the log-odds of a right answer of probability p against a wrong one."""
    of = bandit([1.0, 0.0], [p, 1 - p])
    _, gradient_K = expected_gradient(methods.get(name), of, of.ref_K.log(), GROUP)
    return float(gradient_K[1] - gradient_K[0])


@pytest.mark.parametrize("name", ["grpo", "dr-grpo", "rloo"])
@pytest.mark.parametrize("p", [0.03, 0.5, 0.9])
def test_random_rewards_move_nothing_in_expectation(name, p):
    """Each answer stands twice, with reward 1 and 0 at equal chance; the policy cannot tell the
    copies apart, so a habit's gradient is the sum of both."""
    of = bandit([1.0, 0.0, 1.0, 0.0], [p / 2, p / 2, (1 - p) / 2, (1 - p) / 2])
    _, gradient_K = expected_gradient(methods.get(name), of, of.ref_K.log(), group=4)
    assert gradient_K.abs().max() > 1e-3  # single answers do move
    assert float(gradient_K[0] + gradient_K[1]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["grpo", "dr-grpo", "rloo", "gift"])
def test_a_reward_that_all_answers_earn_moves_nothing(name):
    """`format`: a guess has the form too."""
    of = bandit([1.0, 1.0, 1.0], [0.1, 0.6, 0.3])
    _, gradient_K = expected_gradient(methods.get(name), of, of.ref_K.log(), group=4)
    assert float(gradient_K.abs().max()) < 1e-9


def test_the_speed_of_grpo_is_what_its_groups_show():
    """Of K right answers in a group of G, the advantages are (r - K/G) / s with the standard
    deviation s (ddof 1), and the expected speed of the log-odds is 2 E[K (1 - K/G) / s] / G."""
    right = np.arange(1, GROUP)
    spread = np.sqrt(right * (GROUP - right) / (GROUP * (GROUP - 1)))
    for p in (0.02, 0.2, 0.5):
        worth = right * (1 - right / GROUP) / (spread + 1e-4)
        expected = 2 * float((sp.binom.pmf(right, GROUP, p) * worth).sum()) / GROUP
        assert speed("grpo", p) == pytest.approx(expected, rel=1e-3)


def test_rungs_rise_in_the_order_in_which_a_group_shows_them():
    """The simulation of expected updates: all rungs start together, and what is right in no group
    does not move. RFT, whose gradient is p where GRPO's is about p sqrt(G - 1), trails on rare
    rungs when it is level on the commonest."""
    shown = [1 - (1 - p) ** GROUP for p in SHARES]
    assert sum(share > 0.5 for share in shown) == 3  # 50, 30 and 15 %
    for name in ("grpo", "rft"):
        ends = []
        for share in SHARES:
            of = bandit([1.0, 0.0], [max(share, 1e-9), 1 - share])
            path = flow(methods.get(name), of, of.ref_K, time=4.0, steps=6, group=GROUP)
            ends.append(float(path.policy_SK[-1, 0]))
        assert np.all(np.diff(ends) < 0) and ends[-1] < 1e-6
        assert all(end > share for end, share in zip(ends, SHARES, strict=True))
    ratio = [speed("grpo", p) / speed("rft", p) for p in (0.5, 0.15, 0.03)]
    assert ratio[0] < ratio[1] < ratio[2]
