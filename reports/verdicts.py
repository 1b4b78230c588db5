"""Verdicts in plain words: by how much, how far they hold, at what cost, and with what limits."""

from dataclasses import dataclass, replace

import pandas as pd

from results import Results, compare, information, neighbours, psychometrics, scores, stats, tables
from results.compare import Comparison
from results.neighbours import Choice
from results.sentences import points
from results.stats import Verdict

SIGNS = {"better": "▲", "worse": "▼", "equivalent": "=", "undetermined": "?", "depends": "◆"}
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
    holds: str  # "6 of 7": other ways to measure with the same verdict; or ""
    sentence: str
    cost: str


def verdicts(
    results: Results, split: str | None = None, control: str | None = None
) -> list[Statement]:
    """Every comparison of the declared family (with the control), largest difference first."""
    pairs = compare.against(results.methods, control) if control else None
    made = compare.family(results, pairs, split=split)
    several = results.runs["task"].nunique() > 1
    by_method = tables.last_costs(results).groupby(["task", "method"], observed=True)
    costs = by_method[[*tables.COSTS]].mean()
    there = [c for c in made if c.difference == c.difference]
    there.sort(key=lambda c: (c.task, -c.difference))
    missing = [c for c in made if c.difference != c.difference]
    return [
        Statement(
            method=c.a, control=c.b, task=c.task if several else "", verdict=c.verdict,
            sign=SIGNS[c.verdict], interval=_interval(c), sentence=c.sentence,
            holds=compare.robust(c),
            difference=f"{points(c.difference)} points" if c in there else "not measured",
            cost=_cost(c, costs) if c in there else "",
        )
        for c in [*there, *missing]
    ]  # fmt: skip


def summary(results: Results, found: list[Statement], split: str | None = None) -> list[str]:
    """The result in a few sentences: who leads, and how often each verdict was reached."""
    choice = neighbours.primary(results, split=split)
    every = neighbours.matrices(results, replace(choice, axis="end"))
    how = neighbours.words(results, choice)
    lines = []
    for task in sorted({str(t) for t in results.runs["task"]}):
        best, group = compare.best_group(results, choice, task)
        if best is None:
            continue
        where = f"On {task}, " if results.runs["task"].nunique() > 1 else ""
        top = stats.seed_interval(every[task, best].mean(axis=1))
        around = f" ± {100 * top.half:.1f}" if top.half == top.half else ""
        others = [m for m in results.methods if m in group - {best}]
        leads = " has the highest mean" if len(results.methods) > 1 else ""
        line = f"{where}{best}{leads}: {100 * top.mean:.1f}{around} % on {choice.split}, {how}."
        if others:
            line += f" Also in the confidence set of the best: {_list(others)}."
        elif group and len(results.methods) > 1:
            line += " Every other method is significantly below it."
        elif len(results.methods) > 1:
            line += " These runs cannot test whether it is better than the next method."
        line += _elsewhere(results, choice, task, best)
        saw = information.across(results, task, best, str(results.control))
        line += f" They did not learn from the same: {saw}." if saw else ""
        lines.append(line[0].upper() + line[1:] if where else line)
    if found:
        counts = {v: sum(f.verdict == v for f in found) for v in SIGNS}
        parts = [f"{n} {v}" for v, n in counts.items() if n]
        count = f"{len(found)} comparison{'s' if len(found) > 1 else ''}"
        whom = {f.control for f in found}
        control = f"Compared with the control, {whom.pop()}" if len(whom) == 1 else "Of all pairs"
        lines.append(f"{control}, {how}: {_list(parts)} ({count}).")
    return lines


def _elsewhere(results: Results, choice: Choice, task: str, best: str) -> str:
    """Who has the highest mean under the other decodings, where that is somebody else."""
    told = []
    there = {c.decoding for c in results.tally.counts if c.split == choice.split}
    for decoding in sorted(there - {choice.decoding}):
        other, _ = compare.best_group(results, replace(choice, decoding=decoding), task)
        if other not in (None, best):
            told.append(f"{neighbours.decoding_words(results, decoding)} it is {other}")
    return f" But {_list(told)}." if told else ""


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
    if not results.tally.splits - {"train", "validation", split}:
        unasked = "No out-of-distribution questions were asked"
        said.append(f"{unasked}, so nothing is said about transfer.")
    return said


def _interval(c: Comparison) -> str:
    low, high = c.interval
    return f"[{points(low)}, {points(high)}]" if low == low else ""


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
