"""Wrong use is refused when the config is read; what is degenerate is explained, in the run and in
the report; controls by their reward do what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import methods
from bench.cli import app
from bench.config import ConfigError, build_suite
from bench.suite import progress
from bench.suite.grid import RunState
from bench.train.loop import train
from reports.report import write_report
from tests import tiny


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("EVENBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def refusal(**changes) -> str:
    with pytest.raises(ConfigError) as caught:
        build_suite(tiny.recipe(**changes), origin="r.toml")
    return str(caught.value)


GROUPS = [n for n in methods.names() if methods.get(n).needs().group_min > 1]
ONCE = [n for n in methods.names() if methods.get(n).needs().max_updates_per_rollout == 1]
GOLD = [n for n in methods.names() if methods.get(n).needs().gold]


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_of_one(name):
    said = refusal(methods=[name], rollout={"group": 1})
    assert f"method.{name}: rollout.group = 1: {name} needs groups of at least 2" in said


@pytest.mark.parametrize("name", ONCE)
def test_more_updates_than_the_method_allows(name):
    said = refusal(methods=[name], rollout={"group": 4, "prompts": 2, "epochs": 2})
    assert f"rollout.epochs = 2: {name} allows at most 1 update(s) per rollout batch" in said


@pytest.mark.parametrize("name", GOLD)
def test_no_reference_answers(name):
    said = refusal(methods=[name], task={"name": "arithmetic", "gold_answers": 0})
    assert f"{name} needs reference answers; task 'arithmetic' has none" in said


def test_the_lists_above_are_not_empty():
    assert {"grpo", "gift", "dpo", "grao"} <= set(GROUPS) and not {"sft", "ppo"} & set(GROUPS)
    assert {"grao", "reinforce", "rloo"} <= set(ONCE) and "grpo" not in ONCE
    assert {"grao", "sft", "grpo-gold", "grpo-sft"} <= set(GOLD) and "grpo" not in GOLD


REWARD, VERDICT, NEITHER = frozenset({"reward"}), frozenset({"verdict"}), frozenset()
LEARNS = {
    **dict.fromkeys(["grpo", "dr-grpo", "dapo", "gspo", "cispo", "grpo-gold", "grpo-sft"], REWARD),
    **dict.fromkeys(["ppo", "reinforce", "reinforce++", "rloo", "grao", "gift"], REWARD),
    "gift-author-code": REWARD,
    "gift-detached": REWARD,
    **dict.fromkeys(["rft", "raft", "rift", "rift-is", "naive", "unlikelihood", "topr"], VERDICT),
    **dict.fromkeys(["dpo", "ipo", "simpo", "orpo", "kto", "una", "nft"], VERDICT),
    **dict.fromkeys(["psr", "nsr", "w-reinforce"], VERDICT),
    **dict.fromkeys(["sft", "dft"], NEITHER),
}


def test_what_methods_learn_from():
    declared = {n: frozenset(methods.get(n).needs().learns_from) for n in methods.names()}
    assert declared == LEARNS
    assert methods.get("una", feedback="score").needs().learns_from == ("reward",)
    assert methods.get("dft", on="correct").needs().learns_from == ("verdict",)


@pytest.mark.parametrize("name", [n for n in methods.names() if LEARNS[n] == VERDICT])
def test_another_reward_is_refused_where_it_would_change_nothing(name, tmp_path):
    (tmp_path / "own.py").write_text("def length(example, response, grade): return len(response)")
    for reward in ("random", "format", f"{tmp_path}/own.py:length"):
        said = refusal(methods=[name], reward=reward)
        assert f"method.{name}: reward = {reward!r}" in said and "checker's verdict" in said
        assert ("no rule for pairs" in said) == methods.get(name).needs().pairs
    build_suite(tiny.recipe(methods=[name]))


@pytest.mark.parametrize("reward", ["random", "format"])
def test_other_rewards_are_taken_where_they_are_learned_from(reward):
    build_suite(tiny.recipe(methods=[n for n in methods.names() if LEARNS[n] != VERDICT],
                            reward=reward))  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": {"gfit": {"beta": 2.0}}}, "method.gfit: no such method; did you mean gift"),
        ({"methods": ["dpo"], "method": {"dpo": {"beta": -0.1}}}, "method.dpo: beta"),
        ({"methods": ["una"], "method": {"una": {"beta": 0}}}, "found 0"),
        ({"methods": ["dpo"], "method": {"dpo": {"pairing": "random"}}}, "'matched' or 'all'"),
        (
            {"methods": ["p"], "method": {"p": {"phases": [{"method": "grop"}]}}},
            "method.p: unknown method 'grop'; did you mean grpo",
        ),
        (
            {"methods": ["p"], "method": {"p": {"phases": [{"method": "grpo"}], "clip": 0.1}}},
            "method.p: clip beside phases would be ignored",
        ),
        (
            {"methods": ["p"], "method": {"p": {"phases": [{"method": "grpo", "clip": 0.1}]}}},
            "phases.0.clip: unknown key",
        ),
        (
            {
                "methods": ["p"],
                "method": {"p": {"phases": [{"method": "sft", "share": 0.5}] * 2}},
                "task": {"name": "arithmetic", "gold_answers": 0},
            },
            "sft needs reference answers",
        ),
        ({"methods": ["my.py:Loss"]}, "no file"),
    ],
)
def test_refusals(changes, words):
    assert words in refusal(**changes)


def test_sections_of_methods_that_are_not_chosen_may_stay():
    own = {"gift": {"beta": 2.0}, "variant": {"objective": "grpo", "clip": 0.1}}
    assert len(build_suite(tiny.recipe(method=own)).runs) == 1


DEGENERATE = "implicit reward is identically zero"


def test_a_degenerate_setting_is_explained_in_the_run_and_in_the_report(tmp_path, monkeypatch):
    def here(suite, folder, *options, **more):  # without processes of its own
        for run in suite.runs:
            train(run, folder, "tiny")
        return [RunState(run, "finished") for run in suite.runs]

    monkeypatch.setattr(progress, "run_suite", here)
    suite = build_suite(tiny.recipe(methods=["gift-author-code", "grpo"]))
    console = Console(record=True, width=400)
    states = progress.watch_suite(console, suite, tmp_path, 1)
    assert [s.status for s in states] == ["finished"] * 2
    assert "gift-author-code: GIFT with anchor='old'" in console.export_text()
    told = json.loads((tmp_path / suite.runs[0].name / "run.json").read_text())["warnings"]
    assert len(told) == 1 and DEGENERATE in told[0]
    page, text = (path.read_text() for path in write_report(tmp_path).paths[:2])
    assert DEGENERATE in page and "gift-author-code" in page
    assert DEGENERATE in text
    several = build_suite(
        tiny.recipe(methods=["gift-author-code"], rollout={"prompts": 4, "minibatches": 2})
    )
    assert not progress._warnings(several)


def test_a_refusal_on_the_command_line_is_one_line_and_no_traceback():
    for words, message in [
        (["run", "smoke", "-m", "grao", "-o", "rollout.epochs=2"], "at most 1 update(s)"),
        (["plan", "smoke", "-m", "dpo", "-o", "reward=random"], "no rule for pairs by reward"),
        (["plan", "smoke", "-m", "grpo", "-o", "rollout.group=1"], "groups of at least 2"),
    ]:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2 and message in " ".join(result.output.split())
        assert "Traceback" not in result.output


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def test_format_and_random_rewards_are_what_is_learned_from(tmp_path):
    shape = {"prompts": 8, "group": 8, "max_tokens": 12}
    format_ = tiny.run(reward="format", rollout=shape)
    train(format_, tmp_path, "tiny")
    for row in rows(tmp_path / format_.name):
        assert row["reward_mean"] == pytest.approx(row["format_ok"])
    coins = []
    for seed in (0, 1):
        random = tiny.run(reward="random", rollout=shape, seeds=[seed])
        train(random, tmp_path, "tiny")
        coins.append([row["reward_mean"] for row in rows(tmp_path / random.name)])
        assert all(row["accuracy"] < 0.1 for row in rows(tmp_path / random.name))
        assert all(row["rows_trained"] > 0 for row in rows(tmp_path / random.name))
    assert coins[0] != coins[1]
    # 512 fair coins: within four standard errors of a half
    assert abs(sum(coins[0] + coins[1]) / 8 - 0.5) < 4 * 0.5 / 512**0.5


def test_dapo_refills_by_the_reward_that_it_learns_from(tmp_path):
    """A model that is never right would be refilled to the cap, did the verdict decide."""
    shape = {"prompts": 4, "group": 8, "max_tokens": 12, "refill_cap": 5}
    for reward, most in (("correct", 5), ("random", 2)):
        run = tiny.run("dapo", reward=reward, rollout=shape, budget={"amount": 1})
        train(run, tmp_path, "tiny")
        (row,) = rows(tmp_path / run.name)
        assert row["prompts"] == 4 * 5 if reward == "correct" else row["prompts"] <= 4 * most


def test_an_override_of_a_method_that_is_not_in_the_suite(tmp_path):
    """It would change nothing, and its typos would pass."""
    command = ["plan", "smoke", "-m", "grpo", "-o", "method.gift.bta=2"]
    found = CliRunner().invoke(app, command, terminal_width=200)
    said = " ".join((found.output + found.stderr).split())
    assert found.exit_code == 2
    assert "gift is not among the methods grpo; add it with --method gift" in said
