"""Each objective equals its equation written in plain loops, in value and gradient."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

import methods
from methods import Leaves, Method

from . import factory
from .equations import EQUATIONS, rows_of

CASES = factory.cases()
ROLLOUTS = [
    {"seed": 11},
    {"seed": 12, "real_rewards": True, "prompts": 3, "group": 5},
    {"seed": 13, "correct": "right", "prompts": 2},
    {"seed": 14, "correct": "wrong", "prompts": 2},
    {"seed": 15, "group": 1, "prompts": 5},
    {"seed": 16, "spread": 0.0},  # the policy is still the one that sampled
]


def disagreement(name: str, method: Method, options: dict) -> float:
    """Largest |difference| of the loss or of its gradient by any leaf, on one rollout; inf where
    one side is not finite. The equation sees every row, the method zeros where it does not train.
    """
    spread = options.get("spread", 0.6)
    r = factory.rollout(method, **{k: v for k, v in options.items() if k != "spread"})
    if spread == 0.0:
        r = replace(r, ref_logp_NT=r.old_logp_NT)
    signal = method.signal(r)
    given = factory.leaves(r, signal, spread=spread)
    result, gradient = factory.gradients(method, given, r, signal)
    at = factory.leaves(r, None, spread=spread)
    inputs = [getattr(at, f.name).clone().requires_grad_() for f in fields(at)]
    expected = EQUATIONS[name](method, rows_of(Leaves(*inputs), r), r.max_tokens)
    expected = torch.as_tensor(expected, dtype=torch.float64) + 0 * inputs[0].sum()
    found = torch.autograd.grad(expected, inputs, allow_unused=True, materialize_grads=True)
    gaps = [(result.value - expected).abs()]
    gaps += [(a - b).abs().max() for a, b in zip(gradient, found, strict=True)]
    worst = torch.stack(gaps).max().item()
    return worst if worst == worst else float("inf")


@pytest.mark.parametrize("options", ROLLOUTS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=map(factory.label, CASES))
def test_equals_its_equation(case, options):
    name, extra = case
    assert disagreement(name, methods.get(name, **extra), options) < 1e-9


def test_every_method_has_its_equation():
    assert set(EQUATIONS) == set(methods.names())
