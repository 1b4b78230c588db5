"""Claims tested on runs: supported, contradicted, undetermined, law, or not tested, and why."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
from scipy import stats as sp

from results import Results, compare, scores, stats
from results.papers import grao_headline
from results.render import si
from results.stats import ALPHA, Difference

from .measure import margin, missing_metric, per_run, unit
from .read import COSTS, Claim, load_claims

ClaimStatus = Literal[
    "supported", "contradicted", "undetermined", "law: proved", "law: refuted", "not tested"
]
NAN = float("nan")


@dataclass(frozen=True)
class Finding:
    """A claim against one baseline on one task. Effect, low, high, mde and margin are in `unit`."""

    claim: Claim
    against: str = ""
    task: str = ""
    status: ClaimStatus = "not tested"
    effect: float = NAN
    low: float = NAN
    high: float = NAN
    mde: float = NAN
    p: float = NAN  # two-sided, of no advantage
    p_holm: float = NAN
    seeds: int = 0
    unit: str = ""
    why: str = ""
    # what the verdict needs besides
    p_equivalent: float = NAN
    margin: float | None = None
    censored: tuple[int, int] = (0, 0)  # seeds that never reached the level: method, baseline

    @property
    def advantage(self) -> float:
        """The effect in the claimed direction, plus the margin if nothing is claimed to be lost."""
        sign = 1 if self.claim.direction in ("higher", "not lower", "equal") else -1
        return sign * self.effect + (self.margin or 0.0) * self.claim.keeps

    @property
    def scaled(self) -> bool:
        """Whether the baseline is multiplied by the claim's factor."""
        return bool(self.against) and self.claim.factor != 1

    @property
    def size(self) -> str:
        """The effect with its interval and the minimum detectable effect, in words."""
        if self.effect != self.effect:
            return ""

        def shown(x: float) -> str:
            if self.unit == "points":
                text = f"{100 * x:+.1f}"
            elif self.claim.metric_name in COSTS:
                text = ("+" if x >= 0 else "-") + si(abs(x))
            else:
                text = f"{x:+.3g}"
            return text.replace("-", "−")

        text = f"{shown(self.effect)} {self.unit}"
        if self.low == self.low:
            text += f" [{shown(self.low)}, {shown(self.high)}]"
        if self.mde == self.mde:
            text += f", MDE {shown(self.mde).lstrip('+')}"
        return text


def _tested(row: Finding, d: Difference, delta: float | None) -> Finding:
    """The row with its difference and margin, before the verdict."""
    row = replace(
        row, effect=d.estimate, low=d.low, high=d.high, mde=d.mde, p_equivalent=d.p_equivalent,
        seeds=min(d.seeds), status="undetermined", margin=delta,
    )  # fmt: skip
    if d.se > 1e-12:
        return replace(row, p=float(2 * sp.t.sf(abs(row.advantage) / d.se, d.df)))
    # no t test; that nothing is lost may still be shown
    return replace(row, p=d.p_equivalent if row.claim.keeps else NAN)


def evaluate(results: Results, claims: Iterable[Claim] | None = None) -> list[Finding]:
    """Test claims (default: the project's) on runs: a finding for each claim, task and baseline.

    A claim about methods, metrics or splits that the runs do not have is `not tested`, with the
    reason. Holm's correction is over all claims that can be tested.
    """
    claims = load_claims() if claims is None else claims
    rows = [row for claim in claims for row in _rows(results, claim)]
    p = stats.holm([row.p for row in rows])
    q = stats.holm([row.p_equivalent for row in rows])
    return [_finding(row, float(a), float(b)) for row, a, b in zip(rows, p, q, strict=True)]


