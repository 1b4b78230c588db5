"""What the papers claim, held against runs: supported, contradicted, undetermined, law, audit or
not tested here, and why.

    findings = evaluate(results.load("runs/quick"))
    print(claims_table(findings).text())

The claims stand in `claims/*.toml`, a `[[claim]]` each, see `Claim`. A claim about accuracy or cost
is one-sided in words but tested two-sided, paired by seed; Holm's correction is over all claims
that the runs can test. A claim that something is kept ("not lower") is one of non-inferiority: it
is tested against a loss of the margin, for equality would contradict a claim of more, not of this.
A claim that is mathematics names the test that proves or refutes it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy import stats as sp

from results import compare, curves, scores, stats, tables
from results.papers import grao_headline
from results.records import BUDGET_AXES
from results.render import Column, Table, si
from results.stats import ALPHA, Difference

if TYPE_CHECKING:
    from results import Results

FOLDER = Path(__file__).parent / "claims"

Kind = Literal["runs", "law", "audit", "untested"]
Status = Literal[
    "supported", "contradicted", "undetermined", "law: proved", "law: refuted", "not tested"
]
MARKS: dict[str, str] = {
    "supported": "✓", "contradicted": "✗", "undetermined": "?", "law: proved": "✓",
    "law: refuted": "✗", "not tested": "–",
}  # fmt: skip
METRICS = {
    "avg": "accuracy of sampled answers", "greedy": "accuracy of greedy answers",
    "pass@k": "pass@k; pass@K takes all samples", "gain": "last minus first evaluation",
    "auc:AXIS": "mean accuracy up to the common budget on an axis",
    "at:AXIS": "accuracy at the largest cost that all reached on an axis",
    "cost_50:AXIS": "cost until start + 50 % of the best gain", "cost_90:AXIS": "likewise 90 %",
    "total:AXIS": "what the whole run cost",
    "gap:SPLIT": "accuracy on a split (train, ood) minus the headline split's",
    "unsolved": "accuracy on the questions that nothing solved before its first update",
    "first:METRIC": "a metric of steps.jsonl, mean of the first fifth of the updates",
    "last:METRIC": "likewise of the last fifth",
    "fall:METRIC": "mean of its first fifth minus mean of its last fifth",
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
    kind: Kind = "runs"
    # kind = "runs"
    method: str = ""  # a label or an objective; grao[beta=0.0] is that objective with that field
    against: tuple[str, ...] = ()  # baselines
    value: float = 0.0  # what the metric is held against where there is no baseline
    metric: str = "avg"
    split: str | None = None  # None: the headline split
    direction: Literal["higher", "lower", "not lower", "not higher", "equal"] = "higher"
    margin: float | None = None  # in the metric's unit, of costs a share of the baseline's;
    #                              None: the suite's for accuracy, none for what is no accuracy
    factor: float = Field(1.0, gt=0)  # the method against factor x the baseline
    # kind = "law"
    test: str = ""  # tests/laws/FILE.py::NAME
    outcome: Literal["", "proved", "refuted"] = ""
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
        name, _, what = self.metric.partition(":")
        known = {m.partition(":")[0] for m in METRICS}
        if name not in known and not re.fullmatch(r"(pass|maj)@(\d+|K)", name):
            raise ValueError(f"metric {self.metric!r}: there are {', '.join(METRICS)}")
        if name in ("auc", "at", *COSTS) and what not in BUDGET_AXES:
            raise ValueError(f"metric {self.metric!r}: axes are {', '.join(BUDGET_AXES)}")
        return self


@dataclass(frozen=True)
class Finding:
    """A claim against one baseline on one task. Effect, low, high and mde are in `unit`."""

    claim: Claim
    against: str
    task: str
    status: Status
    effect: float
    low: float
    high: float
    mde: float
    p: float
    p_holm: float
    seeds: int
    unit: str
    why: str

    @property
    def size(self) -> str:
        """The effect with its interval and the minimum detectable effect, in words."""
        if self.effect != self.effect:
            return ""

        def shown(x: float) -> str:
            if self.unit == "points":
                text = f"{100 * x:+.1f}"
            elif self.claim.metric.partition(":")[0] in COSTS:
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


def load_claims(*files: str | Path) -> list[Claim]:
    """The project's claims, then those of the given TOML files.

    Raises:
        ClaimError: a file is no TOML, a claim has an unknown key or lacks one, or an id is double.
    """
    claims: list[Claim] = []
    for file in [*sorted(FOLDER.glob("*.toml")), *map(Path, files)]:
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ClaimError(f"{file}: {error}") from None
        for row in content.get("claim", []):
            try:
                claims.append(Claim(**{"paper": content.get("paper", ""), **row}))
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


@dataclass(frozen=True)
class _Row:
    """A claim against one baseline on one task, before the verdict."""

    claim: Claim
    against: str = ""
    task: str = ""
    difference: Difference | None = None
    unit: str = ""
    status: Status | None = None  # where it needs no test
    why: str = ""
    margin: float | None = None  # in `unit`
    censored: tuple[int, int] = (0, 0)  # seeds that never got there: of the method, the baseline

    @property
    def advantage(self) -> float:
        """The effect, counted from what is claimed and in the claimed direction."""
        assert self.difference is not None
        sign = 1 if self.claim.direction in ("higher", "not lower", "equal") else -1
        kept = self.claim.direction.startswith("not")
        return sign * self.difference.estimate + (self.margin or 0.0) * kept

    @property
    def p(self) -> float:
        """Two-sided, of no advantage; NaN without a test."""
        d = self.difference
        if d is None:
            return float("nan")
        if not d.se > 1e-12:  # no t test; what is kept may be shown all the same
            return d.p_equivalent if self.claim.direction.startswith("not") else float("nan")
        return float(2 * sp.t.sf(abs(self.advantage) / d.se, d.df))


def evaluate(results: Results, claims: Iterable[Claim] | None = None) -> list[Finding]:
    """Hold claims (default: all of the project) against runs: a finding a claim, task and baseline.

    A claim about methods, metrics or splits that the runs do not have is `not tested`, with the
    reason. Holm's correction is over all claims that can be tested.
    """
    rows = [row for claim in (load_claims() if claims is None else claims)
            for row in _rows(results, claim)]  # fmt: skip
    p = stats.holm([row.p for row in rows])
    q = stats.holm([row.difference.p_equivalent if row.difference else np.nan for row in rows])
    return [_finding(row, float(a), float(b)) for row, a, b in zip(rows, p, q, strict=True)]


def claims_table(findings: Sequence[Finding]) -> Table:
    """One row a finding, renders to the terminal, Markdown, LaTeX, CSV and HTML."""
    rows = [
        {
            "id": f.claim.id, "paper": f.claim.paper, "short": f.claim.paper.partition(",")[0],
            "claim": f.claim.claim,
            "where": f.claim.where, "measured": f.claim.measured, "method": f.claim.method,
            "against": f.against if f.claim.factor == 1 else f"{f.claim.factor:g} × {f.against}",
            "task": f.task, "metric": f.claim.metric,
            "direction": f.claim.direction, "status": f.status,
            "mark": f"{MARKS[f.status]} {f.status}", "size": f.size, "effect": f.effect,
            "low": f.low, "high": f.high, "mde": f.mde, "unit": f.unit, "p": f.p,
            "p_holm": f.p_holm, "seeds": f.seeds, "test": f.claim.test, "why": f.why,
        }
        for f in findings
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    several = frame.loc[frame["task"] != "", "task"].nunique() > 1
    columns = (
        Column("short", "Paper"),
        Column("claim", "claim", about="in our words"),
        Column("mark", "here"),
        Column("against", "against"),
        *((Column("task", "task"),) if several else ()),
        Column("size", "effect"),
        Column("p_holm", "p (Holm)", "p", wide=True),
        Column("why", "why", wide=True),
    )
    tests = int(frame["p_holm"].notna().sum())
    notes = (
        f"Effects are the method minus what it is held against, with 95 % intervals over seeds;"
        f" Holm over the {tests} claims that these runs can test. Supported: significant in the"
        " claimed direction. Contradicted: significant in the other, or shown to be within the"
        " margin. A claim that something is kept is held against a loss of the margin. What is said"
        " here holds for these runs, at this scale.",
    )
    return Table("claims", "Claims of the papers, held against these runs", frame, columns, notes)


_COLUMNS = [
    "id", "paper", "short", "claim", "where", "measured", "method", "against", "task", "metric",
    "direction", "status", "mark", "size", "effect", "low", "high", "mde", "unit", "p", "p_holm",
    "seeds", "test", "why",
]  # fmt: skip


def _rows(results: Results, claim: Claim) -> list[_Row]:
    if claim.kind == "law":
        status: Status = "law: proved" if claim.outcome == "proved" else "law: refuted"
        return [_Row(claim, status=status, why=f"{claim.reason} ({claim.test})")]
    if claim.kind == "audit":
        return _audit(claim)
    if claim.kind == "untested":
        return [_Row(claim, status="not tested", why=claim.reason)]
    counted = scores.counted(results)
    method = _label(counted, claim.method)
    if method is None:
        return [_Row(claim, status="not tested", why=f"no finished run of {claim.method}")]
    missing = missing_metric(results, claim)
    if missing:
        return [_Row(claim, status="not tested", why=missing)]
    if not claim.against:
        return _against_value(results, claim, method)
    rows = []
    for name in claim.against:
        baseline = _label(counted, name)
        if baseline is None:
            why = f"no finished run of {name}"
            rows.append(_Row(claim, name, status="not tested", why=why))
        else:
            rows += _against(results, claim, method, baseline)
    return rows


def missing_metric(results: Results, claim: Claim) -> str:
    """Why the runs cannot give the claim's metric; "" where they can."""
    name, _, what = claim.metric.partition(":")
    if claim.split and claim.split not in results.tally.splits:
        return f"the split {claim.split} was not evaluated"
    if name == "gap" and not _splits(results, what):
        return f"no split {what} was evaluated"
    if name in ("first", "last", "fall") and what not in results.steps:
        return f"the runs log no {what}"
    if name.startswith(("pass@", "maj@")):
        most = results.tally.most_samples
        if most < (2 if name.endswith("K") else int(name.partition("@")[2])):
            return f"{most} samples a question are too few for {name}"
    return ""


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


