"""Results -> the figure `lift`: which groups of questions each method has learnt.

The dashed line is what a reward of the outcome can see at the start: the share of prompts on which
at least one of a rollout's G samples is right. Where it is near 0, whoever learns from samples
alone has nothing to learn from, and a method with reference answers has.
"""

from typing import Any

import pandas as pd

from results import Results, groups, scores, stats

from . import plots
from .plots import Plot


def lift(results: Results, by: str | None = None, split: str | None = None) -> list[Plot]:
    """Accuracy by group of questions, start and end, a panel a method; a figure a task.

    Args:
        by: a field of the task's meta, e.g. steps, level or rung; None: the first that the task
            names and that makes groups.

    Raises:
        ValueError: no task here has groups by that field; the message names those that there are.
    """
    tasks = sorted({str(task) for task in results.runs["task"]})
    known = {task: groups.fields(groups.of_task(results, task).values()) for task in tasks}
    if by is not None and not any(by in fields for fields in known.values()):
        there = ", ".join(dict.fromkeys(f for fields in known.values() for f in fields)) or "none"
        raise ValueError(f"no groups of questions by {by!r}; there are {there}")
    made = []
    for task, fields in known.items():
        field = by or next(iter(fields), None)
        if field not in fields:
            continue
        points = lift_points(results, task, field, split)
        if points.empty:
            continue
        several = f"-{task}" if len(tasks) > 1 else ""
        sizes = points["samples"].dropna().unique()
        made.append(
            plots.lift(
                points, field, group=int(sizes[0]) if len(sizes) == 1 else None,
                name=f"lift-{field}{several}", metric=f"{task} accuracy" if several else "accuracy",
            )
        )  # fmt: skip
    return made


def lift_points(results: Results, task: str, field: str, split: str | None = None) -> pd.DataFrame:
    """A row per method and group, in the order of `groups.ordered`: method, group; start and value
    (the end) with t intervals over seeds; their numbers of questions and of seeds; seen (see
    `stats.seen`, of the method's own starts) and the `samples` of a group that it is for."""
    split = split or scores.headline_split(results)
    end = groups.group_scores(results, task, field, split)
    start = groups.group_scores(results, task, field, split, at="start")
    sizes = _group_sizes(results, task)
    drawn = scores.decoding_of(scores.headline_metric(results)) == "sampled"
    rows = []
    for (method, group), own in end.groupby(["method", "group"], observed=True, sort=False):
        before = start[(start["method"] == method) & (start["group"] == group)]
        of_start, of_end = (stats.seed_interval(_by_run(frame)) for frame in (before, own))
        by_question = before.groupby("question_id", observed=True)
        asked: Any = by_question[["correct", "samples"]].sum()
        size = sizes.get(str(method)) if drawn else None
        rows.append({
            "method": str(method), "group": group,
            "start": of_start.mean, "start_low": of_start.low, "start_high": of_start.high,
            "start_questions": len(asked),
            "value": of_end.mean, "low": of_end.low, "high": of_end.high,
            "questions": own["question_id"].nunique(), "seeds": own["run"].nunique(),
            "seen": stats.seen(asked["correct"], asked["samples"], size) if size else float("nan"),
            "samples": size,
        })  # fmt: skip
    if not rows:
        return pd.DataFrame()
    frame = pd.DataFrame(rows)
    order = groups.ordered(dict(frame.groupby("group", sort=False)["start"].mean()))
    methods = {m: i for i, m in enumerate(results.methods)}
    key = {"group": {g: i for i, g in enumerate(order)}, "method": methods}
    return frame.sort_values(["method", "group"], key=lambda c: c.map(key[str(c.name)]))


def _by_run(frame: pd.DataFrame) -> pd.Series:
    return frame.groupby("run", observed=True)["score"].mean()


def _group_sizes(results: Results, task: str) -> dict[str, int]:
    """Method -> G, the samples that its rollouts draw of a prompt."""
    runs = results.runs[results.runs["task"] == task].drop_duplicates("method")
    drawn = {
        str(r.method): (r.config or {}).get("rollout", {}).get("group") for r in runs.itertuples()
    }
    return {method: int(size) for method, size in drawn.items() if size}
