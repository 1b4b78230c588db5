"""The objectives. `methods.get("gift", beta=1.0)`, `methods.names()`."""

from .base import GOLD, MISMATCHED, SAMPLE, Leaves, Loss, Method, Needs, Rollout, Signal
from .registry import entry, get, names, register

__all__ = [
    "GOLD", "MISMATCHED", "SAMPLE", "Leaves", "Loss", "Method", "Needs", "Rollout", "Signal",
    "entry", "get", "names", "register",
]  # fmt: skip
