"""What `evenbench anatomy` marks as theory is where the flows end."""

from __future__ import annotations

import math

import pytest
import torch

import methods
from methods.laws.flow import Bandit, expected_gradient, trace
from methods.laws.theory import Destination, destination, tilted

VERDICTS = Bandit(
    torch.tensor([1.0, 1.0, 0.0]).double(), torch.tensor([True, True, False]),
    torch.tensor([0.15, 0.35, 0.5]).double(), gold=0,
)  # fmt: skip
GRADED = Bandit(
    torch.tensor([0.4, 1.0, 0.0]).double(), torch.tensor([False, True, False]),
    torch.tensor([0.3, 0.2, 0.5]).double(), gold=1,
)  # fmt: skip
VARIANTS = [
    ("ppo", {"reward_kl": 0.5, "whiten": False}),
    ("ppo", {"reward_kl": 0.0}),
    ("reinforce++", {"reward_kl": 0.5}),
    ("reinforce", {"kl": 0.5}),
    ("rloo", {"kl": 0.5}),
    ("dr-grpo", {"kl": 0.3}),
    ("grpo", {"kl": 0.3, "std": False, "kl_correction": True}),
    ("dr-grpo", {"kl": 0.3, "kl_estimator": "k2"}),
    ("dr-grpo", {"kl": 0.3, "kl_estimator": "k1"}),
    ("ipo", {"beta": 0.25}),
    ("naive", {"negative_reward": -0.1}),
    ("raft", {}),
    ("dft", {"on": "gold"}),
]
CASES = [(name, {}) for name in methods.names()] + VARIANTS


@pytest.mark.parametrize("of", [VERDICTS, GRADED], ids=["verdicts", "graded"])
@pytest.mark.parametrize(("name", "fields"), CASES, ids=str)
def test_the_path_ends_where_theory_says(name, fields, of):
    method = methods.get(name, **fields)
    group = 3 if name == "gift" else 2
    found = destination(method, of, group)
    if found is None or not len(found.policy_MK):
        pytest.skip("theory names no end")
    path_SK = trace(method, of, of.ref_K, group, length=0.02)
    assert found.distance(path_SK[-1]) < 0.012
    torch.testing.assert_close(found.policy_MK.sum(-1), torch.ones(len(found.policy_MK)).double())


def test_most_objectives_have_a_theory():
    """A mark that is never drawn would pass every test above."""
    named = {n for n in methods.names() if destination(methods.get(n), VERDICTS, 4)}
    assert set(methods.names()) - named == {"grpo-gold"}
    none = {n for n in named if not len(destination(methods.get(n), VERDICTS, 4).policy_MK)}  # pyright: ignore[reportOptionalMemberAccess]
    assert none == {"dpo", "simpo", "orpo", "kto", "una"}


@pytest.mark.parametrize("name", ["dpo", "kto", "una", "simpo", "orpo"])
def test_without_a_finite_solution_no_policy_inside_is_stationary(name):
    method = methods.get(name)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        theta_K = torch.randn(3, generator=generator, dtype=torch.float64)
        assert expected_gradient(method, VERDICTS, theta_K, group=2)[1].norm() > 1e-6


def test_distance_is_to_a_point_a_segment_or_a_curve():
    corners = torch.eye(3, dtype=torch.float64)
    here = torch.tensor([0.5, 0.3, 0.2]).double()
    assert Destination(corners[:1], "").distance(here) == pytest.approx(math.sqrt(0.38))
    # the foot of the perpendicular on the edge between the first two is (0.6, 0.4, 0)
    edge = math.sqrt(0.01 + 0.01 + 0.04)
    assert Destination(corners[:2], "").distance(here) == pytest.approx(edge)
    bent = torch.stack([corners[0], corners[2], here])
    assert Destination(bent, "").distance(here) == 0
    assert math.isnan(Destination(corners[:0], "").distance(here))


def test_a_trace_keeps_to_the_simplex_and_to_its_step():
    path_SK = trace(methods.get("grpo"), VERDICTS, VERDICTS.ref_K, group=2, length=0.02)
    assert torch.equal(path_SK[0], VERDICTS.ref_K) and (path_SK > 0).all()
    torch.testing.assert_close(path_SK.sum(-1), torch.ones(len(path_SK)).double())
    steps_S = (path_SK[1:] - path_SK[:-1]).norm(dim=-1)
    assert steps_S.max() <= 0.02 + 1e-12 and 20 < len(path_SK) < 200


def test_a_trace_follows_the_flow():
    """RFT's flow in logits is dtheta = q - pi: on VERDICTS the path is computed apart from it."""
    path_SK = trace(methods.get("rft"), VERDICTS, VERDICTS.ref_K, group=1, length=0.005)
    theta, target = VERDICTS.ref_K.log(), torch.tensor([0.3, 0.7, 0.0]).double()
    points = []
    for _ in range(20000):
        theta = theta + 0.002 * (target - theta.softmax(-1))
        points.append(theta.softmax(-1))
    early_SK = path_SK[path_SK[:, 2] > 0.02]  # the rest takes ever longer
    near = torch.cdist(early_SK, torch.stack(points)).min(dim=1).values
    assert len(early_SK) > 50 and near.max() < 1e-3


def test_a_trace_rests_at_once_where_nothing_pulls():
    at = tilted(GRADED, GRADED.reward_K, 0.5)
    assert len(trace(methods.get("rloo", kl=0.5), GRADED, at, group=2)) < 10
