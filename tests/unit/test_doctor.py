"""The doctor: what it finds, what it wants, and that it loads nothing heavy to know it."""

from __future__ import annotations

import io
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from bench.tools import doctor

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def rendered(rows: list[doctor.Item]) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(doctor.table(rows))
    return console.export_text()


def test_this_environment_can_run():
    rows = doctor.report()
    assert doctor.healthy(rows)
    assert len({row.name for row in rows}) == len(rows)


def test_a_package_has_its_version_and_its_pin():
    (row,) = doctor.package_rows(["pandas"])
    assert row.found == metadata.version("pandas")
    assert row.wanted == doctor.pinned()["pandas"]


@pytest.mark.parametrize(
    ("found", "state"), [("2.13.0", "ok"), ("2.13.0+cpu", "ok"), ("2.11.0", "differs")]
)
def test_a_build_is_the_pin_and_another_version_is_not(monkeypatch, found, state):
    monkeypatch.setattr(doctor, "pinned", lambda: {"torch": "2.13.0"})
    monkeypatch.setattr(metadata, "version", lambda name: found)
    assert [row.state for row in doctor.package_rows(["torch"])] == [state]


@pytest.mark.parametrize(("name", "healthy"), [("torch", False), ("vllm", True)])
def test_only_a_missing_core_package_is_fatal(monkeypatch, name, healthy):
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    rows = doctor.package_rows([name])
    assert rows[0].state == "missing"
    assert doctor.healthy(rows) is healthy
    assert f"disables {doctor.PACKAGES[name]}" in rendered(rows)  # "[vllm]" is no markup


def test_a_gpu_that_torch_cannot_use_is_said():
    assert doctor.gpu_row(["H200"], None).state == "differs"
    assert doctor.gpu_row(["H200"], "13.0").state == "ok"
    assert doctor.gpu_row([], "13.0").found in (None, "Apple")


def test_the_forward_pass_of_this_machine_is_said():
    (here,) = [row for row in doctor.report() if row.name == "forward pass"]
    assert here == doctor.forward_row(
        "cuda" if doctor.nvidia_gpus() and doctor.torch_cuda() else "cpu"
    )
    assert doctor.forward_row("cpu").found == "packed"
    on_gpu = doctor.forward_row("cuda")
    assert on_gpu.found == "transformers" and "has not been measured on a GPU" in on_gpu.note


def test_the_build_of_torch_is_read_as_torch_says_it():
    import torch

    assert doctor.torch_cuda() == torch.version.cuda


def test_every_core_requirement_is_examined():
    """PACKAGES repeats the dependencies of pyproject.toml: none may be forgotten."""
    core = {requirement.split(">=")[0] for requirement in PROJECT["dependencies"]}
    assert core == {name for name, note in doctor.PACKAGES.items() if note == "everything"}


def test_every_requirement_is_pinned():
    extras = PROJECT["optional-dependencies"]
    wanted = [r for extra, needs in extras.items() if extra != "vllm" for r in needs]
    for requirement in [*PROJECT["dependencies"], *wanted]:
        name = requirement.replace("==", ">=").split(">=")[0].split("[")[0]
        assert name == "evenbench" or doctor.canonical(name) in doctor.pinned()


def test_it_imports_nothing_heavy():
    heavy = "{'torch', 'numpy', 'pandas', 'transformers', 'matplotlib'}"
    code = "import sys; from bench.tools import doctor; doctor.report()\n"
    code += f"print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr
