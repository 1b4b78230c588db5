"""A suite with several temperatures, from its runs to everything that reads them."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

from typing import Any

import pandas as pd
import pytest

import results
from bench.config import build_suite
from bench.record.store import RunFolder
from bench.tools.export import export
from bench.tools.regrade import regrade
from bench.train.loop import train
from methods.sft import SFT
from results import curves, scores, tables
from tests import tiny

EVAL = {**tiny.recipe()["eval"], "points": 3, "temperature": [1.0, 0.6]}


pytestmark = pytest.mark.usefixtures("module_cache")


def suite(*methods: str, seeds: int):
    budget = {"axis": "updates", "amount": 3}
    return build_suite(tiny.recipe(methods=[*methods], seeds=seeds, budget=budget, eval=EVAL))


def drawn(folder, step):
    """Answers by decoding at a step."""
    rows: Any = pd.read_parquet(folder / "evals.parquet")
    return rows[rows["step"] == step].groupby("decoding", observed=True).size().to_dict()


def test_every_reader_takes_a_third_decoding(tmp_path):
    runs = suite("grpo", "rft", seeds=2).runs
    for run in runs:
        train(run, tmp_path / "runs", "tiny")
    folder = tmp_path / "runs" / runs[0].name
    assert drawn(folder, 0) == {"greedy": 4, "sampled": 8, "T=0.6": 8}
    assert drawn(folder, 1) == drawn(folder, 2) == {"greedy": 4, "sampled": 8}
    assert drawn(folder, 3) == {"greedy": 12, "sampled": 24, "T=0.6": 12}
    loaded = results.load(tmp_path / "runs")
    assert not loaded.problems
    for decoding in ("greedy", "sampled", "T=0.6"):
        assert len(scores.question_scores(loaded, "test", decoding)) == 4 * 6
        steps = curves.points(loaded, decoding=decoding)["step"].drop_duplicates().tolist()
        assert steps == ([0, 3] if decoding == "T=0.6" else [0, 1, 2, 3])
    for make in tables.TABLES.values():
        make(loaded)
    assert tables.main_table(loaded).frame["method"].nunique() == 2
    found = regrade(tmp_path / "runs").changes
    kinds = found.groupby("decoding")["rows"].sum().to_dict()
    assert kinds == {"greedy": 48, "sampled": 96, "T=0.6": 48}
    assert not found[["gained", "lost"]].to_numpy().any()
    card = (export(folder) / "README.md").read_text()
    for shown in ("greedy", "avg@2, temperature 1, top-p 1", "avg@2, temperature 0.6, top-p 1"):
        assert f"| test | {shown} | 6 |" in card


def test_a_diverged_runs_last_evaluation_has_all_decodings(tmp_path, monkeypatch):
    calls, loss_of = 0, SFT.loss

    def explode(self, leaves, rollout, signal):
        nonlocal calls
        calls += 1
        loss = loss_of(self, leaves, rollout, signal)
        return loss if calls < 3 else type(loss)(loss.value * float("nan"), loss.metrics)

    monkeypatch.setattr(SFT, "loss", explode)
    run = suite("sft", seeds=1).runs[0]
    done = train(run, tmp_path, "tiny")
    assert done is not None and done.status == "diverged"
    folder = tmp_path / run.name
    assert drawn(folder, 1) == {"greedy": 4, "sampled": 8}
    assert drawn(folder, 2) == {"greedy": 4, "sampled": 8, "T=0.6": 8}
    rows: Any = pd.read_parquet(folder / "evals.parquet")
    cold = rows[rows["decoding"] == "T=0.6"]
    assert set(cold["step"]) == {0, 2}
    RunFolder(folder).add_decodings(cold[cold["step"] == 2])  # again: killed before it was marked
    assert drawn(folder, 2) == {"greedy": 4, "sampled": 8, "T=0.6": 8}
