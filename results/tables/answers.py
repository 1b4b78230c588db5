"""What lies behind an accuracy: other metrics, other evaluations, other splits, the answers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import scores, stats
from ..render import Column, Table
from .parts import label_columns, seed_table, tasks

if TYPE_CHECKING:
    from ..runs import Results

FLOOR = 0.1  # accuracy: below it in every method, a split is too hard to tell them apart


def pass_table(results: Results, split: str | None = None) -> Table:
    """pass@k for k = 1, 2, 4, ... K and maj@K, from the sampled answers of the last evaluation."""
    split = split or scores.headline_split(results)
    frame = scores.question_scores(results, split)
    k_max = int(frame["samples"].max()) if len(frame) else 0
    ks = [k for k in (2**i for i in range(12)) if k < k_max] + ([k_max] if k_max else [])
    by_metric = {f"pass@{k}": scores.seed_scores(scores.pass_scores(frame, k)) for k in ks}
    if k_max > 1:
        by_metric[f"maj@{k_max}"] = scores.seed_scores(scores.majority_scores(results, split))
    note = (
        f"pass@k is unbiased from K = {k_max} samples a question, temperature and decoding"
        " as evaluated; ± over seeds."
    )
    return seed_table(results, "passk", f"pass@k on {split}", by_metric, notes=[note])


def selection_table(results: Results, split: str | None = None) -> Table:
    """Last, selected (best on validation) and oracle-best evaluation, apart."""
    split = split or scores.headline_split(results)
    validated = "validation" in results.tally.splits
    kinds: list[scores.At] = ["last", "selected", "oracle"] if validated else ["last", "oracle"]
    decoding = scores.decoding_of(scores.headline_metric(results))
    chosen = {
        kind: scores.question_scores(results, split, decoding, at=kind, common=True)
        for kind in kinds
    }
    by_kind = {kind: scores.seed_scores(frame) for kind, frame in chosen.items()}
    count = chosen["last"]["question_id"].nunique()
    notes = [
        f"On the {count} questions of every evaluation.",
        "oracle: the evaluation that is best on this very split; an upper bound, never a result.",
    ]
    if not validated:
        notes.append("No validation split was evaluated, so none could be selected on it.")
    title = f"Which evaluation counts, {split}"
    return seed_table(results, "selection", title, by_kind, notes=notes)


def generalisation_table(results: Results, split: str | None = None) -> Table:
    """Gap of each other split to the headline split, same checker, paired by seed; the accuracy
    itself where a split sits on a floor, since a gap to the test split then says nothing of it."""
    split = split or scores.headline_split(results)
    others = sorted(results.tally.splits - {split})
    base = scores.seed_scores(scores.metric_scores(results, None, split))
    gaps = {split: base}
    notes = [
        "Differences of accuracy in points, paired by seed; ± over seeds. train − test above 0 is"
        " overfitting: train questions are prompts that the run has trained on."
    ]
    for other in others:
        there = scores.seed_scores(scores.metric_scores(results, None, other))
        means = there.groupby("method", observed=True)["score"].mean()
        if len(means) and means.max() < FLOOR:
            gaps[other] = there
            notes.append(
                f"{other}: every method is below {100 * FLOOR:.0f} %, so accuracy is shown, no gap."
            )
            continue
        both = there.merge(base, on=scores.GROUP, suffixes=("", "_base"))
        gaps[f"{other} − {split}"] = both.assign(score=both["score"] - both["score_base"])
        absent = base[~base["run"].isin(set(there["run"]))]
        missing = {f"{r.method} s{r.seed}" for r in absent.itertuples()}
        if missing:  # it ended before the evaluation that has this split
            notes.append(f"Not evaluated on {other}: {', '.join(sorted(missing))}.")
    signed, name = [k for k in gaps if k.endswith(f" − {split}")], "generalisation"
    return seed_table(results, name, name.capitalize(), gaps, notes=notes, signed=signed)


def variance_table(results: Results, split: str | None = None) -> Table:
    """Where the variance of each reported mean comes from, over new seeds and new questions."""
    split = split or scores.headline_split(results)
    parts = ("seed", "question", "residual", "decoding")
    rows = []
    for task in tasks(results):
        for method in results.methods:
            cube = scores.sample_cube(results, method, split, task)
            sizes = dict(zip(("seeds", "questions", "samples"), cube.shape, strict=True))
            row: dict[str, object] = {"task": task, "method": method, **sizes}
            if cube.shape[0] > 1 and cube.shape[1] > 1:
                found = stats.variance_components(cube).of_the_mean(**sizes)._asdict()
                total = float(np.nansum([*found.values()]))
                row |= {p: found[p] / total if total else np.nan for p in parts}
                row |= {"total": total, "error": total**0.5}
            rows.append(row)
    keys = ["task", "method", "seeds", "questions", "samples", *parts, "total", "error"]
    frame = pd.DataFrame(rows, columns=keys)
    labels = {"residual": "seed × question"}
    columns = (
        *label_columns(results),
        *(Column(p, f"{labels.get(p, p)} %", "percent") for p in parts),
        Column("error", "standard error", "percent", about="of the mean, in points"),
    )
    sized = frame[frame["error"].notna()]
    size = ", ".join(
        f"{letter} = {' or '.join(str(int(n)) for n in sorted(sized[key].unique()))}"
        for letter, key in (("S", "seeds"), ("n", "questions"), ("K", "samples"))
    )
    notes = (
        f"Shares of the variance of the mean over S seeds, n questions and K samples ({size}):"
        " σ²seed / S + σ²question / n + σ²(seed × question) / (S n) + σ²decoding / (S n K). The"
        " largest share says what more of would narrow the interval for new questions and seeds;"
        " the ± of the tables, for these questions, has no share of the question.",
    )
    title = f"Where the variance of the mean comes from, {split}"
    return Table("variance", title, frame, columns, notes=notes if len(sized) else ())


def drift_table(results: Results, split: str | None = None) -> Table:
    """What else changed between the first and the last evaluation: length, truncation, format; and
    KL, entropy and an engine's drift at the end of training where the runs log them."""
    split = split or scores.headline_split(results)
    kept = [c for c in ("tokens", "finished", "format_ok") if c in results.tally.columns]
    decoding = scores.decoding_of(scores.headline_metric(results))
    answers = scores.end_rows(results, split, decoding)
    by_step = answers.groupby([*scores.GROUP, "step"], observed=True)[kept].mean().reset_index()
    ends = by_step.sort_values("step").groupby(scores.GROUP, observed=True)
    first = ends.first().groupby(["task", "method"], observed=True)[kept].mean()
    last = ends.last().groupby(["task", "method"], observed=True)[kept].mean()
    frame = first.add_suffix("_start").join(last.add_suffix("_end"))
    monitors = [
        c for c in results.steps if c == "entropy" or c.endswith("kl") or c.startswith("sampler_")
    ]
    logged = results.steps.sort_values("step").groupby(scores.GROUP, observed=True)[monitors]
    for suffix, rows in (("_start", logged.first()), ("_end", logged.last())) if monitors else ():
        by_method = rows.groupby(["task", "method"], observed=True).mean()
        frame = frame.join(by_method.add_suffix(suffix))
    columns = [*label_columns(results)]
    for column in kept:
        kind = "number" if column == "tokens" else "percent"
        label = {"tokens": "length", "finished": "ended %", "format_ok": "format %"}[column]
        columns.append(Column(f"{column}_start", f"{label}, start", kind))
        columns.append(Column(f"{column}_end", "end", kind))
    for m in monitors:
        label = m.replace("_", " ").replace("kl", "KL")
        columns.append(Column(f"{m}_start", f"{label}, start", "number"))
        columns.append(Column(f"{m}_end", "end", "number"))
    note = (
        f"The {decoding} answers of the first and the last evaluation, to the questions of all;"
        + " KL, entropy and drift as logged at the first and the last update." * bool(monitors)
    )
    title, frame = f"What else changed, {split}", frame.reset_index()
    return Table("drift", title, frame, tuple(columns), notes=(note,))