def _against(results: Results, claim: Claim, method: str, baseline: str) -> list[_Row]:
    name = claim.metric.partition(":")[0]
    if name.startswith(("avg", "greedy", "pass@", "maj@")) and claim.factor == 1:
        metric = claim.metric.replace("@K", f"@{results.tally.most_samples}")
        margin = _margin(results, claim, 1.0)
        made = compare.family(results, [(method, baseline)], metric, claim.split, delta=margin)
        return [
            _Row(claim, baseline, c.task, c.difference, "points", why=c.note, margin=margin)
            if c.difference.estimate == c.difference.estimate
            else _Row(claim, baseline, c.task, status="not tested", why=c.note)
            for c in made
        ]
    values = per_run(results, claim)
    if values.empty:
        why = "no question was left unsolved" if name == "unsolved" else f"no {claim.metric}"
        return [_Row(claim, baseline, status="not tested", why=why)]
    rows = []
    for task, here in values.groupby("task", observed=True):
        wide = here.pivot_table("value", "seed", "method", observed=True)
        by_seed = {str(name): column.dropna() for name, column in wide.items()}
        by_seed = {name: column for name, column in by_seed.items() if len(column)}
        if not {method, baseline} <= set(by_seed):
            why = f"no {claim.metric} of {method} and {baseline} (no method improved on the start?)"
            rows.append(_Row(claim, baseline, str(task), status="not tested", why=why))
            continue
        a, b = by_seed[method], claim.factor * by_seed[baseline]
        margin = _margin(results, claim, float(b.mean()))
        difference, note = _difference(a, b, margin)
        late = {m: int(each["censored"].sum()) for m, each in here.groupby("method", observed=True)}
        rows.append(
            _Row(
                claim, baseline, str(task), difference, _unit(claim), why=note, margin=margin,
                censored=(late[method], late[baseline]),
            )
        )  # fmt: skip
    return rows


