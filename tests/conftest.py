"""Settings of every test process, and where the real data sets are."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported: one thread a process, as `make test` runs several at once; nothing is
# fetched; figures need no display.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

# No deadline: a slow machine is no failure. The seed of a failing example is printed.
settings.register_profile("evenbench", deadline=None, print_blob=True)
settings.load_profile("evenbench")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data sets (gsm8k/, math/, ...); skips where it is absent."""
    folder = Path(os.environ.get("EVENBENCH_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; EVENBENCH_DATA names another folder")
    return folder