def checker_table(results: Results, split: str | None = None) -> Table:
    """The same answers under the headline reading and under the task's official protocol."""
    split = split or scores.headline_split(results)
    readings: dict[str, scores.Reading] = {"headline": "correct", "official": "strict"}
    by_reading = {
        name: scores.seed_scores(scores.metric_scores(results, None, split, reading))
        for name, reading in readings.items() if reading in results.tally.columns
    }  # fmt: skip
    notes = ["The same sampled answers under two readings of the checker; ± over seeds."]
    means: list[Any] = [
        one.groupby(["task", "method"], observed=True)["score"].mean().mul(100).to_dict()
        for one in by_reading.values()
    ]
    if len(means) == 2 and len(results.methods) > 1:
        m, n = means
        turned = [
            f"{a[1]} and {b[1]} ({m[a] - m[b]:+.2f} and {n[a] - n[b]:+.2f} points)"
            for a, b in itertools.combinations(sorted(m.keys() & n, key=m.get, reverse=True), 2)
            if a[0] == b[0] and (m[a] - m[b]) * (n[a] - n[b]) < 0
        ]
        alike = "Both rank the methods alike."
        notes.append(f"They rank differently: {', '.join(turned)}." if turned else alike)
    return seed_table(results, "checker", f"Two readings, {split}", by_reading, notes=notes)
