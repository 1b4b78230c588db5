"""Wrong set-ups are refused when the config is read, with the key's path and what is allowed."""

import json
from pathlib import Path
from typing import Annotated, Any

import pytest

from bench.config import ConfigError, Model, RunConfig, build_suite, override, read_recipe, recipes
from bench.config.sections import LATER, Suite
from results.specification import Specification
from tests import tiny


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": ["grop"]}, ["method.grop", "did you mean", "grpo"]),
        ({"methods": []}, ["methods", "known"]),
        ({"methods": ["grpo", "grpo"]}, ["names one twice"]),
        ({"rolout": {}}, ["unknown key 'rolout'", "did you mean rollout"]),
        ({"rollout": {"grup": 4}}, ["rollout.grup", "unknown key", "did you mean group"]),
        ({"rollout": {"group": 0}}, ["rollout.group", "greater than or equal to 1", "found 0"]),
        ({"rollout": {"prompts": 2, "minibatches": 3}}, ["minibatches = 3", "at most prompts = 2"]),
        ({"method": {"grpo": {"clp": 0.2}}}, ["method.grpo", "clp", "did you mean clip"]),
        ({"method": {"grpo": {"clip": -1}}}, ["method.grpo", "clip", "greater than", "found -1"]),
        (
            {"methods": ["gift"], "method": {"gift": {"beta": -1.0}}},
            ["method.gift", "beta", "found -1"],
        ),
        ({"task": {"name": "arithmatic"}}, ["task", "did you mean arithmetic"]),
        ({"task": {"name": "arithmetic", "pol": 3}}, ["task", "pol", "did you mean pool"]),
        ({"rollout": {"group": 1}}, ["rollout.group = 1", "at least 2"]),
        (
            {"methods": ["grao"], "rollout": {"minibatches": 2}},
            ["minibatches * rollout.epochs = 2", "at most 1"],
        ),
        (
            {"methods": ["grao"], "task": {"name": "arithmetic", "gold_answers": 0}},
            ["reference answers", "has none"],
        ),
        (
            {"methods": ["sft"], "method": {"sft": {"source": "policy"}}},
            ["source = 'policy'", "demonstrations"],
        ),
        ({"reward": "corect"}, ["reward = 'corect'", "did you mean correct"]),
        ({"eval": {"curve": {"tset": 3}}}, ["unknown split 'tset'", "did you mean test"]),
        ({"eval": {"samples": 0, "greedy": False}}, ["leave nothing to evaluate"]),
        ({"eval": {"temperature": [1.0, 0]}}, ["eval.temperature", "above 0", "found [1.0, 0]"]),
        ({"eval": {"temperature": []}}, ["eval.temperature", "a list of different numbers"]),
        ({"eval": {"temperature": [0.6, 1, 0.6]}}, ["eval.temperature", "different numbers"]),
        ({"eval": {"temperature": "hot"}}, ["eval.temperature", "a number above 0", "found 'hot'"]),
        ({"budget": {"axis": "hours"}}, ["budget.axis", "updates"]),
        ({"budget": {"amount": float("nan")}}, ["budget.amount", "finite"]),
        ({"methods": ["rift"], "budget": {"axis": "tokens", "amount": 100}}, ["replay_rollouts"]),
        ({"seeds": [1, 1]}, ["seeds", "distinct"]),
        ({"model": {"hidden": 50, "heads": 3}}, ["hidden = 50", "multiple of"]),
        ({"primary": {"metrc": "avg"}}, ["primary.metrc", "unknown key", "did you mean metric"]),
        ({"primary": {"metric": "pass@4"}}, ["primary.metric", "'avg' or 'maj'", "pass@4"]),
        ({"primary": {"axis": "seconds"}}, ["primary.axis", "'flops'", "seconds"]),
        ({"primary": {"reading": "lax"}}, ["primary.reading", "'headline' or 'strict'"]),
        ({"primary": {"family": "all"}}, ["primary.family", "'control' or 'pairs'"]),
        ({"primary": {"decoding": "hot"}}, ["primary.decoding", "greedy, sampled, or a temp"]),
        (
            {"primary": {"decoding": "T=0.6"}},
            ["primary.decoding", "'T=0.6' is not evaluated", "greedy, sampled"],
        ),
        ({"primary": {"decoding": "greedy"}, "eval": {"greedy": False}}, ["not evaluated"]),
        ({"primary": {"split": "validation"}}, ["primary.split", "allowed: test"]),
        ({"primary": {"checkpoint": "selected"}}, ["primary.checkpoint", "curve.validation"]),
    ],
)
def test_refusals_name_the_key_and_what_is_allowed(changes, words):
    with pytest.raises(ConfigError) as caught:
        build_suite(tiny.recipe(**changes), origin="r.toml")
    for word in ["r.toml", *words]:
        assert word in str(caught.value)


def test_every_packaged_recipe_is_valid():
    assert {"quick", "smoke"} <= set(recipes())
    for name in recipes():
        assert build_suite(read_recipe(name), name, data=False).runs


def test_unknown_recipe_and_broken_toml(tmp_path):
    with pytest.raises(ConfigError, match="did you mean quick"):
        read_recipe("quikc")
    broken = tmp_path / "broken.toml"
    broken.write_text("methods = [")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_recipe(str(broken))


def test_overrides():
    changed = override(
        tiny.recipe(),
        ["method.gift.beta=2", "rollout.group=16", "task.name=arithmetic", "seeds=[3, 4]"],
    )
    assert changed["method"]["gift"]["beta"] == 2
    assert changed["rollout"]["group"] == 16
    assert changed["seeds"] == [3, 4]
    with pytest.raises(ConfigError, match="expected key=value"):
        override(tiny.recipe(), ["beta"])
    with pytest.raises(ConfigError, match="is a value, not a section"):
        override(tiny.recipe(), ["seeds.x=1"])


