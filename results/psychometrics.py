"""Can a task tell the methods of a suite apart, and on which questions? A row for each metric.

The functions behind it are in results/stats/psychometrics.py. Only last evaluations count; a method
scores its mean over seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import groups, scores, stats
from .render import NONE, Column, Table

if TYPE_CHECKING:
    from .runs import Results

SAID = 0.5  # from this share of the methods on, a report says that a metric is at its end


def metrics(results: Results, split: str) -> list[str]:
    """The decodings in which methods are scored, the headline's first: sampled (avg@K), greedy, and
    sampled at a further temperature (T=0.6)."""
    there = {c.decoding for c in results.tally.counts if c.split == split}
    first = scores.decoding_of(scores.headline_metric(results))
    return sorted(there, key=lambda d: (d != first, d != "greedy", d))


def measures(results: Results, task: str, split: str | None = None) -> pd.DataFrame:
    """A row for each decoding: task, split, decoding, and the keys of MEASURES.

    Shares are of 1. discrimination: mean of `stats.discrimination`, runs as persons. reliability:
    `stats.split_half`. tau: `stats.rank_agreement` with the first row; tau_sure over the pairs of
    methods that differ significantly in the first row (paired t over shared seeds, Holm over all
    pairs); NaN where there are none.
    """
    split = split or scores.headline_split(results)
    rows: list[dict[str, object]] = []
    first, apart = pd.Series(dtype=float), pd.DataFrame()
    for decoding in metrics(results, split):
        frame = _of_task(scores.question_scores(results, split, decoding), task)
        if frame.empty:
            continue
        by_run = frame.pivot_table("score", ["method", "seed"], "question_id", observed=True)
        by_run = by_run.dropna(axis=1)  # questions of all runs
        by_method = by_run.groupby(level="method", observed=True).mean()
        mean = by_method.mean(axis=1)
        if not rows:
            first, apart = mean, _apart(by_run.mean(axis=1))
        start = _of_task(scores.question_scores(results, split, decoding, at="start"), task)
        known = stats.discrimination(by_run.to_numpy())
        both, sure = first.reindex(mean.index), apart.reindex(mean.index, columns=mean.index)
        everywhere = stats.rank_agreement(both, mean)
        surely = stats.rank_agreement(both, mean, sure.to_numpy(bool))
        rows.append({
            "task": task, "split": split, "decoding": decoding,
            "questions": by_run.shape[1], "methods": len(mean), "runs": len(by_run),
            "start": scores.seed_scores(start)["score"].mean() if len(start) else np.nan,
            "best": mean.max(), "ceiling": int((mean >= stats.CEILING).sum()),
            "floor": int((mean <= stats.FLOOR).sum()),
            "middle": stats.in_the_middle(by_run.mean()),
            "discrimination": np.nanmean(known) if np.isfinite(known).any() else np.nan,
            "reliability": stats.split_half(by_method.to_numpy()),
            "tau": everywhere.tau, "tau_sure": surely.tau, "pairs_sure": surely.pairs,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _shown(value: float, form: str) -> str:
    return form.format(value).replace("%", " %") if value == value else NONE


def psychometrics_table(results: Results, task: str, split: str | None = None) -> Table:
    """`measures` with a column for each decoding, in words."""
    frame = measures(results, task, split)
    decodings = [] if frame.empty else frame["decoding"].tolist()
    rows = [
        {"measure": words, **dict(zip(decodings, (_shown(x, f) for x in frame[key]), strict=True))}
        for key, (words, f) in MEASURES.items() if decodings
    ]  # fmt: skip
    columns = (Column("measure", "Measure"), *(Column(d, d) for d in decodings))
    split = split or scores.headline_split(results)
    title = f"{task}: can the questions of {split} tell the methods apart?"
    return Table("psychometrics", title, pd.DataFrame(rows), columns, notes=NOTES)


_CEILING, _FLOOR = f"{100 * stats.CEILING:.0f} %", f"{100 * stats.FLOOR:.0f} %"
MEASURES = {  # key of `measures`: in words, format
    "questions": ("questions", "{:.0f}"),
    "methods": ("methods", "{:.0f}"),
    "runs": ("runs", "{:.0f}"),
    "start": ("accuracy of the start", "{:.1%}"),
    "best": ("accuracy of the best method", "{:.1%}"),
    "ceiling": (f"methods at the ceiling (at least {_CEILING})", "{:.0f}"),
    "floor": (f"methods at the floor (at most {_FLOOR})", "{:.0f}"),
    "middle": (f"questions between {_FLOOR} and {_CEILING}, mean of the runs", "{:.1%}"),
    "discrimination": ("discrimination (item-rest correlation)", "{:.2f}"),
    "reliability": ("split-half reliability of the ranking", "{:.2f}"),
    "tau": ("rank agreement with the first column (τ)", "{:.2f}"),
    "tau_sure": ("the same over significant pairs", "{:.2f}"),
    "pairs_sure": ("significant pairs of the first column", "{:.0f}"),
}
NOTES = (
    "Discrimination: mean over questions; runs are the persons. Reliability: over random halves of"
    " the questions, by Spearman-Brown. τ: Kendall's. Significant: paired t over seeds, Holm over"
    " all pairs.",
)


def _of_task(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    return frame[frame["task"] == task]


def _apart(by_run: pd.Series) -> pd.DataFrame:
    """method x method: whether the two differ significantly over shared seeds, after Holm over all
    pairs. by_run: mean score by method and seed."""
    wide = by_run.unstack("seed")
    pairs = list(itertools.combinations(wide.index, 2))
    p = [_p(wide.loc[a] - wide.loc[b]) for a, b in pairs]
    apart = pd.DataFrame(False, index=wide.index, columns=wide.index)
    for (a, b), adjusted in zip(pairs, stats.holm(p), strict=True):
        apart.loc[a, b] = apart.loc[b, a] = bool(adjusted < stats.ALPHA)
    return apart


def _p(differences: pd.Series) -> float:
    shared = differences.dropna()
    return stats.paired_difference(shared).p if len(shared) > 1 else np.nan


def group_table(
    results: Results, task: str, field: str, decoding: str,
    metas: Mapping[str, groups.Meta] | None = None,
) -> Table:  # fmt: skip
    """Accuracy by group of questions on the headline's split: the start, then a row a method.
    `metas`: what the task says of each question, by id; None: as the runs have stored it."""
    split = scores.headline_split(results)
    metas = groups.of_task(results, task) if metas is None else metas
    at: tuple[scores.At, ...] = ("start", "last")
    start, end = (
        groups.grouped(
            _of_task(scores.question_scores(results, split, decoding, at=a), task), metas, field
        )
        for a in at
    )
    before = start.groupby("group")["score"].mean()
    sizes = end.groupby("group")["question_id"].nunique()
    order = groups.ordered({g: before.get(g, np.nan) for g in sizes.index})
    rows = [{"method": "start"} | {str(g): before.get(g, np.nan) for g in order}]
    for method in results.methods:
        own = end[end["method"] == method]
        means = own.groupby(["group", "run"], observed=True)["score"].mean()
        found = {g: stats.seed_interval(means.loc[g]) for g in order if g in means.index}
        cells = {str(g): i.mean for g, i in found.items()}
        rows.append({"method": method} | cells | {f"{g} half": i.half for g, i in found.items()})
    frame = pd.DataFrame(rows)
    columns = [Column("method", "Method")]
    for g in map(str, order):
        half = f"{g} half" if f"{g} half" in frame else ""
        columns.append(Column(g, g, "percent", half))
    asked = ", ".join(f"{g}: {sizes[g]}" for g in order)
    title = f"{task}: accuracy by {field} in %, {decoding}"
    return Table(f"by-{field}", title, frame, tuple(columns), notes=(f"Questions: {asked}.",))


def blind_metrics(results: Results, split: str | None = None) -> list[str]:
    """A sentence for each task and metric at whose ceiling or floor at least half of the methods
    are, so that it can hardly tell them apart."""
    split = split or scores.headline_split(results)
    several = results.runs["task"].nunique() > 1
    said = []
    for decoding in metrics(results, split):
        frame = scores.seed_scores(scores.question_scores(results, split, decoding))
        for task, own in frame.groupby("task", observed=True):
            mean: Any = own.groupby("method", observed=True)["score"].mean()
            at = {
                f"ceiling ({_CEILING} or more)": int((mean >= stats.CEILING).sum()),
                f"floor ({_FLOOR} or less)": int((mean <= stats.FLOOR).sum()),
            }
            metric = {"greedy": "Greedy accuracy", "sampled": "Accuracy of samples"}.get(
                decoding, f"Accuracy at {decoding}"
            )
            where = f" on {task}" if several else ""
            said += [
                f"{metric}{where} is at its {end} for {count} of {len(mean)} methods, so it can"
                " hardly tell them apart."
                for end, count in at.items()
                if len(mean) > 1 and count >= max(2, SAID * len(mean))
            ]
    return said
