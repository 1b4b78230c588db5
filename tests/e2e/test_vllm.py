"""vLLM itself as the sampler, on a CPU: `make test-vllm` (its environment is one of its own).

Server mode needs CUDA on the trainer's side (weights travel by NCCL), so that part has a stand-in:
tests/e2e/test_vllm_standin.py.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

import pandas as pd
import torch

from bench import base
from bench.config import Run, build_suite
from bench.sampling.hf import sample
from bench.sampling.vllm import VLLMSampler
from bench.train import train
from tests import tiny

pytestmark = pytest.mark.filterwarnings("ignore")
UPDATES = 3


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("EVENBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def run_of(**changes: Any) -> Run:
    """A model that can do a little; vLLM's attention wants heads of 32."""
    model = {"hidden": 64, "layers": 2, "heads": 2, "intermediate": 96,
             "pretrain": {"steps": 150, "batch": 32}}  # fmt: skip
    given = {
        "model": model, "sampler": {"name": "vllm"}, "keep_rollouts": True, "reward": "format",
        "rollout": {"prompts": 8, "group": 8, "max_tokens": 40},
        "budget": {"axis": "updates", "amount": UPDATES}, "optimizer": {"lr": 3e-3},
    }  # fmt: skip
    return build_suite(tiny.recipe(**{**given, **changes})).runs[0]


@pytest.fixture(scope="module")
def engine():
    run = run_of()
    policy = base.load(base.ensure(run.model, run.build_task()), run.model)
    return run, policy, VLLMSampler(run, policy)


def questions(run: Run, policy: Any, count: int = 128) -> list[list[int]]:
    return [policy.encode_prompt(e.prompt) for e in run.build_task().examples("test")[:count]]


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
        with torch.no_grad():
            for weight in policy.parameters():
                weight.mul_(1 + 0.2 * torch.randn_like(weight))
    assert sum(a != b for a, b in zip(*seen, strict=True)) > len(prompts) / 4


def test_without_a_sync_the_engine_keeps_its_weights(engine):
    run, policy, draw = engine
    prompts = questions(run, policy)
    draw.sync()
    before = draw(policy, prompts, 1, None, 40).response_ids()
    with torch.no_grad():
        for weight in policy.parameters():
            weight.mul_(1 + 0.2 * torch.randn_like(weight))
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
    assert len({tuple(ids) for ids in drawn.response_ids()}) > 64
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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_training_on_its_samples(dtype, tmp_path):
    """Three updates; were the weights not written before each batch, the drift would tell."""
    run = run_of(sampler={"name": "vllm", "engine": {"dtype": dtype}})
    done = train(run, tmp_path, "tiny")
    assert done is not None and done["status"] == "finished" and done["step"] == UPDATES
    rows = [json.loads(x) for x in (tmp_path / run.name / "steps.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in rows] == [64, 128, 192] and rows[-1]["grad_norm"] > 0
    low, high = {"float32": (0, 1e-4), "bfloat16": (1e-4, 0.05)}[dtype]
    for row in rows:
        print(f"{dtype}: drift {row['sampler_drift']:.2g}, at most {row['sampler_drift_max']:.2g}")
        assert low <= row["sampler_drift"] < high
        assert row["sampler_weight"] == pytest.approx(1, abs=0.05)
    frame: Any = pd.read_parquet(tmp_path / run.name / "rollouts" / "step-000002.parquet")
    assert len(frame) == 64 and frame["tokens"].map(len).tolist() == frame["logp"].map(len).tolist()
    facts = json.loads((tmp_path / run.name / "run.json").read_text())
    assert any(name.startswith("vllm") for name in facts["packages"])
