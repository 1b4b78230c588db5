"""Verdicts in plain words: better, worse, equivalent or undetermined, by how much, at what cost."""

from dataclasses import dataclass

import pandas as pd

from results import Results, compare, psychometrics, scores, stats, tables
from results.compare import Comparison
from results.stats import Verdict

SIGNS = {"better": "▲", "worse": "▼", "equivalent": "=", "undetermined": "?"}
FEW_SEEDS = 5
SAME_COST = 0.05  # relative


@dataclass(frozen=True)
class Statement:
    """One comparison in words, as a report shows it."""

    method: str
    control: str
    task: str  # "" where there is only one
    verdict: Verdict
    sign: str  # for readers who cannot see the colour
    difference: str  # "+3.1 points", or what is missing
    interval: str  # "[+1.2, +5.0]", or ""
    sentence: str
    cost: str


def verdicts(
    results: Results, split: str | None = None, control: str | None = None
) -> list[Statement]:
    """Every method against the control, largest difference first."""
    control = control or results.control
    pairs = compare.against(results.methods, control) if control else []
    made = compare.family(results, pairs, split=split)
    several = results.runs["task"].nunique() > 1
    by_method = tables.last_costs(results).groupby(["task", "method"], observed=True)
    costs = by_method[[*tables.COSTS]].mean()
    there = [c for c in made if c.difference.estimate == c.difference.estimate]
    there.sort(key=lambda c: (c.task, -c.difference.estimate))
    missing = [c for c in made if c.difference.estimate != c.difference.estimate]
    return [
        Statement(
            method=c.a, control=c.b, task=c.task if several else "", verdict=c.verdict,
            sign=SIGNS[c.verdict], interval=_interval(c), sentence=_sentence(c),
            difference=f"{points(c.difference.estimate)} points" if c in there else "not measured",
            cost=_cost(c, costs) if c in there else "",
        )
        for c in [*there, *missing]
    ]  # fmt: skip


def summary(results: Results, found: list[Statement], split: str | None = None) -> list[str]:
    """The result in a few sentences: who leads, and how often each verdict was reached."""
    split = split or scores.headline_split(results)
    lines = []
    for task in sorted({str(t) for t in results.runs["task"]}):
        best, group = compare.best_group(results, None, split, task)
        if best is None:
            continue
        where = f"On {task}, " if results.runs["task"].nunique() > 1 else ""
        scored = scores.matrix(scores.metric_scores(results, None, split), best, task)
        top = stats.seed_interval(scored.mean(axis=1))
        around = f" ± {100 * top.half:.1f}" if top.half == top.half else ""
        others = [m for m in results.methods if m in group - {best}]
        leads = " has the highest mean" if len(results.methods) > 1 else ""
        line = f"{where}{best}{leads}: {100 * top.mean:.1f}{around} % on {split}."
        if others:
            line += f" Not significantly below it: {_list(others)}."
        elif group and len(results.methods) > 1:
            line += " Every other method is significantly below it."
        elif len(results.methods) > 1:
            line += " These runs cannot test whether it is better than the next method."
        lines.append(line[0].upper() + line[1:] if where else line)
    if found:
        counts = {v: sum(f.verdict == v for f in found) for v in SIGNS}
        parts = [f"{n} {v}" for v, n in counts.items() if n]
        count = f"{len(found)} comparison{'s' if len(found) > 1 else ''}"
        lines.append(f"Compared with the control, {found[0].control}: {_list(parts)} ({count}).")
    return lines


