"""Relations between objectives, values by hand, invariances that are claimed, wrong fields."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import methods
from methods import Rollout, reduce
from methods.pairs import pair_up

from . import factory

seeds = st.integers(0, 10**6)


def evaluate(name: str, r: Rollout, spread: float = 0.3, **fields):
    """Loss, gradient by logp, signal."""
    method = methods.get(name, **fields)
    signal, at = factory.scored(method, r, spread=spread)
    result, gradient = factory.gradients(method, at, r, signal)
    return result, gradient[0], signal


def parallel(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a / a.norm(), b / b.norm(), rtol=1e-8, atol=1e-8)


# relations


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_gspo_is_grpo_for_one_token_answers(seed):
    r = factory.rollout(seed=seed, one_token=True)
    options = {"clip": 0.1, "clip_high": 0.2}
    a, b = evaluate("gspo", r, **options), evaluate("grpo", r, **options)
    torch.testing.assert_close(a[0].value, b[0].value)
    torch.testing.assert_close(a[1], b[1])


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_dr_grpo_is_a_preset_of_grpo(seed):
    r = factory.rollout(seed=seed)
    a = evaluate("dr-grpo", r)[1]
    torch.testing.assert_close(a, evaluate("grpo", r, std=False, aggregation="constant")[1])


def test_dapo_without_shaping_is_grpo_on_the_groups_with_variance():
    r = factory.rollout(seed=1, real_rewards=True)
    tied_N = r.group_N == r.group_N[0]
    r = replace(r, reward_N=r.reward_N.masked_fill(tied_N, 1.0))
    whole = evaluate("dapo", r, overlong_penalty=0.0)
    method = methods.get("grpo", aggregation="token_mean", clip_high=0.28)
    live = (~tied_N).nonzero()[:, 0]
    signal, at = factory.scored(methods.get("dapo", overlong_penalty=0.0), r)
    part = r.select(live)
    alone, gradient = factory.gradients(
        method, factory.select_leaves(at, live), part, method.signal(part)
    )
    torch.testing.assert_close(whole[0].value, alone.value)
    torch.testing.assert_close(whole[1][live], gradient[0])
    assert not signal.trained_N[tied_N].any()


def test_dapo_shapes_overlong_answers():
    """Limit 10, buffer 20 % = 2 tokens: nothing up to 8, half of the penalty at 9, all of it at 10.

    It is 1/2, a half of the range of rewards that are 1 or 0, as 1 is of the paper's +1 and -1.
    """
    r = factory.bandit(torch.zeros(1, 4), length_PG=torch.tensor([[1, 8, 9, 10]]))
    shaped = methods.get("dapo").reward(r)  # type: ignore[attr-defined]
    torch.testing.assert_close(shaped, torch.tensor([0, 0, -0.25, -0.5]).double())


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_weighted_reinforce_is_the_sum_of_its_halves(seed):
    r = factory.rollout(seed=seed)
    psr, nsr = (evaluate(name, r, spread=0.0)[1] for name in ("psr", "nsr"))
    torch.testing.assert_close(evaluate("w-reinforce", r, spread=0.0)[1], 0.1 * psr + nsr)
    assert (psr[~r.correct_N] == 0).all()
    assert (nsr[r.correct_N] == 0).all()


def test_psr_is_raft_up_to_the_denominator():
    r = factory.rollout(seed=2)
    parallel(evaluate("psr", r, spread=0.0)[1], evaluate("raft", r, spread=0.0)[1])


@settings(max_examples=10, deadline=None)
@given(seed=seeds, size=st.integers(2, 6))
def test_rloo_is_group_centred_reinforce_times_n_over_n_minus_one(seed, size):
    r = factory.rollout(seed=seed, group=size, real_rewards=True)
    rloo = evaluate("rloo", r)[2].advantage_NT
    centred = evaluate("dr-grpo", r)[2].advantage_NT
    torch.testing.assert_close(rloo, size / (size - 1) * centred)


def test_rloo_with_a_clip_has_the_same_first_gradient():
    r = factory.rollout(seed=3, real_rewards=True)
    plain, clipped = (evaluate("rloo", r, spread=0.0, clip=c)[1] for c in (None, 0.2))
    torch.testing.assert_close(plain, clipped)


def test_reinforce_is_rloo_when_one_group_is_the_batch():
    r = factory.rollout(seed=4, prompts=1, group=5, real_rewards=True)
    torch.testing.assert_close(5 / 4 * evaluate("reinforce", r)[1], evaluate("rloo", r)[1])


@pytest.mark.parametrize(("weight", "std"), [("root", True), ("hard", False)])
def test_first_update_of_nft_is_grpos(weight, std):
    """w(q) = sqrt((1-q)/q) gives GRPO's advantages, 1 - q those without division by the std: the
    same direction inside a prompt, and over prompts of equal size."""
    r = factory.rollout(seed=5, group=6, prompts=3)
    nft = evaluate("nft", r, spread=0.0, prompt_weight=weight)[1]
    grpo = evaluate("grpo", r, spread=0.0, std=std, std_eps=0.0, aggregation="token_mean")[1]
    parallel(nft, grpo)


def test_nft_holds_the_share_of_right_answers_below_98_percent():
    """59 of 60 right: q is .98, not .983; the wrong answer's slope is (1-q) q/(1-q) = q."""
    reward_PG = torch.ones(1, 60)
    reward_PG[0, 0] = 0
    _, gradient = factory.logp_gradient(
        methods.get("nft"), torch.zeros(60, 1).double(), factory.bandit(reward_PG)
    )
    assert gradient[0].item() == pytest.approx(0.98 / 60)
    assert gradient[1].item() == pytest.approx(-0.02 / 60)


