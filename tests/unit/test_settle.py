"""Seeds are added where a comparison is open: which runs are made, and what is kept of a look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import results
from bench.cli import app
from bench.config import ConfigError, Suite, build_suite
from bench.record.store import RunFolder
from bench.suite import progress
from bench.suite.grid import RunState
from bench.suite.settle import design, settle
from reports.report import write_report
from results import sequential
from results.records import DoneRecord, RunRecord, SequentialRecord
from tests import tiny

MEANS = {"grpo": 0.5, "sft": 0.8, "rft": 0.5, "dft": 0.2}
QUESTIONS = 200


class Grid:
    """In place of the grid: writes evaluations that a seed determines, and counts its work."""

    def __init__(self, folder: Path, spread: float = 0.03, **collapsed: int):
        self.folder, self.spread, self.collapsed = folder, spread, collapsed
        self.made: list[str] = []
        self.looks = 0

    def __call__(self, suite: Suite, *_: Any, **__: Any) -> list[RunState]:
        self.looks += 1
        for run in suite.runs:
            if not RunFolder(self.folder / run.name).done:
                self.write(run)
        self.folder.joinpath("suite.json").write_text(suite.model_dump_json())
        return [RunState(run, "finished") for run in suite.runs]

    def write(self, run: Any) -> None:
        self.made.append(run.name)
        folder = RunFolder(self.folder / run.name)
        folder.path.mkdir(parents=True)
        rng = np.random.default_rng([run.seed, *run.method.encode()])
        share = MEANS[run.method] + rng.normal(0, self.spread)
        if self.collapsed.get(run.method) == run.seed:
            share = 0.02
        ends = {0: 0.3, 4: share}
        rows = [
            {"step": step, "split": "test", "question_id": f"q{q}", "decoding": "sampled",
             "sample": 0, "correct": q < round(level * QUESTIONS)}
            for step, level in ends.items() for q in range(QUESTIONS)
        ]  # fmt: skip
        folder.write(RunRecord(id=run.name, method=run.method, task="arithmetic", seed=run.seed))
        folder.append_steps([{"step": 4, "updates": 4}])
        folder.replace_evals(pd.DataFrame(rows))
        folder.write(DoneRecord(status="finished", step=4, seconds=1.0, ended=""))


def suite(*methods: str, control: str = "grpo") -> Suite:
    names = ["grpo", *(methods or ("sft", "rft"))]
    return build_suite(tiny.recipe(methods=names, control=control, seeds=1))


def seeds(made: list[str], method: str) -> list[int]:
    return sorted(int(n.split("-s")[1].split("-")[0]) for n in made if n.startswith(f"{method}-"))


def test_only_open_comparisons_and_the_control_get_more_seeds(tmp_path):
    grid, asked = Grid(tmp_path), suite("sft", "dft", "rft")
    found, states = settle(asked, tmp_path, design(asked, 9), grid)
    by_method = {row.method: row for row in found.rows}
    assert (by_method["sft"].verdict, by_method["dft"].verdict) == ("better", "worse")
    assert by_method["rft"].verdict == "undetermined" and by_method["rft"].seeds == 9
    for method in ("sft", "dft"):
        stopped = by_method[method].seeds
        assert 3 <= stopped < 8 and seeds(grid.made, method) == [*range(stopped)]
        low, high = by_method[method].low, by_method[method].high
        assert low is not None and high is not None and low * high > 0
    for method in ("grpo", "rft"):
        assert seeds(grid.made, method) == [*range(9)]
    assert found.runs == len(grid.made) == len(states) < 36
    assert sequential.record(tmp_path) == found
    text = sequential.table(found).text()
    assert f"Runs: {found.runs} of the 36" in text and f"saved: {36 - found.runs}" in text
    assert "exponential 0.12" in text and "Only the first is bounded" in text


def test_a_killed_suite_goes_on_where_it_was(tmp_path):
    asked = suite()
    whole, _ = settle(asked, tmp_path / "whole", design(asked, 8), Grid(tmp_path / "whole"))
    grid = Grid(tmp_path / "cut")

    def killed(one: Suite) -> list[RunState]:
        if grid.looks == 2:
            grid.write(next(r for r in one.runs if r.name not in grid.made))
            raise KeyboardInterrupt
        return grid(one)

    with pytest.raises(KeyboardInterrupt):
        settle(asked, tmp_path / "cut", design(asked, 8), killed)
    half = sequential.record(tmp_path / "cut")
    assert half and half.rows and half.runs < whole.runs
    again, _ = settle(asked, tmp_path / "cut", half, grid)
    assert again == whole
    assert len(grid.made) == len(set(grid.made)) == whole.runs


def test_more_seeds_on_disk_change_no_look(tmp_path):
    asked = suite("sft")
    first, _ = settle(asked, tmp_path, design(asked, 8), Grid(tmp_path))
    everything = build_suite(tiny.recipe(methods=["grpo", "sft"], control="grpo", seeds=8))
    Grid(tmp_path)(everything)
    again, _ = settle(asked, tmp_path, design(asked, 8), Grid(tmp_path))
    assert again == first and first.rows[0].seeds < 8


def test_a_comparison_with_a_collapsed_run_never_stops_early(tmp_path):
    grid, asked = Grid(tmp_path, sft=2), suite("sft", "dft")
    found, _ = settle(asked, tmp_path, design(asked, 9), grid)
    sft, dft = found.rows
    assert (sft.failed, sft.seeds, sft.verdict) == (1, 9, "undetermined")
    assert (dft.failed, dft.verdict) == (0, "worse") and dft.seeds < 9
    assert "never settled early" in sequential.table(found).text(200)
    bad = Grid(tmp_path / "control", grpo=0)
    found, _ = settle(asked, tmp_path / "control", design(asked, 4), bad)
    assert [row.seeds for row in found.rows] == [4, 4]


def test_a_run_that_failed_ends_the_looks(tmp_path):
    asked = suite()

    def failing(one: Suite) -> list[RunState]:
        return [RunState(run, "failed", "no") for run in one.runs]

    found, states = settle(asked, tmp_path, design(asked, 5), failing)
    assert found.rows == [] and {s.status for s in states} == {"failed"}


def test_tables_and_comparisons_take_the_sequential_verdict(tmp_path):
    """A t test that looks after each seed errs far more often than it says."""
    asked, folder = suite("sft", "rft"), tmp_path / "tiny"
    found, _ = settle(asked, folder, design(asked, 4), Grid(folder))
    open_row = found.rows[0].model_copy(update={"verdict": "undetermined"})
    changed = found.model_copy(update={"rows": [open_row, found.rows[1]]})
    r = results.load(folder)
    assert r.compare("sft", "grpo").verdict == "better"
    (folder / "sequential.json").write_text(changed.text())
    r = results.load(folder)
    assert r.compare("sft", "grpo").verdict == "undetermined"
    assert r.compare("sft", "grpo", metric="pass@1").verdict == "better"  # not what was looked at
    table = r.table()
    assert table.frame.set_index("method").loc["sft", "verdict"] == "undetermined"
    assert "Seeds were added until verdicts were settled" in " ".join(table.notes)
    assert r.table("sequential").frame["method"].tolist() == ["sft", "rft"]
    page = write_report(r.query("method != 'rft'"), tmp_path / "report").paths[0].read_text()
    assert "Seeds until it is settled" in page
    (folder / "sequential.json").unlink()
    assert "fixed before the runs" in results.load(folder).table("sequential").notes[0]


def test_what_has_no_control_or_too_few_seeds_is_refused():
    alone = build_suite(tiny.recipe(methods=["grpo", "sft"]))
    for one, seeds, what in ((alone, 5, "set control"), (suite(), 2, "at least 3")):
        with pytest.raises(ConfigError, match=what):
            design(one, seeds)


def said(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "160"})
    return found.exit_code, " ".join(found.output.split())


def test_the_command_and_its_resume(tmp_path, monkeypatch):
    folder = tmp_path / "smoke"
    grid, looks = Grid(folder), 0

    def watch(console: Any, one: Suite, **_: Any) -> list[RunState]:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise KeyboardInterrupt
        return grid(one)

    monkeypatch.setattr(progress, "watch_suite", watch)
    words = ("run", "smoke", "--methods", "grpo,sft,rft", "-o", "control=grpo", "--out", tmp_path,
             "--workers", 1)  # fmt: skip
    code, output = said(*words, "--until-verdict", "--max-seeds", 6)
    assert code == 130 and "evenbench resume" in output
    assert len(grid.made) == 9
    code, output = said("resume", folder, "--workers", 1)
    assert code == 0 and "Seeds until it is settled" in output and "saved:" in output
    plan = SequentialRecord.read(folder / "sequential.json")
    assert plan.max_seeds == 6 and plan.runs == len(grid.made) < 18
    code, output = said(*words, "--max-seeds", 6)
    assert code == 2 and "only with --until-verdict" in output
    code, output = said(*words, "--until-verdict", "--seeds", 4)
    assert code == 2 and "--seeds is a fixed design" in output
