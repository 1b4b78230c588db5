"""Every recipe for real models, run for two updates: a tiny model of the same architecture in its
place, real rows of the data sets, every method that the recipe names."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.config import build_suite, read_recipe, recipes
from bench.train import train
from tasks.hh import HH
from tasks.jsonl import Jsonl
from tasks.math import MATH
from tests import architectures

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
    recipe["rollout"] |= {"prompts": 4, "group": 4, "max_tokens": 8}
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
    from tasks.gsm8k import GSM8K

    for kind in (GSM8K, MATH, Jsonl, HH):
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


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in REAL]
)
def test_a_recipe_runs(name, few, model, coin, tmp_path, monkeypatch):
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    suite = build_suite(shrunk(name, few, model), name)
    assert [r.method for r in suite.runs] == read_recipe(name)["methods"]
    for run in suite.runs:
        done = train(run, tmp_path, name)
        assert done is not None and done["status"] == "finished", run.method
        lines = (tmp_path / run.name / "steps.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        assert len(rows) == 2 and not all(row["empty"] for row in rows), run.method
        assert (tmp_path / run.name / "evals.parquet").is_file()


def test_the_recipes_are_those_of_the_design():
    assert set(REAL) == {
        "gsm8k-qwen2.5-0.5b",
        "gsm8k-qwen2.5-1.5b",
        "math-qwen2.5-math-7b",
        "grao-hh-qwen2.5-7b",
        "gift-dapo-32b",
    }
    assert set(recipes()) - set(REAL) >= {"quick", "smoke", "study"}
