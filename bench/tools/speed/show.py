"""What `evenbench speed` measures in one call, and shows on the terminal."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.record.provenance import hardware, packages
from bench.suite.progress import bars_of, human

from .compare import Pairing, compare, objectives, sampler
from .growth import exponents, growth
from .work import Work, shaped


@dataclass(frozen=True)
class SpeedJob:
    """What one call measures."""

    kinds: list[str]  # of trl.PEERS
    threads: list[int]
    steps: int  # counted steps on each side
    work: Work
    shape: str | None = None  # a name in work.SHAPES; None: the embedded task's base
    methods: bool = False  # every objective too
    growth: bool = False  # time and memory against size too


def watch_speed(console: Console, job: SpeedJob) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """Measure, and print what was found. Returns all figures, and the frame of the growth."""
    rows: list[Pairing] = []
    work, kinds, threads = job.work, job.kinds, job.threads
    chosen = {key: getattr(work, key) for key in ("prompts", "group", "tokens", "device")}
    conditions: dict[str, Any] = {"work": chosen, "shape": job.shape, "steps": job.steps}
    conditions |= {"hardware": hardware(torch.device(work.device)), "packages": packages()}
    figures: dict[str, Any] = {"conditions": conditions}
    each = frame = None
    with TemporaryDirectory() as scratch, bars_of(console) as bars:
        if job.shape:
            work = shaped(work, job.shape, Path(scratch))
        total = len(kinds) * len(threads) + 2 * job.methods
        bar = bars.add_task("side by side", total=total, note="")
        for count in threads:
            for kind in kinds:
                bars.update(bar, description=f"{kind}, {count} thread(s)")
                rows += compare(kind, work, count, job.steps)
                bars.advance(bar)
        if job.methods:
            bars.update(bar, description="every objective")
            each = objectives(work, job.steps)
            bars.advance(bar)
            figures["sampler_tokens_per_second"] = sampler(work)
            bars.advance(bar)
        if job.growth:
            grown = bars.add_task("growth", total=None, note="")

            def done(k: int, of: int, what: str) -> None:
                bars.update(grown, completed=k, total=of, description=what)
                if not console.is_terminal:
                    console.print(f"growth {k + 1}/{of}: {what}")

            frame = growth(done)
            bars.update(grown, completed=len(frame), total=len(frame))
    console.print(_speed_table(rows), _use_table(rows))
    first = [r for r in rows if r.work in kinds and r.threads == threads[0]]
    figures["ratios"] = {r.work: r.ratio for r in first}
    figures["rows"] = [asdict(r) for r in rows]
    if each is not None:
        console.print(_frame_table("Updates on equal rows, relative to GRPO's", each))
        rate = figures["sampler_tokens_per_second"]
        console.print(f"sampler alone, 512 rows, one thread: {human(rate, 'token/s')}")
        figures["objectives"] = each.to_dict("records")
    if frame is not None:
        powers = exponents(frame)
        console.print(_frame_table("Growth: time and memory as powers of the axis", powers))
        figures["growth"] = frame.to_dict("records")
        figures["growth_powers"] = powers.to_dict("records")
    return figures, frame


def _table(title: str, columns: Iterable[str]) -> Table:
    """Without rows: the first column for names, the others for numbers."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for k, name in enumerate(columns):
        table.add_column(name, no_wrap=not k, justify="right" if k else "left")
    return table


def _speed_table(rows: list[Pairing]) -> Table:
    title = (
        "Our step and TRL's (ratio: how many times faster ours is; floor: time for its FLOPs at\n"
        "the rate of torch.mm; lowest: at the rate of torch's fastest matrix product)"
    )
    numbers = ("threads", "ours", "TRL", "ratio", "quartiles", "floor", "/ floor", "/ lowest")
    table = _table(title, ("work", *numbers))
    for r in rows:
        table.add_row(
            r.work, str(r.threads), f"{1e3 * r.ours:.0f} ms", f"{1e3 * r.trl:.0f} ms",
            f"{r.ratio:.2f}", f"{r.ratio_low:.2f}–{r.ratio_high:.2f}",
            f"{1e3 * r.floor:.0f} ms", f"{r.over_floor:.2f}", f"{r.over_lowest:.2f}",
        )  # fmt: skip
    return table


def _use_table(rows: list[Pairing]) -> Table:
    title = "Response tokens per second, share of the matrix rate, memory of a step (GPU)"
    table = _table(title, ("work", "ours", "TRL", "use, ours", "TRL", "memory, ours", "TRL"))
    for r in rows:
        table.add_row(
            f"{r.work}, {r.threads} thread{'s' * (r.threads > 1)}",
            human(r.tokens_per_second), human(r.trl_tokens_per_second),
            f"{r.utilisation:.0%}", f"{r.trl_utilisation:.0%}",
            *("–" if b is None else human(b, "B") for b in (r.bytes, r.trl_bytes)),
        )  # fmt: skip
    return table


def _frame_table(title: str, frame: pd.DataFrame) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in frame.columns:
        text = frame[column].dtype.kind not in "fi"
        table.add_column(column.replace("_", " "), justify="left" if text else "right")
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row))
    return table
