"""results.load: what is on disk arrives, and what is broken is named instead of raised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import results
from results.records import EVAL_COLUMNS, LEDGER_COLUMNS
from tests.synthetic import write_suite

SMALL: dict[str, Any] = {
    "methods": ["grpo", "gift"],
    "questions": 8,
    "samples": 2,
    "evaluations": 3,
    "steps": 4,
}


def small(path: Path, **changes: Any) -> Path:
    return write_suite(path, **{**SMALL, **changes})


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return small(tmp_path / "quick", seeds=2)


def test_tables_hold_every_row_and_join_on_the_keys(suite: Path) -> None:
    r = results.load(suite)
    assert r.methods == ["grpo", "gift"]
    assert len(r.runs) == 4
    assert len(r.steps) == len(r.ledger) == 4 * 4
    # runs, evaluations, questions of the four splits, one greedy and two sampled responses
    assert len(r.evals) == 4 * 3 * (8 + 4 + 4 + 4) * (1 + 2)
    assert set(LEDGER_COLUMNS) <= set(r.ledger)
    assert not set(LEDGER_COLUMNS) & set(r.steps)
    assert {"policy_kl", "loss"} <= set(r.steps)
    assert set(EVAL_COLUMNS) <= set(r.responses)
    joined = r.evals.merge(r.runs[["run", "status"]], on="run")
    assert len(joined) == len(r.evals)
    assert set(joined.status_y) == {"finished"}
    for column in ("method", "run", "question_id", "split", "decoding"):
        assert r.evals[column].dtype == "category"


def test_a_path_may_be_a_run_a_suite_their_folder_or_many(suite: Path) -> None:
    run = next(suite.glob("gift-*"))
    assert len(results.load(run)) == 1
    assert len(results.load(str(suite.parent))) == 4
    assert len(results.load([run, suite])) == 4  # a run that is named twice counts once


def test_wrong_places_are_refused_with_their_path(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        results.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no run in .*empty"):
        results.load(tmp_path / "empty")


def test_unfinished_torn_and_broken_runs_are_problems(tmp_path: Path) -> None:
    ends: dict[str, Any] = {"diverged": {("gift", 0): 3}, "unfinished": {("gift", 1): 2}}
    bad = small(tmp_path / "bad", seeds=3, **ends)
    (next(bad.glob("grpo-*-s0-*")) / "run.json").write_text("{")
    next(bad.glob("grpo-*-s1-*/evals.parquet")).write_bytes(b"PAR1 torn")
    next(bad.glob("grpo-*-s2-*/DONE")).write_text("")
    r = results.load(bad)
    assert len(r.steps.query("method == 'gift' and seed == 1")) == 2
    assert r.evals.run.nunique() == 4
    text = "\n".join(str(p) for p in r.problems)
    for part in (
        "run.json is broken",
        "evals.parquet is broken",
        "DONE is broken",
        "the last line is torn",
        "diverged: loss is not finite at step 3",
        "unfinished: not counted",
    ):
        assert text.count(part) == 1, (part, text)
    status = r.runs.set_index(["method", "seed"]).status
    assert status["gift", 0] == "diverged"
    assert status["gift", 1] == status["grpo", 2] == "unfinished"


def test_a_line_broken_in_the_middle_is_named_by_number(suite: Path) -> None:
    steps = next(suite.glob("grpo-*-s0-*")) / "steps.jsonl"
    lines = steps.read_text().splitlines()
    steps.write_text("\n".join([lines[0], "{oops", *lines[2:]]))
    r = results.load(suite)
    assert len(r.steps) == 15
    assert "steps.jsonl: line 2 is broken, left out" in [p.what for p in r.problems]


def test_a_resumed_run_that_repeats_steps_keeps_the_later_lines(suite: Path) -> None:
    steps = next(suite.glob("grpo-*-s0-*")) / "steps.jsonl"
    again = json.loads(steps.read_text().splitlines()[2]) | {"loss": 123.0}
    steps.write_text(steps.read_text() + json.dumps(again) + "\n")
    r = results.load(suite)
    row = r.steps.query("method == 'grpo' and seed == 0 and step == 3")
    assert row.loss.tolist() == [123.0]


def test_another_schema_version_is_refused_with_advice(suite: Path) -> None:
    path = next(suite.glob("grpo-*-s0-*")) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    message = "schema_version 99; this version reads 1: update evenbench"
    with pytest.raises(results.SchemaError, match=message):
        results.load(suite)


def test_rename_query_and_merge(suite: Path, tmp_path: Path) -> None:
    r = results.load(suite)
    assert r.rename({"gift": "GIFT"}).methods == ["grpo", "GIFT"]
    with pytest.raises(KeyError, match="no method gfit"):
        r.rename({"gfit": "x"})
    assert set(r.query("method == 'gift' and seed == 1").evals.seed) == {1}
    more = small(tmp_path / "more", seeds=[5, 6], methods=["gift"])
    both = r.merge(results.load(more))
    assert len(both) == 6
    assert both.methods == ["grpo", "gift"]
    assert len(r.merge(r)) == 4


def test_one_label_for_two_treatments_is_told_apart(suite: Path, tmp_path: Path) -> None:
    again = small(tmp_path / "again", seeds=2, methods=["gift"])
    both = results.load(suite).merge(results.load(again))
    assert both.methods == ["grpo", "gift (again)", "gift (quick)"]
    assert "different runs in different suites" in "\n".join(map(str, both.problems))


def test_importing_results_is_cheap_and_statistics_need_no_torch() -> None:
    code = "import sys, results; print('pandas' in sys.modules, 'torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False"] * 2
