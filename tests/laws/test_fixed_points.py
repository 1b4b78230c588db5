"""Exact solutions: where each objective's expected gradient flow ends, against theory.

K = 3 answers to one prompt, everything enumerated. "Ends" means that the flow from several starts
arrives, and that the expected gradient at the theoretical point is zero.
"""

from __future__ import annotations

import pytest
import torch

import methods
from methods import Method
from methods.laws.flow import Bandit, Path, expected_gradient, flow, velocity


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


REF = vector(0.5, 0.3, 0.2)
REWARD = vector(0.0, 1.0, 0.4)
REAL = Bandit(REWARD, REWARD > 0.9, REF)  # real-valued rewards
BINARY = Bandit(vector(1, 1, 0), vector(1, 1, 0) > 0, REF)  # two right answers, one wrong
STARTS = [REF, vector(0.2, 0.2, 0.6), vector(0.1, 0.6, 0.3)]


def tilted(reward: torch.Tensor, beta: float) -> torch.Tensor:
    """pi_ref * exp(r / beta), normalised."""
    return (REF.log() + reward / beta).softmax(-1)


def ends_at(
    method: Method,
    problem: Bandit,
    expected: torch.Tensor,
    group: int,
    time: float,
    steps: int = 150,
    atol: float = 2e-3,
) -> None:
    _, gradient = expected_gradient(method, problem, expected.log(), group)
    assert gradient.abs().max() < 1e-9
    for start in STARTS:
        _, elsewhere = expected_gradient(method, problem, start.log(), group)
        assert elsewhere.abs().max() > 1e-3  # the gradient is not zero everywhere
        end = flow(method, problem, start, time, steps, group).policy_SK[-1]
        torch.testing.assert_close(end, expected, rtol=0, atol=atol)


# a penalty in the reward: pi_ref exp(r / beta)


@pytest.mark.parametrize(
    ("name", "fields", "group", "time"),
    [
        ("rloo", {"kl": 0.5}, 2, 120),
        ("reinforce", {"kl": 0.5}, 1, 120),
        ("ppo", {"reward_kl": 0.5, "whiten": False}, 1, 120),
    ],
)
def test_kl_in_the_reward_reaches_the_tilted_reference(name, fields, group, time):
    ends_at(methods.get(name, **fields), REAL, tilted(REWARD, 0.5), group, time)


@pytest.mark.parametrize("name", ["ppo", "reinforce++"])
def test_whitened_advantages_reach_it_too_but_never_rest(name):
    """Divided by their own spread, advantages stay large however near the solution is: the flow
    arrives in finite time, and steps of any size then bounce around it."""
    method, expected = methods.get(name, reward_kl=0.5), tilted(REWARD, 0.5)
    ends_at(method, REAL, expected, group=1, time=20, steps=400, atol=0.01)
    near = (expected.log() + vector(1e-3, -1e-3, 0)).log_softmax(-1)
    _, gradient = expected_gradient(method, REAL, near, group=1)
    _, plain = expected_gradient(methods.get("rloo", kl=0.5), REAL, near, group=2)
    assert gradient.norm() > 100 * plain.norm()


# a penalty in the loss


def lagrange(reward: torch.Tensor, beta: float) -> torch.Tensor:
    """beta * pi_ref / (lambda - r), with the lambda > max r that normalises it (bisection)."""
    low, high = reward.max().item() + 1e-12, reward.max().item() + 100.0
    for _ in range(200):
        middle = (low + high) / 2
        total = (beta * REF / (middle - reward)).sum()
        low, high = (middle, high) if total > 1 else (low, middle)
    return beta * REF / (low - reward)


@pytest.mark.parametrize("group", [2, 3])
def test_k3_in_the_loss_has_its_own_fixed_point(group):
    """E[A lp] with the group's own mean is (G-1)/G E[r]; the k3 penalty's expected gradient is that
    of KL(ref || pi). So pi = beta ref / (lambda - (G-1)/G r)."""
    expected = lagrange((group - 1) / group * REWARD, 0.3)
    assert (expected - tilted((group - 1) / group * REWARD, 0.3)).abs().max() > 0.02
    ends_at(methods.get("dr-grpo", kl=0.3), REAL, expected, group, time=150)


@pytest.mark.parametrize("fields", [{"kl_estimator": "k2"}, {"kl_correction": True}], ids=str)
def test_k2_or_the_correction_bring_back_the_tilted_reference(fields):
    method = methods.get("dr-grpo", kl=0.3, **fields)
    ends_at(method, REAL, tilted(REWARD / 2, 0.3), group=2, time=150)


