"""Training real models' shapes: every data regime, adapters, 16-bit weights, kept checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.config import ConfigError, RunConfig
from bench.model import start
from bench.model.optim import AdamW
from bench.model.policy import Critic
from bench.record.store import RunFolder
from bench.train.evaluate import Evaluator
from bench.train.learner import load_weights
from bench.train.loop import Loop, train
from bench.train.session import Session
from tests import architectures, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Any:
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = architectures.save(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))


def run(label: str, where: Path, model: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    small = {
        "model": {"path": str(where), **(model or {})},
        "rollout": {"prompts": 2, "group": 3, "max_tokens": 8},
        "budget": {"axis": "updates", "amount": 2},
        "eval": {"points": 1, "curve": {"test": 2}, "final": {"test": 2}, "train_questions": 0},
        # small models rarely tell rows apart; here half of all samples are right
        "reward": "random",
    }
    return tiny.run(label, **{**small, **changes})


@pytest.mark.parametrize("name", list(architectures.SHAPES))
@pytest.mark.parametrize("method", ["grpo", pytest.param("sft", marks=pytest.mark.slow)])
def test_every_shape_trains(folder, tmp_path, name, method):
    one = run(method, folder(name))
    done = train(one, tmp_path, "s")
    assert done is not None and done.status == "finished"
    rows = tiny.steps(tmp_path / one.name)
    assert len(rows) == 2 and not all(r["empty"] for r in rows)
    before = load_file(folder(name) / "model.safetensors")
    after = load_file(tmp_path / one.name / "checkpoint" / "model.safetensors")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize(
    ("method", "name", "chat"),
    [
        ("ppo", "qwen2", "template"),  # critic, reference in the reward
        ("gift", "gpt2", "plain"),  # reference in the loss
        ("grao", "gemma2", "template"),  # gold beside samples
        ("sft", "llama", "template"),
        ("grpo", "mistral", "none"),
    ],
)
def test_adapters_train_in_every_regime_and_nothing_else_is_kept(
    folder, tmp_path, method, name, chat
):
    one = run(method, folder(name), {"lora": {"r": 2}, "chat": chat}, micro_tokens=64)
    done = train(one, tmp_path, "s")
    assert done is not None and done.status == "finished"
    kept = tmp_path / one.name / "checkpoint"
    assert not (kept / "model.safetensors").exists()
    assert all("lora_" in key for key in load_file(kept / "adapter_model.safetensors"))
    policy = start.load(folder(name), one.model)
    load_weights(policy, kept)
    ups = [p for n, p in policy.model.named_parameters() if "lora_B" in n]
    assert ups and any(p.abs().sum() > 0 for p in ups) == any(
        not row["empty"] for row in tiny.steps(tmp_path / one.name)
    )


def test_a_replay_set_is_of_one_way_of_asking(folder, tmp_path):
    """The same weights behind another template or system prompt give other answers."""
    for model in ({}, {"chat": "plain"}, {"chat": "plain", "system": "Be brief."}):
        assert train(run("dpo", folder("qwen2"), model, reward="correct"), tmp_path, "s")
    assert train(run("rft", folder("qwen2"), reward="correct"), tmp_path, "s")  # as the first
    assert len(list((tmp_path / "cache" / "replay").glob("*.parquet"))) == 3


def stopped_after(one: RunConfig, where: Path, evaluations: int) -> None:
    """Train until so many evaluations are done, then stop without a word."""

    class Killed(Exception):
        pass

    (where / one.name).mkdir(parents=True)
    session = Session(one, RunFolder(where / one.name), "s")
    evaluate, count = session._evaluate, 0

    def evaluating() -> None:
        nonlocal count
        evaluate()
        count += 1
        if count == evaluations:
            raise Killed

    session._evaluate = evaluating
    with pytest.raises(Killed):
        Loop(session).fit()


@pytest.mark.parametrize(
    ("method", "model"),
    [
        ("ppo", {"lora": {"r": 2}}),
        ("grpo", {"dtype": "bfloat16"}),
        ("gift", {"dtype": "bfloat16", "lora": {"r": 2}, "checkpointing": True}),
    ],
)
def test_resumed_equals_uninterrupted(folder, tmp_path, method, model):
    points = {"points": 2, "curve": {"test": 2}, "final": {"test": 2}, "train_questions": 0}
    one = run(method, folder("qwen2"), model, eval=points, optimizer={"lr": 1e-4})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(one, whole, "s")
    stopped_after(one, parts, 2)
    train(one, parts, "s")
    files = [next((out / one.name / "checkpoint").glob("*.safetensors")) for out in (whole, parts)]
    a, b = map(load_file, files)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    for mine, its in zip(*(tiny.steps(out / one.name) for out in (whole, parts)), strict=True):
        for row in (mine, its):
            for key in [k for k in row if k.startswith(("seconds", "peak"))]:
                del row[key]
        assert mine == its


def test_updates_too_small_for_16_bits_add_up(folder):
    """lr 1e-4 on weights of 0.2 is less than half of bfloat16's spacing there, 1e-3."""
    weights = [torch.nn.Parameter(torch.full((4,), 0.2, dtype=d)) for d in (torch.bfloat16,) * 2]
    ours, plain = AdamW([weights[0]], lr=1e-4), torch.optim.AdamW([weights[1]], lr=1e-4)
    for _ in range(40):
        for weight, optimizer in zip(weights, (ours, plain), strict=True):
            for _ in range(2):  # micro-batches
                (weight.float() * 0.5).sum().backward()
            if optimizer is ours:
                assert weight.grad is None and ours.clip(1.0) == pytest.approx(2.0)
            optimizer.step()
            optimizer.zero_grad()
    assert weights[1][0] == torch.tensor(0.2, dtype=torch.bfloat16)  # as if nothing had been done
    assert weights[0][0].item() == pytest.approx(0.2 - 40e-4, abs=6e-4)