def test_nft_passes_its_gradient_through_the_max():
    """A wrong answer that became likelier: (1 - q R)/(1 - q) < 1 is held at 1, yet lowered."""
    r = factory.bandit(torch.tensor([[1.0, 0.0]]))
    logp_NT = torch.tensor([[0.0], [0.5]]).double()
    result, gradient = factory.logp_gradient(methods.get("nft"), logp_NT, r)
    assert result.value.item() == pytest.approx(0.0)
    assert gradient[1].item() == pytest.approx(0.5 * math.exp(0.5) / 2)


def test_topr_is_reinforce_at_first_and_leaves_unlikely_wrong_answers_alone():
    r = factory.rollout(seed=6)
    topr = evaluate("topr", r, spread=0.0)[1]
    sign_N = torch.where(r.correct_N, -1.0, 1.0).double()
    torch.testing.assert_close(topr, (sign_N / len(r))[:, None] * r.mask_NT)
    wrong = factory.bandit(torch.tensor([[0.0]]))
    _, far = factory.logp_gradient(methods.get("topr"), torch.tensor([[-50.0]]).double(), wrong)
    assert abs(far.item()) < 1e-20


def test_grpo_gold_and_grpo_sft_without_reference_answers_are_grpo():
    r = factory.rollout(seed=7)
    expected = evaluate("grpo", r)
    for name in ("grpo-gold", "grpo-sft"):
        found = evaluate(name, r)
        torch.testing.assert_close(found[0].value, expected[0].value)
        torch.testing.assert_close(found[1], expected[1])


def test_grpo_sft_is_the_sum_of_both():
    r = factory.rollout(methods.get("grpo-sft"), seed=8)
    both = evaluate("grpo-sft", r, sft_weight=0.3)[1]
    torch.testing.assert_close(both, evaluate("grpo", r)[1] + 0.3 * evaluate("sft", r)[1])


