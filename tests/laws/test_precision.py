"""The laws in fp32 and bf16, on the CPU and, where there is one, on a GPU; what bf16 costs.

`make test ARGS="tests/laws/test_precision.py -rs"` runs this file; -rs says what was skipped.
"""

from __future__ import annotations

import pytest
import torch

import methods
from methods import Loss, Method, Signal
from methods.laws import precision, rollouts, rules
from methods.laws.contract import LAWS, check_law
from methods.rft import RFT

from . import factory
from .test_equations import disagreement

NAMES = methods.names()
GPUS = ["cuda"] if torch.cuda.is_available() else []
DEVICES = ["cpu", *GPUS]
TOLERANCE = {
    torch.float64: rules.EXACT,
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.bfloat16: {"rtol": 0.05, "atol": 0.02},
}
DIFFERENCES = "gradient equals finite differences"
# (method, law): what is below the resolution of the lower precisions
TOO_FINE = {
    ("kto", "a minibatch is the objective of its own groups"): "z0 moves other groups too little",
    ("kto", "what it reads is declared"): "z0 and the reference are lost in rounding",
    ("gift-author-code", "no forward pass is wasted"): "log-ratios of 1e-4 are lost in rounding",
}


@pytest.fixture(autouse=True)
def _same_sums_twice():
    """On a GPU the order of additions is otherwise free, and two calls differ in the last bit."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(torch.cuda.is_available(), warn_only=True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("device", DEVICES)
def test_laws_in_low_precision(device, dtype, name, monkeypatch):
    """All but finite differences, whose steps of 1e-6 drown in rounding."""
    monkeypatch.setattr(rules, "EXACT", TOLERANCE[dtype])
    method = methods.get(name)
    with precision.computed(type(method), device, dtype):
        found = [check_law(law, method) for law in LAWS if law != DIFFERENCES]
    failed = [f for f in found if f.outcome == "fails" and (name, f.law) not in TOO_FINE]
    assert not failed, "\n".join(f"{f.law}: {f.why}" for f in failed)


@pytest.mark.skipif(not GPUS, reason="no CUDA device: every test here ran on the CPU only")
@pytest.mark.parametrize("name", NAMES if GPUS else ["every objective"])
def test_laws_and_equation_in_float64_on_a_gpu(name):
    method = methods.get(name)
    with precision.computed(type(method), "cuda"):
        found = [check_law(law, method) for law in LAWS]
        gap = disagreement(name, method, {"seed": 11})
    assert not [f for f in found if f.outcome == "fails"]
    assert gap < 1e-9


def on_meta(method: Method) -> tuple[Signal, Loss]:
    r = rollouts.rollout(method)
    at = rollouts.leaves(r, None)
    r, at = (precision.moved(x, "meta", torch.float64) for x in (r, at))
    signal = method.signal(r)
    return signal, method.loss(at, r, signal)


# but pairs, which are chosen by value: such tensors have none
CASES = [c for c in factory.cases() if not methods.get(c[0]).needs().pairs]


@pytest.mark.parametrize("case", CASES, ids=map(factory.label, CASES))
def test_everything_is_computed_where_the_batch_is(case):
    """On tensors with a device of their own and no values: one that was made on the CPU meets them
    and raises, and so does a value that is asked for on the host."""
    signal, loss = on_meta(methods.get(case[0], **case[1]))
    assert signal.trained_N.is_meta and loss.value.is_meta


def test_a_tensor_of_the_cpu_is_noticed():
    class Homely(RFT):
        def weight(self, logp_NT):
            return torch.ones(logp_NT.shape, dtype=logp_NT.dtype)

    with pytest.raises(RuntimeError, match="device"):
        on_meta(Homely())


# what docs/precision.md says

LOSE = {"gift", "gift-author-code", "gift-detached", "gspo"}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_who_loses_exactness_in_bf16(name, device):
    """Near the anchor, where training goes on: all others keep bf16's own precision, 2^-8, times a
    few operations."""
    method = methods.get(name)
    assert precision.error(method, torch.float32, device=device) < 2e-5
    for stored in (None, torch.bfloat16):
        dtype = torch.bfloat16 if stored is None else torch.float32
        error = precision.error(method, dtype, stored, device=device)
        assert 0.1 < error < 1 if name in LOSE else error < 0.02


def rounded(name: str, spread: float = precision.NEAR, **fields) -> float:
    """Error from bf16 log-probabilities alone."""
    method = methods.get(name, **fields)
    return precision.error(method, torch.float32, torch.bfloat16, spread)


def test_why_gift_does():
    """Its signal is a difference of log-probs divided by its own spread: noise over distance. Far
    from the anchor the noise is small beside it, and the floor bounds what noise can do."""
    assert rounded("gift", spread=precision.FAR) < 0.2 * rounded("gift")
    floors = [rounded("gift", std_floor=floor) for floor in (0.0, 0.1, 1.0)]
    assert floors[0] > 2 * floors[1] > 10 * floors[2]


def test_why_gspo_does():
    """A clip of 3e-4 is finer than the rounding of the mean log-ratio; a wide one is not."""
    assert rounded("gspo", clip=0.2, clip_high=0.2) < 0.02 * rounded("gspo")


def test_a_class_is_left_as_it_was():
    for name in ("gift", "dapo"):  # with a loss of its own, and with an inherited one
        cls = methods.entry(name).cls
        before = dict(vars(cls))
        with precision.computed(cls, "cpu", torch.bfloat16):
            assert cls.loss is not before.get("loss")
        assert dict(vars(cls)) == before
