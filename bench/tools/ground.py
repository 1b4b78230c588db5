"""`evenbench check --task NAME`: what a task can measure, on a finished suite or on its base."""

# pyright: reportArgumentType=false, reportGeneralTypeIssues=false

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

import results
from bench.config import build_suite
from bench.model import start
from bench.record.ledger import Flops, Ledger
from bench.sampling.hf import Sampler
from bench.train.evaluate import Evaluator
from results import groups, psychometrics, scores, stats
from results.render import Column, Table
from tasks import Example, Task

RECIPE: dict[str, Any] = {"name": "check", "methods": ["grpo"], "seeds": 1, "eval": {"samples": 8}}
GUESS, RIGHT = "guess", "right"  # behaviours; see Task.behaviour
Examples = dict[str, Example]  # by id


def suite_tables(name: str, folders: Sequence[Path]) -> list[Table]:
    """The psychometrics of a finished suite on one task: whether the questions tell its methods
    apart, accuracy by group of questions, and what the last answers do.

    Raises ValueError: none of these runs is on the task, or none has been evaluated.
    """
    loaded = results.load(folders)
    there = sorted({str(task) for task in loaded.runs["task"]})
    if name not in there:
        raise ValueError(f"these runs are on {', '.join(there) or 'no task'}, not on {name}")
    loaded = loaded.query(f"task == {name!r} and status != 'unfinished'")
    if not loaded.tally.counts:
        raise ValueError("no run here has been evaluated and is finished")
    task = _task_of(loaded)
    split = scores.headline_split(loaded)
    asked = {e.id: e for e in task.examples(split)}
    metas = {q: e.meta for q, e in asked.items()}
    made = [psychometrics.psychometrics_table(loaded, name, split)]
    fields = groups.fields(metas.values())
    for decoding in psychometrics.metrics(loaded, split)[: 2 if fields else 0]:
        made.append(psychometrics.group_table(loaded, name, fields[0], decoding, metas=metas))
    answers = loaded.last_responses(split)
    answers = answers[answers["response"].notna() & (answers["decoding"] == "sampled")]
    answers = answers.assign(behaviour=_behaviours(task, asked, answers))
    return [*made, *right_tables(task, asked, answers, fields)]


def _task_of(loaded: results.Results) -> Task:
    """As the first run's config has it."""
    from bench.config import RunConfig

    return RunConfig.model_validate(loaded.runs["config"].iloc[0]).build_task()


def base_tables(name: str) -> list[Table]:
    """The psychometrics of the base model that is built for a task (or taken from the cache), on
    all questions of the headline's split; none where the task has no tokenizer of its own, as such
    a model would know nothing."""
    run = build_suite({**RECIPE, "task": {"name": name}}).runs[0]
    task = run.build_task()
    if task.word_pattern is None:
        return []
    policy = start.load(start.ensure(run.model, task), run.model)
    evaluator = Evaluator(run, task, policy, Flops.of(policy.model), sampler=Sampler())
    split = task.headline
    answers = evaluator.answers({split: 0}, run.eval.decodings, Ledger(), keep_texts=True)
    asked = {e.id: e for e in task.examples(split)}
    fields = groups.fields(e.meta for e in asked.values())
    made = [base_table(task, asked, answers, fields)]
    sampled = answers[answers["decoding"] == "sampled"]
    sampled = sampled.assign(behaviour=_behaviours(task, asked, sampled))
    return [*made, *behaviour_tables(task, asked, sampled, fields, who="the base, sampled answers")]


def base_table(task: Task, asked: Examples, answers: pd.DataFrame, fields: Sequence[str]) -> Table:
    """Accuracy of one model on all questions and by group, in both decodings, with the share of
    questions in the middle and of those that a group of samples shows right at least once."""
    count = int(answers["sample"].max()) + 1
    marked = answers.assign(group="all")
    if fields:
        metas = {q: e.meta for q, e in asked.items()}
        marked = pd.concat([marked, groups.grouped(answers, metas, fields[0])])
    rows = []
    for group, own in marked.groupby("group", sort=False):
        greedy, sampled = (own[own["decoding"] == d] for d in ("greedy", "sampled"))
        by_question = sampled.groupby("question_id")["correct"].agg(["sum", "count", "mean"])
        found = stats.question_interval(_matrix(sampled))
        rows.append({
            "group": str(group), "questions": len(by_question), "sampled": found.mean,
            "half": found.half, "greedy": greedy["correct"].mean(),
            "middle": stats.in_the_middle(by_question["mean"]),
            "seen": stats.seen(by_question["sum"], by_question["count"], count),
        })  # fmt: skip
    order = groups.ordered({row["group"]: row["sampled"] for row in rows[1:]})
    rows = sorted(rows, key=lambda row: order.index(row["group"]) if row["group"] in order else -1)
    columns = (
        Column("group", fields[0] if fields else "questions of"),
        Column("questions", "questions", "count"),
        Column("sampled", f"avg@{count} %", "percent", "half"),
        Column("greedy", "greedy %", "percent"),
        Column("middle", "middle %", "percent"),
        Column("seen", f"1 of {count} right %", "percent"),
    )
    notes = (
        "± is the 95 % confidence half-width over questions, of this model. Middle: questions"
        f" between {100 * stats.FLOOR:.0f} and {100 * stats.CEILING:.0f} %. Discrimination and"
        " reliability need several methods: --on SUITE.",
    )
    title = f"The base on {task.headline}"
    return Table("base", title, pd.DataFrame(rows), columns, notes=notes)


