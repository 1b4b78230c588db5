"""TRL's stock trainers as entrants: same start, data, budget, evaluation and files as our own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
trl = pytest.importorskip("trl", reason="the entrants are TRL's")
from trl.trainer.grpo_trainer import GRPOTrainer  # noqa: E402
from trl.trainer.rloo_trainer import RLOOTrainer  # noqa: E402

import results  # noqa: E402
from bench.config import ConfigError, build_suite, entrants  # noqa: E402
from bench.config.entrants import ENTRANTS  # noqa: E402
from bench.core import rng  # noqa: E402
from bench.model import start  # noqa: E402
from bench.sampling.hf import sample  # noqa: E402
from bench.suite.launch import launch  # noqa: E402
from results.records import EVAL_COLUMNS, LEDGER_COLUMNS, STEP_COLUMNS, RunRecord  # noqa: E402
from tests import tiny  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("module_cache")]


def half_right(example: Any, text: str, grade: Any) -> float:
    return float(len(text) % 2)


@pytest.mark.parametrize("name", sorted(ENTRANTS))
def test_an_entrant_runs_as_our_own_methods_do(name, tmp_path, lucky):
    ours = name.removeprefix("trl-")
    suite = build_suite(tiny.recipe(methods=[name, ours], seeds=1))
    for run in suite.runs:
        done = launch(run, tmp_path, "tiny")
        assert done is not None and done.status == "finished" and done.step == 4
    (tmp_path / "suite.json").write_text(suite.model_dump_json())
    folder, own = (tmp_path / run.name for run in suite.runs)
    facts = json.loads((folder / "run.json").read_text())
    assert set(facts) == {*RunRecord.model_fields}
    assert facts["forward"]["train"] == "transformers"  # TRL's own
    assert facts["objective"] == name and facts["packages"]["trl"] == trl.__version__
    rows, theirs = tiny.steps(folder), tiny.steps(own)
    for row in rows:
        assert set(STEP_COLUMNS) | set(LEDGER_COLUMNS) <= set(row)
    assert [r["step"] for r in rows] == [1, 2, 3, 4]
    for column in ("prompts", "samples", "tokens_prompt", "rollout", "lr", "updates"):
        assert [r[column] for r in rows] == [r[column] for r in theirs], column
    assert rows[-1]["tokens_trained"] > 0 and rows[-1]["flops_train"] > 0
    assert rows[-1]["seconds_train"] > 0 and any(r["grad_norm"] > 0 for r in rows)

    evals: Any = pd.read_parquet(folder / "evals.parquet")
    other: Any = pd.read_parquet(own / "evals.parquet")
    assert list(evals.columns) == list(EVAL_COLUMNS)
    keys = ["step", "split", "decoding", "sample", "question_id"]
    assert evals[keys].astype(str).equals(other[keys].astype(str))  # same questions and points
    at_start = [e[e["step"] == 0].reset_index(drop=True) for e in (evals, other)]
    pd.testing.assert_frame_equal(*at_start)  # same start, same decoding seeds

    first = start.load(
        start.ensure(suite.runs[0].model, suite.runs[0].build_task()), tiny.run().model
    )
    before = dict(first.model.named_parameters())
    moved = [n for n, w in tiny.weights(folder).items() if not torch.equal(w, before[n])]
    assert moved
    loaded = results.load(tmp_path)
    assert set(loaded.methods) == {name, ours} and not loaded.problems


def test_prompts_stand_in_the_shared_order_and_are_judged_by_the_task(tmp_path, lucky):
    run = tiny.run("trl-grpo", keep_rollouts=True)
    launch(run, tmp_path, "tiny")
    examples = run.build_task().examples("train")
    for k in range(4):
        frame: Any = pd.read_parquet(tmp_path / run.name / "rollouts" / f"step-{k:06d}.parquet")
        frame = frame[frame["kind"] == 0]  # without the reference answers
        expected = [examples[i].id for i in rng.prompt_order(0, len(examples), 3 * k, 3)]
        assert frame["question_id"].tolist() == [q for q in expected for _ in range(4)]
        assert frame["correct"].tolist() == [len(r) % 2 == 0 for r in frame["response"]]
        assert frame["reward"].tolist() == [float(c) for c in frame["correct"]]
        row = tiny.steps(tmp_path / run.name)[k]
        assert row["accuracy"] == pytest.approx(frame["correct"].mean())
        assert row["trl/reward"] == pytest.approx(frame["reward"].mean())
        assert row["trl/completions/mean_length"] == pytest.approx(row["response_tokens"])


def test_several_updates_on_a_rollout_batch(tmp_path, lucky):
    shape = {"prompts": 4, "group": 4, "max_tokens": 12, "minibatches": 2, "epochs": 2}
    run = tiny.run("trl-grpo", rollout=shape, budget={"axis": "samples", "amount": 32})
    launch(run, tmp_path, "tiny")
    rows = tiny.steps(tmp_path / run.name)
    assert [r["rollout"] for r in rows] == [0] * 4 + [1] * 4
    assert rows[-1]["samples"] == 32 and {r["rows"] for r in rows} == {8}
    assert rows[-1]["tokens_trained"] == 2 * rows[-1]["tokens_sampled"]
    assert rows[-1]["tokens_scored"] == rows[-1]["tokens_sampled"]


def test_micro_batches_are_one_update(tmp_path, lucky):
    """TRL's gradient accumulation: the same number of updates and samples."""
    run = tiny.run("trl-grpo", method={"trl-grpo": {"micro_batches": 2, "loss_type": "grpo"}})
    launch(run, tmp_path, "tiny")
    rows = tiny.steps(tmp_path / run.name)
    assert [r["samples"] for r in rows] == [12, 24, 36, 48] and rows[-1]["rows"] == 12


