"""Trackers get the numbers of the run's own files, and change nothing about the run."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from bench.config import ConfigError, build_suite
from bench.train.loop import train
from results.records import LEDGER_COLUMNS
from tests import tiny

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("module_cache")]


def test_tensorboards_event_files_hold_the_runs_numbers(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    plain, tracked = tiny.run(), tiny.run(track="tensorboard")
    assert plain.name == tracked.name  # the same run, by its digest
    train(plain, tmp_path / "plain", "tiny")
    train(tracked, tmp_path / "tracked", "tiny")
    folder = tmp_path / "tracked" / tracked.name
    events = reader.EventAccumulator(str(tmp_path / "tracked" / "tracker" / tracked.name))
    events.Reload()
    tags = set(events.Tags()["scalars"])

    rows = tiny.steps(folder)
    for name in ("loss", "grad_norm", "accuracy", "lr"):
        found = [(e.step, e.value) for e in events.Scalars(f"train/{name}")]
        assert found == [(r["step"], pytest.approx(r[name], rel=1e-6)) for r in rows]
    assert {f"spent/{name}" for name in LEDGER_COLUMNS} <= tags
    samples = [e.value for e in events.Scalars("spent/samples")]
    assert samples == [12, 24, 36, 48]

    evals: Any = pd.read_parquet(folder / "evals.parquet")
    means = evals.groupby(["split", "decoding", "step"], observed=True)["correct"].mean()
    for (split, decoding), by_step in means.groupby(level=[0, 1], observed=True):
        found = {e.step: e.value for e in events.Scalars(f"{split}/{decoding}")}
        assert found == {s: pytest.approx(v) for (_, _, s), v in by_step.items()}

    timed = lambda r: {k: v for k, v in r.items() if "seconds" not in k and "memory" not in k}  # noqa: E731
    alone = tiny.steps(tmp_path / "plain" / plain.name)
    assert [timed(r) for r in rows] == [timed(r) for r in alone]


def test_the_others_get_project_run_and_settings(tmp_path, monkeypatch):
    from accelerate import tracking

    calls: list[tuple] = []

    class Recorder:
        def __init__(self, project, **options):
            calls.append(("init", project, options))

        def start(self):
            calls.append(("start",))

        def store_init_configuration(self, values):
            calls.append(("config", values))

        def log(self, values, step):
            calls.append(("log", step, values))

        def finish(self):
            calls.append(("finish",))

    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Recorder)
    monkeypatch.setattr("bench.config.checks.find_spec", lambda name: name)
    run = tiny.run("sft", track="wandb", eval={"points": 1, "curve": {"test": 2}, "samples": 1})
    train(run, tmp_path, "tiny")
    assert calls[0] == (
        "init",
        "evenbench-tiny",
        {"name": run.name, "resume": "allow", "id": run.name},
    )
    assert calls[1] == ("start",) and calls[-1] == ("finish",)
    assert calls[2][1]["optimizer"]["lr"] == run.optimizer.lr
    logged = [(step, values) for kind, step, *rest in calls[3:-1] for values in rest]
    assert [step for step, _ in logged] == [0, 1, 2, 3, 4, 4]
    assert all(math.isfinite(v) for _, values in logged for v in values.values())


def test_a_missing_package_is_named_before_anything_is_spent(monkeypatch):
    monkeypatch.setattr("bench.config.checks.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"track = 'tensorboard'.*evenbench\[track\]"):
        build_suite(tiny.recipe(track="tensorboard"))
    with pytest.raises(ConfigError, match="tensorboard', 'wandb' or 'trackio'"):
        build_suite(tiny.recipe(track="tensorbord"))
