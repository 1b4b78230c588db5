"""Every recipe, run for two updates with every method that it names: a tiny model of the same
architecture in the place of its own, real rows of the data sets where it asks for these."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from bench.config import ConfigError, RunConfig, build_suite, read_recipe, recipes
from bench.suite.launch import launch
from bench.suite.plan import plan
from bench.train.loop import Loop, train
from tasks.arithmetic import Arithmetic
from tasks.gsm8k import GSM8K
from tasks.hh import HH
from tasks.jsonl import Jsonl
from tasks.math import MATH
from tasks.skills import Skills
from tests import architectures, tiny

REAL = [n for n in recipes() if "path" in read_recipe(n).get("model", {})]
ROWS = 30


@pytest.fixture(scope="module")
def few(data_dir, tmp_path_factory) -> Path:
    """The first rows of each data set, as a data folder of its own."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("gsm8k/train", "gsm8k/test", "math/train", "math/test", "math/math500"):
        lines = (data_dir / f"{name}.jsonl").read_text().splitlines(keepends=True)[:ROWS]
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "hh_rlhf").mkdir()
    with gzip.open(data_dir / "hh_rlhf" / "test.jsonl.gz", "rt") as file:
        lines = [line for line, _ in zip(file, range(2 * ROWS), strict=False)]
    for split, part in (("train", lines[:ROWS]), ("test", lines[ROWS:])):
        with gzip.open(folder / "hh_rlhf" / f"{split}.jsonl.gz", "wt") as file:
            file.writelines(part)
    return folder


@pytest.fixture(scope="module")
def model(few, tmp_path_factory) -> Path:
    rows = [json.loads(line) for f in few.rglob("*.jsonl") for line in f.read_text().splitlines()]
    texts = [str(value) for row in rows for value in row.values()]
    return architectures.save("qwen2", tmp_path_factory.mktemp("qwen2"), texts)


def judge(prompt: str, responses: list[str], reference: str) -> list[float]:
    return [len(response) - 12.0 for response in responses]


def shrunk(name: str, few: Path, model: Path) -> dict[str, Any]:
    recipe = read_recipe(name)
    assert (
        architectures.SHAPES["qwen2"][0] == "Qwen2Config" and "Qwen2.5" in recipe["model"]["path"]
    )
    recipe["model"] |= {"path": str(model), "revision": None}
    recipe["task"] |= {"data_dir": str(few), "validation": 4}
    if recipe["task"]["name"] == "hh":
        recipe["task"]["judge"] = f"{__file__}:judge"
    if recipe["task"]["name"] == "jsonl":
        there = {"hub": "", "hub_config": None, "train": "math/train.jsonl"}
        recipe["task"] |= {**there, "question": "problem", "answer": "answer"}
    return small(recipe)


def small(recipe: dict[str, Any]) -> dict[str, Any]:
    """Two updates of a few short rows."""
    recipe["rollout"] = recipe.get("rollout", {}) | {"prompts": 4, "group": 4, "max_tokens": 8}
    recipe["budget"] = {"axis": "updates", "amount": 2}
    recipe["replay_rollouts"] = 1
    few_questions = dict.fromkeys(recipe["eval"]["final"], 1)
    recipe["eval"] = {"points": 1, "curve": few_questions, "final": few_questions, "samples": 1}
    recipe["eval"] |= {"train_questions": 1, "greedy": False}
    recipe["seeds"] = 1
    for own in recipe.get("method", {}).values():
        own.get("rollout", {}).pop("prompts", None)
    return recipe


@pytest.fixture
def coin(monkeypatch):
    """Half of the answers count as right, and are graded by the checker nevertheless: a tiny model
    solves nothing, and no objective but imitation would have anything to learn."""
    for kind in (Arithmetic, Skills, GSM8K, MATH, Jsonl, HH):
        graded = kind.grade

        def grade(self, example, responses, graded=graded):
            grades = graded(self, example, responses)
            assert len(grades) == len(responses)
            return [
                replace(g, correct=i % 2 == 0, reward=None if g.reward is None else (-1.0) ** i)
                for i, g in enumerate(grades)
            ]

        monkeypatch.setattr(kind, "grade", grade)


