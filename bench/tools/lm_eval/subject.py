"""What is evaluated: a run, or any model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from bench.config import ConfigError, RunConfig
from bench.record import store
from results.records import StateRecord


@dataclass(frozen=True)
class Subject:
    """A run's last model, or any model."""

    given: str  # what the user typed
    where: str  # folder or hub id
    revision: str | None = None
    run: RunConfig | None = None
    folder: store.RunFolder | None = None
    step: int = 0  # updates done

    @property
    def own(self) -> str | None:
        """The benchmark that asks the run's own task."""
        return f"evenbench_{self.run.task['name']}" if self.run else None

    def in_loop(self) -> pd.Series:
        """By question of the test split: whether the greedy answer was right when the run itself
        evaluated this model."""
        assert self.folder is not None
        rows: Any = pd.read_parquet(self.folder.path / "evals.parquet")
        last = (rows["step"] == self.step) & (rows["decoding"] == "greedy")
        return rows[last & (rows["split"] == "test")].set_index("question_id")["correct"]


def subject(given: str, revision: str | None = None) -> Subject:
    """From a run's folder, a model's folder or a hub id. Raises ConfigError."""
    path = Path(given)
    if not (path / "run.json").is_file():
        if path.is_dir() and not any(path.glob("*config.json")):
            what = "a suite; give one of its runs" if (path / "suite.json").is_file() else ""
            raise ConfigError(f"{given}: {what or 'neither a run (run.json) nor a model'}")
        if not path.is_dir() and (given.count("/") > 1 or given.startswith((".", "~", "/"))):
            raise ConfigError(f"{given}: no such folder")
        return Subject(given, given, revision)
    folder = store.RunFolder(path)
    done, checkpoint = folder.done, folder.checkpoint
    try:
        run = RunConfig.model_validate(folder.record.config)
    except ValidationError:
        raise ConfigError(f"{given}: holds evaluations only; give the model itself") from None
    instead = f"; to evaluate the model of its last evaluation, give its folder: {checkpoint}"
    if done is None:
        more = instead if checkpoint else ""
        raise ConfigError(f"{given}: not finished (evenbench resume){more}")
    if done.status != "finished":
        raise ConfigError(f"{given}: {done.status}: {done.reason}{instead}")
    if checkpoint is None:
        raise ConfigError(f"{given}: the run kept no model (checkpoint = 'none' in its recipe)")
    step = StateRecord.read(checkpoint / StateRecord.file).ledger.updates
    return Subject(given, str(checkpoint), run=run, folder=folder, step=step)
