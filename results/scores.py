"""From counted evaluations to one score per method, seed and question.

Only finished and diverged runs are counted; a diverged run counts as its last evaluation. Which
evaluation of a run is scored: "last"; "selected", the one that is best on the validation split;
"oracle", the one that is best on the scored split itself: an upper bound that nobody can reach;
"start", the one before any update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from . import stats
from .memoise import remembered

if TYPE_CHECKING:
    from .runs import Results
    from .tally import Counts

At = Literal["last", "selected", "oracle", "start"]
Reading = Literal["correct", "strict"]  # the task's headline reading, or its official protocol
GROUP = ["task", "method", "seed", "run"]


def headline_split(results: Results) -> str:
    """The declared split; else `test` where it was evaluated, else the first split by name."""
    there, declared = results.tally.splits, results.primary.split
    if declared in there:
        return str(declared)
    return "test" if "test" in there or not there else min(there)


def headline_metric(results: Results) -> str:
    """avg (avg@K) where answers were sampled, else greedy."""
    return "greedy" if results.tally.decodings == {"greedy"} else "avg"


def decoding_of(metric: str) -> str:
    return "greedy" if metric == "greedy" else "sampled"


def counted(results: Results) -> pd.DataFrame:
    """The rows of `.runs` that count: finished or diverged."""
    return results.runs[results.runs.status != "unfinished"]


@remembered
def run_scores(
    results: Results, split: str, decoding: str = "sampled", reading: Reading = "correct"
) -> pd.DataFrame:
    """Mean score of each evaluation of each run that counts, on the questions that stand in all of
    them (a run may see more at its end): GROUP, step, score, k (samples), questions."""
    common = _common(results, split, decoding)
    parts = []
    for c in _counts(results, split, decoding, reading):
        kept = common[_task(results, c)][c.questions_Q]
        samples_SQ = c.samples_SQ[:, kept]
        samples_S = samples_SQ.sum(1, dtype=int)
        there = samples_S > 0
        right_S = getattr(c, reading + "_SQ")[:, kept].sum(1, dtype=int)
        parts.append((
            c, c.steps_S[there], right_S[there] / samples_S[there],
            samples_SQ.max(1, initial=0)[there].astype(int), (samples_SQ > 0).sum(1)[there],
        ))  # fmt: skip
    return _frame(results, parts, "step", "score", "k", "questions")


def _counts(
    results: Results, split: str, decoding: str, reading: Reading = "correct"
) -> list[Counts]:
    """Of the runs that count, in the order of GROUP."""
    found = {c.run: c for c in results.tally.counts if (c.split, c.decoding) == (split, decoding)}
    order = counted(results).sort_values(GROUP).index
    return [
        found[run] for run in order
        if run in found and getattr(found[run], reading + "_SQ") is not None
    ]  # fmt: skip


def _task(results: Results, counts: Counts) -> str:
    return str(results.runs["task"].iat[counts.run])


def _frame(results: Results, parts: list[tuple], *names: str) -> pd.DataFrame:
    """GROUP and named columns from parts: counts, and an array a name."""
    rows = np.repeat([part[0].run for part in parts], [len(part[1]) for part in parts])
    frame = results.runs[GROUP].iloc[rows.astype(int)].reset_index(drop=True)
    for at, name in enumerate(names, 1):
        frame[name] = np.concatenate([part[at] for part in parts]) if parts else np.empty(0)
    return frame


@remembered
def _common(results: Results, split: str, decoding: str) -> dict[str, np.ndarray]:
    """Task -> which questions stand in all its evaluations; all where none does."""
    seen: dict[str, np.ndarray] = {}
    evaluations: dict[str, int] = {}
    for c in _counts(results, split, decoding):
        task = _task(results, c)
        at = seen.setdefault(task, np.zeros(len(results.tally.questions), int))
        at[c.questions_Q] += (c.samples_SQ > 0).sum(0)
        evaluations[task] = evaluations.get(task, 0) + len(c.steps_S)
    whole = {task: at == evaluations[task] for task, at in seen.items()}
    return {task: at if at.any() else np.ones_like(at) for task, at in whole.items()}


@remembered
def chosen_steps(
    results: Results, split: str, decoding: str = "sampled", at: At = "last"
) -> pd.Series:
    """The step of each run's scored evaluation, indexed by run."""
    if at in ("last", "start"):
        counts = _counts(results, split, decoding)
        steps = [int(c.steps_S[-1]) if at == "last" else 0 for c in counts]
        index = results.runs["run"].iloc[[c.run for c in counts]]
        return pd.Series(steps, index=pd.Index(index), name="step", dtype=int)
    by_run = run_scores(results, "validation" if at == "selected" else split, decoding)
    # the earliest of equal evaluations
    best = by_run.groupby("run", observed=True)["score"].idxmax()
    return by_run.loc[best].set_index("run")["step"]


