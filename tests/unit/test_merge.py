"""Suites that become one: in one folder, and from the folders of several machines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import results
from bench.cli import app
from bench.config import ConfigError, Suite, build_suite
from bench.suite import grid
from bench.suite.merge import merge, stored, union
from tests import tiny
from tests.synthetic import write_suite

SMALL: dict[str, Any] = {"methods": ["grpo", "gift"], "questions": 8, "samples": 2,
                         "evaluations": 2, "steps": 4}  # fmt: skip


def recipe(**changes: Any) -> Suite:
    return build_suite(tiny.recipe(methods=["grpo", "gift"], control="grpo", **changes))


def test_the_union_holds_the_runs_of_both_once() -> None:
    first, second = recipe(), recipe(method={"gift": {"beta": 2.0}})
    both = union(first, second)
    assert [r.name for r in both.runs[:2]] == [r.name for r in first.runs]
    assert len(both.runs) == 3  # grpo is the same run
    assert [r.method for r in both.runs] == ["grpo", "gift", "gift"]
    assert union(None, first) == first == union(first, first)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"margin": 0.05}, "margin = 0.05, but the suite in this folder declares 0.02"),
        ({"primary": {"decoding": "greedy"}}, "primary = {'decoding': 'greedy'}, but the suite"),
    ],
)
def test_what_was_declared_before_the_runs_stays(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        union(recipe(), recipe(**change))
    alone = build_suite(tiny.recipe(methods=["gift"], control="grpo"))
    assert alone.control is None
    assert union(alone, recipe()).control == union(recipe(), alone).control == "grpo"


def test_a_second_run_into_a_folder_adds_to_its_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is trained here: every run is done."""
    for suite in (recipe(), recipe(method={"gift": {"beta": 2.0}})):
        for run in suite.runs:
            folder = tmp_path / run.name
            folder.mkdir(exist_ok=True)
            done = {"status": "finished", "step": 1, "seconds": 1.0, "ended": "2026-01-01"}
            (folder / "DONE").write_text(json.dumps(done))
        states = grid.run_suite(suite, tmp_path, 1)
        assert {s.run.name for s in states} == {r.name for r in suite.runs}
    whole = stored(tmp_path)
    assert whole is not None and len(whole.runs) == 3
    resumed = grid.run_suite(whole, tmp_path, 1)  # as `resume` does
    assert len(resumed) == 3 and stored(tmp_path) == whole


def test_folders_of_two_machines_become_one(tmp_path: Path) -> None:
    a = write_suite(tmp_path / "a" / "s", seeds=[0, 1], **SMALL)
    b = write_suite(tmp_path / "b" / "s", seeds=[1, 2], **SMALL)
    found = merge([a, b], tmp_path / "c")
    assert (len(found.copied), len(found.there), found.conflicts) == (6, 2, [])
    loaded = results.load(tmp_path / "c")
    assert sorted(set(loaded.runs["seed"])) == [0, 1, 2] and not loaded.problems
    assert len(merge([a, b], tmp_path / "c").there) == 8  # again: nothing to do


def test_a_conflict_is_named_and_nothing_is_overwritten(tmp_path: Path) -> None:
    a = write_suite(tmp_path / "a" / "s", seeds=[0], **SMALL)
    b = tmp_path / "b"
    shutil.copytree(a, b)
    (changed,) = b.glob("gift-*")
    rows = pd.read_parquet(changed / "evals.parquet")
    rows.assign(correct=~rows["correct"]).to_parquet(changed / "evals.parquet")
    out = tmp_path / "c"
    told = CliRunner().invoke(app, ["merge", str(a), str(b), "--out", str(out)])
    assert told.exit_code == 1
    assert "2 runs copied, 1 were there already" in told.output
    assert f"conflict: {changed} differs from {out / changed.name}" in told.output
    ours, theirs = (x / changed.name / "evals.parquet" for x in (out, a))
    assert ours.read_bytes() == theirs.read_bytes()
    assert not [*out.glob(".*")]  # no half copies


def test_suites_of_two_machines_unite(tmp_path: Path) -> None:
    parts = [recipe(seeds=[0]), recipe(seeds=[1])]
    for name, suite in zip("ab", parts, strict=True):
        write_suite(tmp_path / name, seeds=[0], **SMALL)
        text = json.dumps(suite.model_dump(mode="json"))
        (tmp_path / name / "suite.json").write_text(text)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    whole = stored(tmp_path / "c")
    assert whole is not None and {r.seed for r in whole.runs} == {0, 1}


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ConfigError, match="no runs here"):
        merge([tmp_path / "a"], tmp_path / "c")
