"""vLLM itself as the sampler, on a CPU: `make test-vllm` (its environment is one of its own).

A server gets its weights by NCCL alone, so here it answers with those it started with; the writing
has a stand-in in tests/e2e/test_vllm_standin.py.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

import pandas as pd
import torch
from trl.generation.vllm_client import VLLMClient

from bench.config import ConfigError, RunConfig, build_suite
from bench.model import start
from bench.sampling.hf import sample
from bench.sampling.vllm import VLLMSampler
from bench.tools.lm_eval import evaluate
from bench.train.loop import train
from methods import SAMPLE
from tests import tiny

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("module_cache")]
UPDATES = 3


def run_of(**changes: Any) -> RunConfig:
    """A model that can do a little; vLLM's attention wants heads of 32."""
    model = {"hidden": 64, "layers": 2, "heads": 2, "intermediate": 96,
             "pretrain": {"steps": 300, "batch": 32}}  # fmt: skip
    given = {
        "model": model, "sampler": {"name": "vllm"}, "keep_rollouts": True, "reward": "random",
        "rollout": {"prompts": 8, "group": 8, "max_tokens": 40},
        "budget": {"axis": "updates", "amount": UPDATES}, "optimizer": {"lr": 3e-3},
    }  # fmt: skip
    return build_suite(tiny.recipe(**{**given, **changes})).runs[0]


@pytest.fixture(scope="module")
def engine():
    run = run_of()
    policy = start.load(start.ensure(run.model, run.build_task()), run.model)
    return run, policy, VLLMSampler(run, policy)


def questions(run: RunConfig, policy: Any, count: int = 128) -> list[list[int]]:
    return [policy.encode_prompt(e.prompt) for e in run.build_task().examples("test")[:count]]


@torch.no_grad()
def disturb(policy: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    for weight in policy.parameters():
        weight.add_(0.1 * torch.randn(weight.shape, generator=generator))


def test_greedy_answers_are_those_of_our_own_sampler_before_and_after_the_weights_change(engine):
    run, policy, draw = engine
    prompts = questions(run, policy)
    seen = []
    for _ in range(2):
        draw.sync()
        theirs = draw(policy, prompts, 1, None, 40)
        ours = sample(policy, prompts, 1, None, 40)
        assert theirs.response_ids() == ours.response_ids()
        assert theirs.finished_N.tolist() == ours.finished_N.tolist()
        assert (theirs.logp_NT - ours.logp_NT).abs().max() < 1e-4
        seen.append(ours.response_ids())
        disturb(policy)
    assert sum(a != b for a, b in zip(*seen, strict=True)) > len(prompts) / 4


def test_without_a_sync_the_engine_keeps_its_weights(engine):
    run, policy, draw = engine
    prompts = questions(run, policy)
    draw.sync()
    before = draw(policy, prompts, 1, None, 40).response_ids()
    disturb(policy)
    assert draw(policy, prompts, 1, None, 40).response_ids() == before
    draw.sync()
    assert draw(policy, prompts, 1, None, 40).response_ids() != before


def test_samples_have_the_policys_probabilities_at_the_temperature(engine):
    run, policy, draw = engine
    draw.sync()
    prompts, keys = questions(run, policy, 16), [*range(16 * 16)]
    drawn = draw(policy, prompts, 16, keys, 40, temperature=0.7)
    with torch.no_grad():
        score_NT = policy.score(drawn.rows)[0]
    assert (score_NT - drawn.logp_NT).abs().max() < 1e-3
    assert len({tuple(ids) for ids in drawn.response_ids()}) > 32
    again = draw(policy, prompts, 16, keys, 40, temperature=0.7)
    assert again.response_ids() == drawn.response_ids()
    assert draw(policy, prompts, 16, [9, *keys[1:]], 40).response_ids() != drawn.response_ids()


def test_a_stop_string_ends_an_answer(engine):
    run, policy, draw = engine
    draw.sync()
    drawn = draw(policy, questions(run, policy), 1, None, 40, stop=["##"])
    ended = [
        ids for ids in drawn.response_ids() if ids[-1] not in policy.stop_ids and len(ids) < 40
    ]
    assert ended and all("##" in policy.decode(ids) for ids in ended)


@pytest.fixture
def server(tmp_path):
    """A vLLM server of the starting model, with the settings that docs/vllm.md asks for."""
    run = run_of()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = str(start.ensure(run.model, run.build_task()))
    options = ["--dtype", "float32", "--enforce-eager", "--logprobs-mode", "processed_logprobs"]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model,
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
                   "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}  # fmt: skip
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command + options, env=environment, stdout=log, stderr=log)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=60)