def _rows(results: Results, claim: Claim) -> list[Finding]:
    """A row for each task and baseline; those that can be tested await their verdict."""
    if claim.kind == "law":
        status: ClaimStatus = "law: proved" if claim.outcome == "proved" else "law: refuted"
        return [Finding(claim, status=status, why=f"{claim.reason} Test: {claim.test}.")]
    if claim.kind == "audit":
        return _audit(claim)
    if claim.kind == "untested":
        return [Finding(claim, why=claim.reason)]
    counted = scores.counted(results)
    method = _label(counted, claim.method)
    if method is None:
        return [Finding(claim, why=f"no finished run of {claim.method}")]
    if missing := missing_metric(results, claim):
        return [Finding(claim, why=missing)]
    if not claim.against:
        return _against_value(results, claim, method)
    rows = []
    for name in claim.against:
        baseline = _label(counted, name)
        if baseline is None:
            rows.append(Finding(claim, name, why=f"no finished run of {name}"))
        else:
            rows += _against(results, claim, method, baseline)
    return rows


def _label(counted: pd.DataFrame, selector: str) -> str | None:
    """The label of the runs that a selector means. `grao`: the label, or else the objective with
    every field at its default, so that no ablation stands for it; `grao[beta=0.0,stats=samples]`:
    the objective with these fields, the others at their defaults."""
    name, _, inside = selector.rstrip("]").partition("[")
    given = dict(part.split("=", 1) for part in inside.split(",") if part)
    if not given and name in set(counted["method"].astype(str)):
        return name
    candidates = {
        str(row.method): _shown(row.fields)
        for row in counted.drop_duplicates("method").itertuples()
        if row.objective == name and given.items() <= _shown(row.fields).items()
    }
    if not candidates:
        return None
    import methods  # loads torch

    try:
        defaults = _shown(methods.get(name).model_dump())
    except KeyError:  # a plug-in that is not installed here
        defaults = {}
    for label, fields in candidates.items():
        if all(fields.get(k, v) == v for k, v in defaults.items() if k not in given):
            return label
    return None


def _shown(fields: Mapping[str, object]) -> dict[str, str]:
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}


def _against(results: Results, claim: Claim, method: str, baseline: str) -> list[Finding]:
    rows = []
    name = claim.metric_name
    if name.startswith(("avg", "greedy", "pass@", "maj@")) and claim.factor == 1:
        metric = claim.metric.replace("@K", f"@{results.tally.most_samples}")
        delta = margin(results, claim, 1.0)
        for c in compare.family(results, [(method, baseline)], metric, claim.split, delta=delta):
            row = Finding(claim, baseline, c.task, why=c.note)
            known = c.difference.estimate == c.difference.estimate
            rows.append(_tested(replace(row, unit="points"), c.difference, delta) if known else row)
        return rows
    values = per_run(results, claim)
    if values.empty:
        solved = "every question was solved before training"
        return [
            Finding(claim, baseline, why=solved if name == "unsolved" else f"no {claim.metric}")
        ]
    for task, here in values.groupby("task", observed=True):
        wide = here.pivot_table("value", "seed", "method", observed=True)
        by_seed = {str(name): column.dropna() for name, column in wide.items()}
        by_seed = {name: column for name, column in by_seed.items() if len(column)}
        if not {method, baseline} <= set(by_seed):
            why = f"no {claim.metric} of {method} and {baseline} (no method improved on the start?)"
            rows.append(Finding(claim, baseline, str(task), why=why))
            continue
        a, b = by_seed[method], claim.factor * by_seed[baseline]
        delta = margin(results, claim, float(b.mean()))
        difference, note = _difference(a, b, delta)
        late = {m: int(each["censored"].sum()) for m, each in here.groupby("method", observed=True)}
        censored = (late[method], late[baseline])
        row = Finding(claim, baseline, str(task), unit=unit(claim), why=note, censored=censored)
        rows.append(_tested(row, difference, delta))
    return rows


