"""What the terminal shows of `evenbench speed`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.suite.progress import human

from . import speed


def watch_speed(
    console: Console,
    kinds: list[str],
    threads: list[int],
    steps: int,
    work: dict[str, Any],
    shape: str | None,
    methods: bool,
    growth: bool,
) -> tuple[dict[str, Any], Any]:
    """Measure (speed.py), show what was found; all figures, and the frame of the growth."""
    rows: list[speed.Row] = []
    figures: dict[str, Any] = {"conditions": speed.conditions(work, steps, shape)}
    with TemporaryDirectory() as scratch, _bars(console) as bars:
        job = speed.Work(**work)
        if shape:
            job = speed.shaped(job, shape, Path(scratch))
        total = len(kinds) * len(threads) + 2 * methods
        bar = bars.add_task("side by side", total=total)
        for count in threads:
            for kind in kinds:
                bars.update(bar, description=f"{kind}, {count} thread(s)")
                rows += speed.compare(kind, job, count, steps)
                bars.advance(bar)
        each = None
        if methods:
            bars.update(bar, description="every objective")
            each = speed.objectives(job, steps)
            bars.advance(bar)
            figures["sampler_tokens_per_second"] = speed.sampler(job)
            bars.advance(bar)
        frame = None
        if growth:
            grown = bars.add_task("growth", total=None)

            def done(k: int, of: int, what: str) -> None:
                bars.update(grown, completed=k, total=of, description=what)
                if not console.is_terminal:
                    console.print(f"growth {k + 1}/{of}: {what}")

            frame = speed.growth(True, done)
            bars.update(grown, completed=len(frame), total=len(frame))
    console.print(_speed_table(rows))
    console.print(_use_table(rows))
    figures["ratios"] = {
        r.work: r.ratio for r in rows if r.work in kinds and r.threads == threads[0]
    }
    figures["rows"] = [asdict(r) for r in rows]
    if each is not None:
        console.print(_frame_table("Updates on equal rows, beside GRPO's", each))
        rate = figures["sampler_tokens_per_second"]
        console.print(f"sampler alone, 512 rows, one thread: {human(rate, 'token/s')}")
        figures["objectives"] = each.to_dict("records")
    if frame is not None:
        powers = speed.exponents(frame)
        console.print(_frame_table("Growth: by which power of the axis, end to end", powers))
        figures["growth"] = frame.to_dict("records")
        figures["growth_powers"] = powers.to_dict("records")
    return figures, frame


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _speed_table(rows: list[Any]) -> Table:
    """One line a pairing."""
    title = (
        "A step of ours beside TRL's (ratio: times as fast; floor: its FLOPs at the rate of\n"
        "torch.mm; lowest: at that of the fastest products that torch has)"
    )
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("work", no_wrap=True)
    for name in ("threads", "ours", "TRL", "ratio", "quartiles", "floor", "/ floor", "/ lowest"):
        table.add_column(name, justify="right")
    for r in rows:
        table.add_row(
            r.work, str(r.threads), f"{1e3 * r.ours:.0f} ms", f"{1e3 * r.trl:.0f} ms",
            f"{r.ratio:.2f}", f"{r.ratio_low:.2f}–{r.ratio_high:.2f}",
            f"{1e3 * r.floor:.0f} ms", f"{r.over_floor:.2f}", f"{r.over_lowest:.2f}",
        )  # fmt: skip
    return table


def _use_table(rows: list[Any]) -> Table:
    """What the steps did with the machine."""
    title = "Response tokens a second, share of the matrix rate, memory of a step (GPU)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("work", no_wrap=True)
    for name in ("ours", "TRL", "use, ours", "TRL", "memory, ours", "TRL"):
        table.add_column(name, justify="right")
    for r in rows:
        table.add_row(
            f"{r.work}, {r.threads} thread{'s' * (r.threads > 1)}",
            human(r.tokens_per_second), human(r.trl_tokens_per_second),
            f"{r.utilisation:.0%}", f"{r.trl_utilisation:.0%}",
            *("–" if b is None else human(b, "B") for b in (r.bytes, r.trl_bytes)),
        )  # fmt: skip
    return table


def _frame_table(title: str, frame: Any) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in frame.columns:
        text = frame[column].dtype.kind not in "fi"
        table.add_column(column.replace("_", " "), justify="left" if text else "right")
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row))
    return table
