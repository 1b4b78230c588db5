"""Answers that other tools made (`evenbench import`, `evenbench eval`), and models without seeds.

Where no training seed is known, a row is one model, not a method: a checkpoint. Two checkpoints are
compared over questions: which of these two answers new questions like these better. Nothing is said
of the methods that made them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import stats
from .memoise import remembered
from .pairing import Paired
from .stats import Interval

if TYPE_CHECKING:
    import pandas as pd

    from .runs import Results

ONLY = (
    "these are two models, not two methods: the verdict is on new questions like these and says"
    " nothing of other training seeds"
)


@remembered
def checkpoints(results: Results) -> frozenset[str]:
    """Labels of which no run has a known training seed."""
    known = results.runs.loc[results.runs["objective"] != "none", "method"]
    return frozenset(set(results.methods) - set(known.astype("str")))


def between(
    results: Results, sides: tuple[pd.DataFrame, pd.DataFrame], pair: tuple[str, str], *,
    delta: float, alpha: float,
) -> Paired:  # fmt: skip
    """Two checkpoints on their common questions (columns): the difference over questions."""
    a_SQ, b_SQ = sides
    gaps_Q = (a_SQ.mean(axis=0) - b_SQ.mean(axis=0)).dropna().to_numpy()
    d = stats.question_difference(gaps_Q, delta, alpha)
    wide = Interval(d.estimate, d.low, d.high, d.se, df=d.df, kind="questions")
    return Paired(d, wide, len(gaps_Q), (ONLY, *filter(None, [unlike(results, *pair)])))


def unlike(results: Results, a: str, b: str) -> str:
    """In what the two were asked differently, as far as their logs tell; "" where in nothing."""
    one, other = (_asked(results, method) for method in (a, b))
    parts = [
        f"{key} {one[key]} and {other[key]}"
        for key in one if key in other and one[key] != other[key]
    ]  # fmt: skip
    return f"asked differently: {', '.join(parts)}" if parts else ""


def _asked(results: Results, method: str) -> dict[str, object]:
    """What the logs say of how the questions were asked, flat."""
    runs = results.runs[results.runs["method"] == method]
    found: dict[str, object] = {}
    for asked in (config.get("asked") or {} for config in runs["config"]):
        for key, value in asked.items():
            inner = value if isinstance(value, dict) else {"": value}
            found |= {f"{key} {name}".strip(): v for name, v in inner.items()}
    return found


def notes(results: Results) -> list[str]:
    """Which rows come from other tools, and which are single models."""
    said = []
    for run in results.provenance:
        if run.imported:
            tool = f"{run.imported.tool} {run.imported.version}".strip()
            said.append((tool, run.method))
    tools = dict.fromkeys(tool for tool, _ in said)
    notes = [
        f"Imported from {tool}: {', '.join(dict.fromkeys(m for t, m in said if t == tool))}."
        for tool in tools
    ]
    models = [m for m in results.methods if m in checkpoints(results)]
    if models:
        notes.append(
            f"Single models without a known training seed: {', '.join(models)}. They are compared"
            " with each other over new questions (paired by question, exact test of flipped signs),"
            " never as methods."
        )
    return notes