def test_samples_are_all_that_others_see():
    """Reference answers in the batch change nothing for methods that do not ask for them."""
    mixed = factory.rollout(methods.get("grao"), seed=9)
    samples = (mixed.kind_N == methods.SAMPLE).nonzero()[:, 0]
    for name in ("grpo", "dapo", "cispo", "rloo", "ppo", "gift", "rift", "dpo", "una", "nft"):
        method = methods.get(name)
        signal, at = factory.scored(method, mixed)
        result, gradient = factory.gradients(method, at, mixed, signal)
        alone = mixed.select(samples)
        part, part_gradient = factory.gradients(
            method, factory.select_leaves(at, samples), alone, method.signal(alone)
        )
        torch.testing.assert_close(result.value, part.value)
        torch.testing.assert_close(gradient[0][samples], part_gradient[0])


@pytest.mark.parametrize(
    ("name", "twin"),
    [("gspo", {}), ("cispo", {"aggregation": "token_mean"})],
)
def test_what_the_warnings_say_of_the_first_update_is_true(name, twin):
    method = methods.get(name)
    assert method.warnings(updates_per_rollout=4) == []
    assert "gradient is GRPO's" in method.warnings(updates_per_rollout=1)[0]
    r = factory.rollout(seed=16)
    a, b = evaluate(name, r, spread=0.0)[1], evaluate("grpo", r, spread=0.0, **twin)[1]
    torch.testing.assert_close(a, b)


# by hand


def test_pair_losses_at_the_reference():
    """DPO log 2, IPO (1/2 beta)^2, KTO and UNA their middles."""
    r = factory.rollout(methods.get("kto"), seed=10)
    r = replace(r, ref_logp_NT=r.old_logp_NT)
    assert evaluate("dpo", r, spread=0.0)[0].value.item() == pytest.approx(math.log(2))
    assert evaluate("ipo", r, spread=0.0, beta=0.25)[0].value.item() == pytest.approx(4.0)
    assert evaluate("kto", r, spread=0.0, desirable=1.0)[0].value.item() == pytest.approx(0.5)
    assert evaluate("una", r, spread=0.0)[0].value.item() == pytest.approx(0.25)
    bce = evaluate("una", r, spread=0.0, feedback="binary_bce")[0]
    assert bce.value.item() == pytest.approx(math.log(2))


def test_dpo_by_hand():
    """D = 2 and -1, beta 0.5: -log sigmoid(1.5); its metrics, and the other pairing."""
    r = factory.bandit(torch.tensor([[1.0, 0.0, 0.0]]))
    logp_NT = torch.tensor([[2.0], [-1.0], [4.0]]).double()
    result, gradient = factory.logp_gradient(methods.get("dpo", beta=0.5), logp_NT, r)
    assert result.value.item() == pytest.approx(math.log(1 + math.exp(-1.5)))
    assert gradient[2] == 0
    assert result.metrics["margin"] == 3
    assert result.metrics["pair_accuracy"] == 1
    every, _ = factory.logp_gradient(methods.get("dpo", beta=0.5, pairing="all"), logp_NT, r)
    expected = (math.log(1 + math.exp(-1.5)) + math.log(1 + math.exp(1.0))) / 2
    assert every.value.item() == pytest.approx(expected)
    assert every.metrics["pair_accuracy"] == 0.5


def test_pairing_rules():
    """Right, wrong, wrong, right, wrong of one prompt; one without a wrong one; interleaved."""
    r = factory.bandit(torch.tensor([[1.0, 0, 0, 1, 0], [1, 1, 1, 1, 1]]))
    better, worse = pair_up(r, "matched")
    assert sorted(zip(better.tolist(), worse.tolist(), strict=True)) == [(0, 1), (3, 2)]
    better, worse = pair_up(r, "all")
    assert sorted(zip(better.tolist(), worse.tolist(), strict=True)) == [
        (0, 1), (0, 2), (0, 4), (3, 1), (3, 2), (3, 4),
    ]  # fmt: skip
    order_N = torch.tensor([5, 0, 6, 1, 7, 2, 8, 3, 9, 4])
    better, worse = pair_up(r.select(order_N), "matched")
    pairs = zip(order_N[better].tolist(), order_N[worse].tolist(), strict=True)
    assert sorted(pairs) == [(0, 1), (3, 2)]
    assert methods.get("dpo").signal(r).metrics["pairs"] == 2