SAME = {  # fields with which both are the same objective
    "sft": ({}, {}),
    "dpo": ({}, {}),
    "kto": ({"desirable": 1.0}, {}),
    "grpo": ({"kl": 0.04}, {"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False}),
    "rloo": ({"kl": 0.05, "clip": 0.2}, {}),
}


@pytest.mark.parametrize("name", SAME)
def test_on_the_same_rows_it_is_the_same_training(name, tmp_path, lucky, monkeypatch):
    """Same rows in the same batches, same loss, same optimiser: the weights agree to rounding. The
    online trainers get our sampler, so that the random numbers are the same."""
    from bench.entrants.trl import TRLTrainer

    def draw(self, prompt_ids, *_):
        ours, G = self.ours, 4
        policy, rollout = ours.session.policy, ours.session.position.rollout
        order = rng.prompt_order(0, len(ours.examples), 3 * rollout, 3)
        examples = [ours.examples[i] for i in order]
        prompts = [policy.encode_prompt(e.prompt) for e in examples]
        assert prompt_ids == [p for p in prompts for _ in range(G)]
        keys = [rng.key(0, "sample", rollout, e.id, g) for e in examples for g in range(G)]
        ids = sample(policy, prompts, G, keys, 12).response_ids()
        return ids if name == "rloo" else (ids, None)

    def online(self, scratch):
        trainer = build(self, scratch)
        trainer.ours = self
        return trainer

    build = TRLTrainer._online
    monkeypatch.setattr(TRLTrainer, "_online", online)
    for stock in (GRPOTrainer, RLOOTrainer):
        monkeypatch.setattr(stock, "_generate_single_turn", draw)
    suite = build_suite(
        tiny.recipe(
            methods=[name, f"trl-{name}"],
            method=dict(zip((name, f"trl-{name}"), SAME[name], strict=True)),
            optimizer={"lr": 1e-3, "schedule": "linear"},
            eval={"points": 1, "curve": {"test": 2}, "final": {"test": 2}, "samples": 1},
        )
    )
    for run in suite.runs:
        launch(run, tmp_path, "tiny")
    ours, theirs = (tmp_path / run.name for run in suite.runs)
    first = start.load(
        start.ensure(suite.runs[0].model, suite.runs[0].build_task()), tiny.run().model
    )
    before = {n: p.detach() for n, p in first.model.named_parameters()}
    one, two = tiny.weights(ours), tiny.weights(theirs)
    step = torch.cat([(one[n] - before[n]).flatten() for n in one])
    gap = torch.cat([(one[n] - two[n]).flatten() for n in one])
    assert step.norm() > 0.05 and gap.norm() < 1e-4 * step.norm()
    for a, b in zip(tiny.steps(ours), tiny.steps(theirs), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3, abs=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
        assert a["empty"] == b["empty"] and a["accuracy"] == b["accuracy"]


@pytest.mark.parametrize("name", ["trl-sft", "trl-grpo"])
def test_an_update_that_is_not_finite_is_not_made(name, tmp_path, lucky):
    run = tiny.run(name, optimizer={"lr": 1e30})
    done = launch(run, tmp_path, "tiny")
    assert done is not None and done.status == "diverged" and done.step == 1
    assert done.reason == "non-finite gradient in update 2"
    assert len(tiny.steps(tmp_path / run.name)) == 1


def test_a_policy_that_cannot_be_sampled_from_has_diverged(tmp_path, lucky, monkeypatch):
    from bench.entrants.trl import TRLTrainer

    advance = TRLTrainer._advance

    def spoil(self, update, logs):
        advance(self, update, logs)
        self.session.policy.model.get_input_embeddings().weight.data.fill_(float("nan"))

    monkeypatch.setattr(TRLTrainer, "_advance", spoil)
    done = launch(tiny.run("trl-grpo"), tmp_path, "tiny")
    assert done is not None and done.status == "diverged" and done.step == 1
    assert str(done.reason).startswith("non-finite probabilities after update 1")


def test_an_interrupted_run_begins_anew(tmp_path, lucky, monkeypatch):
    from bench.entrants.trl import TRLTrainer

    run = tiny.run("trl-grpo")
    launch(run, tmp_path / "whole", "tiny")
    advance = TRLTrainer._advance

    def stumble(self, update, logs):
        if self.session.ledger.updates == 3:
            raise KeyboardInterrupt
        advance(self, update, logs)

    with monkeypatch.context() as patch:
        patch.setattr(TRLTrainer, "_advance", stumble)
        with pytest.raises(KeyboardInterrupt):
            launch(run, tmp_path / "cut", "tiny")
    launch(run, tmp_path / "cut", "tiny")
    whole, cut = (tmp_path / part / run.name for part in ("whole", "cut"))
    timed = lambda r: {k: v for k, v in r.items() if "seconds" not in k and "memory" not in k}  # noqa: E731
    assert [timed(r) for r in tiny.steps(cut)] == [timed(r) for r in tiny.steps(whole)]
    tables: Any = [pd.read_parquet(folder / "evals.parquet") for folder in (whole, cut)]
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize("name", sorted(ENTRANTS))
def test_fields_are_trls_own_with_trls_defaults(name, tmp_path):
    config = {
        "trl-dpo": trl.DPOConfig, "trl-grpo": trl.GRPOConfig, "trl-kto": trl.KTOConfig,
        "trl-rloo": trl.RLOOConfig, "trl-sft": trl.SFTConfig,
    }[name](output_dir=str(tmp_path), use_cpu=True, bf16=False)  # fmt: skip
    ours = {"micro_batches": 1, "pairing": "matched", "gradient_checkpointing": False}
    for field, value in entrants.get(name).model_dump().items():
        expected = ours[field] if field in ours else getattr(config, field)
        assert value == (expected[0] if isinstance(expected, list) else expected), field


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": {"axis": "tokens", "amount": 100}}, "runs by updates or samples"),
        ({"method": {"trl-dpo": {"bta": 1}}}, "did you mean beta"),
        ({"method": {"trl-dpo": {"source": "policy"}}}, "takes replay"),
        ({"rollout": {"prompts": 4, "group": 4, "epochs": 2}}, "one update per batch"),
        (
            {"method": {"trl-dpo": {"phases": [{"method": "trl-dpo", "share": 0.5},
                                               {"method": "grpo", "share": 0.5}]}}},
            "needs the whole run",
        ),
    ],
)  # fmt: skip
def test_wrong_set_ups_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        build_suite(tiny.recipe(methods=["trl-dpo"], **changes))


def test_without_trl_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(entrants, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'evenbench\[trl\]'"):
        build_suite(tiny.recipe(methods=["trl-sft"]))
    with pytest.raises(ConfigError, match=r"pip install 'evenbench\[trl\]'"):
        launch(tiny.run().model_copy(update={"phases": suite_of("trl-sft")}), Path("x"), "tiny")


def suite_of(name: str) -> Any:
    from bench.config import Phase

    return (Phase(method=name),)


def test_list_shows_them():
    from rich.console import Console

    from bench.tools.listing import entrant_table

    console = Console(record=True, width=160, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(entrant_table())
    text = console.export_text()
    assert all(name in text for name in ENTRANTS) and "demonstrations" in text
