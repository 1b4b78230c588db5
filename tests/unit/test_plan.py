"""Costs are estimated from names and configs alone: no weights, no data, no hub."""

from __future__ import annotations

import re
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.config import ConfigError, Hardware, Lora, Model, build_suite, read_recipe
from bench.model.shapes import KNOWN, Shape, shape
from bench.suite.plan import plan
from tests import architectures, tiny

REAL = (
    "gsm8k-qwen2.5-0.5b",
    "gsm8k-qwen2.5-1.5b",
    "math-qwen2.5-math-7b",
    "grao-hh-qwen2.5-7b",
    "gift-dapo-32b",
    "scratch-50m",
)


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.delenv("EVENBENCH_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize(
    ("name", "parameters"),  # as the models' weights hold them
    [
        ("Qwen/Qwen2.5-0.5B", 494_032_768),
        ("Qwen/Qwen2.5-Math-7B", 7_615_616_512),
        ("Qwen/Qwen2.5-32B", 32_763_876_352),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400),
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
        ("google/gemma-2-2b-it", 2_614_341_888),
        ("openai-community/gpt2", 124_439_808),
    ],
)
def test_known_shapes_have_the_known_numbers_of_weights(name, parameters):
    found = shape(Model(path=name), 0).parameters
    assert found == pytest.approx(parameters, rel=0.008 if "gpt2" in name else 1e-3)


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3", "gpt2"])
def test_a_folders_shape_is_its_configs(tmp_path, name):
    from transformers import AutoModelForCausalLM

    folder = architectures.save(name, tmp_path)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tables = {id(m.weight) for m in model.modules() if type(m).__name__ == "Embedding"}
    tables.add(id(model.get_output_embeddings().weight))
    matrices = [p for p in model.parameters() if p.dim() == 2 and id(p) not in tables]
    found = shape(Model(path=str(folder)), 0)
    assert found.linear == sum(p.numel() for p in matrices)
    assert found.head == model.get_output_embeddings().weight.numel()


def test_what_the_packed_forward_holds_is_counted():
    from bench.model.fused import FusedWeights

    made = FusedWeights(tiny.policy(num_key_value_heads=1).model, adapters=True).layers()
    held = sum(w.qkv.numel() + w.gate_up.numel() for w in made)
    assert held == Shape(16, 2, 2, 1, 8, 24, 0, True).fused


def test_adapters_are_counted_as_peft_makes_them(tmp_path):
    from bench.model import start

    folder = architectures.save("qwen2", tmp_path)
    model = Model(path=str(folder), lora=Lora(r=3))
    policy = start.load(folder, model)
    assert shape(model, 0).adapters(Lora(r=3)) == sum(p.numel() for p in policy.parameters())


def test_an_unknown_model_is_named_with_those_known(alone):
    with pytest.raises(ConfigError) as caught:
        shape(Model(path="someone/unheard-of"), 0)
    assert "someone/unheard-of" in str(caught.value) and next(iter(KNOWN)) in str(caught.value)
    done = CliRunner().invoke(
        app, ["plan", "gsm8k-qwen2.5-0.5b", "-o", "model.path=someone/unheard-of"]
    )
    assert done.exit_code == 2 and "whose shape is known" in done.output


