"""The peak of memory is this run's: not the one before's, and not the parent process's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.core import memory

MB = 2**20
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").is_file(), reason="only Linux lets a peak be forgotten"
)


def test_a_peak_is_seen_and_forgotten():
    memory.forget_peak()
    before = memory.peak()
    block = b"x" * (200 * MB)
    assert memory.peak() - before > 150 * MB
    del block
    memory.forget_peak()
    assert memory.peak() - before < 100 * MB


def test_a_child_does_not_begin_with_its_parents_peak():
    block = b"x" * (400 * MB)
    code = "from bench.core import memory; print(memory.peak())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(block) > int(out.stdout) > MB
