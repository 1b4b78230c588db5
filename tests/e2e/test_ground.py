"""The proving ground: controls on the task `skills` with the recipe quick's settings. Fast twins of
them are in tests/laws/test_controls.py."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportIndexIssue=false, reportOperatorIssue=false
# pyright: reportReturnType=false

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import results
import tasks
from bench.cli import app
from bench.config import build_suite, read_recipe
from bench.model import start
from bench.model.policy import Policy
from bench.model.rows import pad
from bench.suite.launch import launch
from bench.tools import ground
from results import groups, scores
from tasks import Example
from tasks.skills import SHARES, read, work
from tests import tiny

RUNGS = [f"{100 * share:g} %" for share in SHARES]
BASE = {**tiny.recipe(), "eval": {"samples": 2}}


def said(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, words, env={"COLUMNS": "100"})
    return found.exit_code, " ".join(found.output.split())


@pytest.fixture
def small_base(monkeypatch: pytest.MonkeyPatch, module_cache: None) -> None:
    """Of four updates, in place of the one that takes a minute."""
    monkeypatch.setattr(ground, "RECIPE", {**BASE, "eval": {"samples": 2}})


def test_check_tells_what_the_base_of_a_task_does(small_base: None):
    code, output = said("check", "--task", "skills")
    assert code == 0 and "every rule nothing" in output
    assert "The base on test" in output and "What answers do" in output
    assert all(f"{rung} 8" in output for rung in RUNGS)  # 85 or 86 questions each


def test_check_without_a_tokenizer_of_its_own_shows_no_base(
    small_base: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(type(tasks.get("arithmetic")), "word_pattern", None)
    assert ground.base_tables("arithmetic") == []


def test_check_on_a_suite(small_base: None, tmp_path: Path):
    suite = build_suite({
        **BASE, "task": "skills", "methods": ["grpo", "sft"],
        "eval": {"points": 1, "curve": {"test": 12}, "final": {"test": 24}, "samples": 2},
    })  # fmt: skip
    for run in suite.runs:
        launch(run, tmp_path / "s", "s")
    code, output = said("check", "--task", "skills", "--on", str(tmp_path / "s"))
    assert code == 0
    assert "can the questions of test tell the methods apart?" in output
    assert "accuracy by rung in %, greedy" in output and "declared of the base" in output
    told = groups.of_task(results.load(tmp_path / "s"), "skills")
    assert {meta["rung"] for meta in told.values()} == {*RUNGS}
    code, output = said("check", "--task", "fractions", "--on", str(tmp_path / "s"))
    assert code == 2 and "these runs are on skills, not on fractions" in output


def test_on_goes_with_a_task(tmp_path: Path):
    assert "--on goes with --task" in said("check", "grpo", "--on", str(tmp_path))[1]


# The rest takes minutes: the base of 0.34 M parameters and four runs of quick's size.


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, module_cache: None) -> results.Results:
    folder = tmp_path_factory.mktemp("runs") / "controls"
    recipe = read_recipe("quick")
    kept = {k: recipe[k] for k in ("rollout", "budget", "optimizer")}
    controls = {
        f"grpo-{reward}": {"objective": "grpo", "reward": reward} for reward in ("random", "format")
    }
    planned = build_suite({
        **kept, "name": "controls", "seeds": 1, "task": "skills", "method": controls,
        "methods": [*controls, "naive", "grpo", "rft"],
        "eval": {"points": 1, "curve": {"test": 0}, "final": {"test": 0}, "train_questions": 0},
    })  # fmt: skip
    for run in planned.runs:
        launch(run, folder, "controls")
    return results.load(folder)


@pytest.fixture(scope="module")
def base(module_cache: None) -> pd.DataFrame:
    """What the base's answers do, a row a rung."""
    *_, table = ground.base_tables("skills")
    return table.frame.set_index("group")


@pytest.fixture(scope="module")
def right(suite: results.Results) -> pd.DataFrame:
    """Method x rung: the share of worked answers with the right step, at the end."""
    *_, table = ground.suite_tables("skills", [Path(suite.runs["path"].iloc[0]).parent])
    return table.frame.set_index("method")[RUNGS]


@pytest.mark.slow
def test_the_base_does_each_step_rightly_in_the_declared_share(base: pd.DataFrame):
    """Within a fifth or three binomial standard errors: of six rungs one often lies outside two."""
    for row in base.itertuples():
        worked = row.answers * (1 - row.guess)
        error = math.sqrt(row.declared * (1 - row.declared) / worked)
        assert abs(row.right - row.declared) <= max(row.declared / 5, 3 * error), row


@pytest.mark.slow
def test_the_base_never_does_the_rung_at_zero(module_cache: None):
    """By exact probabilities of the right result after a right beginning, not by sampling."""
    run = build_suite({**ground.RECIPE, "task": "skills"}).runs[0]
    task = run.build_task()
    policy = start.load(start.ensure(run.model, task), run.model)
    of_rung = [e for e in task.examples("test") if e.meta["rung"] == "0 %"]
    assert sum(right_step(policy, of_rung)) / len(of_rung) <= 0.001


@torch.no_grad()
def right_step(policy: Policy, examples: Sequence[Example]) -> list[float]:
    """The probability of the right result of each example's first special step, given its prompt
    and the right steps before it: of the result's digits and of the mark that ends them."""
    found = []
    for example in examples:
        problem = read(example.prompt)
        ids = policy.encode_response(work(problem))
        tokens = [policy.decode([token]) for token in ids]
        first = [i for i, token in enumerate(tokens) if token == ">"][problem.special[0]] + 1
        last = next(i for i in range(first, len(tokens)) if tokens[i] in (";", "####"))
        rows = pad([policy.encode_prompt(example.prompt)], [0], [ids], [1.0], policy.pad_id)
        logp_NT, _ = policy.score(rows)
        found.append(math.exp(float(logp_NT[0, first : last + 1].sum())))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["random", "format"])
def test_no_rung_rises_by_a_reward_that_does_not_depend_on_the_step(
    right: pd.DataFrame, base: pd.DataFrame, reward: str
):
    """Within what sampling and one seed's random walk explain; GRPO gains 40 points and more."""
    risen = right.loc[f"grpo-{reward}"] - base["right"][RUNGS]
    assert risen.max() < 0.1, risen
    assert (right.loc["grpo"] - base["right"][RUNGS]).max() > 0.3


@pytest.mark.slow
def test_naive_learns_nothing(suite: results.Results):
    by_method = {
        at: scores.seed_scores(scores.question_scores(suite, "test", at=at)).set_index("method")
        for at in ("start", "last")
    }
    start_score = by_method["start"].loc["naive", "score"]
    assert by_method["last"].loc["naive", "score"] < start_score + 0.05
    assert by_method["last"].loc["grpo", "score"] > start_score + 0.2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo", "rft"])
def test_rungs_are_lifted_as_groups_show_them(
    right: pd.DataFrame, base: pd.DataFrame, suite: results.Results, method: str
):
    """The three rungs that most groups show, in that order, and the one at 0 % not at all. Of the
    rare ones that of 3 % is lifted further: its step is the arithmetic of ordinary ones."""
    lifted = right.loc[method]
    assert lifted[RUNGS[:3]].is_monotonic_decreasing
    assert lifted[RUNGS[:3]].min() > lifted["0 %"] + 0.3
    assert lifted["0 %"] < 0.02
