"""GRAO's derived facts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import methods
from methods import Leaves

from . import factory


def advantages(wins: int, losses: int, stats: str, of_y: float = 0.0) -> tuple[float, float, float]:
    """(of a loser, of a winner, of y) for R = +1 / -1 and R(y) = 0; nan where there is none."""
    reward_PG = torch.tensor([[-1.0] * losses + [1.0] * wins])
    r = factory.bandit(reward_PG, gold_P=torch.tensor([of_y]))
    a_NT = methods.get("grao", stats=stats).signal(r).advantage_NT
    assert a_NT is not None
    a = a_NT[:, 0].tolist()
    return (a[0] if losses else float("nan"), a[-2] if wins else float("nan"), a[-1])


NAN = float("nan")


@pytest.mark.parametrize(
    ("stats", "wins", "losses", "expected"),
    [
        ("samples", 1, 7, (-0.378, 2.646, 1.134)),
        ("samples", 4, 4, (-1.0, 1.0, 0.0)),
        ("joint", 0, 8, (-0.354, NAN, 2.83)),
        ("joint", 8, 0, (NAN, 0.354, -2.83)),
        ("joint", 1, 7, (-0.5, 2.5, 1.0)),
        ("joint", 4, 4, (-1.061, 1.061, 0.0)),
    ],
)
def test_published_advantages_for_eight_samples(stats, wins, losses, expected):
    found = advantages(wins, losses, stats)
    assert found == pytest.approx(expected, abs=2e-3, nan_ok=True)


def test_ties_are_skipped_and_counted():
    reward_PG = torch.tensor([[0.0] * 4, [1.0, 0.0, 0.0, 1.0]])
    r = factory.bandit(reward_PG, gold_P=torch.tensor([0.0, 1.0]))
    signal = methods.get("grao").signal(r)
    assert signal.trained_N.tolist() == [False] * 4 + [True] * 4 + [False, True]
    assert signal.metrics["zero_variance_groups"] == 1
    # all samples fail: no signal from the samples alone, one with y
    failing = factory.bandit(torch.zeros(1, 4), gold_P=torch.tensor([1.0]))
    assert methods.get("grao").signal(failing).trained_N.all()
    assert not methods.get("grao", stats="samples").signal(failing).trained_N.any()


def three_terms(r, logp_NT, stats, alpha, beta, lam) -> torch.Tensor:
    """Equation 2, prompt by prompt, in plain loops."""
    jx = (logp_NT * r.mask_NT).sum(-1) / r.mask_NT.sum(-1)
    total, prompts = torch.zeros((), dtype=torch.float64), 0
    for group in r.group_N.unique():
        own = (r.group_N == group) & (r.kind_N == methods.SAMPLE)
        y = (r.group_N == group) & (r.kind_N == methods.GOLD)
        basis = r.reward_N[own if stats == "samples" else own | y]
        prompts += 1
        if basis.std(unbiased=False) < 1e-12:
            continue
        a = (r.reward_N - basis.mean()) / basis.std(unbiased=False)
        size = own.sum()
        explore, coupled = (a * jx)[own].sum() / size, (a * jx)[own].sum() / size
        if y.any():
            total = total + beta * (a * jx)[y].sum()
            coupled = coupled - (a[own] * jx[y]).sum() / size
        total = total + alpha * explore + lam * coupled
    return -total / prompts


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    stats=st.sampled_from(["joint", "samples"]),
    weights=st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 2)),
)
def test_loss_is_equation_two_and_its_collapsed_form(seed, stats, weights):
    alpha, beta, lam = weights
    method = methods.get("grao", stats=stats, alpha=alpha, beta=beta, lam=lam)
    r = factory.rollout(method, seed=seed, prompts=3, group=4)
    signal, at = factory.scored(method, r)
    result, gradient = factory.gradients(method, at, r, signal)
    expected = three_terms(r, at.logp_NT, stats, alpha, beta, lam)
    torch.testing.assert_close(result.value, expected, rtol=1e-12, atol=1e-12)

    # collapsed: the regulariser only rescales. Weight of a sample (alpha + lam)/G A_i, of y
    # beta + lam/G (joint) or beta (samples)
    assert signal.advantage_NT is not None
    a_N, length_N = signal.advantage_NT[:, 0], r.mask_NT.sum(-1)
    weight_N = torch.where(
        r.kind_N == methods.GOLD,
        torch.tensor(beta + (lam / 4 if stats == "joint" else 0.0), dtype=torch.float64),
        torch.tensor((alpha + lam) / 4, dtype=torch.float64),
    )
    collapsed_NT = -(weight_N * a_N / length_N / 3)[:, None] * r.mask_NT
    # a prompt without y has no imitation term; its samples keep their weight
    torch.testing.assert_close(gradient[0], collapsed_NT, rtol=1e-12, atol=1e-12)


def test_weight_of_imitation_at_the_defaults():
    """beta + lambda/G = 0.575 for G = 8."""
    r = factory.bandit(torch.tensor([[1.0] + [0.0] * 7]), gold_P=torch.tensor([1.0]))
    signal = methods.get("grao").signal(r)
    _, gradient = factory.logp_gradient(methods.get("grao"), torch.zeros(9, 1).double(), r)
    assert signal.advantage_NT is not None
    assert (-gradient[-1] / signal.advantage_NT[-1]).item() == pytest.approx(0.575)


def test_y_is_imitated_below_it_and_pushed_down_above_it():
    """Samples below y: descent raises Ji. Above y: lowers it, unless `imitation_floor`."""
    zero = torch.zeros(5, 1).double()
    below = factory.bandit(torch.full((1, 4), -1.0), gold_P=torch.tensor([0.0]))
    above = factory.bandit(torch.full((1, 4), 1.0), gold_P=torch.tensor([0.0]))
    for floor in (False, True):
        method = methods.get("grao", imitation_floor=floor)
        assert factory.logp_gradient(method, zero, below)[1][-1] < 0
        pushed = factory.logp_gradient(method, zero, above)[1]
        assert pushed[-1] == 0 if floor else pushed[-1] > 0
        assert (pushed[:4] < 0).all()  # the samples themselves are still raised


def test_a_prompt_without_a_reference_answer_uses_its_samples_only():
    reward_PG = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    r = factory.bandit(reward_PG)
    result, gradient = factory.logp_gradient(methods.get("grao"), torch.rand(4, 1).double(), r)
    a = torch.tensor([1.0, -1.0, -1.0, 1.0]).double()
    torch.testing.assert_close(gradient[:, 0], -(1 + 0.6) / 4 * a)
    assert result.metrics["share_imitation"] == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.floats(-3, 3), scale=st.floats(0.1, 5))
def test_affine_rewards_change_nothing(seed, shift, scale):
    method = methods.get("grao")
    r = factory.rollout(method, seed=seed)
    signal = method.signal(r)
    moved = method.signal(replace(r, reward_N=scale * r.reward_N + shift))
    assert signal.advantage_NT is not None
    assert moved.advantage_NT is not None
    torch.testing.assert_close(signal.advantage_NT, moved.advantage_NT, rtol=1e-9, atol=1e-9)


def test_shares_of_the_terms():
    """One winner and one loser with y at the mean: no imitation, the rest alpha : lam."""
    r = factory.bandit(torch.tensor([[1.0, -1.0]]), gold_P=torch.tensor([0.0]))
    at = Leaves(torch.tensor([[-1.0], [-2.0], [-3.0]]).double())
    metrics = methods.get("grao").loss(at, r, methods.get("grao").signal(r)).metrics
    shares = [metrics[f"share_{k}"].item() for k in ("exploration", "imitation", "regulariser")]
    assert shares == pytest.approx([1 / 1.6, 0, 0.6 / 1.6])


def test_needs():
    needs = methods.get("grao").needs()
    assert needs.gold
    assert needs.max_updates_per_rollout == 1
    assert needs.old == "no"
    with pytest.raises(ValueError):
        methods.get("grao", beta=-0.5)
