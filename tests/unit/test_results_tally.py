"""Counted evaluations give what plain pandas gives on the rows, on a suite with every irregularity.

The oracle below is the definition in words: it groups `.evals` and knows nothing of the counts.
"""

# pandas annotates groupby and indexing with unions that pyright cannot narrow
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportGeneralTypeIssues=false, reportOptionalMemberAccess=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import results
from results import scores, tables
from results.scores import GROUP
from tests.synthetic import write_suite

SPLITS = ("test", "validation", "ood")
RUN = ["task", "method", "seed"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> results.Results:
    """Two tasks; fewer questions before the end, a diverged and an unfinished run, and in every
    file rows that are missing at random: samples, questions, a split of one run, a whole
    evaluation of another."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(7)
    for task in ("arithmetic", "fractions"):
        write_suite(
            folder / task, methods=["grpo", "gift"], seeds=3, questions=24, samples=3,
            evaluations=4, steps=12, curve={"test": 16, "validation": 9}, task=task,
            diverged={("gift", 1): 8}, unfinished={("grpo", 2): 8},
        )  # fmt: skip
        for i, file in enumerate(sorted(folder.glob(f"{task}/*/evals.parquet"))):
            rows: pd.DataFrame = pd.read_parquet(file)
            gone = rng.random(len(rows)) < 0.02
            gone |= rows["question_id"].isin(rng.choice(rows["question_id"].unique(), i % 3))
            gone |= (rows["split"] == "ood") & (i == 3)
            gone |= (rows["step"] == 4) & (rows["decoding"] == "greedy") & (i == 4)
            rows[~gone].sample(frac=1, random_state=i).to_parquet(file)  # in any order
    return results.load([folder / "arithmetic", folder / "fractions"])


def rows_of(r: results.Results, split: str, decoding: str) -> pd.DataFrame:
    counted = r.runs.loc[r.runs["status"] != "unfinished", "run"].astype(str)
    rows = r.evals[r.evals["run"].isin(counted) & (r.evals["split"] == split)]
    return rows[rows["decoding"] == decoding].astype({"task": str, "question_id": str})


def on_common(rows: pd.DataFrame) -> pd.DataFrame:
    """Questions that stand in every evaluation of a task; all of them where none does."""
    parts = []
    for _, of in rows.groupby("task"):
        sets = [set(e["question_id"]) for _, e in of.groupby(["run", "step"], observed=True)]
        common = set.intersection(*sets)
        parts.append(of[of["question_id"].isin(common)] if common else of)
    return pd.concat(parts)


def plain(frame: pd.DataFrame, keys: list[str]) -> dict[tuple, list]:
    """Key -> the other columns, for comparison without an order of rows."""
    rest = [c for c in frame if c not in (*keys, "run")]
    assert not frame.duplicated(keys).any()
    return {
        tuple(map(str, key)): [float(v) for v in values]
        for key, values in zip(
            frame[keys].itertuples(index=False), frame[rest].to_numpy(), strict=True
        )
    }


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("decoding", ["sampled", "greedy"])
@pytest.mark.parametrize("reading", ["correct", "strict"])
def test_run_scores(suite: results.Results, split: str, decoding: str, reading: str) -> None:
    rows = on_common(rows_of(suite, split, decoding))
    grouped = rows.groupby([*RUN, "step"], observed=True)
    expected = grouped.agg(
        score=(reading, "mean"),
        k=("question_id", lambda q: q.value_counts().max()),
        questions=("question_id", "nunique"),
    )
    got = scores.run_scores(suite, split, decoding, reading)  # type: ignore[arg-type]
    assert plain(got, [*RUN, "step"]) == plain(expected.reset_index(), [*RUN, "step"])
    assert len(got) > 5


def evaluation(r: results.Results, split: str, decoding: str, at: str) -> pd.DataFrame:
    """Rows of the scored evaluation of each run."""
    rows = rows_of(r, split, decoding)
    if at == "last":
        return rows[rows["step"] == rows.groupby("run", observed=True)["step"].transform("max")]
    if at == "start":
        return on_common(rows).query("step == 0")
    judge = on_common(rows_of(r, "validation" if at == "selected" else split, decoding))
    means = judge.groupby(["run", "step"], observed=True)["correct"].mean().reset_index()
    best = means.sort_values(["correct", "step"], ascending=[False, True]).drop_duplicates("run")
    return on_common(rows).merge(best[["run", "step"]], on=["run", "step"])


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("at", ["last", "selected", "oracle", "start"])
def test_question_scores(suite: results.Results, split: str, at: str) -> None:
    for decoding in ("sampled", "greedy"):
        rows = evaluation(suite, split, decoding, at)
        expected = rows.groupby([*RUN, "question_id"], observed=True)["correct"].agg(
            ["sum", "size", "mean"]
        )
        got = scores.question_scores(suite, split, decoding, at=at)  # type: ignore[arg-type]
        assert [*got] == [*GROUP, "question_id", "correct", "samples", "score"]
        keys = [*RUN, "question_id"]
        assert plain(got, keys) == plain(expected.reset_index(), keys)


@pytest.mark.parametrize("at", ["last", "selected"])
def test_majority_is_over_the_same_rows(suite: results.Results, at: str) -> None:
    rows = evaluation(suite, "test", "sampled", at)
    full = {
        (*map(str, key),): own
        for key, own in rows.groupby([*RUN, "question_id"], observed=True)
        if len(own) == 3
    }
    got = scores.majority_scores(suite, "test", 1, at=at)  # type: ignore[arg-type]
    expected = {key: own["correct"].mean() for key, own in full.items()}
    assert {k: v for k, (v,) in plain(got, [*RUN, "question_id"]).items()} == pytest.approx(
        expected
    )


def test_the_cube_holds_what_all_seeds_have(suite: results.Results) -> None:
    rows = evaluation(suite, "test", "sampled", "last").query("task == 'fractions'")
    rows = rows[rows["method"] == "gift"]
    whole = rows.groupby("question_id").size()
    whole = whole[whole == 3 * rows["seed"].nunique()].index
    cube = scores.sample_cube(suite, "gift", "test", "fractions")
    assert cube.shape == (3, len(whole), 3)
    kept = rows[rows["question_id"].isin(whole)]
    assert cube.mean((1, 2)) == pytest.approx(kept.groupby("seed")["correct"].mean().to_numpy())


def test_drift_is_of_the_first_and_the_last_evaluation(suite: results.Results) -> None:
    rows = on_common(rows_of(suite, "test", "sampled"))
    by_step = rows.groupby([*RUN, "step"], observed=True)["tokens"].mean().reset_index()
    frame = tables.drift_table(suite, "test").frame.set_index(["task", "method"])
    ends = by_step.sort_values("step").groupby(RUN, observed=True)["tokens"]
    for (task, method), mean in (
        ends.last().groupby(["task", "method"], observed=True).mean().items()
    ):
        assert frame.loc[(task, method), "tokens_end"] == pytest.approx(mean)
    for (task, method), mean in (
        ends.first().groupby(["task", "method"], observed=True).mean().items()
    ):
        assert frame.loc[(task, method), "tokens_start"] == pytest.approx(mean)


def test_what_stands_in_the_files(suite: results.Results) -> None:
    rows = suite.evals
    assert suite.tally.splits == set(rows["split"].astype(str))
    assert suite.tally.decodings == {"greedy", "sampled"}
    assert suite.tally.most_samples == 3
    assert sum(int(c.samples_SQ.sum()) for c in suite.tally.counts) == len(rows)
    responses = suite.last_responses("test")
    last = rows[rows["split"] == "test"]
    last = last[last["step"] == last.groupby("run", observed=True)["step"].transform("max")]
    assert len(responses) == len(last) < len(rows)
    assert responses["response"].notna().all()


def test_what_is_remembered_cannot_be_spoilt(suite: results.Results) -> None:
    first = scores.run_scores(suite, "test")
    first["score"] = -1.0
    assert scores.run_scores(suite, "test", decoding="sampled")["score"].min() >= 0
    assert len(suite.query("seed == 0").remembered) == 0


def test_a_file_with_holes_is_left_out_and_named(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "holes", methods=["grpo"], seeds=2, questions=4, evaluations=2)
    file = next(folder.glob("*-s0-*/evals.parquet"))
    rows = pd.read_parquet(file)
    rows["correct"] = rows["correct"].astype("boolean").mask(rows.index == 3)
    rows.to_parquet(file)
    old = next(folder.glob("*-s1-*/evals.parquet"))
    pq.write_table(pq.read_table(old).drop_columns(["strict", "tokens"]), old)
    r = results.load(folder)
    assert set(scores.question_scores(r, "test")["seed"]) == {1}
    assert scores.question_scores(r, "test", reading="strict").empty
    assert "evals.parquet has rows without correct: left out" in [p.what for p in r.problems]
    assert set(r.evals["seed"]) == {1}
