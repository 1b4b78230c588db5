"""What is written is read again; other versions of the format are migrated, or named."""

import json
from pathlib import Path
from typing import Any

import pytest

from results import SchemaError, load, records
from results.records import DoneRecord, LedgerRow, RunRecord, StateRecord
from tests.synthetic import write_suite

RUN = {"id": "a", "method": "grpo", "task": "arithmetic", "seed": 3, "budget": {"updates": 8}}


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_what_is_written_is_read_again(tmp_path: Path):
    spent = LedgerRow(tokens_sampled=3, tokens_trained=4, flops_train=1e300, seconds_train=0.1)
    for record in (
        RunRecord.model_validate(RUN),
        DoneRecord(status="finished", step=8, seconds=1.5, ended="2026-01-01", spent=spent),
        StateRecord(ledger=spent, rollout=8, cursor=24, points=5),
    ):
        file = tmp_path / record.file
        file.write_text(record.text())
        assert type(record).read(file) == record
    assert json.loads(file.read_text())["ledger"]["tokens"] == 7


def first_names(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "method": content["objektive"], "order": [*content.get("order", []), 1]}


def second_names(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "seed": content["seed"] + 100}


def test_older_versions_are_migrated_step_by_step(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(records, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(RunRecord, "migrations", {1: first_names, 2: second_names})
    old = {k: v for k, v in RUN.items() if k != "method"} | {"objektive": "dpo"}
    for version, content in ((1, old), (None, old), (2, RUN), (3, RUN)):
        told = {} if version is None else {"schema_version": version}
        record = RunRecord.read(written(tmp_path / "run.json", {**content, **told}))
        assert record.schema_version == 3
        assert record.method == ("grpo" if version in (2, 3) else "dpo")
        assert record.seed == (3 if version == 3 else 103)
    # a record that the new versions did not change
    done = {"status": "finished", "step": 1, "seconds": 1.0, "ended": "", "schema_version": 1}
    assert DoneRecord.read(written(tmp_path / "DONE", done)).schema_version == 3


def test_a_folder_of_an_older_version_loads(tmp_path: Path, monkeypatch):
    suite = write_suite(tmp_path / "s", ["grpo"], seeds=2, questions=4, evaluations=2, steps=2)
    before = load(suite).table().csv()
    monkeypatch.setattr(records, "SCHEMA_VERSION", 2)
    assert load(suite).table().csv() == before


def test_a_newer_version_is_named_with_what_to_do(tmp_path: Path):
    for record in (RunRecord, DoneRecord, StateRecord):
        file = written(tmp_path / record.file, {"schema_version": 9})
        with pytest.raises(SchemaError, match=rf"{record.file} .* 9; .* reads 1: update evenbench"):
            record.read(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "an object is expected, found list"),
        ({**RUN, "schema_version": "one"}, "schema_version: Input should be a valid integer"),
        ({**RUN, "seed": None}, "seed: Input should be a valid integer"),
        ({"id": "a"}, "method: Field required; task: Field required; seed: Field required"),
    ],
)
def test_a_broken_record_says_what_is_wrong(tmp_path: Path, content: object, words: str):
    with pytest.raises(ValueError, match=words):
        RunRecord.read(written(tmp_path / "run.json", content))
