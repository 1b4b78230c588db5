"""An exported folder is the run's model, for whoever loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from bench.cli import app
from bench.config import ConfigError
from bench.model import start
from bench.model.policy import Policy
from bench.model.rows import pad
from bench.sampling.hf import sample
from bench.tools.export import export
from bench.train.learner import load_weights
from bench.train.loop import train
from tests import architectures
from tests.e2e.test_models import run

EVAL = {
    "points": 2,
    "curve": {"validation": 3},
    "final": {"test": 4, "validation": 5},
    "train_questions": 0,
    "samples": 2,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Any:
    """Run folders, each trained when first asked for: its model section, and what it kept."""
    root = tmp_path_factory.mktemp("export")
    made: dict[str, Any] = {}
    patch = pytest.MonkeyPatch()
    patch.setenv("EVENBENCH_CACHE", str(root / "cache"))

    def get(name: str, keep: str = "last", method: str = "grpo", **model: Any) -> Any:
        key = json.dumps([name, keep, method, model])
        if key not in made:
            where = architectures.save(name, root / f"base{len(made)}")
            one = run(method, where, model, eval=EVAL, checkpoint=keep, optimizer={"lr": 1e-2})
            out = root / f"suite{len(made)}"
            assert train(one, out, "s")
            made[key] = (one, out / one.name)
        return made[key]

    yield get
    patch.undo()


def logits(model: Any, length: int = 24) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(8, 8 + length)[None]).logits


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("qwen2", {"chat": "template"}),
        ("llama", {"chat": "template", "lora": {"r": 2}}),
        ("gpt2", {"chat": "plain", "lora": {"r": 2}, "system": "Be brief."}),
        ("gemma3", {}),
        ("mistral", {"dtype": "bfloat16"}),
    ],
)
def test_an_export_is_the_runs_model(trained, name, model):
    one, folder = trained(name, **model)
    out = export(folder)
    assert out == folder / "export"
    theirs = AutoModelForCausalLM.from_pretrained(out)
    assert theirs.dtype == getattr(torch, one.model.dtype)
    ours = start.load(one.model.path, one.model)
    load_weights(ours, folder / "checkpoint")
    torch.testing.assert_close(logits(theirs), logits(ours.model), rtol=0, atol=1e-5)
    started = start.load(one.model.path, one.model)
    assert (logits(started.model) - logits(ours.model)).abs().max() > 1e-3
    words: Any = AutoTokenizer.from_pretrained(out)
    question, answer = "Tom has 3 coins. now?", "3####3"
    if one.model.chat != "none":
        messages = [{"role": "user", "content": question}]
        if one.model.system:
            messages.insert(0, {"role": "system", "content": one.model.system})
        text = words.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert words(text, add_special_tokens=False)["input_ids"] == ours.encode_prompt(question)
    assert words.decode(ours.encode_response(answer), skip_special_tokens=True) == answer
    assert theirs.generation_config.eos_token_id == ours.stop_ids


def test_generate_answers_as_the_runs_sampler(trained):
    one, folder = trained("qwen2", chat="template")
    out = export(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(out)
    words = AutoTokenizer.from_pretrained(out)
    policy = start.load(out, one.model.model_copy(update={"path": str(out)}))
    prompt = policy.encode_prompt("Tom has 3 coins. now?")
    ours = sample(policy, [prompt], 1, None, 20).response_ids()[0]
    theirs = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=20)
    assert theirs[0, len(prompt) :].tolist() == ours
    assert words.decode(ours) == policy.tokenizer.decode(ours)


def test_the_adapter_alone(trained, tmp_path):
    _, folder = trained("llama", chat="template", lora={"r": 2})
    out = export(folder, tmp_path / "adapter", adapter=True)
    assert {p.name for p in out.glob("*.safetensors")} == {"adapter_model.safetensors"}
    assert not list(out.glob("*.pt")) and not (out / "state.json").exists()
    merged = AutoModelForCausalLM.from_pretrained(export(folder))
    kept = AutoModelForCausalLM.from_pretrained(out)  # finds its base by adapter_config.json
    torch.testing.assert_close(logits(kept), logits(merged), rtol=0, atol=1e-5)
    assert "library_name: peft" in (out / "README.md").read_text()
    with pytest.raises(ConfigError, match="trained without adapters"):
        export(trained("gemma3")[1], tmp_path / "no", adapter=True)


def test_the_card_says_what_was_measured(trained):
    one, folder = trained("qwen2", chat="template")
    text = (export(folder) / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["pipeline_tag"] == "text-generation" and "grpo" in front["tags"]
    assert "base_model" not in front  # a path of this machine is nobody else's business
    assert str(Path(one.model.path).parent) not in text.split("## Training")[0]
    evals: Any = pd.read_parquet(folder / "evals.parquet")
    last = evals[evals["step"] == 2]
    for split, questions in (("test", 4), ("validation", 5)):
        for decoding, shown in (("greedy", "greedy"), ("sampled", "avg@2, temperature 1, top-p 1")):
            rows = last[(last["split"] == split) & (last["decoding"] == decoding)]
            mean = 100 * rows["correct"].mean()
            assert f"| {split} | {shown} | {questions} | **{mean:.1f}** ±" in text
    record = json.loads((folder / "run.json").read_text())
    for found in (record["id"], record["packages"]["torch"], "after update 2", '"clip": 0.2'):
        assert found in text
    assert f"checker {record['grader']['version']}" in text and "2 updates, 12 samples" in text


def test_kept_checkpoints_by_name(trained, tmp_path):
    _, folder = trained("qwen2", keep="all")
    first, last = (export(folder, tmp_path / w, w) for w in ("1", "last"))
    a, b = (logits(AutoModelForCausalLM.from_pretrained(p)) for p in (first, last))
    assert not torch.equal(a, b)
    assert "after update 1" in (first / "README.md").read_text()
    with pytest.raises(ConfigError, match="no checkpoint 'best'; kept: last, 0, 1, 2"):
        export(folder, tmp_path / "x", "best")
    _, best = trained("qwen2", keep="best")
    assert (export(best, tmp_path / "best", "best") / "model.safetensors").is_file()


def test_refusals(trained, tmp_path):
    _, folder = trained("qwen2", keep="none")
    with pytest.raises(ConfigError, match=r"no checkpoint 'last'; kept: none"):
        export(folder, tmp_path / "x")
    with pytest.raises(ConfigError, match=r"no run\.json"):
        export(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("\n")
    with pytest.raises(ConfigError, match="holds files that are not an export"):
        export(trained("gemma3")[1], tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").is_file()


def test_the_command(trained, tmp_path):
    _, folder = trained("gemma3")
    runner = CliRunner()
    done = runner.invoke(app, ["export", str(folder), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and done.stdout.strip() == str(tmp_path / "out")
    again = runner.invoke(app, ["export", str(folder), "--out", str(tmp_path / "out")])
    assert again.exit_code == 0  # an export may be written anew
    wrong = runner.invoke(app, ["export", str(folder), "--which", "7"])
    assert wrong.exit_code == 2


def test_a_model_built_on_the_spot(tmp_path, monkeypatch):
    from tests import tiny

    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    one = tiny.run("grpo", model={**tiny.MODEL, "lora": {"r": 2}}, optimizer={"lr": 1e-2})
    assert train(one, tmp_path, "s")
    out = export(tmp_path / one.name)
    words: Any = AutoTokenizer.from_pretrained(out)
    loaded = Policy(AutoModelForCausalLM.from_pretrained(out), words)
    rows = pad([[2, 9, 10]], [0], [[11, 12, 13]], [1.0], loaded.pad_id)
    ours = start.load(start.ensure(one.model, one.build_task()), one.model)
    load_weights(ours, tmp_path / one.name / "checkpoint")
    torch.testing.assert_close(loaded.score(rows)[0], ours.score(rows)[0], rtol=0, atol=1e-5)