def test_kto_balances_right_and_wrong_answers_of_the_rollout_batch():
    """One right of four: its weight is 3; of a minibatch the weights stay those of the batch."""
    r = factory.bandit(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]))
    signal = methods.get("kto", undesirable=2.0).signal(r)
    assert signal.advantage_NT is not None
    assert signal.advantage_NT[:, 0].tolist() == [14.0] + 7 * [2.0]


def test_kto_reference_point():
    """z0 is the mean D of mismatched rows, never negative, and passes no gradient."""
    method = methods.get("kto", beta=1.0)
    r = factory.bandit(torch.tensor([[1.0, 0.0]]), gold_P=torch.tensor([0.0]))
    strange = torch.tensor([methods.SAMPLE, methods.SAMPLE, methods.MISMATCHED])
    r = replace(r, kind_N=strange)
    for d, z0 in ((0.7, 0.7), (-0.7, 0.0)):
        logp_NT = torch.tensor([[0.2], [0.1], [d]]).double()
        result, gradient = factory.logp_gradient(method, logp_NT, r)
        assert result.metrics["z0"].item() == pytest.approx(z0)
        expected = (1 - 1 / (1 + math.exp(z0 - 0.2)) + 1 - 1 / (1 + math.exp(0.1 - z0))) / 2
        assert result.value.item() == pytest.approx(expected)
        assert gradient[2] == 0
        assert gradient[0] < 0 < gradient[1]


def test_una_targets():
    reward_PG = torch.tensor([[0.4, -2.0, 3.0]])
    r = factory.bandit(reward_PG, correct_PG=torch.tensor([[0.0, 0.0, 1.0]]))
    zero = torch.zeros(3, 1).double()

    def loss(feedback: str) -> float:
        method = methods.get("una", feedback=feedback)
        return factory.logp_gradient(method, zero, r)[0].value.item()

    assert loss("binary") == pytest.approx(0.25)
    assert loss("score") == pytest.approx((0.1**2 + 0.25 + 0.25) / 3)
    sigmoid = [1 / (1 + math.exp(-x)) for x in (0.4, -2.0, 3.0)]
    assert loss("reward") == pytest.approx(sum((0.5 - s) ** 2 for s in sigmoid) / 3)


def ppo_advantage(r: Rollout, **fields) -> list[list[float]]:
    options = {"reward_kl": 0.0, "whiten": False, **fields}
    a_NT = methods.get("ppo", **options).signal(r).advantage_NT
    assert a_NT is not None
    return [row[m].tolist() for row, m in zip(a_NT, r.mask_NT, strict=True)]


def test_ppo_advantages_by_hand():
    """Values .1 .2 .3, reward 1 at the end: lambda 1 is Monte Carlo, lambda 0 one-step."""
    r = factory.bandit(torch.tensor([[1.0]]), length_PG=torch.tensor([[3]]))
    r = replace(r, old_value_NT=torch.tensor([[0.1, 0.2, 0.3]]).double())
    assert ppo_advantage(r, gae_lambda=1.0) == [pytest.approx([0.9, 0.8, 0.7])]
    assert ppo_advantage(r, gae_lambda=0.0) == [pytest.approx([0.1, 0.1, 0.7])]
    discounted = [0.25 * 1 - 0.1, 0.5 * 1 - 0.2, 1 - 0.3]
    assert ppo_advantage(r, gae_lambda=1.0, gamma=0.5) == [pytest.approx(discounted)]
    cut = replace(r, finished_N=torch.tensor([False]), reward_N=torch.tensor([0.0]).double())
    # cut off: after the last token stands the last value, not 0
    bootstrapped = ppo_advantage(cut, gae_lambda=1.0, bootstrap=True)
    assert bootstrapped == [pytest.approx([0.2, 0.1, 0.0])]
    # by default a verifier's reward is final
    assert ppo_advantage(cut, gae_lambda=1.0) == [pytest.approx([-0.1, -0.2, -0.3])]


