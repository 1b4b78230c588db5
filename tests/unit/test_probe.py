"""A loaded model's log-probs are compared with its own output, and a wrong forward is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bench.config import ConfigError, Model
from bench.model import start
from bench.model.choice import choose
from bench.model.head import Head
from bench.model.packed import PackedBackbone
from bench.model.policy import Policy
from bench.model.probe import LIMITS, probe
from tests import architectures, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Any:
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = architectures.save(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


def load(where: Path, **section: Any) -> Policy:
    return start.load(where, Model(path=str(where), **section))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", list(architectures.SHAPES))
def test_every_shape_passes(folder, name, dtype):
    if name == "gemma2" and dtype == "float64":
        pytest.skip("its eager attention refuses float64")
    load(folder(name), dtype=dtype)


@pytest.mark.parametrize(
    "section", [{"lora": {"r": 2}}, {"checkpointing": True}, {"backbone": "transformers"}]
)
def test_other_ways_through_a_model_pass(folder, section):
    load(folder("llama"), **section)


@pytest.mark.parametrize(("name", "least"), [("granite", 4), ("cohere", 4)])
def test_a_factor_left_out_is_refused_with_the_nats(folder, monkeypatch, name, least):
    monkeypatch.setattr(Head, "_plain", True)
    cls = f"{name.title()}ForCausalLM"
    with pytest.raises(
        ConfigError, match=rf"{cls} cannot be used: scoring by the transf"
    ) as caught:
        load(folder(name))
    assert float(str(caught.value).partition("up to ")[2].split()[0]) > least


class Tempered(transformers.Qwen3ForCausalLM):
    """Each token of a text is less certain than the one before, which no hidden state knows of."""

    def forward(self, *args: Any, **more: Any) -> Any:  # pyright: ignore
        output: Any = super().forward(*args, **more)
        output.logits = output.logits / torch.arange(1, output.logits.shape[1] + 1)[:, None]
        return output


def test_a_wrong_class_is_refused_by_name(folder, monkeypatch):
    monkeypatch.setattr(start, "AutoModelForCausalLM", Tempered)
    with pytest.raises(ConfigError, match=r"Tempered cannot .* own output .*float32: 0\.01"):
        load(folder("qwen3"))


def test_what_packed_gets_wrong_is_refused_and_transformers_takes_it(folder, monkeypatch):
    real = transformers.models.llama.modeling_llama.LlamaAttention.__init__

    def sharper(self: Any, *args: Any, **more: Any) -> None:
        real(self, *args, **more)
        self.scaling *= 3

    attention = transformers.models.llama.modeling_llama.LlamaAttention
    monkeypatch.setattr(attention, "__init__", sharper)
    refused = r"LlamaForCausalLM cannot be used: scoring by the packed .* = 'transformers'$"
    with pytest.raises(ConfigError, match=refused):
        load(folder("llama"))
    load(folder("llama"), backbone="transformers")


def test_a_wrong_sampler_is_refused(folder, monkeypatch):
    real = PackedBackbone.step
    monkeypatch.setattr(PackedBackbone, "step", lambda self, *args: 1.1 * real(self, *args))
    with pytest.raises(ConfigError, match="sampling by the packed forward"):
        load(folder("qwen2"))


def test_a_model_without_the_caches_that_sampling_needs_is_refused_by_name(tmp_path, monkeypatch):
    shape = ("MambaConfig", "GPT2Tokenizer", {"hidden_size": 32, "num_hidden_layers": 2}, [])
    monkeypatch.setitem(architectures.SHAPES, "mamba", shape)
    where = architectures.save("mamba", tmp_path)
    with pytest.raises(ConfigError, match="MambaForCausalLM cannot be used, its forward pass"):
        load(where)


def test_nothing_but_a_refusal_comes_of_it(folder):
    policy = load(folder("qwen2"))
    rows = tiny.rows(policy, [[3, 5], [2]])
    state, score = torch.get_rng_state(), policy.score(rows)[0]
    probe(policy)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(policy.score(rows)[0], score)
    assert all(p.grad is None for p in policy.parameters()) and not policy.model.training
    policy.model.to("meta")
    probe(Policy(policy.model, policy.tokenizer))  # there is nothing to compare
    assert set(LIMITS) == {torch.float64, torch.float32, torch.bfloat16}


@pytest.mark.parametrize(
    ("name", "why"),
    [("qwen3", "the class Qwen3ForCausalLM"), ("qwen2-sliding", "sliding windows")],
)
def test_packed_where_it_cannot_be_is_refused_with_what_is_allowed(folder, name, why):
    model = Model(path=str(folder(name)), backbone="packed")
    message = f"'packed': this forward does not take {why}; allowed: 'auto' or 'transformers'"
    for refuse in (lambda: start.load(folder(name), model), lambda: start.check(model)):
        with pytest.raises(ConfigError, match=message):
            refuse()


def test_a_named_attention_is_transformers(folder):
    with pytest.raises(ValueError, match="attention = 'sdpa' is an option of transformers"):
        Model(attention="sdpa", backbone="packed")
    assert load(folder("llama"), attention="sdpa").forward.train == "transformers"


def test_auto_asks_for_model_and_device():
    ways = {
        "packed": choose("auto", "cpu", None),
        "transformers": choose("auto", "cuda", None),
        "asked": choose("packed", "cuda", None),
        "apart": choose("auto", "cpu", None, apart=True),
        "other": choose("auto", "cpu", "the architecture opt"),
    }
    assert {name: (way.train, way.sample) for name, way in ways.items()} == {
        "packed": ("packed", "packed"),
        "transformers": ("transformers", "transformers"),
        "asked": ("packed", "packed"),
        "apart": ("transformers", "packed"),
        "other": ("transformers", "transformers"),
    }
    assert str(ways["apart"]) == "transformers trains, packed samples (faster on a CPU)"
    assert "the architecture opt" in ways["other"].why
