"""The notebook in docs/ is stored with its outputs, and its cells run on any suite like its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.synthetic import write_suite

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
CELLS = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]


def test_every_cell_has_been_executed():
    assert [c["execution_count"] for c in CELLS] == list(range(1, len(CELLS) + 1))
    assert all(c["outputs"] for c in CELLS)
    assert not [o for c in CELLS for o in c["outputs"] if o["output_type"] == "error"]


def test_the_cells_run(tmp_path, monkeypatch: pytest.MonkeyPatch):
    methods, questions = ("sft", "grpo", "grao", "gift"), {"test": 32, "composed": 16}
    write_suite(tmp_path / "runs" / "quick", methods, questions=questions, control="grpo")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in CELLS:
        exec("".join(cell["source"]), names)
    assert "gift" in repr(names["runs"])
