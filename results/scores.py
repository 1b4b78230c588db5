"""From evaluation rows to one score per method, seed and question.

Only finished and diverged runs are counted; a diverged run counts as its last evaluation. Which
evaluation of a run is scored: "last"; "selected", the one that is best on the validation split;
"oracle", the one that is best on the scored split itself: an upper bound that nobody can reach.
"""

# pandas annotates groupby and indexing with unions that pyright cannot narrow
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportOptionalMemberAccess=false

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from . import stats

if TYPE_CHECKING:
    from .runs import Runs

At = Literal["last", "selected", "oracle"]
Reading = Literal["correct", "strict"]  # the task's headline reading, or its official protocol
GROUP = ["task", "method", "seed", "run"]


def headline_split(results: Runs) -> str:
    """`test` where it was evaluated, else the first split by name."""
    there = [str(s) for s in results.evals["split"].unique()]
    return "test" if "test" in there or not there else sorted(there)[0]


def headline_metric(results: Runs) -> str:
    """avg (avg@K) where answers were sampled, else greedy."""
    decodings = {str(d) for d in results.evals["decoding"].unique()}
    return "greedy" if decodings == {"greedy"} else "avg"


def decoding_of(metric: str) -> str:
    return "greedy" if metric == "greedy" else "sampled"


def counted(results: Runs) -> pd.DataFrame:
    """The rows of `.runs` that count: finished or diverged."""
    return results.runs[results.runs.status != "unfinished"]


def run_scores(
    results: Runs, split: str, decoding: str = "sampled", reading: Reading = "correct"
) -> pd.DataFrame:
    """Mean score of each evaluation of each run that counts, on the questions that stand in all of
    them (a run may see more at its end): GROUP, step, score, questions, k."""
    rows = common_rows(results, split, decoding)
    grouped = rows.groupby([*GROUP, "step"], observed=True)
    frame = grouped.agg(score=(reading, "mean"), k=("sample", "nunique"))
    frame["questions"] = grouped["question_id"].nunique()
    return frame.reset_index().sort_values([*GROUP, "step"], ignore_index=True)


def _rows(results: Runs, split: str, decoding: str) -> pd.DataFrame:
    rows = results.evals
    kept = (rows["split"] == split) & (rows["decoding"] == decoding)
    return rows[kept & rows["run"].isin(counted(results)["run"])]


def common_rows(results: Runs, split: str, decoding: str) -> pd.DataFrame:
    """Evaluation rows of the runs that count, on the questions that stand in all evaluations."""
    return _common(_rows(results, split, decoding))


