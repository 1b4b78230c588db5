"""Laws of every registered objective. A new method is held to them by being registered."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

import methods
from methods import Leaves, Method, Rollout, Signal, reduce

from . import factory

CASES = factory.cases()
every_case = pytest.mark.parametrize("case", CASES, ids=map(factory.label, CASES))
# objectives with a statistic of the minibatch inside their loss, and which
COUPLED = {"kto": "z0 is a mean over the mismatched rows of the minibatch"}
EXACT: Any = {"rtol": 1e-10, "atol": 1e-12}


def build(case: tuple[str, dict]) -> Method:
    return methods.get(case[0], **case[1])


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, **EXACT)


def tensors(batch: Rollout | Signal) -> dict[str, torch.Tensor]:
    found = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {k: v for k, v in found.items() if isinstance(v, torch.Tensor)}


class HeldStops:
    """Stands in for `reduce.stop`: hands out the values of the first evaluation for ever, so that
    finite differences see what the gradient sees."""

    def __init__(self) -> None:
        self.values: list[torch.Tensor] = []
        self.recording, self.next = True, 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.recording:
            self.values.append(x.detach().clone())
        self.next += 1
        return self.values[self.next - 1]

    def start(self, recording: bool) -> None:
        self.recording, self.next = recording, 0


@every_case
@pytest.mark.parametrize("seed", [0, 1])
def test_gradient_equals_finite_differences(case, seed, monkeypatch):
    method = build(case)
    r = factory.rollout(method, seed=seed, prompts=2, group=4, tokens=3)
    signal, at = factory.scored(method, r, seed=seed)
    held = HeldStops()
    monkeypatch.setattr(reduce, "stop", held)
    names = [f.name for f in fields(at)]

    def value(*inputs: torch.Tensor) -> torch.Tensor:
        held.start(recording=False)
        return method.loss(Leaves(**dict(zip(names, inputs, strict=True))), r, signal).value

    held.start(recording=True)
    method.loss(at, r, signal)
    inputs = tuple(getattr(at, name).clone().requires_grad_() for name in names)
    # + 0 * sum: a leaf that the loss does not read still has a gradient, of zero
    assert torch.autograd.gradcheck(
        lambda *x: value(*x) + 0 * sum(y.sum() for y in x), inputs, eps=1e-6, atol=1e-7, rtol=1e-5
    )
    assert not held.values or type(method).stop_gradients, "an undeclared stop-gradient"


def in_group_order(order_N: torch.Tensor, group_N: torch.Tensor) -> torch.Tensor:
    """The same interleaving of groups as `order_N`, but each group's rows keep their order."""
    result_N = order_N.clone()
    for group in group_N.unique():
        places = (group_N[order_N] == group).nonzero()[:, 0]
        result_N[places] = order_N[places].sort().values
    return result_N


@every_case
def test_order_of_rows_does_not_matter(case):
    method = build(case)
    r = factory.rollout(method, seed=2)
    signal, at = factory.scored(method, r)
    result, gradient = factory.gradients(method, at, r, signal)
    order_N = torch.randperm(len(r), generator=torch.Generator().manual_seed(5))
    if getattr(method, "pairing", None) == "matched":  # the k-th right with the k-th wrong answer
        order_N = in_group_order(order_N, r.group_N)
    moved = r.select(order_N)
    moved_signal = method.signal(moved)
    same([signal.trained_N[order_N]], [moved_signal.trained_N])
    moved_at = factory.select_leaves(at, order_N)
    moved_result, moved_gradient = factory.gradients(method, moved_at, moved, moved_signal)
    same([result.value], [moved_result.value])
    same([g[order_N] for g in gradient], moved_gradient)


@every_case
def test_padding_does_not_matter(case):
    method = build(case)
    r = factory.rollout(method, seed=3)
    signal, at = factory.scored(method, r)
    result, gradient = factory.gradients(method, at, r, signal)

    def pad(x: torch.Tensor, fill: float) -> torch.Tensor:
        return torch.cat([x, torch.full_like(x[:, :1], fill).expand(-1, 3)], dim=1)

    wide = replace(
        r, **{k: pad(v, k != "mask_NT" and -7.0) for k, v in tensors(r).items() if v.ndim == 2}
    )
    wide_signal = method.signal(wide)
    same([signal.trained_N], [wide_signal.trained_N])
    wide_at = Leaves(*(pad(getattr(at, f.name), 0.0) for f in fields(at)))
    wide_result, wide_gradient = factory.gradients(method, wide_at, wide, wide_signal)
    same([result.value], [wide_result.value])
    same([pad(g, 0.0) for g in gradient], wide_gradient)


