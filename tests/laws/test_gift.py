"""GIFT's derived facts, for one-token answers with an anchor of 0: d is logp itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import methods
from methods import reduce
from methods.laws.rules import HeldStops

from . import factory

FULL = {"std_floor": 0.0, "std_eps": 0.0}
DETACHED = {**FULL, "stats_grad": "detached"}


def draw(group: int, seed: int = 0, prompts: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Real-valued rewards [P, G] and log-ratios [P*G, 1]."""
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, prompts, group, generator=generator, dtype=torch.float64)
    return both[0], both[1].reshape(-1, 1)


def zscore(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean()) / x.std()


def correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.corrcoef(torch.stack([a, b]))[0, 1]


sizes = st.integers(2, 12)
seeds = st.integers(0, 10**6)


@settings(max_examples=25, deadline=None)
@given(group=sizes, seed=seeds, beta=st.floats(0.1, 3.0))
def test_loss_is_a_function_of_the_correlation(group, seed, beta):
    """L = (N-1)/N (1 + beta^2 - 2 beta rho): at beta = 1, 2(N-1)/N(1-rho)."""
    reward_PG, d = draw(group, seed)
    result, _ = factory.logp_gradient(
        methods.get("gift", beta=beta, **FULL), d, factory.bandit(reward_PG)
    )
    rho = correlation(reward_PG[0], d[:, 0])
    expected = (group - 1) / group * (1 + beta**2 - 2 * beta * rho)
    torch.testing.assert_close(result.value, expected, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(result.metrics["rho"], rho, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(result.metrics["implicit_std"], d.std())


def test_loss_at_the_anchor_is_fifteen_sixteenths_for_sixteen_samples():
    reward_PG, _ = draw(16)
    result, _ = factory.logp_gradient(
        methods.get("gift"), torch.zeros(16, 1, dtype=torch.float64), factory.bandit(reward_PG)
    )
    assert result.value.item() == pytest.approx(0.9375)
    assert result.metrics["std_floor_active"] == 1


@settings(max_examples=25, deadline=None)
@given(
    seed=seeds,
    shift=st.floats(-5, 5),
    scale=st.floats(0.1, 9),
    stats=st.sampled_from(["full", "detached"]),
)
def test_partition_function_cancels(seed, shift, scale, stats):
    """A constant per group added to all r or to all d changes nothing, nor does scaling r."""
    reward_PG, d = draw(5, seed, prompts=2)
    method = methods.get("gift", stats_grad=stats)
    per_prompt = torch.tensor([shift, -2 * shift], dtype=torch.float64)
    result, gradient = factory.logp_gradient(method, d, factory.bandit(reward_PG))
    moved, moved_gradient = factory.logp_gradient(
        method,
        d + per_prompt.repeat_interleave(5)[:, None],
        factory.bandit(scale * reward_PG - per_prompt[:, None]),
    )
    torch.testing.assert_close(result.value, moved.value, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, moved_gradient, rtol=1e-8, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(group=st.integers(3, 10), seed=seeds, beta=st.floats(0.1, 3.0))
def test_full_gradient(group, seed, beta):
    """dL/dd_i = -2 beta/(N s) (A_i - rho z_i): beta only rescales, nothing is radial."""
    reward_PG, d = draw(group, seed)
    _, gradient = factory.logp_gradient(
        methods.get("gift", beta=beta, **FULL), d, factory.bandit(reward_PG)
    )
    a, z = zscore(reward_PG[0]), zscore(d[:, 0])
    rho = correlation(reward_PG[0], d[:, 0])
    expected = -2 * beta / (group * d.std()) * (a - rho * z)
    torch.testing.assert_close(gradient[:, 0], expected, rtol=1e-6, atol=1e-7)
    assert ((d - d.mean()) * gradient).sum().abs() < 1e-8


@settings(max_examples=25, deadline=None)
@given(group=st.integers(3, 10), seed=seeds, beta=st.floats(0.1, 3.0))
def test_detached_gradient_has_a_radial_part(group, seed, beta):
    """dL/dd_i = -2 beta/(N (s+eps)) (A_i - beta z_i); radial 2 beta (beta - rho)(N-1)/N."""
    reward_PG, d = draw(group, seed)
    eps = 1e-3
    method = methods.get("gift", beta=beta, std_floor=0.0, std_eps=eps, stats_grad="detached")
    _, gradient = factory.logp_gradient(method, d, factory.bandit(reward_PG))
    a = (reward_PG[0] - reward_PG.mean()) / (reward_PG.std() + eps)
    z = (d[:, 0] - d.mean()) / (d.std() + eps)
    expected = -2 * beta / (group * (d.std() + eps)) * (a - beta * z)
    torch.testing.assert_close(gradient[:, 0], expected)

    exact = methods.get("gift", beta=beta, **DETACHED)
    _, gradient = factory.logp_gradient(exact, d, factory.bandit(reward_PG))
    radial = ((d - d.mean()) * gradient).sum()
    rho = correlation(reward_PG[0], d[:, 0])
    expected = 2 * beta * (beta - rho) * (group - 1) / group
    torch.testing.assert_close(radial, expected, rtol=1e-6, atol=1e-7)


def test_singular_at_the_anchor():
    """author-code at d = 0: -2 beta/(N eps) A_i, REINFORCE times about 2e6; the floor tames it."""
    reward_PG, d = draw(4)[0], torch.zeros(4, 1, dtype=torch.float64)
    r = factory.bandit(reward_PG)
    _, gradient = factory.logp_gradient(methods.get("gift-author-code"), d, r)
    a = (reward_PG[0] - reward_PG.mean()) / (reward_PG.std() + 1e-6)
    torch.testing.assert_close(gradient[:, 0], -2 / (4 * 1e-6) * a)
    _, floored = factory.logp_gradient(methods.get("gift-author-code", std_floor=0.1), d, r)
    torch.testing.assert_close(floored[:, 0], -2 / (4 * (0.1 + 1e-6)) * a)


def test_low_precision_noise_is_guarded_by_the_floor():
    reward_PG, noise = draw(8)
    r = factory.bandit(reward_PG)
    noisy, _ = factory.logp_gradient(methods.get("gift", **FULL), noise * 1e-7, r)
    assert abs(noisy.value.item() - 0.875) > 0.01  # unit-variance noise in z
    guarded, gradient = factory.logp_gradient(methods.get("gift"), noise * 1e-7, r)
    assert guarded.value.item() == pytest.approx(0.875, abs=1e-5)
    torch.testing.assert_close(
        gradient[:, 0], -2 / (8 * 0.1) * zscore(reward_PG[0]), rtol=1e-4, atol=0
    )


def test_zero_variance_groups():
    """A = 0: the full gradient is zero, the detached one is not; dropped by default, and then out
    of the denominator."""
    reward_PG, d = draw(4, prompts=2)
    reward_PG[0] = 0.7
    r = factory.bandit(reward_PG)
    assert methods.get("gift").signal(r).metrics["zero_variance_groups"] == 1
    _, full = factory.logp_gradient(methods.get("gift", drop_zero_variance=False, **FULL), d, r)
    assert full[:4].abs().max() < 1e-12
    _, detached = factory.logp_gradient(
        methods.get("gift", drop_zero_variance=False, **DETACHED), d, r
    )
    torch.testing.assert_close(detached[:4, 0], 2 / (8 * d[:4].std()) * zscore(d[:4, 0]))
    dropped, gradient = factory.logp_gradient(methods.get("gift", **DETACHED), d, r)
    alone, _ = factory.logp_gradient(
        methods.get("gift", **DETACHED), d[4:], factory.bandit(reward_PG[1:])
    )
    assert (gradient[:4] == 0).all()
    torch.testing.assert_close(dropped.value, alone.value)


@pytest.mark.parametrize("right", [1, 3, 7])
def test_advantages_of_a_binary_reward(right):
    """A+ = sqrt((N-1)/N (1-p)/p), A- = -sqrt((N-1)/N p/(1-p))."""
    reward_PG = (torch.arange(8) < right).double()[None]
    a = methods.get("gift").signal(factory.bandit(reward_PG)).advantage_NT
    assert a is not None
    p = right / 8
    assert a[0].item() == pytest.approx((7 / 8 * (1 - p) / p) ** 0.5)
    assert a[-1].item() == pytest.approx(-((7 / 8 * p / (1 - p)) ** 0.5))


def test_self_limiting():
    """A right answer is pushed down where z_i > A_i (detached) or rho z_i > A_i (full)."""
    reward_PG = torch.tensor([[1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    d = torch.tensor([[3.0], [0.2], [0.0], [0.1]], dtype=torch.float64)
    a, z = zscore(reward_PG[0]), zscore(d[:, 0])
    rho = correlation(reward_PG[0], d[:, 0])
    r = factory.bandit(reward_PG)
    _, detached = factory.logp_gradient(methods.get("gift", **DETACHED), d, r)
    _, full = factory.logp_gradient(methods.get("gift", **FULL), d, r)
    assert a[0] > 0
    assert z[0] > a[0]
    assert torch.equal(detached[:, 0] > 0, z > a)
    assert torch.equal(full[:, 0] > 0, rho * z > a)
    _, grpo = factory.logp_gradient(methods.get("grpo"), d, r)
    assert (grpo[:2] <= 0).all()  # which never pushes a right answer down


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_minimisers_are_a_family(scale):
    """d = scale * r + c(x) has loss 0 and no gradient for every scale: the loss chooses none."""
    reward_PG, _ = draw(6, prompts=2)
    d = scale * reward_PG + torch.tensor([[1.0], [-4.0]])
    result, gradient = factory.logp_gradient(
        methods.get("gift", **FULL), d.reshape(-1, 1), factory.bandit(reward_PG)
    )
    assert result.value < 1e-20
    assert gradient.abs().max() < 1e-10


def test_convexity_is_of_the_detached_loss_only(monkeypatch):
    """Along a segment in d: the loss with statistics held fixed is a convex quadratic, the full one
    (which depends on d through a correlation) is not."""
    reward_PG = torch.tensor([[1.0, 0.0, 0.3, 0.1]], dtype=torch.float64)
    r = factory.bandit(reward_PG)
    start, end = torch.tensor([[-3.0, 4.0, 0.5, 1.0], [0.1, 4.2, 0.4, 1.1]], dtype=torch.float64)

    fields, held = FULL, HeldStops()

    def loss(d: torch.Tensor) -> float:
        held.next = 0
        return factory.logp_gradient(methods.get("gift", **fields), d[:, None], r)[0].value.item()

    def curvature() -> list[float]:
        path = [loss(start + (end - start) * i / 20) for i in range(21)]
        return [a - 2 * b + c for a, b, c in zip(path, path[1:], path[2:], strict=False)]

    assert min(curvature()) < -1e-4
    # statistics held at those of the start: second differences of 2 |step|^2 / (N s^2) throughout
    monkeypatch.setattr(reduce, "stop", held)
    fields = DETACHED
    loss(start)
    held.recording = False
    step = (end - start) / 20
    assert curvature() == pytest.approx([2 * float(step @ step) / (4 * float(start.var()))] * 19)


def test_length_exponent_divides_the_implicit_reward():
    reward_PG, _ = draw(3)
    length_PG = torch.tensor([[1, 2, 4]])
    r = factory.bandit(reward_PG, length_PG=length_PG)
    logp_NT = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result, _ = factory.logp_gradient(methods.get("gift", length_exponent=1.0, **FULL), logp_NT, r)
    d = (logp_NT * r.mask_NT).sum(-1) / length_PG[0]
    expected = ((zscore(reward_PG[0]) - zscore(d)) ** 2).mean()
    torch.testing.assert_close(result.value, expected)


def test_the_degenerate_setting_is_explained():
    author = methods.get("gift-author-code")
    (text,) = author.warnings(updates_per_rollout=1)
    assert "identically zero" in text
    assert "REINFORCE" in text
    assert author.warnings(updates_per_rollout=4) == []
    assert methods.get("gift").warnings(updates_per_rollout=1) == []
    # and it is true: with old_logp = logp the gradient is a constant times A, whatever the policy
    reward_PG, d = draw(4)
    zero = torch.zeros_like(d)
    _, gradient = factory.logp_gradient(author, zero, factory.bandit(reward_PG))
    assert torch.allclose(
        gradient[:, 0] / zscore(reward_PG[0]), torch.tensor(-5e5).double(), rtol=1e-4
    )


@pytest.mark.parametrize(
    "bad", [{"beta": -1.0}, {"beta": 0.0}, {"std_floor": -0.1}, {"anchor": "x"}]
)
def test_bad_fields_are_refused(bad):
    with pytest.raises(ValueError):
        methods.get("gift", **bad)


def test_needs_follow_the_anchor():
    assert methods.get("gift").needs().reference
    assert methods.get("gift").needs().old == "no"
    author = methods.get("gift-author-code").needs()
    assert not author.reference
    assert author.old == "loss"
    assert author.group_min == 2