def test_32_bit_weights_step_as_in_torch():
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.ones(5)) for _ in range(2)]
    frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)
    kinds = AdamW([weights[0], frozen], lr=1e-2), torch.optim.AdamW([weights[1]], lr=1e-2)
    for _ in range(3):
        for weight, optimizer in zip(weights, kinds, strict=True):
            (weight**3).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert torch.equal(*weights) and not kinds[0].copies
    assert len(kinds[0].param_groups[0]["params"]) == 1


def test_a_critic_of_an_adapted_model_has_adapters_of_its_own(folder):
    import copy

    model = run("ppo", folder("qwen2"), {"lora": {"r": 2}}).model
    policy = start.load(folder("qwen2"), model)
    critic = Critic(copy.deepcopy(policy.model))
    names = {n for n, p in critic.named_parameters() if p.requires_grad}
    assert {"head.weight", "head.bias"} < names
    assert all("lora_" in n for n in names - {"head.weight", "head.bias"})
    assert not {id(p) for p in critic.parameters()} & {id(p) for p in policy.model.parameters()}


def test_the_best_and_every_checkpoint_are_kept(folder, tmp_path, monkeypatch):
    right = {0: 0.25, 1: 0.75, 2: 0.5}  # accuracy of each evaluation, whatever was sampled

    evaluate = Evaluator.__call__

    def evaluated(self, asked, ledger, keep_texts):
        frame: Any = evaluate(self, asked, ledger, keep_texts)
        frame["correct"] = [i % 4 < 4 * right[ledger.updates] for i in range(len(frame))]
        return frame

    monkeypatch.setattr(Evaluator, "__call__", evaluated)
    points = {
        "points": 2,
        "curve": {"validation": 2},
        "final": {"validation": 4, "test": 2},
        "train_questions": 0,
        "greedy": False,
        "samples": 4,
    }
    for keep, there in (("best", {"best"}), ("all", {"checkpoints"}), ("last", set())):
        one = run("grpo", folder("qwen2"), eval=points, checkpoint=keep, optimizer={"lr": 1e-2})
        stopped_after(one, tmp_path / keep, 2)
        train(one, tmp_path / keep, "s")
        where = tmp_path / keep / one.name
        assert {p.name for p in where.iterdir() if p.is_dir()} == {"checkpoint", *there}
    all_kept = next((tmp_path / "all").iterdir()) / "checkpoints"
    assert sorted(p.name for p in all_kept.iterdir()) == [f"step-{i:06d}" for i in range(3)]
    files = {p.name: load_file(p / "model.safetensors") for p in all_kept.iterdir()}
    best = next((tmp_path / "best").iterdir()) / "best"
    chosen = load_file(best / "model.safetensors")
    equal = [n for n, w in files.items() if all(torch.equal(w[k], chosen[k]) for k in w)]
    assert equal == ["step-000001"]
    assert not (best / "optimizer.pt").exists()


def test_a_kill_before_the_best_was_kept_is_mended(folder, tmp_path, monkeypatch):
    points = {"points": 1, "curve": {"validation": 2}, "final": {"test": 2}, "train_questions": 0}
    one = run("grpo", folder("qwen2"), eval=points, checkpoint="best")

    def killed(self, names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "retain", killed)
        with pytest.raises(KeyboardInterrupt):
            train(one, tmp_path, "s")
    assert not (tmp_path / one.name / "best").exists()
    train(one, tmp_path, "s")
    assert (tmp_path / one.name / "best" / "model.safetensors").is_file()


def test_what_cannot_be_kept_or_loaded_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"checkpoint = 'best': eval\.curve has no validation"):
        run("grpo", folder("qwen2"), checkpoint="best")
    with pytest.raises(ConfigError, match=r"model\.lora\.dropout"):
        run("grpo", folder("qwen2"), {"lora": {"dropout": 0.1}})
    policy = start.load(folder("llama"), run("grpo", folder("llama")).model)
    with pytest.raises(OSError, match="weights are missing"):
        load_weights(policy, tmp_path)


def test_weights_in_several_files(folder, tmp_path):
    policy = start.load(folder("gemma3"), run("grpo", folder("gemma3")).model)
    with torch.no_grad():
        for weight in policy.parameters():
            weight += 1
    policy.model.save_pretrained(tmp_path, max_shard_size="20KB")
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 2
    fresh = start.load(folder("gemma3"), run("grpo", folder("gemma3")).model)
    load_weights(fresh, tmp_path)
    for mine, its in zip(fresh.parameters(), policy.parameters(), strict=True):
        assert torch.equal(mine, its)
    files[0].unlink()
    with pytest.raises(OSError, match="weights are missing"):
        load_weights(fresh, tmp_path)
