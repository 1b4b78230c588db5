"""What each method was allowed to see and how it was tuned, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .. import information
from ..render import Column, Table
from .parts import label_columns

if TYPE_CHECKING:
    from ..runs import Results

YES_NO = {True: "yes", False: "no", None: None}


def information_table(results: Results) -> Table:
    """A row per method: its track, the reference answers and verifier calls that it used, whose
    samples, a reference model, a critic, and the trials that tuned it."""
    rows = []
    cards = information.cards(results)
    for (task, method), card in cards.items():
        shown = {"reference_model": YES_NO[card.reference_model], "critic": YES_NO[card.critic]}
        rows.append({"task": task, "method": method, **card.row(), **shown})
    keys = ["task", "method", *information.Card.__dataclass_fields__]
    frame = pd.DataFrame(rows, columns=keys)
    order = {m: i for i, m in enumerate(results.methods)}
    frame = frame.sort_values(["task", "method"], key=lambda c: c.map(order) if c.name == "method"
                              else c, ignore_index=True)  # fmt: skip
    columns = (
        *label_columns(results),
        Column("track", "learns from"),
        Column("reference_rows", "reference answers", "count", about="trained on, with repeats"),
        Column("reference_distinct", "distinct", "count"),
        Column("verifier_calls", "verifier calls", "count"),
        Column("samples_policy", "on-policy samples", "count", wide=True),
        Column("prompts_distinct", "distinct prompts", "count", wide=True),
        Column(
            "reference_model", "reference model", about="the frozen start scores answers", wide=True
        ),
        Column("critic", "critic", wide=True),
        Column("trials", "tuning trials", "count"),
        Column("tuned", "fields tuned", wide=True),
    )
    return Table("information", "What each method was allowed to see", frame, columns,
                 notes=tuple(_notes(results, frame)))  # fmt: skip


def _notes(results: Results, frame: pd.DataFrame) -> list[str]:
    if frame.empty:
        return []
    told = [
        "Means over the runs of a method. A dash: these runs do not record it. A difference between"
        " methods that learn from different things may be one of information."
    ]
    alone = [m for m, t in zip(frame["method"], frame["track"], strict=True)
             if "demonstrations" in t and (frame["track"] == t).sum() == 1]  # fmt: skip
    if alone:
        told.append(
            f"No control that sees the same stands beside {', '.join(alone)}: that would be a"
            " method with the control's objective and the same reference answers."
        )
    return told
