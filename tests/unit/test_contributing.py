"""The example that newcomers copy has to work, and to compute what its docstring says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import methods
from methods import Leaves
from methods.registry import METHODS
from tests.laws import factory


@pytest.fixture
def mine(tmp_path: Path, monkeypatch):
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "mine.py"
    file.write_text(source)
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))  # it registers itself
    return methods.get(f"{file}:Mine")


def test_the_example_is_the_loss_of_its_docstring(mine):
    r = factory.rollout(mine, seed=0)
    lengths_N = r.mask_NT.sum(1)
    logp_NT = torch.where(r.mask_NT, -torch.rand(r.mask_NT.shape, dtype=torch.float64), 0.0)
    terms = []
    for i in range(len(r)):
        group = r.reward_N[r.group_N == r.group_N[i]]
        advantage = float((r.reward_N[i] - group.mean()).clamp(-1, 1))
        terms.append(-advantage * float(logp_NT[i].sum()) / max(int(lengths_N[i]), 1))
    loss = mine.loss(Leaves(logp_NT), r, mine.signal(r))
    assert float(loss.value) == pytest.approx(sum(terms) / len(r), rel=1e-12)
    assert any(terms)
