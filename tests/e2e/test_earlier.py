"""A folder that an earlier version wrote loads, resumes and reports as if it were today's.

tests/fixtures/schema-1/earlier has schema_version 1. Two of its runs are half finished, with a torn
last line in steps.jsonl; one has not begun. The tables beside it were written by the code of then.
"""

import json
import shutil
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import results
from bench.cli import app
from bench.config import RunConfig, Suite
from bench.model import start
from bench.record.store import RunFolder
from bench.suite.launch import launch
from results.records import EVAL_DTYPES, EvalRow, LedgerRow, RolloutRow, RunRecord, StepRow

FIXTURE = Path(__file__).parents[1] / "fixtures" / "schema-1"
HALF_FINISHED = ("grpo-arithmetic-s1-a4b8a93f", "ppo-arithmetic-s1-fe02207d")
CHECKPOINT = 4  # updates


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A copy in which the runs began with the starting model as this machine builds it: another
    kind of CPU gives other last bits, which a run with a reference rightly refuses."""
    folder = Path(shutil.copytree(FIXTURE / "earlier", tmp_path / "earlier"))
    run = planned(folder)[0]
    base = start.base_digest(start.ensure(run.model, run.build_task()))
    for file in folder.glob("*/run.json"):
        record = json.loads(file.read_text())
        record["base"]["id"] = base
        file.write_text(json.dumps(record))
    return folder


def planned(folder: Path) -> tuple[RunConfig, ...]:
    return Suite.model_validate_json((folder / "suite.json").read_text()).runs


def steps(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def test_its_tables_are_what_they_were():
    loaded = results.load(FIXTURE / "earlier")
    assert sorted(loaded.runs["status"]) == ["finished"] * 5 + ["unfinished"] * 2
    for file in sorted((FIXTURE / "tables").glob("*.csv")):
        found = pd.read_csv(StringIO(loaded.table(file.stem).csv()))
        pd.testing.assert_frame_equal(found, pd.read_csv(file), rtol=1e-9)
    assert str(loaded.problems).count("the last line is torn") == 2


def test_its_runs_have_the_ids_of_today():
    records = [RunRecord.read(file) for file in (FIXTURE / "earlier").glob("*/run.json")]
    assert len(records) == 7
    assert {RunConfig.model_validate(r.config).name for r in records} == {r.id for r in records}


def test_its_rows_have_the_declared_columns_and_types():
    folder = FIXTURE / "earlier" / "sft-arithmetic-s0-dee9c8b6"
    for row in steps(folder):
        step, spent = StepRow.model_validate(row), LedgerRow(**row)  # pyright: ignore[reportArgumentType]
        assert row.items() >= step.model_dump().items()
        assert (spent.tokens, spent.flops, spent.seconds) == (
            row["tokens"], row["flops"], row["seconds"],
        )  # fmt: skip
    evals = pd.read_parquet(folder / "evals.parquet")
    then = [name for name, field in EvalRow.model_fields.items() if field.is_required()]
    assert list(evals) == then  # later columns have a default
    assert {name: str(evals[name].dtype) for name in EVAL_DTYPES} == EVAL_DTYPES
    rollout = pd.read_parquet(folder / "rollouts" / "step-000000.parquet")
    assert list(rollout) == [*RolloutRow.model_fields]
    for row_type, frame in ((EvalRow, evals), (RolloutRow, rollout)):
        for row in json.loads(str(frame.to_json(orient="records"))):
            row_type.model_validate(row, strict=True)


def test_its_half_finished_runs_go_on_to_their_end(earlier: Path):
    for run in planned(earlier):
        if run.name in HALF_FINISHED:
            file = earlier / run.name / "steps.jsonl"
            before = file.read_text().splitlines()[:CHECKPOINT]
            done = launch(run, earlier, "earlier")
            assert done is not None and done.status == "finished" and done.step == 8
            assert (earlier / run.name / "steps.jsonl").read_text().splitlines()[
                :CHECKPOINT
            ] == before
            assert [row["step"] for row in steps(earlier / run.name)] == [*range(1, 9)]
            assert RunFolder(earlier / run.name).done == done
    loaded = results.load(earlier)
    assert set(loaded.runs["status"]) == {"finished"}
    assert set(loaded.evals["step"]) == {0, 2, 4, 6, 8}


@pytest.mark.slow
def test_the_command_finishes_and_reports_it(earlier: Path):
    for words in (["resume", str(earlier), "--workers", "1"], ["report", str(earlier)]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert list(results.load(earlier).runs["status"]) == ["finished"] * 8
    assert (earlier / "report" / "report.html").is_file()
