"""Findings as a table, and as sentences of a report."""

from collections.abc import Sequence

import pandas as pd

from results.render import Column, Table
from results.sentences import p_words

from .judge import Finding

MARKS: dict[str, str] = {
    "supported": "✓", "contradicted": "✗", "undetermined": "?", "depends on the reading": "◆",
    "law: proved": "✓", "law: refuted": "✗", "law: depends on the reading": "◆",
    "consistent": "✓", "inconsistent": "✗", "not tested": "–",
}  # fmt: skip
TONES = {
    "supported": "better", "law: proved": "better", "contradicted": "worse",
    "law: refuted": "worse", "undetermined": "undetermined", "depends on the reading": "depends",
    "law: depends on the reading": "depends", "consistent": "better", "inconsistent": "worse",
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
        *((Column("reading", "reading"),) if (frame["reading"] != "").any() else ()),
        Column("size", "effect"),
        Column("p", "p", "p", wide=True),
        Column("p_adjusted", "p (Holm)", "p", wide=True),
        Column("why", "why", wide=True),
    )
    notes = (
        "An effect is the method's value minus that of the baseline, with its 95 % confidence"
        " interval across seeds; p is shown before and after Holm's correction over all claims of"
        " the paper, tested or not. Supported: significant in the claimed direction, in every"
        " reading of the objective that was run. Contradicted: significant"
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
            found += f", p {p_words(row['p_adjusted'])}" if row["p_adjusted"] >= 0 else ""
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
    "direction", "status", "mark", "reading", "size", "effect", "low", "high", "mde",
    "mde_adjusted", "unit", "p", "p_adjusted", "seeds", "test", "why",
]  # fmt: skip
