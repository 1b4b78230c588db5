"""Stored responses under other verdicts, without sampling again."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from bench.cli import app
from bench.config import ConfigError
from bench.tools.regrade import METADATA, regrade, tables
from bench.train.loop import train
from results.records import EVAL_COLUMNS
from tasks.arithmetic import Arithmetic
from tests import tiny


@pytest.fixture(scope="module")
def suite(tmp_path_factory, module_cache):
    """Two runs of a model that knows nothing, one with its rollouts kept."""
    out = tmp_path_factory.mktemp("runs")
    for run in (tiny.run(keep_rollouts=True), tiny.run("sft")):
        train(run, out, "tiny")
    return out


def digests(folder) -> dict[str, bytes]:
    return {str(f): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_the_same_grader_changes_nothing(suite):
    before = digests(suite)
    found = regrade(suite)
    assert found.problems == [] and len(found.flipped) == 0
    stored: Any = [pd.read_parquet(f) for f in sorted(suite.glob("*/evals.parquet"))]
    responses = sum(int(frame["response"].notna().sum()) for frame in stored)
    kept: Any = pd.concat(map(pd.read_parquet, suite.glob("*/rollouts/*.parquet")))
    samples = int((kept["kind"] == 0).sum())  # the reference answers beside them are no samples
    assert samples < len(kept)
    assert samples == 48 and len(found.responses) == responses + samples
    after = digests(suite)
    assert {k: v for k, v in after.items() if k in before} == before  # nothing is written over
    assert sorted(p.name for p in found.written) == [
        "evals-regraded.parquet", "evals-regraded.parquet", "rollouts-regraded.parquet",
    ]  # fmt: skip
    for path in found.written:
        path.unlink()


def test_another_version_shows_what_it_changes(suite, monkeypatch):
    """A grader for which every answer that begins with a digit is right, all others wrong."""

    def grade(self, example, responses):
        assert example.gold and example.prompt  # also for rows that did not carry them
        old = original(self, example, responses)
        return [
            type(g)(r[:1].isdigit(), g.strict, "ok", "digit", r[:1], True)
            for g, r in zip(old, responses, strict=True)
        ]

    original = Arithmetic.grade
    monkeypatch.setattr(Arithmetic, "grade", grade)
    monkeypatch.setattr(Arithmetic, "grader_version", "digits")
    found = regrade(suite)
    rows: Any = found.responses
    assert rows["correct"].tolist() == [r[:1].isdigit() for r in rows["response"]]
    assert 0 < rows["correct"].sum() < len(rows) and rows["correct_old"].sum() < len(rows)
    changes: Any = found.changes
    assert set(changes["split"]) == {"test", "ood-5", "train", "rollouts"}
    assert (changes["gained"] - changes["lost"]).sum() == (
        rows["correct"].sum() - rows["correct_old"].sum()
    )
    for row in changes.to_dict("records"):
        flips = (row["gained"] - row["lost"]) / row["rows"]
        assert row["new"] - row["old"] == pytest.approx(flips)
    assert set(found.graders.values()) == {("1", "digits")}
    path = next(p for p in found.written if p.name.startswith("evals"))
    written: Any = pd.read_parquet(path)
    assert list(written.columns) == list(EVAL_COLUMNS)
    mine = rows[(rows["run"] == path.parent.name) & (rows["file"] == "evals")]
    assert written["correct"].tolist() == mine["correct"].tolist()
    facts = json.loads(pq.read_schema(path).metadata[METADATA])
    assert facts["version"] == "digits" and facts["options"]["pool"] == 1024

    console = Console(record=True, width=200)
    for table in tables(found, examples=3):
        console.print(table)
    text = console.export_text()
    assert "1 -> digits" in text and f"{100 * rows['correct'].mean():.1f} " in text
    assert "3 of" in text and "right: " in text
    for path in found.written:
        path.unlink()


def stored(tmp_path):
    """A run's folder that holds two responses."""
    folder = tmp_path / "suite" / "grpo-gsm8k-s0-00000000"
    folder.mkdir(parents=True)
    told = {"split": "test", "question_id": "q", "correct": True, "strict": False, "status": "ok",
            "format_ok": True, "finished": True, "tokens": 3, "step": 0}  # fmt: skip
    rows = [
        {**told, "decoding": "greedy", "sample": 0, "prompt": "?", "gold": "5",
         "response": "\\boxed{5 cm}", "extracted": "5 cm"},
        {**told, "decoding": "sampled", "sample": 0, "response": "\\boxed{5}", "extracted": "5"},
    ]  # fmt: skip
    pd.DataFrame(rows, columns=list(EVAL_COLUMNS)).to_parquet(folder / "evals.parquet")
    record = {"schema_version": 1, "id": folder.name, "method": "grpo", "task": "gsm8k", "seed": 0,
              "suite": "suite", "grader": {"version": "1"}}  # fmt: skip
    config = {"task": {"name": "gsm8k", "checker": {"rounding": "off"}}}
    (folder / "run.json").write_text(json.dumps({**record, "config": config}))
    return folder


def test_options_of_the_task_are_merged_and_checked(tmp_path, monkeypatch):
    """`\\boxed{5 cm}` against 5: right by default, wrong where units are strict."""
    monkeypatch.setenv("EVENBENCH_DATA", str(tmp_path))
    folder = stored(tmp_path)
    lenient = regrade(folder.parent, write=False)
    assert lenient.responses["correct"].tolist() == [True, True] and not lenient.written
    strict = regrade(folder.parent, {"checker": {"units": "strict"}})
    assert strict.responses["correct"].tolist() == [False, True]
    facts = json.loads(pq.read_schema(strict.written[0]).metadata[METADATA])
    chosen = facts["options"]["checker"]
    assert (chosen["units"], chosen["rounding"]) == ("strict", "off")
    with pytest.raises(ConfigError, match="units"):
        regrade(folder.parent, {"checker": {"units": "maybe"}})
    with pytest.raises(ConfigError, match="unknown key"):
        regrade(folder.parent, {"chequer": 1})


def test_the_command_takes_the_checkers_options_by_their_names(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENBENCH_DATA", str(tmp_path))
    folder = stored(tmp_path)
    code, output = said("regrade", str(folder.parent), "--option", "units=strict")
    assert code == 0 and "checker = {'units': 'strict'}" in output
    assert "5 cm" in output and "units" in output and "100.0 50.0 0 1" in output
    assert str(folder / "evals-regraded.parquet") in output.replace(" ", "")
    for option, answer in (
        ("units=maybe", "allowed are 'lenient'"),
        ("unit=strict", "unknown key"),
        ("units", "key=value"),
    ):  # fmt: skip
        code, output = said("regrade", str(folder.parent), "--option", option)
        assert code == 2 and answer in output
    code, output = said("regrade", str(tmp_path / "suite"), "--no-write")
    assert code == 0 and "parquet" not in output
    (folder / "evals.parquet").unlink()
    code, output = said("regrade", str(folder.parent))
    assert code == 1 and "no stored responses" in output


def test_a_task_without_the_checkers_options_says_so(suite):
    code, output = said("regrade", str(suite), "--option", "units=strict")
    assert code == 2 and "arithmetic has no options of the checker: units" in output


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_a_run_without_responses_is_named(suite, tmp_path):
    folder = next(suite.glob("sft-*"))
    copy = tmp_path / "tiny" / folder.name
    copy.mkdir(parents=True)
    (copy / "run.json").write_text((folder / "run.json").read_text())
    found = regrade(copy)
    assert any("no stored responses" in p for p in found.problems) and tables(found) == []
