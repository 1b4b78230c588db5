"""Settings of every test process, and where the real data sets are."""

from __future__ import annotations

import os
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One empty cache for the whole module, so that its base model is built once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def lucky(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model is never right; here every answer of even length is."""
    from tasks.arithmetic import Arithmetic
    from tasks.base import Grade

    def grade(self: object, example: object, responses: list[str]) -> list[Grade]:
        right = [len(r) % 2 == 0 for r in responses]
        return [
            Grade(c, c, "ok" if c else "wrong", "length", r, c)
            for c, r in zip(right, responses, strict=True)
        ]

    monkeypatch.setattr(Arithmetic, "grade", grade)
    monkeypatch.setattr(Arithmetic, "grader_version", "length")  # replay sets of its own
