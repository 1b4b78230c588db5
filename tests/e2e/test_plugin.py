"""A method of one's own: written, checked, and installed from outside."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import methods
from bench.cli import app
from bench.config import ConfigError, build_suite
from methods.laws.contract import LAWS, check_method
from tests import tiny
from tests.laws.factory import bandit, logp_gradient

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/plugins.md").read_text()


def blocks(language: str) -> list[str]:
    """The tutorial's code in one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, " ".join(result.output.split())


def command(home: Path, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Python as a user calls it, in the folder `home`; `path` is searched for packages too."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), path] if path else [str(ROOT)]),
        "EVENBENCH_CACHE": str(home / "cache"),
        "COLUMNS": "80",
    }
    return subprocess.run(
        [sys.executable, *words], cwd=home, env=env, capture_output=True, text=True, timeout=400
    )


def test_a_new_method_passes_its_check_and_its_own_test(tmp_path):
    code, output = said("new", "my-method", "--out", str(tmp_path))
    assert code == 0, output
    assert output.count("my_method.py") == 2
    code, output = said("check", f"{tmp_path}/my_method.py:MyMethod")
    assert code == 0, output
    assert output.count(" holds ") == len(LAWS) - 1
    assert "does not apply metrics use the vocabulary it reports no metrics" in output
    code, output = said("new", "my-method", "--out", str(tmp_path))
    assert code == 2 and "exists" in output
    done = command(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_method.py")
    assert f"{len(LAWS) - 1} passed, 1 skipped" in done.stdout, done.stdout + done.stderr


def test_a_broken_method_is_caught_by_both(tmp_path):
    said("new", "my-method", "--out", str(tmp_path))
    file = tmp_path / "my_method.py"
    broken = file.read_text().replace(
        "live_NT).sum()\n",
        "live_NT).detach().sum()\n        total = total + 0 * leaves.logp_NT.sum()\n",
    )
    assert broken != file.read_text()
    file.write_text(broken)
    code, output = said("check", f"{file}:MyMethod")
    assert code == 1
    assert "fails gradient equals finite differences" in output
    done = command(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_method.py")
    assert done.returncode == 1 and "FAILED test_my_method.py" in done.stdout


def written(folder: Path) -> Path:
    """The tutorial's objective, as its reader writes it."""
    (code,) = blocks("python")
    file = folder / "my_rwr.py"
    file.write_text(code)
    return file


def test_the_tutorials_objective_keeps_the_laws_and_its_equation(tmp_path):
    file = written(tmp_path)
    method = methods.get(f"{file}:MyRwr")
    assert {f.outcome for f in check_method(method)} == {"holds", "does not apply"}
    with pytest.raises(ValueError, match="greater than 0"):
        methods.get(f"{file}:MyRwr", tau=0)
    # two answers of one prompt with rewards 0 and 1, and of 2 and 1 tokens
    r = bandit(torch.tensor([[0.0, 1.0]]), length_PG=torch.tensor([[2, 1]]))
    logp_NT = torch.tensor([[-1.0, -3.0], [-0.5, 0.0]]).double()
    loss, gradient_NT = logp_gradient(method, logp_NT, r)
    better = 1 / (1 + math.exp(-1 / 0.2))
    assert float(loss.value.detach()) == pytest.approx((1 - better) * 2 + better * 0.5)
    torch.testing.assert_close(
        -gradient_NT, torch.tensor([[(1 - better) / 2] * 2, [better, 0]]).double()
    )
    # laws know nothing of the equation, says the tutorial
    other = tmp_path / "other.py"
    other.write_text(file.read_text().replace(" / self.tau)", ")"))
    assert other.read_text() != file.read_text()
    found = check_method(methods.get(f"{other}:MyRwr"))
    assert {f.outcome for f in found} == {"holds", "does not apply"}


@pytest.mark.slow
def test_every_command_of_the_tutorial(tmp_path):
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert lines[0] == "evenbench new my-rwr" and len(lines) > 8
    printed = ""
    for line in lines:
        program, *words = shlex.split(line)
        module = {"evenbench": "bench.cli", "pytest": "pytest"}[program]
        done = command(tmp_path, "-m", module, *words)
        assert done.returncode == 0, (line, done.stdout + done.stderr)
        printed += done.stdout
        file = written(tmp_path)
    shown = [line.split() for block in blocks("text") for line in block.splitlines()]
    told = [line.split() for line in printed.splitlines()]
    assert len(shown) > 8 and all(line in told for line in shown)
    page = (tmp_path / "runs/smoke/report/report.md").read_text()
    assert "MyRwr | " in page and "mixes settings" not in page
    assert "my_rwr.py:MyRwr" in (tmp_path / "anatomy/flows.csv").read_text()
    assert "my_rwr.py:MyRwr" in (tmp_path / "anatomy/weight-shares.csv").read_text()
    quick = command(
        tmp_path, "-m", "bench.cli", "plan", "quick", "--method", "my_rwr.py:MyRwr", "--seeds", "1"
    )
    assert "10 methods" in quick.stdout, quick.stderr
    # other code is another run; the old one is not gone on with
    runs = {p.name for p in (tmp_path / "runs/smoke").glob("MyRwr-*")}
    file.write_text(file.read_text().replace("Field(0.2", "Field(0.3"))
    done = command(tmp_path, "-m", "bench.cli", "resume", "runs/smoke")
    assert done.returncode == 2 and "has changed since the suite was started" in done.stderr
    done = command(tmp_path, "-m", "bench.cli", *shlex.split(RUN)[1:])
    assert done.returncode == 0, done.stderr
    now = {p.name for p in (tmp_path / "runs/smoke").glob("MyRwr-*")}
    assert len(runs) == 2 and len(now - runs) == 2
    assert "mixes settings" in done.stdout


RUN = "evenbench run smoke --methods my_rwr.py:MyRwr,grpo"


def test_the_code_of_a_plug_in_is_part_of_a_runs_id(tmp_path):
    said("new", "mine", "--out", str(tmp_path))
    file = tmp_path / "mine.py"
    recipe = tiny.recipe(methods=[f"{file}:Mine", "grpo"])
    mine, grpo = build_suite(recipe).runs
    assert mine.plugins and not grpo.plugins
    assert build_suite(recipe).runs[0].digest() == mine.digest()
    file.write_text(file.read_text() + "\n")
    other, same = build_suite(recipe).runs
    assert other.digest() != mine.digest() and same.digest() == grpo.digest()
    other.check_plugins()
    with pytest.raises(ConfigError, match="has changed"):
        mine.check_plugins()
    file.unlink()
    with pytest.raises(ConfigError, match="no file"):
        other.check_plugins()


def test_a_reward_from_a_file_is_read_with_the_config(tmp_path):
    file = tmp_path / "length.py"
    file.write_text("def short(example, response, grade):\n    return -len(response)\n")
    run = build_suite(tiny.recipe(reward=f"{file}:short")).runs[0]
    assert [*run.plugins] == [f"{file}:short"]
    with pytest.raises(ConfigError, match="no function 'shrt'"):
        build_suite(tiny.recipe(reward=f"{file}:shrt"))
    with pytest.raises(ConfigError, match="no file"):
        build_suite(tiny.recipe(reward="nowhere.py:short"))


def test_a_file_that_cannot_be_imported_is_one_line(tmp_path):
    (tmp_path / "bad.py").write_text("x = 1\nimport nosuchmodule\n")
    (tmp_path / "worse.py").write_text("def x(:\n")
    for name, where in (("bad.py", "bad.py:2: ModuleNotFound"), ("worse.py", "worse.py:1: Syntax")):
        reference = f"{tmp_path / name}:M"
        for words in (["check", reference], ["run", "smoke", "--method", reference]):
            code, output = said(*words)
            assert code == 2 and where in output and "Traceback" not in output
            assert reference in output.replace("\n", "")  # `:M:` is no emoji


def test_bad_names():
    assert said("check", "grop")[1].count("did you mean grpo") == 1
    code, output = said("new", "My Method")
    assert code == 2 and "lower-case" in output


def installed(folder: Path) -> Path:
    """The folder that the tutorial's package is installed into."""
    source, target = folder / "source", folder / "target"
    source.mkdir()
    written(source)
    (source / "pyproject.toml").write_text(*blocks("toml"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, timeout=120)
    return target


def test_an_installed_package_is_found(tmp_path):
    target = installed(tmp_path)
    code = (
        "import methods; from bench.config import build_suite, read_recipe\n"
        "recipe = {**read_recipe('smoke'), 'methods': ['my-rwr', 'grpo'], 'seeds': 1}\n"
        "runs = build_suite(recipe).runs\n"
        "print(methods.get('my-rwr').tau, *(len(run.plugins) for run in runs))"
    )
    done = command(tmp_path, "-c", code, path=str(target))
    assert done.stdout.split() == ["0.2", "1", "0"], done.stderr  # a run has the hash of its code


@pytest.mark.slow
def test_an_installed_package_runs_and_is_reported(tmp_path):
    target = installed(tmp_path)
    for words in (
        ["list", "--methods"],
        ["check", "my-rwr"],
        ["run", "smoke", "--methods", "my-rwr,grpo", "--seeds", "1"],
        ["report", "runs/smoke"],
    ):
        done = command(tmp_path, "-m", "bench.cli", *words, path=str(target))
        assert done.returncode == 0, (words, done.stdout + done.stderr)
    assert "| my-rwr" in (tmp_path / "runs/smoke/report/report.md").read_text()
