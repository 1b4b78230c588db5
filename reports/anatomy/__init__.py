"""What objectives do: token weights on stored rollouts (`anatomy`), and where each leads on three
answers (simplex.py)."""

from .measure import anatomy, objectives, weights
from .rollouts import StoredBatch, read, stored
from .show import REFERENCE, Anatomy

__all__ = [
    "REFERENCE", "Anatomy", "StoredBatch", "anatomy", "objectives", "read", "stored", "weights",
]  # fmt: skip
