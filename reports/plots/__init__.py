"""Drawing. Each function takes tidy DataFrames and returns a `Plot`: drawing, words and data.

    plots.forest(differences, control="grpo").save("figures")   # forest.svg .pdf .png .csv

Shares (accuracy) come in as 0..1 and are drawn in percent. Nothing is smoothed. Where the numbers
come from stands in reports/figures.py.
"""

from .curves import convergence, pass_curves, profile, shares, tuning
from .differences import forest, wins
from .lift import lift
from .look import COLUMN, ORDER, RC, WIDE, css_class, looks
from .plot import Plot
from .scatter import against, cost
from .specifications import specifications
from .speed import growth
from .variance import variance

__all__ = [
    "COLUMN", "ORDER", "RC", "WIDE", "Plot", "against", "convergence", "cost", "css_class",
    "forest", "growth", "lift", "looks", "pass_curves", "profile", "shares", "specifications",
    "tuning", "variance", "wins",
]  # fmt: skip
