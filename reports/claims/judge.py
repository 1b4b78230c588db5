"""Claims tested on runs: supported, contradicted, undetermined, law, or not tested, and why.

A claim about a paper is judged in every reading of its objective that was run, a finding each. The
claims of one paper are one family, whatever else was run. A claim whose preconditions do not hold
(seeds, reference answers, power) is not tested.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
from scipy import stats as sp

from results import Results, compare, information, neighbours, scores, stats
from results.papers import grao_headline
from results.render import si
from results.sentences import failed
from results.stats import ALPHA, Difference

from .measure import margin, missing_metric, per_run, unit
from .read import COSTS, DEPENDS, Claim, load_claims

ClaimStatus = Literal[
    "supported", "contradicted", "undetermined", "depends on the reading", "law: proved",
    "law: refuted", "law: depends on the reading", "consistent", "inconsistent", "not tested",
]  # fmt: skip
TESTED = ("supported", "contradicted", "undetermined")
NAN = float("nan")


@dataclass(frozen=True)
class Finding:
    """A claim in one reading against one baseline on one task. Effect, low, high, mde and margin
    are in `unit`."""

    claim: Claim
    against: str = ""
    reading: str = ""  # label of the method, where there is a run of it
    task: str = ""
    status: ClaimStatus = "not tested"
    effect: float = NAN
    low: float = NAN
    high: float = NAN
    mde: float = NAN
    mde_adjusted: float = NAN  # at the level that the paper's family leaves to one claim
    p: float = NAN  # two-sided, of no advantage
    p_adjusted: float = NAN  # Holm over the paper's claims
    seeds: int = 0
    unit: str = ""
    why: str = ""
    # what the verdict needs besides
    p_equivalent: float = NAN
    margin: float | None = None
    censored: tuple[int, int] = (0, 0)  # seeds that never reached the level: method, baseline
    tested: Difference | None = None
    others: tuple[Difference, ...] = ()  # with the start in the place of failed runs

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
        seeds=min(d.seeds), status="undetermined", margin=delta, tested=d,
    )  # fmt: skip
    if d.se > stats.PLAIN:
        return replace(row, p=float(2 * sp.t.sf(abs(row.advantage) / d.se, d.df)))
    # no t test; that nothing is lost may still be shown
    return replace(row, p=d.p_equivalent if row.claim.keeps else NAN)


def evaluate(results: Results, claims: Iterable[Claim] | None = None) -> list[Finding]:
    """Test claims (default: the project's) on runs: a finding for each claim, reading, task and
    baseline.

    A claim about methods, metrics or splits that the runs do not have is `not tested`, with the
    reason. Holm's correction is over all claims of a paper on a task, tested or not. Over readings
    there is none: a claim holds if it holds in all of them.
    """
    claims = load_claims() if claims is None else [*claims]
    sizes: dict[str, int] = {}
    for claim in claims:
        tests = max(len(claim.against), 1) if claim.kind == "runs" else 0
        sizes[claim.paper] = sizes.get(claim.paper, 0) + tests
    rows = [row for claim in claims for row in _rows(results, claim)]
    families: dict[tuple[str, str], list[Finding]] = {}
    for row in rows:
        if row.tested is not None:
            families.setdefault((row.claim.paper, row.task), []).append(row)
    judged: dict[int, Finding] = {}
    for (paper, _), members in families.items():
        found = _family(results, members, sizes[paper])
        judged |= {id(row): one for row, one in zip(members, found, strict=True)}
    return _over_readings([judged.get(id(row), row) for row in rows])


def _family(results: Results, rows: list[Finding], size: int) -> list[Finding]:
    """The verdicts of one paper's rows on one task. Readings of one claim are one hypothesis: it
    is rejected where all of them reject it, so the largest p counts for the others."""
    names = [(row.claim.id, row.against) for row in rows]
    keys = [*dict.fromkeys(names)]
    largest = [
        {key: max((getattr(r, p) for r, n in zip(rows, names, strict=True) if n == key),
                  key=lambda x: (x != x, x)) for key in keys}
        for p in ("p", "p_equivalent")
    ]  # fmt: skip

    def adjusted(name: tuple[str, str], which: int, p: float) -> float:
        instead = [p if key == name else largest[which][key] for key in keys]
        return float(stats.holm(instead, size)[keys.index(name)])

    made = []
    for name, row in zip(names, rows, strict=True):
        assert row.tested is not None
        level = stats.mde(row.tested.se, row.tested.df, ALPHA / size) if row.mde == row.mde else NAN
        p, q = (adjusted(name, i, x) for i, x in enumerate((row.p, row.p_equivalent)))
        found = _finding(replace(row, mde_adjusted=level), p, q)
        for d in row.others:  # a failed run has two values; the verdict must hold with both
            other = _tested(row, d, row.margin)
            p, q = (adjusted(name, i, x) for i, x in enumerate((other.p, other.p_equivalent)))
            then = _finding(other, p, q).status
            if then != found.status:
                why = f"{found.status} with the last evaluation of failed runs, {then} with"
                found = replace(found, status="undetermined", why=f"{why} their start in its place")
                break
        made.append(_stable(results, _powered(found)))
    return made


def _powered(row: Finding) -> Finding:
    """Runs that could not have found the effect that the claim asks for have not tested it."""
    detect = row.claim.detect
    if row.status != "undetermined" or detect is None or not row.mde_adjusted > detect:
        return row
    smallest = replace(row, mde=NAN, low=NAN, effect=row.mde_adjusted).size.lstrip("+")
    why = f"too little power: only an effect above {smallest} would be found (80 % power)"
    return replace(row, status="not tested", why="; ".join(w for w in (why, row.why) if w))


def _stable(results: Results, row: Finding) -> Finding:
    """A claim of stability falls with the first run that diverges or collapses."""
    if row.claim.stability and (told := failed(results, row.task, row.reading)):
        return replace(row, status="contradicted", why=told)
    return row


def _over_readings(rows: list[Finding]) -> list[Finding]:
    """Where readings disagree the claim depends on the reading; where only some of them decide it
    is undetermined."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for row in rows:
        if row.status in TESTED:
            groups.setdefault((row.claim.id, row.against, row.task), []).append(row)
    made = []
    for row in rows:
        group = groups.get((row.claim.id, row.against, row.task), [])
        found = {one.status for one in group}
        if row.status in TESTED and len(found) > 1:
            both = found >= {"supported", "contradicted"}
            told = ", ".join(f"{one.status} for {one.reading}" for one in group)
            row = replace(
                row, status=DEPENDS if both else "undetermined",
                why="; ".join(w for w in (f"readings: {told}", row.why) if w),
            )  # fmt: skip
        made.append(row)
    return made


def _rows(results: Results, claim: Claim) -> list[Finding]:
    """A row for each reading, task and baseline; those that can be tested await their verdict."""
    if claim.kind == "law":
        laws: dict[str, ClaimStatus] = {
            "proved": "law: proved",
            "refuted": "law: refuted",
            DEPENDS: "law: depends on the reading",
        }
        return [
            Finding(claim, status=laws[claim.outcome], why=f"{claim.reason} Test: {claim.test}.")
        ]
    if claim.kind == "audit":
        return _audit(claim)
    if claim.kind == "untested":
        return [Finding(claim, why=claim.reason)]
    counted = scores.counted(results)
    selectors = [*dict.fromkeys([claim.method, *claim.readings])]
    labels = [*dict.fromkeys(filter(None, (_label(counted, one) for one in selectors)))]
    if not labels:
        return [Finding(claim, why=f"no finished run of {' or '.join(selectors)}")]
    if missing := missing_metric(results, claim):
        return [Finding(claim, why=missing)]
    rows = []
    for method in labels:
        if not claim.against:
            rows += _against_value(results, claim, method)
        for name in claim.against:
            baseline = _label(counted, name)
            if baseline is None:
                rows.append(Finding(claim, name, method, why=f"no finished run of {name}"))
            else:
                rows += _against(results, claim, method, baseline)
    return [_informed(results, _prepared(results, row)) for row in rows]


def _informed(results: Results, row: Finding) -> Finding:
    """With what the two saw, where they did not learn from the same."""
    if row.tested is None or not row.claim.against:
        return row
    label = _label(scores.counted(results), row.against)
    seen = information.across(results, row.task, row.reading, str(label))
    return replace(row, why="; ".join(w for w in (row.why, seen) if w))


def _prepared(results: Results, row: Finding) -> Finding:
    """The row as not tested where a precondition of its test does not hold."""
    if row.tested is None:
        return row
    why = ""
    if row.seeds < stats.LEAST_SEEDS:
        count = f"{row.seeds} seeds" if row.seeds > 1 else "one seed"
        why = f"{count}: a claim needs at least {stats.LEAST_SEEDS}"
    elif row.claim.gold:
        card = information.cards(results).get((row.task, row.reading))
        share = card.gold_share if card else None
        needed = f"the claim is about reference answers for {100 * row.claim.gold:.0f} % of prompts"
        if share is None:
            why = f"{needed}; these runs do not record how many had one"
        elif share < row.claim.gold:
            why = f"{needed}; here {100 * share:.0f} % had one"
    return replace(row, status="not tested", why=why, tested=None) if why else row


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
        metric = None if metric == scores.headline_metric(results) else metric
        choice = neighbours.primary(results, metric, claim.split)
        delta = margin(results, claim, 1.0)
        for task in sorted({str(t) for t in results.runs["task"]}):
            tested = compare.contrast(results, task, (method, baseline), choice, delta=delta or 1.0)
            why = tested.refused or "; ".join(tested.found.notes)
            row = Finding(claim, baseline, method, task=task, why=why, unit="points")
            d = tested.found.difference
            if d.estimate == d.estimate and not tested.refused:
                row = replace(_tested(row, d, delta), others=tested.others)
            rows.append(row)
        return rows
    values = per_run(results, claim)
    if values.empty:
        solved = "every question was solved before training"
        return [
            Finding(
                claim, baseline, method, why=solved if name == "unsolved" else f"no {claim.metric}"
            )
        ]
    for task, here in values.groupby("task", observed=True):
        wide = here.pivot_table("value", "seed", "method", observed=True)
        by_seed = {str(name): column.dropna() for name, column in wide.items()}
        by_seed = {name: column for name, column in by_seed.items() if len(column)}
        if not {method, baseline} <= set(by_seed):
            why = f"no {claim.metric} of {method} and {baseline} (no method improved on the start?)"
            rows.append(Finding(claim, baseline, method, task=str(task), why=why))
            continue
        a, b = by_seed[method], claim.factor * by_seed[baseline]
        delta = margin(results, claim, float(b.mean()))
        difference, note = _difference(a, b, delta)
        late = {m: int(each["censored"].sum()) for m, each in here.groupby("method", observed=True)}
        censored = (late[method], late[baseline])
        row = Finding(claim, baseline, method, task=str(task), unit=unit(claim), why=note,
                      censored=censored)  # fmt: skip
        rows.append(_tested(row, difference, delta))
    return rows


def _against_value(results: Results, claim: Claim, method: str) -> list[Finding]:
    rows = []
    values = per_run(results, claim)
    delta = margin(results, claim, 1.0)
    for task, here in values[values["method"] == method].groupby("task", observed=True):
        x = here["value"].dropna()
        if x.empty:
            why = f"no {claim.metric} of {method}"
            rows.append(Finding(claim, "", method, task=str(task), why=why))
            continue
        difference = stats.paired_difference(x, claim.value, delta=delta or 1.0)
        difference = difference if delta else replace(difference, p_equivalent=NAN)
        note = (
            "" if difference.se > stats.PLAIN else "no t test: the value is the same in every seed"
        )
        row = Finding(claim, f"{claim.value:g}", method, task=str(task), unit=unit(claim), why=note)
        rows.append(_tested(row, difference, delta))
    return rows


def _difference(a: pd.Series, b: pd.Series, delta: float | None) -> tuple[Difference, str]:
    """a minus b, values indexed by seed: paired on shared seeds, else Welch's."""
    found = stats.pair(a, b, delta or 1.0)
    note = "" if found.se > stats.PLAIN else "no t test: the difference is the same in every seed"
    note = note if found.design == "paired" else "seeds differ: not paired"
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
        runs = f"{method} runs of {row.reading} and {baseline} of {row.against}"
        why = f"{runs} never reached the level" if method or baseline else ""
    return replace(row, status=status, p_adjusted=p, why="; ".join(w for w in (why, row.why) if w))


def _late(row: Finding, status: ClaimStatus) -> str:
    """Whose runs never reached a threshold, if that could change the verdict: they count with the
    whole budget, which is less than their true cost."""
    method, baseline = row.censored
    direction = row.claim.direction
    below = (status == "supported") == (direction in ("lower", "not higher"))
    if status not in ("supported", "contradicted") or not (method or baseline):
        return ""
    if method and (below or direction == "equal"):
        return f"{method} runs of {row.reading}"
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
        status: ClaimStatus = "consistent" if r.agrees else "inconsistent"
        why = f"abstract {r.abstract:.2f} %, from the printed tables {r.printed:.2f} %"
        if not r.agrees:
            why += f", with the rows of PPO and GRPO swapped in one column {r.swapped:.2f} %"
        rows.append(Finding(claim, str(r.baseline), status=status, why=why))
    return rows
