"""Importance weights of samples that another engine drew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import methods
from bench.train.backward import backward
from bench.train.batch import ScoredBatch
from bench.train.correction import Correction
from methods import GOLD, Rollout, Signal
from methods.laws.rollouts import gradients, rollout, scored
from tests import tiny
from tests.unit.test_backward import batch

WEIGHTED = [name for name in methods.names() if methods.get(name).weighted]


def by_hand() -> tuple[torch.Tensor, Rollout, Signal]:
    """Two samples of two and one tokens, a reference answer, and a sample that is not trained.
    exp(old - sampler) is 2 and 1/2 for the first, 8 for the second."""
    log2 = torch.tensor(2.0).log()
    mask_NT = torch.tensor([[True, True], [True, False], [True, True], [True, True]])
    true_N = torch.ones(4, dtype=torch.bool)
    old_NT = torch.tensor([[1.0, -1], [3, 0], [5, 5], [7, 7]]) * log2
    r = Rollout(
        mask_NT, true_N.float(), torch.zeros(4, dtype=torch.int64),
        torch.tensor([0, 0, GOLD, 0]), true_N, true_N, true_N, 2,
        sampler_logp_NT=torch.zeros(4, 2),
    )  # fmt: skip
    advantage_NT = mask_NT * torch.tensor([[1.0], [-1], [1], [1]])
    return old_NT, r, Signal(advantage_NT, None, torch.tensor([True, True, True, False]))


@pytest.mark.parametrize(
    ("how", "expected", "weight"),
    [
        ("token_truncate", [[2, 0.5], [-3, 0], [1, 1], [1, 1]], (2 + 0.5 + 3) / 3),
        ("sequence_truncate", [[1, 1], [-3, 0], [1, 1], [1, 1]], (1 + 1 + 3) / 3),
    ],
)
def test_weights_by_hand(how, expected, weight):
    old_NT, r, signal = by_hand()
    found, metrics = Correction(how, 3.0)(old_NT, r, signal, True)
    assert found.advantage_NT is not None
    torch.testing.assert_close(found.advantage_NT, torch.tensor(expected).float())
    log2 = float(torch.tensor(2.0).log())
    assert metrics["sampler_drift"] == pytest.approx((1 + 1 + 3) / 3 * log2)
    assert metrics["sampler_drift_max"] == pytest.approx(3 * log2)
    assert metrics["sampler_weight"] == pytest.approx(weight)


def test_a_log_prob_that_the_engine_could_not_tell_counts_as_equal():
    old_NT, r, signal = by_hand()
    r = replace(r, sampler_logp_NT=torch.tensor([[float("nan"), 0], [0, 0], [0, 0], [0, 0]]))
    found, metrics = Correction("token_truncate", 3.0)(old_NT, r, signal, True)
    assert found.advantage_NT is not None
    assert found.advantage_NT[0].tolist() == pytest.approx([1, 0.5])
    assert metrics["sampler_drift"].isfinite()


@pytest.mark.parametrize(("how", "weighted"), [("none", True), ("token_truncate", False)])
def test_drift_is_measured_where_nothing_is_corrected(how, weighted):
    old_NT, r, signal = by_hand()
    found, metrics = Correction(how, 3.0)(old_NT, r, signal, weighted)
    assert found is signal and set(metrics) == {"sampler_drift", "sampler_drift_max"}


def test_the_surrogates_take_weights():
    assert {"grpo", "dapo", "gspo", "cispo", "ppo"} <= set(WEIGHTED)
    assert not {"dpo", "sft", "gift", "rloo"} & set(WEIGHTED)


@pytest.mark.parametrize("name", WEIGHTED)
def test_what_declares_it_is_linear_in_a_positive_factor_of_each_advantage(name):
    """g(u + v) + g(0) = g(u) + g(v) for the gradients g of the loss under factors u, v > 0: a term
    that does not hold the advantage, such as a KL penalty, is counted twice on both sides."""
    method = methods.get(name)
    r = rollout(seed=3)
    signal, at = scored(method, r)
    advantage_NT = signal.advantage_NT
    assert advantage_NT is not None
    generator = torch.Generator().manual_seed(1)

    def g(factor: torch.Tensor | float) -> torch.Tensor:
        weighted = replace(signal, advantage_NT=advantage_NT * factor)
        return gradients(method, at, r, weighted)[1][0]

    u, v = (
        0.1 + torch.rand(r.mask_NT.shape, generator=generator, dtype=torch.float64) for _ in "uv"
    )
    assert (g(u) - g(v)).abs().max() > 1e-6
    torch.testing.assert_close(g(u + v) + g(0.0), g(u) + g(v), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("micro_tokens", [10**6, 24])
def test_on_the_first_update_the_present_log_probs_are_those_that_sampled(micro_tokens):
    """Without scored log-probs the weights come from the pass itself, in one pass as in two."""
    method, policy = methods.get("grpo"), tiny.policy(dtype=torch.float64)
    rows, r = batch(method, policy)
    with torch.no_grad():
        now_NT = policy.score(rows)[0]
    shifted = replace(r, old_logp_NT=None, sampler_logp_NT=now_NT - 0.2 * rows.mask_NT)
    plain = replace(shifted, sampler_logp_NT=now_NT)
    found = []
    for given in (shifted, plain):
        policy.model.zero_grad()
        how = Correction("token_truncate", 3.0)
        first = ScoredBatch(rows, given, method.signal(given), "own_pass")
        result = backward(policy, method, first, micro_tokens=micro_tokens, correction=how)
        found.append((result.loss, torch.cat([p.grad.flatten() for p in policy.parameters()])))  # pyright: ignore[reportOptionalMemberAccess]
    (loss, gradient), (base, untouched) = found
    assert loss.metrics["sampler_drift"] == pytest.approx(0.2)
    assert base.metrics["sampler_drift"] == pytest.approx(0.0, abs=1e-12)
    factor = float(torch.tensor(0.2).exp())
    assert loss.metrics["sampler_weight"] == pytest.approx(factor)
    torch.testing.assert_close(gradient, factor * untouched)
