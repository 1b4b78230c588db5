"""What the wheel holds: the packages with all their data, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("bench", "methods", "reports", "results", "tasks")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files that git knows, relative to the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout: what belongs to the project is not known")
    names = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    return [name for name in names.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tracked, tmp_path_factory) -> zipfile.ZipFile:
    """A wheel of the working tree, built offline from a copy: a build leaves folders behind."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(out), str(copy)], check=True)
    (file,) = out.glob("evenbench-*.whl")
    return zipfile.ZipFile(file)


def test_it_holds_the_packages_with_their_data_and_nothing_else(wheel, tracked):
    belongs = {name for name in tracked if name.split("/")[0] in PACKAGES}
    belongs -= {name for name in belongs if name.startswith("results/measured/")}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == belongs
    assert "bench/recipes/quick.toml" in held


def test_it_runs_without_the_repository(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    wheel.extractall(site)
    elsewhere.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "import bench.cli; print(bench.cli.__file__); bench.cli.main()",
            "list",
        ],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout.splitlines()[0]
    for name in ("gift", "arithmetic", "quick"):
        assert name in done.stdout


def test_its_metadata_names_the_command_and_the_licence(wheel):
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert "evenbench = bench.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert "License-Expression: Apache-2.0" in wheel.read(f"{info}/METADATA").decode()
