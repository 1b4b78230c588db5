"""A run's folder: written so that a kill at any moment, a torn last line or a full disk loses
nothing that was finished. Formats: results/records.py."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.files import replacing, write_atomic
from results.records import EVAL_DTYPES, DoneRecord, Record, RunRecord, StateRecord

OPTIMIZER_FILE, CRITIC_FILE = "optimizer.pt", "critic.pt"
RESUMING = (OPTIMIZER_FILE, CRITIC_FILE)  # files that only resuming needs


class RunFolder:
    def __init__(self, path: Path):
        self.path = path

    @property
    def record(self) -> RunRecord:
        return RunRecord.read(self.path / RunRecord.file)

    @property
    def done(self) -> DoneRecord | None:
        """How the run ended; None before that."""
        file = self.path / DoneRecord.file
        return DoneRecord.read(file) if file.is_file() else None

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Whether this process may work on the run; released when the process dies."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def write(self, record: Record) -> None:
        write_atomic(self.path / record.file, record.text())

    def append_steps(self, rows: list[dict[str, Any]]) -> None:
        with (self.path / "steps.jsonl").open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def drop_after(self, step: int, rollout: int) -> None:
        """Drop work that was done after a checkpoint: rows of steps and evaluations after `step`,
        a torn last line, and stored rollout batches from number `rollout` on."""
        path = self.path / "steps.jsonl"
        kept = []
        for line in path.read_text().splitlines() if path.is_file() else []:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break
            if row["step"] > step:
                break
            kept.append(line + "\n")
        write_atomic(path, "".join(kept))
        evals = self.path / "evals.parquet"
        if evals.is_file():
            frame: Any = pd.read_parquet(evals)
            if (late := frame["step"] > step).any():
                self.replace_evals(frame[~late])
        for file in (self.path / "rollouts").glob("step-*.parquet"):
            number = file.stem.removeprefix("step-")
            if number.isdecimal() and int(number) >= rollout:  # any other file is not ours
                file.unlink()

    def write_evals(self, new: pd.DataFrame) -> None:
        """Add the rows of one evaluation; those of the same or later steps are replaced."""
        path = self.path / "evals.parquet"
        if path.is_file():
            old: Any = pd.read_parquet(path)
            new = pd.concat([old[old["step"] < new["step"].min()], new], ignore_index=True)
        self.replace_evals(new)

    def add_decodings(self, new: pd.DataFrame) -> None:
        """Add further decodings to the evaluation of one step."""
        old: Any = pd.read_parquet(self.path / "evals.parquet")
        step, labels = new["step"].iloc[0], new["decoding"].unique()
        again = (old["step"] == step) & old["decoding"].isin(labels)
        self.replace_evals(pd.concat([old[~again], new], ignore_index=True))

    def replace_evals(self, frame: pd.DataFrame) -> None:
        """Make these the run's evaluations."""
        with replacing(self.path / "evals.parquet") as partial:
            # imported logs lack some columns
            dtypes = {c: kind for c, kind in EVAL_DTYPES.items() if c in frame}
            frame.astype(dtypes).to_parquet(partial, index=False, compression="zstd")

    def write_rollout(self, rollout: int, frame: pd.DataFrame) -> None:
        folder = self.path / "rollouts"
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"step-{rollout:06d}.parquet") as partial:
            frame.to_parquet(partial, index=False, compression="zstd")

    def save_checkpoint(self, save: Callable[[Path], None], state: StateRecord) -> None:
        """What `save` writes into a folder, and the state. It is written beside the previous one
        and renamed; between the two renames the previous one stays as `.old`."""
        partial, current, old = (self.path / f"checkpoint{s}" for s in (".partial", "", ".old"))
        shutil.rmtree(partial, ignore_errors=True)
        save(partial)
        (partial / state.file).write_text(state.text())
        shutil.rmtree(old, ignore_errors=True)
        if current.is_dir():
            current.rename(old)
        partial.rename(current)
        shutil.rmtree(old, ignore_errors=True)

    @property
    def checkpoint(self) -> Path | None:
        """The newest complete checkpoint."""
        for name in ("checkpoint", "checkpoint.old"):
            if (self.path / name / StateRecord.file).is_file():
                return self.path / name
        return None

    def restore(self, load: Callable[[Path], None]) -> StateRecord | None:
        """Give the newest checkpoint's folder to `load`; its state, or None where there is none."""
        folder = self.checkpoint
        if folder is None:
            return None
        load(folder)
        return StateRecord.read(folder / StateRecord.file)

    def retain(self, names: list[str]) -> None:
        """Keep the newest checkpoint's model under these names as well. Files of a checkpoint are
        never modified, so hard links are safe and take no space."""
        for target in (self.path / name for name in names):
            partial, source = target.with_name(target.name + ".partial"), self.checkpoint
            assert source is not None
            shutil.rmtree(partial, ignore_errors=True)
            skip = shutil.ignore_patterns(*RESUMING)
            shutil.copytree(source, partial, copy_function=os.link, ignore=skip)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)

    def finish(self, done: DoneRecord, keep: str) -> None:
        """Mark the run as finished, then drop what only resuming needs."""
        self.write(done)
        if keep == "none":
            shutil.rmtree(self.path / "checkpoint", ignore_errors=True)
        for name in RESUMING:
            (self.path / "checkpoint" / name).unlink(missing_ok=True)
