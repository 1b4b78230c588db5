"""Two passes give the gradient of one, whatever the micro-batch, for every objective."""

from dataclasses import replace

import pytest
import torch

import methods
from bench.model.policy import Critic, Policy
from bench.train.backward import backward
from bench.train.batch import ScoredBatch
from methods.laws import precision
from tests import tiny

LENGTHS = [[2, 5, 3, 4], [4, 1, 6, 2], [3, 3, 7, 2]]


def batch(method, policy):
    """Rows and a rollout of three groups, with whatever the method needs."""
    rows = tiny.rows(policy, LENGTHS)
    N, T = rows.mask_NT.shape
    needs = method.needs()
    generator = torch.Generator().manual_seed(5)

    def noise():
        return torch.randn(N, T, dtype=torch.float64, generator=generator) * rows.mask_NT

    kind = torch.zeros(N, dtype=torch.int64)
    if needs.gold:
        kind[3::4] = methods.GOLD
    if needs.mismatched:
        kind[2::4] = methods.MISMATCHED
    correct = torch.tensor([True, False, False, True] * 3)
    with torch.no_grad():
        old = policy.score(rows)[0] + 0.05 * noise()
        reference = policy.score(rows)[0] + 0.3 * noise()
    rollout = methods.Rollout(
        mask_NT=rows.mask_NT,
        reward_N=correct.double(),
        group_N=rows.prompt_N,
        kind_N=kind,
        correct_N=correct,
        finished_N=torch.ones(N, dtype=torch.bool),
        format_ok_N=torch.ones(N, dtype=torch.bool),
        max_tokens=8,
        old_logp_NT=old,
        ref_logp_NT=reference,
        old_value_NT=0.1 * noise(),
        sampler_logp_NT=old,
    )
    return rows, rollout


@pytest.mark.parametrize("name", methods.names())
def test_two_passes_equal_one(name):
    method = methods.get(name)
    policy = tiny.policy(dtype=torch.float64)
    critic = (
        Critic(tiny.policy(seed=2, dtype=torch.float64).model) if method.needs().critic else None
    )
    rows, rollout = batch(method, policy)
    signal = method.signal(rollout)
    models = [policy.model] + ([critic] if critic else [])
    found = []
    for micro_tokens in (10**6, 24, 1):
        for model in models:
            model.zero_grad()
        given = ScoredBatch(rows, rollout, signal, "scored")
        result = backward(policy, method, given, critic=critic, micro_tokens=micro_tokens)
        assert result.has_gradient
        assert result.passes == (1 if micro_tokens == 10**6 else 2)
        assert result.drift < 1e-12
        gradients = [
            p.grad.clone() for model in models for p in model.parameters() if p.grad is not None
        ]
        found.append((result.loss.value, gradients))
    assert max(g.abs().max() for g in found[0][1]) > 1e-8
    for value, gradients in found[1:]:
        torch.testing.assert_close(value, found[0][0], rtol=1e-10, atol=1e-10)
        for ours, whole in zip(gradients, found[0][1], strict=True):
            torch.testing.assert_close(ours, whole, rtol=1e-10, atol=1e-10)


def test_the_first_update_after_sampling_has_log_ratio_zero():
    method = methods.get("grpo")
    policy = tiny.policy(dtype=torch.float64)
    rows, rollout = batch(method, policy)
    fresh = replace(rollout, old_logp_NT=None)
    for micro_tokens in (10**6, 40):
        given = ScoredBatch(rows, fresh, method.signal(fresh), "own_pass")
        loss = backward(policy, method, given, micro_tokens=micro_tokens).loss
        assert loss.metrics["clip_fraction"] == 0
        assert loss.metrics["ratio"] == pytest.approx(1.0, abs=1e-12)


def test_nothing_to_train_on_leaves_no_gradient():
    method = methods.get("rift", negative_reward=0.0)
    policy = tiny.policy(dtype=torch.float64)
    rows, rollout = batch(method, policy)
    wrong = replace(rollout, correct_N=torch.zeros_like(rollout.correct_N))
    given = ScoredBatch(rows, wrong, method.signal(wrong), "none")
    result = backward(policy, method, given, micro_tokens=10**6)
    assert not result.has_gradient
    assert all(p.grad is None or not p.grad.any() for p in policy.parameters())


def on_device(policy, asked):
    """The policy where no number can be read: whatever waits for the device, or mixes it with the
    host, raises."""
    policy.model.to("meta")
    return Policy(policy.model, policy.tokenizer, asked=asked)


@pytest.mark.parametrize("asked", ["packed", "transformers"])
@pytest.mark.parametrize("name", ["grpo", "ppo", "gift"])  # with KL, a critic, a reference
def test_a_step_does_not_wait_for_the_device(name, asked, monkeypatch):
    method = methods.get(name)
    policy = tiny.policy(num_key_value_heads=1)
    rows, rollout = batch(method, policy)
    signal = method.signal(rollout)
    known = signal.trained_N.nonzero()[:, 0]
    monkeypatch.setattr("bench.train.backward.host_indices", lambda which_N: known)
    policy = on_device(policy, asked)
    # transformers itself asks once a forward pass whether there is any padding
    monkeypatch.setattr("transformers.masking_utils.fast_all", lambda mask: False)
    critic = None
    if method.needs().critic:
        critic = Critic(tiny.policy(seed=2).model, asked).to("meta")
    rollout, signal = (precision.moved(x, "meta", torch.float32) for x in (rollout, signal))
    for micro_tokens in (10**6, 24):
        given = ScoredBatch(rows, rollout, signal, "scored")
        result = backward(policy, method, given, critic=critic, micro_tokens=micro_tokens)
        assert result.has_gradient and result.loss.value.is_meta
        assert all(p.grad.is_meta for p in policy.parameters() if p.grad is not None)
    with torch.no_grad():
        _, cache = policy.backbone.prefill(rows.prompt_PL, rows.prompt_mask_PL)
        cache = policy.backbone.expand(cache, rows.prompt_N)
        ids_N = torch.zeros(len(rows), dtype=torch.int64, device="meta")
        assert policy.backbone.step(ids_N, cache).is_meta
    with pytest.raises(RuntimeError, match="meta"):
        float(result.loss.value)
