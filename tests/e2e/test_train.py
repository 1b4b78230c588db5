"""The loop on disk: data regimes, budgets, resuming, failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import results
from bench.config import Suite, build_suite
from bench.core import rng
from bench.record.ledger import Ledger
from bench.record.store import RunFolder
from bench.suite.grid import run_suite
from bench.train import loop as train_module
from bench.train.loop import train
from bench.train.sources import count_seen
from results.records import EVAL_COLUMNS, LEDGER_COLUMNS, ROLLOUT_COLUMNS, STEP_COLUMNS, RunRecord
from tests import tiny


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    """One cache for the module: the base model is built once."""
    patch = pytest.MonkeyPatch()
    patch.setenv("EVENBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def steps(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "model.safetensors")


def test_a_run_writes_what_the_schema_says(tmp_path):
    run = tiny.run()
    done = train(run, tmp_path, "tiny")
    folder = tmp_path / run.name
    assert done is not None and done.status == "finished" and done.step == 4
    facts = json.loads((folder / "run.json").read_text())
    assert set(facts) == {*RunRecord.model_fields}
    assert (facts["forward"]["train"], facts["forward"]["sample"]) == ("packed", "packed")
    assert facts["fields"]["clip"] == 0.2 and facts["data"]["test"]
    rows = steps(folder)
    assert [r["step"] for r in rows] == [1, 2, 3, 4]
    for row in rows:
        assert set(STEP_COLUMNS) | set(LEDGER_COLUMNS) <= set(row)
    evals: Any = pd.read_parquet(folder / "evals.parquet")
    assert list(evals.columns) == list(EVAL_COLUMNS)
    assert sorted(evals["step"].unique()) == [0, 2, 4]
    last = evals[(evals["step"] == 4)]
    assert last.groupby("split", observed=True).size().to_dict() == {
        "test": 18,
        "ood-5": 9,
        "train": 9,
    }
    assert not last["response"].isna().any() and evals[evals["step"] < 4]["response"].isna().all()


def test_the_ledger_counts_what_was_done(tmp_path):
    run = tiny.run()
    train(run, tmp_path, "tiny")
    row = steps(tmp_path / run.name)[-1]
    assert (
        row["updates"] == 4
        and row["prompts"] == 12
        and row["samples"] == row["verifier_calls"] == 48
    )
    assert 48 <= row["tokens_sampled"] <= 48 * 12
    assert row["tokens"] == row["tokens_sampled"] + row["tokens_trained"]
    assert row["flops"] == pytest.approx(row["flops_sample"] + row["flops_train"])
    assert row["flops_evaluate"] > 0 and row["seconds"] > 0


@pytest.mark.parametrize(
    ("method", "source"),
    [
        ("sft", "demonstrations"),
        ("rift", "replay"),
        ("rift", "policy"),
        ("grpo", "replay"),
        ("grao", "policy"),
        ("gift", "policy"),
    ],
)
def test_every_regime_trains(tmp_path, method, source):
    run = tiny.run(method, method={method: {"source": source}})
    assert train(run, tmp_path, "tiny").status == "finished"  # pyright: ignore[reportOptionalMemberAccess]
    row = steps(tmp_path / run.name)[-1]
    assert row["samples"] == 48
    assert (row["tokens_sampled"] == 0) == (source == "demonstrations")
    shown = run.build_task().examples("train")
    first = [shown[i] for i in rng.prompt_order(run.seed, len(shown), 0, 12)]
    gold = sum(bool(e.solution) for e in first) if method == "grao" else 0
    references = 48 if source == "demonstrations" else gold
    assert (row["references"], row["references_distinct"]) == (references, references)
    assert row["prompts_distinct"] == (48 if source == "demonstrations" else 12)
    assert row["samples_policy"] == (48 if source == "policy" else 0)
    evals = pd.read_parquet(tmp_path / run.name / "evals.parquet")
    asked = set(evals.loc[evals["split"] == "train", "question_id"])
    pool = [e for e in shown if e.solution] if source == "demonstrations" else shown
    seen = rng.prompt_order(run.seed, len(pool), 0, 48 if source == "demonstrations" else 12)
    assert len(asked) == 3 and asked <= {pool[i].id for i in seen}


def test_what_is_shown_again_counts_once():
    """Three times through the pool: every row counts, every prompt and answer once."""
    run, ledger = tiny.run("sft"), Ledger()
    task = run.build_task()
    pool = [e for e in task.examples("train") if e.solution]
    for batch in (1, 2, 3):
        count_seen(
            run, task, "demonstrations", cursor=batch * len(pool), references=len(pool),
            ledger=ledger,
        )  # fmt: skip
    assert ledger.references == 3 * len(pool)
    assert ledger.references_distinct == ledger.prompts_distinct == len(pool)
    replay = Ledger()  # a set of 12 prompts, used a second time
    count_seen(tiny.run("rift"), task, "replay", cursor=24, references=0, ledger=replay)
    assert (replay.prompts_distinct, replay.references_distinct) == (12, 0)


def test_replay_is_shared_and_equals_the_first_policy_batch(tmp_path):
    from bench.model import start
    from bench.record.ledger import Flops
    from bench.sampling.hf import Sampler
    from bench.train.batch import Assembler
    from bench.train.replay import ReplaySource
    from bench.train.rewards import reward_function
    from bench.train.sources import Drawer, PolicySource

    run = tiny.run("rift")
    task = run.build_task()
    policy = start.load(start.ensure(run.model, task), run.model)
    drawer = Drawer(run, task, policy, Flops.of(policy.model), Sampler())
    replay = ReplaySource(drawer, "digest")
    before = replay.path.stat().st_mtime_ns
    assert ReplaySource(drawer, "digest").path.stat().st_mtime_ns == before
    other = replace(drawer, run=tiny.run("rift", seeds=[1]))
    assert ReplaySource(other, "digest").path != replay.path
    ledgers = Ledger(), Ledger()
    stored, _ = replay.draw(0, 0, ledgers[0], False)
    assembler = Assembler(run, task, policy, reward_function("correct"))
    fresh, _ = PolicySource(drawer, assembler).draw(0, 0, ledgers[1], False)
    assert [g.example.id for g in stored] == [g.example.id for g in fresh]
    assert [[r.ids for r in g.responses] for g in stored] == [
        [r.ids for r in g.responses] for g in fresh
    ]
    assert [g.example for g in stored] == [
        task.examples("train")[i] for i in rng.prompt_order(0, 1024, 0, 3)
    ]
    for field in ("samples", "tokens_sampled", "tokens_prompt", "verifier_calls"):
        assert getattr(ledgers[0], field) == getattr(ledgers[1], field) > 0
    assert ledgers[0].flops_sample == pytest.approx(ledgers[1].flops_sample)
    assert ledgers[0].seconds > 0
    again, _ = replay.draw(4, 0, ledgers[0], False)  # four rollouts are stored: around again
    assert [g.example.id for g in again] == [g.example.id for g in stored]


@pytest.mark.parametrize(
    ("axis", "amount"), [("samples", 24), ("tokens", 400), ("flops", 2e7), ("seconds", 0.2)]
)
def test_runs_stop_by_budget(tmp_path, axis, amount):
    run = tiny.run(budget={"axis": axis, "amount": amount})
    train(run, tmp_path, "tiny")
    rows = steps(tmp_path / run.name)
    assert rows[-1][axis] >= amount
    assert all(row[axis] < amount for row in rows[:-1])


def test_several_updates_a_rollout(tmp_path):
    run = tiny.run(
        rollout={"prompts": 3, "group": 4, "max_tokens": 12, "minibatches": 3, "epochs": 2},
        budget={"amount": 12},
    )
    train(run, tmp_path, "tiny")
    rows = steps(tmp_path / run.name)
    assert [r["rollout"] for r in rows] == [0] * 6 + [1] * 6
    assert rows[-1]["samples"] == 24 and rows[-1]["tokens_scored"] > 0
    assert {r["rows"] for r in rows} == {4}
    trained = [r for r in rows[:3] if not r["empty"]]
    assert all(r["ratio"] == pytest.approx(1, abs=0.02) for r in trained)


def test_micro_batches_change_nothing_but_rounding(tmp_path):
    whole, parts = tiny.run(), tiny.run(micro_tokens=80)
    train(whole, tmp_path / "a", "tiny")
    train(parts, tmp_path / "b", "tiny")
    one, two = weights(tmp_path / "a" / whole.name), weights(tmp_path / "b" / parts.name)
    start = weights(tmp_path / "a" / whole.name)
    assert start.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)


def test_phases_change_the_objective_at_their_share(tmp_path):
    suite = build_suite(
        tiny.recipe(
            methods=["both"],
            method={
                "both": {
                    "phases": [{"method": "sft", "share": 0.5}, {"method": "grpo", "share": 0.5}]
                }
            },
        )
    )
    train(suite.runs[0], tmp_path, "tiny")
    rows = steps(tmp_path / suite.runs[0].name)
    assert ["nll" in r for r in rows] == [True, True, False, False]


@pytest.mark.parametrize("method", ["grpo", "rift"])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, method, monkeypatch):
    run = tiny.run(
        method,
        budget={"amount": 6},
        eval={"points": 3, "curve": {"test": 4}, "samples": 2, "train_questions": 2},
        rollout={"prompts": 4, "group": 4, "max_tokens": 12, "minibatches": 2},
    )
    train(run, tmp_path / "whole", "tiny")
    calls = 0
    original = train_module.Loop.step

    def stumble(self):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(train_module.Loop, "step", stumble)
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "cut", "tiny")
    folder = tmp_path / "cut" / run.name
    with (folder / "steps.jsonl").open("a") as file:  # work after the checkpoint, and a torn line
        file.write(json.dumps({"step": 5, "loss": 0.0}) + '\n{"step": 6, "lo')
    train(run, tmp_path / "cut", "tiny")
    ours, theirs = (weights(tmp_path / part / run.name) for part in ("cut", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    timed = lambda row: {k: v for k, v in row.items() if "seconds" not in k and "memory" not in k}  # noqa: E731
    assert [timed(r) for r in steps(folder)] == [
        timed(r) for r in steps(tmp_path / "whole" / run.name)
    ]
    evals = [
        pd.read_parquet(tmp_path / part / run.name / "evals.parquet") for part in ("cut", "whole")
    ]
    pd.testing.assert_frame_equal(evals[0], evals[1])


SCRIPT = """
import sys
from pathlib import Path
from bench.train import train
from tests import tiny
plan = {"points": 20, "curve": {"test": 4}, "samples": 2, "train_questions": 2}
train(tiny.run(budget={"amount": 60}, eval=plan), Path(sys.argv[1]), "tiny")
"""


def test_kill_9_at_any_moment_loses_nothing(tmp_path):
    run = tiny.run(
        budget={"amount": 60},
        eval={"points": 20, "curve": {"test": 4}, "samples": 2, "train_questions": 2},
    )
    train(run, tmp_path / "whole", "tiny")
    folder = tmp_path / "cut" / run.name
    deadline = time.monotonic() + 120
    for kills in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "cut")],
            env={**os.environ, "PYTHONPATH": "."},
        )
        before = len(steps(folder)) if (folder / "steps.jsonl").is_file() else 0
        while time.monotonic() < deadline and process.poll() is None:
            text = (
                (folder / "steps.jsonl").read_text() if (folder / "steps.jsonl").is_file() else ""
            )
            if text.count("\n") > before + 5 * kills + 3:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    train(run, tmp_path / "cut", "tiny")
    ours, theirs = (weights(tmp_path / part / run.name) for part in ("cut", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [r["step"] for r in steps(folder)] == list(range(1, 61))


def test_a_crash_between_the_renames_of_a_checkpoint_is_survived(tmp_path):
    run = tiny.run()
    folder = RunFolder(tmp_path / run.name)
    train(run.model_copy(update={"checkpoint": "last"}), tmp_path, "tiny")
    (folder.path / "checkpoint").rename(folder.path / "checkpoint.old")
    assert folder.checkpoint == folder.path / "checkpoint.old"


def test_a_diverged_run_keeps_its_last_good_state(tmp_path, monkeypatch):
    from methods.grpo import GRPO

    calls = 0
    original = GRPO.loss

    def explode(self, leaves, rollout, signal):
        nonlocal calls
        calls += 1
        loss = original(self, leaves, rollout, signal)
        return loss if calls < 4 else type(loss)(loss.value * float("nan"), loss.metrics)

    monkeypatch.setattr(GRPO, "loss", explode)
    run = tiny.run(budget={"amount": 40}, eval={"points": 20, "curve": {"test": 4}, "samples": 2})
    done = train(run, tmp_path, "tiny")
    assert done is not None and done.status == "diverged" and "non-finite loss" in str(done.reason)
    assert all(w.isfinite().all() for w in weights(tmp_path / run.name).values())
    loaded = results.load(tmp_path)
    assert len(loaded.evals) and set(loaded.runs["status"]) == {"diverged"}


def suite_of(**changes) -> Suite:
    return build_suite(tiny.recipe(**changes))


def test_a_suite_skips_what_is_done_and_goes_on_after_a_failure(tmp_path):
    suite = suite_of(methods=["sft", "grpo"], seeds=2)
    blocked = tmp_path / suite.runs[1].name
    blocked.mkdir()
    (blocked / "evals.parquet").write_text("not a parquet file")
    states = run_suite(suite, tmp_path, 2)
    assert [s.status for s in states] == ["finished", "failed", "finished", "finished"]
    assert states[1].error and (blocked / "error.txt").is_file()
    (blocked / "evals.parquet").unlink()
    stamps = {
        s.run.name: (tmp_path / s.run.name / "DONE").stat().st_mtime_ns
        for s in states
        if s.status == "finished"
    }
    states = run_suite(suite, tmp_path, 2)
    assert [s.status for s in states] == ["finished"] * 4
    for name, stamp in stamps.items():
        assert (tmp_path / name / "DONE").stat().st_mtime_ns == stamp
    loaded = results.load(tmp_path)
    assert set(loaded.runs["method"]) == {"sft", "grpo"} and not loaded.problems


def test_a_killed_worker_is_replaced_and_its_run_resumed(tmp_path):
    suite = suite_of(budget={"amount": 40}, eval={"points": 10, "curve": {"test": 4}, "samples": 2})
    killed = []

    def watch(states):
        import psutil

        if not killed and states[0].position(tmp_path).get("updates", 0) > 5:
            for child in psutil.Process().children(recursive=True):
                if "spawn_main" in " ".join(child.cmdline()):
                    child.kill()
                    killed.append(child.pid)

    states = run_suite(suite, tmp_path, 1, watch=watch)
    assert killed and states[0].status == "finished" and states[0].attempts == 2


def test_two_processes_never_work_on_one_run(tmp_path):
    run = tiny.run()
    with RunFolder(tmp_path / run.name).claimed() as mine:
        assert mine
        assert train(run, tmp_path, "tiny") is None


def test_rollouts_are_kept_on_request_and_change_nothing(tmp_path):
    """Also the reference answers of a method that does not use them, and what anatomy reads."""
    task = {"name": "arithmetic", "gold_answers": 4096}
    plain, kept = tiny.run(task=task), tiny.run(task=task, keep_rollouts=True)
    assert plain.name == kept.name
    for run, where in ((plain, "plain"), (kept, "kept")):
        train(run, tmp_path / where, "tiny")
    steps: Any = [
        pd.read_json(tmp_path / where / plain.name / "steps.jsonl", lines=True)
        for where in ("plain", "kept")
    ]
    own = [c for c in steps[0] if "seconds" not in c and "memory" not in c]
    pd.testing.assert_frame_equal(steps[0][own], steps[1][own])
    files = sorted((tmp_path / "kept" / kept.name / "rollouts").glob("*.parquet"))
    assert len(files) == 4
    for i, file in enumerate(files):
        frame: Any = pd.read_parquet(file)
        assert list(frame) == list(ROLLOUT_COLUMNS)
        samples, gold = frame[frame["kind"] == 0], frame[frame["kind"] == 1]
        assert len(samples) == 12 and len(gold) == 3
        assert not frame["response"].isna().any() and gold["correct"].all()
        assert set(gold["group"]) == set(samples["group"]) == {0, 1, 2}
        for row in frame.to_dict("records"):
            lengths = {len(row[c]) for c in ("tokens", "policy_logp", "ref_logp")}
            assert lengths == {len(row["tokens"])} and max(row["policy_logp"]) <= 0
        entropy = -np.concatenate(samples["logp"].to_list()).mean()
        assert steps[1]["sampler_entropy"][i] == pytest.approx(entropy, rel=1e-5)
        for row in samples.to_dict("records"):  # the policy that sampled them
            assert row["policy_logp"] == pytest.approx(row["logp"], abs=1e-4)
        moved = max(
            abs(a - b).max() for a, b in zip(frame.policy_logp, frame.ref_logp, strict=True)
        )
        assert (moved < 1e-6) if i == 0 else (moved > 1e-4)


def test_rollouts_of_demonstrations_and_of_a_critic(tmp_path):
    for label in ("sft", "ppo"):
        run = tiny.run(label, keep_rollouts=True)
        train(run, tmp_path, "tiny")
        frame: Any = pd.read_parquet(
            sorted((tmp_path / run.name / "rollouts").glob("*.parquet"))[0]
        )
        if label == "sft":
            assert set(frame["kind"]) == {1} and len(frame) == 12
        else:
            samples = frame[frame["kind"] == 0]
            assert all(len(v) == len(t) for v, t in zip(samples.value, samples.tokens, strict=True))


def test_what_was_done_after_the_checkpoint_is_dropped_on_resume(tmp_path, monkeypatch):
    """A kill between the last evaluation's rows and its checkpoint leaves rows of a later step."""
    run = tiny.run("sft", keep_rollouts=True)
    train(run, tmp_path / "whole", "tiny")
    with monkeypatch.context() as patch:
        patch.setattr("bench.record.store.RunFolder.save_checkpoint", stop_after_the_first())
        with pytest.raises(KeyboardInterrupt):
            train(run, tmp_path / "cut", "tiny")
    folder = tmp_path / "cut" / run.name
    evals: Any = pd.read_parquet(folder / "evals.parquet")
    assert evals["step"].max() > 0 and len(list(folder.glob("rollouts/*"))) == 2
    theirs = folder / "rollouts" / "step-notes.parquet"
    theirs.write_text("a file of the user's")
    train(run, tmp_path / "cut", "tiny", by=Paused)
    evals = pd.read_parquet(folder / "evals.parquet")
    assert evals["step"].max() == 0
    assert list(folder.glob("rollouts/*")) == [theirs] and tiny.steps(folder) == []


def stop_after_the_first():
    """`save_checkpoint`, once; then a kill in its place."""
    from bench.record.store import RunFolder

    original, calls = RunFolder.save_checkpoint, []

    def save(self, *what):
        calls.append(what)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return original(self, *what)

    return save


class Paused(train_module.Loop):
    """Resumes, and does nothing."""

    def fit(self) -> Any:
        assert self.session.resume()
