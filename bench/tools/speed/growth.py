"""How time and memory of a step grow with its size.

Each point is measured in a process of its own, since a process's peak memory never falls.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.core import memory

from .trl import alternate, peer
from .work import SMALL, Ours, Work, build, timed


@dataclass(frozen=True)
class Point:
    """One measurement: a step of GRPO made by `who`, where the axis has this value."""

    axis: str
    value: float
    work: Work
    who: str = "evenbench"  # or trl
    shape: dict[str, Any] = field(default_factory=lambda: SMALL)  # of a random Llama


SIZES = ((96, 3), (160, 4), (256, 6), (384, 8), (512, 10))  # width, layers: 0.4 to 32 M


def points(peers: bool) -> Iterator[Point]:
    """All measurements; in each series one number grows and the rest of the work stays the same."""
    sides = ("evenbench", "trl") if peers else ("evenbench",)
    small = Work(prompts=4, group=8, tokens=36, full=True, micro_tokens=8192)
    for group in (4, 8, 16, 32, 64):
        for who in sides:
            yield Point("samples a prompt", group, replace(small, group=group), who)
    for prompts in (4, 8, 16, 32, 64):
        for who in sides:
            yield Point("rows", small.group * prompts, replace(small, prompts=prompts), who)
    for tokens in (32, 64, 128, 256, 512, 1024):
        yield Point("response tokens", tokens, replace(small, group=4, tokens=tokens))
    for words in (512, 2048, 8192, 32768, 151_936):
        yield Point("vocabulary", words, small, shape={**SMALL, "vocab_size": words})
    for width, layers in SIZES:
        shape = {
            "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 32,
            "intermediate_size": width * 8 // 3 // 32 * 32, "vocab_size": 512,
        }  # fmt: skip
        weights = layers * (4 * width**2 + 3 * width * shape["intermediate_size"]) + 512 * width
        yield Point("parameters", weights, small, shape=shape)


def measure(point: Point, steps: int = 2) -> dict[str, Any]:
    """Measure one point in this process: seconds per step, and bytes above those held before it."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        work = replace(point.work, model=str(build(point.shape, Path(scratch) / "model")))
        if point.who == "trl":
            trainer = peer("grpo", work, steps, scratch)
            memory.forget_peak()
            before = memory.peak()
            seconds = alternate(trainer, {}, "cpu").seconds["trl"]
        else:
            step = Ours(work.run("grpo", reward="random"), Path(scratch), work)
            memory.forget_peak()
            before = memory.peak()
            seconds = [timed(step) for _ in range(1 + steps)][1:]
    found = {"seconds": statistics.median(seconds), "memory": memory.peak() - before}
    return {"axis": point.axis, "value": point.value, "who": point.who, **found}


def growth(done: Callable[[int, int, str], None]) -> pd.DataFrame:
    """Measure all `points`, each in a process of its own. `done` hears of each before it starts:
    its number, their count, and what it is. Raises RuntimeError where one fails."""
    todo, rows = list(points(peers=True)), []
    for k, point in enumerate(todo):
        what = f"{point.axis} {point.value:g}, {point.who}"
        done(k, len(todo), what)
        command = [sys.executable, "-m", "bench.tools.speed", json.dumps(asdict(point))]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        if out.returncode:
            raise RuntimeError(f"{what}: {out.stderr[-2000:]}")
        rows.append(json.loads(out.stdout.splitlines()[-1]))
    return pd.DataFrame(rows)


def exponents(frame: pd.DataFrame) -> pd.DataFrame:
    """The power of the axis with which time and memory grow between the ends of each series."""
    rows = []
    parts: Any = frame.groupby(["axis", "who"], sort=False)
    for (axis, who), series in parts:
        ends = series.sort_values("value")[["value", "seconds", "memory"]].iloc[[0, -1]]
        low, high = ends.clip(lower=1e-9).to_numpy(dtype=float)
        span, *grown = np.log(high / low).tolist()
        rows.append((axis, who, *(power / span for power in grown)))
    return pd.DataFrame(rows, columns=["axis", "who", "seconds_power", "memory_power"])
