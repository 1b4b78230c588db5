"""What a claim is, and reading files of claims.

The claims stand in *.toml beside this file, a `[[claim]]` each. A claim about accuracy or cost is
one-sided in words but tested two-sided, paired by seed. A claim that nothing is lost
("not lower") is one of non-inferiority and tested against a loss of the margin: equality
contradicts a claim of more, but not this one. A claim that is mathematics names the test that
proves or refutes it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from results.records import BUDGET_AXES

ClaimKind = Literal["runs", "law", "audit", "untested"]
DEPENDS = "depends on the reading"
METRICS = {
    "avg": "accuracy of sampled answers", "greedy": "accuracy of greedy answers",
    "pass@k": "pass@k; pass@K takes all samples", "gain": "last minus first evaluation",
    "auc:AXIS": "mean accuracy up to the largest cost that all runs reached on an axis",
    "at:AXIS": "accuracy at that cost",
    "cost_50:AXIS": "cost until start + 50 % of the best gain", "cost_90:AXIS": "likewise 90 %",
    "total:AXIS": "what the whole run cost",
    "gap:SPLIT": "accuracy on a split (train, ood) minus the headline split's",
    "unsolved": "accuracy on the questions that no run solved before its first update",
    "first:METRIC": "a metric of steps.jsonl, mean of the first fifth of the updates",
    "last:METRIC": "likewise of the last fifth",
    "fall:METRIC": "mean of its first fifth minus mean of its last fifth",
    "lead:METRIC": "a share's first fifth minus the largest of the other shares",
}  # fmt: skip
COSTS = ("cost_50", "cost_90", "total")


class ClaimError(ValueError):
    """A file of claims is broken; the message holds its path and the claim."""


class Claim(BaseModel):
    """One row of a file of claims."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    paper: str
    claim: str  # in our words
    where: str = ""  # in the paper
    measured: str  # how, in words
    kind: ClaimKind = "runs"
    # kind = "runs"
    method: str = ""  # a label or an objective; grao[beta=0.0] is that objective with that field
    against: tuple[str, ...] = ()  # baselines
    value: float = 0.0  # what the metric is compared with where there is no baseline
    metric: str = "avg"
    split: str | None = None  # None: the headline split
    direction: Literal["higher", "lower", "not lower", "not higher", "equal"] = "higher"
    margin: float | None = None  # in the metric's unit, of costs a share of the baseline's;
    #                              None: the suite's for accuracy, none for what is no accuracy
    factor: float = Field(1.0, gt=0)  # the method against factor x the baseline
    readings: tuple[str, ...] = ()  # of the objective, further selectors like `method`
    # what must hold for a test; otherwise the claim is not tested, and the reason is given
    gold: float = Field(0.0, ge=0, le=1)  # least share of prompts that come with a reference answer
    detect: float | None = None  # an effect that the runs can detect with 80 % power, in the unit
    stability: bool = False  # it claims that training is stable: any failed run contradicts it
    # kind = "law"
    test: str = ""  # tests/laws/FILE.py::NAME
    outcome: Literal["", "proved", "refuted", "depends on the reading"] = ""
    # law: what was shown; untested: why
    reason: str = ""

    @model_validator(mode="after")
    def complete(self) -> Claim:
        """Each kind has what it needs."""
        if self.kind == "runs" and not self.method:
            raise ValueError("a claim about runs needs `method`")
        if self.kind == "law" and not (self.test and self.outcome and self.reason):
            raise ValueError("a law needs `test`, `outcome` and `reason`")
        if self.kind == "untested" and not self.reason:
            raise ValueError("what is not tested needs a `reason`")
        name, what = self.metric_name, self.metric_of
        known = {m.partition(":")[0] for m in METRICS}
        if name not in known and not re.fullmatch(r"(pass|maj)@(\d+|K)", name):
            raise ValueError(f"metric {self.metric!r}: there are {', '.join(METRICS)}")
        if name in ("auc", "at", *COSTS) and what not in BUDGET_AXES:
            raise ValueError(f"metric {self.metric!r}: axes are {', '.join(BUDGET_AXES)}")
        return self

    @property
    def metric_name(self) -> str:
        """`auc` of auc:samples."""
        return self.metric.partition(":")[0]

    @property
    def metric_of(self) -> str:
        """`samples` of auc:samples; "" where the metric has no such part."""
        return self.metric.partition(":")[2]

    @property
    def keeps(self) -> bool:
        """Whether it claims that nothing is lost, rather than that something is gained."""
        return self.direction.startswith("not")


def _read(content: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """A claim with the readings that its file lists for its method: a claim about a paper is one
    about every reading of it."""
    own = content.get("readings", {}).get(row.get("method"), [])
    return {**({"readings": own} if own else {}), **row}


def load_claims(*files: str | Path) -> list[Claim]:
    """The project's claims, then those of the given TOML files.

    Raises:
        ClaimError: a file is no TOML, a claim has an unknown key or lacks one, or an id is double.
    """
    claims: list[Claim] = []
    for file in [*sorted(Path(__file__).parent.glob("*.toml")), *map(Path, files)]:
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ClaimError(f"{file}: {error}") from None
        for row in content.get("claim", []):
            try:
                claims.append(Claim(**{"paper": content.get("paper", ""), **_read(content, row)}))
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                raise ClaimError(
                    f"{file}, claim {row.get('id', '?')!r}: {place or 'claim'}: {first['msg']}"
                ) from None
    double = {c.id for c in claims if sum(d.id == c.id for d in claims) > 1}
    if double:
        raise ClaimError(f"two claims have the id {', '.join(sorted(double))}")
    return claims