QUICK = ("gsm8k-qwen2.5-0.5b", "gift-dapo-32b")
LONG = ("study", "trl-entrants")


def runs_for_two_updates(recipe: dict[str, Any], name: str, out: Path) -> None:
    suite = build_suite(recipe, name)
    assert [r.method for r in suite.runs] == read_recipe(name)["methods"]
    for run in suite.runs:
        done = launch(run, out, name)
        assert done is not None and done.status == "finished", run.method
        lines = (out / run.name / "steps.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        assert len(rows) == 2 and not all(row["empty"] for row in rows), run.method
        assert (out / run.name / "evals.parquet").is_file()


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in REAL]
)
def test_a_recipe_of_a_real_model_runs(name, few, model, coin, tmp_path, monkeypatch):
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    runs_for_two_updates(shrunk(name, few, model), name, tmp_path)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in recipes() if n not in REAL],
)
def test_a_recipe_of_an_embedded_task_runs(name, coin, tmp_path, monkeypatch):
    if any(method.startswith("trl-") for method in read_recipe(name)["methods"]):
        pytest.importorskip("trl")
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    runs_for_two_updates(small(read_recipe(name) | {"model": tiny.MODEL}), name, tmp_path)


class Killed(Loop):
    """Ends without a word after the first update and its evaluation."""

    def step(self) -> str | None:
        if self.session.ledger.updates == 1:
            raise KeyboardInterrupt
        return super().step()


def test_the_gpus_recipe_from_scratch_is_planned_and_resumed(coin, tmp_path, monkeypatch):
    name = "scratch-50m"
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    suite = build_suite(read_recipe(name))
    assert suite.hardware is not None and suite.hardware.gpus == 1
    cost = plan(suite, 1, hardware=suite.hardware)
    assert 30e6 < cost.parameters < 100e6
    assert 0 < cost.seconds_base < cost.seconds < 1800

    recipe = small(read_recipe(name) | {"model": tiny.MODEL})
    recipe["eval"]["points"] = 2
    run = next(r for r in build_suite(recipe).runs if r.method == "gift")  # it has a reference

    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path / "parts", name, by=Killed)
    for where in ("whole", "parts"):
        assert train(run, tmp_path / where, name)
    one, two = (steps(tmp_path / where, run) for where in ("whole", "parts"))
    assert len(one) == 2 and one == two


def steps(out: Path, run: RunConfig) -> list[dict[str, Any]]:
    """What was measured, but for time and memory."""
    rows = map(json.loads, (out / run.name / "steps.jsonl").read_text().splitlines())
    return [{k: v for k, v in r.items() if not k.startswith(("seconds", "peak"))} for r in rows]


def test_another_start_than_the_runs_own_is_refused(coin, tmp_path, monkeypatch):
    """A base that a GPU built anew, or a model's folder that was changed, is another reference."""
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    recipe = small(read_recipe("scratch-50m") | {"model": tiny.MODEL})
    recipe["eval"]["points"] = 2
    runs = {r.method: r for r in build_suite(recipe).runs}
    for name in ("gift", "grpo"):
        with pytest.raises(KeyboardInterrupt):
            train(runs[name], tmp_path, "s", by=Killed)
    (weights,) = (tmp_path / "cache" / "base").glob("*/model.safetensors")
    changed = load_file(weights)
    changed["model.norm.weight"] += 0.1
    save_file(changed, weights, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="not the model that the run began with"):
        train(runs["gift"], tmp_path, "s")
    assert train(runs["grpo"], tmp_path, "s")  # its checkpoint holds all that it needs


def test_the_recipes_are_those_of_the_design():
    assert set(REAL) == {
        "gsm8k-qwen2.5-0.5b",
        "gsm8k-qwen2.5-1.5b",
        "math-qwen2.5-math-7b",
        "grao-hh-qwen2.5-7b",
        "gift-dapo-32b",
    }
    assert set(recipes()) - set(REAL) == {
        "quick",
        "smoke",
        "study",
        "trl-entrants",
        "scratch-50m",
    }
