"""PPO's advantages against the definition: a double sum over what is still to come."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import methods
from tests.laws import factory


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    gamma=st.floats(0.5, 1.0),
    decay=st.floats(0.0, 1.0),
    kl=st.floats(0.0, 0.5),
    bootstrap=st.booleans(),
)
def test_advantages_are_the_double_sum(seed, gamma, decay, kl, bootstrap):
    """A_t = sum_s (gamma lambda)^(s-t) delta_s,  delta_s = R_s + gamma V_(s+1) - V_s; after the end
    V is 0, or where the answer was cut off, its last value."""
    method = methods.get(
        "ppo", gamma=gamma, gae_lambda=decay, reward_kl=kl, bootstrap=bootstrap, whiten=False
    )
    r = factory.rollout(method, seed=seed, real_rewards=True, tokens=8, prompts=2)
    signal = method.signal(r)
    assert signal.advantage_NT is not None
    assert signal.return_NT is not None
    assert r.old_value_NT is not None
    assert r.old_logp_NT is not None
    assert r.ref_logp_NT is not None
    penalty_NT = kl * (r.old_logp_NT - r.ref_logp_NT)
    for n in range(len(r)):
        length = int(r.mask_NT[n].sum())
        value = r.old_value_NT[n, :length].tolist()
        reward = (-penalty_NT[n, :length]).tolist()
        reward[-1] += r.reward_N[n].item()
        after = value[-1] if bootstrap and not r.finished_N[n] else 0.0
        nexts = [*value[1:], after]
        delta = [x + gamma * v1 - v0 for x, v0, v1 in zip(reward, value, nexts, strict=True)]
        expected = [
            sum((gamma * decay) ** (s - t) * delta[s] for s in range(t, length))
            for t in range(length)
        ]
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(signal.advantage_NT[n, :length], expected)
        torch.testing.assert_close(
            signal.return_NT[n, :length], expected + r.old_value_NT[n, :length]
        )
        assert (signal.advantage_NT[n, length:] == 0).all()


def test_lambda_one_is_the_return_to_go():
    """With gamma = lambda = 1 and all answers finished, A + V is the reward still to come, whatever
    the critic says."""
    method = methods.get("ppo", gae_lambda=1.0, reward_kl=0.1, whiten=False)
    r = factory.rollout(method, seed=3)
    r = replace(r, finished_N=torch.ones_like(r.finished_N))
    other = replace(r, old_value_NT=None if r.old_value_NT is None else 5 * r.old_value_NT + 1)
    a, b = method.signal(r).return_NT, method.signal(other).return_NT
    assert a is not None
    assert b is not None
    torch.testing.assert_close(a[r.mask_NT], b[r.mask_NT])