def _against_value(results: Results, claim: Claim, method: str) -> list[_Row]:
    rows = []
    values = per_run(results, claim)
    for task, here in values[values["method"] == method].groupby("task", observed=True):
        x = here["value"].dropna()
        if x.empty:
            why = f"no {claim.metric} of {method}"
            rows.append(_Row(claim, "", str(task), status="not tested", why=why))
            continue
        margin = _margin(results, claim, 1.0)
        difference = stats.paired_difference(x, claim.value, delta=margin or 1.0)
        difference = difference if margin else replace(difference, p_equivalent=np.nan)
        note = "" if difference.se > 1e-12 else "the same in every seed: no t test"
        note = "one seed: its error over seeds is unknown" if len(x) == 1 else note
        unit, held = _unit(claim), f"{claim.value:g}"
        rows.append(_Row(claim, held, str(task), difference, unit, why=note, margin=margin))
    return rows


def _difference(a: pd.Series, b: pd.Series, delta: float | None) -> tuple[Difference, str]:
    """a minus b, values indexed by seed: paired on shared seeds, else Welch's."""
    shared = a.index.intersection(b.index)
    if len(shared) >= 3 or len(shared) == len(a) == len(b):
        found = stats.paired_difference(a[shared] - b[shared], delta=delta or 1.0)
        note = "" if found.se > 1e-12 else "the same difference in every seed: no t test"
        note = note if len(shared) > 1 else "one seed: its error over seeds is unknown"
    else:
        found = stats.welch_difference(a, b, delta or 1.0)
        note = "seeds differ: not paired"
    return (found if delta else replace(found, p_equivalent=np.nan)), note


