"""Numbers of a run for those who watch it live: TensorBoard, Weights & Biases or Trackio.

Through accelerate's trackers. A run's own files stay the truth: nothing is read back from here, and
a run is the same run (the same digest, the same result) with and without a tracker.
"""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from results.records import LEDGER_COLUMNS


class Track:
    """One run's tracker. TensorBoard's files lie beside the runs, in `<suite folder>/tracker/`, so
    that `tensorboard --logdir <suite folder>/tracker` shows the suite; the others get the project
    `evenbench-<suite>` and the run's name as id, under which a resumed run goes on."""

    def __init__(self, name: str, suite: str, run: str, folder: Path, config: dict[str, Any]):
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        cls: Any = LOGGER_TYPE_TO_CLASS[name]
        if name == "tensorboard":
            self._tracker = cls(run, logging_dir=folder / "tracker")
        else:
            options = {"name": run, "resume": "allow", **({"id": run} if name == "wandb" else {})}
            self._tracker = cls(f"evenbench-{suite}", **options)
        self._tracker.start()
        if name != "tensorboard":  # which would store them as a separate run
            self._tracker.store_init_configuration(config)

    def steps(self, rows: list[dict[str, Any]]) -> None:
        """Rows of steps.jsonl, the ledger apart under `spent/`."""
        for row in rows:
            values = {
                f"{'spent' if name in LEDGER_COLUMNS else 'train'}/{name}": float(value)
                for name, value in row.items()
                if name != "step" and isinstance(value, int | float) and math.isfinite(value)
            }
            self._tracker.log(values, step=row["step"])

    def evaluation(self, frame: pd.DataFrame) -> None:
        """Accuracy by split and decoding of one evaluation's rows."""
        rows: Any = frame
        means = rows.groupby(["split", "decoding"], observed=True)["correct"].mean()
        values = {f"{split}/{decoding}": float(mean) for (split, decoding), mean in means.items()}
        self._tracker.log(values, step=int(rows["step"].iloc[0]))

    def close(self) -> None:
        self._tracker.finish()