def _matrix(sampled: pd.DataFrame) -> Any:
    wide = sampled.pivot_table("correct", "question_id", "sample", aggfunc="mean")
    return wide.to_numpy(float)


def _behaviours(task: Task, asked: Examples, answers: pd.DataFrame) -> list[str | None]:
    pairs = zip(answers["question_id"].astype(str), answers["response"], strict=True)
    return [task.behaviour(asked[q], said) if q in asked else None for q, said in pairs]


def _known(asked: Examples, answers: pd.DataFrame, fields: Sequence[str]) -> pd.DataFrame:
    """Answers whose behaviour the task knows, with the group of their question."""
    known: Any = answers[answers["behaviour"].notna()]
    return groups.grouped(known, {q: e.meta for q, e in asked.items()}, fields[0])


def _declared(task: Task, asked: Examples, own: pd.DataFrame) -> float:
    """Mean declared share over the questions of these answers; NaN: the task does not say."""
    said = [task.declared(asked[q]) for q in own["question_id"].astype(str).unique()]
    known = [share for share in said if share is not None]
    return fmean(known) if known else math.nan


def right_tables(
    task: Task, asked: Examples, answers: pd.DataFrame, fields: Sequence[str]
) -> list[Table]:
    """Of each method's worked answers (method, question_id, behaviour), the share that does the
    step right, by group; before them the shares that the task declares of its base. No table where
    the task does not say."""
    if not fields or bool(answers["behaviour"].isna().all()):
        return []
    frame = _known(asked, answers, fields)
    declared = {g: _declared(task, asked, own) for g, own in frame.groupby("group", sort=False)}
    order = groups.ordered(declared)
    rows: list[dict[str, object]] = [
        {"method": "declared of the base", **{str(g): declared[g] for g in order}}
    ]
    for method, own in frame.groupby("method", observed=True):
        worked = own[own["behaviour"] != GUESS]
        right: Any = (worked["behaviour"] == RIGHT).groupby(worked["group"]).mean()
        rows.append({
            "method": str(method), GUESS: 1 - len(worked) / len(own),
            **{str(g): right.get(g, math.nan) for g in order},
        })  # fmt: skip
    columns = (
        Column("method", "Method"),
        *(Column(str(g), str(g), "percent") for g in order),
        Column(GUESS, "guesses", "percent"),
    )
    title = f"Right among worked answers by {fields[0]}, and guesses among all, in %"
    note = "Sampled answers of the last evaluation, all seeds together."
    return [Table("right", title, pd.DataFrame(rows), columns, notes=(note,))]


def behaviour_tables(
    task: Task, asked: Examples, answers: pd.DataFrame, fields: Sequence[str], who: str
) -> list[Table]:
    """What answers (question_id, behaviour) do, by the first field: the share of guesses, and of
    the worked answers each behaviour, right ones with Wilson's interval beside the declared share.
    No table where the task does not say."""
    if not fields or answers["behaviour"].isna().all():
        return []
    frame = _known(asked, answers, fields)
    words = [w for w in dict.fromkeys(frame["behaviour"]) if w not in (GUESS, RIGHT)]
    rows = []
    for group, own in frame.groupby("group", sort=False):
        worked = own[own["behaviour"] != GUESS]
        right = int((worked["behaviour"] == RIGHT).sum())
        found = stats.wilson(right, len(worked))
        rows.append({
            "group": group, "answers": len(own), GUESS: 1 - len(worked) / len(own),
            "declared": _declared(task, asked, own),
            RIGHT: found.mean, "low": found.low, "high": found.high,
            **{w: (worked["behaviour"] == w).sum() / max(len(worked), 1) for w in words},
        })  # fmt: skip
    order = groups.ordered({row["group"]: row["declared"] for row in rows})
    rows.sort(key=lambda row: order.index(row["group"]))
    columns = (
        Column("group", fields[0]),
        Column("answers", "answers", "count"),
        Column(GUESS, "guesses", "percent"),
        Column("declared", "declared", "percent"),
        Column(RIGHT, "right", "percent"),
        Column("low", "from", "percent"),
        Column("high", "to", "percent"),
        *(Column(word, word, "percent") for word in sorted(words)),
    )
    notes = (
        "Right and what follows are shares of the worked answers, those that are no guesses; from"
        " and to: 95 % confidence interval (Wilson).",
    )
    title = f"What answers do, in %: {who}"
    return [Table("behaviour", title, pd.DataFrame(rows), columns, notes=notes)]