def test_ppo_penalises_distance_in_the_reward():
    r = factory.bandit(torch.tensor([[0.0]]), length_PG=torch.tensor([[2]]))
    r = replace(r, ref_logp_NT=torch.tensor([[-1.0, -2.0]]).double())
    found = ppo_advantage(r, gae_lambda=1.0, reward_kl=0.1)
    assert found == [pytest.approx([-0.1 * (1 + 2), -0.1 * 2])]


def test_ppo_whitens_over_the_rollout_batch_not_the_minibatch():
    method = methods.get("ppo")
    r = factory.rollout(seed=11)
    signal = method.signal(r)
    a = signal.advantage_NT[r.mask_NT]  # type: ignore[index]
    assert a.mean().abs() < 1e-12
    assert a.std().item() == pytest.approx(1, rel=1e-6)
    part = signal.select((r.group_N == r.group_N[0]).nonzero()[:, 0])
    assert part.advantage_NT is not None
    assert abs(part.advantage_NT.std().item() - 1) > 1e-3


def test_ppo_metrics_of_the_critic():
    method = methods.get("ppo", reward_kl=0.0)
    r = factory.rollout(seed=12)
    signal = method.signal(r)
    at = factory.leaves(r, signal)
    assert signal.return_NT is not None
    perfect = replace(at, value_NT=signal.return_NT)
    metrics = method.loss(perfect, r, signal).metrics
    assert metrics["explained_variance"].item() == pytest.approx(1)
    goal = signal.return_NT[r.mask_NT]
    flat = replace(at, value_NT=torch.full_like(at.logp_NT, goal.mean().item()))
    assert method.loss(flat, r, signal).metrics["explained_variance"].abs() < 1e-12


def test_reinforce_plus_plus_penalty_counts_what_is_to_come():
    """One long and one short answer, equal rewards: only the KL to come differs between tokens."""
    r = factory.bandit(torch.tensor([[0.0, 0.0]]), length_PG=torch.tensor([[3, 1]]))
    ref_NT = torch.zeros(2, 3).double()
    ref_NT[0] = -1.0
    a_NT = methods.get("reinforce++").signal(replace(r, ref_logp_NT=ref_NT)).advantage_NT
    assert a_NT is not None
    steps = a_NT[0].diff()
    torch.testing.assert_close(steps[0], steps[1])
    assert steps[0] > 0
    assert (a_NT[1, 0] - a_NT[0, 2]).item() == pytest.approx(steps[0].item())


def test_cispo_keeps_a_gradient_where_the_surrogate_is_cut():
    r = factory.bandit(torch.tensor([[1.0, 0.0]]))
    logp_NT = torch.tensor([[1.0], [0.0]]).double()  # ratio e, far above any clip
    for cap, absolute in ((0.5, False), (1.5, True)):
        method = methods.get("cispo", epsilon_high=cap, absolute_cap=absolute)
        result, gradient = factory.logp_gradient(method, logp_NT, r)
        a = methods.get("cispo").signal(r).advantage_NT
        assert a is not None
        torch.testing.assert_close(gradient[0], -1.5 * a[0] / 2)
        assert result.metrics["clip_fraction"] == 0.5
    _, cut = factory.logp_gradient(methods.get("grpo"), logp_NT, r)
    assert cut[0] == 0