@remembered
def question_scores(
    results: Results,
    split: str,
    decoding: str = "sampled",
    reading: Reading = "correct",
    at: At = "last",
    common: bool = False,
) -> pd.DataFrame:
    """Score of each question in each run's scored evaluation: GROUP, question_id, correct (count),
    samples (K), score (avg@K). `common`: only questions of every evaluation, as with any `at` but
    "last", so that they can be set side by side."""
    steps = dict(chosen_steps(results, split, decoding, at))
    whole = _common(results, split, decoding) if common or at != "last" else {}
    parts = []
    for c in _counts(results, split, decoding, reading):
        here = np.flatnonzero(c.steps_S == steps.get(results.runs["run"].iat[c.run], -1))
        if len(here):  # a run may lack the evaluation that was selected on another split
            samples_Q, correct_Q = (x[here[0]] for x in (c.samples_SQ, getattr(c, reading + "_SQ")))
            asked = samples_Q > 0
            if whole:
                asked &= whole[_task(results, c)][c.questions_Q]
            parts.append((c, c.questions_Q[asked], correct_Q[asked], samples_Q[asked]))
    frame = _frame(results, parts, "question_id", "correct", "samples")
    frame = frame.astype({"question_id": int, "correct": int, "samples": int})
    names = pd.Index(results.tally.questions, dtype="str")
    frame["question_id"] = pd.Categorical.from_codes(frame["question_id"], names)
    frame["score"] = frame["correct"] / frame["samples"]
    return frame


@remembered
def _chosen_rows(results: Results, split: str, decoding: str, at: At = "last") -> pd.DataFrame:
    """Rows of `.evals`: each run's scored evaluation."""
    rows = results.tally.ends if at == "last" else results.evals
    rows = rows[(rows["split"] == split) & (rows["decoding"] == decoding)]
    steps = dict(chosen_steps(results, split, decoding, at))
    rows = rows[rows["step"] == rows["run"].astype("object").map(steps).astype(float)]
    return rows if at == "last" else _on_common(results, rows, split, decoding)


def end_rows(results: Results, split: str, decoding: str = "sampled") -> pd.DataFrame:
    """Rows of `.evals`: the first and the last evaluation of each run that counts, on the questions
    that stand in all evaluations."""
    rows = results.tally.ends
    rows = rows[(rows["split"] == split) & (rows["decoding"] == decoding)]
    rows = rows[rows["run"].isin(counted(results)["run"])]
    return _on_common(results, rows, split, decoding)


def _on_common(results: Results, rows: pd.DataFrame, split: str, decoding: str) -> pd.DataFrame:
    kept = np.zeros(len(rows), bool)
    for task, whole in _common(results, split, decoding).items():
        there = np.array(results.tally.questions, object)[whole]
        kept |= (rows["task"] == task) & rows["question_id"].isin(there)
    return rows[kept]