def test_a_methods_own_sections_apply_to_it_alone():
    suite = build_suite(
        tiny.recipe(
            methods=["grpo", "gift"], method={"gift": {"beta": 2.0, "optimizer": {"lr": 0.5}}}
        )
    )
    grpo, gift = suite.runs
    assert gift.optimizer.lr == 0.5 and gift.phases[0].fields == {"beta": 2.0}
    assert grpo.optimizer.lr == 1e-3


def test_labels_variants_and_phases():
    suite = build_suite(
        tiny.recipe(
            methods=["gift-2", "sft-grpo"],
            method={
                "gift-2": {"objective": "gift", "beta": 2.0},
                "sft-grpo": {
                    "phases": [{"method": "sft", "share": 0.25}, {"method": "grpo", "share": 0.75}]
                },
            },
        )
    )
    assert suite.runs[0].build_methods()[0].beta == 2.0  # pyright: ignore[reportAttributeAccessIssue]
    assert [suite.runs[1].source(i) for i in range(2)] == ["demonstrations", "policy"]
    with pytest.raises(ConfigError, match="must add up to 1"):
        build_suite(
            tiny.recipe(methods=["p"], method={"p": {"phases": [{"method": "sft", "share": 0.5}]}})
        )


def test_the_id_is_of_what_determines_the_result():
    one = tiny.run()
    assert tiny.run(micro_tokens=7).digest() == one.digest()
    assert tiny.run(seeds=[1]).digest() != one.digest()
    assert tiny.run(method={"grpo": {"clip": 0.3}}).digest() != one.digest()
    assert one.name == f"grpo-arithmetic-s0-{one.digest()}"


EARLIER = sorted((Path(__file__).parents[1] / "fixtures/schema-1/earlier").glob("*/run.json"))


@pytest.mark.parametrize("file", EARLIER, ids=lambda file: file.parent.name)
def test_runs_from_before_keep_their_ids(file):
    record = json.loads(file.read_text())
    assert RunConfig.model_validate(record["config"]).name == record["id"] == file.parent.name


def test_the_forward_pass_is_in_the_id_but_not_in_the_base():
    auto, own = (Model(backbone=name) for name in ("auto", "transformers"))
    assert "backbone" not in auto.model_dump()
    assert auto.starting_point() == own.starting_point()
    ids = {tiny.run(model={**tiny.MODEL, **m}).digest() for m in ({}, {"backbone": "auto"})}
    assert ids == {tiny.run().digest()}
    assert tiny.run(model={**tiny.MODEL, "backbone": "packed"}).digest() not in ids


def at_temperature(temperature):
    return tiny.run(eval={"temperature": temperature, "curve": {"test": 2}})


def test_one_temperature_is_held_and_written_as_a_number_however_it_is_given():
    for given in (1, 1.0, [1.0]):
        run = at_temperature(given)
        assert json.dumps(run.model_dump(mode="json")["eval"]["temperature"]) == "1.0"
        assert run.digest() == at_temperature(1.0).digest()
        assert run.eval.curve_decodings == run.eval.decodings
    assert [d.label for d in run.eval.decodings] == ["greedy", "sampled"]


def test_several_temperatures_are_decodings_of_their_own():
    run = at_temperature([1, 0.6, 0.25])
    assert run.digest() not in {at_temperature(t).digest() for t in (1.0, [1, 0.6], [0.6, 1])}
    assert RunConfig.model_validate(run.model_dump(mode="json")) == run
    assert run.eval.decodings == (
        ("greedy", 0.0, 1), ("sampled", 1.0, 4), ("T=0.6", 0.6, 4), ("T=0.25", 0.25, 4),
    )  # fmt: skip
    assert [d.label for d in run.eval.curve_decodings] == ["greedy", "sampled"]
    greedy = run.eval.model_copy(update={"samples": 0})
    assert greedy.decodings == greedy.curve_decodings == (("greedy", 0.0, 1),)
    sampled = run.eval.model_copy(update={"greedy": False})
    assert [d.label for d in sampled.curve_decodings] == ["sampled"]


class ModelWithMore(Model):
    more: Annotated[int, LATER] = 3


class RunWithMore(RunConfig):
    model: ModelWithMore = ModelWithMore()
    flag: Annotated[bool, LATER] = False


def test_a_key_added_later_changes_no_id_while_it_is_at_its_default():
    earlier = tiny.run()
    config = earlier.model_dump(mode="json")
    same = RunWithMore.model_validate(config)
    assert same.digest() == earlier.digest() and same.name == earlier.name
    assert same.model_dump(mode="json") == config  # what run.json and suite.json hold
    assert same.model.starting_point() == earlier.model.starting_point()
    for change in ({"flag": True}, {"model": {**config["model"], "more": 4}}):
        other = RunWithMore.model_validate({**config, **change})
        assert other.digest() != earlier.digest()
        assert RunWithMore.model_validate(other.model_dump(mode="json")) == other


def test_the_primary_specification_belongs_to_the_suite_and_changes_no_id():
    plain = build_suite(tiny.recipe())
    primary: Any = {"decoding": "greedy", "reading": "strict"}
    declared = build_suite(tiny.recipe(primary=primary))
    assert [r.name for r in plain.runs] == [r.name for r in declared.runs]
    assert "primary" not in plain.model_dump(mode="json")  # as suites from before it
    again = Suite.model_validate_json(json.dumps(declared.model_dump(mode="json")))
    assert again.primary == Specification(**primary) == declared.primary
    assert plain.primary == Specification()