def per_run(results: Results, claim: Claim) -> pd.DataFrame:
    """task, method, seed, value and censored (never reached the threshold) of each run that
    counts, for a metric that is no accuracy of the last evaluation."""
    name, _, what = claim.metric.partition(":")
    split = claim.split or scores.headline_split(results)
    if name in ("avg", "greedy"):
        frame = scores.seed_scores(scores.metric_scores(results, name, split))
        frame = frame.rename(columns={"score": "value"})
    elif name == "gain":
        decoding = scores.decoding_of(scores.headline_metric(results))
        by_run = scores.run_scores(results, split, decoding).groupby(scores.GROUP, observed=True)
        frame = (by_run["score"].last() - by_run["score"].first()).rename("value").reset_index()
    elif name in ("auc", "cost_50", "cost_90"):
        frame = curves.efficiency(results, what, split).rename(columns={name: "value"})
        if name != "auc":
            frame["value"] = frame["value"].where(frame[name.replace("cost", "threshold")].notna())
            frame["censored"] = ~frame[name.replace("cost", "reached")].astype(bool)
    elif name == "at":
        frame = _at_common_cost(curves.points(results, split), what)
    elif name == "total":
        frame = tables.last_costs(results).rename(columns={what: "value"})
    elif name == "gap":
        frame = _gap(results, _splits(results, what), split)
    elif name == "unsolved":
        frame = _unsolved(results, split)
    else:
        frame = _fifths(results, what, name)
    if "censored" not in frame:
        frame["censored"] = False
    return frame[["task", "method", "seed", "value", "censored"]]


def _at_common_cost(points: pd.DataFrame, axis: str) -> pd.DataFrame:
    rows = []
    for _, task in points.groupby("task", observed=True):
        until = curves.common_budget(task, axis)
        for key, run in task.groupby(scores.GROUP, observed=True):
            value = np.interp(until, run[axis], run["score"])
            rows.append(dict(zip(scores.GROUP, key, strict=True)) | {"value": value})
    return pd.DataFrame(rows, columns=[*scores.GROUP, "value"])


def _gap(results: Results, others: list[str], split: str) -> pd.DataFrame:
    base = scores.seed_scores(scores.metric_scores(results, None, split))
    parts = [scores.seed_scores(scores.metric_scores(results, None, other)) for other in others]
    mean = pd.concat(parts).groupby(scores.GROUP, observed=True)["score"].mean().reset_index()
    both = mean.merge(base, on=scores.GROUP, suffixes=("", "_base"))
    return both.assign(value=both["score"] - both["score_base"])


def _unsolved(results: Results, split: str) -> pd.DataFrame:
    """Last accuracy on the questions that no run answered rightly, not once, at step 0: the same
    for all methods, chosen before any of them was trained."""
    decoding = scores.decoding_of(scores.headline_metric(results))
    start = scores.question_scores(results, split, decoding, at="start")
    solved = start.groupby(["task", "question_id"], observed=True)["correct"].sum().reset_index()
    hard = solved.loc[solved["correct"] == 0, ["task", "question_id"]].astype("str")
    last = scores.question_scores(results, split, decoding)
    last = last.astype({"task": "str", "question_id": "str"}).merge(hard)
    return scores.seed_scores(last).rename(columns={"score": "value"})


