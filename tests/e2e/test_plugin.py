"""A method of one's own: written, checked, and installed from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.config import ConfigError, build_suite
from methods.contract import LAWS
from tests import tiny

ROOT = Path(__file__).parents[2]


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, " ".join(result.output.split())


def command(home: Path, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Python as a user calls it, in the folder `home`; `path` is searched for packages too."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), path] if path else [str(ROOT)]),
        "EVENBENCH_CACHE": str(home / "cache"),
        "COLUMNS": "160",
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


@pytest.mark.slow
def test_from_nothing_to_a_row_in_the_report(tmp_path):
    """The tutorial, word for word but for the recipe: docs/plugins.md."""
    bench = ["-m", "bench.cli"]
    for words in (
        [*bench, "new", "my-method"],
        [*bench, "check", "my_method.py:MyMethod"],
        ["-m", "pytest", "-q", "test_my_method.py"],
        [*bench, "run", "smoke", "--methods", "my_method.py:MyMethod,grpo"],
        [*bench, "report", "runs/smoke"],
        [*bench, "anatomy", "-m", "my_method.py:MyMethod,grpo", "--group", "2"],
    ):
        done = command(tmp_path, *words)
        assert done.returncode == 0, (words, done.stdout + done.stderr)
    assert "MyMethod |" in (tmp_path / "runs/smoke/report/report.md").read_text()
    assert "my_method.py:MyMethod" in (tmp_path / "anatomy/flows.csv").read_text()
    # other code is another run; and the old one is not gone on with
    file = tmp_path / "my_method.py"
    file.write_text(file.read_text().replace("-self.weight *", "-2 * self.weight *"))
    runs = {p.name for p in (tmp_path / "runs/smoke").glob("MyMethod-*")}
    done = command(tmp_path, *bench, "resume", "runs/smoke")
    assert done.returncode == 2 and "has changed since the suite was started" in done.stderr
    done = command(tmp_path, *bench, "run", "smoke", "--methods", "my_method.py:MyMethod,grpo")
    assert done.returncode == 0, done.stderr
    now = {p.name for p in (tmp_path / "runs/smoke").glob("MyMethod-*")}
    assert len(runs) == 2 and len(now - runs) == 2


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


def test_bad_names():
    assert said("check", "grop")[1].count("did you mean grpo") == 1
    code, output = said("new", "My Method")
    assert code == 2 and "lower-case" in output


def installed(folder: Path) -> Path:
    """The folder that a package with one objective, `outside`, is installed into."""
    source, target = folder / "source", folder / "target"
    said("new", "outside", "--out", str(source))
    (source / "test_outside.py").unlink()
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "outside"\nversion = "1"\n'
        '[project.entry-points."evenbench.methods"]\noutside = "outside:Outside"\n'
        '[tool.setuptools]\npy-modules = ["outside"]\n'
    )
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, timeout=120)
    return target


def test_an_installed_package_is_found(tmp_path):
    target = installed(tmp_path)
    code = (
        "import methods; from bench.config import build_suite, read_recipe\n"
        "recipe = {**read_recipe('smoke'), 'methods': ['outside', 'grpo'], 'seeds': 1}\n"
        "runs = build_suite(recipe).runs\n"
        "print(methods.get('outside').weight, *(len(run.plugins) for run in runs))"
    )
    done = command(tmp_path, "-c", code, path=str(target))
    assert done.stdout.split() == ["1.0", "1", "0"], done.stderr  # a run has the hash of its code


@pytest.mark.slow
def test_an_installed_package_runs_and_is_reported(tmp_path):
    target = installed(tmp_path)
    for words in (
        ["list", "--methods"],
        ["check", "outside"],
        ["run", "smoke", "--methods", "outside,grpo", "--seeds", "1"],
        ["report", "runs/smoke"],
    ):
        done = command(tmp_path, "-m", "bench.cli", *words, path=str(target))
        assert done.returncode == 0, (words, done.stdout + done.stderr)
    assert "| outside" in (tmp_path / "runs/smoke/report/report.md").read_text()
