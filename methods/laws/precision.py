"""How exact objectives are in fp32 and bf16: `python -m methods.laws.precision [cuda]` prints the
table of docs/precision.md.

An objective is computed by its own code on another device or in another dtype, between a float64
batch that goes in and the float64 loss and gradient that come out, and compared with itself.
"""

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from methods import registry
from methods.base import Leaves, Loss, Method, Rollout, Signal

from . import rollouts

NEAR, FAR = 0.01, 0.3  # largest |log-ratio| of a token: after a small update, after many
STORED = ("old_logp_NT", "sampler_logp_NT", "ref_logp_NT", "old_value_NT")


def moved(batch: Any, device: str, dtype: torch.dtype) -> Any:
    """A Rollout, Signal or Leaves elsewhere; what is not floating point keeps its dtype."""
    found = {f.name: getattr(batch, f.name) for f in fields(batch)}
    tensors = {k: v for k, v in found.items() if isinstance(v, Tensor)}
    return replace(
        batch,
        **{
            k: v.to(device, dtype if v.is_floating_point() else v.dtype) for k, v in tensors.items()
        },
    )


@contextmanager
def computed(cls: type[Method], device: str, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Meanwhile the class computes `signal` and `loss` on `device`, in `dtype` if one is given;
    arguments come from and results go to wherever the caller's batch is."""
    signal, loss = cls.signal, cls.loss

    def signal_there(self: Method, rollout: Rollout) -> Signal:
        own = rollout.reward_N
        found = signal(self, moved(rollout, device, dtype or own.dtype))
        metrics = {k: v.to(own.device, own.dtype) for k, v in found.metrics.items()}
        return replace(moved(found, str(own.device), own.dtype), metrics=metrics)

    def loss_there(self: Method, leaves: Leaves, rollout: Rollout, signal: Signal) -> Loss:
        own = rollout.reward_N
        there = (moved(x, device, dtype or own.dtype) for x in (leaves, rollout, signal))
        found = loss(self, *there)
        metrics = {k: v.to(own.device, own.dtype) for k, v in found.metrics.items()}
        return Loss(found.value.to(own.device, own.dtype), metrics)

    restore = {k: vars(cls).get(k) for k in ("signal", "loss")}
    cls.signal, cls.loss = signal_there, loss_there  # type: ignore[method-assign]
    try:
        yield
    finally:
        for name, own in restore.items():
            if own is None:
                delattr(cls, name)
            else:
                setattr(cls, name, own)


def error(
    method: Method,
    dtype: torch.dtype,
    stored: torch.dtype | None = None,
    spread: float = NEAR,
    device: str = "cpu",
    seeds: int = 5,
) -> float:
    """Relative error of the gradient, |g - g64| / |g64|, the median over `seeds` batches of 4
    prompts x 8 answers of up to 64 tokens; inf where it is not finite.

    `dtype` is that of the arithmetic; with `stored`, log-probs and values are first rounded to it.
    """
    return statistics.median(
        _error(method, dtype, stored, spread, device=device, seed=seed) for seed in range(seeds)
    )


def _error(
    method: Method, dtype: torch.dtype, stored: torch.dtype | None, spread: float, device: str,
    seed: int,
) -> float:  # fmt: skip
    r = rollouts.rollout(method, seed=seed, group=8, tokens=64)
    r = replace(r, ref_logp_NT=r.old_logp_NT)
    signal, at = rollouts.scored(method, r, seed=seed, spread=spread)
    _, exact = rollouts.gradients(method, at, r, signal)
    if stored is not None:
        rounded = {k: getattr(r, k).to(stored).double() for k in STORED}
        r = replace(r, **rounded)
        at = moved(moved(at, "cpu", stored), "cpu", torch.float64)
    with computed(type(method), device, dtype):
        _, found = rollouts.gradients(method, at, r, method.signal(r))
    gap = torch.stack([(a - b).norm() for a, b in zip(exact, found, strict=True)]).norm()
    result = float(gap / torch.stack([a.norm() for a in exact]).norm())
    return result if result == result else float("inf")


def columns() -> dict[str, dict[str, Any]]:
    """Options of `error` by the heading of their column."""
    half = torch.bfloat16
    return {
        "fp32": {"dtype": torch.float32},
        "bf16 log-probs, near": {"dtype": torch.float32, "stored": half},
        "bf16 log-probs, far": {"dtype": torch.float32, "stored": half, "spread": FAR},
        "bf16 throughout, near": {"dtype": half},
        "bf16 throughout, far": {"dtype": half, "spread": FAR},
    }


def main(device: str = "cpu") -> None:
    wanted = columns()
    print(f"| method | {' | '.join(wanted)} |\n| --- |{' ---: |' * len(wanted)}")
    for name in registry.names():
        method = registry.get(name)
        found = [error(method, device=device, **options) for options in wanted.values()]
        print(f"| {name} | {' | '.join(f'{x:.1g}' for x in found)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
