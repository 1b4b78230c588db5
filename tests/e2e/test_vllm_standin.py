"""Training on an engine's samples: TRL's own VLLMGeneration drives a stand-in for vLLM, since no
machine without a GPU can run all of it. tests/e2e/test_vllm.py runs the real one."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
pytest.importorskip("trl", reason="the engine is driven by TRL's VLLMGeneration")

import results
from bench.config import ConfigError, RunConfig, build_suite
from bench.model import start
from bench.sampling.hf import Sampler, sample
from bench.suite.progress import watch_suite
from bench.train.loop import train
from results import tables
from tests import standin, tiny
from tests.standin import LLM

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("module_cache")]
WEIGHTS = 20  # tensors of the tiny model


def folder() -> str:
    run = tiny.run()
    return str(start.ensure(run.model, run.build_task()))


@pytest.fixture(autouse=True)
def _engine(monkeypatch, lucky):
    standin.install(monkeypatch, folder())


def on(label: str = "grpo", sampler: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    return tiny.run(
        label, sampler={"name": "vllm", **(sampler or {})}, keep_rollouts=True, **changes
    )


SERVER = {"mode": "server", "server": "http://localhost:8000"}


@pytest.mark.parametrize("sampler", [{}, {"sleep": True}, SERVER], ids=["here", "sleep", "server"])
def test_samples_come_from_the_engine_over_the_weights_of_each_update(sampler, tmp_path):
    run = on(sampler=sampler)
    done = train(run, tmp_path, "tiny")
    assert done is not None and done.status == "finished" and done.step == 4
    (engine,) = LLM.made
    assert len(engine.asked) == 4  # a call a rollout batch: evaluations are drawn by the policy
    assert engine.written == 4 * WEIGHTS
    assert engine.resets >= 4
    facts = json.loads((tmp_path / run.name / "run.json").read_text())
    assert facts["config"]["sampler"]["name"] == "vllm" and not facts["warnings"]
    for row in tiny.steps(tmp_path / run.name):
        # the stand-in has the policy's weights and kernels: it drew from the policy as it stood
        assert 0 <= row["sampler_drift"] < 1e-5 and row["sampler_drift_max"] < 1e-4
        assert row["sampler_weight"] == pytest.approx(1, abs=1e-4)
    frame: Any = pd.read_parquet(tmp_path / run.name / "rollouts" / "step-000003.parquet")
    frame = frame[frame["kind"] == 0]  # without the reference answers
    assert frame["tokens"].map(len).tolist() == frame["logp"].map(len).tolist() and len(frame) == 12


def test_stale_weights_would_be_seen_as_drift(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.sampling.vllm.VLLMSampler.sync", lambda self: None)
    train(on(optimizer={"lr": 1e-2}), tmp_path, "tiny")
    drift = [row["sampler_drift"] for row in tiny.steps(next(tmp_path.iterdir()))]
    assert drift[0] < 1e-5 and drift[1] > 1e-3 and drift[3] > drift[1]


def test_an_engine_in_bfloat16_drifts_and_is_corrected(tmp_path):
    for how in ("none", "token_truncate", "sequence_truncate"):
        train(on(sampler={"engine": {"dtype": "bfloat16"}, "correction": how}), tmp_path / how, "t")
    rows = {p.name: tiny.steps(next(p.iterdir())) for p in tmp_path.iterdir()}
    assert all(1e-4 < r[0]["sampler_drift"] < 0.1 for r in rows.values())
    assert "sampler_weight" not in rows["none"][0]
    # the same first samples, and a gradient that differs by the weights alone
    norms = {how: r[0]["grad_norm"] for how, r in rows.items()}
    assert norms["token_truncate"] == pytest.approx(norms["none"], rel=0.05)
    assert len(set(norms.values())) == 3


def test_runs_repeat_and_go_on_after_an_interruption(tmp_path, monkeypatch):
    from bench.train.loop import Loop

    run = on()
    train(run, tmp_path / "whole", "tiny")
    step = Loop.step

    def stumble(self):
        if self.session.ledger.updates == 3:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "step", stumble)
        with pytest.raises(KeyboardInterrupt):
            train(run, tmp_path / "cut", "tiny")
    train(run, tmp_path / "cut", "tiny")
    whole, cut = (tiny.steps(tmp_path / part / run.name) for part in ("whole", "cut"))
    assert [r["loss"] for r in whole] == [r["loss"] for r in cut]


def test_it_can_draw_the_evaluations_too_and_greedy_answers_are_the_same(tmp_path):
    runs = on(sampler={"evaluate": True}), tiny.run()
    for run in runs:
        train(run, tmp_path, "tiny")
    theirs, ours = (pd.read_parquet(tmp_path / r.name / "evals.parquet") for r in runs)
    first: list[Any] = [e[(e["step"] == 0) & (e["decoding"] == "greedy")] for e in (theirs, ours)]
    keys = ["question_id", "tokens", "correct", "finished"]
    assert first[0][keys].to_numpy().tolist() == first[1][keys].to_numpy().tolist()
    assert any(a["temperature"] == 0 for a in LLM.made[0].asked)
    assert any(a["temperature"] == 1 for a in LLM.made[0].asked)


def test_a_call_gives_what_our_own_sampler_gives():
    from bench.sampling.vllm import VLLMSampler

    run = on(sampler={"engine": {"swap_space": 0}})
    policy = start.load(folder(), run.model)
    theirs, ours = VLLMSampler(run, policy), Sampler()
    assert LLM.made[0].more["swap_space"] == 0 and LLM.made[0].more["enforce_eager"] is True
    prompts = [policy.encode_prompt(e.prompt) for e in run.build_task().examples("test")[:3]]
    a, b = (s(policy, prompts, 2, None, 9) for s in (theirs, ours))
    assert a.response_ids() == b.response_ids() and a.sampled_tokens == b.sampled_tokens
    assert a.finished_N.tolist() == b.finished_N.tolist() and a.prompt_tokens == b.prompt_tokens
    assert (a.logp_NT - b.logp_NT).abs().max() < 1e-5
    keys = [1, 2, 3, 4, 5, 6]
    again = [theirs(policy, prompts, 2, keys, 9).response_ids() for _ in range(2)]
    other = theirs(policy, prompts, 2, [7, *keys[1:]], 9).response_ids()
    assert again[0] == again[1] != other  # seeded by the batch's first key


def test_a_stop_string_ends_an_answer():
    from bench.sampling.vllm import VLLMSampler

    run = on()
    policy = start.load(folder(), run.model)
    draw = VLLMSampler(run, policy)
    prompts = [policy.encode_prompt(e.prompt) for e in run.build_task().examples("test")[:4]]
    whole = sample(policy, prompts, 1, None, 9)
    stop = policy.decode(whole.response_ids()[0][2:4])
    drawn = draw(policy, prompts, 1, None, 9, stop=[stop])
    assert LLM.made[0].asked[-1]["include_stop_str_in_output"] is True
    assert len(drawn.response_ids()[0]) < 9 and bool(drawn.finished_N[0])
    assert stop in policy.decode(drawn.response_ids()[0])


def test_an_objective_without_a_weight_per_token_is_named(tmp_path):
    run = on("gift")
    train(run, tmp_path, "tiny")
    facts = json.loads((tmp_path / run.name / "run.json").read_text())
    assert any(w.startswith("GIFT: no weight per token") for w in facts["warnings"])
    assert all("sampler_drift" in row for row in tiny.steps(tmp_path / run.name))
    assert not any("sampler_weight" in row for row in tiny.steps(tmp_path / run.name))


def test_offline_no_engine_is_started(tmp_path):
    train(on("sft"), tmp_path, "tiny")
    assert LLM.made == []


def test_drift_stands_in_the_report(tmp_path):
    import results
    from results.tables import drift_table

    suite = build_suite(tiny.recipe(sampler={"name": "vllm"}))
    train(suite.runs[0], tmp_path, "tiny")
    (tmp_path / "suite.json").write_text(suite.model_dump_json())
    assert "sampler drift" in drift_table(results.load(tmp_path)).markdown()


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ({"name": "vlm"}, "'hf' or 'vllm'"),
        ({"mode": "server", "server": "http://x"}, "mode, server: only with name = 'vllm'"),
        ({"name": "vllm", "mode": "server"}, "go together"),
        ({"name": "vllm", "limit": 0.5}, "greater than or equal to 1"),
        ({"name": "vllm", "corection": "none"}, "did you mean correction"),
    ],
)
def test_wrong_samplers_are_refused(sampler, words):
    with pytest.raises(ConfigError, match=words):
        build_suite(tiny.recipe(sampler=sampler))


def test_without_vllm_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("bench.config.checks.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install .*'evenbench\[vllm\]'"):
        build_suite(tiny.recipe(sampler={"name": "vllm"}))


def test_entrants_sample_by_themselves():
    with pytest.raises(ConfigError, match="it samples with transformers"):
        build_suite(tiny.recipe(methods=["trl-grpo"], sampler={"name": "vllm"}))


def test_a_server_with_raw_log_probs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(standin.Client, "logprobs_mode", "raw_logprobs")
    with pytest.raises(ConfigError, match="--logprobs-mode raw_logprobs"):
        train(on(sampler=SERVER), tmp_path, "tiny")


def test_a_server_needs_a_gpu_on_our_side(tmp_path, monkeypatch):
    def refuse(self, device):
        raise NotImplementedError(f"needs a CUDA device, got {device}")

    monkeypatch.setattr(standin.Client, "init_communicator", refuse)
    with pytest.raises(
        ConfigError, match=r"sampler\.mode = 'server': needs a CUDA device, got cpu"
    ):
        train(on(sampler=SERVER), tmp_path, "tiny")


def test_ids_of_runs_without_an_engine_are_as_before():
    run = tiny.run()
    assert run.digest() == tiny.run(sampler={"name": "hf"}).digest()
    assert run.digest() != on().digest()


def test_the_drift_stands_in_the_terminal_and_the_report(tmp_path):
    written = io.StringIO()
    console = Console(file=written, width=200)
    suite = build_suite(tiny.recipe(sampler={"name": "vllm", "engine": {"dtype": "bfloat16"}}))
    train(suite.runs[0], tmp_path, suite.name)  # the stand-in is in this process alone
    watch_suite(console, suite, tmp_path, 1)
    assert "log-probs of sampler and trainer differ by 0.0" in written.getvalue()
    assert "sampler drift" in tables.drift_table(results.load(tmp_path)).markdown()


def test_rows_of_a_group_may_have_temperatures_of_their_own():
    from bench.sampling.vllm import VLLMSampler

    run = on()
    policy = start.load(folder(), run.model)
    theirs, ours = VLLMSampler(run, policy), Sampler()
    prompts = [policy.encode_prompt(e.prompt) for e in run.build_task().examples("test")[:3]]
    drawn = theirs(policy, prompts, 4, [*range(12)], 9, temperature=[0.7, 0, 0.7, 1.0])
    assert sorted(a["temperature"] for a in LLM.made[0].asked) == [0, 0.7, 1.0]
    greedy = ours(policy, prompts, 1, None, 9)
    assert drawn.response_ids()[1::4] == greedy.response_ids()
    assert drawn.rows.temperature_N.tolist() == pytest.approx([0.7, 1, 0.7, 1.0] * 3)
    logp = policy.score(drawn.rows)[0].detach()  # each row is scored at its own temperature
    assert (logp - drawn.logp_NT).abs().max() < 1e-4