def _common(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a task's questions that stand in all its evaluations; all where none does."""
    first = rows[rows["sample"] == 0]
    evaluations = first.drop_duplicates(["task", "run", "step"]).groupby("task", observed=True)
    seen = first.groupby(["task", "question_id"], observed=True).size().reset_index(name="seen")
    whole = seen[seen["seen"] == seen["task"].astype("str").map(dict(evaluations.size()))]
    pairs = pd.MultiIndex.from_frame(whole[["task", "question_id"]].astype("str"))
    if seen["task"].nunique() == whole["task"].nunique() == 1:  # the usual case, and much faster
        return rows[rows["question_id"].isin(whole["question_id"])]
    index = pd.MultiIndex.from_frame(rows[["task", "question_id"]].astype("str"))
    kept = index.isin(pairs) | ~rows["task"].isin(whole["task"]).to_numpy()
    return rows[kept]


def chosen_steps(
    results: Runs, split: str, decoding: str = "sampled", at: At = "last"
) -> pd.Series:
    """The step of each run's scored evaluation, indexed by run."""
    if at == "last":
        rows = _rows(results, split, decoding)
        return rows.groupby("run", observed=True)["step"].max()
    by_run = run_scores(results, "validation" if at == "selected" else split, decoding)
    # the earliest of equal evaluations
    best = by_run.groupby("run", observed=True)["score"].idxmax()
    return by_run.loc[best].set_index("run")["step"]


def _chosen_rows(
    results: Runs, split: str, decoding: str, at: At, common: bool = False
) -> pd.DataFrame:
    rows = _rows(results, split, decoding)
    if common or at != "last":
        rows = _common(rows)
    steps = dict(chosen_steps(results, split, decoding, at))
    return rows[rows["step"] == rows["run"].astype("object").map(steps).astype(float)]


def question_scores(
    results: Runs,
    split: str,
    decoding: str = "sampled",
    reading: Reading = "correct",
    at: At = "last",
    common: bool = False,
) -> pd.DataFrame:
    """Score of each question in each run's scored evaluation: GROUP, question_id, correct (count),
    samples (K), score (avg@K). `common`: only questions of every evaluation, as with any `at` but
    "last", so that the three can be set side by side."""
    rows = _chosen_rows(results, split, decoding, at, common)
    grouped = rows.groupby([*GROUP, "question_id"], observed=True)[reading]
    frame = grouped.agg(["sum", "size"]).reset_index()
    frame = frame.rename(columns={"sum": "correct", "size": "samples"})
    frame["score"] = frame["correct"] / frame["samples"]
    return frame


def pass_scores(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    """`question_scores` with pass@k as the score."""
    return frame.assign(score=stats.pass_at_k(frame["correct"], frame["samples"], k))


def majority_scores(
    results: Runs, split: str, k: int | None = None, at: At = "last"
) -> pd.DataFrame:
    """Like `question_scores`, with maj@k of the extracted answers as the score. Questions that do
    not have the full number of samples are left out."""
    rows = _chosen_rows(results, split, "sampled", at)
    rows = rows.sort_values([*GROUP, "question_id", "sample"])
    groups = rows.groupby([*GROUP, "question_id"], observed=True)
    sizes = groups.size()
    full = int(sizes.max()) if len(sizes) else 0
    rows = rows[groups["correct"].transform("size") == full]
    frame = rows.drop_duplicates([*GROUP, "question_id"])[[*GROUP, "question_id"]]
    if not full:
        return frame.assign(score=pd.Series(dtype=float))
    answers = rows["extracted"].astype(object).to_numpy().reshape(-1, full)
    correct = rows["correct"].to_numpy().reshape(-1, full)
    score = stats.maj_at_k(answers, correct, k)
    return frame.assign(score=score).reset_index(drop=True)


def matrix(frame: pd.DataFrame, method: str, task: str | None = None) -> pd.DataFrame:
    """Seeds x questions of one method; NaN where a run did not see a question (a run that diverged
    ends with a smaller evaluation)."""
    rows = frame[frame["method"] == method]
    if task is not None:
        rows = rows[rows["task"] == task]
    return rows.pivot_table(index="seed", columns="question_id", values="score", observed=True)


def sample_cube(results: Runs, method: str, split: str, task: str | None = None) -> np.ndarray:
    """Answers of the last evaluation, seeds x questions x samples, of what all seeds have."""
    rows = _chosen_rows(results, split, "sampled", "last")
    rows = rows[rows["method"] == method]
    if task is not None:
        rows = rows[rows["task"] == task]
    wide = rows.assign(correct=rows["correct"].astype(float)).pivot_table(
        index="seed", columns=["question_id", "sample"], values="correct", observed=True
    )
    samples = wide.columns.get_level_values("sample").nunique() if wide.size else 0
    wide = wide.dropna(axis=1)
    if not samples or wide.empty:
        return np.empty((0, 0, 0))
    sizes = wide.T.groupby(level="question_id", observed=True).size()
    whole = wide.loc[
        :, wide.columns.get_level_values("question_id").isin(sizes.index[sizes == samples])
    ]
    return whole.sort_index(axis=1).to_numpy().reshape(len(whole), -1, samples)


def metric_scores(
    results: Runs,
    metric: str | None = None,
    split: str | None = None,
    reading: Reading = "correct",
    at: At = "last",
) -> pd.DataFrame:
    """Scores by the metric's name: avg (avg@K of sampled answers), greedy, pass@k, maj (of all K)
    or maj@k. GROUP, question_id, score."""
    split = split or headline_split(results)
    metric = metric or headline_metric(results)
    name, _, k = metric.partition("@")
    if name not in ("avg", "greedy", "pass", "maj") or (name == "pass") > k.isdigit():
        raise ValueError(f"no metric {metric!r}; there are avg, greedy, pass@k, maj, maj@k")
    if name == "maj":
        return majority_scores(results, split, int(k) if k.isdigit() else None, at)
    decoding = "greedy" if name == "greedy" else "sampled"
    frame = question_scores(results, split, decoding, reading, at)
    return pass_scores(frame, int(k)) if name == "pass" else frame


def seed_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean over questions: GROUP, score."""
    return frame.groupby(GROUP, observed=True)["score"].mean().reset_index()