def test_metrics_of_the_surrogate():
    r = factory.bandit(torch.tensor([[1.0, 0.0]]))
    logp_NT = torch.tensor([[math.log(2.0)], [0.0]]).double()
    r = replace(r, ref_logp_NT=torch.tensor([[0.0], [0.3]]).double())
    result, _ = factory.logp_gradient(methods.get("grpo", kl=0.1), logp_NT, r)
    assert result.metrics["clip_fraction"] == 0.5
    assert result.metrics["ratio"].item() == pytest.approx(1.5)
    k3 = [0.5 - 1 + math.log(2), math.exp(0.3) - 1 - 0.3]
    assert result.metrics["kl"].item() == pytest.approx(sum(k3) / 2)


def test_zero_variance_groups_are_counted():
    r = factory.rollout(seed=13, correct="ties")
    for name in ("grpo", "dr-grpo", "dapo", "gspo", "cispo", "gift", "nft"):
        assert methods.get(name).signal(r).metrics["zero_variance_groups"] == 4, name
        assert not methods.get(name).signal(r).trained_N.any()


# the vocabulary


def test_group_statistics_of_rows_in_any_order():
    group_N = torch.tensor([9, 4, 9, 4, 7])
    x_N = torch.tensor([1.0, 2, 3, 6, 5]).double()
    groups = reduce.Groups.of(group_N, torch.tensor([True, True, True, True, False]))
    assert groups.sum(x_N).tolist() == [4, 8, 4, 8, 0]
    assert groups.mean(x_N).tolist() == [2, 4, 2, 4, 0]
    assert groups.std(x_N).tolist() == pytest.approx([2**0.5, 8**0.5, 2**0.5, 8**0.5, 0])
    assert groups.std(x_N, ddof=0).tolist() == pytest.approx([1, 2, 1, 2, 0])
    assert groups.number() == 2
    assert groups.mean_of_groups(groups.mean(x_N)) == 3
    z_N = reduce.zscore(x_N, groups, ddof=0, eps=0.0)
    assert z_N.tolist() == pytest.approx([-1, -1, 1, 1, 0])


def test_constant_is_exact_where_a_computed_std_is_not():
    x_N = torch.full((3,), 0.1, dtype=torch.float64)
    groups = reduce.Groups.of(torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.bool))
    assert (x_N - groups.mean(x_N)).abs().max() > 0  # the mean of three times 0.1 is not 0.1
    assert groups.constant(x_N).all()
    assert (reduce.zscore(x_N, groups, ddof=0, eps=0.0) == 0).all()


@settings(max_examples=20, deadline=None)
@given(delta=st.floats(-3, 3))
def test_kl_estimators(delta):
    x = torch.tensor(delta, dtype=torch.float64)
    assert reduce.kl(x, "k1") == x
    assert reduce.kl(x, "k2").item() == pytest.approx(delta**2 / 2)
    k3 = reduce.kl(x, "k3").item()
    assert k3 == pytest.approx(math.exp(-delta) - 1 + delta, abs=1e-12)
    assert k3 >= 0


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_kl_estimators_in_expectation(seed):
    """Over all answers of a small policy: E k1 = E k3 = KL(pi || ref); and their gradients as terms
    of a loss: 0, KL(pi || ref)'s (k2), KL(ref || pi)'s (k3)."""
    generator = torch.Generator().manual_seed(seed)
    theta, other = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    theta.requires_grad_()
    logp, ref = theta.log_softmax(-1), other.log_softmax(-1)
    p = logp.exp().detach()
    forward, backward = (logp.exp() * (logp - ref)).sum(), (ref.exp() * (ref - logp)).sum()
    for how in ("k1", "k3"):
        torch.testing.assert_close((p * reduce.kl(logp - ref, how)).sum(), forward)
    expected = {"k1": torch.zeros(5).double()}
    (expected["k2"],) = torch.autograd.grad(forward, theta, retain_graph=True)
    (expected["k3"],) = torch.autograd.grad(backward, theta, retain_graph=True)
    for how, gradient in expected.items():
        term = (p * reduce.kl(logp - ref, how)).sum()  # type: ignore[arg-type]
        (found,) = torch.autograd.grad(term, theta, retain_graph=True)
        torch.testing.assert_close(found, gradient, rtol=1e-9, atol=1e-12)