@pytest.mark.parametrize(
    ("fields", "divergence"),
    [
        ({"kl_estimator": "k3"}, "reverse"),
        ({"kl_estimator": "k2"}, "forward"),
        ({"kl_estimator": "k3", "kl_correction": True}, "forward"),
        ({"kl_estimator": "k1"}, "none"),
    ],
)
def test_expected_gradient_of_the_penalty(fields, divergence):
    """Alone, that is with equal rewards: KL(ref || pi) for k3, KL(pi || ref) for k2 and for the
    corrected k3, nothing for k1."""
    theta = vector(0.3, -0.8, 0.1).requires_grad_()
    logp, ref = theta.log_softmax(-1), REF.log()
    forward = (logp.exp() * (logp - ref)).sum()
    reverse = (REF * (ref - logp)).sum()
    target = {"forward": forward, "reverse": reverse, "none": 0 * theta.sum()}[divergence]
    (expected,) = torch.autograd.grad(0.7 * target, theta)
    flat = Bandit(torch.zeros(3).double(), torch.zeros(3) > 0, REF)
    method = methods.get("grpo", kl=0.7, **fields)
    _, found = expected_gradient(method, flat, theta.detach(), group=2)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_without_a_penalty_the_policy_collapses_on_the_best_answer():
    for name in ("rloo", "dr-grpo", "grpo"):
        end = flow(methods.get(name), REAL, REF, time=400, steps=200, group=2).policy_SK[-1]
        assert end.argmax() == REWARD.argmax()
        assert end.max() > 0.95


# GIFT: a family, of which the dynamics choose a member


def slope_and_bend(policy: torch.Tensor) -> tuple[float, float]:
    """log(pi / ref) as a function of r: its slope, and how far the middle point is off the line."""
    d = policy.log() - REF.log()
    slope = (d[1] - d[0]) / (REWARD[1] - REWARD[0])
    return slope.item(), (d[2] - d[0] - slope * (REWARD[2] - REWARD[0])).abs().item()


@pytest.mark.parametrize("stats", ["full", "detached"])
def test_gift_is_stationary_on_the_whole_family(stats):
    method = methods.get("gift", stats_grad=stats, std_floor=1e-9)
    for beta in (0.3, 1.0, 3.0):
        _, gradient = expected_gradient(method, REAL, tilted(REWARD, beta).log(), group=3)
        assert gradient.abs().max() < 1e-9
    off = tilted(vector(0.0, 1.0, 0.9), 1.0)  # in no member of the family
    _, gradient = expected_gradient(method, REAL, off.log(), group=3)
    assert gradient.abs().max() > 1e-3


def test_gift_reaches_a_member_that_its_start_chooses():
    method = methods.get("gift", std_floor=0.1)
    ends = []
    for start in (REF, tilted(vector(0.0, 1.0, 0.0), 0.5), tilted(vector(0.0, 2.0, 1.5), 1.0)):
        path = flow(method, REAL, start, time=160, steps=640, group=3)
        slope, bend = slope_and_bend(path.policy_SK[-1])
        assert slope > 0
        assert bend < 0.02
        ends.append(slope)
    assert max(ends) - min(ends) > 0.3  # not one beta for all


# offline: imitation


def test_rft_and_rift_end_on_the_right_answers_in_the_references_proportion():
    expected = vector(0.5, 0.3, 0) / 0.8
    for name, fields in [
        ("rft", {}),
        ("rift", {}),
        ("rift", {"negative": "sequence", "negative_reward": -1.0}),
        ("unlikelihood", {}),
    ]:
        for start in STARTS:
            end = flow(methods.get(name, **fields), BINARY, start, 600, 300, group=1).policy_SK[-1]
            torch.testing.assert_close(end, expected, rtol=0, atol=6e-3)


def test_sft_ends_on_the_reference_answer():
    problem = Bandit(BINARY.reward_K, BINARY.correct_K, REF, gold=1)
    end = flow(methods.get("sft"), problem, REF, time=300, steps=100).policy_SK[-1]
    assert end[1] > 0.99


def naive_limit(reward: torch.Tensor) -> torch.Tensor:
    """Wrong answers at 0; right ones where all their logits grow alike: (r p - |r| P_-/n_+)/S."""
    drive = REF * reward
    right, total = reward > 0, drive.sum()
    common = -drive[~right].sum() / right.sum()
    return torch.where(right, (drive - common) / total, 0.0)


def test_naive_reward_weighting_runs_away():
    """dtheta_k = p_k r_k - pi_k S, S = sum p r. Where S > 0 the policy settles, on proportions that
    are not the reference's, while the loss falls for ever; where S < 0 it collapses on one answer.
    """
    mild = methods.get("naive", negative_reward=-1.0)
    path = flow(mild, BINARY, REF, time=400, steps=400, group=1)
    reward = vector(1.0, 1.0, -1.0)
    torch.testing.assert_close(path.policy_SK[-1], naive_limit(reward), rtol=0, atol=5e-3)
    assert (naive_limit(reward) - vector(0.625, 0.375, 0)).abs().max() > 0.02
    early, late = path.loss_S[200], path.loss_S[-1]
    assert late < early - 5  # still falling, at a constant rate
    one_right = Bandit(vector(1, 0, 0), vector(1, 0, 0) > 0, vector(0.2, 0.4, 0.4))
    harsh = methods.get("naive", negative_reward=-1.0)
    tilt = vector(0.15, 0.6, 0.25)
    end = flow(harsh, one_right, tilt, time=200, steps=400, group=1)
    assert end.policy_SK[-1].max() > 0.99
    assert end.theta_K.abs().max() > 20


