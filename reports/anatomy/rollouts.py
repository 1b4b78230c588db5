"""Stored rollout batches of real runs, as the objectives read them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from methods import Rollout
from results import Results


@dataclass(frozen=True)
class StoredBatch:
    """A stored rollout batch, and the policy's log-probs when it was drawn."""

    rollout: Rollout
    logp_NT: torch.Tensor
    run: str


def stored(results: Results, batches: int = 24) -> list[StoredBatch]:
    """At most `batches` stored rollout batches of all runs, evenly spaced.

    Raises:
        FileNotFoundError: no run has any.
        ValueError: they were stored by a version that did not keep the log-probs.
    """
    files = [
        (run, file)
        for run, path in zip(results.runs["run"], results.runs["path"], strict=True)
        for file in sorted((Path(path) / "rollouts").glob("step-*.parquet"))
    ]
    if not files:
        raise FileNotFoundError(
            "no run has stored rollouts; run again with -o keep_rollouts=true, and with another "
            "--out if these runs have finished"
        )
    spread = np.linspace(0, len(files) - 1, min(batches, len(files))).round().astype(int)
    return [read(file, str(run)) for run, file in (files[i] for i in spread)]


def read(file: Path, run: str) -> StoredBatch:
    """Read one rollouts/step-NNNNNN.parquet; rows keep their order."""
    frame = pd.read_parquet(file)
    if "policy_logp" not in frame:
        raise ValueError(f"{file}: stored by an older version, without log-probs; run it again")
    length_N = frame["tokens"].map(len).to_numpy()
    mask_NT = np.arange(length_N.max()) < length_N[:, None]

    def padded(column: str) -> torch.Tensor:
        x_NT = np.zeros(mask_NT.shape)
        known = frame[column].notna().to_numpy()
        if known.any():
            x_NT[mask_NT & known[:, None]] = np.concatenate(frame.loc[known, column].tolist())
        return torch.from_numpy(x_NT)

    def column(name: str, dtype: type) -> torch.Tensor:
        return torch.from_numpy(frame[name].to_numpy(dtype).copy())

    policy_NT, ref_NT = padded("policy_logp"), padded("ref_logp")
    rollout = Rollout(
        mask_NT=torch.from_numpy(mask_NT),
        reward_N=column("reward", np.float64),
        group_N=column("group", np.int64),
        kind_N=column("kind", np.int64),
        correct_N=column("correct", np.bool_),
        finished_N=column("finished", np.bool_),
        format_ok_N=column("format_ok", np.bool_),
        max_tokens=int(frame["max_tokens"].iloc[0]),
        old_logp_NT=ref_NT if frame["source"].iloc[0] == "replay" else policy_NT,
        sampler_logp_NT=padded("logp"),
        ref_logp_NT=ref_NT,
        old_value_NT=padded("value"),
    )
    return StoredBatch(rollout, policy_NT, run)