# invariances that are claimed

SHIFT = ["grpo", "dr-grpo", "gspo", "cispo", "dapo", "reinforce", "rloo", "gift", "grao"]
SCALE = ["gift", "grao"]  # no epsilon in the std
DIRECTION = ["dr-grpo", "reinforce", "rloo"]  # scaling the rewards scales the gradient


@pytest.mark.parametrize("name", SHIFT)
@settings(max_examples=5, deadline=None)
@given(seed=seeds, shift=st.floats(-3, 3))
def test_shifting_the_rewards_changes_nothing(name, seed, shift):
    r = factory.rollout(methods.get(name), seed=seed, real_rewards=True)
    moved = evaluate(name, replace(r, reward_N=r.reward_N + shift))[1]
    torch.testing.assert_close(evaluate(name, r)[1], moved, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", SCALE)
@settings(max_examples=5, deadline=None)
@given(seed=seeds, scale=st.floats(0.1, 8))
def test_scaling_the_rewards_changes_nothing(name, seed, scale):
    r = factory.rollout(methods.get(name), seed=seed, real_rewards=True)
    moved = evaluate(name, replace(r, reward_N=r.reward_N * scale))[1]
    torch.testing.assert_close(evaluate(name, r)[1], moved, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", DIRECTION)
@settings(max_examples=5, deadline=None)
@given(seed=seeds, scale=st.floats(0.1, 8))
def test_scaling_the_rewards_scales_the_gradient(name, seed, scale):
    r = factory.rollout(methods.get(name), seed=seed, real_rewards=True)
    moved = evaluate(name, replace(r, reward_N=r.reward_N * scale), spread=0.0)[1]
    torch.testing.assert_close(
        scale * evaluate(name, r, spread=0.0)[1], moved, rtol=1e-9, atol=1e-9
    )


VERDICT = ["rift", "naive", "unlikelihood", "topr", "rft", "raft", "dft", "psr", "nsr", "nft"]
VERDICT += ["dpo", "ipo", "simpo", "orpo", "kto", "una"]


@pytest.mark.parametrize("name", VERDICT)
def test_the_verdict_decides_and_not_the_reward(name):
    method = methods.get(name)
    r = factory.rollout(method, seed=14)
    other = replace(r, reward_N=-3 * r.reward_N + 0.1)
    assert torch.equal(evaluate(name, r)[1], evaluate(name, other)[1])


# wrong fields

WRONG = [
    ("grpo", {"clip": -0.2}), ("grpo", {"clip": 1.5}), ("grpo", {"kl": -0.1}),
    ("grpo", {"aggregation": "mean"}), ("grpo", {"beta": 0.1}), ("grpo", {"clip_high": 0.0}),
    ("dpo", {"beta": -0.1}), ("dpo", {"pairing": "random"}), ("ipo", {"beta": 0.0}),
    ("simpo", {"gamma": -1.0}), ("kto", {"beta": -1.0}), ("una", {"feedback": "maybe"}),
    ("una", {"beta": -0.01}), ("ppo", {"gae_lambda": 1.5}), ("ppo", {"gamma": 0.0}),
    ("ppo", {"value_clip": -0.2}), ("cispo", {"epsilon_high": -1.0}), ("cispo", {"clip": 0.2}),
    ("dapo", {"overlong_buffer": 0.0}), ("grpo-sft", {"sft_weight": -0.1}),
    ("naive", {"negative_reward": 1.0}), ("rloo", {"clip": 2.0}), ("gift", {"beta": float("nan")}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields"), WRONG)
def test_wrong_fields_are_refused(name, fields):
    with pytest.raises(ValueError):
        methods.get(name, **fields)