@every_case
@pytest.mark.parametrize("fill", [-50.0, 50.0, float("nan")])
def test_untrained_rows_and_masked_tokens_have_no_influence(case, fill):
    method = build(case)
    r = factory.rollout(method, seed=4, verdicts="mixed", prompts=5)
    tied_N = r.group_N == r.group_N[0]  # a group without variance, which many methods skip
    is_gold_N = r.kind_N == methods.GOLD
    r = replace(
        r,
        reward_N=torch.where(tied_N, is_gold_N.to(r.reward_N), r.reward_N),
        correct_N=torch.where(tied_N, is_gold_N, r.correct_N),
    )
    signal, at = factory.scored(method, r)
    live_NT = reduce.live(r, signal)
    result, gradient = factory.gradients(method, at, r, signal)
    dirty = Leaves(*(torch.where(live_NT, getattr(at, f.name), fill) for f in fields(at)))
    dirty_result, dirty_gradient = factory.gradients(method, dirty, r, signal)
    same([result.value], [dirty_result.value])
    same(gradient, dirty_gradient)
    assert all((g[~live_NT] == 0).all() for g in dirty_gradient)
    assert all(metric.isfinite() for metric in dirty_result.metrics.values())


EDGES = {
    "all right": {"verdicts": "right"},
    "all wrong": {"verdicts": "wrong"},
    "no group has variance": {"verdicts": "ties"},
    "one-token answers": {"one_token": True},
    "one prompt": {"prompts": 1},
    "one sample a prompt": {"group": 1},
}


