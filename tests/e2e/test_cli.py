"""The command as a user calls it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import results
from bench.cli import app
from bench.config import read_recipe, recipes

RECIPE = """
name = "mine"
methods = ["sft", "grpo"]
seeds = 2
control = "grpo"
[model]
hidden = 16
layers = 1
heads = 2
intermediate = 24
pretrain = { steps = 4, batch = 8 }
[rollout]
prompts = 2
group = 4
max_tokens = 12
[budget]
amount = 3
[eval]
points = 1
curve = { test = 4 }
final = { test = 6, validation = 4 }
train_questions = 2
samples = 2
"""

PLUGIN = '''
"""A plug-in."""
import torch
from methods import Loss, Method, Needs, Signal

class Mine(Method):
    """Raise the right answers."""
    scale: float = 2.0
    def needs(self): return Needs()
    def signal(self, rollout): return Signal(None, None, rollout.correct_N)
    def loss(self, leaves, rollout, signal):
        return Loss(-self.scale * (leaves.logp_NT * rollout.correct_N[:, None]).sum())
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "mine.toml").write_text(RECIPE)
    (folder / "plugin.py").write_text(PLUGIN)
    return folder


def command(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "EVENBENCH_CACHE": str(home / "cache"),
        "COLUMNS": "160",
    }
    return subprocess.run(
        [sys.executable, "-m", "bench.cli", *words],
        cwd=home,
        env={**env, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


def said(*words: str) -> tuple[int, str]:
    kept = {"EVENBENCH_DATA": os.environ.get("EVENBENCH_DATA")}  # which --data-dir changes
    result = CliRunner().invoke(app, list(words), env=kept)
    return result.exit_code, " ".join(result.output.split())


def test_run_ends_in_a_table_and_a_second_run_skips(home):
    first = command(home, "run", "mine.toml")
    assert first.returncode == 0, first.stdout + first.stderr
    for word in (
        "expected:",
        "base model",
        "sft seed 1: finished",
        "avg@2",
        "greedy",
        "where the time went",
    ):
        assert word in first.stdout
    loaded = results.load(home / "runs" / "mine")
    assert len(loaded.runs) == 4 and not loaded.problems
    second = command(home, "run", "mine.toml")
    assert (
        second.returncode == 0
        and "seed 1: finished" not in second.stdout
        and "avg@2" in second.stdout
    )
    resumed = command(home, "resume", "runs/mine")
    assert resumed.returncode == 0, resumed.stderr


def test_a_plug_in_file_runs_without_touching_the_project(home):
    done = command(
        home,
        "run",
        "mine.toml",
        "--methods",
        "grpo",
        "--method",
        "plugin.py:Mine",
        "--seeds",
        "1",
        "-o",
        "name=plug",
        "-o",
        'method."plugin.py:Mine".scale=3.0',
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = results.load(home / "runs" / "plug").runs
    assert set(runs["method"]) == {"grpo", "plugin.py:Mine"}
    files = list((home / "runs" / "plug").glob("Mine-*/run.json"))
    assert json.loads(files[0].read_text())["fields"] == {"scale": 3.0}


def test_gsm8k_from_a_folder(home):
    folder = home / "data" / "gsm8k"
    folder.mkdir(parents=True)
    for split, count in (("train", 40), ("test", 12)):
        rows = [
            {
                "question": f"{split}: Ann has {i} pens and buys {i + 1}. How many?",
                "answer": f"{i}+{i + 1}=<<{i}+{i + 1}={2 * i + 1}>>{2 * i + 1}\n#### {2 * i + 1}",
            }
            for i in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    changes = [
        "-o",
        "eval.final={test=6}",
        "-o",
        "eval.curve={test=4}",
        "-o",
        "rollout.max_tokens=16",
        "-o",
        "task.validation=8",
    ]
    done = command(
        home, "run", "mine.toml", "--task", "gsm8k", "--data-dir", "data", "--seeds", "1", *changes
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "will score near zero on gsm8k; set model.path" in " ".join(done.stdout.split())
    with (folder / "train.jsonl").open("a") as file:
        file.write('{"question": "no answer here"}\n')
    (home / "odd.py").write_text("def reward(example, response, grade):\n    return 0 * 1e999\n")
    odd = ["-o", "name=broken", "-o", 'method.grpo.reward="odd.py:reward"']
    again = command(
        home, "run", "mine.toml", "--task", "gsm8k", "--data-dir", "data", "--seeds", "1",
        *odd, *changes,
    )  # fmt: skip
    said = " ".join(again.stdout.split())
    left_out = "data/gsm8k/train.jsonl:41: no field 'answer'; the row has question"
    assert f"1 row(s) of the data are left out and never score: {left_out}" in said
    loaded = results.load(home / "runs" / "broken")
    assert any(left_out in warning for warning in loaded.runs.iloc[0].warnings)
    # a reward that is no number ends its own run, not the others
    assert again.returncode == 1 and "sft seed 0: finished" in said
    question = r"reward 'odd\.py:reward' is nan for question [0-9a-f]{16} .*must be a finite number"
    assert re.search(question, said) and "Traceback" not in said
    report = command(home, "report", "runs/broken")
    assert report.returncode == 0, report.stderr
    assert "never score" in (home / "runs" / "broken" / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "quik"], "did you mean quick"),
        (["plan", "quick", "--methods", "grop"], "did you mean grpo"),
        (["plan", "quick", "-o", "rollout.grup=3"], "did you mean group"),
        (["plan", "quick", "-o", "method.gift.beta=-1"], "method.gift: beta"),
        (["plan", "quick", "--seeds", "x"], "--seeds 'x'"),
        (["plan", "quick", "--task", "arithmetics"], "did you mean arithmetic"),
        (["plan", "quick", "--method", "nowhere.py:Loss"], "no file"),
        (
            ["plan", "quick", "--task", "gsm8k", "--data-dir", "/nowhere"],
            "/nowhere/gsm8k/train.jsonl",
        ),
        (["resume", "/nowhere"], "/nowhere/suite.json: no such file"),
        (["report", "/nowhere"], "/nowhere: no such folder"),
        (["regrade", "/nowhere"], "/nowhere: no such folder"),
        (["audit-checker", "/nowhere"], "No such file"),
        (["audit-checker", "--against", "nobody"], "allowed are math-verify"),
        (["check"], "give a method, or --task"),
        (["check", "--task", "arithmetics"], "did you mean arithmetic"),
    ],
)
def test_bad_input_gets_a_clear_error(words, expected):
    code, output = said(*words)
    assert code == 2
    assert expected in output and "Traceback" not in output


def test_list_plan_doctor_and_help():
    code, output = said("list")
    assert code == 0 and all(w in output for w in ("gift-author-code", "arithmetic", "quick"))
    code, output = said("plan", "quick")
    assert code == 0 and all(
        w in output for w in ("tokens generated", "FLOPs", "memory", "disk", "time")
    )
    code, output = said("doctor")
    assert code == 0 and "torch" in output
    assert said("--help")[0] == 0


def test_a_recipe_that_cannot_run_is_only_planned(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "400")
    recipe = read_recipe("gift-dapo-32b")
    reason = recipe["plan_only"]
    for verb in ("run", "tune"):
        code, output = said(verb, "gift-dapo-32b", "--task", "arithmetic")
        assert code == 2 and "gift-dapo-32b-arithmetic can only be planned" in output
        assert reason in output
    code, output = said("plan", "gift-dapo-32b")
    assert code == 0 and reason in output and recipe["expected"] in output
    code, output = said("list", "--recipes")
    assert code == 0 and f"Plan only: {reason}" in output
    # with a model that fits one GPU it can be run, for as much as is known before it is loaded
    smaller = ["-o", "plan_only=", "-o", "model.path=/nowhere", "--task", "arithmetic"]
    code, output = said("run", "gift-dapo-32b", *smaller)
    assert code == 2 and "/nowhere" in output and "planned" not in output


def test_no_recipe_asks_for_more_than_one_gpu_per_run_unless_it_is_only_planned():
    for name in recipes():
        recipe = read_recipe(name)
        assert recipe.get("hardware", {}).get("gpus_per_run", 1) == 1 or recipe["plan_only"]


def test_tasks_are_checked(home, monkeypatch):
    monkeypatch.setattr("bench.tools.ground.base_tables", lambda name: [])  # it takes a minute
    code, output = said("check", "--task", "arithmetic")
    assert code == 0 and "every rule nothing" in output and "train 1,024" in output
    (home / "tasks.py").write_text(
        "from tasks.arithmetic import Arithmetic\n"
        "class Lenient(Arithmetic):\n"
        "    def grade(self, example, responses):\n"
        "        return [self._all_right(g) for g in super().grade(example, responses)]\n"
        "    def _all_right(self, grade):\n"
        "        return type(grade)(True, True, 'ok', '', None, True)\n"
    )
    code, output = said("check", "--task", f"{home}/tasks.py:Lenient")
    assert code == 1 and "an empty response is correct" in output


def test_report_table_plot_and_claims_of_runs(home):
    if not (home / "runs" / "mine").is_dir():
        command(home, "run", "mine.toml")
    written = command(home, "report", "runs/mine")
    assert written.returncode == 0, written.stderr
    assert (home / "runs" / "mine" / "report" / "report.html").stat().st_size > 10_000
    runs = str(home / "runs" / "mine")
    code, output = said("table", "main", runs, "--format", "csv", "--query", "method == 'sft'")
    assert code == 0 and "sft" in output and "grpo," not in output
    code, output = said("plot", "forest", runs, "--out", str(home / "plots"))
    assert code == 0 and (home / "plots" / "forest.svg").is_file()
    code, output = said("claims", runs)
    assert code == 0 and "not tested" in output
    assert said("compare-published", runs)[0] == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["table", "nope"], "there are main"),
        (["plot", "nope"], "there are forest"),
        (["plot", "lift", "--by", "nope"], "there are steps"),
        (["claims", f"--file={__file__}"], "test_cli.py: "),
        (["compare-published", f"--csv={__file__}"], "test_cli.py: "),
        (["table", "main", "--query", "nonsense =="], "--query"),
    ],
)
def test_wrong_names_and_queries_are_explained(home, words, expected):
    if not (home / "runs" / "mine").is_dir():
        command(home, "run", "mine.toml")
    code, output = said(*words[:2], str(home / "runs" / "mine"), *words[2:])
    assert code == 2 and expected in output


def test_clean_empties_the_cache_alone(home, monkeypatch):
    monkeypatch.setenv("EVENBENCH_CACHE", str(home / "other"))
    (home / "other" / "base").mkdir(parents=True)
    (home / "other" / "base" / "x").write_text("x" * 100)
    code, output = said("clean", "--yes")
    assert code == 0 and "deleted" in output and not (home / "other").exists()
    assert "nothing to clean" in said("clean", "--yes")[1]


def test_track_writes_event_files_that_can_be_read_back(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    words = ("--methods", "grpo", "--seeds", "1", "--out", "tracked", "--track", "tensorboard")
    (tmp_path / "mine.toml").write_text(RECIPE)
    done = command(tmp_path, "run", "mine.toml", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = tmp_path.glob("tracked/mine/grpo-*")
    events = reader.EventAccumulator(str(tmp_path / "tracked" / "mine" / "tracker" / run.name))
    events.Reload()
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    for tag, column in (("train/loss", "loss"), ("spent/tokens", "tokens")):
        found = [(e.step, e.value) for e in events.Scalars(tag)]
        assert found == [(r["step"], pytest.approx(r[column], rel=1e-6)) for r in rows]


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_named(tmp_path, tracker):
    if importlib.util.find_spec(tracker):
        pytest.skip(f"{tracker} is installed")
    words = ("--out", "untracked", "--track", tracker)
    (tmp_path / "mine.toml").write_text(RECIPE)
    done = command(tmp_path, "run", "mine.toml", *words)
    assert done.returncode == 2
    message = f"track = '{tracker}': not installed; pip install {tracker}"
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "untracked").exists()
