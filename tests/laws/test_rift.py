"""RIFT's derived facts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import methods
from methods import Leaves

from . import factory

seeds = st.integers(0, 10**6)
BOUNDED = ("token", "sequence", "geometric")
REDUCTIONS = ("token_mean", "sequence_mean", "sum")


def one_row(correct: bool, logp: list[float]) -> tuple[methods.Rollout, Leaves]:
    r = factory.bandit(torch.tensor([[float(correct)]]), length_PG=torch.tensor([[len(logp)]]))
    return r, Leaves(torch.tensor([logp]).double())


def loss(method, r, at) -> torch.Tensor:
    return method.loss(at, r, method.signal(r)).value


@pytest.mark.parametrize(
    ("negative", "reduction", "expected"),
    [
        # lp = log .5, log .25: mean pi .375, pi(y) .125, geometric mean sqrt(.125)
        ("token", "token_mean", 0.2 * 0.375),
        ("token", "sequence_mean", 0.2 * 0.375),
        ("token", "sum", 0.2 * 0.375),
        ("sequence", "token_mean", 0.2 * 0.125),
        ("sequence", "sum", 0.2 * 0.125),
        ("geometric", "sequence_mean", 0.2 * 0.125**0.5),
        ("token_sum", "sum", 0.2 * 0.75),
        ("token_sum", "sequence_mean", 0.2 * 0.75),
    ],
)
def test_a_wrong_answer_by_hand(negative, reduction, expected):
    r, at = one_row(False, [torch.tensor(0.5).log().item(), torch.tensor(0.25).log().item()])
    method = methods.get("rift", negative=negative, reduction=reduction)
    assert loss(method, r, at).item() == pytest.approx(expected, rel=1e-6)


def test_reductions_of_right_answers_by_hand():
    """Rows of 1 and 3 tokens, right, and one wrong of 4: (1 + 6)/8, (1 + 2)/3, (1 + 6)/3."""
    r = factory.bandit(torch.tensor([[1.0, 1.0, 0.0]]), length_PG=torch.tensor([[1, 3, 4]]))
    at = Leaves(torch.tensor([[-1.0, 0, 0, 0], [-2, -2, -2, 0], [-1, -1, -1, -1]]).double())
    for reduction, expected in zip(REDUCTIONS, (7 / 8, 3 / 3, 7 / 3), strict=True):
        method = methods.get("rift", reduction=reduction, negative_reward=0.0)
        assert loss(method, r, at).item() == pytest.approx(expected)


def test_a_row_valued_negative_counts_with_its_length_under_token_mean():
    r = factory.bandit(torch.tensor([[0.0, 0.0]]), length_PG=torch.tensor([[1, 3]]))
    at = Leaves(torch.tensor([[-1.0, 0, 0], [-0.5, -0.5, -0.5]]).double())
    for negative in ("sequence", "geometric"):
        powers = (-1.0, -1.5 if negative == "sequence" else -0.5)
        values = torch.tensor(powers).exp()
        method = methods.get("rift", negative=negative)
        expected = 0.2 * (1 * values[0] + 3 * values[1]) / 4
        assert loss(method, r, at).item() == pytest.approx(expected.item())


@settings(max_examples=20, deadline=None)
@given(seed=seeds, negative=st.sampled_from(BOUNDED), reduction=st.sampled_from(REDUCTIONS))
def test_negatives_are_bounded_and_the_loss_is_not_negative(seed, negative, reduction):
    method = methods.get("rift", negative=negative, reduction=reduction, negative_reward=-0.7)
    r = factory.rollout(method, seed=seed, correct="wrong")
    _, at = factory.scored(method, r)
    assert 0 <= loss(method, r, at) <= 0.7
    certain = Leaves(torch.zeros_like(at.logp_NT))
    torch.testing.assert_close(loss(method, r, certain), torch.tensor(0.7).double())
    r = factory.rollout(method, seed=seed)
    assert loss(method, r, factory.scored(method, r)[1]) >= 0


def test_token_sum_gives_up_the_bound():
    r, at = one_row(False, [-1e-3] * 5)
    assert loss(methods.get("rift", negative="token_sum", reduction="sum"), r, at) > 0.9


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_tangent_upper_bound_of_the_naive_loss(seed):
    """log pi <= pi - 1, so for r < 0: -r log pi <= -r (pi - 1), touching at pi = 1."""
    rift = methods.get("rift", negative="sequence", reduction="sum", negative_reward=-0.4)
    r = factory.rollout(rift, seed=seed, correct="wrong")
    _, at = factory.scored(rift, r)
    naive = 0.4 * (at.logp_NT * r.mask_NT).sum(-1).mean()
    assert naive <= loss(rift, r, at) - 0.4 + 1e-12
    certain = Leaves(torch.zeros_like(at.logp_NT))
    assert loss(rift, r, certain).item() == pytest.approx(0.4, rel=1e-12)


def test_what_collapses_in_the_naive_loss_is_not_the_gradient():
    """One wrong answer whose logit falls: the naive loss falls without bound while its gradient in
    logit space stays within |r| in each coordinate; RIFT's loss stays in [0, |r|]."""
    r, _ = one_row(False, [0.0])
    naive, rift = methods.get("naive", negative_reward=-0.2), methods.get("rift")
    for depth in (1.0, 10.0, 100.0, 1000.0):
        theta = torch.tensor([-depth, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
        at = Leaves(theta.log_softmax(-1)[:1, None])
        value = loss(naive, r, at)
        (gradient,) = torch.autograd.grad(value, theta)
        assert value < -0.2 * depth
        assert gradient.abs().max() <= 0.2
        assert 0 <= loss(rift, r, at) <= 0.2


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean"])
def test_without_negatives_it_is_rft_up_to_one_factor(reduction):
    """negative_reward = 0: (n+/n) * mean NLL of the right answers, n in tokens or in rows."""
    method = methods.get("rift", reduction=reduction, negative_reward=0.0)
    r = factory.rollout(method)
    signal, at = factory.scored(method, r)
    assert torch.equal(signal.trained_N, r.correct_N)
    size_N = r.mask_NT.sum(-1) if reduction == "token_mean" else torch.ones(len(r))
    factor = (size_N[r.correct_N].sum() / size_N.sum()).double()
    result, gradient = factory.gradients(method, at, r, signal)
    rft = methods.get("rft", reduction=reduction)
    other, other_gradient = factory.gradients(rft, at, r, rft.signal(r))
    torch.testing.assert_close(result.value, factor * other.value, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient[0], factor * other_gradient[0], rtol=1e-6, atol=0)


def test_positive_reward_weights_the_likelihood():
    r = factory.rollout(methods.get("rift"), correct="right")
    one, two = methods.get("rift"), methods.get("rift", positive_reward=2.0)
    _, at = factory.scored(one, r)
    torch.testing.assert_close(2 * loss(one, r, at), loss(two, r, at))


def test_negative_gradient_is_dft_with_the_sign_flipped():
    """Token level: the gradient of |r| sg(pi_t) log pi_t."""
    method = methods.get("rift", negative_reward=-0.5)
    r = factory.rollout(method, correct="wrong")
    signal, at = factory.scored(method, r)
    _, gradient = factory.gradients(method, at, r, signal)
    logp_NT = at.logp_NT.clone().requires_grad_()
    flipped = (0.5 * logp_NT.detach().exp() * logp_NT * r.mask_NT).sum() / r.mask_NT.sum()
    torch.testing.assert_close(
        gradient[0][r.mask_NT], torch.autograd.grad(flipped, logp_NT)[0][r.mask_NT]
    )


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_with_importance_it_is_minus_a_lower_bound_of_the_expected_reward(seed):
    """y ~ pi_0 over K answers, expectation exact: J >= E_+[r (1 + log rho)] + E_-[r rho]."""
    generator = torch.Generator().manual_seed(seed)
    base, policy = torch.randn(2, 5, generator=generator).double().log_softmax(-1)
    reward = torch.tensor([1.0, -0.2, -0.2, 1.0, -0.2]).double()
    log_rho = policy - base
    bound = base.exp() * torch.where(reward > 0, reward * (1 + log_rho), reward * log_rho.exp())
    assert (policy.exp() * reward).sum() >= bound.sum() - 1e-12
    # each answer's term of the loss is minus its term of the bound, up to a constant of pi_0
    for k in range(5):
        r, _ = one_row(bool(reward[k] > 0), [0.0])
        r = replace(r, old_logp_NT=base[k].reshape(1, 1))
        term = loss(methods.get("rift-is"), r, Leaves(policy[k].reshape(1, 1)))
        inside = reward[k] * (policy[k] if reward[k] > 0 else log_rho[k].exp())
        torch.testing.assert_close(term, -inside)


def test_importance_touches_wrong_answers_only():
    r = factory.rollout(methods.get("rift-is"))
    plain, weighted = methods.get("rift"), methods.get("rift-is")
    signal, at = factory.scored(plain, r)
    _, a = factory.gradients(plain, at, r, signal)
    _, b = factory.gradients(weighted, at, r, signal)
    assert torch.equal(a[0][r.correct_N], b[0][r.correct_N])
    assert not torch.allclose(a[0][~r.correct_N], b[0][~r.correct_N])
    assert plain.needs().old == "no"
    assert weighted.needs().old == "loss"


def test_reward_is_the_verdict_and_not_the_sign_of_the_tasks_reward():
    method = methods.get("rift")
    r = factory.rollout(method)
    judged = replace(r, reward_N=2 * r.reward_N - 1.5)
    _, at = factory.scored(method, r)
    assert torch.equal(loss(method, r, at), loss(method, judged, at))


def test_group_normalised_rewards_are_centred():
    method = methods.get("rift", group_normalise=True)
    r = factory.rollout(method)
    a_NT = method.signal(r).advantage_NT
    assert a_NT is not None
    for group in r.group_N.unique():
        assert a_NT[r.group_N == group, 0].sum().abs() < 1e-12


@pytest.mark.parametrize(
    "bad", [{"negative_reward": 0.1}, {"positive_reward": -1.0}, {"negative": "x"}]
)
def test_bad_fields_are_refused(bad):
    with pytest.raises(ValueError):
        methods.get("rift", **bad)