def limits(results: Results, split: str | None = None) -> list[str]:
    """What cannot be said from these runs, and why."""
    runs, counted = results.runs, scores.counted(results)
    if runs.empty:
        return ["There are no runs here, so there is nothing to report."]
    if counted.empty:
        none = "No run has finished, so no method can be judged yet."
        return [f"{none} The runs so far are listed below."]
    said = []
    lost = [m for m in results.methods if m not in set(counted["method"].astype(str))]
    if lost:
        said.append(f"No run of {_list(lost)} has finished, so nothing is said about it.")
    if len(results.methods) == 1:
        said.append("There is only one method, so there is nothing to compare it with.")
    seeds = counted.groupby(["task", "method"], observed=True)["seed"].nunique()
    single = {str(m) for _, m in seeds[seeds == 1].index}
    alone = [m for m in results.methods if m in single]
    if alone:
        who = "each method" if len(alone) == len(results.methods) > 1 else _list(alone)
        said.append(
            f"Only one seed of {who}: the variation across seeds is unknown, so there is no"
            " interval, no test and no verdict."
        )
    few = seeds[(seeds > 1) & (seeds < FEW_SEEDS)]
    if len(few):
        said.append(
            f"Only {_range(few)} seeds: intervals are wide, and only large differences can be"
            f" detected. {FEW_SEEDS} seeds are usual, and 10 for a headline claim."
        )
    said += [note for note in tables.run_notes(results) if not note.startswith("Unfinished")]
    said += psychometrics.blind_metrics(results, split)
    waiting = int((runs["status"] == "unfinished").sum())
    if waiting:
        said.append(f"{waiting} of {len(runs)} runs are not finished and are not counted.")
    if not any(s.startswith("ood") for s in results.tally.splits):
        unasked = "No out-of-distribution questions were asked"
        said.append(f"{unasked}, so nothing is said about transfer.")
    return said


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def _interval(c: Comparison) -> str:
    low, high = c.difference.low, c.difference.high
    return f"[{points(low)}, {points(high)}]" if low == low else ""


def _sentence(c: Comparison) -> str:
    d, by = c.difference, f"{100 * abs(c.difference.estimate):.1f} points"
    seeds = f"{min(d.seeds)} seeds" if min(d.seeds) > 1 else "one seed"
    if d.design == "welch":
        seeds = f"{_list([*map(str, d.seeds)])} seeds, not paired"
    if d.low != d.low and c.verdict == "equivalent":
        return f"{c.a} and {c.b} are equivalent: {c.note} ({seeds})."
    if d.low != d.low:
        return f"Cannot be judged: {c.note or 'no test is possible'}."
    holm = f" after Holm's correction over {c.family} comparisons" if c.family > 1 else ""
    chance = f"p {stats_p(c.p_holm)}{holm}"
    if c.verdict in ("better", "worse"):
        small = f", within the margin of ±{100 * c.delta:g} points" if c.within_margin else ""
        return f"{c.a} is {c.verdict} than {c.b} by {by}{small} ({chance}, {seeds})."
    if c.verdict == "equivalent":
        within = f"the difference is shown to be within ±{100 * c.delta:g} points"
        return f"{c.a} and {c.b} are equivalent: {within} ({seeds})."
    return (
        f"It is undetermined whether {c.a} is better or worse than {c.b} ({chance}): with {seeds},"
        f" a true difference below {100 * d.mde:.1f} points is not detected reliably (80 % power)."
    )


def stats_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _cost(c: Comparison, costs: pd.DataFrame) -> str:
    if (c.task, c.a) not in costs.index or (c.task, c.b) not in costs.index:
        return ""
    ratio = costs.loc[(c.task, c.a)] / costs.loc[(c.task, c.b)]
    words = {"flops": "FLOPs", "tokens": "tokens", "seconds": "seconds"}
    known = {word: ratio[axis] for axis, word in words.items() if ratio[axis] == ratio[axis]}
    if not known:
        return ""
    if all(abs(r - 1) < SAME_COST for r in known.values()):
        return f"Cost: within {100 * SAME_COST:g} % of {c.b}'s in {_list([*known])}."
    return f"Cost relative to {c.b}: {_list([f'{r:.2f} × {word}' for word, r in known.items()])}."


def _list(words: list[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