# offline: preferences without a finite solution


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dpo", {"beta": 1.0}),
        ("una", {"beta": 1.0}),
        ("una", {"beta": 1.0, "feedback": "binary_bce"}),
    ],
)
def test_deterministic_labels_have_no_finite_solution(name, fields):
    """The wrong answer's log-ratio falls without end: slower and slower, but by as much for every
    tenfold of time, where a finite solution would be approached exponentially."""
    method = methods.get(name, **fields)
    margins, theta, passed = [], REF, 0.0
    for until in (100.0, 1000.0, 10000.0):
        path = flow(method, BINARY, theta, until - passed, steps=200, group=2)
        theta, passed = path.policy_SK[-1], until
        d = theta.log() - REF.log()
        margins.append((d[0] - d[2]).item())
    assert margins[1] > margins[0] + 0.5
    assert margins[2] > margins[1] + 0.5


def test_ipo_and_simpo_differ_there():
    """IPO has a finite solution: every pair's difference is 1/(2 beta) = 2 here."""
    path = flow(methods.get("ipo", beta=0.25), BINARY, STARTS[1], time=60, steps=200, group=2)
    d = path.policy_SK[-1].log() - REF.log()
    assert (d[0] - d[2]).item() == pytest.approx(2.0, abs=1e-2)
    assert (d[1] - d[2]).item() == pytest.approx(2.0, abs=1e-2)


def test_stochastic_scores_give_una_a_finite_solution():
    """UNA on scores s in (0, 1): sigmoid(beta D) = s for all answers, if these D normalise."""
    expected = vector(0.25, 0.5, 0.25)
    score = torch.sigmoid(expected.log() - REF.log())
    problem = Bandit(score, score > 0.5, REF)
    method = methods.get("una", beta=1.0, feedback="score")
    ends_at(method, problem, expected, group=1, time=1500)


# the instrument itself


def sampled_gradient(method: Method, problem: Bandit, policy: torch.Tensor, prompts: int):
    """The gradient of one large random batch, as training would see it."""
    generator = torch.Generator().manual_seed(0)
    answer_N = torch.multinomial(policy, prompts * 2, replacement=True, generator=generator)
    theta = policy.log().requires_grad_()
    logp_K = theta.log_softmax(-1)
    column = logp_K[answer_N][:, None]
    true_N = torch.ones_like(answer_N, dtype=torch.bool)
    r = methods.Rollout(
        true_N[:, None], problem.reward_K[answer_N], torch.arange(prompts * 2) // 2,
        torch.zeros_like(answer_N), problem.correct_K[answer_N], true_N, true_N, 1,
        old_logp_NT=column.detach(), ref_logp_NT=problem.ref_K.log()[answer_N][:, None],
    )  # fmt: skip
    value = method.loss(methods.Leaves(column), r, method.signal(r)).value
    return torch.autograd.grad(value, theta)[0]


def test_expected_gradient_is_the_limit_of_large_batches():
    policy = vector(0.25, 0.35, 0.4)
    for name, fields in [("grpo", {"kl": 0.2}), ("rloo", {"kl": 0.3}), ("gift", {"anchor": "old"})]:
        method = methods.get(name, **fields)
        _, exact = expected_gradient(method, REAL, policy.log(), group=2)
        noisy = sampled_gradient(method, REAL, policy, prompts=200_000)
        scale = (noisy * exact).sum() / exact.square().sum()
        assert (noisy - scale * exact).norm() < 0.02 * noisy.norm()
        if name != "gift":  # it divides by the groups that it keeps: another speed
            assert scale.item() == pytest.approx(1, abs=0.02)


def test_velocity_is_the_flows_derivative():
    method = methods.get("rloo")
    start = STARTS[1]
    path: Path = flow(method, REAL, start, time=1e-4, steps=1, group=2)
    difference = (path.policy_SK[1] - start) / 1e-4
    torch.testing.assert_close(velocity(method, REAL, start, 2), difference, rtol=1e-3, atol=1e-6)
    assert velocity(method, REAL, start, 2).sum().abs() < 1e-12


def test_reinforce_follows_the_mean_reward_for_any_group_size():
    """All groups are there, with their probabilities: else this gradient would not come out."""
    theta = vector(0.2, -0.1, 0.5).requires_grad_()
    mean = (theta.softmax(-1) * REWARD).sum()
    (expected,) = torch.autograd.grad(-mean, theta)
    for group in (1, 2, 3):
        _, found = expected_gradient(methods.get("reinforce"), REAL, theta.detach(), group)
        torch.testing.assert_close(found, expected)
