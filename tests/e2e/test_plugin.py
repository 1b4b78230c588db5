"""A method of one's own: written, checked, and installed from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from bench.cli import app

ROOT = Path(__file__).parents[2]


def said(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, " ".join(result.output.split())


def test_a_new_method_passes_its_check(tmp_path):
    code, output = said("new", "my-method", "--out", str(tmp_path))
    assert code == 0, output
    assert (tmp_path / "test_my_method.py").is_file()
    code, output = said("check", f"{tmp_path}/my_method.py:MyMethod")
    assert code == 0, output
    assert output.count(" yes") == 11
    code, output = said("new", "my-method", "--out", str(tmp_path))
    assert code == 2 and "exists" in output


def test_a_broken_method_is_caught(tmp_path):
    said("new", "my-method", "--out", str(tmp_path))
    file = tmp_path / "my_method.py"
    broken = file.read_text().replace(
        "live_NT).sum()", "live_NT).pow(2).detach().sum() + 0 * leaves.logp_NT.sum()"
    )
    assert broken != file.read_text()
    file.write_text(broken)
    code, output = said("check", f"{file}:MyMethod")
    assert code == 1
    assert "gradient equals finite differences no" in output


def test_bad_names():
    assert said("check", "grop")[1].count("did you mean grpo") == 1
    code, output = said("new", "My Method")
    assert code == 2 and "lower-case" in output


def test_an_installed_package_is_found(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
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
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{target}"}
    words = [sys.executable, "-c", "import methods; print(methods.get('outside').weight)"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "1.0", done.stderr