@every_case
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("first_update", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_finite_on_degenerate_batches(case, edge, first_update, dtype):
    method = build(case)
    r = factory.rollout(method, dtype=dtype, **EDGES[edge])
    if first_update:  # the policy is its own anchor: log-ratios are exactly 0
        r = replace(r, ref_logp_NT=r.old_logp_NT)
    signal, at = factory.scored(method, r, spread=0.0 if first_update else 0.3)
    result, gradient = factory.gradients(method, at, r, signal)
    assert result.value.isfinite()
    assert result.value.dtype == dtype
    assert result.value.ndim == 0
    assert all(g.isfinite().all() for g in gradient)
    for metric in (result.metrics | signal.metrics).values():
        assert metric.isfinite()


def extremes(method: Method, far: float) -> tuple[list[float], list[float]]:
    """|loss| and largest |gradient| with all, only right, or only wrong rows at a logp of `far`."""
    values, slopes = [], []
    for verdicts in ("mixed", "right", "wrong"):
        r = factory.rollout(method, seed=6, verdicts=verdicts)
        signal, at = factory.scored(method, r)
        for rows_N in (torch.ones_like(r.correct_N), r.correct_N, ~r.correct_N):
            moved_NT = reduce.live(r, signal) & rows_N[:, None]
            moved = replace(at, logp_NT=torch.where(moved_NT, far, at.logp_NT))
            result, gradient = factory.gradients(method, moved, r, signal)
            values.append(result.value.abs().item())
            slopes.append(max(g.abs().max().item() for g in gradient))
    return values, slopes


@every_case
def test_bounded_at_logp_minus_500_or_declared(case):
    method = build(case)
    values, slopes = extremes(method, -500.0)
    assert all(map(math.isfinite, values + slopes))
    declared = type(method).unbounded
    if not declared or (declared.startswith("where ") and not case[1]):  # "where kl > 0: ..."
        assert max(values + slopes) < 50, "unbounded, and not declared so"
    elif not case[1]:
        assert max(values) > 5 * max(extremes(method, -50.0)[0]), "declared, but it is bounded"


def wasted(method: Method) -> int:
    """Rows with a forward pass although the loss, in general position, does not depend on them."""
    r = factory.rollout(method, seed=6, prompts=5)
    tied_N = (r.group_N == r.group_N[0]) & (r.kind_N == methods.SAMPLE)
    r = replace(r, reward_N=r.reward_N.masked_fill(tied_N, 0.0), correct_N=r.correct_N & ~tied_N)
    signal, at = factory.scored(method, r, spread=1e-4)  # inside the narrowest clip
    _, gradient = factory.gradients(method, at, r, signal)
    moved_N = torch.stack([g.abs().amax(-1) > 0 for g in gradient]).any(0)
    read_N = r.kind_N == methods.MISMATCHED  # read behind a stop-gradient
    return int((signal.trained_N & ~moved_N & ~read_N).sum())


@every_case
def test_no_forward_pass_is_wasted(case):
    assert wasted(build(case)) == 0


@every_case
def test_pure(case):
    method = build(case)
    r = factory.rollout(method, seed=7)
    signal, at = factory.scored(method, r)
    before = {k: v.clone() for k, v in (tensors(r) | tensors(signal)).items()}
    state = torch.get_rng_state()
    first, gradient = factory.gradients(method, at, r, signal)
    again, gradient_again = factory.gradients(method, at, r, method.signal(r))
    assert torch.equal(first.value, again.value)
    assert all(torch.equal(a, b) for a, b in zip(gradient, gradient_again, strict=True))
    assert torch.equal(state, torch.get_rng_state())
    for key, value in (tensors(r) | tensors(signal)).items():
        assert torch.equal(before[key], value), key


@every_case
def test_metrics_use_the_vocabulary(case):
    method = build(case)
    r = factory.rollout(method, seed=8)
    signal, at = factory.scored(method, r)
    result, _ = factory.gradients(method, at, r, signal)
    for name, metric in (result.metrics | signal.metrics).items():
        assert name in reduce.METRICS
        assert metric.ndim == 0
        assert not metric.requires_grad
        assert metric.is_floating_point()


@every_case
def test_a_minibatch_is_the_objective_of_its_own_groups(case):
    """Selecting whole groups after the signal must work as the harness does it: no row of another
    group is needed, and the direction of a group's gradient does not depend on its company."""
    if case[0] in COUPLED:
        pytest.skip(COUPLED[case[0]])
    method = build(case)
    r = factory.rollout(method, seed=9, prompts=4)
    signal, at = factory.scored(method, r)
    _, whole = factory.gradients(method, at, r, signal)
    for group in r.group_N.unique():
        rows_N = (r.group_N == group).nonzero()[:, 0]
        part = factory.select_leaves(at, rows_N)
        _, alone = factory.gradients(method, part, r.select(rows_N), signal.select(rows_N))
        for mine, theirs in zip(alone, whole, strict=True):
            for kind in r.kind_N.unique():  # kinds may have denominators of their own
                a, b = (x[r.kind_N[rows_N] == kind] for x in (mine, theirs[rows_N]))
                torch.testing.assert_close(a * b.norm(), b * a.norm(), **EXACT)


@every_case
def test_micro_batches_give_the_exact_gradient(case):
    """The harness's two passes, on a policy of one table of logits: leaves, w = dL/dleaf, then
    backward of sum(w * leaf) in slices equals the backward of the whole loss."""
    method = build(case)
    r = factory.rollout(method, seed=10)
    signal = method.signal(r)
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(r.mask_NT.shape[1], 11, generator=generator, dtype=torch.float64)
    theta.requires_grad_()
    token_NT = torch.randint(0, 11, r.mask_NT.shape, generator=generator)
    live_NT = reduce.live(r, signal)

    def forward(rows: slice | torch.Tensor) -> Leaves:
        logp_TV = theta.log_softmax(-1)
        spread_NTV = logp_TV.expand(len(token_NT[rows]), -1, -1)
        logp_NT = spread_NTV.gather(2, token_NT[rows][..., None])[..., 0]
        entropy_T = -(logp_TV.exp() * logp_TV).sum(-1)
        value_NT = theta.tanh().mean(-1).expand_as(logp_NT)
        outputs = (logp_NT, value_NT, entropy_T.expand_as(logp_NT))
        return Leaves(*(torch.where(live_NT[rows], x, 0.0) for x in outputs))

    (whole,) = torch.autograd.grad(method.loss(forward(slice(None)), r, signal).value, theta)
    with torch.no_grad():
        at = forward(slice(None))
    _, weights = factory.gradients(method, at, r, signal)
    total = torch.zeros_like(theta)
    for rows in torch.arange(len(r)).split(3):
        part = forward(rows)
        outputs = [getattr(part, f.name) for f in fields(part)]
        weighted = [(w[rows] * x).sum() for w, x in zip(weights, outputs, strict=True)]
        total += torch.autograd.grad(torch.stack(weighted).sum(), theta)[0]
    torch.testing.assert_close(whole, total, **EXACT)


def test_registry_describes_each_method():
    for name in methods.names():
        found = methods.entry(name)
        assert found.about
        assert (found.cls.__doc__ or "").strip()
        assert methods.get(name).needs().source in methods.get(name).needs().sources