def pass_scores(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    """`question_scores` with pass@k as the score."""
    return frame.assign(score=stats.pass_at_k(frame["correct"], frame["samples"], k))


@remembered
def majority_scores(
    results: Results,
    split: str,
    k: int | None = None,
    at: At = "last",
    *,
    decoding: str = "sampled",
    reading: Reading = "correct",
) -> pd.DataFrame:
    """Like `question_scores`, with maj@k of the extracted answers as the score. Questions that do
    not have the full number of samples are left out, and so are runs whose wrong answers are not
    known."""
    rows = _chosen_rows(results, split, decoding, at)
    rows = rows[_answers_known(rows)]
    rows = rows.sort_values([*GROUP, "question_id", "sample"])
    groups = rows.groupby([*GROUP, "question_id"], observed=True)
    sizes = groups.size()
    full = int(sizes.max()) if len(sizes) else 0
    rows = rows[groups["correct"].transform("size") == full]
    frame = rows.drop_duplicates([*GROUP, "question_id"])[[*GROUP, "question_id"]]
    if not full:
        return frame.assign(score=pd.Series(dtype=float))
    answers = rows["extracted"].astype(object).to_numpy().reshape(-1, full)
    correct = rows[reading].to_numpy().reshape(-1, full)
    score = stats.maj_at_k(answers, correct, k)
    return frame.assign(score=score).reset_index(drop=True)


def _answers_known(rows: pd.DataFrame) -> pd.Series:
    """Rows of runs that tell what was answered: an imported log may only say what was right."""
    if "extracted" not in rows:
        return pd.Series(False, index=rows.index)
    runs = rows.groupby("run", observed=True)
    told: Any = rows["extracted"].notna().groupby(rows["run"], observed=True).transform("any")
    right: Any = runs["correct"].transform("any").astype(bool)
    return told | ~right


def matrix(frame: pd.DataFrame, method: str, task: str | None = None) -> pd.DataFrame:
    """Seeds x questions of one method; NaN where a run did not see a question (a run that diverged
    ends with a smaller evaluation)."""
    rows = _of(frame, method, task)
    return rows.pivot_table(index="seed", columns="question_id", values="score", observed=True)


def _of(frame: pd.DataFrame, method: str, task: str | None) -> pd.DataFrame:
    rows = frame[frame["method"] == method]
    return rows if task is None else rows[rows["task"] == task]


def sample_cube(
    results: Results,
    method: str,
    split: str,
    task: str | None = None,
    *,
    decoding: str = "sampled",
) -> np.ndarray:
    """Answers of the last evaluation, seeds x questions x samples, of what all seeds have."""
    rows = _of(_chosen_rows(results, split, decoding), method, task)
    wide = rows.assign(correct=rows["correct"].astype(float)).pivot_table(
        index="seed", columns=["question_id", "sample"], values="correct", observed=True
    )
    samples = wide.columns.get_level_values("sample").nunique() if wide.size else 0
    wide = wide.dropna(axis=1)
    if not samples or wide.empty:
        return np.empty((0, 0, 0))
    sizes = wide.T.groupby(level="question_id", observed=True).size()
    kept = wide.columns.get_level_values("question_id").isin(sizes.index[sizes == samples])
    whole = wide.loc[:, kept]
    return whole.sort_index(axis=1).to_numpy().reshape(len(whole), -1, samples)


def metric_scores(
    results: Results,
    metric: str | None = None,
    split: str | None = None,
    reading: Reading = "correct",
    at: At = "last",
    *,
    sampled: str = "sampled",
) -> pd.DataFrame:
    """Scores by the metric's name: avg (avg@K of sampled answers), greedy, pass@k, maj (of all K)
    or maj@k. `sampled`: the decoding whose samples are scored, e.g. T=0.6. GROUP, question_id,
    score."""
    split = split or headline_split(results)
    metric = metric or headline_metric(results)
    name, _, k = metric.partition("@")
    if name not in ("avg", "greedy", "pass", "maj") or (name == "pass") > k.isdigit():
        raise ValueError(f"no metric {metric!r}; there are avg, greedy, pass@k, maj, maj@k")
    if name == "maj":
        count = int(k) if k.isdigit() else None
        return majority_scores(results, split, count, at, decoding=sampled, reading=reading)
    decoding = "greedy" if name == "greedy" else sampled
    frame = question_scores(results, split, decoding, reading, at=at)
    return pass_scores(frame, int(k)) if name == "pass" else frame


def seed_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean over questions: GROUP, score."""
    return frame.groupby(GROUP, observed=True)["score"].mean().reset_index()
