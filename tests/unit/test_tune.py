"""Equal tuning: the same random trials for every method, and a recipe that holds the best."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from bench.config import ConfigError, build_suite, read_recipe
from bench.config.sections import Tuning
from bench.suite import tune
from bench.suite.grid import run_suite
from tests import tiny

RECIPE = """# a comment that stays
name = "tiny"
methods = ["grpo", "grpo-4", "dpo", "ppo"]

[optimizer]
lr = 1e-3

[tune]
trials = 3
seeds = 2
fixed = { grpo = ["minibatches"], grpo-4 = ["minibatches"] }

[method.grpo-4] # what makes the row
objective = "grpo"
rollout = { minibatches = 4 }

[method.dpo]
beta = 0.7
optimizer = { lr = 0.5 }
"""


def suite(text: str = RECIPE, **changes):
    content = {**tiny.recipe(), **tomllib.loads(text), **changes}
    content["rollout"] = {"prompts": 4, "group": 4, "max_tokens": 12}
    return build_suite(tune.untuned(content, "tiny"), "tiny")


def test_what_belongs_to_a_row_is_not_searched():
    found = tune.spaces(suite())
    assert [*found["grpo"]] == [*found["grpo-4"]] == ["lr"]
    assert [*found["dpo"]] == ["lr", "minibatches", "beta"]
    assert [*found["ppo"]] == ["lr", "minibatches", "critic_lr"]
    rates = {(r["lr"].low, r["lr"].high) for r in found.values()}
    assert rates == {(1e-4, 1e-2)}  # of all methods alike, whatever an earlier tuning had left


def test_an_extension_widens_the_ranges_of_all_methods_alike():
    narrow, wide = tune.spaces(suite()), tune.spaces(suite(tune={"widen": 2.0}))
    for label in ("dpo", "ppo"):
        for name, values in narrow[label].items():
            other = wide[label][name]
            if name == "minibatches":
                assert other == values
            else:
                assert (other.low, other.high) == (values.low / 2, values.high * 2)


def test_fixing_what_is_not_searched_is_refused():
    plan = {"tune": {"fixed": {"grpo": ["clip"]}}}
    with pytest.raises(ConfigError, match=r"tune.fixed.grpo: clip is not searched: lr, minibatc"):
        suite(**plan)


@pytest.mark.parametrize("lr", [(10, 0.1), (0, 1), (1, 1)])
def test_a_range_that_is_none_is_refused(lr):
    with pytest.raises(ValidationError, match="two factors, 0 < low < high"):
        Tuning(lr=lr)


def test_a_trial_is_a_function_of_its_number():
    spaces = tune.spaces(suite())
    assert tune.setting(spaces["dpo"], tune.DEFAULTS) == {}
    for trial in range(20):
        chosen = {label: tune.setting(ranges, trial) for label, ranges in spaces.items()}
        assert len({c["lr"] for c in chosen.values()}) == 1  # common random numbers
        assert chosen["dpo"]["minibatches"] in (1, 4)
    many = [tune.setting(spaces["dpo"], trial) for trial in range(400)]
    shares = [math.log10(float(s["lr"]) / 1e-4) / 2 for s in many]
    assert sum(shares) / 400 == pytest.approx(0.5, abs=4 / math.sqrt(12 * 400))
    assert sum(s["minibatches"] == 4 for s in many) / 400 == pytest.approx(0.5, abs=0.1)
    assert len({s["beta"] for s in many}) > 300


def test_every_method_gets_the_same_trials_and_seeds():
    grid = tune.trials(suite())
    assert len(grid.runs) == 4 * (1 + 3) * 2
    labels = pd.Series([run.method for run in grid.runs])
    assert set(labels.value_counts()) == {2}
    assert {run.seed for run in grid.runs} == {1000, 1001}
    for run in grid.runs:
        assert (run.eval.curve, run.eval.asked(("test", "validation"), True)) == (
            {}, {"validation": 0},
        )  # fmt: skip


def test_settings_reach_the_run():
    run = next(r for r in suite().runs if r.method == "ppo")
    made = tune.trial_run(run, {"lr": 2e-3, "minibatches": 4, "critic_lr": 5.0})
    assert made.optimizer.lr == 2e-3
    assert made.optimizer.critic_lr == pytest.approx(1e-2)
    assert made.rollout.minibatches == 4
    plain = tune.trial_run(run, {"lr": 2e-3})
    assert plain.optimizer.critic_lr == pytest.approx(2e-2)  # ten times the policy's
    dpo = next(r for r in suite().runs if r.method == "dpo")
    assert tune.trial_run(dpo, {"beta": 0.3}).phases[0].fields == {"beta": 0.3}


def log(suite_) -> pd.DataFrame:
    """Trial 2 is the best of all; its beta of dpo stands at an end."""
    rows = []
    for label, ranges in tune.spaces(suite_).items():
        for trial in (-1, 0, 1, 2):
            chosen = tune.setting(ranges, trial)
            edges = {"beta": "high"} if label == "dpo" and trial == 2 else {}
            row = {"method": label, "trial": trial, "setting": chosen, "edges": edges}
            rows += [{**row, "seed": 1000 + k, "score": trial / 10 + k / 100} for k in range(2)]
    return pd.DataFrame(rows)


def test_the_best_trial_is_never_the_recipes_own():
    changed = log(suite())
    changed.loc[changed["trial"] == -1, "score"] = 0.9
    found = tune.best(changed)
    assert {(b.method, b.trial, round(b.score, 3)) for b in found} == {
        (m, 2, 0.205) for m in ("grpo", "grpo-4", "dpo", "ppo")
    }


def test_the_tuned_recipe_keeps_its_comments_and_holds_the_best():
    made = suite()
    text = tune.tuned_recipe(RECIPE, made, tune.best(log(made)), "tiny-trials.jsonl")
    assert text.startswith("# a comment that stays") and "# what makes the row" in text
    content = tomllib.loads(text)
    spaces = tune.spaces(made)
    dpo = tune.setting(spaces["dpo"], 2)
    assert content["method"]["dpo"]["beta"] == dpo["beta"]
    assert content["method"]["dpo"]["optimizer"]["lr"] == dpo["lr"]
    assert content["method"]["dpo"]["rollout"]["minibatches"] == dpo["minibatches"]
    assert content["method"]["grpo-4"]["rollout"] == {"minibatches": 4}
    assert content["tune"]["log"] == "tiny-trials.jsonl"
    again = build_suite({**tiny.recipe(), **content, "rollout": {"prompts": 4, "group": 4}}, "x")
    by_label = {run.method: run for run in again.runs}
    assert by_label["ppo"].optimizer.critic_lr == pytest.approx(
        tune.setting(spaces["ppo"], 2)["critic_lr"] * by_label["ppo"].optimizer.lr, rel=1e-2
    )


def test_a_log_travels_with_its_recipe(tmp_path: Path):
    made = suite()
    tune.write_tuned(tmp_path / "mine.toml", RECIPE, made, log(made))
    tuned = build_suite(
        {**tiny.recipe(), **read_recipe(str(tmp_path / "mine.toml")),
         "rollout": {"prompts": 4, "group": 4}}, "mine"
    )  # fmt: skip
    tune.bring_log(tmp_path / "mine.toml", tuned, tmp_path / "runs" / "mine")
    lines = (tmp_path / "runs" / "mine" / "trials.jsonl").read_text().splitlines()
    assert len(lines) == len(log(made)) and json.loads(lines[0])["method"] == "grpo"
    (tmp_path / "mine-trials.jsonl").unlink()
    with pytest.raises(ConfigError, match="there is no file"):
        tune.bring_log(tmp_path / "mine.toml", tuned, tmp_path / "runs" / "other")


def test_no_file_is_written_over_that_is_not_the_recipes_own(tmp_path: Path):
    recipe = tmp_path / "mine.toml"
    made = suite()
    recipe.write_text(RECIPE)
    tune.check_target(recipe, recipe, made)  # the recipe itself, whose log is not there yet
    tune.check_target(tmp_path / "new.toml", recipe, made)
    (tmp_path / "mine-trials.jsonl").write_text("somebody's")
    with pytest.raises(ConfigError, match=r"mine-trials\.jsonl exists"):
        tune.check_target(recipe, recipe, made)
    named = suite(tune={"log": "mine-trials.jsonl"})
    tune.check_target(recipe, recipe, named)
    (tmp_path / "other.toml").write_text("somebody's")
    with pytest.raises(ConfigError, match=r"other\.toml exists"):
        tune.check_target(tmp_path / "other.toml", recipe, made)


def test_a_folder_keeps_the_trials_that_it_holds(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text("{}\n")
    (tmp_path / "runs").mkdir()
    named = suite(tune={"log": "log.jsonl"})
    tune.bring_log(tmp_path / "mine.toml", named, tmp_path / "runs")
    tune.bring_log(tmp_path / "mine.toml", named, tmp_path / "runs")
    (tmp_path / "runs" / "trials.jsonl").write_text("other\n")
    with pytest.raises(ConfigError, match="trials of another tuning"):
        tune.bring_log(tmp_path / "mine.toml", named, tmp_path / "runs")
    assert (tmp_path / "runs" / "trials.jsonl").read_text() == "other\n"


def test_trials_are_made_once_and_scored_on_validation_questions(tmp_path: Path):
    content = tiny.recipe(methods=["grpo", "sft"], budget={"axis": "updates", "amount": 1})
    made = build_suite({**content, "tune": {"trials": 1, "seeds": 1}}, "tiny")

    def run(grid, out):
        return run_suite(grid, out, workers=1)

    first = tune.tune(made, tmp_path / "t", run=run)
    assert sorted(zip(first["method"], first["trial"], strict=True)) == [
        ("grpo", -1), ("grpo", 0), ("sft", -1), ("sft", 0),
    ]  # fmt: skip
    assert first["score"].between(0, 1).all() and (first["split"] == "validation").all()
    again = tune.tune(made, tmp_path / "t", run=run)
    pd.testing.assert_frame_equal(first, again)
