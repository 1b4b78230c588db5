"""docs/tasks.md shows code and recipe entries; they run."""

import re
import tomllib
from pathlib import Path

import pytest

import tasks
from bench.train.rewards import reward_function
from tasks.contract import check_task

PAGE = (Path(__file__).parents[2] / "docs/tasks.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def code(tmp_path):
    for block in blocks("python"):
        (tmp_path / block.split('"""')[1]).write_text(block)
    return tmp_path


def test_every_task_stands_on_the_page():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) >= set(tasks.names())


def test_recipe_entries_build():
    entries = [tomllib.loads(block)["task"] for block in blocks("toml")]
    assert [entry.pop("name") for entry in entries] == ["jsonl"] * 4
    built = [tasks.get("jsonl", **entry) for entry in entries]
    assert [task.splits for task in built] == [("test",)] * 3 + [("train", "validation", "test")]


def test_the_plugin_task_keeps_the_contract(code):
    task = tasks.get(f"{code}/my_task.py:Capitals")
    assert check_task(task) == []
    (peru, _) = task.examples("test")
    grades = task.grade(peru, ["It is Lima.", "Lima!", "Quito"])
    assert [(g.correct, g.strict, g.format_ok) for g in grades] == [
        (True, True, True), (True, False, False), (False, False, False),
    ]  # fmt: skip
    loud = tasks.get(f"{code}/my_task.py:Capitals", shout=True)
    assert loud.examples("test")[0].prompt == "The capital of PERU?"


def test_the_plugin_reward(code):
    reward = reward_function(f"{code}/my_reward.py:short_and_right")
    task = tasks.get(f"{code}/my_task.py:Capitals")
    peru = task.examples("test")[0]
    texts = ["Lima", "Lima" + " " * 996, "Lima" * 5000, "Rome"]
    values = [reward(peru, t, g, 0) for t, g in zip(texts, task.grade(peru, texts), strict=True)]
    assert values == pytest.approx([0.999, 0.75, 0.5, 0.0])