@pytest.mark.parametrize("name", REAL)
def test_a_recipes_cost_needs_neither_hub_nor_data(alone, name):
    recipe = read_recipe(name)
    done = CliRunner().invoke(app, ["plan", name], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    hardware = recipe["hardware"]
    assert f"{hardware.get('gpus', 1)} x {hardware['name']}" in done.output
    assert "memory per GPU" in done.output and "does not fit" not in done.output
    assert recipe["expected"] in done.output and "estimated by `evenbench plan`" in done.output


@pytest.mark.parametrize("name", REAL)
def test_what_a_recipe_states_is_what_plan_says(alone, name):
    suite = build_suite(read_recipe(name), data=False)
    assert suite.hardware is not None
    meant = suite.hardware
    cost = plan(suite, min(meant.gpus // meant.gpus_per_run, len(suite.runs)), hardware=meant)
    number, unit = suite.expected.split()[:2]
    stated = float(number) * {"minutes": 60, "hours": 3600, "days": 86400}[unit]
    assert stated == pytest.approx(cost.seconds + cost.seconds_base, rel=0.1)
    gigabytes = re.search(r"(\d+) GB", suite.expected)
    if gigabytes:
        assert float(gigabytes[1]) == pytest.approx(cost.memory / 1e9, abs=1)


def test_ways_through_the_model_differ_in_time(alone):
    recipe = read_recipe("gsm8k-qwen2.5-0.5b")

    def seconds(**section):
        suite = build_suite({**recipe, "model": recipe["model"] | section}, data=False)
        return plan(suite, 1, hardware=suite.hardware).seconds

    assert seconds() == seconds(attention="sdpa")  # on a GPU auto is transformers' own
    packed = {"backbone": "packed"}
    assert seconds(**packed, lora={}) < seconds(**packed) < seconds()


def test_the_forward_pass_is_said_and_counted(alone):
    def cost(device="cpu", **section):
        model = {"path": "Qwen/Qwen2.5-0.5B", **section}
        return plan(build_suite(tiny.recipe(model=model)), 1, device, teraflops=1)

    assert "forward pass: packed (faster on a CPU)" in cost().assumptions
    assert "forward pass: transformers" in cost("cuda").assumptions
    assert "forward pass: transformers (asked for)" in cost(attention="sdpa").assumptions
    known = KNOWN["Qwen/Qwen2.5-0.5B"]
    assert cost().memory == cost(backbone="transformers").memory + 4 * known.fused
    other = "forward pass: transformers (the packed forward does not take the architecture of"
    assert other in cost(path="Qwen/Qwen3-0.6B").assumptions
    refused = "model.backbone = 'packed': this forward does not take the architecture of Qwen/Qwen3"
    with pytest.raises(ConfigError, match=refused):
        cost(path="Qwen/Qwen3-0.6B", backbone="packed")


def test_a_base_built_on_the_spot_is_counted():
    whole, half = (
        plan(
            build_suite(tiny.recipe(model={**tiny.MODEL, "pretrain": {"steps": n}})),
            1,
            "cpu",
            teraflops=1,
        )
        for n in (200, 100)
    )
    assert whole.seconds == half.seconds
    assert whole.seconds_base == pytest.approx(2 * half.seconds_base) != 0


def test_what_does_not_fit_is_said(alone):
    words = ["plan", "gsm8k-qwen2.5-1.5b", "-o", "micro_tokens=65536"]
    assert "does not fit into the 80 GB of a GPU" in CliRunner().invoke(app, words).output


def test_costs_follow_what_they_depend_on(alone):
    hardware = Hardware(name="G", memory_gb=80, teraflops=1000, bandwidth=3)
    base = {"path": "Qwen/Qwen2.5-0.5B", "dtype": "bfloat16"}

    def cost(teraflops=None, on: Hardware | None = hardware, **changes):
        content = tiny.recipe(task={"name": "gsm8k"}, **{"model": base, **changes})
        content["eval"] = {"curve": {"test": 4}, "final": {"test": 8}}
        return plan(build_suite(content, data=False), 1, "cuda", teraflops=teraflops, hardware=on)

    one = cost()
    assert cost(model={**base, "path": "Qwen/Qwen2.5-1.5B"}).flops > 2 * one.flops
    assert cost(model={**base, "lora": {}}).memory < one.memory / 2
    assert cost(model={**base, "lora": {}}).flops < one.flops
    assert cost(model={**base, "dtype": "float32"}).memory > 0.8 * one.memory
    assert cost(methods=["gift"]).memory > one.memory  # the reference
    assert cost(methods=["ppo"]).memory > 1.5 * one.memory  # and a critic
    assert cost(checkpoint="all").disk > cost().disk > cost(checkpoint="none").disk
    slower = hardware.model_copy(update={"bandwidth": 0.3})
    assert cost(on=slower).seconds > one.seconds
    assert cost(teraflops=1000, on=None).seconds < one.seconds  # arithmetic alone
    assert "the data are not here" in one.assumptions