def test_a_server_is_refused_without_cuda_and_answers_as_our_own_sampler_does(server, monkeypatch):
    run = run_of(sampler={"name": "vllm", "mode": "server", "server": server})
    policy = start.load(start.ensure(run.model, run.build_task()), run.model)
    with monkeypatch.context() as patch:  # past the check of the server's settings
        info = {"weight_transfer_config": {}, "model_config": {}}
        patch.setattr(VLLMClient, "get_server_info", lambda self: info)
        with pytest.raises(ConfigError, match="needs a CUDA device, got 'cpu'"):
            VLLMSampler(run, policy)
    monkeypatch.setattr(VLLMClient, "init_communicator", lambda self, device: None)
    draw = VLLMSampler(run, policy)
    prompts = questions(run, policy)
    theirs, ours = draw(policy, prompts, 1, None, 40), sample(policy, prompts, 1, None, 40)
    assert theirs.response_ids() == ours.response_ids()
    assert (theirs.logp_NT - ours.logp_NT).abs().max() < 1e-4
    drawn = draw(policy, prompts[:8], 4, [*range(32)], 40, temperature=0.7)
    with torch.no_grad():
        assert (policy.score(drawn.rows)[0] - drawn.logp_NT).abs().max() < 1e-3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_training_on_its_samples(dtype, tmp_path):
    """Three updates; were the weights not written before each batch, the drift would tell."""
    run = run_of(sampler={"name": "vllm", "engine": {"dtype": dtype}})
    done = train(run, tmp_path, "tiny")
    assert done is not None and done.status == "finished" and done.step == UPDATES
    rows = [json.loads(x) for x in (tmp_path / run.name / "steps.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in rows] == [64, 128, 192] and rows[-1]["grad_norm"] > 0
    low, high = {"float32": (0, 1e-4), "bfloat16": (1e-4, 0.05)}[dtype]
    for row in rows:
        print(f"{dtype}: drift {row['sampler_drift']:.2g}, at most {row['sampler_drift_max']:.2g}")
        assert low <= row["sampler_drift"] < high
        assert row["sampler_weight"] == pytest.approx(1, abs=0.05)
    frame: Any = pd.read_parquet(tmp_path / run.name / "rollouts" / "step-000002.parquet")
    frame = frame[frame["kind"] == SAMPLE]
    assert len(frame) == 64 and frame["tokens"].map(len).tolist() == frame["logp"].map(len).tolist()
    facts = json.loads((tmp_path / run.name / "run.json").read_text())
    assert any(name.startswith("vllm") for name in facts["packages"])


def test_lm_eval_on_vllm_counts_what_the_runs_own_evaluation_counted(tmp_path):
    """By two engines and two loops: the same answers, so the same accuracy to the last digit."""
    run = run_of(sampler={"name": "hf"}, optimizer={"lr": 1e-4}, eval={"points": 1, "samples": 0})
    assert train(run, tmp_path, "tiny") is not None
    engine = {"dtype": "float32", "enforce_eager": True, "disable_log_stats": True}
    found = evaluate(
        str(tmp_path / run.name), ["evenbench_arithmetic"], backend="vllm",
        json_file=tmp_path / "scores.json", model_args=engine,
    )  # fmt: skip
    told = found["tasks"]["evenbench_arithmetic"]
    assert told["questions"] > 100 and 0 < told["accuracy"] < 1
    assert told["accuracy"] == told["in_loop_accuracy"]
    assert json.loads((tmp_path / "scores.json").read_text())["tasks"] == found["tasks"]