def _fifths(results: Results, metric: str, which: str) -> pd.DataFrame:
    """Mean of a logged metric over the first or last fifth of the updates, or its fall between."""
    steps = results.steps[[*scores.GROUP, "step", metric]].dropna(subset=[metric])
    steps = steps[steps["run"].isin(scores.counted(results)["run"])]
    part = steps["step"] / steps.groupby("run", observed=True)["step"].transform("max")
    late: Any = steps[part > 0.8].groupby(scores.GROUP, observed=True)[metric].mean()
    early: Any = steps[part <= 0.2].groupby(scores.GROUP, observed=True)[metric].mean()
    value = {"first": early, "last": late, "fall": early - late}[which]
    return value.rename("value").reset_index()


def _splits(results: Results, name: str) -> list[str]:
    """The splits that a name means: itself, or all that begin with it (ood: ood-4, ood-5)."""
    return [s for s in sorted(results.tally.splits) if s == name or s.startswith(f"{name}-")]


def _unit(claim: Claim) -> str:
    name, _, what = claim.metric.partition(":")
    if name in COSTS:
        return {"flops": "FLOPs"}.get(what, what)
    return what if name in ("first", "last", "fall") else "points"


def _margin(results: Results, claim: Claim, baseline: float) -> float | None:
    """In the metric's unit; None: no difference counts as none."""
    if claim.metric.partition(":")[0] in COSTS:
        return None if claim.margin is None else claim.margin * baseline
    return results.margin if claim.margin is None and _unit(claim) == "points" else claim.margin


def _finding(row: _Row, p: float, q: float) -> Finding:
    d, claim = row.difference, row.claim
    nan = float("nan")
    if d is None:
        return Finding(claim, row.against, row.task, row.status or "not tested", nan, nan, nan, nan,
                       nan, nan, 0, "", row.why)  # fmt: skip
    status, why = _judge(claim, row.advantage, row.p, p, q)
    if late := _late(row, status):
        status = "undetermined"
        why = f"{late} never got there, so its cost is more than was counted"
    elif status == "undetermined" and p != p:
        method, baseline = row.censored
        never = f"{method} runs of {claim.method} and {baseline} of {row.against} never got there"
        why = never if method or baseline else ""
    return Finding(
        claim, row.against, row.task, status, d.estimate, d.low, d.high, d.mde, row.p, p,
        min(d.seeds), row.unit, "; ".join(w for w in (why, row.why) if w),
    )  # fmt: skip


def _late(row: _Row, status: Status) -> str:
    """Whose runs never reached a threshold, where that could turn the verdict: they count with the
    whole budget, which is less than their cost."""
    method, baseline = row.censored
    direction = row.claim.direction
    below = (status == "supported") == (direction in ("lower", "not higher"))
    if status not in ("supported", "contradicted") or not (method or baseline):
        return ""
    if method and (below or direction == "equal"):
        return f"{method} runs of {row.claim.method}"
    return f"{baseline} runs of {row.against}" if baseline and not below else ""


def _judge(claim: Claim, advantage: float, raw: float, p: float, q: float) -> tuple[Status, str]:
    """p: of no advantage; q: of a difference beyond the margin; both after Holm."""
    kept = claim.direction.startswith("not")
    if claim.direction == "equal":
        if q < ALPHA:
            return "supported", "shown to be within the margin"
        return ("contradicted", "they differ") if p < ALPHA else ("undetermined", "")
    if p < ALPHA and advantage > 0:
        return "supported", "what is lost is shown to be less than the margin" if kept else ""
    if p < ALPHA:
        loss = "more than the margin is lost" if kept else "significant in the other direction"
        return "contradicted", loss
    if q < ALPHA and not kept:
        return "contradicted", "any difference is shown to be within the margin"
    if raw < ALPHA:
        return "undetermined", "not significant after Holm"
    return "undetermined", "no significant difference: it is too small for these seeds to find"


def _audit(claim: Claim) -> list[_Row]:
    """GRAO's headline from its printed tables, a row per baseline."""
    rows = []
    for r in grao_headline().itertuples():
        status: Status = "supported" if r.agrees else "contradicted"
        why = f"abstract {r.abstract:.2f} %, from the printed tables {r.printed:.2f} %"
        if not r.agrees:
            why += f", with the rows of PPO and GRPO swapped in one column {r.swapped:.2f} %"
        rows.append(_Row(claim, str(r.baseline), status=status, why=why))
    return rows
