"""Rewards of runs, and what is said of rows that cannot be used."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest

import tasks
from bench.config import ConfigError, installed_rewards
from bench.train.rewards import reward_function
from bench.train.session import broken_rows
from tasks import Grade
from tests import tiny

RIGHT = Grade(True, True, "ok", "", "5", True)
EXAMPLE = tasks.get("arithmetic").examples("test")[0]


@pytest.mark.parametrize(
    "returned",
    [
        "float('nan')",
        "float('inf')",
        "None",
        "'1.0'",
        "[1, 2]",
        "1j",
        "10**400",
        "__import__('torch').ones(2)",
    ],
)
def test_a_reward_that_is_no_finite_number_is_refused(tmp_path, returned):
    (tmp_path / "odd.py").write_text(f"def reward(example, response, grade): return {returned}\n")
    name = f"{tmp_path}/odd.py:reward"
    with pytest.raises(ValueError, match="must be a finite number") as caught:
        reward_function(name)(EXAMPLE, "so 5", RIGHT, 0)
    for told in (name, EXAMPLE.id, repr(eval(returned)), "so 5"):
        assert told in str(caught.value)


def test_a_reward_that_raises_is_named_with_its_question(tmp_path):
    (tmp_path / "odd.py").write_text("def reward(example, response, grade): return 1 / 0\n")
    with pytest.raises(ValueError, match="raises ZeroDivisionError: division by zero") as caught:
        reward_function(f"{tmp_path}/odd.py:reward")(EXAMPLE, "so 5", RIGHT, 0)
    assert EXAMPLE.id in str(caught.value) and "so 5" in str(caught.value)


def test_a_judges_nan_is_refused_too():
    with pytest.raises(ValueError, match="reward 'correct' is nan"):
        reward_function("correct")(
            EXAMPLE, "", RIGHT.__class__(**{**vars(RIGHT), "reward": float("nan")}), 0
        )


def test_numbers_of_any_kind_are_rewards(tmp_path):
    (tmp_path / "kinds.py").write_text(
        "import numpy as np, torch\n"
        "KINDS = [True, 2, 0.5, np.float32(0.5), np.bool_(True), torch.tensor(0.25)]\n"
        "def reward(example, response, grade): return KINDS[int(response)]\n"
    )
    reward = reward_function(f"{tmp_path}/kinds.py:reward")
    values = [reward(EXAMPLE, str(i), RIGHT, 0) for i in range(6)]
    assert values == [1.0, 2.0, 0.5, 0.5, 1.0, 0.25] and {type(v) for v in values} == {float}
    assert np.isfinite(values).all()


def test_an_installed_reward_is_known_by_its_name(monkeypatch):
    point = EntryPoint("half", "operator:truediv", "evenbench.rewards")
    monkeypatch.setattr(EntryPoint, "load", lambda self: lambda example, text, grade: 0.5)
    monkeypatch.setattr("bench.config.plugins.entry_points", lambda group: [point])
    assert tiny.run(reward="half").reward == "half"
    assert installed_rewards() == {"half": point}
    monkeypatch.setattr("bench.train.rewards.installed_rewards", installed_rewards)
    assert reward_function("half")(EXAMPLE, "", RIGHT, 0) == 0.5
    with pytest.raises(ConfigError, match="did you mean half"):
        tiny.run(reward="hlaf")


def test_rows_left_out_are_counted_once_and_listed_in_part(monkeypatch):
    task, run = tasks.get("arithmetic"), tiny.run()
    lines = [f"train.jsonl:{n}: no field 'answer'" for n in range(1, 13)]
    broken = {
        "train": lines,
        "validation": lines,
        "ood-5": ["ood.jsonl:1: no JSON"],
        "ood-4": ["x"],
    }
    monkeypatch.setattr(type(task), "broken", lambda self, split: broken.get(split, []))
    (warning,) = broken_rows(run, task, listed=3)  # ood-4 is no part of this run
    assert warning == (
        "13 row(s) of the data are left out and never score: " + "; ".join(lines[:3])
        + "; and 10 more"
    )  # fmt: skip
    monkeypatch.undo()
    assert broken_rows(run, task) == []
