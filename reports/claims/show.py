"""Findings as a table, and as sentences of a report."""

from collections.abc import Sequence

import pandas as pd

from results.render import Column, Table

from ..verdicts import stats_p
from .judge import Finding

MARKS: dict[str, str] = {
    "supported": "✓", "contradicted": "✗", "undetermined": "?", "law: proved": "✓",
    "law: refuted": "✗", "not tested": "–",
}  # fmt: skip
TONES = {
    "supported": "better", "law: proved": "better", "contradicted": "worse",
    "law: refuted": "worse", "undetermined": "undetermined",
}  # fmt: skip


def claims_table(findings: Sequence[Finding]) -> Table:
    """One row a finding."""
    rows = [
        {key: getattr(f.claim, key, None) for key in _COLUMNS}
        | {key: getattr(f, key) for key in _COLUMNS if hasattr(f, key)}
        | {
            "claim": f.claim.claim, "short": f.claim.paper.partition(",")[0],
            "against": f"{f.claim.factor:g} × {f.against}" if f.scaled else f.against,
            "mark": f"{MARKS[f.status]} {f.status}",
        }
        for f in findings
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    several = frame.loc[frame["task"] != "", "task"].nunique() > 1
    columns = (
        Column("short", "Paper"),
        Column("claim", "claim", about="in our words"),
        Column("mark", "result"),
        Column("against", "against"),
        *((Column("task", "task"),) if several else ()),
        Column("size", "effect"),
        Column("p_holm", "p (Holm)", "p", wide=True),
        Column("why", "why", wide=True),
    )
    tests = sum(f.p_holm == f.p_holm for f in findings)
    notes = (
        "An effect is the method's value minus that of the baseline, with its 95 % confidence"
        f" interval across seeds; p is after Holm's correction over the {tests} claims that these"
        " runs can test. Supported: significant in the claimed direction. Contradicted: significant"
        " in the other direction, or shown to be within the margin. A claim that nothing is lost is"
        " tested against a loss of the margin. Every result holds for these runs, at this scale.",
    )
    title = "The papers' claims, tested on these runs"
    return Table("claims", title, frame, columns, notes=notes)


def claim_sentences(table: Table) -> list[dict[str, str]]:
    """The rows of the table of claims as sentences; the tone of what was not tested is empty."""
    said = []
    for row in table.frame.to_dict("records"):
        found, why = row["against"], row["why"]
        if row["size"]:
            found = f"{row['size']} against {found}"
            found += f", p {stats_p(row['p_holm'])}" if row["p_holm"] >= 0 else ""
        tone = TONES.get(row["status"], "")
        told = ": ".join(part for part in (found if tone else "", why) if part)
        said.append({
            **{k: row[k] for k in ("paper", "claim", "status", "against", "measured")},
            "tone": tone, "sign": MARKS[row["status"]],
            "found": told if told.endswith(".") or not told else f"{told}.",
        })  # fmt: skip
    return said


_COLUMNS = [
    "id", "paper", "short", "claim", "where", "measured", "method", "against", "task", "metric",
    "direction", "status", "mark", "size", "effect", "low", "high", "mde", "unit", "p", "p_holm",
    "seeds", "test", "why",
]  # fmt: skip