def _against_value(results: Results, claim: Claim, method: str) -> list[Finding]:
    rows = []
    values = per_run(results, claim)
    delta = margin(results, claim, 1.0)
    for task, here in values[values["method"] == method].groupby("task", observed=True):
        x = here["value"].dropna()
        if x.empty:
            rows.append(Finding(claim, "", str(task), why=f"no {claim.metric} of {method}"))
            continue
        difference = stats.paired_difference(x, claim.value, delta=delta or 1.0)
        difference = difference if delta else replace(difference, p_equivalent=NAN)
        note = "" if difference.se > 1e-12 else "no t test: the value is the same in every seed"
        note = "one seed: the variation across seeds is unknown" if len(x) == 1 else note
        row = Finding(claim, f"{claim.value:g}", str(task), unit=unit(claim), why=note)
        rows.append(_tested(row, difference, delta))
    return rows


def _difference(a: pd.Series, b: pd.Series, delta: float | None) -> tuple[Difference, str]:
    """a minus b, values indexed by seed: paired on shared seeds, else Welch's."""
    shared = a.index.intersection(b.index)
    if len(shared) >= 3 or len(shared) == len(a) == len(b):
        found = stats.paired_difference(a[shared] - b[shared], delta=delta or 1.0)
        note = "" if found.se > 1e-12 else "no t test: the difference is the same in every seed"
        note = note if len(shared) > 1 else "one seed: the variation across seeds is unknown"
    else:
        found = stats.welch_difference(a, b, delta or 1.0)
        note = "seeds differ: not paired"
    return (found if delta else replace(found, p_equivalent=NAN)), note


def _finding(row: Finding, p: float, q: float) -> Finding:
    """p: of no advantage; q: of a difference beyond the margin; both Holm-corrected."""
    if row.effect != row.effect:  # it needs no test, or has none
        return row
    status, why = _judge(row, p, q)
    if late := _late(row, status):
        status = "undetermined"
        why = f"{late} never reached the level, so the true cost is higher than counted"
    elif status == "undetermined" and p != p:
        method, baseline = row.censored
        runs = f"{method} runs of {row.claim.method} and {baseline} of {row.against}"
        why = f"{runs} never reached the level" if method or baseline else ""
    return replace(row, status=status, p_holm=p, why="; ".join(w for w in (why, row.why) if w))


def _late(row: Finding, status: ClaimStatus) -> str:
    """Whose runs never reached a threshold, if that could change the verdict: they count with the
    whole budget, which is less than their true cost."""
    method, baseline = row.censored
    direction = row.claim.direction
    below = (status == "supported") == (direction in ("lower", "not higher"))
    if status not in ("supported", "contradicted") or not (method or baseline):
        return ""
    if method and (below or direction == "equal"):
        return f"{method} runs of {row.claim.method}"
    return f"{baseline} runs of {row.against}" if baseline and not below else ""


def _judge(row: Finding, p: float, q: float) -> tuple[ClaimStatus, str]:
    """The verdict on a tested claim and, where it needs one, the reason."""
    kept = row.claim.keeps
    if row.claim.direction == "equal":
        if q < ALPHA:
            return "supported", "shown to be within the margin"
        if p < ALPHA:
            return "contradicted", "the difference is significant"
        return "undetermined", ""
    if p < ALPHA and row.advantage > 0:
        return "supported", "any loss is shown to be less than the margin" if kept else ""
    if p < ALPHA:
        lost = "the loss is significantly more than the margin"
        return "contradicted", lost if kept else "significant in the other direction"
    if q < ALPHA and not kept:
        return "contradicted", "any difference is shown to be within the margin"
    if row.p < ALPHA:
        return "undetermined", "not significant after Holm's correction"
    small = "it is too small to be detected with these seeds"
    return "undetermined", f"no significant difference: {small}"


def _audit(claim: Claim) -> list[Finding]:
    """GRAO's headline from its printed tables, a row per baseline."""
    rows = []
    for r in grao_headline().itertuples():
        status: ClaimStatus = "supported" if r.agrees else "contradicted"
        why = f"abstract {r.abstract:.2f} %, from the printed tables {r.printed:.2f} %"
        if not r.agrees:
            why += f", with the rows of PPO and GRPO swapped in one column {r.swapped:.2f} %"
        rows.append(Finding(claim, str(r.baseline), status=status, why=why))
    return rows
